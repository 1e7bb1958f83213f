// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is the kernel's own limit.
const maxLinks = 40

// Resolve gives the path that p has when every link before its last component
// is followed with the tree as the root. Components that are missing, or that
// lie below something that is no directory, are taken literally; ".." does not
// leave the tree. More than 40 links are an error (ELOOP). The result describes
// the moment: later operations on it are confined all the same.
func (r *Root) Resolve(p string) (string, error) {
	r.look(resolved, p)
	return r.resolve(p)
}

func (r *Root) resolve(p string) (string, error) {
	parent, base := split(p)
	if !hasDots(parent) {
		ok, err := r.linkFree(parent)
		if err != nil {
			return "", r.fail("resolve", p, err)
		}
		if ok {
			return path.Join("/", parent, base), nil
		}
	}
	dir, err := r.walkStable(parent)
	if err != nil {
		return "", r.fail("resolve", p, err)
	}
	return path.Join(dir, base), nil
}

// walkStable repeats a walk during which a component turned into a link.
func (r *Root) walkStable(dir string) (string, error) {
	for try := 0; ; try++ {
		full, err := r.walk(dir)
		if !errors.Is(err, errChanged) || try == maxLinks {
			return full, err
		}
	}
}

// errChanged is met on a path that had no links a moment before.
var errChanged = fmt.Errorf("changed while it was read: %w", unix.ELOOP)

func hasDots(p string) bool { return strings.Contains("/"+p+"/", "/../") }

// linkFree tells in one call that no component of dir is a link, which holds
// for most of the paths in a config.
func (r *Root) linkFree(dir string) (bool, error) {
	fd, err := r.openat2(dir, unix.O_PATH, 0, unix.RESOLVE_NO_SYMLINKS)
	switch err {
	case nil:
		unix.Close(fd)
		return true, nil
	case unix.ENOENT, unix.ENOTDIR:
		// The kernel stopped there before it met a link.
		return true, nil
	case unix.ELOOP, unix.EAGAIN:
		return false, nil
	}
	return false, err
}

// walk resolves all components of dir one by one. The descriptors it reads
// links from are opened below the root without following any link, so what it
// has resolved so far is always a plain path.
func (r *Root) walk(dir string) (string, error) {
	done, todo, links := "/", splitAll(dir), 0
	for len(todo) > 0 {
		c := todo[0]
		todo = todo[1:]
		if c == ".." {
			done = path.Dir(done)
			continue
		}
		next := path.Join(done, c)
		target, err := r.readlinkPlain(next)
		switch err {
		case nil:
		case unix.EINVAL, unix.ENOENT, unix.ENOTDIR: // no link, or nothing there
			done = next
			continue
		default:
			return "", err
		}
		if links++; links > maxLinks {
			return "", unix.ELOOP
		}
		if strings.HasPrefix(target, "/") {
			done = "/"
		}
		todo = append(splitAll(target), todo...)
	}
	return done, nil
}

// readlinkPlain reads the link at p, where no component before the last is
// one. EINVAL means that p is no link.
func (r *Root) readlinkPlain(p string) (string, error) {
	parent, base := split(p)
	fd, err := r.openat2(parent, unix.O_PATH|unix.O_DIRECTORY, 0, unix.RESOLVE_NO_SYMLINKS)
	if err == unix.ELOOP {
		err = errChanged
	}
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readlinkat(fd, base)
}

func readlinkat(dirfd int, base string) (string, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := unix.Readlinkat(dirfd, base, buf)
		if err != nil {
			return "", err
		}
		if n < size {
			return string(buf[:n]), nil
		}
	}
}

// splitAll cuts a path into its components, without empty ones and ".".
func splitAll(p string) []string {
	var out []string
	for _, c := range strings.Split(p, "/") {
		if c != "" && c != "." {
			out = append(out, c)
		}
	}
	return out
}
