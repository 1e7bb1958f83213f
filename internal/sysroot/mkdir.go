// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"errors"
	"path"

	"golang.org/x/sys/unix"
)

// MkdirAll makes the directory p and its missing parents with exactly perm,
// whatever the umask, and gives the topmost one that it made, as a resolved
// path, or "". Links are followed, and what a dangling one leads to is made.
// Directories that exist are left as they are; anything else
// in the way is named in the error.
func (r *Root) MkdirAll(p string, perm uint32) (first string, err error) {
	fd, err := r.openat2(p, unix.O_PATH|unix.O_DIRECTORY, 0, 0)
	if err == nil {
		return "", unix.Close(fd)
	}
	if err != unix.ENOENT && err != unix.ENOTDIR {
		return "", r.fail("mkdir", p, err)
	}
	full, err := r.walkStable(p)
	if err != nil {
		return "", r.fail("mkdir", p, err)
	}
	have, err := r.deepest(full)
	if err != nil {
		return "", err
	}
	return r.makeBelow(have, full, perm)
}

// deepest gives the longest leading part of p that exists; p is link-free.
func (r *Root) deepest(p string) (string, error) {
	for ; p != "/"; p = path.Dir(p) {
		fd, err := r.openat2(p, unix.O_PATH|unix.O_NOFOLLOW, 0, 0)
		if err == nil {
			defer unix.Close(fd)
			st, err := statFD(fd)
			if err == nil && !st.Mode.IsDir() {
				err = unix.ENOTDIR
			}
			return p, r.fail("mkdir", p, err)
		}
		if err != unix.ENOENT && err != unix.ENOTDIR {
			return "", r.fail("mkdir", p, err)
		}
	}
	return p, nil
}

// makeBelow makes the components of p that come after have.
func (r *Root) makeBelow(have, p string, perm uint32) (first string, err error) {
	d, err := r.OpenDir(have)
	if err != nil {
		return "", err
	}
	defer func() { d.Close() }()
	for _, name := range splitAll(p[len(have):]) {
		err := d.Mkdir(name, perm)
		switch {
		case err == nil:
			if first == "" {
				first = d.Path(name)
			}
		case !errors.Is(err, unix.EEXIST): // made by another meanwhile
			return first, err
		}
		fd, err := openat2(d.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0, unix.RESOLVE_NO_SYMLINKS)
		if err != nil {
			if err == unix.ELOOP {
				err = unix.ENOTDIR // a link came in between
			}
			return first, d.fail("mkdir", name, err)
		}
		next := &Dir{root: r, fd: fd, path: d.Path(name)}
		d.Close()
		d = next
	}
	return first, nil
}
