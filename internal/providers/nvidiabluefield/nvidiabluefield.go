// SPDX-License-Identifier: Apache-2.0

// Package nvidiabluefield is the provider of NVIDIA BlueField cards: the host
// pushes the config through a boot FIFO, which the kernel shows as a file. A
// read empties the FIFO, so the config can be had once per boot.
package nvidiabluefield

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"firstboot.dev/ignition/internal/providers"
)

const (
	fifo          = "bus/platform/devices/MLNXBF04:00/bootfifo"
	largestConfig = 256 << 20
)

// Fetch reads the FIFO. None, or nothing in it, is no config.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	path := filepath.Join(env.SysDir, fifo)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := env.Modprobe(ctx, "mlxbf_bootctl"); err != nil {
			return providers.Result{}, err
		}
	}
	raw, err := read(path)
	if err != nil {
		env.Log.Err("couldn't read config: %v", err)
		raw = nil
	}
	if raw = parse(raw); len(raw) == 0 {
		if err == nil {
			env.Log.Info("%s is empty", path)
		}
		env.Log.Info("No config found in any of the NVIDIA BlueField bootfifo interfaces")
	}
	return providers.Result{Raw: raw, Once: true}, nil
}

// parse takes off the NULs that fill the words of the FIFO.
func parse(raw []byte) []byte { return bytes.Trim(raw, "\x00") }

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return drain(f)
}

// drain reads by whole pages. The driver hands out words of eight bytes: to a
// reader with room for less it says that it has no more.
func drain(r io.Reader) ([]byte, error) {
	var all []byte
	page := make([]byte, 64<<10)
	for {
		n, err := r.Read(page)
		all = append(all, page[:n]...)
		switch {
		case err == io.EOF:
			return all, nil
		case err != nil:
			return nil, err
		case len(all) > largestConfig:
			return nil, fmt.Errorf("more than a config may have (%d bytes)", largestConfig)
		}
	}
}
