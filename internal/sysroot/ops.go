// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// at opens the parent of p and runs f on the last component. An error of f is
// named by f itself.
func (r *Root) at(op, p string, f func(d *Dir, base string) error) error {
	parent, base := split(p)
	d, err := r.openDir(parent)
	if err != nil {
		return r.fail(op, p, err)
	}
	defer d.Close()
	return f(d, base)
}

// Lstat describes p itself.
func (r *Root) Lstat(p string) (st Stat, err error) {
	err = r.at("lstat", p, func(d *Dir, base string) (err error) {
		st, err = d.Lstat(base)
		return err
	})
	return st, err
}

// Stat describes what p leads to, following the last component.
func (r *Root) Stat(p string) (Stat, error) {
	r.look(followed, p)
	fd, err := r.openat2(p, unix.O_PATH, 0, 0)
	if err != nil {
		return Stat{}, r.fail("stat", p, err)
	}
	defer unix.Close(fd)
	st, err := statFD(fd)
	return st, r.fail("stat", p, err)
}

// Readlink gives the text of the link at p.
func (r *Root) Readlink(p string) (target string, err error) {
	err = r.at("readlink", p, func(d *Dir, base string) (err error) {
		target, err = d.Readlink(base)
		return err
	})
	return target, err
}

var errNotRegular = errors.New("not a regular file")

// ReadFile reads a regular file, following links; it refuses anything else.
func (r *Root) ReadFile(p string) ([]byte, error) {
	f, err := r.OpenFile(p, unix.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !fi.Mode().IsRegular() {
		return nil, r.fail("read", p, errNotRegular)
	}
	return io.ReadAll(f)
}

// ReadDir lists a directory, following links, sorted by name.
func (r *Root) ReadDir(p string) ([]fs.DirEntry, error) {
	r.look(listed, p)
	d, err := r.OpenDir(p)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.ReadNames()
	if err != nil {
		return nil, err
	}
	list := make([]fs.DirEntry, 0, len(names))
	for _, name := range names {
		e, err := newEntry(d.fd, name)
		if err == unix.ENOENT {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, d.fail("lstat", name, err)
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// OpenFile opens a regular file or a directory, following links unless flags
// say O_NOFOLLOW. Pipes, sockets and devices are refused: opening them could
// block for good. The umask applies to perm.
func (r *Root) OpenFile(p string, flags int, perm uint32) (*os.File, error) {
	if flags&unix.O_NOFOLLOW != 0 {
		r.look(byName, p)
	} else {
		r.look(followed, p)
	}
	if flags&(unix.O_CREAT|unix.O_TMPFILE) == 0 {
		perm = 0 // openat2 refuses a mode that has no use
	}
	fd, err := r.openat2(p, flags|unix.O_NONBLOCK|unix.O_NOCTTY, int(perm&0o7777), 0)
	if err == unix.ENXIO {
		err = errNotRegular // a pipe without a reader, a socket, a missing device
	}
	if err != nil {
		return nil, r.fail("open", p, err)
	}
	if err := plainFile(fd, flags); err != nil {
		unix.Close(fd)
		return nil, r.fail("open", p, err)
	}
	return os.NewFile(uintptr(fd), r.Display(p)), nil
}

// plainFile refuses special files and puts back the flags the caller asked for.
func plainFile(fd, flags int) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if flags&unix.O_PATH != 0 {
		return nil
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG, unix.S_IFDIR:
	default:
		return errNotRegular
	}
	if flags&unix.O_NONBLOCK != 0 {
		return nil
	}
	fl, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, fl&^unix.O_NONBLOCK)
	return err
}

// Remove removes a file, a link or an empty directory.
func (r *Root) Remove(p string) error {
	return r.at("remove", p, (*Dir).Remove)
}

// Symlink makes a link at p with the text as it is.
func (r *Root) Symlink(target, p string) error {
	return r.at("symlink", p, func(d *Dir, base string) error { return d.Symlink(target, base) })
}

// Link makes a hard link at newp; a link at oldp is linked itself, not what it leads to.
func (r *Root) Link(oldp, newp string) error {
	return r.both("link", oldp, newp, func(od *Dir, oldb string, nd *Dir, newb string) error {
		err := uninterrupted(func() error { return unix.Linkat(od.fd, oldb, nd.fd, newb, 0) })
		return r.failLink("link", oldp, newp, err)
	})
}

// Rename moves oldp over newp on the same filesystem. Neither is followed.
func (r *Root) Rename(oldp, newp string) error {
	return r.both("rename", oldp, newp, func(od *Dir, oldb string, nd *Dir, newb string) error {
		return od.RenameTo(oldb, nd, newb)
	})
}

func (r *Root) both(op, oldp, newp string, f func(od *Dir, oldb string, nd *Dir, newb string) error) error {
	oldParent, oldb := split(oldp)
	newParent, newb := split(newp)
	od, err := r.openDir(oldParent)
	if err != nil {
		return r.failLink(op, oldp, newp, err)
	}
	defer od.Close()
	nd, err := r.openDir(newParent)
	if err != nil {
		return r.failLink(op, oldp, newp, err)
	}
	defer nd.Close()
	return f(od, oldb, nd, newb)
}

// Lchown sets the owner of p itself; -1 leaves one unchanged.
func (r *Root) Lchown(p string, uid, gid int) error {
	return r.at("lchown", p, func(d *Dir, base string) error { return d.Lchown(base, uid, gid) })
}

// Chmod sets permission, set-id and sticky bits of p itself; a link is an error (EOPNOTSUPP).
func (r *Root) Chmod(p string, mode fs.FileMode) error {
	return r.at("chmod", p, func(d *Dir, base string) error { return d.Chmod(base, mode) })
}

// SyncFS writes out the filesystem that holds p, a directory or a regular file.
func (r *Root) SyncFS(p string) error {
	f, err := r.OpenFile(p, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := uninterrupted(func() error { return unix.Syncfs(int(f.Fd())) }); err != nil {
		return r.fail("syncfs", p, fmt.Errorf("data may not be on disk: %w", err))
	}
	return nil
}
