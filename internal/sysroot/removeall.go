// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// RemoveAll removes p and all below it, following no link. A tree that is or
// holds a mount point is refused with ErrMountpoint before anything is
// removed; one that is mounted meanwhile stops the removal. A missing p is
// fine. Depth costs neither stack nor descriptors.
func (r *Root) RemoveAll(p string) error {
	err := r.at("remove", p, func(d *Dir, base string) error {
		if base == "." {
			return d.fail("remove", base, errors.New("refusing to remove the root or a directory by \"..\""))
		}
		dir, mounted, err := probe(d.fd, base)
		if mounted {
			err = ErrMountpoint
		}
		if err != nil {
			return d.fail("remove", base, err)
		}
		if !dir {
			return d.Remove(base)
		}
		if err := d.scanMounts(base); err != nil {
			return err
		}
		return d.removeTree(base)
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// probe tells whether an entry is a directory, and whether something is
// mounted on it, a bind mount of the same filesystem included.
func probe(dirfd int, name string) (dir, mounted bool, err error) {
	var sx unix.Statx_t
	const flags = unix.AT_SYMLINK_NOFOLLOW | unix.AT_NO_AUTOMOUNT
	if err := unix.Statx(dirfd, name, flags, unix.STATX_TYPE, &sx); err != nil {
		return false, false, err
	}
	dir = sx.Mode&unix.S_IFMT == unix.S_IFDIR
	if sx.Attributes_mask&unix.STATX_ATTR_MOUNT_ROOT != 0 {
		return dir, sx.Attributes&unix.STATX_ATTR_MOUNT_ROOT != 0, nil
	}
	mounted, err = crossesMount(dirfd, name)
	return dir, mounted, err
}

// crossesMount finds a mount point on kernels 5.6 and 5.7.
func crossesMount(dirfd int, name string) (bool, error) {
	fd, err := openat2(dirfd, name, unix.O_PATH|unix.O_NOFOLLOW, 0, unix.RESOLVE_NO_XDEV)
	if err == unix.EXDEV {
		return true, nil
	}
	if err == nil {
		unix.Close(fd)
	}
	return false, err
}

// frame is one directory on the way down. Its identity is kept so that the
// way back by ".." ends where the way down began.
type frame struct {
	name     string
	dev, ino uint64
	dirs     []string // seen in it and still to be visited
}

// treeWalk goes through a tree with one open directory at a time.
type treeWalk struct {
	top   *Dir
	fd    int // O_RDONLY, the directory of the last frame
	stack []frame
	buf   []byte
}

func (d *Dir) newWalk(name string) (*treeWalk, error) {
	w := &treeWalk{top: d, fd: -1, buf: make([]byte, 32<<10)}
	if err := w.enter(d.fd, name); err != nil {
		return nil, err
	}
	return w, nil
}

func (w *treeWalk) close() {
	if w.fd >= 0 {
		unix.Close(w.fd)
	}
}

// fail names the entry below the current directory.
func (w *treeWalk) fail(name string, err error) error {
	if err == unix.EXDEV {
		err = ErrMountpoint
	}
	parts := make([]string, 0, len(w.stack)+1)
	for _, f := range w.stack {
		parts = append(parts, f.name)
	}
	if name != "" {
		parts = append(parts, name)
	}
	return w.top.fail("remove", strings.Join(parts, "/"), err)
}

func (w *treeWalk) enter(dirfd int, name string) error {
	const flags = unix.O_RDONLY | unix.O_DIRECTORY | unix.O_NOFOLLOW
	fd, err := openat2(dirfd, name, flags, 0, unix.RESOLVE_NO_XDEV|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return w.fail(name, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		unix.Close(fd)
		return w.fail(name, err)
	}
	w.close()
	w.fd = fd
	w.stack = append(w.stack, frame{name: name, dev: uint64(st.Dev), ino: st.Ino})
	return nil
}

// leave goes back to the parent and gives the name of the directory left.
// The topmost one has its parent in w.top.
func (w *treeWalk) leave() (name string, err error) {
	name = w.stack[len(w.stack)-1].name
	if len(w.stack) == 1 {
		w.stack = nil
		return name, nil
	}
	fd, err := unix.Openat(w.fd, "..", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return name, w.fail("", err)
	}
	w.stack = w.stack[:len(w.stack)-1]
	up := &w.stack[len(w.stack)-1]
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	if err == nil && (uint64(st.Dev) != up.dev || st.Ino != up.ino) {
		err = errors.New("was moved while it was being removed")
	}
	if err != nil {
		unix.Close(fd)
		return name, w.fail(name, err)
	}
	w.close()
	w.fd = fd
	return name, nil
}

// names reads the next part of the current directory; none is the end.
func (w *treeWalk) names() ([]string, error) {
	for {
		n, err := unix.Getdents(w.fd, w.buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, w.fail("", err)
		}
		if n == 0 {
			return nil, nil
		}
		_, _, names := unix.ParseDirent(w.buf[:n], -1, nil)
		if len(names) > 0 {
			return names, nil
		}
	}
}

// nextDir takes a directory to visit off the current frame.
func (w *treeWalk) nextDir() (string, bool) {
	f := &w.stack[len(w.stack)-1]
	if len(f.dirs) == 0 {
		return "", false
	}
	name := f.dirs[len(f.dirs)-1]
	f.dirs = f.dirs[:len(f.dirs)-1]
	return name, true
}

// scanMounts looks at every entry of the tree for a mount point.
func (d *Dir) scanMounts(base string) error {
	w, err := d.newWalk(base)
	if err != nil {
		return err
	}
	defer w.close()
	if err := w.scanDir(); err != nil {
		return err
	}
	for len(w.stack) > 0 {
		if name, ok := w.nextDir(); ok {
			if err := w.enter(w.fd, name); err != nil {
				return err
			}
			if err := w.scanDir(); err != nil {
				return err
			}
			continue
		}
		if _, err := w.leave(); err != nil {
			return err
		}
	}
	return nil
}

func (w *treeWalk) scanDir() error {
	for {
		names, err := w.names()
		if err != nil || names == nil {
			return err
		}
		for _, name := range names {
			if err := w.scanEntry(name); err != nil {
				return err
			}
		}
	}
}

func (w *treeWalk) scanEntry(name string) error {
	dir, mounted, err := probe(w.fd, name)
	if mounted {
		err = ErrMountpoint
	}
	if err != nil {
		return w.fail(name, err)
	}
	if dir {
		f := &w.stack[len(w.stack)-1]
		f.dirs = append(f.dirs, name)
	}
	return nil
}

// removeTree empties and removes the directory base.
func (d *Dir) removeTree(base string) error {
	w, err := d.newWalk(base)
	if err != nil {
		return err
	}
	defer w.close()
	for len(w.stack) > 0 {
		if name, ok := w.nextDir(); ok {
			if err := w.enter(w.fd, name); err != nil {
				return err
			}
			continue
		}
		empty, err := w.removeEntries()
		if err != nil {
			return err
		}
		if !empty {
			continue
		}
		if err := w.removeLeft(d.fd); err != nil {
			return err
		}
	}
	return nil
}

// removeLeft goes up and removes the directory that was left.
func (w *treeWalk) removeLeft(topfd int) error {
	name, err := w.leave()
	if err != nil {
		return err
	}
	parent := w.fd
	if len(w.stack) == 0 {
		parent = topfd
	}
	return w.unlink(parent, name, unix.AT_REMOVEDIR)
}

// removeEntries removes what is no directory from the current one, and notes
// the directories. It reads from the start each time: removing moves entries.
func (w *treeWalk) removeEntries() (empty bool, err error) {
	if _, err := unix.Seek(w.fd, 0, 0); err != nil {
		return false, w.fail("", err)
	}
	names, err := w.names()
	if err != nil {
		return false, err
	}
	for _, name := range names {
		err := uninterrupted(func() error { return unix.Unlinkat(w.fd, name, 0) })
		switch err {
		case nil, unix.ENOENT:
		case unix.EISDIR:
			f := &w.stack[len(w.stack)-1]
			f.dirs = append(f.dirs, name)
		default:
			return false, w.fail(name, explain(w.fd, name, err))
		}
	}
	return len(names) == 0, nil
}

func (w *treeWalk) unlink(dirfd int, name string, flags int) error {
	err := uninterrupted(func() error { return unix.Unlinkat(dirfd, name, flags) })
	if err == nil || err == unix.ENOENT {
		return nil
	}
	if err == unix.EBUSY {
		err = ErrMountpoint // mounted after the check
	}
	return w.fail(name, explain(dirfd, name, err))
}

// explain says when a refusal comes from an attribute that root cannot pass either.
func explain(dirfd int, name string, err error) error {
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	const fixed = unix.STATX_ATTR_IMMUTABLE | unix.STATX_ATTR_APPEND
	for _, n := range []string{name, "."} {
		var sx unix.Statx_t
		if unix.Statx(dirfd, n, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_TYPE, &sx) != nil || sx.Attributes&fixed == 0 {
			continue
		}
		if n == "." {
			return fmt.Errorf("%w (its directory is immutable or append-only)", err)
		}
		return fmt.Errorf("%w (it is immutable or append-only)", err)
	}
	return err
}
