// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/exec/mounts"
	"firstboot.dev/ignition/internal/oplog"
)

// mount mounts a device on a directory of its own. To write, udev and its users
// must have let go of it, which the mount program does not wait for; reading may
// be detached, writing must have reached the medium.
func (e *Env) mount(ctx context.Context, desc, device string, write bool) (dir string, unmount func() error, err error) {
	if e.Mount != nil {
		return e.Mount(ctx, desc, device, write)
	}
	if !write {
		dir, done, err := mounts.MountReadOnly(ctx, e.Log, e.runner(), desc, device, "auto")
		return dir, func() error { done(); return nil }, err
	}
	dir, err = os.MkdirTemp("", "ignition-boot")
	if err != nil {
		return "", nil, err
	}
	op := oplog.Op{Desc: desc, Kind: "mount", Path: device}
	if _, err := e.runner().Logged(ctx, e.Log, op, exec.Cmd{Name: "mount", Args: []string{"-o", "rw", "-t", "auto", device, dir}}); err != nil {
		return "", nil, errors.Join(err, os.Remove(dir))
	}
	return dir, func() error { return e.unmount(ctx, device, dir) }, nil
}

// unmount brings everything onto the medium and unmounts.
func (e *Env) unmount(ctx context.Context, device, dir string) error {
	ctx = context.WithoutCancel(ctx)
	op := oplog.Op{Desc: fmt.Sprintf("unmounting %q at %q", device, dir), Kind: "unmount", Path: device}
	return e.Log.Do(op, func(log *oplog.Logger) error {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		err = unix.Syncfs(int(d.Fd()))
		if err = errors.Join(err, d.Close()); err != nil {
			return fmt.Errorf("writing to %q: %w", device, err)
		}
		m := mounts.Mounter{Runner: e.runner()}
		if err := m.Unmount(ctx, log, dir); err != nil {
			return err
		}
		return os.Remove(dir)
	})
}
