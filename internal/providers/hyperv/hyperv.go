// SPDX-License-Identifier: Apache-2.0

// Package hyperv is the provider of Hyper-V guests: the host hands key-value
// pairs to whoever serves /dev/vmbus/hv_kvp, and the config is among them. The
// host does so once per boot, so everything that it sends is also put where
// its daemon (hv_kvp_daemon) looks for it later.
package hyperv

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/providers"
)

// patience is how long the parts of an exchange may take.
type patience struct {
	device   time.Duration // until the device node is there
	interval time.Duration // between looks for it
	quiet    time.Duration // after which the host has nothing more to say
	total    time.Duration // for all of the exchange, should it never be quiet
}

var usual = patience{device: 5 * time.Second, interval: 50 * time.Millisecond, quiet: time.Second, total: time.Minute}

// Fetch gives the config among the pairs that the host sends, and the files of the daemon.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	all, err := collect(ctx, env, openDevice, usual)
	if err != nil {
		return providers.Result{}, err
	}
	raw, missing := all.config()
	if missing != "" {
		env.Log.Warning("the host sent no %q, but parts of a config after it", missing)
	}
	return providers.Result{Raw: raw, Files: all.files(), Once: true}, nil
}

// Files gives the files of the daemon alone.
func Files(ctx context.Context, env *providers.Env) ([]config.File, error) {
	all, err := collect(ctx, env, openDevice, usual)
	if err != nil {
		return nil, err
	}
	return all.files(), nil
}

// collect takes what the host has to say.
func collect(ctx context.Context, env *providers.Env, open func(string) (device, error), wait patience) (pools, error) {
	if _, err := os.Stat(filepath.Join(env.SysDir, "bus/vmbus/drivers/hv_utils")); errors.Is(err, fs.ErrNotExist) {
		if err := env.Modprobe(ctx, "hv_utils"); err != nil {
			return pools{}, fmt.Errorf("loading hv_utils kernel module: %w", err)
		}
	}
	path := filepath.Join(env.DevDir, "vmbus/hv_kvp")
	dev, err := await(ctx, path, open, wait)
	if err != nil {
		return pools{}, err
	}
	defer dev.Close()
	all, err := exchange(ctx, env.Log, dev, wait)
	if err != nil {
		return pools{}, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

// await opens the device. The driver makes it some time after it was loaded.
func await(ctx context.Context, path string, open func(string) (device, error), wait patience) (device, error) {
	for end := time.Now().Add(wait.device); ; {
		dev, err := open(path)
		if err == nil || !errors.Is(err, fs.ErrNotExist) || !time.Now().Before(end) {
			return dev, err
		}
		select {
		case <-time.After(wait.interval):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// config puts the config together. missing names a part that is not there
// although later ones are.
func (p *pools) config() (raw []byte, missing string) {
	if whole, _ := p.get(0, "ignition.config"); whole != "" {
		return []byte(whole), ""
	}
	n := 0
	for ; ; n++ {
		part, ok := p.get(0, "ignition.config."+strconv.Itoa(n))
		if !ok {
			break
		}
		raw = append(raw, part...)
	}
	for _, pair := range p[0] {
		if text, ok := strings.CutPrefix(pair.key, "ignition.config."); ok {
			if i, err := strconv.Atoi(text); err == nil && i > n {
				return raw, "ignition.config." + strconv.Itoa(n)
			}
		}
	}
	return raw, ""
}

// files gives the pools in the form of the daemon, the empty ones too. They
// may hold secrets, so only root may read them.
func (p *pools) files() []config.File {
	files := make([]config.File, 0, len(p))
	for i, pool := range p {
		source := "data:;base64," + base64.StdEncoding.EncodeToString(poolFile(pool))
		overwrite, mode := true, 0o600
		f := config.File{Mode: &mode}
		f.Path, f.Overwrite = "/var/lib/hyperv/.kvp_pool_"+strconv.Itoa(i), &overwrite
		f.Contents.Source = &source
		files = append(files, f)
	}
	return files
}

// poolFile is a pool as the daemon stores it: records of fixed size.
func poolFile(pool []pair) []byte {
	file := make([]byte, 0, len(pool)*(keySize+valueSize))
	for _, pair := range pool {
		var record [keySize + valueSize]byte
		copy(record[:keySize], pair.key)
		copy(record[keySize:], pair.value)
		file = append(file, record[:]...)
	}
	return file
}
