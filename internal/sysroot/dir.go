// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// Dir is an open directory of the tree. Its methods take the name of an entry
// and never follow a link there, so a caller that does several things to one
// file resolves the file's parent once.
type Dir struct {
	root *Root
	fd   int    // O_PATH
	path string // in the tree, as it was asked for; for messages
}

// OpenDir opens the directory p, following links.
func (r *Root) OpenDir(p string) (*Dir, error) {
	d, err := r.openDir(p)
	if err != nil {
		return nil, r.fail("open", p, err)
	}
	return d, nil
}

func (r *Root) openDir(p string) (*Dir, error) {
	fd, err := r.openat2(p, unix.O_PATH|unix.O_DIRECTORY, 0, 0)
	if err != nil {
		return nil, err
	}
	return &Dir{root: r, fd: fd, path: p}, nil
}

// Close releases the descriptor.
func (d *Dir) Close() error { return unix.Close(d.fd) }

// Path is the path of the entry in the tree.
func (d *Dir) Path(name string) string { return path.Join("/", d.path, name) }

func (d *Dir) fail(op, name string, err error) error {
	return d.root.fail(op, d.path+"/"+name, err)
}

// checkName keeps a path from being taken for a name: at-calls would follow
// its links outside of the tree.
func checkName(name string) error {
	if name == "" || name == ".." || strings.IndexByte(name, '/') >= 0 {
		return unix.EINVAL
	}
	return nil
}

// do runs an at-call on the entry and names the entry in its error.
func (d *Dir) do(op, name string, f func() error) error {
	err := checkName(name)
	if err == nil {
		err = uninterrupted(f)
	}
	return d.fail(op, name, err)
}

// Lstat describes the entry itself.
func (d *Dir) Lstat(name string) (st Stat, err error) {
	err = d.do("lstat", name, func() (err error) {
		st, err = statAt(d.fd, name)
		return err
	})
	if d.root.watch != nil {
		d.root.note(byName, d.below(name), identity(st, err, false))
	}
	return st, err
}

// Readlink gives the text of a link.
func (d *Dir) Readlink(name string) (target string, err error) {
	d.root.look(byName, d.below(name))
	err = d.do("readlink", name, func() (err error) {
		target, err = readlinkat(d.fd, name)
		return err
	})
	return target, err
}

// Symlink makes a link with the text as it is.
func (d *Dir) Symlink(target, name string) error {
	return d.do("symlink", name, func() error { return unix.Symlinkat(target, d.fd, name) })
}

// Mkdir makes a directory with exactly perm, whatever the umask. A set-group-id
// bit that the parent hands on is kept.
func (d *Dir) Mkdir(name string, perm uint32) error {
	return d.do("mkdir", name, func() error { return mkdirAt(d.fd, name, perm) })
}

// Rename moves an entry to another name in the same directory, replacing what is there.
func (d *Dir) Rename(oldname, newname string) error {
	return d.RenameTo(oldname, d, newname)
}

// RenameTo moves an entry to another directory of the same filesystem.
func (d *Dir) RenameTo(oldname string, to *Dir, newname string) error {
	err := checkName(oldname)
	if err == nil {
		err = checkName(newname)
	}
	if err == nil {
		err = uninterrupted(func() error { return unix.Renameat(d.fd, oldname, to.fd, newname) })
	}
	return d.root.failLink("rename", d.Path(oldname), to.Path(newname), err)
}

// Lchown sets the owner of the entry itself; -1 leaves one unchanged.
func (d *Dir) Lchown(name string, uid, gid int) error {
	return d.do("lchown", name, func() error {
		return unix.Fchownat(d.fd, name, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// Chmod sets permission, set-id and sticky bits of the entry itself. A link
// has none: that is an error (EOPNOTSUPP).
func (d *Dir) Chmod(name string, mode fs.FileMode) error {
	return d.do("chmod", name, func() error { return chmodAt(d.fd, name, bits(mode)) })
}

// Remove removes a file, a link or an empty directory.
func (d *Dir) Remove(name string) error {
	return d.do("remove", name, func() error { return removeAt(d.fd, name) })
}

func removeAt(dirfd int, name string) error {
	err := unix.Unlinkat(dirfd, name, 0)
	if err == unix.EISDIR {
		return unix.Unlinkat(dirfd, name, unix.AT_REMOVEDIR)
	}
	return err
}

func mkdirAt(dirfd int, name string, perm uint32) error {
	if err := unix.Mkdirat(dirfd, name, perm); err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(dirfd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	want := perm&0o7777 | st.Mode&unix.S_ISGID
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || st.Mode&0o7777 == want {
		return nil
	}
	return chmodAt(dirfd, name, want)
}

// chmodAt changes the entry itself. fchmodat2 does so from Linux 6.6 on.
func chmodAt(dirfd int, name string, mode uint32) error {
	err := unix.Fchmodat(dirfd, name, mode, unix.AT_SYMLINK_NOFOLLOW)
	if err != unix.EOPNOTSUPP && err != unix.ENOSYS {
		return err
	}
	return chmodOld(dirfd, name, mode)
}

// chmodOld is chmodAt for older kernels. Files and directories are opened,
// which needs no /proc; what must not or cannot be opened goes through it.
func chmodOld(dirfd int, name string, mode uint32) error {
	fd, err := unix.Openat(dirfd, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	kind := st.Mode & unix.S_IFMT
	if kind == unix.S_IFLNK {
		return unix.EOPNOTSUPP
	}
	if kind == unix.S_IFREG || kind == unix.S_IFDIR {
		const flags = unix.O_RDONLY | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
		real, err := unix.Openat(dirfd, name, flags, 0)
		if err == nil {
			defer unix.Close(real)
			return unix.Fchmod(real, mode)
		}
	}
	return unix.Chmod(procFD(fd), mode)
}

// bits turns Go's mode into the kernel's.
func bits(m fs.FileMode) uint32 {
	b := uint32(m.Perm())
	for _, s := range specialBits {
		if m&s.mode != 0 {
			b |= s.bit
		}
	}
	return b
}

var specialBits = []struct {
	mode fs.FileMode
	bit  uint32
}{
	{fs.ModeSetuid, unix.S_ISUID}, {fs.ModeSetgid, unix.S_ISGID}, {fs.ModeSticky, unix.S_ISVTX},
}

// ReadNames lists the entries of the directory, in no order.
func (d *Dir) ReadNames() ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, d.fail("open", ".", err)
	}
	f := os.NewFile(uintptr(fd), d.root.Display(d.path))
	defer f.Close()
	return f.Readdirnames(-1)
}
