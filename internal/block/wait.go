// SPDX-License-Identifier: Apache-2.0

package block

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
	"github.com/coreos/go-systemd/v22/dbus"
	"github.com/coreos/go-systemd/v22/unit"
)

// Retrying to resolve a device: udev removes and makes its links anew while it
// probes, so one that is not there may be back in a moment.
const (
	aliasRetry = 10 * time.Millisecond
	aliasLimit = 30 * time.Second
)

// WaitError is a device whose unit did not come up.
type WaitError struct {
	Device string
	err    error
}

// NewWaitError is the error of a device, for those who wait in another way.
func NewWaitError(device string, err error) *WaitError { return &WaitError{device, err} }

func (e *WaitError) Error() string { return e.err.Error() }
func (e *WaitError) Unwrap() error { return e.err }

// Wait asks systemd, on its private bus, for the device units and waits until
// every one is up. How long that may take is systemd's device time-out.
func Wait(ctx context.Context, devices []string) error {
	conn, err := dbus.NewSystemdConnectionContext(ctx)
	if err != nil {
		return fmt.Errorf("connecting to systemd: %w", err)
	}
	defer conn.Close()
	type job struct {
		device, unit string
		result       chan string
	}
	var jobs []job
	seen := map[string]bool{}
	for _, d := range devices {
		name := unit.UnitNamePathEscape(d) + ".device"
		if seen[name] {
			continue
		}
		seen[name] = true
		j := job{d, name, make(chan string, 1)}
		if _, err := conn.StartUnitContext(ctx, name, "replace", j.result); err != nil {
			return &WaitError{d, fmt.Errorf("failed starting device unit %s: %w", name, err)}
		}
		jobs = append(jobs, j)
	}
	var missing []error
	for _, j := range jobs {
		select {
		case result := <-j.result:
			if result != "done" {
				missing = append(missing, &WaitError{j.device, fmt.Errorf("device unit %s %s", j.unit, result)})
			}
		case <-ctx.Done():
			return &WaitError{j.device, fmt.Errorf("device unit %s: %w", j.unit, ctx.Err())}
		}
	}
	return errors.Join(missing...)
}

// Alias is where the lasting link to a device is.
func (h *Host) Alias(device string) string {
	if h.ReadOnly {
		return filepath.Clean(device)
	}
	return filepath.Join(h.AliasDir, filepath.Clean(device))
}

// MakeAlias makes the link to a device's kernel node anew. Programs get the
// alias: the kernel's node stays while udev removes and makes its own links.
func (h *Host) MakeAlias(ctx context.Context, log *oplog.Logger, device string) (alias string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("failed to create device alias for %q: %w", device, err)
		}
	}()
	target, err := h.settled(ctx, device)
	if err != nil {
		return "", err
	}
	alias = h.Alias(device)
	if h.ReadOnly {
		return alias, nil
	}
	if err := os.MkdirAll(h.root+filepath.Dir(alias), 0o750); err != nil {
		return "", err
	}
	if err := os.Remove(h.root + alias); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.Symlink(target, h.root+alias); err != nil {
		return "", err
	}
	log.Info("created device alias for %q: %q -> %q", device, alias, target)
	return alias, nil
}

// settled resolves a device, waiting for a link that is gone for a moment.
func (h *Host) settled(ctx context.Context, device string) (string, error) {
	for end := time.Now().Add(aliasLimit); ; {
		target, err := h.Resolve(device)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return target, err
		}
		if !time.Now().Before(end) {
			return "", fmt.Errorf("failed to evaluate symlink after %v: %w", aliasLimit, err)
		}
		select {
		case <-time.After(aliasRetry):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// Sync waits until udev has seen all that was written to a device: an own event
// that comes back proves that earlier ones were processed, which a bare settle
// does not.
func (h *Host) Sync(ctx context.Context, log *oplog.Logger, alias string) error {
	node, err := h.Resolve(alias)
	if err != nil {
		return fmt.Errorf("failed to resolve device alias %q: %w", alias, err)
	}
	op := oplog.Op{Desc: "waiting for triggered uevent", Kind: "udev", Path: node}
	if _, err := h.Runner.Logged(ctx, log, op, exec.Cmd{Name: h.Programs.Udevadm, Args: []string{"trigger", "--settle", node}}); err != nil {
		return fmt.Errorf("udevadm trigger failed: %w", err)
	}
	return nil
}
