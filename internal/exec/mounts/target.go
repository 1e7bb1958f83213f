// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// NotDirectoryError is a mount path that leads through, or to, something that
// is not a directory, links included.
type NotDirectoryError struct {
	Target    string
	Component string
}

func (e *NotDirectoryError) Error() string {
	return fmt.Sprintf("mount path %q contains non-directory component %q", e.Target, e.Component)
}

// MakeTarget makes the directories of target that are missing, and gives them,
// parents first. Every component that exists must be a directory: each is
// opened below the one before it, and links are not followed, so that the
// path means the same place to whoever mounts there.
func MakeTarget(target string) (made []string, err error) {
	dir, err := unix.Open("/", openDirectory, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/", Err: err}
	}
	defer func() { unix.Close(dir) }()
	at := "/"
	for name := range strings.SplitSeq(strings.Trim(path.Clean(target), "/"), "/") {
		if name == "" { // the root itself
			break
		}
		at = path.Join(at, name)
		next, created, err := enter(dir, name)
		if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			return made, &NotDirectoryError{Target: target, Component: at}
		}
		if err != nil {
			return made, &os.PathError{Op: "mkdir", Path: at, Err: err}
		}
		if created {
			made = append(made, at)
		}
		unix.Close(dir)
		dir = next
	}
	return made, nil
}

const openDirectory = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC

// enter opens a directory of dir, and makes it first if it is missing. The
// umask applies, as it does to what people make by hand.
func enter(dir int, name string) (fd int, created bool, err error) {
	fd, err = unix.Openat(dir, name, openDirectory, 0)
	if err != unix.ENOENT {
		return fd, false, err
	}
	if err := unix.Mkdirat(dir, name, 0o755); err != nil {
		return -1, false, err
	}
	fd, err = unix.Openat(dir, name, openDirectory, 0)
	return fd, true, err
}
