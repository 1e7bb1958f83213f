// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"io/fs"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const statMask = unix.STATX_BASIC_STATS | unix.STATX_MNT_ID

func statAt(dirfd int, name string) (Stat, error) {
	var sx unix.Statx_t
	err := unix.Statx(dirfd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, statMask, &sx)
	return fromStatx(&sx), err
}

// statFD describes what fd is open on, O_PATH descriptors included.
func statFD(fd int) (Stat, error) {
	var sx unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, statMask, &sx)
	return fromStatx(&sx), err
}

func fromStatx(sx *unix.Statx_t) Stat {
	st := Stat{
		Mode: fileMode(uint32(sx.Mode)),
		UID:  int(sx.Uid),
		GID:  int(sx.Gid),
		Size: int64(sx.Size),
		Dev:  unix.Mkdev(sx.Dev_major, sx.Dev_minor),
		Ino:  sx.Ino,

		Changed: sx.Ctime.Sec*1e9 + int64(sx.Ctime.Nsec),
	}
	if sx.Mask&unix.STATX_MNT_ID != 0 {
		st.MountID = sx.Mnt_id
	}
	return st
}

// fileMode turns the kernel's mode into Go's.
func fileMode(mode uint32) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for _, s := range specialBits {
		if mode&s.bit != 0 {
			m |= s.mode
		}
	}
	return m | fileTypes[mode&unix.S_IFMT]
}

var fileTypes = map[uint32]fs.FileMode{
	unix.S_IFREG:  0,
	unix.S_IFDIR:  fs.ModeDir,
	unix.S_IFLNK:  fs.ModeSymlink,
	unix.S_IFIFO:  fs.ModeNamedPipe,
	unix.S_IFSOCK: fs.ModeSocket,
	unix.S_IFBLK:  fs.ModeDevice,
	unix.S_IFCHR:  fs.ModeDevice | fs.ModeCharDevice,
}

// entry is a directory entry whose description was taken with the listing:
// taking it later by path could leave the tree.
type entry struct {
	name  string
	st    Stat
	mtime time.Time
}

func newEntry(dirfd int, name string) (entry, error) {
	var sx unix.Statx_t
	err := unix.Statx(dirfd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, statMask, &sx)
	return entry{name, fromStatx(&sx), time.Unix(sx.Mtime.Sec, int64(sx.Mtime.Nsec))}, err
}

func (e entry) Name() string               { return e.name }
func (e entry) IsDir() bool                { return e.st.Mode.IsDir() }
func (e entry) Type() fs.FileMode          { return e.st.Mode.Type() }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) Size() int64                { return e.st.Size }
func (e entry) Mode() fs.FileMode          { return e.st.Mode }
func (e entry) ModTime() time.Time         { return e.mtime }
func (e entry) Sys() any                   { return e.st } // a Stat

func procFD(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }
