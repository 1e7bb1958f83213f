// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/filesystems"
	"firstboot.dev/ignition/internal/oplog"
)

// createFilesystems formats, as many devices at a time as there are CPUs. All
// are attempted even if some fail; their errors come together.
func (s *stage) createFilesystems(log *oplog.Logger) error {
	g, err := s.gather(log)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var errs []error
	var wg sync.WaitGroup
	slots := make(chan struct{}, max(1, runtime.NumCPU()))
	for i := range s.s.Filesystems {
		f := &s.s.Filesystems[i]
		if !handled(f) {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := s.filesystem(g, f, fmt.Sprintf("$.storage.filesystems.%d", i)); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// filesystem makes one filesystem, or finds that it is there.
func (s *stage) filesystem(shared *gatherer, f *config.Filesystem, path string) error {
	log := shared.log
	g := &gatherer{stage: s, log: log, users: shared.users, facts: &Facts{Devices: map[string]*Device{}}}
	d, err := g.filesystem(f)
	if err != nil {
		return fail(path, "look at the device: it may be broken", err)
	}
	op, err := planFilesystem(f, path, d, s.Rules)
	if err != nil {
		logRefusals(log, err)
		return err
	}
	if op.Action == KeepFilesystem {
		log.Info("filesystem at %q is already correctly formatted. Skipping mkfs...", f.Device)
		return nil
	}
	if err := filesystems.Wipe(s.ctx, log, s.Runner, d.Alias, path); err != nil {
		return fail(path, "look at the device and at who uses it", err)
	}
	if op.Action == WipeOnly {
		return s.wiped(log, f, path, d)
	}
	fs := filesystems.Filesystem{Format: op.Format, Device: d.Alias, UUID: op.UUID, Label: op.Label, Options: f.Options}
	if err := filesystems.Make(s.ctx, log, s.Runner, fs, path); err != nil {
		return fail(path, "look at its options and at the size of the device", err)
	}
	if err := s.Host.Sync(s.ctx, log, d.Alias); err != nil {
		return fail(path, "", fmt.Errorf("failed to wait for udev on %q after formatting: %w", d.Alias, err))
	}
	return nil
}

// wiped looks whether a device is blank by now: wipefs passes over what it
// cannot read, and no other program would notice.
func (s *stage) wiped(log *oplog.Logger, f *config.Filesystem, path string, d *Device) error {
	left, err := s.Host.Probe(s.ctx, log, d.Alias)
	switch {
	case err != nil:
		return fail(path, "look at the device: it may be broken", err)
	case left.Type != "":
		return fail(path, "look at the device: it may be broken", fmt.Errorf("%q was wiped and still holds %s", f.Device, left.Type))
	}
	return nil
}
