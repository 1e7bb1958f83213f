// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"errors"
	"fmt"

	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/raid"
)

// Operation is one step of a plan: what becomes of one entry of the config.
type Operation interface {
	Entry() Entry
	Changes() bool  // something is written
	Pending() bool  // the device is not there yet: decided again when it is
	String() string // for a person, one line
}

// Entry is the config entry that an operation carries out.
type Entry struct {
	Path   string // "$.storage.disks.0"
	Device string // as in the config
}

// entry is the part that operations share.
type entry struct {
	at      Entry
	pending bool
}

func (e entry) Entry() Entry  { return e.at }
func (e entry) Pending() bool { return e.pending }

// The stage's sub-steps, each with its log prefix and the beginning of its errors.
type substep struct {
	name   string // as in "failed to wait on NAME devs"
	prefix string
	failed string
}

var (
	partitionStep  = substep{"disks", "createPartitions", "create partitions failed"}
	raidStep       = substep{"raids", "createRaids", "failed to create raids"}
	luksStep       = substep{"luks", "createLuks", "failed to create luks"}
	filesystemStep = substep{"filesystems", "createFilesystems", "failed to create filesystems"}
)

func (s substep) wrap(err error) error { return fmt.Errorf("%s: %w", s.failed, err) }

// Plan decides what the whole stage does on a machine, in order. It is a pure
// function: nothing is read and nothing is run. Devices that are not there, or
// that an earlier operation makes anew, give pending operations. An error says
// that the config cannot be carried out, for one or more of its entries.
func Plan(s *config.Storage, facts *Facts, rules Rules) ([]Operation, error) {
	p := &planner{facts: facts, rules: rules, renewed: map[string]bool{}, partitioned: map[string]bool{}}
	var ops []Operation
	var errs []error
	add := func(step substep, op Operation, err error) {
		if err != nil {
			errs = append(errs, step.wrap(err))
			return
		}
		if op != nil {
			ops = append(ops, op)
		}
	}
	for i := range s.Disks {
		op, err := p.disk(s, i)
		add(partitionStep, op, err)
	}
	for i := range s.RAID {
		op, err := p.array(s, i)
		add(raidStep, op, err)
	}
	for i := range s.LUKS {
		op, err := p.volume(s, i)
		add(luksStep, op, err)
	}
	if err := sameDevices(s, facts); err != nil {
		add(filesystemStep, nil, err)
	}
	for i := range s.Filesystems {
		op, err := p.filesystem(s, i)
		add(filesystemStep, op, err)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return ops, nil
}

// Rules are what distributions decide differently.
type Rules struct {
	ReuseOEM bool // a filesystem labelled OEM is reused whatever its format (Flatcar)
}

// planner knows which nodes an earlier operation of the plan makes anew.
type planner struct {
	facts       *Facts
	rules       Rules
	renewed     map[string]bool // kernel names, and paths of arrays and mappers
	partitioned map[string]bool // disks that will have partitions
}

// now gives the facts of a device as far as they hold when its turn comes.
func (p *planner) now(path string) *Device {
	d := p.facts.device(path)
	if d == nil || p.renewed[d.Name] || p.renewed[path] {
		return nil
	}
	return d
}

func (p *planner) disk(s *config.Storage, i int) (Operation, error) {
	disk := &s.Disks[i]
	path := fmt.Sprintf("$.storage.disks.%d", i)
	d := p.facts.device(disk.Device)
	if d == nil {
		return &Partitioning{entry: entry{Entry{path, disk.Device}, true}}, nil
	}
	op, err := planDisk(disk, path, d)
	if err != nil {
		return nil, err
	}
	for _, part := range d.Parts {
		if op.Wipe || op.touches(part.Number) {
			p.renewed[part.Name] = true
		}
	}
	p.renewed[d.Name] = op.Wipe
	p.partitioned[disk.Device] = len(op.Create)+len(op.Kept) > 0
	return op, nil
}

func (p *planner) array(s *config.Storage, i int) (Operation, error) {
	a := &s.RAID[i]
	path := fmt.Sprintf("$.storage.raid.%d", i)
	node := raid.Node(a.Name)
	for _, device := range a.Devices {
		if p.now(device) == nil {
			p.renewed[node] = true
			return &Array{entry: entry{Entry{path, node}, true}, Array: arrayOf(a, nil)}, nil
		}
	}
	op, err := planArray(a, path, p.facts)
	if err != nil {
		return nil, err
	}
	if op.Action == CreateArray {
		p.renewed[node] = true
		if d := p.facts.device(node); d != nil {
			p.renewed[d.Name] = true
		}
	}
	return op, nil
}

func (p *planner) volume(s *config.Storage, i int) (Operation, error) {
	l := &s.LUKS[i]
	path := fmt.Sprintf("$.storage.luks.%d", i)
	d := p.now(deref(l.Device))
	mapper := "/dev/mapper/" + l.Name
	if d == nil {
		p.renewed[mapper] = true
		return &Volume{entry: entry{Entry{path, deref(l.Device)}, true}, Name: l.Name}, nil
	}
	op, err := planVolume(l, path, d)
	if err != nil {
		return nil, err
	}
	if op.Action != ReuseVolume {
		p.renewed[mapper] = true
		if m := p.facts.device(mapper); m != nil {
			p.renewed[m.Name] = true
		}
	}
	return op, nil
}

func (p *planner) filesystem(s *config.Storage, i int) (Operation, error) {
	f := &s.Filesystems[i]
	path := fmt.Sprintf("$.storage.filesystems.%d", i)
	if !handled(f) {
		return nil, nil
	}
	if p.partitioned[f.Device] && !isTrue(f.WipeFilesystem) {
		return nil, fail(path+".device", "give a partition, or remove the partitions from the config",
			fmt.Errorf("refusing to format %q: the config partitions it", f.Device))
	}
	d := p.now(f.Device)
	if d == nil {
		return &Filesystem{entry: entry{Entry{path, f.Device}, true}, Action: MakeFilesystem, Format: *f.Format}, nil
	}
	return planFilesystem(f, path, d, p.rules)
}

// sameDevices refuses two filesystems on one device by different names: they
// are made at the same time.
func sameDevices(s *config.Storage, facts *Facts) error {
	first := map[string]int{}
	for i := range s.Filesystems {
		f := &s.Filesystems[i]
		d := facts.device(f.Device)
		if !handled(f) || d == nil {
			continue
		}
		if j, ok := first[d.Name]; ok {
			return &config.EntryError{
				Path: fmt.Sprintf("$.storage.filesystems.%d.device", i),
				Hint: "keep one filesystem for each device",
				Err:  fmt.Errorf("%q is the same device as %q, which $.storage.filesystems.%d is on", f.Device, s.Filesystems[j].Device, j),
			}
		}
		first[d.Name] = i
	}
	return nil
}

// inUse is the error of a device that cannot be written to.
func inUse(path, what, alias string, use block.Use) error {
	return &config.EntryError{
		Path: path,
		Hint: "end that use before the first boot, or give another device",
		Err:  fmt.Errorf("refusing to %s %q: it is %s", what, alias, use),
	}
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func isTrue(b *bool) bool { return b != nil && *b }
