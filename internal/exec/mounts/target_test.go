// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// realTempDir has no links in its path.
func realTempDir(t *testing.T) string {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestMakeTarget(t *testing.T) {
	for _, row := range []struct {
		name, target string
		made         string // relative, with blanks between
		bad          string // component that is no directory
	}{
		{"there", "dir", "", ""},
		{"all missing", "a/b/c", "a a/b a/b/c", ""},
		{"some missing", "dir/b", "dir/b", ""},
		{"unclean", "dir//./c/", "dir/c", ""},
		{"file at the end", "file", "", "file"},
		{"file within", "file/x/y", "", "file"},
		{"link to a directory", "link", "", "link"},
		{"link within", "link/x", "", "link"},
		{"dangling link", "dangling", "", "dangling"},
		{"dangling link within", "dir/in/x", "", "dir/in"},
		{"pipe", "pipe/x", "", "pipe"},
	} {
		t.Run(row.name, func(t *testing.T) {
			dir := realTempDir(t)
			for _, err := range []error{
				os.Mkdir(filepath.Join(dir, "dir"), 0o700),
				os.WriteFile(filepath.Join(dir, "file"), nil, 0o644),
				os.Symlink("dir", filepath.Join(dir, "link")),
				os.Symlink("nowhere", filepath.Join(dir, "dangling")),
				os.Symlink("nowhere", filepath.Join(dir, "dir/in")),
				mkfifo(filepath.Join(dir, "pipe")),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			target := dir + "/" + row.target
			made, err := MakeTarget(target)
			var not *NotDirectoryError
			switch {
			case row.bad == "" && err != nil:
				t.Error(err)
			case row.bad != "":
				if !errors.As(err, &not) || not.Component != filepath.Join(dir, row.bad) || not.Target != target {
					t.Errorf("error %v, want one about %s", err, row.bad)
				}
				if want := `mount path "` + target + `" contains non-directory component "` + filepath.Join(dir, row.bad) + `"`; err != nil && err.Error() != want {
					t.Errorf("got  %s\nwant %s", err, want)
				}
			}
			var want []string
			for _, m := range strings.Fields(row.made) {
				want = append(want, filepath.Join(dir, m))
			}
			if !slices.Equal(made, want) {
				t.Errorf("made %q, want %q", made, want)
			}
			for _, m := range made {
				if info, err := os.Lstat(m); err != nil || info.Mode() != os.ModeDir|0o755 {
					t.Errorf("%s: %v, %v", m, info, err)
				}
			}
		})
	}
}

func TestMakeTargetOfRoot(t *testing.T) {
	if made, err := MakeTarget("/"); err != nil || made != nil {
		t.Errorf("got %q, %v", made, err)
	}
}
