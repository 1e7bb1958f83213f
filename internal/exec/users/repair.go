// SPDX-License-Identifier: Apache-2.0

package users

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
)

// A run that is cut while a tool works leaves three things that the tools do
// not put right by themselves:
//
//   - lock files (and unfinished copies). They hold the number of a process
//     that is gone, or of another one by now, and then every tool refuses to work;
//   - an account without its shadow entry or its own group, or a group without
//     its gshadow entry: useradd writes passwd first, and group before
//     gshadow. It is deleted, and made anew;
//   - an account without its home: useradd makes that last. The next
//     run finds the account, uses usermod, and nobody makes the home.
//
// That an account was made by the very tool that was cut shows in passwd-,
// the copy of passwd from before the last change: it lacks the account. An
// account that the image has without a home is left alone that way.

var accountFiles = []string{"passwd", "group", "shadow", "gshadow", "subuid", "subgid"}

// repair runs once, before the first tool, after a cut run.
func (m *Manager) repair(ctx context.Context, l *oplog.Logger) error {
	if !m.Interrupted || m.repaired {
		return nil
	}
	for again := true; again; { // a tool that is still at work may lock one more file
		var err error
		if again, err = m.unlock(ctx, l); err != nil {
			return err
		}
	}
	var err error
	// Only now is it sure that no tool is still at work.
	if m.fresh, err = m.freshNames("passwd"); err != nil {
		return err
	}
	if m.freshGroups, err = m.freshNames("group"); err != nil {
		return err
	}
	m.repaired = true
	return nil
}

// unlock removes the locks and unfinished copies that are there, each when its
// holder has ended.
func (m *Manager) unlock(ctx context.Context, l *oplog.Logger) (found bool, err error) {
	entries, err := m.list("/etc")
	if err != nil {
		return false, err
	}
	for name, e := range entries {
		if !leftover(name) || !e.Type().IsRegular() {
			continue
		}
		found = true
		p := "/etc/" + name
		if err := m.awaitHolder(ctx, p); err != nil {
			return false, err
		}
		err := m.Root.Remove(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue // by its holder
		}
		if err != nil {
			return false, err
		}
		l.Info("removed %q, left by an interrupted run", m.Root.Display(p))
	}
	return found, nil
}

// leftover tells the tools' own temporary names: passwd.lock, passwd+ and passwd.1234.
func leftover(name string) bool {
	for _, f := range accountFiles {
		rest, ok := strings.CutPrefix(name, f)
		if !ok {
			continue
		}
		if rest == ".lock" || rest == "+" {
			return true
		}
		if pid, ok := strings.CutPrefix(rest, "."); ok {
			_, err := strconv.ParseUint(pid, 10, 32)
			return err == nil
		}
	}
	return false
}

// awaitHolder gives a tool that outlived the program which started it two
// seconds to end. Its number may have gone to another process long since, so
// no more is made of it.
func (m *Manager) awaitHolder(ctx context.Context, lock string) error {
	const tries, pause = 100, 20 * time.Millisecond
	for range tries {
		data, err := m.Root.ReadFile(lock)
		if err != nil {
			return nil // it is gone, or will be
		}
		text := strings.Trim(string(data), "\x00 \n")
		if text == "" { // group.1234 has its number in the name before it is written
			text = strings.TrimPrefix(path.Ext(lock), ".")
		}
		pid, err := strconv.Atoi(text)
		if err != nil || pid <= 1 || errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
	return nil
}

// freshNames gives the names in an account file that its backup, the copy from
// before the last change, does not have.
func (m *Manager) freshNames(file string) (map[string]bool, error) {
	before, err := m.Root.ReadFile("/etc/" + file + "-")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	now, err := m.Root.ReadFile("/etc/" + file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	fresh, old := map[string]bool{}, names(before)
	for name := range names(now) {
		fresh[name] = !old[name]
	}
	return fresh, nil
}

// lacks tells whether a file of passwords is there but has no such name.
func (m *Manager) lacks(file, name string) (bool, error) {
	data, err := m.Root.ReadFile("/etc/" + file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a system without shadow passwords
	}
	return err == nil && !names(data)[name], err
}

// halfMadeGroup tells whether a fresh group lacks what groupadd and useradd
// write after it.
func (m *Manager) halfMadeGroup(name string) (bool, error) {
	if !m.freshGroups[name] {
		return false, nil
	}
	return m.lacks("gshadow", name)
}

// halfMade tells whether a fresh account lacks what useradd writes after passwd.
func (m *Manager) halfMade(name string) (bool, error) {
	if !m.fresh[name] {
		return false, nil
	}
	db := NewDB(m.Root)
	a, err := db.User(name)
	if err != nil {
		return false, err
	}
	if ok, err := db.hasGID(a.GID); err != nil || !ok {
		return err == nil, err
	}
	if half, err := m.halfMadeGroup(name); half || err != nil {
		return half, err // its own group
	}
	return m.lacks("shadow", name)
}

func names(passwd []byte) map[string]bool {
	out := map[string]bool{}
	for line := range strings.Lines(string(passwd)) {
		if f := splitLine(line); len(f) > 1 {
			out[f[0]] = true
		}
	}
	return out
}

// finishHome makes the home of a fresh account as useradd would have: the
// skeleton's files, the user's, with the mode that login.defs asks for. A
// home that holds anything else than parts of the skeleton is not touched,
// nor is one that the mount stage made.
func (m *Manager) finishHome(l *oplog.Logger, u config.User, homes []string) error {
	if !m.fresh[u.Name] || isTrue(u.NoCreateHome) {
		return nil
	}
	a, err := NewDB(m.Root).User(u.Name)
	if err != nil {
		return err
	}
	home, err := m.Root.Resolve(a.Home + "/.")
	if err != nil || home == "/" {
		return err
	}
	for _, h := range homes {
		if h == home || within(h, home) {
			return nil
		}
	}
	skel, err := m.list("/etc/skel")
	if err != nil {
		return err
	}
	have, err := m.list(home)
	if err != nil {
		return err
	}
	for name := range have {
		if _, ok := skel[name]; !ok {
			return nil
		}
	}
	l.Info("finishing the home %q of an interrupted run", m.Root.Display(home))
	mode, err := m.homeMode()
	if err != nil {
		return err
	}
	if _, err := m.Root.MkdirAll(path.Dir(home), 0o755); err != nil {
		return err
	}
	return m.copyTree("/etc/skel", home, a, mode)
}

// list gives the entries of a directory by name; a missing one has none.
func (m *Manager) list(dir string) (map[string]fs.DirEntry, error) {
	entries, err := m.Root.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	out := make(map[string]fs.DirEntry, len(entries))
	for _, e := range entries {
		out[e.Name()] = e
	}
	return out, nil
}

// copyTree copies directories, files and links, giving all to the user. The
// target gets its owner last: until then nobody else can write there.
func (m *Manager) copyTree(from, to string, a Account, mode fs.FileMode) error {
	if _, err := m.Root.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := m.list(from)
	if err != nil {
		return err
	}
	for name, e := range entries {
		if err := m.copyEntry(path.Join(from, name), path.Join(to, name), e, a); err != nil {
			return err
		}
	}
	if err := m.Root.Lchown(to, a.UID, a.GID); err != nil {
		return err
	}
	return m.Root.Chmod(to, mode)
}

func (m *Manager) copyEntry(from, to string, e fs.DirEntry, a Account) error {
	info, err := e.Info()
	if err != nil {
		return err
	}
	switch {
	case e.IsDir():
		return m.copyTree(from, to, a, info.Mode()&^fs.ModeType)
	case e.Type() == fs.ModeSymlink:
		target, err := m.Root.Readlink(from)
		if err != nil {
			return err
		}
		if err := m.Root.Symlink(target, to); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return m.Root.Lchown(to, a.UID, a.GID)
	case e.Type() == 0:
		data, err := m.Root.ReadFile(from)
		if err != nil {
			return err
		}
		return m.Root.WriteFile(to, data, info.Mode(), a.UID, a.GID)
	}
	return nil // a skeleton has no pipes or devices that a home would need
}

// homeMode is HOME_MODE of login.defs, else what its UMASK leaves of 0777.
func (m *Manager) homeMode() (fs.FileMode, error) {
	data, err := m.Root.ReadFile("/etc/login.defs")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	umask, home := uint64(0o022), uint64(0)
	haveHome := false
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] != "UMASK" && f[0] != "HOME_MODE" {
			continue
		}
		n, err := strconv.ParseUint(f[1], 8, 12)
		if err != nil {
			return 0, fmt.Errorf("%s: bad %s %q", m.Root.Display("/etc/login.defs"), f[0], f[1])
		}
		if f[0] == "UMASK" {
			umask = n
		} else {
			home, haveHome = n, true
		}
	}
	if haveHome {
		return fs.FileMode(home & 0o777), nil
	}
	return fs.FileMode(0o777 &^ umask), nil
}
