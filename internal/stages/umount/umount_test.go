// SPDX-License-Identifier: Apache-2.0

package umount

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/tests/filesystems"
)

// TestCut: which pictures are those of a run that was cut. A letter stands for
// a filesystem, in the order of unmounting: m mounted, e not mounted and its
// directory empty, f not mounted and something in its directory.
func TestCut(t *testing.T) {
	for _, row := range []struct {
		found string
		want  int
	}{
		{"", 0}, {"m", 0}, {"mm", 0},
		{"em", 1}, {"eem", 2}, {"eemm", 2},
		{"e", 0}, {"ee", 0}, // all gone: never mounted, or a run too many
		{"fm", 0}, {"efm", 0}, {"fem", 0}, // files are where they do not belong
		{"me", 0}, {"mem", 0}, {"eme", 1}, // a gap is left to umount(2), which fails
	} {
		var found []state
		for _, c := range row.found {
			found = append(found, state{mounted: c == 'm', empty: c == 'e'})
		}
		if got := cut(found); got != row.want {
			t.Errorf("%s: got %d, want %d", row.found, got, row.want)
		}
	}
}

func TestNotMounted(t *testing.T) {
	for _, row := range []struct {
		name, path string
		want       error
	}{
		{"a directory", "/data", unix.EINVAL},
		{"missing", "/missing/dir", unix.ENOENT},
	} {
		t.Run(row.name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("needs root: the kernel refuses others before it looks")
			}
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "data"), 0o755); err != nil {
				t.Fatal(err)
			}
			format := "ext4"
			cfg := config.Config{Storage: config.Storage{Filesystems: []config.Filesystem{
				{Device: "/dev/null", Format: &format}, {Device: "/dev/null", Format: &format, Path: &row.path}}}}
			err := Run(t.Context(), Input{Config: &cfg, Root: root, Log: oplog.Deferred()})
			var entry *config.EntryError
			if !errors.Is(err, row.want) || !errors.As(err, &entry) || entry.Path != "$.storage.filesystems.1.path" || !strings.Contains(entry.Hint, "not mounted") {
				t.Errorf("got %#v", err)
			}
		})
	}
}

// TestRootStays: the sysroot is a mount itself; it is not taken for the
// filesystem that the config has over it.
func TestRootStays(t *testing.T) {
	root := filesystems.Private(t)
	device := filesystems.Device(t, root, "")
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	format, path := "ext4", "/"
	cfg := config.Config{Storage: config.Storage{Filesystems: []config.Filesystem{{Device: device, Format: &format, Path: &path}}}}
	err := Run(t.Context(), Input{Config: &cfg, Root: root, Log: oplog.Deferred()})
	var entry *config.EntryError
	if !errors.As(err, &entry) || entry.Path != "$.storage.filesystems.0.path" || entry.Hint == "" {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(filepath.Join(root, "file")); err != nil {
		t.Errorf("the sysroot was taken away: %v", err)
	}
}
