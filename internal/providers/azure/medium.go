// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"golang.org/x/sys/unix"
)

const (
	environmentFile = "ovf-env.xml"
	customDataFile  = "CustomData.bin"
	customElement   = "CustomData"

	cdromDriveStatus = 0x5326 // ioctl CDROM_DRIVE_STATUS
	discOK           = 4      // its answer for a readable disc

	usualRound = time.Second      // between looks for the medium
	usualTell  = 10 * time.Second // between lines about that
)

var errNoList = errors.New("listing block devices")

// medium is the CD-ROM that a machine is provisioned with.
type medium struct {
	env    *providers.Env
	types  []string                         // of filesystem, tried in this order
	status func(device string) (int, error) // of a CD-ROM drive
	limit  time.Duration                    // for it to appear, 0 = none
	round  time.Duration
	tell   time.Duration

	not map[string]bool // devices that are not the medium for sure
}

func newMedium(env *providers.Env, types ...string) *medium {
	return &medium{env: env, types: types, status: driveStatus, limit: env.DriveWait(), round: usualRound, tell: usualTell, not: map[string]bool{}}
}

// driveStatus asks a drive for its state. A device that is no CD-ROM drive does
// not know the question (ENOTTY or EINVAL), and nothing of it is read.
func driveStatus(device string) (int, error) {
	fd, err := unix.Open(device, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	return unix.IoctlRetInt(fd, cdromDriveStatus)
}

// customData waits for the medium and gives the config on it, empty for none.
func (m *medium) customData(ctx context.Context) ([]byte, error) {
	start := time.Now()
	said := start
	for {
		raw, found, err := m.look(ctx)
		switch {
		case found && err == nil:
			return raw, nil
		case errors.Is(err, errNoList):
			return nil, err
		}
		now := time.Now()
		if m.limit > 0 && now.Sub(start) >= m.limit {
			return nil, errors.Join(fmt.Errorf("the provisioning medium, a CD-ROM with the file %s, %w within %v", environmentFile, providers.ErrNoDrive, m.limit), err)
		}
		if now.Sub(said) >= m.tell {
			said = now
			m.env.Log.Info("waiting for the provisioning medium for %d s now", int(now.Sub(start).Seconds()))
		}
		select {
		case <-time.After(m.round):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// look looks at all drives once. Only what is surely not the medium is not
// looked at again: a drive may not be ready yet.
func (m *medium) look(ctx context.Context) (raw []byte, found bool, err error) {
	entries, err := os.ReadDir(filepath.Join(m.env.SysDir, "class/block"))
	if err != nil {
		return nil, false, fmt.Errorf("%w: %w", errNoList, err)
	}
	var errs []error
	for _, e := range entries {
		device := filepath.Join(m.env.DevDir, e.Name())
		if m.not[device] {
			continue
		}
		status, err := m.status(device)
		switch {
		case errors.Is(err, unix.ENOTTY) || errors.Is(err, unix.EINVAL):
			m.not[device] = true
		case err == nil && status == discOK:
			raw, found, err := m.read(ctx, device)
			if found && err == nil {
				return raw, true, nil
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", device, err))
			}
		}
	}
	return nil, false, errors.Join(errs...)
}

// read mounts a disc and gives its config if it is the medium.
func (m *medium) read(ctx context.Context, device string) (raw []byte, found bool, err error) {
	dir, unmount, err := m.mount(ctx, device)
	if err != nil {
		return nil, false, err
	}
	defer unmount()
	environment, err := providers.ReadInside(dir, environmentFile)
	if errors.Is(err, fs.ErrNotExist) {
		m.not[device] = true
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	raw, err = inEnvironment(environment)
	if err == nil && len(raw) > 0 {
		m.env.Log.Info("config has been read from custom data")
		return raw, true, nil
	}
	if err != nil {
		m.env.Log.Info("%s: %v; reading %s instead", environmentFile, err, customDataFile)
	}
	raw, err = providers.ReadInside(dir, customDataFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, true, nil
	}
	if err == nil {
		m.env.Log.Info("config has been read from custom data")
	}
	return raw, true, err
}

func (m *medium) mount(ctx context.Context, device string) (dir string, unmount func(), err error) {
	var errs []error
	for _, fstype := range m.types {
		if dir, unmount, err = m.env.Mount(ctx, "mounting provisioning medium", device, fstype); err == nil {
			return dir, unmount, nil
		}
		errs = append(errs, err)
	}
	return "", nil, errors.Join(errs...)
}

// inEnvironment finds the custom data, base64 text in an element of the OVF
// environment. No such element is no data. Errors do not quote the document.
func inEnvironment(doc []byte) (raw []byte, err error) {
	var found error
	inside, err := providers.ScanOVF(string(doc), func(e providers.OVFElement) bool {
		if e.Path[len(e.Path)-1] != customElement {
			return true
		}
		if e.Children {
			found = fmt.Errorf("its element %s is no text", customElement)
		} else if raw, err = base64.StdEncoding.DecodeString(strings.Join(strings.Fields(e.Text), "")); err != nil {
			found = fmt.Errorf("its element %s is no base64", customElement)
		}
		return false
	})
	switch {
	case found != nil:
		return nil, found
	case slices.Contains(inside, customElement):
		return nil, errors.New("it ends within the custom data")
	case errors.Is(err, providers.ErrDTD):
		return nil, providers.ErrDTD
	case err != nil:
		return nil, errors.New("it is no XML that can be read")
	}
	return raw, nil
}
