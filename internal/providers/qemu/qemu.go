// SPDX-License-Identifier: Apache-2.0

// Package qemu is the provider of QEMU machines: the config is a firmware
// variable (fw_cfg), or, on architectures without them, a virtio disk with the
// serial number "ignition".
package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

// keys are the firmware variables, the distribution's own first.
var keys = []string{"opt/org.flatcar-linux/config", "opt/com.coreos/config"}

const (
	slowRead      = 10 * time.Second
	slowInterval  = 5 * time.Second
	largestConfig = 256 << 20
)

// patience is how long, how often, and how loudly a disk is looked for.
type patience struct {
	timeout, interval, report time.Duration
}

var usual = patience{timeout: 5 * time.Minute, interval: time.Second, report: 10 * time.Second}

// Fetch reads the config of the machine.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	if env.Arch == "s390x" || env.Arch == "ppc64le" {
		return fromDisk(ctx, env, usual)
	}
	return fromFirmware(ctx, env)
}

func fromFirmware(ctx context.Context, env *providers.Env) (providers.Result, error) {
	dir := filepath.Join(env.SysDir, "firmware/qemu_fw_cfg")
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		if err := env.Modprobe(ctx, "qemu_fw_cfg"); err != nil {
			return providers.Result{}, err
		}
	}
	for _, key := range keys {
		raw, err := readVariable(env.Log, filepath.Join(dir, "by_name", key))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return providers.Result{}, fmt.Errorf("reading QEMU firmware config %q: %w", key, err)
		}
		return providers.Result{Raw: raw}, nil
	}
	env.Log.Info("QEMU firmware config was not found. Ignoring...")
	return providers.Result{}, nil
}

// readVariable reads one variable with as few reads as possible: the kernel
// needs time proportional to the offset for each.
func readVariable(log resource.Log, dir string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, "size"))
	if err != nil {
		return nil, err
	}
	size, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 63)
	if err != nil {
		return nil, fmt.Errorf("size: %w", err)
	}
	if size > largestConfig {
		return nil, fmt.Errorf("size: %d bytes are more than a config may have (%d)", size, largestConfig)
	}
	f, err := os.Open(filepath.Join(dir, "raw"))
	if err != nil {
		return nil, fmt.Errorf("data: %v", err)
	}
	defer f.Close()
	return readAll(log, f, int(size), time.Now)
}

func readAll(log resource.Log, r io.Reader, size int, now func() time.Time) ([]byte, error) {
	buf := make([]byte, size+1)
	n, next, slow := 0, now().Add(slowRead), false
	for {
		got, err := r.Read(buf[n:])
		n += got
		if t := now(); !t.Before(next) {
			if !slow {
				log.Warning("Reading QEMU fw_cfg takes quadratic time. Consider moving large files or config fragments to a remote URL.")
				slow = true
			}
			log.Info("Reading config from QEMU fw_cfg: %d/%d KB", n/1024, size/1024)
			next = t.Add(slowInterval)
		}
		switch {
		case n > size:
			return nil, errors.New("missing EOF")
		case err == io.EOF:
			if slow {
				log.Info("Reading config from QEMU fw_cfg: %d/%d KB", n/1024, size/1024)
			}
			if n < size {
				return nil, fmt.Errorf("only %d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
			}
			return buf[:n], nil
		case err != nil:
			return nil, err
		}
	}
}

func fromDisk(ctx context.Context, env *providers.Env, wait patience) (providers.Result, error) {
	env.Log.Warning("Fetching the Ignition config via the Virtio block driver is currently experimental and subject to change.")
	if _, err := os.Stat(filepath.Join(env.SysDir, "bus/virtio/drivers/virtio_blk")); errors.Is(err, fs.ErrNotExist) {
		if err := env.Modprobe(ctx, "virtio_blk"); err != nil {
			return providers.Result{}, err
		}
	}
	device := filepath.Join(filepath.Dir(env.LabelDir), "by-id/virtio-ignition")
	start := time.Now()
	said := start
	for {
		raw, err := readDisk(device)
		if !errors.Is(err, fs.ErrNotExist) {
			return providers.Result{Raw: raw}, err
		}
		now := time.Now()
		if now.Sub(start) >= wait.timeout {
			return providers.Result{}, fmt.Errorf("timed out after %v waiting for block device %q to appear", wait.timeout, device)
		}
		if now.Sub(said) >= wait.report {
			env.Log.Info("waiting for block device %q to appear", device)
			said = now
		}
		select {
		case <-time.After(wait.interval):
		case <-ctx.Done():
			return providers.Result{}, ctx.Err()
		}
	}
}

// readDisk reads a whole disk. What follows the config on it is NULs.
func readDisk(device string) ([]byte, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, largestConfig+1))
	if err != nil {
		return nil, err
	}
	if len(raw) > largestConfig {
		return nil, fmt.Errorf("%s is larger than a config may be (%d bytes)", device, largestConfig)
	}
	return bytes.TrimRight(raw, "\x00"), nil
}
