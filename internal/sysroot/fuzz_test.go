// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"errors"
	"os"
	"path"
	"testing"

	"golang.org/x/sys/unix"
)

// FuzzResolve compares Resolve with the kernel's own walk: where that ends in
// a directory, the resolved path names the same one without any link.
func FuzzResolve(f *testing.F) {
	for _, p := range []string{"/a/x", "/up/up/b/x", "/d/l/../x", "/chain/../../e/x", "/d/abs/./l//x", "/loop/x", "/a/../loop/..", "\x00", "/d/f/x"} {
		f.Add(p)
	}
	host := f.TempDir()
	for name, target := range map[string]string{"a": "/d/l", "b": "a", "up": "../..", "chain": "b/../l", "loop": "loop", "d/l": "../e", "d/abs": "/d", "e/in": "/b/.."} {
		if err := errors.Join(os.MkdirAll(path.Join(host, path.Dir(name)), 0o755), os.Symlink(target, path.Join(host, name))); err != nil {
			f.Fatal(err)
		}
	}
	if err := os.WriteFile(path.Join(host, "d/f"), nil, 0o600); err != nil {
		f.Fatal(err)
	}
	r, err := Open(host)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { r.Close() })
	f.Fuzz(func(t *testing.T, p string) {
		got, err := r.Resolve(p)
		parent, base := split(p)
		d, kerr := r.openDir(parent)
		if kerr != nil {
			return // missing components are literal for Resolve, an error for the kernel
		}
		defer d.Close()
		if err != nil {
			t.Fatalf("Resolve(%q): %v, but the kernel gets there", p, err)
		}
		dir := path.Dir(got)
		if base == "." {
			dir = got
		}
		fd, err := r.openat2(dir, unix.O_PATH|unix.O_DIRECTORY, 0, unix.RESOLVE_NO_SYMLINKS)
		if err != nil {
			t.Fatalf("Resolve(%q) = %q: %v", p, got, err)
		}
		defer unix.Close(fd)
		a, err := statFD(d.fd)
		must(t, err)
		b, err := statFD(fd)
		must(t, err)
		if a.Ino != b.Ino || a.Dev != b.Dev {
			t.Errorf("Resolve(%q) = %q, another directory than the kernel's", p, got)
		}
	})
}
