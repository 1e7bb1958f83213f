// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"sort"
	"strings"
)

// Stage is what one stage would do.
type Stage struct {
	Operations []Operation
	Disks      []Disk
}

// Disk is a disk's partition table, before and after.
type Disk struct {
	Device     string      `json:"device"`
	Size       int64       `json:"size"`       // bytes
	SectorSize int64       `json:"sectorSize"` // bytes
	Before     []Partition `json:"before"`
	After      []Partition `json:"after"`
}

// Partition is one partition of a layout.
type Partition struct {
	Number int    `json:"number"`
	Label  string `json:"label,omitempty"`
	Type   string `json:"typeGuid,omitempty"` // empty: Linux filesystem data
	Start  int64  `json:"start"`              // bytes from the beginning of the disk
	Size   int64  `json:"size"`               // bytes
}

type byStart []Partition

func (p byStart) Len() int           { return len(p) }
func (p byStart) Less(i, j int) bool { return p[i].Start < p[j].Start }
func (p byStart) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }

// SortPartitions brings partitions into the order in which they are on the disk.
func SortPartitions(list []Partition) { sort.Sort(byStart(list)) }

// Bytes is a size for a person.
func Bytes(n int64) string { return bytesText(n) }

func (w *writer) disk(d *Disk) {
	w.line("", "disk %s, %s:", d.Device, bytesText(d.Size))
	for _, side := range []struct {
		name string
		list []Partition
	}{{"before", d.Before}, {"after", d.After}} {
		if len(side.list) == 0 {
			w.line("", "  %-6s  no partitions", side.name)
		}
		name := side.name
		for _, p := range side.list {
			label := ""
			if p.Label != "" {
				label = fmt.Sprintf("  %q", p.Label)
			}
			w.line("", "%s", strings.TrimRight(fmt.Sprintf("  %-6s  %2d  at %-10s %-10s%s", name, p.Number, bytesText(p.Start), bytesText(p.Size), label), " "))
			name = ""
		}
	}
}

func samePartitions(a, b []Partition) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
