// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// localFiles is a directory that nothing leads out of, for reading: the kernel refuses "..", absolute paths and
// symbolic links that would.
type localFiles struct {
	dir  *os.File
	line *progressLine // of large files
}

var errOutside = errors.New("a symbolic link leads outside the files directory")

func openLocalFiles(dir string, line *progressLine) (localFiles, error) {
	f, err := os.Open(dir)
	return localFiles{f, line}, err
}

func (l localFiles) open(name string, flags uint64) (*os.File, error) {
	how := unix.OpenHow{Flags: flags | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS}
	for {
		fd, err := unix.Openat2(int(l.dir.Fd()), name, &how)
		switch err {
		case nil:
			return os.NewFile(uintptr(fd), name), nil
		case unix.EINTR, unix.EAGAIN: // renames raced with the look-up
		case unix.EXDEV:
			return nil, errOutside
		default:
			return nil, err
		}
	}
}

// Open opens a file or directory; a pipe does not block.
func (l localFiles) Open(name string) (fs.File, error) {
	f, err := l.open(name, unix.O_RDONLY|unix.O_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &shownFile{f, &shownReader{Reader: f, work: shownWork{line: l.line, what: "reading " + name}, size: sizeOf(f)}}, nil
}

// shownFile is a file that tells how much of it has been read.
type shownFile struct {
	*os.File
	reader *shownReader
}

func (f *shownFile) Read(b []byte) (int, error) { return f.reader.Read(b) }

func sizeOf(f *os.File) int64 {
	info, err := f.Stat()
	if err != nil {
		return -1
	}
	return info.Size()
}

// ReadDir lists a directory by name.
func (l localFiles) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := l.open(name, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// Lstat describes a file and does not follow a symbolic link.
func (l localFiles) Lstat(name string) (fs.FileInfo, error) {
	f, err := l.open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// ReadLink gives the target of a symbolic link.
func (l localFiles) ReadLink(name string) (string, error) {
	f, err := l.open(name, unix.O_PATH|unix.O_NOFOLLOW)
	if err != nil {
		return "", err
	}
	defer f.Close()
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(int(f.Fd()), "", target)
	if err != nil {
		return "", err
	}
	return string(target[:n]), nil
}
