// SPDX-License-Identifier: Apache-2.0

// Package sysroot is the target tree, held as a directory descriptor. Every
// path operation is confined to it by openat2 with RESOLVE_IN_ROOT: symlinks
// in the tree resolve inside it, also when something changes them meanwhile.
// Nothing outside of this package joins a path to the root.
package sysroot

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Root is an open target tree. All paths given to its methods are absolute
// paths inside of it. Symlinks before the last component are followed inside
// the tree; the last one only where a method says so. A Root may be used by
// several goroutines at once.
type Root struct {
	fd    int // O_PATH
	path  string
	watch *watch // nil: nothing is remembered
}

// Stat describes a node.
type Stat struct {
	Mode     fs.FileMode // type, permission, set-id and sticky bits
	UID, GID int
	Size     int64
	Dev, Ino uint64
	MountID  uint64 // 0 on kernels before 5.8
	Changed  int64  // ns since 1970 when contents or metadata last changed
}

// ErrMountpoint is returned by RemoveAll for a tree that holds a mount point.
var ErrMountpoint = errors.New("contains a mount point")

// errNoOpenat2 says what the kernel lacks; it still is ENOSYS to errors.Is.
var errNoOpenat2 = fmt.Errorf("kernel without openat2 (5.6 or newer needed): %w", unix.ENOSYS)

// Open opens the tree at path, which is made absolute and clean first. Links
// on the way to it are the host's and are followed as such.
func Open(path string) (*Root, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	var fd int
	err = uninterrupted(func() error {
		fd, err = unix.Open(abs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: abs, Err: err}
	}
	r := &Root{fd: fd, path: abs}
	// An old kernel is better noticed here than in the midst of a stage.
	probe, err := r.openat2("/", unix.O_PATH|unix.O_DIRECTORY, 0, 0)
	if err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "open", Path: abs, Err: err}
	}
	unix.Close(probe)
	return r, nil
}

// Close releases the descriptor. Handles that were opened from it stay valid.
func (r *Root) Close() error { return unix.Close(r.fd) }

// Path is where the tree is on the host: for messages and --root arguments.
func (r *Root) Path() string { return r.path }

// Display is the host's name of p, for messages. It is lexical: links are
// not looked at, so it must never be opened.
func (r *Root) Display(p string) string { return path.Join(r.path, path.Clean("/"+p)) }

// fail wraps err with the name that the user knows the path by.
func (r *Root) fail(op, p string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: r.Display(p), Err: err}
}

func (r *Root) failLink(op, oldp, newp string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: r.Display(oldp), New: r.Display(newp), Err: err}
}
