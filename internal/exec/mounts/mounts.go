// SPDX-License-Identifier: Apache-2.0

// Package mounts knows mounts: which of the config's filesystems are mounted
// where and in what order (Plan), what is mounted at a place now (Stack), and
// how a mount is taken away while something may still hold it (Unmount). It
// also mounts devices that hold a config, read-only and on a private directory,
// and takes them away again. What is on a filesystem is not its matter.
package mounts

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

const (
	unmountTries = 3
	unmountPause = time.Second
	// cleanupTime bounds what is done after a cancelled run to leave no mount behind.
	cleanupTime = 30 * time.Second
)

// Mounter mounts devices. The zero value with a Runner is ready for use.
type Mounter struct {
	Runner *exec.Runner
	// Prefix begins the directories' names, "ignition-config" by default.
	Prefix string

	tempDir string                               // "" = the system's
	unmount func(dir string, flags int) error    // nil = the system call
	sleep   func(context.Context, time.Duration) // nil = a real pause
}

// MountReadOnly mounts device on a new private directory, as an operation that
// desc describes, e.g. "mounting config drive". The filesystem is of type
// fstype; "auto" finds out. The caller runs unmount when
// it has read what it wants; a failure of that is only logged.
func MountReadOnly(ctx context.Context, l *oplog.Logger, r *exec.Runner, desc, device, fstype string) (dir string, unmount func(), err error) {
	return (&Mounter{Runner: r}).MountReadOnly(ctx, l, desc, device, fstype)
}

// MountReadOnly does what the function of the same name does.
func (m *Mounter) MountReadOnly(ctx context.Context, l *oplog.Logger, desc, device, fstype string) (dir string, unmount func(), err error) {
	prefix := m.Prefix
	if prefix == "" {
		prefix = "ignition-config"
	}
	dir, err = os.MkdirTemp(m.tempDir, prefix) // mode 0700
	if err != nil {
		return "", nil, fmt.Errorf("directory to mount %q on: %w", device, err)
	}
	op := oplog.Op{Desc: desc, Kind: "mount", Path: device}
	cmd := exec.Cmd{Name: distro.Mount, Args: []string{"-o", "ro", "-t", fstype, device, dir}}
	if _, err := m.Runner.Logged(ctx, l, op, cmd); err != nil {
		// A mount that was killed at the deadline may have got as far as mounting.
		if ctx.Err() != nil {
			_ = m.detach(dir)
		}
		m.remove(l, dir)
		return "", nil, err
	}
	return dir, func() { m.finish(ctx, l, device, dir) }, nil
}

// finish unmounts and removes the directory, also when ctx is cancelled by now.
func (m *Mounter) finish(ctx context.Context, l *oplog.Logger, device, dir string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	op := oplog.Op{Desc: fmt.Sprintf("unmounting %q at %q", device, dir), Kind: "unmount", Path: device}
	if err := l.Do(op, func(l *oplog.Logger) error { return m.takeDown(ctx, l, dir) }); err != nil {
		return // the directory is in use
	}
	m.remove(l, dir)
}

// takeDown unmounts in a few tries: a scanner of new file systems can hold it
// busy for a moment. One that stays busy is detached, so that it goes when its
// last user does; the config was read by then, so this is only a warning.
func (m *Mounter) takeDown(ctx context.Context, l *oplog.Logger, dir string) error {
	var err error
	for try := range unmountTries {
		if try > 0 {
			m.pause(ctx)
			if m.gone(ctx, l, dir) {
				return nil
			}
		}
		if err = m.syscall(dir, unix.UMOUNT_NOFOLLOW); err == nil {
			return nil
		}
		l.Debug("unmounting %q, try %d: %v", dir, try+1, err)
	}
	m.pause(ctx)
	if m.gone(ctx, l, dir) {
		return nil
	}
	if derr := m.detach(dir); derr != nil {
		return fmt.Errorf("%w; detaching it: %w", err, derr)
	}
	l.Warning("%q is in use (%v); it was detached and goes when its last user does", dir, err)
	return nil
}

// gone asks whether dir is no mount point any more. Exit status 1 says so; any
// other answer, or none, does not.
func (m *Mounter) gone(ctx context.Context, l *oplog.Logger, dir string) bool {
	res, _ := m.Runner.RunIn(ctx, l, exec.Cmd{Name: distro.Mountpoint, Args: []string{"-q", dir}})
	return res.ExitCode == 1
}

func (m *Mounter) remove(l *oplog.Logger, dir string) {
	// Not RemoveAll: if anything is still mounted, its files are not ours to delete.
	if err := os.Remove(dir); err != nil {
		l.Warning("removing the mount directory: %v", err)
	}
}

func (m *Mounter) detach(dir string) error {
	return m.syscall(dir, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
}

func (m *Mounter) syscall(dir string, flags int) error {
	if m.unmount != nil {
		return m.unmount(dir, flags)
	}
	return unix.Unmount(dir, flags)
}

func (m *Mounter) pause(ctx context.Context) {
	if m.sleep != nil {
		m.sleep(ctx, unmountPause)
		return
	}
	select {
	case <-time.After(unmountPause):
	case <-ctx.Done():
	}
}
