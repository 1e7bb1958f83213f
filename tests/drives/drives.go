// SPDX-License-Identifier: Apache-2.0

// Package drives is a stand-in for devices with filesystems: a directory of
// labels, each a file, and what is "on" them, a directory that a mount hands out.
package drives

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Rack holds the drives of one test.
type Rack struct {
	LabelDir string

	t       testing.TB
	mu      sync.Mutex
	content map[string]string // directory by device
	broken  map[string]error
	types   map[string]string // of filesystem, by device; "" = any
	mounted map[string]int
	mounts  []string
}

// New gives an empty rack. At the end of the test nothing may be mounted.
func New(t testing.TB) *Rack {
	r := &Rack{LabelDir: t.TempDir(), t: t, content: map[string]string{}, broken: map[string]error{}, types: map[string]string{}, mounted: map[string]int{}}
	t.Cleanup(func() {
		for device, n := range r.mounted {
			if n != 0 {
				t.Errorf("%s is left mounted %d times", device, n)
			}
		}
	})
	return r
}

// Device gives the path of a labelled device.
func (r *Rack) Device(label string) string { return filepath.Join(r.LabelDir, label) }

// Insert puts a drive in, with files by their paths. A path that ends in a slash is a directory.
func (r *Rack) Insert(label string, files map[string]string) {
	r.t.Helper()
	r.Add(r.Device(label), "", files)
}

// Add puts a device in at a path, with a filesystem of a type.
func (r *Rack) Add(device, fstype string, files map[string]string) {
	r.t.Helper()
	dir := r.t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		var err error
		if name[len(name)-1] == '/' {
			err = os.MkdirAll(path, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			r.t.Error(err)
		}
	}
	r.mu.Lock()
	r.content[device], r.types[device] = dir, fstype
	r.mu.Unlock()
	if err := os.WriteFile(device, nil, 0o600); err != nil {
		r.t.Error(err)
	}
}

// InsertLater does so after a while.
func (r *Rack) InsertLater(after time.Duration, label string, files map[string]string) {
	done := make(chan struct{})
	timer := time.AfterFunc(after, func() {
		defer close(done)
		r.Insert(label, files)
	})
	r.t.Cleanup(func() {
		if !timer.Stop() {
			<-done
		}
	})
}

// Break makes mounts of a device fail.
func (r *Rack) Break(label string, err error) {
	r.Insert(label, nil)
	r.broken[r.Device(label)] = err
}

// Mounts lists the devices that were mounted, in order.
func (r *Rack) Mounts() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.mounts...)
}

// Mount is what a provider mounts with.
func (r *Rack) Mount(ctx context.Context, _, device, fstype string) (string, func(), error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return "", nil, err
	}
	dir, ok := r.content[device]
	switch {
	case r.broken[device] != nil:
		return "", nil, r.broken[device]
	case !ok:
		return "", nil, errors.New("no such device")
	case r.types[device] != "" && r.types[device] != fstype:
		return "", nil, fmt.Errorf("no %s filesystem", fstype)
	}
	r.mounted[device]++
	r.mounts = append(r.mounts, device)
	return dir, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.mounted[device]--
	}, nil
}
