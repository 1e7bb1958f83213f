// SPDX-License-Identifier: Apache-2.0

// Package sysroot is the target tree, held as a directory descriptor. Every
// path operation is confined to it by openat2 with RESOLVE_IN_ROOT: symlinks
// in the tree resolve inside it, also when something changes them meanwhile.
// Nothing outside of this package joins a path to the root.
package sysroot

import (
	"errors"
	"io/fs"
	"os"
)

// Root is an open target tree. All paths given to its methods are absolute
// paths inside of it. Symlinks before the last component are followed inside
// the tree; the last one only where a method says so.
type Root struct{}

// Stat describes a node.
type Stat struct {
	Mode     fs.FileMode // type, permission, set-id and sticky bits
	UID, GID int
	Size     int64
	Dev, Ino uint64
	MountID  uint64
}

// ErrMountpoint is returned by RemoveAll for a tree that holds a mount point.
var ErrMountpoint = errors.New("contains a mount point")

func Open(path string) (*Root, error)                                       { panic("stub") } // made absolute and cleaned first
func (r *Root) Close() error                                                { panic("stub") }
func (r *Root) Path() string                                                { panic("stub") } // "/sysroot": for messages and --root arguments
func (r *Root) Display(p string) string                                     { panic("stub") } // "/sysroot/etc/x": lexical, for messages only
func (r *Root) Resolve(p string) (string, error)                            { panic("stub") } // all but the last component; missing ones literally; ELOOP past 40
func (r *Root) Lstat(p string) (Stat, error)                                { panic("stub") }
func (r *Root) Stat(p string) (Stat, error)                                 { panic("stub") } // follows the last component
func (r *Root) Readlink(p string) (string, error)                           { panic("stub") }
func (r *Root) ReadFile(p string) ([]byte, error)                           { panic("stub") } // follows; refuses non-regular files
func (r *Root) ReadDir(p string) ([]fs.DirEntry, error)                     { panic("stub") }
func (r *Root) OpenFile(p string, flags int, perm uint32) (*os.File, error) { panic("stub") } // follows unless O_NOFOLLOW
func (r *Root) MkdirAll(p string, perm uint32) (first string, err error)    { panic("stub") } // exact perm, umask-free; first: topmost directory made, or ""
func (r *Root) Remove(p string) error                                       { panic("stub") }
func (r *Root) RemoveAll(p string) error                                    { panic("stub") } // refuses, before removing anything, a tree that holds mount points
func (r *Root) Symlink(target, p string) error                              { panic("stub") }
func (r *Root) Link(oldp, newp string) error                                { panic("stub") } // does not follow a final symlink
func (r *Root) Rename(oldp, newp string) error                              { panic("stub") }
func (r *Root) Lchown(p string, uid, gid int) error                         { panic("stub") } // -1: unchanged
func (r *Root) Chmod(p string, mode fs.FileMode) error                      { panic("stub") } // incl. set-id and sticky; does not follow
func (r *Root) SyncFS(p string) error                                       { panic("stub") } // syncfs of the filesystem that holds p

// Temp is a file being written under a temporary name. Write and Reset make it a resource.Sink.
type Temp struct{}

// NewTemp creates dir/name 0600; a leftover of that name is removed first. dir must exist.
func (r *Root) NewTemp(dir, name string) (*Temp, error) { panic("stub") }
func (t *Temp) Write(b []byte) (int, error)             { panic("stub") }
func (t *Temp) Reset() error                            { panic("stub") } // back to zero bytes
func (t *Temp) File() *os.File                          { panic("stub") } // for fchown, fchmod, copy_file_range
func (t *Temp) Commit(p string) error                   { panic("stub") } // rename over p (same filesystem), close
func (t *Temp) Abort() error                            { panic("stub") } // close and unlink; nothing after Commit
