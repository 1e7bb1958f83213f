// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/luks"
	"firstboot.dev/ignition/internal/exec/raid"
)

func storage(t *testing.T, raw string) *config.Storage {
	t.Helper()
	var s config.Storage
	if err := json.Unmarshal([]byte(raw), &s); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return &s
}

func dev(name string) *Device {
	return &Device{Node: block.Node{Path: "/dev/" + name, Name: name, Size: 1 << 30, SectorSize: 512}, Alias: "/a/dev/" + name}
}

// wantError checks that an error says something, about which entry, and what to do.
func wantError(t *testing.T, err error, text, path string) {
	t.Helper()
	var entry *config.EntryError
	if err == nil || !strings.Contains(err.Error(), text) || !errors.As(err, &entry) || entry.Path != path || entry.Hint == "" {
		t.Errorf("got %v (%#v), want %q at %s with a hint", err, err, text, path)
	}
}

func TestPlanArray(t *testing.T) {
	const spec = `{"name":"data","level":"raid1","devices":["/dev/x","/dev/y"]}`
	member := func(name, level string, devices int, metadata string) *raid.Member {
		return &raid.Member{UUID: "u", Name: name, Level: level, Devices: devices, Metadata: metadata, Events: 5}
	}
	right := func() *raid.Member { return member("data", "raid1", 2, "1.2") }
	rows := []struct {
		name   string
		array  string
		change func(x, y *Device, f *Facts)
		want   ArrayAction
		err    string
		path   string
		note   string
	}{
		{"new", spec, func(x, y *Device, f *Facts) {}, CreateArray, "", "", ""},
		{"as it is, not running", spec, func(x, y *Device, f *Facts) { x.Member, y.Member = right(), right() }, StartArray, "", "", ""},
		{"as it is, running", spec, func(x, y *Device, f *Facts) {
			x.Member, y.Member = right(), right()
			x.Use.Holders, y.Use.Holders = []string{"md127"}, []string{"md127"}
			f.Devices["/dev/md/data"] = &Device{Array: &raid.Running{Member: *right()}}
		}, KeepArray, "", "", ""},
		{"a level by another name", `{"name":"data","level":"mirror","devices":["/dev/x","/dev/y"]}`, func(x, y *Device, f *Facts) { x.Member, y.Member = right(), right() }, StartArray, "", "", ""},
		{"another level", `{"name":"data","level":"raid0","devices":["/dev/x","/dev/y"]}`, func(x, y *Device, f *Facts) { x.Member, y.Member = right(), right() },
			0, `array "data" has another level (specified "raid0", got "raid1")`, "$.storage.raid.0", ""},
		{"another number of devices", spec, func(x, y *Device, f *Facts) {
			x.Member, y.Member = member("data", "raid1", 3, "1.2"), member("data", "raid1", 3, "1.2")
		}, 0, `another number of devices (specified 2, got 3)`, "$.storage.raid.0", ""},
		{"another metadata version", `{"name":"data","level":"raid1","devices":["/dev/x","/dev/y"],"options":["--metadata=1.0"]}`, func(x, y *Device, f *Facts) { x.Member, y.Member = right(), right() },
			0, `another metadata version (specified "1.0", got "1.2")`, "$.storage.raid.0", ""},
		{"members of two arrays of the name", spec, func(x, y *Device, f *Facts) { x.Member, y.Member = right(), right(); y.Member.UUID = "v" },
			0, `belong to different arrays of the name "data"`, "$.storage.raid.0", ""},
		{"one member is missing", spec, func(x, y *Device, f *Facts) { x.Member = right() },
			0, `array "data" exists on some of its devices only; /dev/y are not part of it`, "$.storage.raid.0", ""},
		{"its creation was cut", spec, func(x, y *Device, f *Facts) { x.Member = right(); x.Member.Events = 0 }, CreateArray, "", "", ""},
		{"left over on partitions of this run", spec, func(x, y *Device, f *Facts) { x.Member, y.Member, x.Fresh, y.Fresh = right(), right(), true, true }, CreateArray, "", "", ""},
		{"members of another array", spec, func(x, y *Device, f *Facts) { x.Member, y.Member = member("old", "raid5", 3, "1.2"), nil }, CreateArray, "", "", `"/dev/x" was a member of the array "old"`},
		{"members of another array that runs", spec, func(x, y *Device, f *Facts) {
			x.Member, x.Use.Holders = member("old", "raid5", 3, "1.2"), []string{"md9"}
		}, 0, `refusing to make an array of "/a/dev/x": it is held by md9`, "$.storage.raid.0.devices.0", ""},
		{"a member is mounted", spec, func(x, y *Device, f *Facts) { y.Use.Mounts = []string{"/m"} }, 0, `refusing to make an array of "/a/dev/y": it is mounted at "/m"`, "$.storage.raid.0.devices.1", ""},
		{"a member has partitions", spec, func(x, y *Device, f *Facts) { x.Parts = make([]Part, 2) }, 0, `it has a partition table with 2 partitions`, "$.storage.raid.0.devices.0", ""},
		{"one device twice", spec, func(x, y *Device, f *Facts) { y.Name = "x" }, 0, "a device can be a member only once", "$.storage.raid.0.devices.1", ""},
		{"the name is taken", spec, func(x, y *Device, f *Facts) {
			f.Devices["/dev/md/data"] = &Device{Array: &raid.Running{Member: *right(), Nodes: []string{"sdq"}}}
		}, 0, `"/dev/md/data" is another array already, made of sdq`, "$.storage.raid.0.name", ""},
		{"only spares", `{"name":"data","level":"raid1","devices":["/dev/x","/dev/y"],"spares":2}`, func(x, y *Device, f *Facts) {}, 0, "2 spares of 2 devices", "$.storage.raid.0.spares", ""},
		{"an array without names", `{"name":"data","level":"raid1","devices":["/dev/x","/dev/y"],"options":["-e","0.90"]}`, func(x, y *Device, f *Facts) {
			x.Member, y.Member = member("", "raid1", 2, "0.90"), member("", "raid1", 2, "0.90")
		}, StartArray, "", "", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := storage(t, `{"raid":[`+row.array+`]}`)
			x, y := dev("x"), dev("y")
			f := &Facts{Devices: map[string]*Device{"/dev/x": x, "/dev/y": y}}
			row.change(x, y, f)
			op, err := planArray(&s.RAID[0], "$.storage.raid.0", f)
			if row.err != "" {
				wantError(t, err, row.err, row.path)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if op.Action != row.want || !strings.Contains(strings.Join(op.notes, "\n"), row.note) {
				t.Errorf("got %v, notes %q", op, op.notes)
			}
			if fmt.Sprint(op.Devices) != "[/a/dev/x /a/dev/y]" {
				t.Errorf("devices %v", op.Devices)
			}
		})
	}
}

func TestPlanVolume(t *testing.T) {
	const keyed = `{"name":"v","device":"/dev/x","keyFile":{"source":"data:,k"}}`
	const generated = `{"name":"v","device":"/dev/x"}`
	const clevis = `{"name":"v","device":"/dev/x","keyFile":{"source":"data:,k"},"clevis":{"tpm2":true}}`
	volume := func() *luks.Facts { return &luks.Facts{Version: 2, UUID: "abcd-EF", Label: "L", Keyslots: 1} }
	rows := []struct {
		name   string
		volume string
		change func(d *Device)
		want   VolumeAction
		closes bool
		err    string
		path   string
	}{
		{"blank", generated, func(d *Device) {}, FormatVolume, false, "", ""},
		{"ext4", keyed, func(d *Device) { d.Content.Type = "ext4" }, 0, false, `volume is not of the correct type (volume at "/dev/x" is not of the correct type (found ext4) and a volume wipe was not requested)`, "$.storage.luks.0"},
		{"ext4, wiped", `{"name":"v","device":"/dev/x","wipeVolume":true}`, func(d *Device) { d.Content.Type = "ext4" }, FormatVolume, false, "", ""},
		{"unreadable", keyed, func(d *Device) { d.ContentErr = errors.New("EIO") }, 0, false, "EIO", "$.storage.luks.0.device"},
		{"LUKS1", keyed, func(d *Device) { d.Volume.Version = 1 }, 0, false, "/dev/x is a luks device but not luks2; Ignition cannot reuse it", "$.storage.luks.0"},
		{"reuse", keyed, func(d *Device) { d.Volume = volume() }, ReuseVolume, false, "", ""},
		{"reuse by label and UUID", `{"name":"v","device":"/dev/x","label":"L","uuid":"ABCD-ef","keyFile":{"source":"data:,k"}}`, func(d *Device) { d.Volume = volume() }, ReuseVolume, false, "", ""},
		{"empty label and UUID", `{"name":"v","device":"/dev/x","label":"","uuid":"","keyFile":{"source":"data:,k"}}`, func(d *Device) { d.Volume = volume() }, ReuseVolume, false, "", ""},
		{"clevis", clevis, func(d *Device) { d.Volume = volume() }, 0, false, "could not be reused: config must not specify clevis binding", "$.storage.luks.0"},
		{"no key", generated, func(d *Device) { d.Volume = volume() }, 0, false, "could not be reused: config must specify keyfile", "$.storage.luks.0"},
		{"no key, but one was recovered", generated, func(d *Device) { d.Volume = volume(); d.Key = KeyOpens }, ReuseVolume, false, "", ""},
		{"no key, a wrong one was recovered", generated, func(d *Device) { d.Volume = volume(); d.Key = KeyWrong }, 0, false, "config must specify keyfile", "$.storage.luks.0"},
		{"label", `{"name":"v","device":"/dev/x","label":"M","keyFile":{"source":"data:,k"}}`, func(d *Device) { d.Volume = volume() }, 0, false, `volume label "L" doesn't match expected label "M"`, "$.storage.luks.0"},
		{"UUID", `{"name":"v","device":"/dev/x","uuid":"1","keyFile":{"source":"data:,k"}}`, func(d *Device) { d.Volume = volume() }, 0, false, `volume UUID "abcd-EF" doesn't match expected UUID "1"`, "$.storage.luks.0"},
		{"discard", `{"name":"v","device":"/dev/x","discard":true,"keyFile":{"source":"data:,k"}}`, func(d *Device) { d.Volume = volume() }, 0, false, "volume allow-discards flag false doesn't match expected value true", "$.storage.luks.0"},
		{"wrong key", keyed, func(d *Device) { d.Volume = volume(); d.Key = KeyWrong }, 0, false, "failed to open device using specified keyfile", "$.storage.luks.0"},
		{"no key slots: a format was cut", keyed, func(d *Device) { d.Volume = volume(); d.Volume.Keyslots = 0 }, RemakeVolume, false, "", ""},
		{"open already", keyed, func(d *Device) { d.Volume = volume(); d.Mapper = &Mapper{On: "x", LUKS: true} }, ReuseVolume, false, "", ""},
		{"open already, wiped", `{"name":"v","device":"/dev/x","wipeVolume":true}`, func(d *Device) {
			d.Mapper = &Mapper{Node: block.Node{Name: "dm-0"}, On: "x", LUKS: true}
			d.Use.Holders = []string{"dm-0"}
		}, FormatVolume, true, "", ""},
		{"the name is taken", keyed, func(d *Device) { d.Mapper = &Mapper{On: "y", LUKS: true} }, 0, false, "/dev/mapper/v is in the way: it is another device, on y", "$.storage.luks.0.name"},
		{"in use", `{"name":"v","device":"/dev/x","wipeVolume":true}`, func(d *Device) { d.Use.Mounts = []string{"/m"} }, 0, false, `refusing to encrypt "/a/dev/x": it is mounted at "/m"`, "$.storage.luks.0.device"},
		{"partitions", generated, func(d *Device) { d.Parts = make([]Part, 1) }, 0, false, "it has a partition table with 1 partitions", "$.storage.luks.0.device"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := storage(t, `{"luks":[`+row.volume+`]}`)
			d := dev("x")
			d.Volume = &luks.Facts{}
			row.change(d)
			op, err := planVolume(&s.LUKS[0], "$.storage.luks.0", d)
			if row.err != "" {
				wantError(t, err, row.err, row.path)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if op.Action != row.want || op.Close != row.closes {
				t.Errorf("got %+v", op)
			}
		})
	}
}

// TestPlanVolumeMark: only a volume that this entry made, and only as long as
// its provisioning has not ended, is made again.
func TestPlanVolumeMark(t *testing.T) {
	s := storage(t, `{"luks":[{"name":"v","device":"/dev/x"}]}`)
	l := &s.LUKS[0]
	marked := func(entry string) *Device {
		d := dev("x")
		d.Volume = &luks.Facts{Version: 2, Keyslots: 1, Mark: &luks.Mark{Volume: "v", Entry: entry}}
		return d
	}
	op, err := planVolume(l, "$.storage.luks.0", marked(luks.EntryDigest(l)))
	if err != nil || op.Action != RemakeVolume || !op.Mark || op.note == "" {
		t.Errorf("got %+v, %v", op, err)
	}
	_, err = planVolume(l, "$.storage.luks.0", marked("another entry"))
	wantError(t, err, "config must specify keyfile", "$.storage.luks.0")
	busy := marked(luks.EntryDigest(l))
	busy.Mapper = &Mapper{On: "x", LUKS: true, Use: block.Use{Mounts: []string{"/m"}}}
	_, err = planVolume(l, "$.storage.luks.0", busy)
	wantError(t, err, `refusing to close "/dev/mapper/v": it is mounted at "/m"`, "$.storage.luks.0")
}

func TestPlanFilesystem(t *testing.T) {
	rows := []struct {
		name  string
		fs    string
		found block.Content
		want  FilesystemAction
		err   string
	}{
		{"blank", `"format":"ext4"`, block.Content{}, MakeFilesystem, ""},
		{"the same", `"format":"ext4"`, block.Content{Type: "ext4", Label: "x", UUID: "u"}, KeepFilesystem, ""},
		{"the same, wiped", `"format":"ext4","wipeFilesystem":true`, block.Content{Type: "ext4"}, MakeFilesystem, ""},
		{"another", `"format":"ext4"`, block.Content{Type: "xfs", Label: "x", UUID: "u"}, 0, `(found xfs, "x", u) and a filesystem wipe was not requested`},
		{"another, wiped", `"format":"ext4","wipeFilesystem":true`, block.Content{Type: "xfs"}, MakeFilesystem, ""},
		{"label", `"format":"ext4","label":"x"`, block.Content{Type: "ext4", Label: "x"}, KeepFilesystem, ""},
		{"another label", `"format":"ext4","label":"y"`, block.Content{Type: "ext4", Label: "x"}, 0, "filesystem is not of the correct type"},
		{"vfat labels are not folded", `"format":"vfat","label":"efi"`, block.Content{Type: "vfat", Label: "EFI"}, 0, "filesystem is not of the correct type"},
		{"empty label and UUID", `"format":"ext4","label":"","uuid":""`, block.Content{Type: "ext4", Label: "x", UUID: "u"}, KeepFilesystem, ""},
		{"UUID", `"format":"xfs","uuid":"ABC"`, block.Content{Type: "xfs", UUID: "abc"}, KeepFilesystem, ""},
		{"vfat UUID", `"format":"vfat","uuid":"a1b2c3d4"`, block.Content{Type: "vfat", UUID: "A1B2-C3D4"}, KeepFilesystem, ""},
		{"vfat UUID with a dash", `"format":"vfat","uuid":"a1b2-c3d4"`, block.Content{Type: "vfat", UUID: "A1B2-C3D4"}, KeepFilesystem, ""},
		{"another UUID", `"format":"xfs","uuid":"abd"`, block.Content{Type: "xfs", UUID: "abc"}, 0, "filesystem is not of the correct type"},
		{"none on nothing", `"format":"none"`, block.Content{}, KeepFilesystem, ""},
		{"none on something", `"format":"none"`, block.Content{Type: "ext4"}, 0, "filesystem is not of the correct type"},
		{"none on nothing, wiped", `"format":"none","wipeFilesystem":true`, block.Content{}, WipeOnly, ""},
		{"none on something, wiped", `"format":"none","wipeFilesystem":true`, block.Content{Type: "ext4"}, WipeOnly, ""},
		{"empty format on nothing", `"format":""`, block.Content{}, KeepFilesystem, ""},
		{"empty format on something", `"format":""`, block.Content{Type: "ext4"}, 0, "filesystem is not of the correct type"},
		{"a RAID member", `"format":"ext4"`, block.Content{Type: "linux_raid_member"}, 0, "found linux_raid_member"},
		{"LVM", `"format":"ext4"`, block.Content{Type: "LVM2_member"}, 0, "found LVM2_member"},
		{"LUKS", `"format":"ext4"`, block.Content{Type: "crypto_LUKS"}, 0, "found crypto_LUKS"},
		{"OEM", `"format":"ext4"`, block.Content{Type: "btrfs", Label: "OEM"}, KeepFilesystem, ""},
		{"OEM, wiped", `"format":"ext4","wipeFilesystem":true`, block.Content{Type: "btrfs", Label: "OEM"}, MakeFilesystem, ""},
		{"OEM, another label asked for", `"format":"ext4","label":"X"`, block.Content{Type: "btrfs", Label: "OEM"}, 0, "filesystem is not of the correct type"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := storage(t, `{"filesystems":[{"device":"/dev/x",`+row.fs+`}]}`)
			d := dev("x")
			d.Content = row.found
			op, err := planFilesystem(&s.Filesystems[0], "$.storage.filesystems.0", d, Rules{ReuseOEM: true})
			if row.err != "" {
				wantError(t, err, row.err, "$.storage.filesystems.0")
				return
			}
			if err != nil || op.Action != row.want {
				t.Errorf("got %+v, %v", op, err)
			}
		})
	}
	s := storage(t, `{"filesystems":[{"device":"/dev/x","format":"ext4"}]}`)
	for _, row := range []struct {
		name   string
		change func(d *Device)
		want   string
	}{
		{"in use", func(d *Device) { d.Use.Swap = true }, `refusing to format "/a/dev/x": it is used as swap`},
		{"partitioned", func(d *Device) { d.Parts = make([]Part, 3) }, "it has a partition table with 3 partitions"},
		{"unreadable", func(d *Device) { d.ContentErr = errors.New("EIO") }, "EIO"},
		{"OEM elsewhere", func(d *Device) { d.Content = block.Content{Type: "btrfs", Label: "OEM"} }, "filesystem is not of the correct type"},
	} {
		t.Run(row.name, func(t *testing.T) {
			d := dev("x")
			row.change(d)
			_, err := planFilesystem(&s.Filesystems[0], "$.storage.filesystems.0", d, Rules{})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

const whole = `{
	"disks":[{"device":"/dev/vda","partitions":[{"number":1,"label":"one"},{"number":2,"label":"two","sizeMiB":10}]}],
	"raid":[{"name":"data","level":"raid1","devices":["/dev/disk/by-partlabel/one","/dev/disk/by-partlabel/two"]}],
	"luks":[{"name":"secret","device":"/dev/md/data"}],
	"filesystems":[{"device":"/dev/mapper/secret","format":"btrfs"},{"device":"tag","format":"virtiofs","path":"/x"},{"device":"/dev/vdb"},{"device":"/dev/vdc","format":"swap"}]}`

// TestPlan: the whole list, with what is decided later.
func TestPlan(t *testing.T) {
	vda := diskOf(t, "1 1+100 one")
	vdc := dev("vdc")
	ops, err := Plan(storage(t, whole), &Facts{Devices: map[string]*Device{"/dev/vda": vda, "/dev/vdc": vdc}}, Rules{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, op := range ops {
		got = append(got, fmt.Sprintf("%s: %s (changes %t, pending %t)", op.Entry().Path, op, op.Changes(), op.Pending()))
	}
	want := `$.storage.disks.0: "/dev/vda": create partition 2 "two" (10 MiB at 101 MiB) (changes true, pending false)
$.storage.raid.0: create array "data" (raid1 of /dev/disk/by-partlabel/one, /dev/disk/by-partlabel/two) (changes true, pending true)
$.storage.luks.0: create LUKS volume "secret" on "/dev/md/data" (changes true, pending true)
$.storage.filesystems.0: make btrfs on "/dev/mapper/secret" (changes true, pending true)
$.storage.filesystems.3: make swap on "/dev/vdc" (changes true, pending false)`
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("got\n%s\nwant\n%s", text, want)
	}
}

// TestPlanAllErrors: every entry that cannot work is named at once.
func TestPlanAllErrors(t *testing.T) {
	vda, vdc := diskOf(t, "1 1+100 other"), dev("vdc")
	vdc.Content.Type = "ext4"
	_, err := Plan(storage(t, whole), &Facts{Devices: map[string]*Device{"/dev/vda": vda, "/dev/vdc": vdc}}, Rules{})
	for _, want := range []string{"create partitions failed: partition 1 didn't match", "failed to create filesystems: filesystem is not of the correct type"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

func TestPlanConflicts(t *testing.T) {
	for _, row := range []struct{ name, storage, want string }{
		{"a filesystem on a disk with partitions", `{"disks":[{"device":"/dev/vda","partitions":[{"number":1}]}],"filesystems":[{"device":"/dev/vda","format":"ext4"}]}`, `refusing to format "/dev/vda": the config partitions it`},
		{"two filesystems on one device", `{"filesystems":[{"device":"/dev/x","format":"ext4"},{"device":"/dev/y","format":"xfs"}]}`, `"/dev/y" is the same device as "/dev/x"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			x := dev("x")
			_, err := Plan(storage(t, row.storage), &Facts{Devices: map[string]*Device{"/dev/vda": diskOf(t, ""), "/dev/x": x, "/dev/y": x}}, Rules{})
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
	t.Run("what a wiped disk holds does not count", func(t *testing.T) {
		vda := diskOf(t, "1 1+100 one")
		old := dev("vda1")
		old.Content.Type = "xfs"
		ops, err := Plan(storage(t, `{"disks":[{"device":"/dev/vda","wipeTable":true,"partitions":[{"number":1}]}],"filesystems":[{"device":"/dev/vda1","format":"ext4"}]}`),
			&Facts{Devices: map[string]*Device{"/dev/vda": vda, "/dev/vda1": old}}, Rules{})
		if err != nil || len(ops) != 2 || !ops[1].Pending() {
			t.Errorf("got %v, %v", ops, err)
		}
	})
}
