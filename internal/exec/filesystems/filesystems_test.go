// SPDX-License-Identifier: Apache-2.0

package filesystems

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

func TestCommand(t *testing.T) {
	const uuid = "ABCDEF01-0000-4000-8000-000000000001"
	rows := []struct {
		fs   Filesystem
		want string
	}{
		{Filesystem{Format: "ext4"}, "mkfs.ext4 -F /d"},
		{Filesystem{Format: "ext4", UUID: uuid, Label: "ROOT", Options: []string{"-O", "^64bit"}}, "mkfs.ext4 -O ^64bit -F -U " + strings.ToLower(uuid) + " -L ROOT /d"},
		{Filesystem{Format: "btrfs", UUID: uuid, Label: "b"}, "mkfs.btrfs --force -U " + strings.ToLower(uuid) + " -L b /d"},
		{Filesystem{Format: "xfs", UUID: uuid, Label: "x", Options: []string{"-i", "size=1024"}}, "mkfs.xfs -i size=1024 -f -m uuid=" + strings.ToLower(uuid) + " -L x /d"},
		{Filesystem{Format: "swap", UUID: uuid, Label: "s"}, "mkswap -f -U " + strings.ToLower(uuid) + " -L s /d"},
		{Filesystem{Format: "vfat", UUID: "A1B2-C3D4", Label: "EFI"}, "mkfs.fat -i a1b2c3d4 -n EFI /d"},
		{Filesystem{Format: "vfat", UUID: "A1B2C3D4", Options: []string{"-F", "32"}}, "mkfs.fat -F 32 -i a1b2c3d4 /d"},
	}
	for _, row := range rows {
		t.Run(row.want, func(t *testing.T) {
			row.fs.Device = "/d"
			cmd, err := row.fs.Command()
			if got := cmd.Name + " " + strings.Join(cmd.Args, " "); err != nil || got != row.want {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	if _, err := (Filesystem{Format: "f2fs"}).Command(); err == nil || err.Error() != `unsupported filesystem format: "f2fs"` {
		t.Errorf("f2fs: %v", err)
	}
}

func TestCanonicalUUID(t *testing.T) {
	for _, row := range []struct{ format, uuid, want string }{
		{"vfat", "A1B2-C3D4", "a1b2c3d4"}, {"vfat", "a1b2c3d4", "a1b2c3d4"}, {"vfat", "A-B", "a-b"}, {"vfat", "", ""},
		{"ext4", "ABCD-EF", "abcd-ef"},
	} {
		if got := CanonicalUUID(row.format, row.uuid); got != row.want {
			t.Errorf("%s %q: got %q, want %q", row.format, row.uuid, got, row.want)
		}
	}
}

// TestRun: the texts of operations and errors.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	for name, body := range map[string]string{"mkfs.ext4": "exit 0", "mkfs.xfs": "echo too small >&2; exit 1", "wipefs": "exit 1"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &exec.Runner{Path: dir + ":/bin:/usr/bin"}
	var b strings.Builder
	log := oplog.New(oplog.StdoutHandler(&b), nil)
	ctx := context.Background()
	if err := Make(ctx, log, r, Filesystem{Format: "ext4", Device: "/d"}, "$.x"); err != nil {
		t.Error(err)
	}
	if !strings.Contains(b.String(), `[finished] creating "ext4" filesystem on "/d"`) {
		t.Errorf("log: %s", b.String())
	}
	if err := Make(ctx, log, r, Filesystem{Format: "xfs", Device: "/d"}, "$.x"); err == nil || !strings.HasPrefix(err.Error(), `mkfs failed: exit status 1: Cmd: "mkfs.xfs" "-f" "/d"`) {
		t.Errorf("got %v", err)
	}
	if err := Wipe(ctx, log, r, "/d", "$.x"); err == nil || !strings.HasPrefix(err.Error(), `wipefs failed: exit status 1: Cmd: "wipefs" "-a" "/d"`) {
		t.Errorf("got %v", err)
	}
}
