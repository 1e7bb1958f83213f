// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

const (
	driveLook   = 100 * time.Millisecond // between looks for a device
	driveDebug  = time.Second            // between lines at debug
	driveTell   = 10 * time.Second       // between lines at info
	leastWait   = 30 * time.Second       // for a device, whatever --fetch-timeout says
	configDrive = "config drive"
)

// NoCloudWait is how long a drive is waited for that a machine without a config has not.
const NoCloudWait = 30 * time.Second

// ErrNoDrive means that a device did not appear within the time for it.
var ErrNoDrive = errors.New("did not appear")

// Drive is a filesystem with a label, that holds the config in a file.
type Drive struct {
	Label string
	Files []string // the first that is usable counts
	Name  string   // in logs; "" = config drive (LABEL)
	// Usable tells whether what was read is the config; nil = whatever it is.
	Usable func(file string, raw []byte) bool
}

func (d Drive) name() string {
	if d.Name != "" {
		return d.Name
	}
	return fmt.Sprintf("%s (%s)", configDrive, d.Label)
}

// DriveWait is how long a device may take to appear: the time for the first
// fetch, but not less than 30 s, since a device needs its time however short a
// download should take. 0 = no limit.
func (e *Env) DriveWait() time.Duration {
	if e.FetchTimeout == 0 {
		return 0
	}
	return max(e.FetchTimeout, leastWait)
}

// WaitForDevice waits until a device has appeared, or the context is done.
func WaitForDevice(ctx context.Context, env *Env, name, device string) error {
	start := time.Now()
	debug, info := start, start
	env.Log.Debug("%s (%q) not found. Waiting...", name, device)
	for {
		if _, err := os.Stat(device); err == nil {
			return nil
		}
		now := time.Now()
		if now.Sub(debug) >= driveDebug {
			debug = now
			env.Log.Debug("%s (%q) not found. Waiting...", name, device)
		}
		if now.Sub(info) >= driveTell {
			info = now
			env.Log.Info("waiting for %s (%q) for %d s now", name, device, int(now.Sub(start).Seconds()))
		}
		select {
		case <-time.After(driveLook):
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("%s (%q) %w within %v", name, device, ErrNoDrive, now.Sub(start).Round(time.Second))
			}
			return ctx.Err()
		}
	}
}

// Fetch waits for the drive and gives its config: empty where the drive has no
// usable file. seen, if not nil, is called when the drive is there.
func (d Drive) Fetch(ctx context.Context, env *Env, limit time.Duration, seen func()) ([]byte, error) {
	device := filepath.Join(env.LabelDir, d.Label)
	if _, err := os.Stat(device); err != nil {
		wait := ctx
		if limit > 0 {
			var cancel context.CancelFunc
			wait, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
		if err := WaitForDevice(wait, env, configDrive, device); err != nil {
			if ctx.Err() != nil {
				err = ctx.Err() // that is not for the drive's being late
			}
			return nil, err
		}
	}
	if seen != nil {
		seen()
	}
	dir, unmount, err := env.Mount(ctx, "mounting config drive", device, "auto")
	if err != nil {
		return nil, err
	}
	defer unmount()
	return d.read(env, dir)
}

// read gives the first usable file of the mounted drive.
func (d Drive) read(env *Env, dir string) ([]byte, error) {
	for _, file := range d.Files {
		raw, err := ReadInside(dir, file)
		if errors.Is(err, fs.ErrNotExist) {
			env.Log.Debug("%s has no file %q", d.name(), file)
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", d.name(), err)
		}
		if d.Usable == nil || d.Usable(file, raw) {
			return raw, nil
		}
	}
	return nil, nil
}

// FetchOptional is the Fetch of a platform where a machine without a config has
// no drive. One that is there and cannot be read is an error, though.
func (d Drive) FetchOptional(ctx context.Context, env *Env, limit time.Duration) (Result, error) {
	raw, err := d.Fetch(ctx, env, limit, nil)
	if errors.Is(err, ErrNoDrive) {
		env.Log.Err("timed out while fetching config from %s", d.name())
		env.Log.Info("%s drive was not available in time. Continuing without a config...", d.Label)
		return Result{}, nil
	}
	return Result{Raw: raw}, err
}

// Candidate makes the drive one of several places that may have the config.
func (d Drive) Candidate(env *Env) Candidate {
	return Candidate{Name: d.name(), MayBeAbsent: true, Fetch: func(ctx context.Context, seen func()) ([]byte, error) {
		return d.Fetch(ctx, env, env.DriveWait(), seen)
	}}
}
