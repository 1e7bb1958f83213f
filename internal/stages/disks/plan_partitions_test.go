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
)

const (
	mib      = 2048 // sectors of 512 bytes
	linux    = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
	guidA    = "AAAAAAAA-0000-4000-8000-00000000000A"
	rootType = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"
)

// diskOf makes the facts of a 1 GiB disk from lines of `NUMBER START+SIZE [LABEL]`, in MiB.
func diskOf(t *testing.T, lines string) *Device {
	t.Helper()
	d := &Device{Node: block.Node{Path: "/dev/vda", Name: "vda", Size: 1 << 30, SectorSize: 512}, Alias: "/a/dev/vda"}
	d.Table = block.Table{SectorSize: 512, Sectors: 1 << 21}
	if lines == "" {
		return d
	}
	d.Table.Present, d.Table.FirstUsable, d.Table.LastUsable, d.Table.Slots = true, 34, 1<<21-34, 128
	for line := range strings.Lines(lines) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		var p block.Partition
		if _, err := fmt.Sscanf(line, "%d %d+%d %s", &p.Number, &p.Start, &p.Size, &p.Label); err != nil && p.Size == 0 {
			t.Fatalf("%q: %v", line, err)
		}
		p.Start, p.Size, p.TypeGUID, p.GUID = p.Start*mib, p.Size*mib, linux, guidA
		d.Table.Partitions = append(d.Table.Partitions, p)
		d.Parts = append(d.Parts, Part{Part: block.Part{
			Node: block.Node{Path: fmt.Sprintf("/dev/vda%d", p.Number), Name: fmt.Sprintf("vda%d", p.Number), Number: p.Number}, Start: p.Start, Sectors: p.Size,
		}})
	}
	return d
}

// use marks a partition as mounted.
func (d *Device) use(number int) *Device {
	for i := range d.Parts {
		if d.Parts[i].Number == number {
			d.Parts[i].Use = block.Use{Mounts: []string{"/mnt"}}
		}
	}
	return d
}

func diskConfig(t *testing.T, partitions string) *config.Disk {
	t.Helper()
	var d config.Disk
	raw := `{"device":"/dev/vda","partitions":[` + partitions + `]}`
	if strings.HasPrefix(partitions, "wipe") {
		raw = `{"device":"/dev/vda","wipeTable":true,"partitions":[` + strings.TrimSpace(strings.TrimPrefix(partitions, "wipe")) + `]}`
	}
	if err := json.Unmarshal([]byte(raw), &d); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return &d
}

func TestPlanDisk(t *testing.T) {
	two := "1 1+100 one\n2 101+200 two"
	rows := []struct {
		name   string
		before string
		active int
		config string
		want   string // sgdisk's arguments, "" for none
		notes  string // parts of the notes, joined by |
		err    string
	}{
		// Blank disks.
		{"one on a blank disk", "", 0, `{"number":1,"sizeMiB":10,"label":"x"}`, "--new=1:2048:+20480 --change-name=1:x", "", ""},
		{"fills the disk", "", 0, `{"number":1}`, "--new=1:2048:+2095071", "", ""},
		{"types and GUIDs", "", 0, `{"number":3,"startMiB":5,"sizeMiB":1,"typeGuid":"` + strings.ToLower(rootType) + `","guid":"` + guidA + `"}`,
			"--new=3:10240:+2048 --typecode=3:" + strings.ToLower(rootType) + " --partition-guid=3:" + guidA, "", ""},
		{"empty GUIDs are none", "", 0, `{"number":1,"sizeMiB":1,"typeGuid":"","guid":""}`, "--new=1:2048:+2048", "", ""},
		{"an empty label is set", "", 0, `{"number":1,"sizeMiB":1,"label":""}`, "--new=1:2048:+2048 --change-name=1:", "", ""},
		{"number 0 comes last", "", 0, `{"label":"a","sizeMiB":10},{"number":1,"label":"b","sizeMiB":20},{"label":"c"}`,
			"--new=1:2048:+40960 --change-name=1:b --new=2:43008:+20480 --change-name=2:a --new=3:63488:+2033631 --change-name=3:c", "", ""},
		{"wipe without partitions", two, 0, `wipe`, "", "", ""},
		{"wipe", two, 0, `wipe {"number":1,"sizeMiB":10}`, "--new=1:2048:+20480", "", ""},
		{"wipe in use", two, 2, `wipe`, "", "", `refusing to wipe active disk "/a/dev/vda": partition 2 is mounted at "/mnt"`},
		{"too large", "", 0, `{"number":1,"sizeMiB":2000}`, "", "", "failed to pretend to create partitions"},
		{"negative size", "", 0, `{"number":1,"sizeMiB":-1}`, "", "", "-1 MiB is out of range"},
		{"beyond the slots", "", 0, `{"number":129,"sizeMiB":1}`, "", "", "room for 128 partitions only"},

		// What is there.
		{"as it is", two, 0, `{"number":1,"startMiB":1,"sizeMiB":100,"label":"one","typeGuid":"` + strings.ToLower(linux) + `","guid":"` + guidA + `"}`, "", "partition 1 found with correct specifications", ""},
		{"nothing said of its place", two, 0, `{"number":1,"label":"one"},{"number":2}`, "", "partition 1 found|partition 2 found", ""},
		{"start did not match", two, 0, `{"number":1,"startMiB":2,"sizeMiB":99}`, "", "", "partition 1 didn't match: starting sector did not match (specified 4096, got 2048)"},
		{"GUID did not match", two, 0, `{"number":1,"guid":"BBBBBBBB-0000-4000-8000-00000000000A"}`, "", "", `GUID did not match (specified "BBBBBBBB-0000-4000-8000-00000000000A", got "` + guidA + `")`},
		{"type GUID did not match", two, 0, `{"number":1,"typeGuid":"` + rootType + `"}`, "", "", `type GUID did not match (specified "` + rootType + `", got "` + linux + `")`},
		{"label did not match", two, 0, `{"number":1,"label":"x"}`, "", "", `label did not match (specified "x", got "one")`},
		{"an empty label is compared", two, 0, `{"number":1,"label":""}`, "", "", `label did not match (specified "", got "one")`},
		{"size did not match", two, 0, `{"number":1,"sizeMiB":50}`, "", "", "size did not match (specified 102400, got 204800)"},
		{"size 0 fits", "1 1+100 one", 0, `{"number":1,"sizeMiB":0}`, "", "", "size did not match (specified 2095071, got 204800)"},
		{"recreate", two, 0, `{"number":1,"startMiB":1,"sizeMiB":50,"wipePartitionEntry":true}`, "--delete=1 --new=1:2048:+102400", "did not meet specifications, wiping partition entry and recreating", ""},
		{"wipe permission, but it fits", two, 0, `{"number":1,"startMiB":1,"sizeMiB":100,"wipePartitionEntry":true}`, "", "found with correct", ""},
		{"wipe permission makes unset 0", two, 0, `{"number":1,"wipePartitionEntry":true,"label":"one"}`, "--delete=1 --new=1:616448:+1480671 --change-name=1:one", "", ""},
		{"recreate in use", two, 1, `{"number":1,"sizeMiB":50,"wipePartitionEntry":true}`, "", "", `refusing to modify active partition 1 on "/a/dev/vda"`},
		{"add beside one in use", two, 1, `{"number":3,"sizeMiB":10}`, "--new=3:616448:+20480", "", ""},

		// Deletions.
		{"absent already", two, 0, `{"number":7,"shouldExist":false}`, "", "partition 7 specified as nonexistant and no partition was found. Success.", ""},
		{"present, no permission", two, 0, `{"number":2,"shouldExist":false}`, "", "", "partition 2 exists but is specified as nonexistant and wipePartitionEntry is false"},
		{"delete", two, 0, `{"number":2,"shouldExist":false,"wipePartitionEntry":true}`, "--delete=2", "", ""},
		{"delete in use", two, 2, `{"number":2,"shouldExist":false,"wipePartitionEntry":true}`, "", "", "refusing to modify active partition 2"},
		{"all at once, deletions first", two + "\n3 301+10 three", 0,
			`{"number":4,"sizeMiB":5},{"number":1,"startMiB":1,"sizeMiB":50,"wipePartitionEntry":true},{"number":2,"label":"two"},{"number":3,"shouldExist":false,"wipePartitionEntry":true}`,
			"--delete=3 --delete=1 --new=4:616448:+10240 --new=1:2048:+102400", "partition 2 found", ""},

		// Resizing.
		{"grow", "1 1+100 one", 0, `{"number":1,"sizeMiB":200,"resize":true}`, "--delete=1 --new=1:2048:+409600 --change-name=1:one --typecode=1:" + linux + " --partition-guid=1:" + guidA, "resizing partition 1", ""},
		{"shrink and add", two, 0, `{"number":2,"sizeMiB":50,"resize":true,"label":"two"},{"label":"new"}`,
			"--delete=2 --new=2:206848:+102400 --change-name=2:two --typecode=2:" + linux + " --partition-guid=2:" + guidA + " --new=3:309248:+1787871 --change-name=3:new", "", ""},
		{"resize, but another difference", two, 0, `{"number":1,"sizeMiB":50,"label":"x","resize":true}`, "", "", `label did not match`},
		{"grow into the next", two, 0, `{"number":1,"sizeMiB":101,"resize":true}`, "", "", "failed to pretend to create partitions"},
		{"resize in use", two, 1, `{"number":1,"sizeMiB":50,"resize":true}`, "", "", "refusing to modify active partition 1"},
		{"resize to size 0", "1 1+100 one", 0, `{"number":1,"sizeMiB":0,"resize":true}`, "--delete=1 --new=1:2048:+2095071 --change-name=1:one --typecode=1:" + linux + " --partition-guid=1:" + guidA, "", ""},

		// Holes.
		{"the largest hole", "1 1+100\n2 201+600", 0, `{"number":3}`, "--new=3:1640448:+456671", "", ""},
		{"start outside of the largest hole", "1 101+100\n2 301+100", 0, `{"number":3,"startMiB":1}`, "", "", "failed to pretend"},
		{"a size that fits the hole", "1 101+100\n2 301+100", 0, `{"number":3,"startMiB":1,"sizeMiB":100}`, "--new=3:2048:+204800", "", ""},
		{"overlap", two, 0, `{"number":3,"startMiB":50,"sizeMiB":10}`, "", "", "failed to pretend"},

		// Number 0.
		{"gaps in the numbers", "1 1+10\n3 11+10", 0, `{"label":"a","sizeMiB":1},{"label":"b","sizeMiB":1}`, "--new=2:43008:+2048 --change-name=2:a --new=4:45056:+2048 --change-name=4:b", "", ""},
		{"a second run finds its label", two, 0, `{"label":"two","sizeMiB":200}`, "", "partition 2 found", ""},
		{"a second run without a size", two, 0, `{"label":"two"}`, "", "partition 2 found", ""},
		{"its label, another size", two, 0, `{"label":"two","sizeMiB":100}`, "", "", `partition 2 didn't match (found by its label "two"): size did not match`},
		{"its label, another size, permission", two, 0, `{"label":"two","sizeMiB":100,"wipePartitionEntry":true}`, "--delete=2 --new=2:206848:+204800 --change-name=2:two", "", ""},
		{"two of one label: the one that fits", "1 1+100 x\n2 101+200 x", 0, `{"label":"x","sizeMiB":200}`, "", "partition 2 found", ""},
		{"the label belongs to a listed one", two, 0, `{"number":2,"label":"two"},{"label":"two","sizeMiB":1}`, "--new=3:616448:+2048 --change-name=3:two", "", ""},
		{"the slot of a deleted one", two, 0, `{"number":1,"shouldExist":false,"wipePartitionEntry":true},{"label":"new","sizeMiB":10}`, "--delete=1 --new=1:616448:+20480 --change-name=1:new", "", ""},
		{"the slot, permission on the new one only", two, 0, `{"number":1,"shouldExist":false},{"label":"new","sizeMiB":10,"wipePartitionEntry":true}`, "--delete=1 --new=1:616448:+20480 --change-name=1:new", "", ""},
		{"the slot without permission", two, 0, `{"number":1,"shouldExist":false},{"label":"new","sizeMiB":10}`, "", "", "partition 1 didn't match"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			op, err := planDisk(diskConfig(t, row.config), "$.storage.disks.0", diskOf(t, row.before).use(row.active))
			if row.err != "" {
				var entry *config.EntryError
				if err == nil || !strings.Contains(err.Error(), row.err) || !errors.As(err, &entry) || !strings.HasPrefix(entry.Path, "$.storage.disks.0") || entry.Hint == "" {
					t.Fatalf("got %v, want %q with a path and a hint", err, row.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(op.sgdiskArgs(false), " "); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
			for note := range strings.SplitSeq(row.notes, "|") {
				if !strings.Contains(strings.Join(op.notes, "\n"), note) {
					t.Errorf("notes %q lack %q", op.notes, note)
				}
			}
			if op.Changes() != (row.want != "" || op.Wipe) {
				t.Errorf("Changes() is %t", op.Changes())
			}
			if len(op.Stale) > 0 {
				t.Errorf("stale: %v", op.Stale)
			}
		})
	}
}

// TestPlanDiskState: what is not a matter of the entries.
func TestPlanDiskState(t *testing.T) {
	plan := func(d *Device, partitions string) (*Partitioning, error) {
		return planDisk(diskConfig(t, partitions), "$.storage.disks.0", d)
	}
	t.Run("in use as a whole", func(t *testing.T) {
		d := diskOf(t, "1 1+10").use(1)
		d.Use = block.Use{Holders: []string{"dm-0"}}
		if _, err := plan(d, ""); err == nil || !strings.Contains(err.Error(), `refusing to operate on directly active disk "/a/dev/vda": it is held by dm-0`) {
			t.Errorf("got %v", err)
		}
	})
	for _, row := range []struct {
		err  error
		want string
	}{{block.ErrNotGPT, "disk does not have a GPT"}, {block.ErrNoTable, "no partition table found"}, {errors.New("input/output error"), "input/output error"}} {
		t.Run(row.want, func(t *testing.T) {
			d := diskOf(t, "")
			d.TableErr = row.err
			if _, err := plan(d, `{"number":1}`); err == nil || !strings.Contains(err.Error(), `getting partition count of "/a/dev/vda": `+row.want) {
				t.Errorf("got %v", err)
			}
			if _, err := plan(d, "wipe"); err != nil {
				t.Errorf("with wipeTable: %v", err)
			}
		})
	}
	t.Run("a filesystem on the whole disk", func(t *testing.T) {
		d := diskOf(t, "")
		d.Content = block.Content{Type: "ext4", Label: "precious"}
		if _, err := plan(d, `{"number":1}`); err == nil || !strings.Contains(err.Error(), "it holds ext4 as a whole") {
			t.Errorf("got %v", err)
		}
		if _, err := plan(d, ""); err != nil {
			t.Errorf("without partitions: %v", err)
		}
	})
	t.Run("a disk that grew", func(t *testing.T) {
		d := diskOf(t, "1 1+100")
		d.Table.Misplaced, d.Table.LastUsable = true, 200*mib
		op, err := plan(d, `{"number":2}`)
		if err != nil || strings.Join(op.sgdiskArgs(false), " ") != "--move-second-header --new=2:206848:+1890271" {
			t.Errorf("got %v, %v", op, err)
		}
	})
	t.Run("a resize keeps attributes and an unaligned start", func(t *testing.T) {
		d := diskOf(t, "1 1+100 one\n2 101+100 two")
		d.Table.Partitions[0].Start, d.Table.Partitions[0].Attributes = 2049, 1<<56|4
		op, err := plan(d, `{"number":1,"sizeMiB":50,"resize":true}`)
		if err != nil {
			t.Fatal(err)
		}
		want := "--delete=1 --new=1:2049:+102400 --change-name=1:one --typecode=1:" + linux + " --partition-guid=1:" + guidA + " --attributes=1:=:100000000000004"
		if got := strings.Join(op.sgdiskArgs(false), " "); got != want && got != "--set-alignment=1 "+want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
	t.Run("sectors of 4096 bytes", func(t *testing.T) {
		d := diskOf(t, "")
		d.SectorSize, d.Table = 4096, block.Table{SectorSize: 4096, Sectors: 1 << 18}
		op, err := plan(d, `{"number":1,"sizeMiB":10}`)
		if err != nil || strings.Join(op.sgdiskArgs(false), " ") != "--new=1:256:+2560" {
			t.Errorf("got %v, %v", op, err)
		}
	})
	t.Run("a kernel that was not told", func(t *testing.T) {
		d := diskOf(t, "1 1+100 one\n2 101+100 two")
		d.Parts = d.Parts[1:]
		d.Parts[0].Sectors++
		op, err := plan(d, `{"number":1},{"number":2}`)
		if err != nil || fmt.Sprint(op.Stale) != "[1 2]" || op.Changes() {
			t.Errorf("got %+v, %v", op, err)
		}
	})
	t.Run("a kernel that has too much", func(t *testing.T) {
		d := diskOf(t, "1 1+100 one\n2 101+100 two")
		d.Table.Partitions = d.Table.Partitions[:1]
		op, err := plan(d, `{"number":2,"shouldExist":false}`)
		if err != nil || fmt.Sprint(op.Vanished) != "[2]" {
			t.Errorf("got %+v, %v", op, err)
		}
	})
}

func TestParseInfo(t *testing.T) {
	block := "Partition GUID code: X\nFirst sector: 2048 (at 1024.0 KiB)\nLast sector: 4095 (at 2.0 MiB)\nPartition name: 'x'\n"
	for _, row := range []struct {
		name, out string
		n         int
		want      string
	}{
		{"one", block, 1, "[[2048 2048]]"},
		{"two", block + block, 2, "[[2048 2048] [2048 2048]]"},
		{"too few", block, 2, "sgdisk had unexpected output"},
		{"too many", block + block, 1, "sgdisk had unexpected output"},
		{"a last without a first", "Last sector: 4095 (at 2.0 MiB)\n", 1, "sgdisk had unexpected output"},
		{"two firsts", "First sector: 1 (a)\nFirst sector: 1 (a)\n", 1, "sgdisk had unexpected output"},
		{"nothing", "", 0, "[]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := parseInfo(row.out, row.n)
			text := fmt.Sprint(got)
			if err != nil {
				text = err.Error()
			}
			if text != row.want {
				t.Errorf("got %s, want %s", text, row.want)
			}
		})
	}
}
