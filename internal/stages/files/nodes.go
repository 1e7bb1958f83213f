// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/sysroot"
)

// Modes of what has none in the config.
const (
	fileMode      = 0o644
	directoryMode = 0o755
)

func (s *stage) createNodes() error {
	log := s.Log.With("createFilesystemsFiles").With("createFiles")
	if s.plan == nil {
		return nil
	}
	for _, n := range s.plan.nodes {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		if err := s.createNode(log, n); err != nil {
			return entryError(n.entry, fmt.Errorf("failed to create files: error creating %s: %w", s.Root.Display(n.path), err))
		}
	}
	return nil
}

func (s *stage) createNode(log *oplog.Logger, n *node) error {
	if s.again {
		// Home directories and removals may have changed what the plan saw.
		err := s.lookAgain(n)
		if err == nil {
			n.kept, err = s.leave(n)
		}
		if err != nil {
			return err
		}
	}
	if n.kept {
		s.tellKept(log, n)
		return nil
	}
	s.mark.apply(n)
	s.label(n.path)
	switch {
	case n.dir != nil:
		return s.createDirectory(log, n)
	case n.file != nil:
		return s.createFile(log, n)
	case n.link.Hard != nil && *n.link.Hard:
		return s.createHardLink(log, n)
	}
	return s.createSymlink(log, n)
}

// makeRoom removes what is at a node's path, if the config says so, and makes its parents.
func (s *stage) makeRoom(n *node) error {
	if n.present && n.overwrite() || n.ours() {
		s.closeDirs()
		if err := s.Root.RemoveAll(n.path); err != nil {
			return err
		}
		n.present = false
	}
	return s.makeParents(n.path)
}

func (s *stage) makeParents(p string) error {
	p = path.Dir(p)
	if _, ok := s.dirs[p]; ok {
		return nil
	}
	_, err := s.Root.MkdirAll(p, directoryMode)
	return err
}

func (s *stage) createDirectory(log *oplog.Logger, n *node) error {
	act := log.Activity(s.directoryOp(n))
	return act.End(s.makeDirectory(act, n))
}

func (s *stage) directoryOp(n *node) oplog.Op {
	return oplog.Op{Kind: "make-directory", Desc: fmt.Sprintf("making directory %q", s.Root.Display(n.path)), Path: n.path, ConfigPath: n.entry}
}

func (s *stage) makeDirectory(act *oplog.Running, n *node) error {
	if n.present && n.overwrite() || n.ours() && !n.stat.Mode.IsDir() {
		if err := s.makeRoom(n); err != nil {
			return err
		}
	}
	if err := s.blocked(n); err != nil {
		return err
	}
	made := !n.present
	if _, err := s.Root.MkdirAll(n.path, directoryMode); err != nil {
		return err
	}
	if _, err := s.openDir(n.path); err != nil { // so that its filesystem is synced
		return err
	}
	changed, err := s.setOwnerAndMode(n, n.dir.Mode)
	if err != nil {
		return fmt.Errorf("error setting directory permissions for %s: %w", s.Root.Display(n.path), err)
	}
	if !made && !changed {
		act.Keep()
	}
	return nil
}

// setOwnerAndMode changes a node that is in place. Nothing is touched without
// need: a change of owner takes set-id bits away.
func (s *stage) setOwnerAndMode(n *node, mode *int) (changed bool, err error) {
	st, err := s.Root.Lstat(n.path)
	if err != nil {
		return false, err
	}
	uid, gid, err := s.ownerOf(n, st.UID, st.GID)
	if err != nil {
		return false, err
	}
	if uid != st.UID || gid != st.GID {
		if err := s.Root.Lchown(n.path, uid, gid); err != nil {
			return true, err
		}
		changed = true
		if st, err = s.Root.Lstat(n.path); err != nil {
			return true, err
		}
	}
	const settable = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	if mode == nil || st.Mode&settable == toFileMode(*mode) {
		return changed, nil
	}
	return true, s.Root.Chmod(n.path, toFileMode(*mode))
}

// ownerOf gives the owner that a config asks for, or the one given.
func (s *stage) ownerOf(n *node, uid, gid int) (int, int, error) {
	wrap := func(err error) error {
		return fmt.Errorf("failed to determine correct uid and gid for %s: %w", s.Root.Display(n.path), err)
	}
	u, g := n.owner.User, n.owner.Group
	switch {
	case u.ID != nil:
		uid = *u.ID
	case u.Name != nil && *u.Name != "":
		account, err := s.names.User(*u.Name)
		if err != nil {
			return 0, 0, wrap(err)
		}
		uid = account.UID
	}
	switch {
	case g.ID != nil:
		gid = *g.ID
	case g.Name != nil && *g.Name != "":
		group, err := s.names.Group(*g.Name)
		if err != nil {
			return 0, 0, wrap(err)
		}
		gid = group.GID
	}
	return uid, gid, nil
}

// toFileMode turns a mode of the config, with its set-id and sticky bits, into Go's.
func toFileMode(mode int) fs.FileMode {
	m := fs.FileMode(mode & 0o777)
	for _, bit := range []struct {
		unix int
		mode fs.FileMode
	}{{0o4000, fs.ModeSetuid}, {0o2000, fs.ModeSetgid}, {0o1000, fs.ModeSticky}} {
		if mode&bit.unix != 0 {
			m |= bit.mode
		}
	}
	return m
}

// createFile writes a file. Contents and what is appended to them take shape
// under a temporary name and appear at once, with owner and mode; a file that
// is there and is kept is appended to in place.
func (s *stage) createFile(log *oplog.Logger, n *node) error {
	if err := s.blocked(n); err != nil {
		return err
	}
	if n.inTheWay() && n.file.Contents.Source == nil {
		return s.appendInPlace(log, n)
	}
	return s.writeAnew(log, n)
}

// inTheWay tells of something that is there and may not be replaced.
func (n *node) inTheWay() bool { return n.present && !n.overwrite() && !n.ours() }

// blocked is the error of a directory or file that cannot be made for what is there.
func (s *stage) blocked(n *node) error {
	shown := s.Root.Display(n.path)
	switch {
	case !n.inTheWay():
	case n.dir != nil && !n.stat.Mode.IsDir():
		return fmt.Errorf("error creating directory %s: A non-directory already exists and overwrite is false", shown)
	case n.file != nil && !n.stat.Mode.IsRegular():
		return fmt.Errorf("error creating file %q: A non regular file exists there already and overwrite is false", shown)
	case n.file != nil && n.file.Contents.Source != nil && !s.mayBeSame(n):
		return s.exists(n)
	}
	return nil
}

func (s *stage) exists(n *node) error {
	return fmt.Errorf("error creating file %q: A file exists there already and overwrite is false", s.Root.Display(n.path))
}

func (s *stage) writeAnew(log *oplog.Logger, n *node) error {
	shown := s.Root.Display(n.path)
	uid, gid, err := s.ownerOf(n, s.owner, s.owner)
	if err != nil {
		return fmt.Errorf("error setting file permissions for %s: %w", shown, err)
	}
	mode := fs.FileMode(fileMode)
	if n.file.Mode != nil {
		mode = toFileMode(*n.file.Mode)
	}
	w := &writing{stage: s, node: n, mode: mode, uid: uid, gid: gid}
	defer w.abort()
	first, rest := &fetch{entry: n.entry}, n.fetches
	if len(rest) > 0 && !rest[0].appended {
		first, rest = rest[0], rest[1:]
	}
	if err := w.step(log, first, "writing file"); err != nil {
		return fmt.Errorf("failed to create file %q: %w", shown, err)
	}
	for _, f := range rest {
		if err := w.step(log, f, "appending to file"); err != nil {
			return fmt.Errorf("failed to append to file %q: %w", shown, err)
		}
	}
	if w.same {
		return nil // and the temporary file goes
	}
	if err := w.setOwnerAndMode(mode, uid, gid); err != nil {
		return fmt.Errorf("error setting file permissions for %s: %w", shown, err)
	}
	return w.commit()
}

// writing is a file that takes shape under a temporary name.
type writing struct {
	*stage
	node     *node
	temp     *sysroot.Temp
	mode     fs.FileMode
	uid, gid int
	same     bool // what is there already is what was to be written
}

// compare looks, when all is there to be written, whether it has to be.
func (w *writing) compare(r *oplog.Running) error {
	n := w.node
	w.same = w.temp != nil && w.sameAsTemp(n, w.mode, w.uid, w.gid, w.temp.File())
	switch {
	case w.same:
		r.Keep()
	case n.inTheWay():
		return w.exists(n)
	}
	return nil
}

// setOwnerAndMode leaves out the change to what a new file of root's has anyway.
func (w *writing) setOwnerAndMode(mode fs.FileMode, uid, gid int) error {
	if dir, ok := w.dirs[path.Dir(w.node.path)]; ok && !dir.handsOn && !w.owns(w.node) && uid == 0 && gid == 0 && w.owner == 0 {
		uid, gid = -1, -1
	}
	return w.temp.SetOwnerAndMode(mode, uid, gid)
}

// step does one operation: the contents, or one append.
func (w *writing) step(log *oplog.Logger, f *fetch, verb string) error {
	n, shown := w.node, w.Root.Display(w.node.path)
	r := log.Start(w.writeOp(n, f, verb))
	err := w.fill(r, f)
	if err == nil && f.isLastOf(n) {
		err = w.compare(r)
	}
	if err != nil {
		r.Log().Crit("Error fetching file %q: %v", shown, err)
		err = entryError(f.entry, err)
	}
	return r.End(err)
}

func (s *stage) writeOp(n *node, f *fetch, verb string) oplog.Op {
	return oplog.Op{Desc: fmt.Sprintf("%s %q", verb, s.Root.Display(n.path)), Kind: "write-file", Path: n.path, ConfigPath: f.entry}
}

func (s *stage) appendOp(n *node, f *fetch) oplog.Op {
	return oplog.Op{Desc: fmt.Sprintf("appending to file %q", s.Root.Display(n.path)), Kind: "append-file", Path: n.path, ConfigPath: f.entry}
}

func (s *stage) permissionsOp(n *node) oplog.Op {
	return oplog.Op{Kind: "set-permissions", Desc: fmt.Sprintf("setting owner and mode of %q", s.Root.Display(n.path)), Path: n.path, ConfigPath: n.entry}
}

func (s *stage) linkOp(n *node, target string) oplog.Op {
	return oplog.Op{Desc: fmt.Sprintf("writing link %q -> %q", s.Root.Display(n.path), target), Kind: "write-link", Path: n.path, ConfigPath: n.entry}
}

func (w *writing) fill(r *oplog.Running, f *fetch) error {
	if f.download != nil {
		info, err := f.download.Wait(r.Log())
		if err != nil {
			return err
		}
		if err := w.take(f); err != nil {
			return err
		}
		r.AddBytes(info.Bytes)
		return nil
	}
	fresh := w.temp == nil
	if err := w.open(); err != nil {
		return err
	}
	var sink resource.Sink = w.temp
	if !fresh {
		var err error
		if sink, err = newTail(w.temp.File()); err != nil {
			return err
		}
	}
	info, err := w.Fetcher.To(w.ctx, r.Log(), f.request, sink)
	r.AddBytes(info.Bytes)
	return err
}

// open makes the temporary file beside the destination.
func (w *writing) open() error {
	if w.temp != nil {
		return nil
	}
	if err := w.makeParents(w.node.path); err != nil {
		return err
	}
	dir, err := w.openDir(path.Dir(w.node.path))
	if err != nil {
		return err
	}
	w.temp, err = dir.CreateTemp(sysroot.TempName(path.Base(w.node.path)))
	return err
}

// take moves what was downloaded into the file: the first download becomes the
// file, others are copied to its end.
func (w *writing) take(f *fetch) error {
	if w.temp == nil && !f.appended {
		w.temp = f.temp
		return w.makeParents(w.node.path)
	}
	if err := w.open(); err != nil {
		return err
	}
	if err := copyTemp(w.temp, f.temp); err != nil {
		return err
	}
	return f.temp.Abort()
}

func copyTemp(dst io.Writer, src *sysroot.Temp) error {
	if _, err := src.File().Seek(0, io.SeekStart); err != nil {
		return err
	}
	_, err := io.Copy(dst, src.File())
	return err
}

// commit puts the file in its place. A directory in the way, which the config
// says to overwrite, goes only now.
func (w *writing) commit() error {
	n := w.node
	if n.present && n.stat.Mode.IsDir() {
		w.closeDirs()
		if err := w.Root.RemoveAll(n.path); err != nil {
			return err
		}
	}
	dir, err := w.openDir(path.Dir(n.path))
	if err != nil {
		return err
	}
	if !w.owns(n) {
		return w.temp.CommitName(path.Base(n.path))
	}
	err = w.temp.Commit(n.path)
	if errors.Is(err, syscall.EXDEV) {
		return fmt.Errorf("%s: a filesystem was mounted there meanwhile: %w", w.Root.Display(dir.Path(path.Base(n.path))), err)
	}
	return err
}

// owns tells whether the file is a download, which may stand in another directory.
func (w *writing) owns(n *node) bool {
	for _, f := range n.fetches {
		if f.temp == w.temp {
			return true
		}
	}
	return false
}

func (w *writing) abort() {
	if w.temp != nil {
		_ = w.temp.Abort()
	}
}

// tail is a sink that writes to the end of a file, and takes back only what it
// wrote itself.
type tail struct {
	f    *os.File
	base int64
}

func newTail(f *os.File) (*tail, error) {
	base, err := f.Seek(0, io.SeekEnd)
	return &tail{f, base}, err
}

func (t *tail) Write(b []byte) (int, error) { return t.f.Write(b) }

func (t *tail) Reset() error {
	if err := t.f.Truncate(t.base); err != nil {
		return err
	}
	_, err := t.f.Seek(t.base, io.SeekStart)
	return err
}

// appendInPlace adds to a file that stays the same file: its links, labels and
// attributes are kept. When an append fails the file is as it was before it.
func (s *stage) appendInPlace(log *oplog.Logger, n *node) error {
	shown := s.Root.Display(n.path)
	if size, cut := s.mark.size(n); cut && size < n.stat.Size {
		// An earlier run was cut after it had appended.
		if err := s.truncate(n.path, size); err != nil {
			return err
		}
	}
	for _, f := range n.fetches {
		r := log.Start(s.appendOp(n, f))
		err := s.appendTo(r, n.path, f)
		if err != nil {
			r.Log().Crit("Error fetching file %q: %v", shown, err)
		}
		if r.End(err) != nil {
			return fmt.Errorf("failed to append to file %q: %w", shown, entryError(f.entry, err))
		}
	}
	if _, err := s.openDir(path.Dir(n.path)); err != nil {
		return err
	}
	changed, err := s.setOwnerAndMode(n, n.file.Mode)
	if err != nil {
		return fmt.Errorf("error setting file permissions for %s: %w", shown, err)
	}
	if len(n.fetches) == 0 {
		act := log.Activity(s.permissionsOp(n))
		if !changed {
			act.Keep()
		}
		_ = act.End(nil)
	}
	return nil
}

func (s *stage) truncate(p string, size int64) error {
	f, err := s.Root.OpenFile(p, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Truncate(size)
}

func (s *stage) appendTo(r *oplog.Running, p string, f *fetch) error {
	if f.download != nil {
		if _, err := f.download.Wait(r.Log()); err != nil {
			return err
		}
	}
	file, err := s.Root.OpenFile(p, os.O_WRONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	sink, err := newTail(file)
	if err != nil {
		return err
	}
	if f.download != nil {
		err = copyTemp(sink, f.temp)
		_ = f.temp.Abort()
	} else {
		_, err = s.Fetcher.To(s.ctx, r.Log(), f.request, sink)
	}
	if err == nil {
		err = file.Close()
	}
	if err != nil {
		_ = sink.Reset()
	}
	return err
}

func (s *stage) createSymlink(log *oplog.Logger, n *node) error {
	target, shown := deref(n.link.Target), s.Root.Display(n.path)
	wrap := func(err error) error { return fmt.Errorf("failed to create link %q: %w", shown, err) }
	if err := s.makeRoom(n); err != nil {
		return wrap(err)
	}
	if n.present {
		done, err := s.sameSymlink(log, n, target)
		if done || err != nil {
			return err
		}
	}
	err := log.Do(s.linkOp(n, target), func(*oplog.Logger) error {
		dir, err := s.openDir(path.Dir(n.path))
		if err != nil {
			return err
		}
		return dir.Symlink(target, path.Base(n.path))
	})
	if err != nil {
		return wrap(err)
	}
	uid, gid, err := s.ownerOf(n, s.owner, s.owner)
	if err == nil {
		err = s.Root.Lchown(n.path, uid, gid)
	}
	if err != nil {
		return wrap(fmt.Errorf("error setting permissions of %s: %w", shown, err))
	}
	return nil
}

// sameSymlink tells whether the link that the config wants is there already.
func (s *stage) sameSymlink(log *oplog.Logger, n *node, target string) (bool, error) {
	shown := s.Root.Display(n.path)
	if n.stat.Mode.Type() != fs.ModeSymlink {
		return false, fmt.Errorf("error creating symlink %s: a non-symlink already exists at that path and overwrite is false", shown)
	}
	old, err := s.Root.Readlink(n.path)
	if err != nil {
		return false, err
	}
	if path.Clean(old) != path.Clean(target) {
		return false, fmt.Errorf("error creating symlink %s: a symlink exists at that path but points to %s, not %s and overwrite is false", shown, old, target)
	}
	s.tellKept(log, n)
	return true, nil
}

func (s *stage) createHardLink(log *oplog.Logger, n *node) error {
	shown := s.Root.Display(n.path)
	wrap := func(err error) error { return fmt.Errorf("failed to create link %q: %w", shown, err) }
	target, err := s.Root.Resolve(path.Join("/", deref(n.link.Target)))
	if err != nil {
		return wrap(err)
	}
	// Without this a link to itself would be removed before it is made.
	if n.present && n.overwrite() && target == n.path {
		n.owner.Overwrite = nil
	}
	if err := s.makeRoom(n); err != nil {
		return wrap(err)
	}
	if n.present {
		st, err := s.Root.Lstat(target)
		switch {
		case err != nil:
			return fmt.Errorf("error creating hard link %s: target does not exist or stat() returned an err: %w", shown, err)
		case st.Dev != n.stat.Dev || st.Ino != n.stat.Ino:
			return fmt.Errorf("error creating hard link %s: a file already exists at that path but is not the target and overwrite is false", shown)
		}
		s.tellKept(log, n)
		return nil
	}
	err = log.Do(s.linkOp(n, s.Root.Display(target)), func(*oplog.Logger) error {
		return s.Root.Link(target, n.path)
	})
	if err != nil {
		return wrap(err)
	}
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// createProviderFiles writes what the platform's provider handed over.
func (s *stage) createProviderFiles() error {
	log := s.Log.With("createFiles")
	for i := range s.ProviderFiles {
		if err := s.createPlain(log, &s.ProviderFiles[i], fmt.Sprintf("provider file %d", i)); err != nil {
			return err
		}
	}
	return nil
}

// createPlain writes a file that is not one of the config's.
func (s *stage) createPlain(log *oplog.Logger, f *config.File, entry string) error {
	n, err := s.planFile(f, entry)
	if err == nil {
		err = s.look(n)
	}
	if err != nil {
		return err
	}
	s.label(n.path)
	return s.createFile(log, n)
}
