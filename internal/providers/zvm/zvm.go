// SPDX-License-Identifier: Apache-2.0

// Package zvm is the provider of z/VM guests: the config is a spool file of
// type "ign" in the guest's virtual reader. The tools of s390-tools do the work.
package zvm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"firstboot.dev/ignition/internal/providers"
)

// reader is the device number of the virtual reader.
const reader = "000c"

// Fetch receives the config from the reader.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	if err := online(ctx, env); err != nil {
		return providers.Result{}, err
	}
	stdout, stderr, err := env.Run(ctx, "listing the spool files of the reader", "vmur", "li")
	if err != nil {
		return providers.Result{}, err
	}
	spool, ok := find(string(stdout) + string(stderr))
	if !ok {
		env.Log.Info("no spool file of type \"ign\" in the reader. Continuing without a config...")
		return providers.Result{}, nil
	}
	raw, err := receive(ctx, env, spool)
	if err != nil {
		return providers.Result{}, fmt.Errorf("spool file %s: %w", spool.id, err)
	}
	// The reader gives a file away: it is no longer there for a later stage.
	return providers.Result{Raw: raw, Once: true}, nil
}

// online makes the reader usable.
func online(ctx context.Context, env *providers.Env) error {
	if _, err := os.Stat(filepath.Join(env.SysDir, "bus/ccw/drivers/vmur")); errors.Is(err, fs.ErrNotExist) {
		if err := env.Modprobe(ctx, "vmur"); err != nil {
			return fmt.Errorf("couldn't install vmur module: %w", err)
		}
	}
	if _, _, err := env.Run(ctx, "bringing the reader online", "chccwdev", "-e", reader); err != nil {
		// The usual reason is that the device is on the list of those to ignore.
		if _, _, err := env.Run(ctx, "no longer ignoring the reader", "cio_ignore", "-r", reader); err != nil {
			return err
		}
		if _, _, err := env.Run(ctx, "bringing the reader online", "chccwdev", "-e", reader); err != nil {
			return err
		}
	}
	if _, _, err := env.Run(ctx, "waiting for udev to settle", "udevadm", "settle"); err != nil {
		// Without a device node the next step fails and says so.
		env.Log.Warning("waiting for udev to settle: %v", err)
	}
	return nil
}

// spoolFile is a record of the list.
type spoolFile struct{ id, name string }

// find gives the first record of type "ign" in what "vmur li" prints.
func find(list string) (spoolFile, bool) {
	for line := range strings.Lines(list) {
		fields := strings.Fields(line)
		if len(fields) <= 1 {
			break
		}
		if len(fields) >= 11 && strings.EqualFold(fields[10], "ign") {
			return spoolFile{id: fields[1], name: fields[9]}, true
		}
	}
	return spoolFile{}, false
}

// receive copies a spool file to a directory of its own and reads it.
func receive(ctx context.Context, env *providers.Env, spool spoolFile) ([]byte, error) {
	dir, err := os.MkdirTemp("", "ignition-zvm-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, filepath.Base(spool.name)+".ign")
	defer func() {
		_ = os.Remove(file)
		if err := os.Remove(dir); err != nil {
			env.Log.Warning("removing the received config: %v", err)
		}
	}()
	if _, _, err := env.Run(ctx, "receiving the config", "vmur", "re", "-f", spool.id, file); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(file)
	// Records of the reader have a fixed length.
	return bytes.Trim(raw, "\x00"), err
}
