// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"
)

func diskOf(list ...Partition) Config {
	return storageOf(Storage{Disks: []Disk{{Device: "/dev/vda", Partitions: list}}})
}

func labelled(n int) *string { return new(strings.Repeat("l", n)) }

func TestRulesDisks(t *testing.T) {
	const p = "error at $.storage.disks.0.partitions."
	const overlap = p + "1: partitions overlap"
	const guid = `doesn't match the form "01234567-89AB-CDEF-EDCB-A98765432101"`
	span := func(n, start, size int) Partition { return Partition{Number: n, StartMiB: &start, SizeMiB: &size} }
	runRules(t, []ruleCase{
		{"no device", V3_0, storageOf(Storage{Disks: []Disk{{Partitions: []Partition{{Number: 1}, {Number: 1}, {}}}}}),
			[]string{"error at $.storage.disks.0.device: disk device is required",
				p + "2: a partition number >= 1 or a label must be specified"}},
		{"relative device", V3_0, storageOf(Storage{Disks: []Disk{{Device: "vda"}}}), []string{"error at $.storage.disks.0.device: path not absolute"}},
		{"numbers", V3_0, diskOf(Partition{Number: 2}, Partition{Number: 1}, Partition{Number: 1}, Partition{Number: 2}),
			[]string{p + "2: partition numbers collide"}},
		{"number 0 twice", V3_0, diskOf(Partition{Label: new("a")}, Partition{Label: new("b")}), nil},
		{"labels", V3_0, diskOf(Partition{Number: 1, Label: new("a")}, Partition{Number: 2, Label: new("a")}),
			[]string{p + "1: cannot use the same partition label twice"}},
		{"empty labels", V3_0, diskOf(Partition{Number: 1, Label: new("")}, Partition{Number: 2, Label: new("")}),
			[]string{p + "1: cannot use the same partition label twice"}},
		{"adjacent", V3_0, diskOf(span(1, 10, 5), span(2, 15, 5), span(3, 9, 1)), nil},
		{"overlap by one", V3_0, diskOf(span(1, 10, 6), span(2, 15, 5)), []string{overlap}},
		{"overlap from below", V3_0, diskOf(span(1, 10, 5), span(2, 5, 6)), []string{overlap}},
		{"inside", V3_0, diskOf(span(1, 10, 50), span(2, 20, 1)), []string{overlap}},
		{"around", V3_0, diskOf(span(1, 20, 1), span(2, 10, 50)), []string{overlap}},
		{"same start", V3_0, diskOf(span(1, 10, 1), span(2, 10, 1)), []string{overlap}},
		{"size 0 inside", V3_0, diskOf(span(1, 10, 5), span(2, 14, 0)), []string{overlap}},
		{"size 0 behind", V3_0, diskOf(span(1, 10, 5), span(2, 15, 0)), nil},
		{"start 0", V3_0, diskOf(span(1, 0, 50), span(2, 1, 1)), nil},
		{"size absent", V3_0, diskOf(Partition{Number: 1, StartMiB: new(5)}, span(2, 5, 1)), nil},
		{"huge", V3_0, diskOf(span(1, 10, 1<<63-1), span(2, 1<<63-1, 5)), []string{overlap}},
		{"absent partition beside number 0", V3_0, diskOf(Partition{Number: 1, ShouldExist: new(false)}, Partition{Label: new("a")}), nil},
		{"should not exist with size", V3_0, diskOf(Partition{Number: 1, ShouldExist: new(false), SizeMiB: new(0)}),
			[]string{p + "0: shouldExist specified false with other options also specified"}},
		{"should not exist with start", V3_0, diskOf(Partition{Number: 1, ShouldExist: new(false), StartMiB: new(0)}),
			[]string{p + "0: shouldExist specified false with other options also specified"}},
		{"should not exist with label", V3_0, diskOf(Partition{Number: 1, ShouldExist: new(false), Label: new("")}),
			[]string{p + "0: shouldExist specified false with other options also specified"}},
		{"should not exist with empty guids", V3_0, diskOf(Partition{Number: 1, ShouldExist: new(false), GUID: new(""), TypeGUID: new("")}), nil},
		{"should not exist with guid", V3_0, diskOf(Partition{Number: 1, ShouldExist: new(false), TypeGUID: new("01234567-89ab-CDEF-EDCB-A98765432101")}),
			[]string{p + "0: shouldExist specified false with other options also specified"}},
		{"label of 36", V3_0, diskOf(Partition{Label: labelled(36)}), nil},
		{"label of 37", V3_0, diskOf(Partition{Label: labelled(37)}), []string{p + "0.label: partition labels may not exceed 36 characters"}},
		{"colon", V3_0, diskOf(Partition{Label: new("a:b")}), []string{p + "0.label: partition label will be truncated to text before the colon"}},
		{"guids", V3_0, diskOf(Partition{Number: 1, GUID: new("01234567-89ab-CDEF-EDCB-A9876543210"), TypeGUID: new("0123456789AB-CDEF-EDCB-A98765432101-")}),
			[]string{p + "0.guid: " + guid, p + "0.typeGuid: " + guid}},
		{"guid digit", V3_0, diskOf(Partition{Number: 1, GUID: new("g1234567-89AB-CDEF-EDCB-A98765432101")}), []string{p + "0.guid: " + guid}},
		{"negative before", V3_6, diskOf(span(-1, -1, -1)), nil},
		{"negative", V3_7, diskOf(span(-1, -2, -3)), []string{p + "0.number: number must not be negative, but is -1",
			p + "0.sizeMiB: sizeMiB must not be negative, but is -3", p + "0.startMiB: startMiB must not be negative, but is -2"}},
	})
}

func TestRulesRAID(t *testing.T) {
	raid := func(level *string, spares int) Config {
		return storageOf(Storage{RAID: []RAID{{Name: "r", Level: level, Spares: &spares, Devices: []string{"/a"}}}})
	}
	const at = "error at $.storage.raid.0."
	tests := []ruleCase{
		{"no level", V3_3, raid(nil, 0), []string{at + "level: raid level is required"}},
		{"empty level", V3_3, raid(new(""), 0), []string{at + "level: raid level is required"}},
		{"no level before", V3_2, raid(nil, 0), []string{at + "level: unrecognized raid level"}},
		{"unknown level", V3_3, raid(new("RAID1"), 0), []string{at + "level: unrecognized raid level"}},
		{"devices", V3_3, storageOf(Storage{RAID: []RAID{{Level: new("raid1")}, {Name: "r", Level: new("1"), Devices: []string{"/a", "b"}}}}),
			[]string{at + "devices: raid devices required", "warning at $.storage.raid.0.name: raid name is empty",
				"error at $.storage.raid.1.devices.1: path not absolute"}},
	}
	for _, level := range strings.Fields("linear raid0 0 stripe") {
		tests = append(tests, ruleCase{level, V3_0, raid(&level, 0), nil},
			ruleCase{level + " spare", V3_0, raid(&level, 1), []string{at + "level: spares unsupported for linear and raid0 arrays"}})
	}
	for _, level := range strings.Fields("raid1 1 mirror raid4 4 raid5 5 raid6 6 raid10 10") {
		tests = append(tests, ruleCase{level, V3_0, raid(&level, 1), nil})
	}
	runRules(t, tests)
}

func TestRulesFilesystems(t *testing.T) {
	fs := func(f Filesystem) Config {
		if f.Device == "" {
			f.Device = "/dev/a"
		}
		return storageOf(Storage{Filesystems: []Filesystem{f}})
	}
	const at = "error at $.storage.filesystems.0."
	noFormat := []string{at + "format: format cannot be empty when path, label, uuid, wipeFilesystem, options, or mountOptions is specified"}
	badFormat := []string{at + "format: invalid filesystem format"}
	tests := []ruleCase{
		{"inert", V3_0, fs(Filesystem{Path: new(""), Label: new(""), UUID: new(""), WipeFilesystem: new(false)}), nil},
		{"path alone", V3_0, fs(Filesystem{Path: new("/p")}), noFormat},
		{"uuid alone", V3_0, fs(Filesystem{UUID: new("u")}), noFormat},
		{"wipe alone", V3_0, fs(Filesystem{WipeFilesystem: new(true)}), noFormat},
		{"options alone", V3_0, fs(Filesystem{Options: []string{"a"}}), noFormat},
		{"mount options alone", V3_1, fs(Filesystem{MountOptions: []string{"a"}}), noFormat},
		{"label alone", V3_0, fs(Filesystem{Label: new("l")}), append(noFormat[:1:1], at+"label: filesystem must specify format if label is specified")},
		{"bad path", V3_0, fs(Filesystem{Path: new("p"), Format: new("ext4")}), []string{at + "path: path not absolute"}},
		{"bad device", V3_0, fs(Filesystem{Device: "a/", Format: new("ext4")}), []string{at + "device: path not absolute"}},
		{"unknown format", V3_7, fs(Filesystem{Format: new("EXT4")}), badFormat},
		{"none before", V3_2, fs(Filesystem{Format: new("none")}), badFormat},
		{"none", V3_3, fs(Filesystem{Format: new("none"), Label: labelled(300)}), nil},
		{"virtiofs before", V3_6, fs(Filesystem{Format: new("virtiofs")}), badFormat},
		{"virtiofs", V3_7, fs(Filesystem{Format: new("virtiofs"), Device: *labelled(36), MountOptions: []string{"ro"}}), nil},
		{"virtiofs long tag", V3_7, fs(Filesystem{Format: new("virtiofs"), Device: *labelled(37)}),
			[]string{at + "device: virtiofs device tag cannot be longer than 36 bytes"}},
		{"virtiofs no tag", V3_7, storageOf(Storage{Filesystems: []Filesystem{{Format: new("virtiofs")}}}), []string{at + "device: device not specified"}},
		{"virtiofs options", V3_7, fs(Filesystem{Format: new("virtiofs"), Label: new("l"), UUID: new("u"), WipeFilesystem: new(true), Options: []string{"o"}}),
			[]string{at + "label: filesystem labels cannot be set when using virtiofs",
				at + "uuid: filesystem uuid cannot be set for non-block-device filesystems",
				at + "wipeFilesystem: wipeFilesystem cannot be set for non-block-device filesystems",
				at + "options: filesystem options (mkfs) cannot be set for non-block-device filesystems"}},
	}
	for _, row := range []struct {
		format string
		limit  int
		text   string
	}{{"ext4", 16, "16"}, {"btrfs", 256, "256"}, {"xfs", 12, "12"}, {"swap", 15, "15"}, {"vfat", 11, "11"}} {
		tests = append(tests, ruleCase{row.format + " label", V3_0, fs(Filesystem{Format: &row.format, Label: labelled(row.limit)}), nil},
			ruleCase{row.format + " long label", V3_0, fs(Filesystem{Format: &row.format, Label: labelled(row.limit + 1)}),
				[]string{at + "label: filesystem labels cannot be longer than " + row.text + " characters when using " + row.format}})
	}
	runRules(t, tests)
}
