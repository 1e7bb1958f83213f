// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"errors"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
)

var errNotRegular = errors.New("not a regular file")

// fetchOEM reads a file below the OEM directory. The path is cleaned first, so
// that ".." does not lead out of it. The host part of the URL means nothing.
func fetchOEM(_ context.Context, f *Fetcher, log Log, r Request, out *pipeline) error {
	u, err := url.Parse(r.URL)
	if err != nil {
		return errURL
	}
	if !strings.HasPrefix(u.Path, "/") || path.Clean(u.Path) == "/" {
		log.Err("oem path is not absolute: %q", u.Opaque+strings.TrimLeft(u.Path, "/"))
		return ErrPath
	}
	file, err := openRegular(filepath.Join(f.shared.opts.OEMDir, path.Clean(u.Path)))
	if err != nil {
		log.Err("failed to read oem config: %v", err)
		return ErrFailed
	}
	defer file.Close()
	src := &noting{r: file}
	err = out.pull(src)
	if src.err != nil {
		log.Err("failed to read oem config: %v", src.err)
		return ErrFailed
	}
	return err
}

// noting keeps a reader's error, which decompression would hide.
type noting struct {
	r   io.Reader
	err error
}

func (n *noting) Read(b []byte) (int, error) {
	k, err := n.r.Read(b)
	if err != nil && err != io.EOF {
		n.err = err
	}
	return k, err
}

// openRegular opens a file and does not wait for the writer of a named pipe.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "read", Path: name, Err: errNotRegular}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
