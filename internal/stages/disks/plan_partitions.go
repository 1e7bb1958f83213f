// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/config"
)

// Partitioning is what becomes of one disk's partition table.
type Partitioning struct {
	entry
	Alias      string
	SectorSize int64
	Wipe       bool // the old table is removed first, whatever it held
	MoveBackup bool // the backup header goes to the end of a disk that grew
	Exact      bool // starts are not to be aligned: a partition keeps one that is not
	Delete     []int
	Create     []NewPartition
	Kept       []block.Partition // stay as they are, listed in the config
	Stale      []int             // right in the table, but the kernel has them otherwise
	Vanished   []int             // not in the table, but the kernel has them still
	notes      []string
}

// NewPartition is a partition to make. Start and Size are in the disk's sectors.
type NewPartition struct {
	Number      int
	Start, Size int64
	Label       *string // nil: none
	TypeGUID    string  // "" = Linux filesystem data
	GUID        string  // "" = a random one
	Attributes  uint64  // carried over on a resize
	Replaces    bool    // there is one of that number, which goes
	Resizes     bool    // the one that there is, in place
}

// Changes tells whether the table is written.
func (o *Partitioning) Changes() bool {
	return o.pending || o.Wipe || len(o.Delete) > 0 || len(o.Create) > 0
}

// touches tells whether the partition of that number is another one afterwards.
func (o *Partitioning) touches(number int) bool {
	return slices.Contains(o.Delete, number) ||
		slices.ContainsFunc(o.Create, func(c NewPartition) bool { return c.Number == number })
}

func (o *Partitioning) String() string {
	switch {
	case o.pending:
		return fmt.Sprintf("partition %q when it is there", o.at.Device)
	case !o.Changes():
		return fmt.Sprintf("keep the partition table of %q", o.at.Device)
	}
	var what []string
	if o.Wipe {
		what = append(what, "remove the old partition table")
	}
	for _, n := range o.Delete {
		what = append(what, fmt.Sprintf("delete partition %d", n))
	}
	for _, c := range o.Create {
		verb := "create"
		switch {
		case c.Resizes:
			verb = "resize"
		case c.Replaces:
			verb = "replace"
		}
		what = append(what, fmt.Sprintf("%s partition %d %q (%d MiB at %d MiB)", verb, c.Number, deref(c.Label),
			c.Size*o.SectorSize>>20, c.Start*o.SectorSize>>20))
	}
	return fmt.Sprintf("%q: %s", o.at.Device, strings.Join(what, ", "))
}

// wanted is one partition of the config on its way to an operation.
type wanted struct {
	*config.Partition
	path   string
	number int              // the one it has or will have
	found  *block.Partition // the existing one of that number
	named  bool             // number 0, found by its label
	taken  *config.Partition
	start  int64 // resolved, in sectors
	size   int64
}

// exists: should it?
func (w *wanted) exists() bool { return w.ShouldExist == nil || *w.ShouldExist }

// wipe tells whether the config permits the existing partition to go. For one
// that takes the place of a partition that the config deletes, the permission
// to delete that one is enough.
func (w *wanted) wipe() bool {
	return isTrue(w.WipePartitionEntry) || w.taken != nil && isTrue(w.taken.WipePartitionEntry)
}

// keeps tells whether unset starts and sizes are those of the existing partition.
func (w *wanted) keeps() bool { return w.found != nil && !w.wipe() && w.taken == nil }

// diskPlanner decides about one disk.
type diskPlanner struct {
	disk   *config.Disk
	path   string
	d      *Device
	table  block.Table
	active map[int]block.Use
	list   []*wanted
	op     *Partitioning
}

// planDisk decides what becomes of a disk. d is nowhere nil.
func planDisk(disk *config.Disk, path string, d *Device) (*Partitioning, error) {
	p := &diskPlanner{disk: disk, path: path, d: d, table: d.Table, active: map[int]block.Use{}}
	p.op = &Partitioning{
		entry: entry{at: Entry{path, disk.Device}}, Alias: d.Alias, SectorSize: d.SectorSize, Wipe: isTrue(disk.WipeTable),
	}
	for _, part := range d.Parts {
		if part.Use.Any() {
			p.active[part.Number] = part.Use
		}
	}
	for _, step := range []func() error{p.checkUse, p.checkTable, p.assign, p.resolve, p.decide} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	p.findStale()
	return p.op, nil
}

// fail is an error of one partition, or of the disk.
func fail(path, hint string, err error) error {
	return &config.EntryError{Path: path, Hint: hint, Err: err}
}

// entryOr is fail for an error that may name its entry already.
func entryOr(path, hint string, err error) error {
	if entry := (*config.EntryError)(nil); errors.As(err, &entry) {
		return err
	}
	return fail(path, hint, err)
}

func (p *diskPlanner) checkUse() error {
	if p.d.Use.Any() {
		return fail(p.path, "no partition table can be written to a disk that is in use as a whole",
			fmt.Errorf("refusing to operate on directly active disk %q: it is %s", p.d.Alias, p.d.Use))
	}
	if p.op.Wipe && len(p.active) > 0 {
		return fail(p.path+".wipeTable", "end that use before the first boot, or leave wipeTable unset",
			fmt.Errorf("refusing to wipe active disk %q: %s", p.d.Alias, p.activeText()))
	}
	return nil
}

// activeText says which partitions are in use, and by whom.
func (p *diskPlanner) activeText() string {
	var parts []string
	for _, part := range p.d.Parts {
		if use, ok := p.active[part.Number]; ok {
			parts = append(parts, fmt.Sprintf("partition %d is %s", part.Number, use))
		}
	}
	return strings.Join(parts, "; ")
}

// checkTable takes the table that the disk has, or none if it is to go.
func (p *diskPlanner) checkTable() error {
	if p.op.Wipe {
		p.table = block.Table{SectorSize: p.d.SectorSize, Sectors: p.d.Size / p.d.SectorSize}
		return nil
	}
	if err := p.d.TableErr; err != nil {
		hint := "set wipeTable to true to give up what the disk holds"
		if !errors.Is(err, block.ErrNoTable) && !errors.Is(err, block.ErrNotGPT) {
			hint = "look at the disk: it may be broken"
		}
		return fail(p.path, hint, fmt.Errorf("getting partition count of %q: %w", p.d.Alias, err))
	}
	if t := p.d.Content.Type; t != "" && !p.table.Present && len(p.disk.Partitions) > 0 {
		return fail(p.path, "set wipeTable to true to give it up",
			fmt.Errorf("refusing to partition %q: it holds %s as a whole, label %q", p.d.Alias, t, p.d.Content.Label))
	}
	return nil
}

// assign finds the number of each partition: the config's own; that of the
// existing partition with the label, so that a second run does not add a second
// one; or the lowest that is free.
func (p *diskPlanner) assign() error {
	used := map[int]bool{}
	for _, part := range p.table.Partitions {
		used[part.Number] = true
	}
	listed := map[int]*config.Partition{}
	for i := range p.disk.Partitions {
		c := &p.disk.Partitions[i]
		if c.Number < 0 {
			return fail(fmt.Sprintf("%s.partitions.%d.number", p.path, i), "numbers begin at 1", fmt.Errorf("partition number %d is negative", c.Number))
		}
		if c.Number > 0 {
			used[c.Number] = c.ShouldExist == nil || *c.ShouldExist
			listed[c.Number] = c
		}
		p.list = append(p.list, &wanted{Partition: c, path: fmt.Sprintf("%s.partitions.%d", p.path, i), number: c.Number})
	}
	// Those with a number come first; the order is kept otherwise.
	var others []*wanted
	numbered := p.list[:0]
	for _, w := range p.list {
		if w.Number != 0 {
			numbered = append(numbered, w)
		} else {
			others = append(others, w)
		}
	}
	p.list = append(numbered, others...)
	byLabel := map[int]bool{}
	for _, w := range p.list {
		if w.Number == 0 {
			p.findLabel(w, listed, byLabel)
		}
		if w.number == 0 {
			for w.number = 1; used[w.number]; w.number++ {
			}
			used[w.number] = true
			w.taken = listed[w.number]
		}
		if part, ok := p.table.Partition(w.number); ok {
			w.found = &part
		}
	}
	return nil
}

// findLabel looks for the partition that a number-0 entry means: one with its
// label that no other entry means. If there are several, one that is as the
// entry says goes first.
func (p *diskPlanner) findLabel(w *wanted, listed map[int]*config.Partition, byLabel map[int]bool) {
	if deref(w.Label) == "" || !w.exists() {
		return
	}
	for _, exact := range []bool{true, false} {
		for _, part := range p.table.Partitions {
			if part.Label != *w.Label || listed[part.Number] != nil || byLabel[part.Number] {
				continue
			}
			if exact && describes(w.Partition, part, p.d.SectorSize) != nil {
				continue
			}
			byLabel[part.Number] = true
			w.number, w.named = part.Number, true
			return
		}
	}
}

// describes compares all but what has to be resolved first; nil means that it fits.
func describes(c *config.Partition, part block.Partition, sectorSize int64) error {
	w := &wanted{Partition: c, start: part.Start, size: part.Size}
	if c.StartMiB != nil && *c.StartMiB != 0 {
		w.start = int64(*c.StartMiB) * (1 << 20 / sectorSize)
	}
	if c.SizeMiB != nil && *c.SizeMiB != 0 {
		w.size = int64(*c.SizeMiB) * (1 << 20 / sectorSize)
	}
	reason, _ := w.differs(part)
	return reason
}

// maxMiB keeps sector counts within 63 bits.
const maxMiB = 1 << 40

// sectors gives a start or size of the config in sectors; known is false for 0 and unset.
func (p *diskPlanner) sectors(mib *int, path string) (n int64, known bool, err error) {
	if mib == nil {
		return 0, false, nil
	}
	if *mib < 0 || *mib > maxMiB {
		return 0, false, fail(path, "give a number of MiB from 0 on", fmt.Errorf("%d MiB is out of range", *mib))
	}
	return int64(*mib) * (1 << 20 / p.d.SectorSize), *mib != 0, nil
}

// resolve finds out where each partition is or will be, as if those that the
// config describes were made anew in its order. Those whose place is settled
// stay where they are.
func (p *diskPlanner) resolve() error {
	layout := p.table.Layout()
	var open []*wanted
	for _, w := range p.list {
		settled, err := p.settle(w)
		if err != nil {
			return err
		}
		if settled {
			continue
		}
		if w.found != nil {
			layout.Delete(w.number)
		}
		if w.exists() {
			open = append(open, w)
		}
	}
	for _, w := range open {
		add := layout.Add
		if w.keeps() && w.start == w.found.Start && w.start%layout.Alignment() != 0 {
			add, p.op.Exact = layout.AddExact, true
		}
		placed, err := add(w.number, w.start, w.size)
		if err != nil {
			return fail(w.path, "give it a start and a size that fit, or make room by deleting another partition",
				fmt.Errorf("failed to pretend to create partitions. Err: partition %d of %q: %w", w.number, p.d.Alias, err))
		}
		w.start, w.size = placed.Start, placed.Size
	}
	return nil
}

// settle reads an entry's start and size, and tells whether nothing about its
// place has to be found out.
func (p *diskPlanner) settle(w *wanted) (bool, error) {
	start, knownStart, err := p.sectors(w.StartMiB, w.path+".startMiB")
	if err != nil {
		return false, err
	}
	size, knownSize, err := p.sectors(w.SizeMiB, w.path+".sizeMiB")
	if err != nil || !w.exists() {
		return false, err
	}
	if w.keeps() {
		if w.StartMiB == nil {
			start, knownStart = w.found.Start, true
		}
		if w.SizeMiB == nil {
			size, knownSize = w.found.Size, true
		}
	}
	w.start, w.size = start, size
	return w.found != nil && knownStart && knownSize && start == w.found.Start && size == w.found.Size, nil
}

// decide goes through the table of cases.
func (p *diskPlanner) decide() error {
	for _, w := range p.list {
		if !w.exists() && slices.ContainsFunc(p.list, func(o *wanted) bool { return o.taken == w.Partition }) {
			continue // its place was given to another
		}
		changed, err := p.decideOne(w)
		if err != nil {
			return err
		}
		if use, active := p.active[w.number]; active && changed {
			return fail(w.path, "a partition in use can be neither changed nor deleted; describe it as it is, or leave it out",
				fmt.Errorf("refusing to modify active partition %d on %q: it is %s", w.number, p.d.Alias, use))
		}
	}
	p.op.MoveBackup = p.table.Misplaced && len(p.op.Create) > 0
	return nil
}

func (p *diskPlanner) decideOne(w *wanted) (changed bool, err error) {
	n := w.number
	switch {
	case w.found == nil && !w.exists():
		p.note("partition %d specified as nonexistant and no partition was found. Success.", n)
		return false, nil
	case w.found == nil:
		p.op.Create = append(p.op.Create, w.create())
		return false, nil
	case !w.exists() && !isTrue(w.WipePartitionEntry):
		return false, fail(w.path, "set wipePartitionEntry to true to delete it",
			fmt.Errorf("partition %d exists but is specified as nonexistant and wipePartitionEntry is false", n))
	case !w.exists():
		p.op.Delete = append(p.op.Delete, n)
		return true, nil
	}
	reason, onlySize := w.differs(*w.found)
	switch {
	case reason == nil:
		p.note("partition %d found with correct specifications", n)
		p.op.Kept = append(p.op.Kept, *w.found)
		return false, nil
	case w.wipe():
		p.note("partition %d did not meet specifications, wiping partition entry and recreating", n)
		c := w.create()
		c.Replaces = true
		p.op.Create = append(p.op.Create, c)
		return true, nil
	case isTrue(w.Resize) && onlySize:
		p.note("resizing partition %d", n)
		p.op.Create = append(p.op.Create, NewPartition{
			Number: n, Start: w.found.Start, Size: w.size, Label: &w.found.Label, TypeGUID: w.found.TypeGUID, GUID: w.found.GUID,
			Attributes: w.found.Attributes, Replaces: true, Resizes: true,
		})
		return true, nil
	}
	hint := "make the entry describe the partition, or set wipePartitionEntry to true to replace it"
	if onlySize {
		hint += ", or resize to change only its size"
	}
	how := ""
	if w.named {
		how = fmt.Sprintf(" (found by its label %q)", deref(w.Label))
	}
	return false, fail(w.path, hint, fmt.Errorf("partition %d didn't match%s: %w", n, how, reason))
}

func (p *diskPlanner) note(format string, args ...any) {
	p.op.notes = append(p.op.notes, fmt.Sprintf(format, args...))
}

// create is the partition that an entry asks for.
func (w *wanted) create() NewPartition {
	return NewPartition{
		Number: w.number, Start: w.start, Size: w.size, Label: w.Label, TypeGUID: deref(w.TypeGUID), GUID: deref(w.GUID),
	}
}

// differs compares an entry with an existing partition and gives the first
// difference. onlySize tells that it is the only one.
func (w *wanted) differs(part block.Partition) (reason error, onlySize bool) {
	switch {
	case w.start != part.Start:
		return fmt.Errorf("starting sector did not match (specified %d, got %d)", w.start, part.Start), false
	case deref(w.GUID) != "" && !strings.EqualFold(*w.GUID, part.GUID):
		return fmt.Errorf("GUID did not match (specified %q, got %q)", *w.GUID, part.GUID), false
	case deref(w.TypeGUID) != "" && !strings.EqualFold(*w.TypeGUID, part.TypeGUID):
		return fmt.Errorf("type GUID did not match (specified %q, got %q)", *w.TypeGUID, part.TypeGUID), false
	case w.Label != nil && *w.Label != part.Label:
		return fmt.Errorf("label did not match (specified %q, got %q)", *w.Label, part.Label), false
	case w.size != part.Size:
		return fmt.Errorf("size did not match (specified %d, got %d)", w.size, part.Size), true
	}
	return nil, false
}

// findStale compares the kernel's view with the table: a run that was cut
// after the table was written has not told the kernel yet.
func (p *diskPlanner) findStale() {
	unit := p.d.SectorSize / 512
	for _, k := range p.op.Kept {
		i := slices.IndexFunc(p.d.Parts, func(part Part) bool { return part.Number == k.Number })
		if i >= 0 && (p.d.Parts[i].Start < 0 || p.d.Parts[i].Start == k.Start*unit) && p.d.Parts[i].Sectors == k.Size*unit {
			continue
		}
		p.op.Stale = append(p.op.Stale, k.Number)
	}
	for _, part := range p.d.Parts {
		_, inTable := p.table.Partition(part.Number)
		if !inTable && !part.Use.Any() && !p.op.touches(part.Number) && (p.op.Wipe || p.unwanted(part.Number)) {
			p.op.Vanished = append(p.op.Vanished, part.Number)
		}
	}
}

// unwanted tells whether the config says that there is to be no such partition.
func (p *diskPlanner) unwanted(number int) bool {
	return slices.ContainsFunc(p.list, func(w *wanted) bool { return w.number == number && !w.exists() })
}
