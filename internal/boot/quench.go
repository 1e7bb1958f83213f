// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Files that make a boot a first boot, below the top of their filesystem.
const (
	flatcarFlag  = "flatcar/first_boot"
	coreosFlag   = "coreos/first_boot"
	upstreamFlag = "ignition.firstboot"
)

// flags are those of Flatcar's flag files that are there.
func flags(dir string) []string {
	var out []string
	for _, name := range []string{flatcarFlag, coreosFlag} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			out = append(out, name)
		}
	}
	return out
}

// Quench removes what made this boot a first boot, so that the next one is
// none. A flag that the boot loader found and that cannot be removed is an
// error: no boot is better than a second run over the user's data. A boot that
// was forced by hand has no flag to remove.
func (e *Env) Quench(ctx context.Context) error {
	cmdline, err := e.CommandLine()
	if err != nil {
		return fmt.Errorf("reading the kernel command line: %w", err)
	}
	r := ParseRequest(cmdline)
	if r.Detected {
		if err := e.quenchAt(ctx, "EFI-SYSTEM", flags, true); err != nil {
			return err
		}
	}
	if r.Upstream {
		stamp := func(dir string) []string {
			if _, err := os.Lstat(filepath.Join(dir, upstreamFlag)); err != nil {
				return nil
			}
			return []string{upstreamFlag}
		}
		if err := e.quenchAt(ctx, "boot", stamp, false); err != nil {
			return err
		}
	}
	if !r.Detected && !r.Upstream {
		e.Log.Info("this first boot was asked for by hand, so no flag is removed")
	}
	if _, err := os.Lstat(e.run(earlierFile)); err == nil {
		return e.forget(ctx, r)
	}
	return nil
}

// forget removes the record of an earlier failure, which is made good now.
func (e *Env) forget(ctx context.Context, r Request) error {
	for _, k := range e.keepers(r) {
		device := e.labelled(k.label)
		if device == "" {
			continue
		}
		dir, unmount, err := e.mount(ctx, "removing the record of an earlier failure", device, true)
		if err != nil {
			return fmt.Errorf("filesystem labelled %q: %w", k.label, err)
		}
		err = os.Remove(filepath.Join(dir, k.from))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		if err = errors.Join(err, unmount()); err != nil {
			return fmt.Errorf("filesystem labelled %q: %w", k.label, err)
		}
	}
	return nil
}

// quenchAt removes the flags of one filesystem.
func (e *Env) quenchAt(ctx context.Context, label string, find func(dir string) []string, must bool) (err error) {
	device := e.labelled(label)
	if device == "" {
		if must {
			return fmt.Errorf("the boot loader found the first-boot flag, but no filesystem is labelled %q", label)
		}
		e.Log.Info("no filesystem is labelled %q, so no flag is removed", label)
		return nil
	}
	dir, unmount, err := e.mount(ctx, "removing the first-boot flag", device, true)
	if err != nil {
		return fmt.Errorf("filesystem labelled %q: %w", label, err)
	}
	defer func() { err = errors.Join(err, unmount()) }()
	names := find(dir)
	if len(names) == 0 {
		if must {
			return fmt.Errorf("the boot loader found the first-boot flag, but neither %s nor %s is on the filesystem labelled %q", flatcarFlag, coreosFlag, label)
		}
		e.Log.Info("this first boot was asked for by hand: %s is not on the filesystem labelled %q", upstreamFlag, label)
		return nil
	}
	for _, name := range append(names, e.earlierFiles(dir)...) {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("filesystem labelled %q: %w", label, err)
		}
		if err := syncDir(filepath.Dir(filepath.Join(dir, name))); err != nil {
			return fmt.Errorf("filesystem labelled %q: %w", label, err)
		}
	}
	e.Log.Info("removed %s from the filesystem labelled %q", strings.Join(names, " and "), label)
	return nil
}
