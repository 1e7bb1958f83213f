// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/oplog"
)

// Unmount takes the topmost mount at p away, in a few tries while it is busy: a
// scanner of new filesystems can hold it for a moment. The error of one that
// stays busy names what holds it, as far as that can be seen. A link at p is
// not followed.
func (m *Mounter) Unmount(ctx context.Context, l *oplog.Logger, p string) error {
	var err error
	for try := range unmountTries {
		if try > 0 {
			m.pause(ctx)
			if ctx.Err() != nil {
				return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
			}
		}
		err = m.syscall(p, unix.UMOUNT_NOFOLLOW)
		for err == unix.EINTR {
			err = m.syscall(p, unix.UMOUNT_NOFOLLOW)
		}
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		l.Debug("unmounting %q, try %d: %v", p, try+1, err)
	}
	if who := holders(p); len(who) > 0 {
		return fmt.Errorf("%w, used by %s", err, strings.Join(who, ", "))
	}
	return err
}
