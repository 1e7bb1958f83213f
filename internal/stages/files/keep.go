// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/users"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/resource"
)

// On a tree that a run has finished before, and on that of a container, what is
// as the config says stays the same file, down to its times. On any other tree
// a file that is there is what the image brought, and overwrite decides.

// findFinished finds out whether an earlier run has finished this tree, and what
// of the plan is there since.
func (s *stage) findFinished() error {
	s.finished = s.Live
	if !s.Live && s.ResultFile != "" {
		st, err := s.Root.Lstat(s.resultPath())
		s.finished = err == nil && st.Mode.IsRegular() && (!s.mark.again || s.mark.Result != "")
	}
	for _, n := range s.plan.nodes {
		var err error
		if n.kept, err = s.leave(n); err != nil && !errors.Is(err, users.ErrNotFound) {
			return entryError(n.entry, err)
		}
	}
	return nil
}

// leave tells whether a node that exists is as the config says.
func (s *stage) leave(n *node) (bool, error) {
	if !s.finished || !n.present {
		return false, nil
	}
	switch {
	case n.dir != nil:
		return false, nil // nothing is written to one that is right
	case n.file != nil:
		return s.sameFile(n)
	case n.link.Hard != nil && *n.link.Hard:
		return s.sameHardLink(n)
	}
	return s.sameLink(n)
}

func (s *stage) tellKept(log *oplog.Logger, n *node) {
	shown := s.Root.Display(n.path)
	switch {
	case n.link == nil:
		log.Info("File %s is as the config says already, doing nothing", shown)
	case n.link.Hard != nil && *n.link.Hard:
		target, _ := s.Root.Resolve(path.Join("/", deref(n.link.Target))) // it was compared just now
		log.Info("Hardlink %s to %s already exists, doing nothing", shown, s.Root.Display(target))
	default:
		log.Info("Symlink %s to %s already exists, doing nothing", shown, deref(n.link.Target))
	}
}

func (s *stage) sameLink(n *node) (bool, error) {
	if n.stat.Mode.Type() != fs.ModeSymlink {
		return false, nil
	}
	if same, err := s.sameOwner(n); !same {
		return false, err
	}
	old, err := s.Root.Readlink(n.path)
	return err == nil && old == deref(n.link.Target), err
}

func (s *stage) sameHardLink(n *node) (bool, error) {
	target, err := s.Root.Resolve(path.Join("/", deref(n.link.Target)))
	if err != nil || target == n.path {
		return false, nil // the error is for whoever makes the link
	}
	st, err := s.Root.Lstat(target)
	return err == nil && st.Dev == n.stat.Dev && st.Ino == n.stat.Ino, nil
}

// sameOwner compares the owner with the one that a new node would get.
func (s *stage) sameOwner(n *node) (bool, error) {
	uid, gid, err := s.ownerOf(n, s.owner, s.owner)
	if err != nil {
		return false, err
	}
	return (uid < 0 || uid == n.stat.UID) && (gid < 0 || gid == n.stat.GID), nil
}

// sameFile tells whether a file has the owner, mode and contents of the config,
// as far as that can be told without the network.
func (s *stage) sameFile(n *node) (bool, error) {
	mode := fs.FileMode(fileMode)
	if n.file.Mode != nil {
		mode = toFileMode(*n.file.Mode)
	}
	if !n.stat.Mode.IsRegular() {
		return false, nil
	}
	if n.file.Contents.Source == nil && !n.overwrite() {
		return s.hasAppended(n)
	}
	if n.stat.Mode != mode {
		return false, nil
	}
	if same, err := s.sameOwner(n); !same {
		return false, err
	}
	return s.sameContents(n.path, n.fetches, 0)
}

// mayBeSame tells of a file on a finished tree that only the network knows to
// be as the config says: it is compared when it has come.
func (s *stage) mayBeSame(n *node) bool {
	if !s.finished || !n.stat.Mode.IsRegular() {
		return false
	}
	for _, f := range n.fetches {
		if resource.Networked(f.request.URL) {
			return !(len(n.fetches) == 1 && f.request.Hash != "")
		}
	}
	return false
}

// hasAppended tells whether a file ends with all that is to be appended to it.
func (s *stage) hasAppended(n *node) (bool, error) {
	if len(n.fetches) == 0 {
		return false, nil // owner and mode may differ
	}
	var size int64
	for _, f := range n.fetches {
		if resource.Networked(f.request.URL) {
			return false, nil
		}
		count := &counting{}
		if _, err := s.Fetcher.To(s.ctx, s.quiet(), f.request, count); err != nil {
			return false, nil // it is said when it is appended
		}
		size += count.n
	}
	if n.stat.Size < size || n.file.Mode != nil && n.stat.Mode != toFileMode(*n.file.Mode) {
		return false, nil
	}
	uid, gid, err := s.ownerOf(n, n.stat.UID, n.stat.GID)
	if err != nil || uid != n.stat.UID || gid != n.stat.GID {
		return false, err
	}
	return s.sameContents(n.path, n.fetches, n.stat.Size-size)
}

// sameContents compares what is in a file from an offset on.
func (s *stage) sameContents(p string, fetches []*fetch, from int64) (bool, error) {
	f, err := s.Root.OpenFile(p, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if len(fetches) == 1 && fetches[0].request.Hash != "" && from == 0 {
		return hasHash(f, fetches[0].request.Hash)
	}
	at := from
	for _, one := range fetches {
		if resource.Networked(one.request.URL) {
			return false, nil
		}
		c := &comparing{file: f, from: at, at: at}
		if _, err := s.Fetcher.To(s.ctx, s.quiet(), one.request, c); err != nil {
			return false, nil // it differs, or the error is said when it is written
		}
		at = c.at
	}
	var rest [1]byte
	_, err = f.ReadAt(rest[:], at)
	return errors.Is(err, io.EOF), nil
}

func hasHash(r io.Reader, want string) (bool, error) {
	function, sum, err := config.ParseHash(want)
	if err != nil {
		return false, err
	}
	h := sha512.New()
	if function == "sha256" {
		h = sha256.New()
	}
	_, err = io.Copy(h, r)
	return bytes.Equal(h.Sum(nil), sum), err
}

// quiet is for fetches of what is compared only.
func (s *stage) quiet() resource.Log { return oplog.Deferred() }

// sameAsTemp compares what was downloaded with the file that is there.
func (s *stage) sameAsTemp(n *node, mode fs.FileMode, uid, gid int, temp *os.File) bool {
	if !s.finished || !n.present || n.stat.Mode != mode || uid >= 0 && uid != n.stat.UID || gid >= 0 && gid != n.stat.GID {
		return false
	}
	f, err := s.Root.OpenFile(n.path, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	c := &comparing{file: f}
	if _, err := temp.Seek(0, io.SeekStart); err != nil {
		return false
	}
	if _, err := io.Copy(c, temp); err != nil {
		return false
	}
	return c.at == n.stat.Size
}

// samePlain compares a file with what writePlain would make it.
func (s *stage) samePlain(p string, contents []byte, mode fs.FileMode) bool {
	if !s.finished {
		return false
	}
	st, err := s.Root.Lstat(p)
	if err != nil || st.Mode != mode || s.owner >= 0 && (st.UID != s.owner || st.GID != s.owner) || st.Size != int64(len(contents)) {
		return false
	}
	have, err := s.Root.ReadFile(p)
	return err == nil && bytes.Equal(have, contents)
}

// counting is a sink that counts.
type counting struct{ n int64 }

func (c *counting) Write(b []byte) (int, error) { c.n += int64(len(b)); return len(b), nil }
func (c *counting) Reset() error                { c.n = 0; return nil }

var errDiffers = errors.New("the file differs")

// comparing is a sink that compares with a file instead of writing to it.
type comparing struct {
	file     *os.File
	from, at int64
}

func (c *comparing) Write(b []byte) (int, error) {
	have := make([]byte, len(b))
	if n, err := c.file.ReadAt(have, c.at); n < len(b) || !bytes.Equal(have, b) {
		return 0, errors.Join(errDiffers, err)
	}
	c.at += int64(len(b))
	return len(b), nil
}

func (c *comparing) Reset() error { c.at = c.from; return nil }
