// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/luks"
	"firstboot.dev/ignition/internal/exec/raid"
	"firstboot.dev/ignition/internal/plan"
)

const linuxData = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"

// machine is one disk with two partitions, the first with ext4, and a blank one.
func machine() *Machine {
	part := func(n int, start, sectors int64) Part {
		return Part{Part: block.Part{
			Node:  block.Node{Path: fmt.Sprintf("/dev/vda%d", n), Name: fmt.Sprintf("vda%d", n), Size: sectors * 512, SectorSize: 512, Parent: "vda", Number: n},
			Start: start, Sectors: sectors,
		}}
	}
	parts := []Part{part(1, 2048, 204800), part(2, 206848, 409600)}
	table := &block.Table{
		SectorSize: 512, Sectors: 2 << 20, Present: true, FirstUsable: 34, LastUsable: 2<<20 - 34, Slots: 128, GUID: "D",
		Partitions: []block.Partition{
			{Number: 1, Start: 2048, Size: 204800, GUID: "A", TypeGUID: linuxData, Label: "data"},
			{Number: 2, Start: 206848, Size: 409600, GUID: "B", TypeGUID: linuxData, Label: "more"},
		},
	}
	m := &Machine{Version: machineVersion, Devices: []MachineDevice{
		{Names: []string{"/dev/disk/by-id/first"}, Node: block.Node{Path: "/dev/vda", Name: "vda", Size: 1 << 30, SectorSize: 512}, Parts: parts, Table: table, Content: &block.Content{Table: "gpt"}},
		{Names: []string{"/dev/disk/by-partlabel/data"}, Node: parts[0].Node, Content: &block.Content{Type: "ext4", Label: "DATA", UUID: "u"}},
		{Names: []string{"/dev/disk/by-partlabel/more"}, Node: parts[1].Node, Content: &block.Content{Type: "crypto_LUKS"}, Volume: &luks.Facts{Version: 2, Keyslots: 1}},
		{Names: []string{}, Node: block.Node{Path: "/dev/vdb", Name: "vdb", Size: 1 << 30, SectorSize: 512}, NoTable: fmt.Sprintf("reading: %v", block.ErrNotGPT), Content: &block.Content{}},
	}}
	return m
}

// TestPreview: what is written to disks, by config, on that machine.
func TestPreview(t *testing.T) {
	for name, row := range map[string]struct {
		config string
		want   string // operations: effect kind path config [! what is lost] [? what it depends on]
		layout string // numbers and labels before and after
	}{
		"a partition more": {
			`{"disks":[{"device":"/dev/disk/by-id/first","partitions":[{"label":"data","number":1},{"label":"new","number":0,"sizeMiB":10}]}]}`,
			"change write-table /dev/disk/by-id/first $.storage.disks.0",
			"1 data, 2 more -> 1 data, 2 more, 3 new",
		},
		"as it is": {
			`{"disks":[{"device":"/dev/vda","partitions":[{"label":"data","number":1}]}],"filesystems":[{"device":"/dev/vda1","format":"ext4","label":"DATA"}]}`,
			"keep write-table /dev/vda $.storage.disks.0\nkeep make-filesystem /dev/vda1 $.storage.filesystems.0",
			"1 data, 2 more -> 1 data, 2 more",
		},
		"a wipe": {
			`{"disks":[{"device":"/dev/vda","wipeTable":true,"partitions":[{"label":"all"}]}],"filesystems":[{"device":"/dev/disk/by-partlabel/all","format":"xfs"}]}`,
			"delete wipe-table /dev/vda $.storage.disks.0 ! the partition table and what is on partition 1 \"data\" of 100.0 MiB, partition 2 \"more\" of 200.0 MiB\n" +
				"change write-table /dev/vda $.storage.disks.0\n" +
				"delete wipe-signatures /a/dev/disk/by-partlabel/all $.storage.filesystems.0 ? that nothing is left over there: a filesystem that is as the config says is kept, another is refused\n" +
				"create make-filesystem /a/dev/disk/by-partlabel/all $.storage.filesystems.0 ? that nothing is left over there: a filesystem that is as the config says is kept, another is refused",
			"1 data, 2 more -> 1 all",
		},
		"a partition goes, one comes in its place": {
			`{"disks":[{"device":"/dev/vda","partitions":[{"number":1,"shouldExist":false,"wipePartitionEntry":true},{"number":2,"label":"two","sizeMiB":20,"startMiB":0,"wipePartitionEntry":true}]}]}`,
			"change write-table /dev/vda $.storage.disks.0 ! what is on partition 1 \"data\" of 100.0 MiB, partition 2 \"more\" of 200.0 MiB",
			"1 data, 2 more -> 2 two",
		},
		"a filesystem over another": {
			`{"filesystems":[{"device":"/dev/vda1","format":"xfs","wipeFilesystem":true}]}`,
			"delete wipe-signatures /a/dev/vda1 $.storage.filesystems.0 ! /dev/vda1: ext4 \"DATA\", 100.0 MiB\ncreate make-filesystem /a/dev/vda1 $.storage.filesystems.0", "",
		},
		"only wiped": {
			`{"filesystems":[{"device":"/dev/vda1","format":"none","wipeFilesystem":true}]}`,
			"delete wipe-signatures /a/dev/vda1 $.storage.filesystems.0 ! /dev/vda1: ext4 \"DATA\", 100.0 MiB", "",
		},
		"an array and a volume on it, and a filesystem on that": {
			`{"raid":[{"name":"md","level":"raid1","devices":["/dev/vda1","/dev/vdb"]}],"luks":[{"name":"secret","device":"/dev/md/md","clevis":{"tpm2":true}}],
				"filesystems":[{"device":"/dev/mapper/secret","format":"ext4","wipeFilesystem":true}]}`,
			"create create-array md $.storage.raid.0 ! /dev/vda1: ext4 \"DATA\", 100.0 MiB\n" +
				"create luks-format /dev/md/md $.storage.luks.0\ncreate luks-mark /dev/md/md $.storage.luks.0\ncreate clevis-bind /dev/md/md $.storage.luks.0\ncreate luks-remove-key /dev/md/md $.storage.luks.0\n" +
				"delete wipe-signatures /a/dev/mapper/secret $.storage.filesystems.0\ncreate make-filesystem /a/dev/mapper/secret $.storage.filesystems.0", "",
		},
		"a volume to reuse": {
			`{"luks":[{"name":"secret","device":"/dev/disk/by-partlabel/more","keyFile":{"source":"data:,key"}}]}`,
			"keep luks-open /dev/disk/by-partlabel/more $.storage.luks.0 ? that the key of the config opens it, which a plan does not try", "",
		},
		"a volume to wipe": {
			`{"luks":[{"name":"secret","device":"/dev/vda2","wipeVolume":true}]}`,
			"delete wipe-signatures /a/dev/vda2 $.storage.luks.0 ! /dev/vda2: its LUKS volume, 200.0 MiB\ncreate luks-format /dev/vda2 $.storage.luks.0", "",
		},
		"a disk that is not here": {
			`{"disks":[{"device":"/dev/vdz","partitions":[{"label":"x"}]}],"filesystems":[{"device":"/dev/vdy","format":"ext4","wipeFilesystem":true}]}`,
			"change write-table /dev/vdz $.storage.disks.0 ? a device that is not there now\n" +
				"delete wipe-signatures /a/dev/vdy $.storage.filesystems.0 ? a device that is not there now\ncreate make-filesystem /a/dev/vdy $.storage.filesystems.0 ? a device that is not there now", "",
		},
	} {
		raw := machine().Encode()
		m, err := ReadMachine(raw)
		if err != nil {
			t.Fatal(err)
		}
		in := Input{Config: &config.Config{Storage: *storage(t, row.config)}, Host: &block.Host{AliasDir: "/a"}, Root: t.TempDir(), LUKSKeyDir: "/etc/luks"}
		s, err := Preview(in, m.Facts(&in.Config.Storage))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for _, op := range s.Operations {
			text := fmt.Sprintf("%s %s %s %s", op.Effect, op.Kind, op.Path, op.Config)
			if op.Loses != "" {
				text += " ! " + op.Loses
			}
			if op.Depends != "" {
				text += " ? " + op.Depends
			}
			if op.Desc == "" {
				t.Errorf("%s: %s has no description", name, text)
			}
			got = append(got, text)
		}
		if text := strings.Join(got, "\n"); text != row.want {
			t.Errorf("%s:\n%s\nwant\n%s", name, text, row.want)
		}
		layout := ""
		for _, d := range s.Disks {
			layout = labels(d.Before) + " -> " + labels(d.After)
		}
		if layout != row.layout {
			t.Errorf("%s: %s, want %s", name, layout, row.layout)
		}
	}
}

func labels(list []plan.Partition) string {
	var out []string
	for _, p := range list {
		out = append(out, fmt.Sprintf("%d %s", p.Number, p.Label))
	}
	return strings.Join(out, ", ")
}

// TestPreviewRefuses: what a run would refuse has no plan.
func TestPreviewRefuses(t *testing.T) {
	for raw, says := range map[string]string{
		`{"filesystems":[{"device":"/dev/vda1","format":"xfs"}]}`:                           "filesystem is not of the correct type",
		`{"disks":[{"device":"/dev/vdb","partitions":[{"label":"x"}]}]}`:                    "disk does not have a GPT",
		`{"luks":[{"name":"secret","device":"/dev/vda2"}]}`:                                 "volume is not of the correct type",
		`{"luks":[{"name":"s","device":"/dev/vda1","keyFile":{"source":"data:,k"}}]}`:       "volume is not of the correct type",
		`{"disks":[{"device":"/dev/vda","partitions":[{"number":1,"label":"elsewhere"}]}]}`: "label",
	} {
		m := machine()
		in := Input{Config: &config.Config{Storage: *storage(t, raw)}, Host: &block.Host{AliasDir: "/a"}, Root: t.TempDir()}
		if s, err := Preview(in, m.Facts(&in.Config.Storage)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v %v, want %q", raw, s.Operations, err, says)
		}
	}
}

// TestMachineFile: what is written is read, and nothing else is.
func TestMachineFile(t *testing.T) {
	m := machine()
	m.Devices = append(m.Devices, MachineDevice{
		Names: []string{"/dev/mapper/secret"}, Node: block.Node{Path: "/dev/dm-0", Name: "dm-0", Size: 5, SectorSize: 512, DMName: "secret", DMUUID: "CRYPT-LUKS2-x"},
		Use: block.Use{Mounts: []string{"/m"}, Holders: []string{"h"}, Swap: true}, Crypt: &MachineMapping{true, "vda2"},
		Member: &raid.Member{UUID: "u", Name: "n", Level: "raid1", Metadata: "1.2", Devices: 2, Spare: true, Events: 9},
		Array:  &raid.Running{Member: raid.Member{UUID: "u"}, Nodes: []string{"vda1"}}, Unknown: "broken",
	})
	again, err := ReadMachine(m.Encode())
	if err != nil || !reflect.DeepEqual(again, m) {
		t.Errorf("%v\n%+v\nwant\n%+v", err, again, m)
	}
	open := again.Facts(storage(t, `{"luks":[{"name":"secret","device":"/dev/vda2"}]}`)).Devices["/dev/vda2"]
	if open == nil || open.Mapper == nil || !open.Mapper.LUKS || open.Mapper.On != "vda2" || !open.Mapper.Use.Swap {
		t.Errorf("the open volume: %+v", open)
	}
	text := string(m.Encode())
	for name, row := range map[string]struct{ text, says string }{
		"another version": {strings.Replace(text, `"version": 1`, `"version": 7`, 1), "are of version 7, and this program reads version 1: run `ignition facts`"},
		"no version":      {`{"devices":[]}`, "it has no version"},
		"not JSON":        {"PRETTY_NAME=x", "this is no file of `ignition facts`"},
		"cut":             {text[:len(text)/2], "this is no file of `ignition facts`"},
		"an unknown key":  {strings.Replace(text, `"names"`, `"nicknames"`, 1), `unknown field "nicknames"`},
		"a wrong type":    {strings.Replace(text, `"size": 1073741824`, `"size": "big"`, 1), "the facts are damaged"},
	} {
		if _, err := ReadMachine([]byte(row.text)); err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want %q", name, err, row.says)
		}
	}
	if !json.Valid(m.Encode()) {
		t.Error("no JSON")
	}
}
