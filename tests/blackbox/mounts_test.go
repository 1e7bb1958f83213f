// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"firstboot.dev/ignition/tests/filesystems"
)

// look mounts a device elsewhere while f runs.
func look(t *testing.T, device string, f func(at string)) {
	t.Helper()
	at := t.TempDir()
	filesystems.Run(t, "mount", "-o", "ro", device, at)
	defer filesystems.Run(t, "umount", at)
	f(at)
}

// notated reads what the state file says of directories.
func (m *machine) notated() []string {
	m.t.Helper()
	var state struct {
		NotatedDirectories []string `json:"notatedDirectories"`
	}
	m.must(json.Unmarshal([]byte(m.read("run/state")), &state))
	return state.NotatedDirectories
}

// TestMountFilesUmount: files below a mount point are on its filesystem, and
// nothing of them is beneath it.
func TestMountFilesUmount(t *testing.T) {
	for _, format := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(format, func(t *testing.T) {
			dir := filesystems.Private(t)
			filesystems.Supports(t, format)
			data, home := filesystems.Device(t, dir, format), filesystems.Device(t, dir, "ext4")
			m := newMachine(t)
			m.write("config.ign", fmt.Sprintf(`{"ignition":{"version":"3.4.0"},
				"passwd":{"users":[{"name":"carol","uid":1234}]},
				"storage":{
					"filesystems":[
						{"device":%q,"format":"ext4","path":"/home/carol","mountOptions":["nosuid","nodev"]},
						{"device":%q,"format":%q,"path":"/data"}],
					"files":[{"path":"/data/sub/greeting","mode":416,"contents":{"source":"data:,hello"}},{"path":"/etc/motd","contents":{"source":"data:,root"}}]}}`,
				home, data, format))
			m.stage(0, "file", "fetch")
			log := m.stage(0, "file", "mount").stdout
			for _, want := range []string{
				fmt.Sprintf(`mount: op(1): [finished] mounting %q at "%s/data" with type %q and options ""`, data, m.root, format),
				fmt.Sprintf(`mount: op(2): executing: "mount" "-o" "nosuid,nodev" "-t" "ext4" %q "%s/home/carol"`, home, m.root),
				"mount: mount passed",
			} {
				if !strings.Contains(log, want) {
					t.Errorf("the log lacks %s\n%s", want, log)
				}
			}
			// Once more, as after a run that was cut.
			if log := m.stage(0, "file", "mount").stdout; strings.Count(log, "left as it is") != 2 {
				t.Errorf("a second run:\n%s", log)
			}
			if got := m.notated(); !slices.Equal(got, []string{"/data", "/home/carol"}) {
				t.Errorf("the state has %q", got)
			}
			m.stage(0, "file", "files")
			log = m.stage(0, "file", "umount").stdout
			first := strings.Index(log, fmt.Sprintf(`[finished] umounting "%s/home/carol"`, m.root))
			if second := strings.Index(log, fmt.Sprintf(`[finished] umounting "%s/data"`, m.root)); first < 0 || second < first {
				t.Errorf("order of unmounting:\n%s", log)
			}

			look(t, data, func(at string) {
				raw, err := os.ReadFile(filepath.Join(at, "sub/greeting"))
				if err != nil || string(raw) != "hello" {
					t.Errorf("on the filesystem: %q, %v", raw, err)
				}
			})
			look(t, home, func(at string) {
				info, err := os.Stat(at)
				m.must(err)
				if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 1234 || info.Mode().Perm() != 0o700 {
					t.Errorf("the home has owner %d and mode %o", owner, info.Mode().Perm())
				}
			})
			for _, p := range []string{"data", "home/carol"} {
				if entries, err := os.ReadDir(filepath.Join(m.root, p)); err != nil || len(entries) > 0 {
					t.Errorf("beneath the mount point %s: %v, %v", p, entries, err)
				}
			}
			if got := m.read("sysroot/etc/motd"); got != "root" {
				t.Errorf("beside the mount points: %q", got)
			}
		})
	}
}

// TestMountRefusals: the log says which entry failed and what to do.
func TestMountRefusals(t *testing.T) {
	dir := filesystems.Private(t)
	device := filesystems.Device(t, dir, "ext4")
	m := newMachine(t)
	m.must(os.Symlink("run", filepath.Join(m.root, "link")))
	m.must(os.Mkdir(filepath.Join(m.root, "busy"), 0o755))
	for _, row := range []struct{ name, device, path, stage, want string }{
		{"missing device", "/dev/no-such", "/data", "mount", "the failing config entry is $.storage.filesystems.0.device: /dev/no-such does not exist"},
		{"link in the path", device, "/link/data", "mount", `the failing config entry is $.storage.filesystems.0.path: ` + m.root + `/link is a link to "run"`},
		{"not mounted", device, "/busy", "umount", "the failing config entry is $.storage.filesystems.0.path: it is not mounted"},
	} {
		m.write("config.ign", fmt.Sprintf(`{"ignition":{"version":"3.4.0"},"storage":{"filesystems":[{"device":%q,"format":"ext4","path":%q}]}}`, row.device, row.path))
		m.stage(0, "file", "fetch")
		if res := m.stage(1, "file", row.stage); !strings.Contains(res.stdout, row.want) {
			t.Errorf("%s: the log lacks %s\n%s", row.name, row.want, res.stdout)
		}
	}
}
