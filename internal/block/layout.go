// SPDX-License-Identifier: Apache-2.0

package block

import (
	"fmt"
	"slices"
	"sort"
)

// What sgdisk does by itself.
const (
	defaultSlots     = 128
	defaultAlignment = 1 << 20 // bytes
	maxAlignment     = 2048    // sectors
	bigAlignment     = 8       // sectors, on disks that may have physical sectors of 4096 bytes
	bigSectors       = 586072368
)

// Extent is a run of sectors.
type Extent struct {
	Start, Size int64
}

// Layout is a table in work: it predicts what sgdisk makes of a series of
// changes. Places depend on the order of the changes, as they do for sgdisk.
type Layout struct {
	first, last int64 // usable sectors
	slots       int
	align       int64
	sectorSize  int64
	parts       []Partition // by start
}

// Layout begins with the table as it is, or with the empty one that sgdisk
// makes where there is none. A backup header that is not at the end of the disk
// is taken for moved there.
func (t Table) Layout() *Layout {
	l := &Layout{first: t.FirstUsable, last: t.LastUsable, slots: t.Slots, sectorSize: t.SectorSize, parts: slices.Clone(t.Partitions)}
	if !t.Present {
		l.slots = defaultSlots
		l.first = 2 + l.arraySectors()
	}
	if !t.Present || t.Misplaced {
		l.last = t.Sectors - 2 - l.arraySectors()
	}
	sort.Sort(byStart(l.parts))
	l.align = alignment(t)
	return l
}

// byStart is for sort.Sort, as partsByNumber.
type byStart []Partition

func (p byStart) Len() int           { return len(p) }
func (p byStart) Less(i, j int) bool { return p[i].Start < p[j].Start }
func (p byStart) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }

// arraySectors is how many sectors the entries take.
func (l *Layout) arraySectors() int64 {
	return (int64(l.slots)*entryMinSize + l.sectorSize - 1) / l.sectorSize
}

// alignment is what sgdisk aligns to: what all partitions keep to.
func alignment(t Table) int64 {
	if len(t.Partitions) == 0 {
		return max(1, defaultAlignment/t.SectorSize)
	}
	align := int64(maxAlignment)
	if t.SectorSize > 512 {
		align = max(1, defaultAlignment/t.SectorSize)
	}
	for _, p := range t.Partitions {
		for align > 1 && p.Start%align != 0 {
			align /= 2
		}
	}
	if align < bigAlignment && t.Sectors >= bigSectors {
		align = bigAlignment
	}
	return align
}

// Alignment is in sectors. It stays what it was for the table as loaded.
func (l *Layout) Alignment() int64 { return l.align }

// Delete removes a partition; its sectors are free from then on.
func (l *Layout) Delete(number int) {
	l.parts = slices.DeleteFunc(l.parts, func(p Partition) bool { return p.Number == number })
}

// Free lists the free blocks in order.
func (l *Layout) Free() []Extent {
	var free []Extent
	at := l.first
	for _, p := range l.parts {
		if p.Start > at {
			free = append(free, Extent{at, p.Start - at})
		}
		at = max(at, p.Start+p.Size)
	}
	if at <= l.last {
		free = append(free, Extent{at, l.last - at + 1})
	}
	return free
}

// largest gives the largest free block, the first one of several.
func (l *Layout) largest() Extent {
	var best Extent
	for _, e := range l.Free() {
		if e.Size > best.Size {
			best = e
		}
	}
	return best
}

// aligned moves a sector down to the alignment if all from there to the sector
// are free, else up if all up to there are. Otherwise it stays where it is.
func (l *Layout) aligned(sector int64) int64 {
	down := sector / l.align * l.align
	up := down + l.align
	switch {
	case down == sector:
		return sector
	case l.fits(down, sector-1):
		return down
	case l.fits(sector+1, up):
		return up
	}
	return sector
}

// PlaceError is a partition that cannot be placed.
type PlaceError struct {
	Number      int
	Start, Size int64 // sectors, as wanted
	sectorSize  int64
	largest     Extent
	reason      string
}

func (e *PlaceError) Error() string {
	mib := func(sectors int64) int64 { return sectors * e.sectorSize >> 20 }
	if e.reason != "" {
		return e.reason
	}
	what := "the largest free block"
	if e.Size > 0 {
		what = fmt.Sprintf("%d MiB", mib(e.Size))
	}
	where := "anywhere"
	if e.Start > 0 {
		where = fmt.Sprintf("at %d MiB", mib(e.Start))
	}
	return fmt.Sprintf("no room for %s %s: the largest free block has %d MiB, from %d MiB on", what, where, mib(e.largest.Size), mib(e.largest.Start))
}

// Add places a partition as `sgdisk --new=number:start:+size` does. 0 as start
// is the beginning of the largest free block, as size all up to the end of that
// block, as number the first free slot.
func (l *Layout) Add(number int, start, size int64) (Partition, error) {
	return l.add(number, start, size, l.align)
}

// AddExact places a partition without aligning it, as sgdisk does after --set-alignment=1.
func (l *Layout) AddExact(number int, start, size int64) (Partition, error) {
	return l.add(number, start, size, 1)
}

func (l *Layout) add(number int, start, size, align int64) (Partition, error) {
	defer func(old int64) { l.align = old }(l.align)
	l.align = align
	block := l.largest()
	no := &PlaceError{Number: number, Start: start, Size: size, sectorSize: l.sectorSize, largest: block}
	number, err := l.slot(number)
	if err != nil {
		no.reason = err.Error()
		return Partition{}, no
	}
	from := start
	if from == 0 {
		from = l.aligned(block.Start)
	}
	end := from + size - 1
	if size == 0 {
		end = block.Start + block.Size - 1
	}
	begin := l.aligned(from)
	if block.Size == 0 || end < from || end < begin || !l.fits(begin, end) {
		return Partition{}, no
	}
	p := Partition{Number: number, Start: begin, Size: end - begin + 1}
	l.parts = append(l.parts, p)
	sort.Sort(byStart(l.parts))
	return p, nil
}

// slot checks a number, or finds the first that is free.
func (l *Layout) slot(number int) (int, error) {
	used := make(map[int]bool, len(l.parts))
	for _, p := range l.parts {
		used[p.Number] = true
	}
	if number == 0 {
		for number = 1; used[number]; number++ {
		}
	}
	switch {
	case number > l.slots:
		return 0, fmt.Errorf("the table has room for %d partitions only", l.slots)
	case used[number]:
		return 0, fmt.Errorf("there is a partition %d already", number)
	}
	return number, nil
}

// fits tells whether a run of sectors is free as a whole.
func (l *Layout) fits(begin, end int64) bool {
	return slices.ContainsFunc(l.Free(), func(e Extent) bool { return begin >= e.Start && end < e.Start+e.Size })
}
