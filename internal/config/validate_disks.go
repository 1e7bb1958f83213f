// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

func (k *rules) checkDisk(p *place, c *Disk) {
	list := p.field("partitions")
	if c.Device == "" {
		k.fail(p.field("device"), "disk device is required")
	} else {
		k.checkPath(p.field("device"), c.Device)
		k.checkPartitionTable(list, c.Partitions)
	}
	for i := range c.Partitions {
		k.checkPartition(list.at(i), &c.Partitions[i])
	}
}

// checkPartitionTable reports each kind of clash once per disk, at the first entry that clashes with an
// earlier one.
func (k *rules) checkPartitionTable(p *place, list []Partition) {
	if i := firstRepeat(list, func(c *Partition) (int, bool) { return c.Number, c.Number != 0 }); i >= 0 {
		k.fail(p.at(i), "partition numbers collide")
	}
	if i := firstOverlap(list); i >= 0 {
		k.fail(p.at(i), "partitions overlap")
	}
	if i := firstRepeat(list, func(c *Partition) (string, bool) { return text(c.Label), c.Label != nil }); i >= 0 {
		k.fail(p.at(i), "cannot use the same partition label twice")
	}
}

// firstRepeat returns the first index whose key an earlier entry has, or -1.
func firstRepeat[K comparable](list []Partition, key func(*Partition) (K, bool)) int {
	if len(list) < 2 {
		return -1
	}
	seen := make(map[K]struct{}, len(list))
	for i := range list {
		name, ok := key(&list[i])
		if !ok {
			continue
		}
		if _, repeated := seen[name]; repeated {
			return i
		}
		seen[name] = struct{}{}
	}
	return -1
}

// firstOverlap returns the first index whose range overlaps an earlier one, or -1. Only partitions whose
// start and size are both given have a range here.
func firstOverlap(list []Partition) int {
	type span struct{ start, end int } // both inclusive
	var placed []span                  // disjoint, sorted by start
	for i := range list {
		start, size := valueOrZero(list[i].StartMiB), valueOrZero(list[i].SizeMiB)
		if start == 0 || list[i].SizeMiB == nil || size < 0 {
			continue
		}
		s := span{start, math.MaxInt}
		if size = max(size, 1); start <= math.MaxInt-size {
			s.end = start + size - 1
		}
		at, found := slices.BinarySearchFunc(placed, start, func(s span, start int) int {
			switch {
			case s.start < start:
				return -1
			case s.start > start:
				return 1
			}
			return 0
		})
		if found || at > 0 && placed[at-1].end >= s.start || at < len(placed) && placed[at].start <= s.end {
			return i
		}
		placed = slices.Insert(placed, at, s)
	}
	return -1
}

const maxPartitionLabel = 36 // bytes, though the message says characters and a GPT holds UTF-16 units

func (k *rules) checkPartition(p *place, c *Partition) {
	if c.ShouldExist != nil && !*c.ShouldExist && (c.Label != nil || c.StartMiB != nil || c.SizeMiB != nil ||
		text(c.GUID) != "" || text(c.TypeGUID) != "") {
		k.fail(p, "shouldExist specified false with other options also specified")
	}
	if c.Number == 0 && c.Label == nil {
		k.fail(p, "a partition number >= 1 or a label must be specified")
	}
	label := text(c.Label)
	if len(label) > maxPartitionLabel {
		k.fail(p.field("label"), "partition labels may not exceed 36 characters")
	}
	if strings.Contains(label, ":") {
		k.fail(p.field("label"), "partition label will be truncated to text before the colon")
	}
	k.checkGUID(p.field("guid"), text(c.GUID))
	k.checkGUID(p.field("typeGuid"), text(c.TypeGUID))
	k.checkNotNegative(p, "number", c.Number)
	k.checkNotNegative(p, "sizeMiB", valueOrZero(c.SizeMiB))
	k.checkNotNegative(p, "startMiB", valueOrZero(c.StartMiB))
}

const guidForm = "01234567-89AB-CDEF-EDCB-A98765432101"

func (k *rules) checkGUID(p *place, s string) {
	if s != "" && !isGUID(s) {
		k.fail(p, `doesn't match the form "`+guidForm+`"`)
	}
}

func isGUID(s string) bool {
	if len(s) != len(guidForm) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if guidForm[i] == '-' {
			if s[i] != '-' {
				return false
			}
		} else if _, ok := hexValue(s[i]); !ok {
			return false
		}
	}
	return true
}

func (k *rules) checkRAID(p *place, c *RAID) {
	level := text(c.Level)
	switch level {
	case "linear", "raid0", "0", "stripe":
		if valueOrZero(c.Spares) != 0 {
			k.fail(p.field("level"), "spares unsupported for linear and raid0 arrays")
		}
	case "raid1", "1", "mirror", "raid4", "4", "raid5", "5", "raid6", "6", "raid10", "10":
	default:
		if level == "" && !k.v.Before(V3_3) {
			k.fail(p.field("level"), "raid level is required")
		} else {
			k.fail(p.field("level"), "unrecognized raid level")
		}
	}
	if len(c.Devices) == 0 {
		k.fail(p.field("devices"), "raid devices required")
	}
	k.warnEmptyName(p.field("name"), "raid", c.Name)
	for i, device := range c.Devices {
		k.checkPath(p.field("devices").at(i), device)
	}
}

const (
	formatVirtioFS  = "virtiofs"
	maxVirtioFSTag  = 36
	filesystemNoOpt = "cannot be set for non-block-device filesystems"
)

// filesystemLabelLimits in bytes.
var filesystemLabelLimits = map[string]int{"ext4": 16, "btrfs": 256, "xfs": 12, "swap": 15, "vfat": 11}

func (k *rules) checkFilesystem(p *place, c *Filesystem) {
	format := text(c.Format)
	if text(c.Path) != "" {
		k.checkPath(p.field("path"), *c.Path)
	}
	k.checkFilesystemDevice(p.field("device"), c.Device, format)
	switch {
	case format == "":
		if text(c.Path) != "" || text(c.Label) != "" || text(c.UUID) != "" || isTrue(c.WipeFilesystem) ||
			len(c.Options) > 0 || len(c.MountOptions) > 0 {
			k.fail(p.field("format"), "format cannot be empty when path, label, uuid, wipeFilesystem, options, or mountOptions is specified")
		}
	case !k.knownFormat(format):
		k.fail(p.field("format"), "invalid filesystem format")
	}
	k.checkFilesystemLabel(p.field("label"), text(c.Label), format)
	if !k.isVirtioFS(format) {
		return
	}
	if text(c.UUID) != "" {
		k.fail(p.field("uuid"), "filesystem uuid "+filesystemNoOpt)
	}
	if isTrue(c.WipeFilesystem) {
		k.fail(p.field("wipeFilesystem"), "wipeFilesystem "+filesystemNoOpt)
	}
	if len(c.Options) > 0 {
		k.fail(p.field("options"), "filesystem options (mkfs) "+filesystemNoOpt)
	}
}

func (k *rules) isVirtioFS(format string) bool { return format == formatVirtioFS && !k.v.Before(V3_7) }

func (k *rules) knownFormat(format string) bool {
	_, known := filesystemLabelLimits[format]
	return known || k.isVirtioFS(format) || format == "none" && !k.v.Before(V3_3)
}

// checkFilesystemDevice checks a path, or the tag that names a virtiofs share.
func (k *rules) checkFilesystemDevice(p *place, device, format string) {
	switch {
	case !k.isVirtioFS(format):
		k.checkPath(p, device)
	case device == "":
		k.fail(p, "device not specified")
	case len(device) > maxVirtioFSTag:
		k.fail(p, "virtiofs device tag cannot be longer than 36 bytes")
	}
}

func (k *rules) checkFilesystemLabel(p *place, label, format string) {
	limit, limited := filesystemLabelLimits[format]
	switch {
	case label == "":
	case format == "":
		k.fail(p, "filesystem must specify format if label is specified")
	case k.isVirtioFS(format):
		k.fail(p, "filesystem labels cannot be set when using virtiofs")
	case limited && len(label) > limit:
		k.fail(p, fmt.Sprintf("filesystem labels cannot be longer than %d characters when using %s", limit, format))
	}
}
