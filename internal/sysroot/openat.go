// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// openat2 gives EAGAIN when a rename or mount anywhere on the machine could
// have made a ".." unsafe. The first tries are repeated at once, later ones
// after a pause that grows.
const (
	eagainQuick = 32
	eagainSlow  = 40
)

const confined = unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS

// openat2 opens p below the root, following links inside of it.
func (r *Root) openat2(p string, flags, perm int, resolve uint64) (int, error) {
	return openat2(r.fd, p, flags, perm, confined|resolve)
}

func openat2(dirfd int, p string, flags, perm int, resolve uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   uint64(flags | unix.O_CLOEXEC),
		Mode:    uint64(perm),
		Resolve: resolve,
	}
	for try := 0; ; try++ {
		fd, err := unix.Openat2(dirfd, p, &how)
		switch err {
		case nil:
			return fd, nil
		case unix.EINTR:
			continue
		case unix.ENOSYS:
			return -1, errNoOpenat2
		case unix.EAGAIN:
			if try < eagainQuick {
				continue
			}
			if try < eagainQuick+eagainSlow {
				time.Sleep(time.Duration(try-eagainQuick+1) * 100 * time.Microsecond)
				continue
			}
		}
		return -1, err
	}
}

// uninterrupted repeats f while a signal cuts it.
func uninterrupted(f func() error) error {
	for {
		if err := f(); err != unix.EINTR {
			return err
		}
	}
}

// split cuts p before its last component. A path that ends in ".." or names
// the root itself has none that could be a link or be missing: it is given
// back as parent, with "." for the component.
func split(p string) (parent, base string) {
	p = strings.TrimRight(p, "/")
	parent, base = "/", p
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		parent, base = p[:i+1], p[i+1:]
	}
	switch base {
	case "", ".":
		return parent, "."
	case "..":
		return p, "."
	}
	return parent, base
}
