// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"errors"
	"fmt"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/luks"
)

// VolumeAction is what becomes of a LUKS volume.
type VolumeAction int

// A volume that is as the config says, and that its key opens, is reused. One
// that a cut run left half made is made again.
const (
	FormatVolume VolumeAction = iota
	ReuseVolume
	RemakeVolume
)

// Volume is what becomes of one LUKS volume.
type Volume struct {
	entry
	Name   string
	Action VolumeAction
	Wipe   bool   // old signatures are removed first
	Close  bool   // the volume of that name on this device is open and is closed first
	IsOpen bool   // a volume to reuse is open already
	Mark   bool   // the header says that it is in work until the files stage has its key
	note   string // why it is made again
}

// Changes tells whether the device is written.
func (o *Volume) Changes() bool { return o.Action != ReuseVolume }

func (o *Volume) String() string {
	verb := map[VolumeAction]string{FormatVolume: "create", ReuseVolume: "reuse", RemakeVolume: "create again"}[o.Action]
	return fmt.Sprintf("%s LUKS volume %q on %q", verb, o.Name, o.at.Device)
}

var errVolumeType = errors.New("volume is not of the correct type")

// refusal is why a volume cannot be had; the reason is logged as an error first.
type refusal struct {
	reason string
	err    error
}

func (r *refusal) Error() string { return fmt.Sprintf("%v (%s)", r.err, r.reason) }
func (r *refusal) Unwrap() error { return r.err }

func refuse(path, hint string, err error, format string, args ...any) error {
	return fail(path, hint, &refusal{reason: fmt.Sprintf(format, args...), err: err})
}

const wipeVolumeHint = "set wipeVolume to true to give up what the device holds"

// planVolume decides about a volume whose device exists.
func planVolume(l *config.LUKS, path string, d *Device) (*Volume, error) {
	op := &Volume{
		entry: entry{at: Entry{path, deref(l.Device)}}, Name: l.Name, Wipe: isTrue(l.WipeVolume),
		Mark: luks.Marked(l),
	}
	if err := op.checkMapper(d); err != nil {
		return nil, err
	}
	if !op.Wipe {
		done, err := op.reuse(l, d)
		if err != nil || done {
			return op, err
		}
	}
	if op.Close {
		if err := op.closable(d); err != nil {
			return nil, err
		}
	}
	if use := d.Use; use.Any() && !(op.Close && onlyHolder(use.Holders, d.Mapper.Name) && len(use.Mounts) == 0 && !use.Swap) {
		return nil, inUse(path+".device", "encrypt", d.Alias, use)
	}
	if op.Action == FormatVolume && !op.Wipe && len(d.Parts) > 0 && !d.Fresh {
		return nil, partitioned(path+".device", "encrypt", d)
	}
	return op, nil
}

// checkMapper looks at an open volume of the same name.
func (o *Volume) checkMapper(d *Device) error {
	m := d.Mapper
	switch {
	case m == nil:
		return nil
	case !m.LUKS || m.On != d.Name:
		return fail(o.at.Path+".name", "give the volume another name",
			fmt.Errorf("/dev/mapper/%s is in the way: it is another device, on %s", o.Name, m.On))
	}
	o.Close = true
	return nil
}

// closable refuses to close a volume that somebody uses.
func (o *Volume) closable(d *Device) error {
	if d.Mapper != nil && d.Mapper.Use.Any() {
		return inUse(o.at.Path, "close", "/dev/mapper/"+o.Name, d.Mapper.Use)
	}
	return nil
}

// reuse decides about a device that holds something, when nothing may be wiped.
func (o *Volume) reuse(l *config.LUKS, d *Device) (done bool, err error) {
	v := d.Volume
	switch {
	case v == nil || v.Version == 0:
		return false, o.checkContent(d)
	case v.Version == 1:
		return false, fail(o.at.Path, wipeVolumeHint,
			fmt.Errorf("%s is a luks device but not luks2; Ignition cannot reuse it", o.at.Device))
	case v.Keyslots == 0 && d.Mapper == nil:
		o.Action, o.note = RemakeVolume, "it has no key slot: nobody can ever open it"
		return false, nil
	}
	why := o.mismatch(l, d)
	switch {
	case why == "":
		o.Action, o.IsOpen, o.Close = ReuseVolume, d.Mapper != nil, false
		return true, nil
	case v.Mark != nil && v.Mark.Volume == l.Name && v.Mark.Entry == luks.EntryDigest(l):
		o.Action, o.note = RemakeVolume, "an earlier run made it from the same config entry and did not end"
		return false, nil
	}
	return false, refuse(o.at.Path, o.hint(l, why), errVolumeType,
		"volume wipe was not requested and luks device %q could not be reused: %s", o.at.Device, why)
}

func (o *Volume) hint(l *config.LUKS, why string) string {
	if why == errNoKeyFile && !luks.UsesClevis(l) {
		return wipeVolumeHint + "; if the machine was set up before, its key is in /etc/luks of its root"
	}
	return wipeVolumeHint
}

const errNoKeyFile = "config must specify keyfile"

// mismatch says why an existing volume cannot be reused, "" if it can.
func (o *Volume) mismatch(l *config.LUKS, d *Device) string {
	v := d.Volume
	switch {
	case luks.UsesClevis(l):
		return "config must not specify clevis binding"
	case deref(l.KeyFile.Source) == "" && d.Key != KeyOpens:
		return errNoKeyFile
	case deref(l.Label) != "" && *l.Label != v.Label:
		return fmt.Sprintf("volume label %q doesn't match expected label %q", v.Label, *l.Label)
	case deref(l.UUID) != "" && !strings.EqualFold(*l.UUID, v.UUID):
		return fmt.Sprintf("volume UUID %q doesn't match expected UUID %q", v.UUID, *l.UUID)
	case v.Discard != isTrue(l.Discard):
		return fmt.Sprintf("volume allow-discards flag %t doesn't match expected value %t", v.Discard, isTrue(l.Discard))
	case d.Key == KeyWrong:
		return "failed to open device using specified keyfile"
	}
	return ""
}

// checkContent refuses to encrypt a device that holds something else.
func (o *Volume) checkContent(d *Device) error {
	if d.ContentErr != nil {
		return fail(o.at.Path+".device", "look at the device: it may be broken", d.ContentErr)
	}
	if t := d.Content.Type; t != "" {
		return refuse(o.at.Path, wipeVolumeHint, errVolumeType,
			"volume at %q is not of the correct type (found %s) and a volume wipe was not requested", o.at.Device, t)
	}
	return nil
}

func onlyHolder(holders []string, name string) bool {
	return len(holders) == 1 && holders[0] == name
}

// partitioned is the error of a device that would lose a partition table
// though nothing says that it may.
func partitioned(path, what string, d *Device) error {
	return fail(path, "give a partition, or remove the table first: a disks entry with wipeTable does so",
		fmt.Errorf("refusing to %s %q: it has a partition table with %d partitions", what, d.Alias, len(d.Parts)))
}
