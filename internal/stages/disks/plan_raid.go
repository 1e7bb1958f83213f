// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/raid"
)

// ArrayAction is what becomes of an array.
type ArrayAction int

// An array that its members hold already is kept; one that does not run is started.
const (
	CreateArray ArrayAction = iota
	StartArray
	KeepArray
)

// Array is what becomes of one md array.
type Array struct {
	entry
	raid.Array
	Action ArrayAction
	notes  []string // warnings
}

// Changes tells whether members are written.
func (o *Array) Changes() bool { return o.Action == CreateArray }

func (o *Array) String() string {
	verb := map[ArrayAction]string{CreateArray: "create", StartArray: "assemble", KeepArray: "keep"}[o.Action]
	return fmt.Sprintf("%s array %q (%s of %s)", verb, o.Name, o.Level, strings.Join(o.Devices, ", "))
}

// arrayOf is the array that an entry asks for; its devices are aliases once they are known.
func arrayOf(a *config.RAID, facts *Facts) raid.Array {
	array := raid.Array{Name: a.Name, Level: deref(a.Level), Options: a.Options}
	if a.Spares != nil {
		array.Spares = *a.Spares
	}
	for _, device := range a.Devices {
		if d := facts.device(device); d != nil {
			device = d.Alias
		}
		array.Devices = append(array.Devices, device)
	}
	return array
}

// planArray decides about an array whose members all exist.
func planArray(a *config.RAID, path string, facts *Facts) (*Array, error) {
	op := &Array{entry: entry{at: Entry{path, raid.Node(a.Name)}}, Array: arrayOf(a, facts)}
	if op.Spares < 0 || op.Spares >= len(a.Devices) {
		return nil, fail(path+".spares", "give more devices than spares",
			fmt.Errorf("%d spares of %d devices leave none for the array", op.Spares, len(a.Devices)))
	}
	running := facts.device(raid.Node(a.Name))
	old, fresh, err := op.oldMembers(a, facts)
	if err != nil {
		return nil, err
	}
	if len(old) == 0 {
		return op, op.checkFree(a, facts, running)
	}
	if len(fresh) > 0 {
		if slices.ContainsFunc(old, func(m *raid.Member) bool { return m.Events > 0 }) {
			return nil, fail(path, "add the missing members by hand, or wipe all of them",
				fmt.Errorf("array %q exists on some of its devices only; %s are not part of it: refusing to overwrite it", a.Name, strings.Join(fresh, ", ")))
		}
		return op, op.checkFree(a, facts, running) // a creation that was cut: it never ran
	}
	if err := op.compare(a, old); err != nil {
		return nil, fail(path, "make the entry describe the array, or remove it first with `mdadm --stop` and `mdadm --zero-superblock`", err)
	}
	op.Action = StartArray
	if running != nil && running.Array != nil {
		if running.Array.UUID != old[0].UUID {
			return nil, fail(path+".name", "stop the other array, or give this one another name",
				fmt.Errorf("%q is another array already", raid.Node(a.Name)))
		}
		op.Action = KeepArray
		return op, nil
	}
	return op, op.checkFree(a, facts, nil)
}

// oldMembers collects the superblocks that belong to an array of this name on
// devices that were there before this run, and the devices that have none.
func (o *Array) oldMembers(a *config.RAID, facts *Facts) (old []*raid.Member, fresh []string, err error) {
	name := raid.ShortName(a.Name)
	for i, device := range a.Devices {
		d := facts.device(device)
		m := d.Member
		switch {
		case m == nil || d.Fresh:
			fresh = append(fresh, device)
		case m.Name == name || m.Metadata == "0.90" && o.Metadata() == "0.90":
			old = append(old, m)
		case d.Use.Any():
			return nil, nil, inUse(fmt.Sprintf("%s.devices.%d", o.at.Path, i), "make an array of", d.Alias, d.Use)
		default:
			o.notes = append(o.notes, fmt.Sprintf("%q was a member of the array %q; it is overwritten", device, m.Name))
			fresh = append(fresh, device)
		}
	}
	return old, fresh, nil
}

// compare tells in what an existing array is not the one that the entry asks for.
func (o *Array) compare(a *config.RAID, old []*raid.Member) error {
	spares := 0
	for i, m := range old {
		if m.UUID != old[0].UUID {
			return fmt.Errorf("%q and %q belong to different arrays of the name %q", a.Devices[0], a.Devices[i], a.Name)
		}
		if m.Spare {
			spares++
		}
	}
	first := old[0]
	switch want := len(a.Devices) - o.Spares; {
	case !raid.SameLevel(o.Level, first.Level):
		return fmt.Errorf("array %q has another level (specified %q, got %q)", a.Name, o.Level, first.Level)
	case first.Devices != want:
		return fmt.Errorf("array %q has another number of devices (specified %d, got %d)", a.Name, want, first.Devices)
	case spares > o.Spares:
		return fmt.Errorf("array %q has another number of spares (specified %d, got %d)", a.Name, o.Spares, spares)
	case first.Metadata != o.Metadata():
		return fmt.Errorf("array %q has another metadata version (specified %q, got %q)", a.Name, o.Metadata(), first.Metadata)
	}
	return nil
}

var errTwice = errors.New("a device can be a member only once")

// checkFree refuses members that are in use, too small to hold anything, or
// one device under two names, and an array of that name made of other devices.
func (o *Array) checkFree(a *config.RAID, facts *Facts, running *Device) error {
	if running != nil && running.Array != nil {
		return fail(o.at.Path+".name", "stop the other array, or give this one another name",
			fmt.Errorf("%q is another array already, made of %s", raid.Node(a.Name), strings.Join(running.Array.Nodes, ", ")))
	}
	seen := map[string]string{}
	for i, device := range a.Devices {
		d := facts.device(device)
		path := fmt.Sprintf("%s.devices.%d", o.at.Path, i)
		if other, ok := seen[d.Name]; ok {
			return fail(path, "remove one of the two", fmt.Errorf("%q is the same device as %q: %w", device, other, errTwice))
		}
		seen[d.Name] = device
		if d.Use.Any() {
			return inUse(path, "make an array of", d.Alias, d.Use)
		}
		if len(d.Parts) > 0 && d.Member == nil && !d.Fresh {
			return partitioned(path, "make an array of", d)
		}
	}
	return nil
}
