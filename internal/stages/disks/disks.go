// SPDX-License-Identifier: Apache-2.0

// Package disks is the stage that partitions disks, makes RAID arrays and LUKS
// volumes, and formats. It looks at the machine first, decides what becomes of
// every entry of the config, and refuses before anything is written if
// something cannot work; then it carries the operations out, section by
// section, each decided again on what is there by then. What is as the config
// says stays as it is. Mounting is another stage's business.
package disks

import (
	"context"
	"errors"
	"fmt"

	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/exec/luks"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/plan"
	"firstboot.dev/ignition/internal/resource"
)

// ErrLive is what a running system gets that is asked for disk work.
var ErrLive = errors.New("cannot apply disk modifications live")

// Input is what the stage works with.
type Input struct {
	Config  *config.Config
	Root    string // of the target, as far as it is mounted
	Log     *oplog.Logger
	Fetcher *resource.Fetcher
	Runner  *exec.Runner
	Host    *block.Host
	LUKS    luks.Manager // programs and paths; the log is set per volume
	Rules   Rules

	Live        bool
	CommandLine string // of the kernel: root= says where the target's root is
	Sgdisk      string
	LUKSKeyDir  string                                            // in the target
	CEXKey      string                                            // key file for volumes with a crypto card
	TempDir     string                                            // "" = the system's
	Wait        func(ctx context.Context, devices []string) error // nil = systemd's device units
	Agreed      func(ops []plan.Operation) error                  // nil, or refuses what is not in a plan
}

// Output is what the stage leaves for later ones.
type Output struct {
	KeyFiles       map[string]string // volume name to data URL
	VolumeKeyFiles map[string]string // file name to data URL
}

type stage struct {
	Input
	ctx     context.Context
	s       *config.Storage
	fresh   map[string]bool   // kernel names of what this run has made
	looking bool              // for a plan: nothing is touched
	aliased map[string]bool   // devices whose aliases the sub-step has made
	keys    map[string][]byte // of the config, by volume

	recovered map[string][]byte // keys that an earlier run has left in the target, nil for none

	out Output
}

// Run runs the stage. Without anything to do it starts no program and talks to nobody.
func Run(ctx context.Context, in Input) (Output, error) {
	s := &stage{Input: in, ctx: ctx, s: &in.Config.Storage, fresh: map[string]bool{}, keys: map[string][]byte{}, recovered: map[string][]byte{}}
	if len(s.s.Disks)+len(s.s.RAID)+len(s.s.LUKS)+len(s.s.Filesystems) == 0 {
		return s.out, nil
	}
	if in.Live {
		return s.out, ErrLive
	}
	if s.Wait == nil {
		s.Wait = block.Wait
	}
	if len(s.s.LUKS) > 0 {
		s.out = Output{KeyFiles: map[string]string{}, VolumeKeyFiles: map[string]string{}}
	}
	if err := s.getReady(s.Log.With(partitionStep.prefix), partitionStep, s.diskDevices()); err != nil {
		return s.out, partitionStep.wrap(err)
	}
	if err := s.preflight(); err != nil {
		return s.out, err
	}
	for _, sub := range []struct {
		substep
		devices []neededDevice
		run     func(*oplog.Logger) error
	}{
		{partitionStep, nil, s.createPartitions},
		{raidStep, s.raidDevices(), s.createRaids},
		{luksStep, s.luksDevices(), s.createLuks},
		{filesystemStep, s.filesystemDevices(), s.createFilesystems},
	} {
		log := s.Log.With(sub.prefix)
		err := s.getReady(log, sub.substep, sub.devices)
		if err == nil {
			err = sub.run(log)
		}
		if err != nil {
			return s.out, sub.wrap(err)
		}
	}
	return s.out, nil
}

// neededDevice is a device that a sub-step waits for.
type neededDevice struct {
	device string
	path   string // of the config entry
}

func (s *stage) diskDevices() (list []neededDevice) {
	for i, d := range s.s.Disks {
		list = append(list, neededDevice{d.Device, fmt.Sprintf("$.storage.disks.%d.device", i)})
	}
	return list
}

func (s *stage) raidDevices() (list []neededDevice) {
	for i, r := range s.s.RAID {
		for j, d := range r.Devices {
			list = append(list, neededDevice{d, fmt.Sprintf("$.storage.raid.%d.devices.%d", i, j)})
		}
	}
	return list
}

func (s *stage) luksDevices() (list []neededDevice) {
	for i, l := range s.s.LUKS {
		list = append(list, neededDevice{deref(l.Device), fmt.Sprintf("$.storage.luks.%d.device", i)})
	}
	return list
}

// filesystemDevices leaves out those that are no block devices; one without a
// format is waited for all the same.
func (s *stage) filesystemDevices() (list []neededDevice) {
	for i, f := range s.s.Filesystems {
		if deref(f.Format) != "virtiofs" {
			list = append(list, neededDevice{f.Device, fmt.Sprintf("$.storage.filesystems.%d.device", i)})
		}
	}
	return list
}

// getReady waits for devices and makes their aliases anew.
func (s *stage) getReady(log *oplog.Logger, step substep, needed []neededDevice) error {
	s.aliased = map[string]bool{}
	if len(needed) == 0 {
		return nil
	}
	if err := s.wait(log, step, needed); err != nil {
		return err
	}
	for _, n := range needed {
		if _, err := s.Host.MakeAlias(s.ctx, log, n.device); err != nil {
			return fail(n.path, "the device was there a moment ago: look at its cable or at the kernel's log", err)
		}
		s.aliased[n.device] = true
	}
	return nil
}

func (s *stage) wait(log *oplog.Logger, step substep, needed []neededDevice) error {
	var devices []string
	for _, n := range needed {
		devices = append(devices, n.device)
	}
	err := log.Do(oplog.Op{Desc: fmt.Sprintf("waiting for devices %v", devices), Kind: "wait-devices"}, func(*oplog.Logger) error {
		return s.Wait(s.ctx, devices)
	})
	if err == nil {
		return nil
	}
	err = fmt.Errorf("failed to wait on %s devs: %w", step.name, err)
	var missing *block.WaitError
	if errors.As(err, &missing) {
		for _, n := range needed {
			if n.device == missing.Device {
				return fail(n.path, fmt.Sprintf("no device %q appeared: look at its name, and at what devices the machine has", n.device), err)
			}
		}
	}
	return err
}
