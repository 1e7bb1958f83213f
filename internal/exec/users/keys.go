// SPDX-License-Identifier: Apache-2.0

package users

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
)

// addKeys writes the user's ssh keys as the user.
func (m *Manager) addKeys(l *oplog.Logger, op oplog.Op, u config.User) error {
	var file string
	r := l.Start(userOp("add-keys", op))
	err := r.End(func() error {
		a, err := NewDB(m.Root).User(u.Name)
		if err != nil {
			return err
		}
		if file, err = m.Root.Resolve(m.keyPath(a.Home)); err != nil {
			return fmt.Errorf("failed to set SSH key: %w", err)
		}
		if m.Finished && m.sameKeys(file, u.SSHAuthorizedKeys) {
			r.Keep()
			return nil
		}
		if err := asUser(a.UID, a.GID, func() error { return m.writeKeys(file, keyText(u.SSHAuthorizedKeys)) }); err != nil {
			return fmt.Errorf("failed to set SSH key: %w", err)
		}
		return nil
	}())
	if err == nil && m.OnKeys != nil {
		m.OnKeys(u.Name, m.Root.Display(file))
	}
	return err
}

func (m *Manager) keyPath(home string) string {
	if m.Fragments {
		return home + "/.ssh/authorized_keys.d/ignition"
	}
	return home + "/.ssh/authorized_keys"
}

func keyText(keys []string) []byte {
	s := strings.Join(keys, "\n")
	if !strings.HasSuffix(s, "\n") {
		s += "\n"
	}
	return []byte(s)
}

// writeKeys runs with the user's rights. A new file appears whole, by rename.
// One that exists is rewritten in place, so that it stays the same file with
// the same mode; so is what a link leads to.
func (m *Manager) writeKeys(file string, data []byte) error {
	if _, err := m.Root.MkdirAll(path.Dir(file), 0o700); err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) {
			err = pe.Err
		}
		return fmt.Errorf("creating parent dirs for %q: %w", m.Root.Display(file), err)
	}
	_, err := m.Root.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return m.Root.WriteFile(file, data, 0o600, -1, -1)
	}
	if err != nil {
		return err
	}
	f, err := m.Root.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// asUser runs f on a thread that has dropped to the user for good, with no
// supplementary groups. No other thread is touched, and the thread ends with
// f: the goroutine does not unlock it. Modes are given explicitly by f, since
// the umask is the process's.
func asUser(uid, gid int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end, and /proc/self is its: take another.
			done <- asUser(uid, gid, f)
			runtime.UnlockOSThread()
			return
		}
		err := dropTo(uid, gid)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// dropTo changes the calling thread only; the wrappers of the C library and of
// Go would change all threads. Without privilege the process can but stay what
// it is, so an unprivileged run works for its own user alone.
func dropTo(uid, gid int) error {
	if os.Geteuid() != 0 && uid == os.Geteuid() && gid == os.Getegid() {
		return nil
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); e != 0 {
		return fmt.Errorf("setgroups: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(gid), uintptr(gid), uintptr(gid)); e != 0 {
		return fmt.Errorf("setresgid %d: %w", gid, e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); e != 0 {
		return fmt.Errorf("setresuid %d: %w", uid, e)
	}
	return nil
}
