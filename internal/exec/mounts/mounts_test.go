// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"bytes"
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// rig is a Mounter with stub programs, a fake system call and no pauses.
type rig struct {
	*Mounter
	log    bytes.Buffer
	logger *oplog.Logger
	calls  []string
	pauses int
}

func newRig(t *testing.T, scripts map[string]string, results ...error) *rig {
	t.Helper()
	bin := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{}
	r.logger = oplog.New(oplog.StdoutHandler(&r.log), nil)
	r.Mounter = &Mounter{
		Runner:  &exec.Runner{Path: bin + ":/bin:/usr/bin"},
		tempDir: t.TempDir(),
		sleep:   func(context.Context, time.Duration) { r.pauses++ },
		unmount: func(_ string, flags int) error {
			name := "unmount"
			if flags&unix.MNT_DETACH != 0 {
				name = "detach"
			}
			r.calls = append(r.calls, name)
			if len(results) == 0 {
				return nil
			}
			err := results[0]
			results = results[1:]
			return err
		},
	}
	return r
}

func (r *rig) left(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir(r.tempDir)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestUnmount(t *testing.T) {
	for _, row := range []struct {
		name       string
		mountpoint string // script
		results    []error
		calls      string
		pauses     int
		last       string // line of the log
		left       int    // directories
	}{
		{"at once", "exit 9", nil, "unmount", 0, "INFO     : op(2): [finished] unmounting", 0},
		{"at the second try", "exit 0", []error{unix.EBUSY}, "unmount unmount", 1, "INFO     : op(2): [finished] unmounting", 0},
		{"at the third try", "exit 0", []error{unix.EBUSY, unix.EBUSY}, "unmount unmount unmount", 2, "INFO     : op(2): [finished] unmounting", 0},
		{"gone by itself", "exit 1", []error{unix.EINVAL}, "unmount", 1, "INFO     : op(2): [finished] unmounting", 0},
		{"mountpoint fails otherwise", "exit 32", []error{unix.EBUSY}, "unmount unmount", 1, "INFO     : op(2): [finished] unmounting", 0},
		{"always busy is detached", "exit 0", []error{unix.EBUSY, unix.EBUSY, unix.EBUSY}, "unmount unmount unmount detach", 3, "INFO     : op(2): [finished] unmounting", 0},
		{"not even detached", "exit 0", []error{unix.EBUSY, unix.EBUSY, unix.EBUSY, unix.EPERM}, "unmount unmount unmount detach", 3, "CRITICAL : op(2): [failed]   unmounting", 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, map[string]string{"mount": "exit 0", "mountpoint": row.mountpoint}, row.results...)
			dir, unmount, err := r.MountReadOnly(t.Context(), r.logger, "mounting config drive", "/dev/disk/by-label/config-2", "auto")
			if err != nil {
				t.Fatal(err)
			}
			unmount()
			if got := strings.Join(r.calls, " "); got != row.calls || r.pauses != row.pauses {
				t.Errorf("calls %q with %d pauses, want %q with %d", got, r.pauses, row.calls, row.pauses)
			}
			lines := strings.Split(strings.TrimSpace(r.log.String()), "\n")
			want := fmt.Sprintf("%s %q at %q", row.last, "/dev/disk/by-label/config-2", dir)
			if !strings.HasPrefix(lines[len(lines)-1], want) {
				t.Errorf("log ends with %q, want %q", lines[len(lines)-1], want)
			}
			if got := r.left(t); got != row.left {
				t.Errorf("%d directories left, want %d", got, row.left)
			}
		})
	}
}

func TestMountCommand(t *testing.T) {
	r := newRig(t, map[string]string{"mount": `[ -d "$6" ] && stat -c %a "$6" >"${0%/*}/mode"`})
	dir, _, err := r.MountReadOnly(t.Context(), r.logger, "mounting disk", "/dev/x y", "auto")
	if err != nil {
		t.Fatal(err)
	}
	want := `INFO     : op(1): [started]  mounting disk
DEBUG    : op(1): executing: "mount" "-o" "ro" "-t" "auto" "/dev/x y" "` + dir + `"
INFO     : op(1): [finished] mounting disk
`
	if got := r.log.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !strings.HasPrefix(filepath.Base(dir), "ignition-config") {
		t.Errorf("directory is %s", dir)
	}
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("directory has mode %o", info.Mode().Perm())
	}
}

func TestMountFails(t *testing.T) {
	r := newRig(t, map[string]string{"mount": "echo 'wrong fs type' >&2; exit 32"})
	_, unmount, err := r.MountReadOnly(t.Context(), r.logger, "mounting disk", "/dev/x", "auto")
	if err == nil || !strings.HasPrefix(err.Error(), "exit status 32: Cmd: ") || unmount != nil {
		t.Errorf("error %v", err)
	}
	if r.left(t) != 0 || len(r.calls) != 0 {
		t.Errorf("%d directories left, calls %v", r.left(t), r.calls)
	}
}

func TestMountCancelled(t *testing.T) {
	r := newRig(t, map[string]string{"mount": "sleep 600"})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := r.MountReadOnly(ctx, r.logger, "mounting disk", "/dev/x", "auto"); err == nil {
		t.Error("no error")
	}
	if r.left(t) != 0 || strings.Join(r.calls, " ") != "detach" {
		t.Errorf("%d directories left, calls %v", r.left(t), r.calls)
	}
}

func TestUnmountAfterCancel(t *testing.T) {
	r := newRig(t, map[string]string{"mount": "exit 0", "mountpoint": "exit 1"}, unix.EBUSY)
	ctx, cancel := context.WithCancel(t.Context())
	_, unmount, err := r.MountReadOnly(ctx, r.logger, "mounting disk", "/dev/x", "auto")
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	unmount()
	if r.left(t) != 0 || !strings.Contains(r.log.String(), "[finished] unmounting") {
		t.Errorf("%d directories left\n%s", r.left(t), r.log.String())
	}
}

// TestRealFileSystem mounts an ext4 image on a loop device.
func TestRealFileSystem(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	for _, tool := range []string{"mkfs.ext4", "losetup", "mount", "mountpoint"} {
		if _, err := osexec.LookPath(tool); err != nil {
			t.Skip("needs " + tool)
		}
	}
	tmp := t.TempDir()
	content := filepath.Join(tmp, "content")
	if err := os.MkdirAll(content, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(content, "config.ign"), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(tmp, "image")
	if out, err := osexec.Command("mkfs.ext4", "-q", "-d", content, image, "4M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err := osexec.Command("losetup", "--find", "--show", image).CombinedOutput()
	if err != nil {
		t.Skipf("no loop device: %s", out)
	}
	device := strings.TrimSpace(string(out))
	t.Cleanup(func() { _ = osexec.Command("losetup", "--detach", device).Run() })

	var log bytes.Buffer
	l := oplog.New(oplog.StdoutHandler(&log), nil)
	dir, unmount, err := MountReadOnly(t.Context(), l, &exec.Runner{}, "mounting disk", device, "auto")
	if err != nil {
		t.Skipf("mounting is not possible here: %v", err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "config.ign"))
	if err != nil || string(data) != "{}" {
		t.Errorf("read %q, %v", data, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "new"), nil, 0o644); err == nil {
		t.Error("the mount is writable")
	}
	unmount()
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(mounts, []byte(dir)) {
		t.Errorf("still mounted\n%s", log.String())
	}
}
