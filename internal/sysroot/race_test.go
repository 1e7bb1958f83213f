// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSwappedLink changes a directory into a link out of the tree and back
// while operations go through it. Each one may fail, none may leave the tree;
// newRoot's clean-up looks at the canary.
func TestSwappedLink(t *testing.T) {
	r, host := newRoot(t)
	outside := filepath.Join(filepath.Dir(host), "outside")
	tree(t, host, "real/canary=in", "link->"+outside, "link2->../../outside")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		swap := func(a, b string) {
			_ = unix.Renameat2(r.fd, a, r.fd, b, unix.RENAME_EXCHANGE)
		}
		for {
			select {
			case <-stop:
				return
			default:
				swap("real", "link")
				swap("real", "link2")
			}
		}
	})
	worked, bad := 0, 0
	for i := range 400 {
		for _, err := range []error{
			r.WriteFile("/real/new", []byte("x"), 0o600, -1, -1),
			r.Chmod("/real/canary", 0o600),
			r.Symlink("x", fmt.Sprintf("/real/l%d", i)),
			r.Rename("/real/new", "/real/newer"),
			r.RemoveAll("/real/newer"),
		} {
			if err == nil {
				worked++
			}
		}
		if got, err := r.ReadFile("/real/canary"); err == nil && string(got) != "in" {
			bad++
		}
		_, _ = r.Resolve("/real/../real/x")
	}
	close(stop)
	wg.Wait()
	if bad > 0 {
		t.Errorf("read the outside %d times", bad)
	}
	if worked == 0 {
		t.Error("no operation ever worked: the test shows nothing")
	}
}

// TestRemoveAllRace moves directories out of the tree that is being removed.
func TestRemoveAllRace(t *testing.T) {
	r, host := newRoot(t)
	outside := filepath.Join(filepath.Dir(host), "outside")
	for i := range 20 {
		tree(t, host, "t/a/b/c/d/e/f/")
		for j := range 50 {
			tree(t, host, fmt.Sprintf("t/a/b/c/d/e/f/n%d=x", j))
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			// The directory moves beside the canary, so that ".." of it is no part of the tree.
			_ = os.Rename(filepath.Join(host, "t/a/b/c"), filepath.Join(outside, "moved"))
		}()
		_ = r.RemoveAll("/t")
		<-done
		must(t, os.RemoveAll(filepath.Join(outside, "moved")))
		must(t, r.RemoveAll("/t"))
		if _, err := os.Stat(filepath.Join(outside, "canary")); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
	}
}

func TestRemoveAll(t *testing.T) {
	t.Run("does not follow links", func(t *testing.T) {
		r, host := newRoot(t)
		outside := filepath.Join(filepath.Dir(host), "outside")
		tree(t, host, "t/l->"+outside, "t/up->../../outside", "t/sub/f=1", "t/n\nl/x=1", "keep=1")
		must(t, r.RemoveAll("/t"))
		if _, err := r.Lstat("/t"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left: %v", err)
		}
		must(t, r.RemoveAll("/t"))
		if _, err := r.Lstat("/keep"); err != nil {
			t.Error(err)
		}
	})
	t.Run("more entries than one read gives", func(t *testing.T) {
		r, host := newRoot(t)
		tree(t, host, "t/")
		for i := range 3000 {
			must(t, os.WriteFile(filepath.Join(host, fmt.Sprintf("t/some-longer-name-%d", i)), nil, 0o600))
		}
		for i := range 50 {
			tree(t, host, fmt.Sprintf("t/sub%d/x=1", i))
		}
		must(t, r.RemoveAll("/t"))
		if list, err := r.ReadDir("/"); err != nil || len(list) != 0 {
			t.Errorf("left: %v, %v", list, err)
		}
	})
	t.Run("deep tree with few descriptors", func(t *testing.T) {
		r, _ := newRoot(t)
		deep(t, r, 3000)
		var old unix.Rlimit
		must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
		must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: old.Max}))
		defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old)) }()
		must(t, r.RemoveAll("/deep"))
		if _, err := r.Lstat("/deep"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left: %v", err)
		}
	})
	t.Run("immutable file", func(t *testing.T) {
		needRoot(t)
		r, host := newRoot(t)
		tree(t, host, "t/a/fixed=1")
		fixed := filepath.Join(host, "t/a/fixed")
		if err := immutable(fixed, true); err != nil {
			t.Skipf("filesystem without attributes: %v", err)
		}
		defer func() { must(t, immutable(fixed, false)) }()
		err := r.RemoveAll("/t")
		want := "remove " + fixed + ": operation not permitted (it is immutable or append-only)"
		if err == nil || err.Error() != want {
			t.Errorf("%v\nwant %s", err, want)
		}
	})
}

// deep makes a tree deeper than any path may be long.
func deep(t *testing.T, r *Root, levels int) {
	t.Helper()
	must(t, unix.Mkdirat(r.fd, "deep", 0o755))
	fd, err := unix.Openat(r.fd, "deep", unix.O_PATH|unix.O_CLOEXEC, 0)
	must(t, err)
	for range levels {
		must(t, unix.Mkdirat(fd, "dd", 0o755))
		next, err := unix.Openat(fd, "dd", unix.O_PATH|unix.O_CLOEXEC, 0)
		must(t, err)
		unix.Close(fd)
		fd = next
	}
	unix.Close(fd)
}

func immutable(path string, on bool) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	const flag = 0x10 // FS_IMMUTABLE_FL
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return err
	}
	if flags &^= flag; on {
		flags |= flag
	}
	return unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags)
}

func TestRemoveAllMounts(t *testing.T) {
	needRoot(t)
	mount := func(t *testing.T, src, dst, kind string, flags uintptr) {
		t.Helper()
		if err := unix.Mount(src, dst, kind, flags, ""); err != nil {
			t.Skipf("cannot mount here: %v", err)
		}
		t.Cleanup(func() { must(t, unix.Unmount(dst, 0)) })
	}
	rows := []struct {
		name   string
		at     string // what is mounted on
		bind   bool
		remove string
	}{
		{"filesystem in the tree", "t/a/m", false, "/t"},
		{"the directory itself", "t", false, "/t"},
		{"bind mount of the same filesystem", "t/a/m", true, "/t"},
		{"bind-mounted file", "t/a/file", true, "/t"},
		{"the file itself", "t/a/file", true, "/t/a/file"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r, host := newRoot(t)
			tree(t, host, "src/f=1", "t/a/m/", "t/a/file=1", "t/z=1", "t/0=1")
			at := filepath.Join(host, row.at)
			switch fi, err := os.Stat(at); {
			case err != nil:
				t.Fatal(err)
			case !row.bind:
				mount(t, "none", at, "tmpfs", 0)
			case fi.IsDir():
				mount(t, filepath.Join(host, "src"), at, "", unix.MS_BIND)
			default:
				mount(t, filepath.Join(host, "src/f"), at, "", unix.MS_BIND)
			}
			must(t, errOnly(os.Stat(at)))
			err := r.RemoveAll(row.remove)
			if !errors.Is(err, ErrMountpoint) {
				t.Fatalf("%v, want ErrMountpoint", err)
			}
			if row.at != "t" {
				for _, p := range []string{"t/0", "t/z", "t/a/file"} {
					must(t, errOnly(os.Lstat(filepath.Join(host, p))))
				}
			}
			d, err := r.OpenDir(filepath.Dir("/" + row.at))
			must(t, err)
			defer d.Close()
			if crossed, err := crossesMount(d.fd, filepath.Base(row.at)); !crossed || err != nil {
				t.Errorf("way of older kernels: %v, %v", crossed, err)
			}
			if crossed, err := crossesMount(r.fd, "src"); crossed || err != nil {
				t.Errorf("way of older kernels, no mount: %v, %v", crossed, err)
			}
		})
	}
}

func errOnly(_ fs.FileInfo, err error) error { return err }

func TestMountKinds(t *testing.T) {
	needRoot(t)
	t.Run("read-only", func(t *testing.T) {
		r, host := newRoot(t)
		tree(t, host, "ro/f=1")
		ro := filepath.Join(host, "ro")
		if err := unix.Mount(ro, ro, "", unix.MS_BIND, ""); err != nil {
			t.Skipf("cannot mount here: %v", err)
		}
		defer func() { must(t, unix.Unmount(ro, 0)) }()
		must(t, unix.Mount("", ro, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
		_, mkerr := r.MkdirAll("/ro/d", 0o755)
		for i, err := range []error{
			mkerr, r.WriteFile("/ro/f", nil, 0o644, -1, -1), r.Chmod("/ro/f", 0o600), r.Remove("/ro/f"), r.Symlink("x", "/ro/l"),
			r.Lchown("/ro/f", 0, 0),
		} {
			if !errors.Is(err, unix.EROFS) {
				t.Errorf("operation %d: %v, want EROFS", i, err)
			}
		}
		must(t, r.SyncFS("/ro"))
		a, err := r.Lstat("/ro")
		must(t, err)
		b, err := r.Lstat("/")
		must(t, err)
		if a.MountID == b.MountID || a.Dev != b.Dev {
			t.Errorf("mount ids %d and %d, devices %d and %d", a.MountID, b.MountID, a.Dev, b.Dev)
		}
		if err := r.Rename("/ro/f", "/f"); !errors.Is(err, unix.EXDEV) {
			t.Errorf("rename across mounts: %v", err)
		}
	})
	t.Run("full", func(t *testing.T) {
		r, host := newRoot(t)
		tree(t, host, "full/")
		full := filepath.Join(host, "full")
		if err := unix.Mount("none", full, "tmpfs", 0, "size=64k"); err != nil {
			t.Skipf("cannot mount here: %v", err)
		}
		defer func() { must(t, unix.Unmount(full, 0)) }()
		err := r.WriteFile("/full/big", make([]byte, 1<<20), 0o644, -1, -1)
		if !errors.Is(err, unix.ENOSPC) {
			t.Errorf("%v, want ENOSPC", err)
		}
		if list, err := r.ReadDir("/full"); err != nil || len(list) != 0 {
			t.Errorf("left: %v, %v", list, err)
		}
	})
}
