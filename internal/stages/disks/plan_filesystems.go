// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"errors"
	"fmt"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/filesystems"
)

// FilesystemAction is what becomes of a filesystem's device.
type FilesystemAction int

// A filesystem that is as the config says is kept.
const (
	MakeFilesystem FilesystemAction = iota
	KeepFilesystem
	WipeOnly // format none: what is there goes, nothing is made
)

// Filesystem is what becomes of one filesystem.
type Filesystem struct {
	entry
	Action FilesystemAction
	Format string
	Label  string
	UUID   string
}

// Changes tells whether the device is written.
func (o *Filesystem) Changes() bool { return o.Action != KeepFilesystem }

func (o *Filesystem) String() string {
	switch o.Action {
	case KeepFilesystem:
		return fmt.Sprintf("keep what is on %q", o.at.Device)
	case WipeOnly:
		return fmt.Sprintf("wipe %q", o.at.Device)
	}
	return fmt.Sprintf("make %s on %q", o.Format, o.at.Device)
}

var errFilesystemType = errors.New("filesystem is not of the correct type")

// handled tells whether the sub-step has anything to do with an entry; a
// filesystem without a format is only waited for.
func handled(f *config.Filesystem) bool {
	return f.Format != nil && *f.Format != "virtiofs"
}

// oemLabel is the label of Flatcar's own partition for the vendor's files; an
// existing one is reused whatever its format.
const oemLabel = "OEM"

// planFilesystem decides about a filesystem whose device exists.
func planFilesystem(f *config.Filesystem, path string, d *Device, rules Rules) (*Filesystem, error) {
	op := &Filesystem{
		entry: entry{at: Entry{path, f.Device}}, Format: *f.Format, Label: deref(f.Label), UUID: deref(f.UUID),
	}
	want := op.Format
	if want == "none" {
		want, op.Action = "", WipeOnly
	}
	if isTrue(f.WipeFilesystem) {
		return op, op.checkFree(d, true)
	}
	if d.ContentErr != nil {
		return nil, fail(path+".device", "look at the device: it may be broken, or set wipeFilesystem to true to give up what it holds", d.ContentErr)
	}
	found := d.Content
	switch {
	case (found.Type == want || rules.ReuseOEM && found.Label == oemLabel) && op.sameNames(found.Type, found.Label, found.UUID):
		op.Action = KeepFilesystem
		return op, nil
	case found.Type != "":
		return nil, refuse(path, "make the entry describe what is there, or set wipeFilesystem to true to give it up", errFilesystemType,
			"filesystem at %q is not of the correct type, label, or UUID (found %s, %q, %s) and a filesystem wipe was not requested",
			f.Device, found.Type, found.Label, found.UUID)
	}
	return op, op.checkFree(d, false)
}

// sameNames compares label and UUID where the config gives them.
func (o *Filesystem) sameNames(foundType, label, uuid string) bool {
	return (o.Label == "" || o.Label == label) &&
		(o.UUID == "" || filesystems.CanonicalUUID(o.Format, o.UUID) == filesystems.CanonicalUUID(foundType, uuid))
}

// checkFree refuses a device that is in use, or that would lose its partitions.
func (o *Filesystem) checkFree(d *Device, wipe bool) error {
	if d.Use.Any() {
		return inUse(o.at.Path+".device", "format", d.Alias, d.Use)
	}
	if !wipe && len(d.Parts) > 0 {
		return partitioned(o.at.Path+".device", "format", d)
	}
	return nil
}
