// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// run runs the stage on a machine without devices and programs; missing is the
// device whose unit does not come up.
func run(t *testing.T, raw, missing string, live bool) (log string, waited []string, err error) {
	t.Helper()
	var b strings.Builder
	cfg := &config.Config{Storage: *storage(t, raw)}
	_, err = Run(context.Background(), Input{
		Config: cfg, Log: oplog.New(oplog.StdoutHandler(&b), nil), Live: live,
		Runner: &exec.Runner{Path: t.TempDir()},
		Host:   &block.Host{AliasDir: t.TempDir()},
		Wait: func(_ context.Context, devices []string) error {
			waited = append(waited, devices...)
			return block.NewWaitError(missing, errors.New("device unit x.device timeout"))
		},
	})
	return b.String(), waited, err
}

func TestNothingToDo(t *testing.T) {
	for _, live := range []bool{false, true} {
		log, waited, err := run(t, `{"files":[{"path":"/x"}]}`, "", live)
		if err != nil || log != "" || waited != nil {
			t.Errorf("live %t: %v, waited for %v, said %s", live, err, waited, log)
		}
	}
}

func TestLive(t *testing.T) {
	_, waited, err := run(t, `{"disks":[{"device":"/dev/x"}]}`, "", true)
	if !errors.Is(err, ErrLive) || waited != nil {
		t.Errorf("got %v, waited for %v", err, waited)
	}
}

// TestDeviceMissing: the error names the sub-step, the unit and the config entry.
func TestDeviceMissing(t *testing.T) {
	for _, row := range []struct{ name, storage, missing, want, path string }{
		{"disk", `{"disks":[{"device":"/dev/x"},{"device":"/dev/y"}]}`, "/dev/y",
			"create partitions failed: failed to wait on disks devs: device unit x.device timeout", "$.storage.disks.1.device"},
		{"array", `{"raid":[{"name":"a","level":"raid1","devices":["/dev/none/x","/dev/none/y"]}]}`, "/dev/none/y",
			"failed to create raids: failed to wait on raids devs: device unit x.device timeout", "$.storage.raid.0.devices.1"},
		{"volume", `{"luks":[{"name":"a","device":"/dev/none/x"}]}`, "/dev/none/x",
			"failed to create luks: failed to wait on luks devs: device unit x.device timeout", "$.storage.luks.0.device"},
		{"filesystem", `{"filesystems":[{"device":"tag","format":"virtiofs"},{"device":"/dev/none/x"}]}`, "/dev/none/x",
			"failed to create filesystems: failed to wait on filesystems devs: device unit x.device timeout", "$.storage.filesystems.1.device"},
	} {
		t.Run(row.name, func(t *testing.T) {
			log, waited, err := run(t, row.storage, row.missing, false)
			wantError(t, err, row.want, row.path)
			if !strings.Contains(log, "waiting for devices ["+strings.Join(waited, " ")+"]") {
				t.Errorf("log: %s", log)
			}
			for _, d := range waited {
				if d == "tag" {
					t.Error("waited for a virtiofs tag")
				}
			}
		})
	}
}

func TestLogRefusals(t *testing.T) {
	var b strings.Builder
	one := refuse("$.a", "h", errVolumeType, "first reason")
	two := refuse("$.b", "h", errVolumeType, "second reason")
	logRefusals(oplog.New(oplog.StdoutHandler(&b), nil), luksStep.wrap(errors.Join(one, errors.New("other"), two)))
	if got := b.String(); got != "ERROR    : first reason\nERROR    : second reason\n" {
		t.Errorf("got %q", got)
	}
}

func TestRootDevices(t *testing.T) {
	fs := storage(t, `{"filesystems":[{"device":"/dev/a","format":"ext4","path":"/var"},{"device":"/dev/b","format":"xfs","path":"/"},{"device":"/dev/c","format":"xfs","path":"/","wipeFilesystem":true}]}`)
	for _, row := range []struct{ cmdline, want string }{
		{"", "/dev/b"},
		{"quiet root=LABEL=ROOT rw\n", "/dev/b /dev/disk/by-label/ROOT"},
		{"root=UUID=1-2", "/dev/b /dev/disk/by-uuid/1-2"},
		{"root=PARTUUID=3 root=PARTLABEL=root-1", "/dev/b /dev/disk/by-partuuid/3 /dev/disk/by-partlabel/root-1"},
		{"root=/dev/vda9", "/dev/b /dev/vda9"},
		{"root=LABEL= root=LABEL=../../x root=nfs xroot=/dev/x", "/dev/b"},
	} {
		if got := strings.Join(rootDevices(fs, row.cmdline), " "); got != row.want {
			t.Errorf("%q: got %q, want %q", row.cmdline, got, row.want)
		}
	}
}

// TestDropKeyFiles: only regular files that a stage made are removed.
func TestDropKeyFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"ignition-luks-17", "ignition-luks-mine", "other-1"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "ignition-luks-2"), 0o700), os.Symlink("other-1", filepath.Join(dir, "ignition-luks-3"))); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	dropKeyFiles(oplog.New(oplog.StdoutHandler(&b), nil), dir)
	entries, err := os.ReadDir(dir)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if got := strings.Join(names, " "); err != nil || got != "ignition-luks-2 ignition-luks-3 ignition-luks-mine other-1" {
		t.Errorf("%q is left, %v", got, err)
	}
	if strings.Count(b.String(), "\n") != 1 || !strings.Contains(b.String(), "ignition-luks-17") {
		t.Errorf("log: %s", b.String())
	}
}
