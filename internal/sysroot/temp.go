// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Temp is a file being written under a temporary name. Write and Reset make it a resource.Sink.
type Temp struct {
	dir   *Dir
	owned bool // dir is closed with the file
	name  string
	f     *os.File
	done  bool
}

// TempName is the temporary name for a file of that name. It is the same on
// each run, so that what a cut run left behind is found and replaced.
func TempName(base string) string {
	h := fnv.New64a()
	h.Write([]byte(base))
	return fmt.Sprintf(".ignition-%016x.tmp", h.Sum64())
}

// NewTemp creates dir/name with mode 0600; a leftover of that name is removed
// first. dir must exist.
func (r *Root) NewTemp(dir, name string) (*Temp, error) {
	d, err := r.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	t, err := d.CreateTemp(name)
	if err != nil {
		d.Close()
		return nil, err
	}
	t.owned = true
	return t, nil
}

// CreateTemp is NewTemp in an open directory, which must stay open until the
// file is committed or aborted.
func (d *Dir) CreateTemp(name string) (*Temp, error) {
	fd, err := d.createExclusive(name)
	if errors.Is(err, unix.EEXIST) {
		if err := d.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		fd, err = d.createExclusive(name)
	}
	if err != nil {
		return nil, err
	}
	return &Temp{dir: d, name: name, f: os.NewFile(uintptr(fd), d.root.Display(d.Path(name)))}, nil
}

func (d *Dir) createExclusive(name string) (fd int, err error) {
	const flags = unix.O_RDWR | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
	err = d.do("create", name, func() (err error) {
		fd, err = unix.Openat(d.fd, name, flags, 0o600)
		return err
	})
	return fd, err
}

// Write appends to the file.
func (t *Temp) Write(b []byte) (int, error) { return t.f.Write(b) }

// Reset takes the file back to zero bytes.
func (t *Temp) Reset() error {
	if err := t.f.Truncate(0); err != nil {
		return err
	}
	_, err := t.f.Seek(0, 0)
	return err
}

// File is the open file, for what has to be done to it by descriptor.
func (t *Temp) File() *os.File { return t.f }

// SetOwnerAndMode sets both, the owner first: a change of owner takes set-id
// bits away. An id of -1 stays.
func (t *Temp) SetOwnerAndMode(mode fs.FileMode, uid, gid int) error {
	if uid != -1 || gid != -1 {
		if err := t.f.Chown(uid, gid); err != nil {
			return err
		}
	}
	return t.f.Chmod(mode)
}

// Commit renames the file over p, on the same filesystem, and closes it. When
// that fails the temporary file is gone too.
func (t *Temp) Commit(p string) error {
	return t.commit(func() error {
		r := t.dir.root
		parent, base := split(p)
		to, err := r.openDir(parent)
		if err != nil {
			return r.fail("rename", p, err)
		}
		defer to.Close()
		return t.dir.RenameTo(t.name, to, base)
	})
}

// CommitName is Commit to another name in the same directory.
func (t *Temp) CommitName(name string) error {
	return t.commit(func() error { return t.dir.Rename(t.name, name) })
}

func (t *Temp) commit(rename func() error) error {
	if t.done {
		return t.dir.fail("rename", t.name, fs.ErrClosed)
	}
	err := t.f.Close() // some filesystems tell of a failed write here
	if err == nil {
		err = rename()
	}
	if err != nil {
		t.Abort()
		return err
	}
	t.finish()
	return nil
}

// Abort closes and removes the file. It does nothing after Commit.
func (t *Temp) Abort() error {
	if t.done {
		return nil
	}
	t.f.Close()
	err := t.dir.Remove(t.name)
	t.finish()
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (t *Temp) finish() {
	t.done = true
	if t.owned {
		t.dir.Close()
	}
}

// WriteFile puts a file with that content, mode and owner at p, in one step
// for anyone who looks. A link at p is replaced. The parent must exist. An id
// of -1 is the caller's own.
func (r *Root) WriteFile(p string, data []byte, mode fs.FileMode, uid, gid int) error {
	return r.at("create", p, func(d *Dir, base string) error {
		return d.writeFile(base, data, mode, uid, gid, false)
	})
}

// WriteFileSync is WriteFile that returns when file and name are on disk.
func (r *Root) WriteFileSync(p string, data []byte, mode fs.FileMode, uid, gid int) error {
	return r.at("create", p, func(d *Dir, base string) error {
		if err := d.writeFile(base, data, mode, uid, gid, true); err != nil {
			return err
		}
		return d.Sync()
	})
}

// WriteFile is Root.WriteFile in an open directory.
func (d *Dir) WriteFile(name string, data []byte, mode fs.FileMode, uid, gid int) error {
	return d.writeFile(name, data, mode, uid, gid, false)
}

func (d *Dir) writeFile(name string, data []byte, mode fs.FileMode, uid, gid int, sync bool) error {
	if name == "." {
		return d.fail("create", name, unix.EISDIR)
	}
	t, err := d.CreateTemp(TempName(name))
	if err != nil {
		return err
	}
	defer t.Abort()
	if _, err := t.Write(data); err != nil {
		return err
	}
	if err := t.SetOwnerAndMode(mode, uid, gid); err != nil {
		return err
	}
	if sync {
		if err := t.f.Sync(); err != nil {
			return err
		}
	}
	return t.CommitName(name)
}

// Sync writes the directory's entries to disk.
func (d *Dir) Sync() error {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return d.fail("open", ".", err)
	}
	defer unix.Close(fd)
	return d.fail("sync", ".", uninterrupted(func() error { return unix.Fsync(fd) }))
}
