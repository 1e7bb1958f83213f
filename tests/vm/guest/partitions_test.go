// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// partitioned is a config with partitions on the first disk.
func partitioned(partitions ...string) string { return partitionedOn("$D0", "", partitions...) }

// repartitioned is one that wipes the old table.
func repartitioned(partitions ...string) string {
	return partitionedOn("$D0", `"wipeTable": true, `, partitions...)
}

func partitionedOn(device, more string, partitions ...string) string {
	return fmt.Sprintf(`{"ignition": {"version": "3.4.0"}, "storage": {"disks": [{"device": %q, %s"partitions": [%s]}]}}`,
		device, more, strings.Join(partitions, ", "))
}

// showTable gives shell lines a function that prints the table of a disk in
// 512-byte sectors, and complains if the kernel has another view of it.
const showTable = `
table() {
  partx -gro NR,START,SECTORS,NAME "$1" | sed 's/ *$//'
  local node p; node=$(realpath "$1"); node=${node##*/}
  for p in /sys/block/$node/$node*; do
    if [[ -e $p/partition ]]; then echo $(<$p/partition) $(<$p/start) $(<$p/size); fi
  done | sort -n >"$CASE/kernel"
  partx -gro NR,START,SECTORS "$1" | diff - "$CASE/kernel"
}
`

// saveTable and sameTable are for disks whose content changes by itself, being in use.
const (
	saveTable = showTable + `table "$D0" >"$CASE/table"` + "\n"
	sameTable = showTable + `table "$D0" | diff "$CASE/table" -`
)

// instead puts scripts in the place of programs, for the binary under test
// alone: nothing else has the variable for the config. They may call the
// program as `real`.
func instead(scripts map[string]string) func(*testing.T) map[string]string {
	return func(t *testing.T) map[string]string {
		t.Helper()
		dir := t.TempDir()
		for name, lines := range scripts {
			program, err := exec.LookPath(name)
			if err != nil {
				t.Fatal(err)
			}
			text := fmt.Sprintf("#!/bin/bash\nif [[ -z ${IGNITION_CONFIG_FILE-} ]]; then exec %[1]s \"$@\"; fi\nreal() { %[1]s \"$@\"; }\n%[2]s\n", program, lines)
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		return map[string]string{"PATH": dir + ":" + os.Getenv("PATH")}
	}
}

// oldTable has holes of 200, 500 and 23 MiB.
const oldTable = `sgdisk -n 1:1M:+100M -c 1:one -n 2:301M:+100M -c 2:two -n 3:901M:+100M -c 3:three "$D0"; udevadm settle
`

const (
	guidA    = "DEADBEEF-0000-4000-8000-00000000ABCD"
	guidB    = "DEADBEEF-0000-4000-8000-00000000ABCE"
	typeESP  = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
	typeSwap = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
	typeData = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
)

// sgdiskCalls lists the option lists that the stage gave to sgdisk.
func sgdiskCalls(r Result) (calls []string) {
	for _, m := range regexp.MustCompile(`running sgdisk with options: \[(.*)\]`).FindAllStringSubmatch(r.Output(), -1) {
		calls = append(calls, m[1])
	}
	return calls
}

var createCases = []Case{
	{
		Name:  "on a blank disk",
		Disks: []int{0},
		Config: partitioned(`{"number": 1, "label": "one", "sizeMiB": 64}`,
			`{"number": 2, "startMiB": 100, "sizeMiB": 32, "typeGuid": "`+strings.ToLower(typeESP)+`", "guid": "`+strings.ToLower(guidA)+`"}`,
			`{"number": 3, "label": "", "sizeMiB": 16, "typeGuid": "`+typeSwap+`", "guid": "`+guidB+`"}`,
			`{"number": 4, "label": "the rest"}`),
		Stages: disksOnly,
		After:  showTable + `table "$D0"`,
		Want: `1 2048 131072 one
2 204800 65536
3 270336 32768
4 303104 1794015 the\x20rest`,
		Check: func(t *testing.T, r Result) {
			one, two, three := r.Partition(t, "$D0", 1), r.Partition(t, "$D0", 2), r.Partition(t, "$D0", 3)
			if one.Type != typeData {
				t.Errorf("without a type GUID a partition got %s", one.Type)
			}
			if two.Type != typeESP || two.GUID != guidA || three.Type != typeSwap || three.GUID != guidB {
				t.Errorf("partitions 2 and 3 are %+v and %+v", two, three)
			}
		},
		Again: true,
	},
	{
		Name:   "start and size 0 with holes",
		Disks:  []int{0},
		Before: oldTable,
		Config: partitioned(`{"number": 4, "label": "four", "sizeMiB": 10}`, `{"number": 5, "label": "five", "startMiB": 0, "sizeMiB": 0}`,
			`{"number": 6, "label": "six", "startMiB": 101}`),
		Stages: disksOnly,
		Keep:   []string{"${D0}1", "${D0}2", "${D0}3"},
		After:  showTable + `table "$D0"`,
		Want: `1 2048 204800 one
2 616448 204800 two
3 1845248 204800 three
4 821248 20480 four
5 841728 1003520 five
6 206848 409600 six`,
		Again: true,
		Slow:  true,
	},
	{
		Name:   "size 0 with a start outside of the largest hole",
		Disks:  []int{0},
		Before: oldTable,
		Config: partitioned(`{"number": 4, "startMiB": 101, "sizeMiB": 0}`),
		Stages: disksOnly,
		Fails:  "disks",
		Error: []string{"create partitions failed: failed to pretend to create partitions. Err: partition 4 of",
			"the largest free block has 500 MiB, from 401 MiB on", "the failing config entry is $.storage.disks.0.partitions.0"},
		Keep: []string{"$D0"},
		Slow: true,
	},
	{
		Name:   "places that are taken",
		Disks:  []int{0},
		Before: oldTable,
		Config: partitioned(`{"number": 4, "sizeMiB": 10}`, `{"number": 5, "startMiB": 350, "sizeMiB": 10}`),
		Stages: disksOnly,
		Fails:  "disks",
		Error:  []string{"failed to pretend to create partitions", "no room for 10 MiB at 350 MiB", "the failing config entry is $.storage.disks.0.partitions.1"},
		Keep:   []string{"$D0"},
		Slow:   true,
	},
	{
		Name:   "larger than every hole",
		Disks:  []int{0},
		Before: oldTable,
		Config: partitioned(`{"number": 4, "sizeMiB": 501}`),
		Stages: disksOnly,
		Fails:  "disks",
		Error:  []string{"no room for 501 MiB anywhere: the largest free block has 500 MiB, from 401 MiB on"},
		Keep:   []string{"$D0"},
		Slow:   true,
	},
	{
		Name:   "numbers beyond the table",
		Disks:  []int{0},
		Config: partitioned(`{"number": 129, "sizeMiB": 10}`),
		Stages: disksOnly,
		Fails:  "disks",
		Error:  []string{"the table has room for 128 partitions only", "the failing config entry is $.storage.disks.0.partitions.0"},
		Keep:   []string{"$D0"},
		Slow:   true,
	},
	{
		Name:   "a table with room for 256",
		Disks:  []int{0},
		Before: `sgdisk -S 256 -n 200:1M:+10M -c 200:old "$D0"; udevadm settle`,
		Config: partitioned(`{"number": 201, "label": "new", "sizeMiB": 10}`, `{"label": "rest"}`),
		Stages: disksOnly,
		After:  showTable + `table "$D0"`,
		Want:   "1 43008 2054079 rest\n200 2048 20480 old\n201 22528 20480 new",
		Again:  true,
		Slow:   true,
	},
	{
		Name:   "labels with control characters and umlauts",
		Disks:  []int{0},
		Config: partitioned(`{"number": 1, "label": "a\nLast sector\t1", "sizeMiB": 10}`, `{"number": 2, "label": "größe"}`),
		Stages: disksOnly,
		Check: func(t *testing.T, r Result) {
			for n, want := range map[string]string{"1": "a\nLast sector\t1", "2": "größe"} {
				// The name of an entry is in UTF-16, 56 bytes after its beginning.
				raw := r.Sh(t, `dd if="$D0" bs=1 skip=$((1024 + 128*(`+n+`-1) + 56)) count=72 status=none | iconv -f UTF-16LE -t UTF-8 | tr -d '\0'`)
				if raw != want {
					t.Errorf("partition %s has the label %q, want %q", n, raw, want)
				}
			}
		},
		Again: true,
		Slow:  true,
	},
	{
		Name:   "sectors of 4096 bytes",
		Disks:  []int{6},
		Config: partitionedOn("$ID0", "", `{"number": 1, "label": "a", "sizeMiB": 64}`, `{"number": 2, "label": "b", "startMiB": 100, "sizeMiB": 32}`, `{"label": "rest"}`),
		Stages: disksOnly,
		After:  showTable + `table "$D0"; readlink "/run/ignition/dev_aliases$ID0"`,
		Want:   "1 2048 131072 a\n2 204800 65536 b\n3 270336 1826776 rest\n$D0",
		Check: func(t *testing.T, r Result) {
			if p := r.Partition(t, "$D0", 2); p.First != 25600 || p.Size != 8192 {
				t.Errorf("partition 2 is %+v", p)
			}
			if want := r.env.expand(`created device alias for "$ID0": "/run/ignition/dev_aliases$ID0" -> "$D0"`); !strings.Contains(r.Output(), want) {
				t.Errorf("the log lacks %q", want)
			}
		},
		Again: true,
	},
	{
		Name:  "sectors of 4096 bytes, beside a mounted partition",
		Disks: []int{7},
		Before: `sgdisk -n 1:1M:+100M -c 1:one -n 2:101M:+100M -c 2:two "$D0"; udevadm settle
mkfs.ext4 -q "${D0}1"; mkdir "$CASE/m"; mount -o ro "${D0}1" "$CASE/m"`,
		Config: partitioned(`{"number": 2, "sizeMiB": 200, "resize": true}`, `{"number": 3, "label": "three"}`),
		Stages: disksOnly,
		Keep:   []string{"${D0}1"},
		After:  showTable + `table "$D0"`,
		Want:   "1 2048 204800 one\n2 206848 409600 two\n3 616448 1480664 three",
		Again:  true,
		Slow:   true,
	},
	{
		Name:   "a device whose name ends in a digit",
		Disks:  []int{0},
		Before: `modprobe loop; udevadm settle; losetup -P /dev/loop5 "$D0"; udevadm settle`,
		Config: partitionedOn("/dev/loop5", "", `{"number": 1, "label": "one", "sizeMiB": 10}`, `{"number": 2, "label": "two"}`),
		Stages: disksOnly,
		After:  showTable + `table /dev/loop5; mkfs.ext4 -q /dev/loop5p1`,
		Want:   "1 2048 20480 one\n2 22528 2074591 two",
		Slow:   true,
	},
	{
		Name:  "a device whose name ends in a digit, with a mounted partition",
		Disks: []int{0},
		Before: `modprobe loop; udevadm settle; losetup -P /dev/loop5 "$D0"; udevadm settle; sgdisk -n 1:1M:+10M -c 1:one -n 2:11M:+10M /dev/loop5; udevadm settle
mkfs.ext4 -q /dev/loop5p1; mkdir "$CASE/m"; mount -o ro /dev/loop5p1 "$CASE/m"`,
		Config: partitionedOn("/dev/loop5", "", `{"number": 2, "shouldExist": false, "wipePartitionEntry": true}`, `{"number": 3, "label": "three", "sizeMiB": 5}`),
		Stages: disksOnly,
		Keep:   []string{"/dev/loop5p1"},
		After:  showTable + `table /dev/loop5`,
		Want:   "1 2048 20480 one\n3 22528 10240 three",
		Slow:   true,
	},
}

func TestPartitions(t *testing.T) { runCases(t, createCases) }

// TestPartitionsByLabel is about entries without a number.
func TestPartitionsByLabel(t *testing.T) {
	slot := func(deletion, label string) string {
		return partitioned(`{"number": 1, "shouldExist": false`+deletion+`}`, `{"label": "new", "startMiB": 1, "sizeMiB": 50`+label+`}`)
	}
	const two = `sgdisk -n 1:1M:+100M -c 1:old -n 2:101M:+100M -c 2:other "$D0"; udevadm settle`
	replaced := Case{
		Disks: []int{0}, Before: two, Stages: disksOnly, Keep: []string{"${D0}2"}, Again: true, Slow: true,
		After: showTable + `table "$D0"`, Want: "1 2048 102400 new\n2 206848 204800 other",
	}
	byEntry, byDeletion := replaced, replaced
	byEntry.Name, byEntry.Config = "the slot of a deleted partition, by the new one's permission", slot("", `, "wipePartitionEntry": true`)
	byDeletion.Name, byDeletion.Config = "the slot of a deleted partition, by the old one's permission", slot(`, "wipePartitionEntry": true`, "")
	runCases(t, []Case{
		byEntry, byDeletion,
		{
			Name:   "the slot of a deleted partition, without permission",
			Disks:  []int{0},
			Before: two,
			Config: slot("", ""),
			Stages: disksOnly,
			Fails:  "disks",
			Error:  []string{`partition 1 didn't match: label did not match (specified "new", got "old")`},
			Keep:   []string{"$D0"},
			Slow:   true,
		},
		{
			Name:   "between and before others, on a disk with unlisted ones",
			Disks:  []int{0},
			Before: `sgdisk -n 1:1M:+50M -c 1:a -n 3:101M:+50M -c 3:c "$D0"; udevadm settle`,
			Config: partitioned(`{"label": "x", "sizeMiB": 20}`, `{"number": 5, "label": "five", "sizeMiB": 10}`,
				`{"label": "y", "sizeMiB": 20}`, `{"label": "z", "sizeMiB": 20}`),
			Stages: disksOnly,
			Keep:   []string{"${D0}1", "${D0}3"},
			After:  showTable + `table "$D0"`,
			Want: `1 2048 102400 a
2 329728 40960 x
3 206848 102400 c
4 370688 40960 y
5 309248 20480 five
6 411648 40960 z`,
			Again: true,
		},
		{
			Name:   "found by its label, with another size",
			Disks:  []int{0},
			Before: oldTable,
			Config: partitioned(`{"label": "two", "sizeMiB": 50}`),
			Stages: disksOnly,
			Fails:  "disks",
			Error:  []string{`partition 2 didn't match (found by its label "two"): size did not match (specified 102400, got 204800)`},
			Keep:   []string{"$D0"},
			Slow:   true,
		},
	})
}

// described has attributes that no config can give.
const described = `sgdisk -a 2048 -n 1:1M:+100M -c 1:one -t 1:` + typeSwap + ` -u 1:` + guidA + ` -A 1:set:2 -A 1:set:60 -n 2:501M:+100M -c 2:two "$D0"; udevadm settle
dd if=/dev/urandom of="$CASE/data" bs=1M count=1; for p in 1 2; do dd if="$CASE/data" of="$D0$p" bs=1M conv=fsync; done
`

// sameData is for partitions whose size changes, so that Keep cannot be asked.
const sameData = `cmp -n 1048576 "$CASE/data" "${D0}1"` + "\n"

func TestPartitionsThatDiffer(t *testing.T) {
	var cases []Case
	for _, row := range []struct{ name, entry, reason string }{
		{"start", `"startMiB": 2, "sizeMiB": 99`, `starting sector did not match (specified 4096, got 2048)`},
		{"GUID", `"guid": "` + guidB + `"`, `GUID did not match (specified "` + guidB + `", got "` + guidA + `")`},
		{"type", `"typeGuid": "` + typeESP + `"`, `type GUID did not match (specified "` + typeESP + `", got "` + typeSwap + `")`},
		{"label", `"label": "uno"`, `label did not match (specified "uno", got "one")`},
		{"empty label", `"label": ""`, `label did not match (specified "", got "one")`},
		{"size", `"sizeMiB": 50`, `size did not match (specified 102400, got 204800)`},
		{"all but the start", `"sizeMiB": 50, "label": "uno", "guid": "` + guidB + `"`, `GUID did not match`},
		{"resize and label", `"sizeMiB": 50, "label": "uno", "resize": true`, `label did not match (specified "uno", got "one")`},
	} {
		cases = append(cases, Case{
			Name: row.name, Disks: []int{0}, Before: described, Stages: disksOnly, Keep: []string{"$D0"}, Slow: true,
			Config: partitioned(`{"number": 3, "label": "new", "startMiB": 700, "sizeMiB": 10}`, `{"number": 1, `+row.entry+`}`),
			Fails:  "disks",
			Error: []string{"create partitions failed: partition 1 didn't match: " + row.reason,
				"the failing config entry is $.storage.disks.0.partitions.1: make the entry describe the partition, or set wipePartitionEntry to true"},
		})
	}
	runCases(t, append(cases, Case{
		Name:   "nothing to do",
		Disks:  []int{0},
		Before: described,
		Config: partitioned(`{"number": 1, "label": "one", "startMiB": 1, "sizeMiB": 100, "guid": "`+strings.ToLower(guidA)+`", "typeGuid": "`+strings.ToLower(typeSwap)+`"}`,
			`{"number": 2, "guid": "", "typeGuid": ""}`, `{"number": 3, "shouldExist": false}`),
		Stages: disksOnly,
		Keep:   []string{"$D0"},
		Check: func(t *testing.T, r Result) {
			if calls := sgdiskCalls(r); len(calls) > 0 || strings.Contains(r.Output(), `executing: "sgdisk"`) {
				t.Errorf("sgdisk ran: %q", calls)
			}
			for _, want := range []string{"waiting for triggered uevent", "partition 1 found with correct specifications",
				"partition 3 specified as nonexistant and no partition was found. Success."} {
				if !strings.Contains(r.Output(), want) {
					t.Errorf("the log lacks %q", want)
				}
			}
		},
	}, Case{
		Name:   "a start that is not aligned",
		Disks:  []int{0},
		Before: `sgdisk -a 1 -n 1:63:+100M -c 1:one -n 2:501M:+100M "$D0"; udevadm settle`,
		Config: partitioned(`{"number": 1, "label": "one"}`, `{"number": 2, "sizeMiB": 100}`),
		Stages: disksOnly,
		Keep:   []string{"$D0"},
		Slow:   true,
	}))
}

// TestPartitionsChanged is about resizing, replacing and deleting.
func TestPartitionsChanged(t *testing.T) {
	var cases []Case
	for _, row := range []struct{ name, size, want string }{
		{"grow", "200", "409600"}, {"shrink", "50", "102400"}, {"fill", "0", "1024000"},
	} {
		cases = append(cases, Case{
			Name: row.name, Disks: []int{0}, Before: described, Stages: disksOnly, Keep: []string{"${D0}2"}, Again: true, Slow: row.name != "grow",
			Config: partitioned(`{"number": 1, "sizeMiB": ` + row.size + `, "resize": true}`),
			After:  sameData + showTable + `table "$D0"`,
			Want:   "1 2048 " + row.want + " one\n2 1026048 204800 two",
			Check: func(t *testing.T, r Result) {
				p := r.Partition(t, "$D0", 1)
				if p.Type != typeSwap || p.GUID != guidA || p.Attributes != "1000000000000004" {
					t.Errorf("of the partition that was resized not all is left: %+v", p)
				}
			},
		})
	}
	runCases(t, append(cases, Case{
		Name:  "all at once",
		Disks: []int{0},
		Before: `sgdisk -n 1:1M:+100M -c 1:keep -n 2:101M:+100M -c 2:change -n 3:201M:+100M -c 3:gone "$D0"; udevadm settle
dd if=/dev/urandom of="${D0}1" bs=1M count=1 conv=fsync`,
		Config: partitioned(`{"number": 1, "label": "keep", "sizeMiB": 100}`,
			`{"number": 2, "label": "changed", "startMiB": 101, "sizeMiB": 50, "wipePartitionEntry": true}`,
			`{"number": 3, "shouldExist": false, "wipePartitionEntry": true}`,
			`{"number": 4, "label": "new", "sizeMiB": 20}`),
		Stages: disksOnly,
		Keep:   []string{"${D0}1"},
		After:  showTable + `table "$D0"`,
		Want:   "1 2048 204800 keep\n2 206848 102400 changed\n4 309248 40960 new",
		Check: func(t *testing.T, r Result) {
			want := r.env.expand("--delete=3 --delete=2 --new=2:206848:+102400 --change-name=2:changed --new=4:309248:+40960 --change-name=4:new /run/ignition/dev_aliases$D0")
			calls := sgdiskCalls(r)
			if len(calls) != 2 || !strings.HasPrefix(calls[0], "--pretend ") || calls[1] != want {
				t.Errorf("sgdisk was called with\n%s\nwant a pretended call and\n%s", strings.Join(calls, "\n"), want)
			}
		},
		Again: true,
	}, Case{
		Name:   "replaced where there is most room",
		Disks:  []int{0},
		Before: oldTable,
		Config: partitioned(`{"number": 2, "label": "zwei", "wipePartitionEntry": true}`),
		Stages: disksOnly,
		Keep:   []string{"${D0}1", "${D0}3"},
		After:  showTable + `table "$D0"`,
		Want:   "1 2048 204800 one\n2 206848 1638400 zwei\n3 1845248 204800 three",
		Again:  true,
		Slow:   true,
	}, Case{
		Name:   "to be deleted, without permission",
		Disks:  []int{0},
		Before: oldTable,
		Config: partitioned(`{"number": 2, "shouldExist": false}`, `{"number": 4, "sizeMiB": 10}`),
		Stages: disksOnly,
		Fails:  "disks",
		Error: []string{"partition 2 exists but is specified as nonexistant and wipePartitionEntry is false",
			"the failing config entry is $.storage.disks.0.partitions.0: set wipePartitionEntry to true to delete it"},
		Keep: []string{"$D0"},
		Slow: true,
	}, Case{
		Name:   "a start that is not aligned, resized",
		Disks:  []int{0},
		Before: `sgdisk -a 1 -n 1:63:+100M -c 1:one -n 2:501M:+100M -c 2:two "$D0"; udevadm settle`,
		Config: partitioned(`{"number": 1, "sizeMiB": 200, "resize": true}`),
		Stages: disksOnly,
		Keep:   []string{"${D0}2"},
		After:  showTable + `table "$D0"`,
		Want:   "1 63 409600 one\n2 1026048 204800 two",
		Again:  true,
		Slow:   true,
	}))
}

func TestWipeTable(t *testing.T) {
	const spoiled = oldTable + `for s in 1 2097151; do dd if=/dev/urandom of="$D0" bs=512 seek=$s count=1 conv=fsync; done; udevadm settle
`
	runCases(t, []Case{
		{
			Name:   "with an old table",
			Disks:  []int{0, 1},
			Before: oldTable,
			Config: repartitioned(`{"number": 2, "label": "two", "sizeMiB": 200}`, `{"label": "first"}`),
			Stages: disksOnly,
			Keep:   []string{"$D1"},
			After:  showTable + `table "$D0"`,
			Want:   "1 411648 1685471 first\n2 2048 409600 two",
		},
		{
			Name:     "with a spoiled table",
			Disks:    []int{0},
			Before:   spoiled,
			Config:   repartitioned(`{"number": 1, "label": "all"}`),
			Stages:   disksOnly,
			Critical: []string{"deleting 0 partitions and creating 0 partitions"}, // of the first try
			After:    showTable + `table "$D0"; sgdisk -v "$D0" | grep -c '^No problems found'`,
			Want:     "1 2048 2095071 all\n1",
			Slow:     true,
		},
		{
			Name:   "without new partitions",
			Disks:  []int{0},
			Before: oldTable,
			Config: repartitioned(),
			Stages: disksOnly,
			After:  `lsblk -nro NAME "$D0"; cmp -n 1048576 "$D0" /dev/zero; blkid -p "$D0" || [[ $? == 2 ]]`,
			Want:   "${N0}",
			Vars:   func(t *testing.T) map[string]string { return map[string]string{"N0": filepath.Base(guestDisks(t)[0])} },
			Again:  true,
			Slow:   true,
		},
		{
			Name:   "with an MBR",
			Disks:  []int{0},
			Before: `sgdisk -n 1:1M:+100M "$D0"; sgdisk -m 1 "$D0"; udevadm settle`,
			Config: repartitioned(`{"number": 1, "label": "all"}`),
			Stages: disksOnly,
			After:  showTable + `table "$D0"`,
			Want:   "1 2048 2095071 all",
			Slow:   true,
		},
		{
			Name:   "with a filesystem on the whole disk",
			Disks:  []int{0},
			Before: `mkfs.ext4 -q "$D0"; udevadm settle`,
			Config: repartitioned(`{"number": 1, "label": "all"}`),
			Stages: disksOnly,
			After:  showTable + `table "$D0"`,
			Want:   "1 2048 2095071 all",
			Slow:   true,
		},
		{
			Name:   "sgdisk fails twice",
			Disks:  []int{0},
			Before: oldTable,
			Vars:   instead(map[string]string{"sgdisk": `if [[ $1 == --zap-all ]]; then echo spoiled >&2; exit 2; fi; real "$@"`}),
			Config: repartitioned(`{"number": 1, "label": "all"}`),
			Stages: disksOnly,
			Fails:  "disks",
			Error: []string{`create partitions failed: exit status 2: Cmd: "sgdisk" "--zap-all" "/run/ignition/dev_aliases$D0" Stdout: "" Stderr: "spoiled\n"`,
				"potential error encountered while wiping table... retrying"},
			Keep: []string{"$D0"},
			Slow: true,
		},
		{
			Name:   "a table that cannot be written",
			Disks:  []int{0},
			Before: oldTable,
			Vars:   instead(map[string]string{"sgdisk": `if [[ $1 != --pretend ]]; then exit 4; fi; real "$@"`}),
			Config: partitioned(`{"number": 4, "sizeMiB": 10}`),
			Stages: disksOnly,
			Fails:  "disks",
			Error:  []string{`create partitions failed: commit failure: create partitions failed: exit status 4: Cmd: "sgdisk" "--new=4:821248:+20480"`},
			Keep:   []string{"$D0"},
			Slow:   true,
		},
	})
}

// uses are the ways in which a device can be in use: how it comes to be ($DEV
// is the device), and what the stage calls it.
var uses = []struct{ name, make, text string }{
	{"mounted", `mkfs.ext4 -q "$DEV"; mkdir "$CASE/m"; mount -o ro "$DEV" "$CASE/m"`, `mounted at "$CASE/m"`},
	{"swap", `mkswap "$DEV"; swapon "$DEV"`, "used as swap"},
	{"md", `mdadm --create /dev/md/held --run --force --level=1 --raid-devices=1 --homehost=any "$DEV"; udevadm settle`, "held by md"},
	{"dm-crypt", `echo -n pass | cryptsetup luksFormat --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 "$DEV" -
echo -n pass | cryptsetup open "$DEV" held -; udevadm settle`, "held by dm-"},
}

// TestPartitionsInUse has a partition in use beside others: what is in use
// stays as it is, the rest can be worked on.
func TestPartitionsInUse(t *testing.T) {
	var cases []Case
	for _, use := range uses {
		before := oldTable + `DEV="${D0}1"` + "\n" + use.make + "\n" + saveTable
		refused := func(name, config, text, path string) Case {
			return Case{
				Name: use.name + ", " + name, Disks: []int{0}, Before: before, Config: config, Stages: disksOnly, Fails: "disks",
				Error: []string{text + use.text, "the failing config entry is $.storage.disks.0." + path},
				Keep:  []string{"${D0}2", "${D0}3"}, After: sameTable, Slow: use.name != "mounted" || name != "replaced",
			}
		}
		modify := `refusing to modify active partition 1 on "/run/ignition/dev_aliases$D0": it is `
		cases = append(cases,
			refused("replaced", partitioned(`{"number": 4, "sizeMiB": 10}`, `{"number": 1, "startMiB": 1, "sizeMiB": 50, "wipePartitionEntry": true}`), modify, "partitions.1"),
			refused("wiped", repartitioned(`{"number": 1, "sizeMiB": 10}`), `refusing to wipe active disk "/run/ignition/dev_aliases$D0": partition 1 is `, "wipeTable"),
			Case{
				Name: use.name + ", others change", Disks: []int{0}, Before: before, Stages: disksOnly, Keep: []string{"${D0}3"}, Slow: use.name != "mounted",
				Config: partitioned(`{"number": 1, "label": "one", "startMiB": 1, "sizeMiB": 100}`, `{"number": 2, "shouldExist": false, "wipePartitionEntry": true}`,
					`{"number": 3, "label": "three"}`, `{"number": 4, "label": "four", "sizeMiB": 600}`),
				After: showTable + `table "$D0"`,
				Want:  "1 2048 204800 one\n3 1845248 204800 three\n4 206848 1228800 four",
			})
		if use.name == "mounted" {
			cases = append(cases,
				refused("deleted", partitioned(`{"number": 1, "shouldExist": false, "wipePartitionEntry": true}`), modify, "partitions.0"),
				refused("resized", partitioned(`{"number": 1, "sizeMiB": 50, "resize": true}`), modify, "partitions.0"))
		}
		cases = append(cases, Case{
			Name: use.name + ", whole disk", Disks: []int{0}, Before: `DEV="$D0"` + "\n" + use.make, Stages: disksOnly, Fails: "disks", Slow: true,
			Config: repartitioned(`{"number": 1, "sizeMiB": 50}`),
			Error:  []string{`refusing to operate on directly active disk "/run/ignition/dev_aliases$D0": it is ` + use.text, "the failing config entry is $.storage.disks.0"},
			After:  `lsblk -nro NAME "$D0" | grep -c "^${D0#/dev/}[0-9]" || true`,
			Want:   "0",
		})
	}
	runCases(t, append(cases, Case{
		Name:  "mount table with a blank and a source that is gone",
		Disks: []int{0, 1},
		Before: oldTable + `sgdisk -n 1:1M:+100M "$D1"; udevadm settle; mkfs.ext4 -q "${D1}1"; mkdir "$CASE/m" "$CASE/with blank" "$CASE/dev blank"
mount -o ro "${D1}1" "$CASE/with blank"
cp -a "${D0}1" "$CASE/dev blank/node"; mkfs.ext4 -q "${D0}1"; mount -o ro "$CASE/dev blank/node" "$CASE/m"; rm "$CASE/dev blank/node"
grep -F 'with\040blank' /proc/mounts; grep -F 'dev\040blank' /proc/mounts`,
		Config: partitioned(`{"number": 4, "label": "four", "sizeMiB": 10}`),
		Stages: disksOnly,
		Keep:   []string{"${D0}1", "${D1}1"},
		After:  showTable + `table "$D0"`,
		Want:   "1 2048 204800 one\n2 616448 204800 two\n3 1845248 204800 three\n4 821248 20480 four",
		Slow:   true,
	}, Case{
		Name:   "mounted by a node that is gone",
		Disks:  []int{0},
		Before: oldTable + `cp -a "${D0}1" "$CASE/node"; mkfs.ext4 -q "${D0}1"; mkdir "$CASE/m"; mount -o ro "$CASE/node" "$CASE/m"; rm "$CASE/node"`,
		Config: partitioned(`{"number": 1, "shouldExist": false, "wipePartitionEntry": true}`),
		Stages: disksOnly,
		Fails:  "disks",
		Error:  []string{"refusing to modify active partition 1"},
		Keep:   []string{"$D0", "${D0}1"},
		Slow:   true,
	}))
}

// TestOddTables is about disks that hold something else than a sound GPT.
func TestOddTables(t *testing.T) {
	const table = `sgdisk -n 1:1M:+100M -c 1:one "$D0"; dd if=/dev/urandom of="${D0}1" bs=1M count=1 conv=fsync
`
	spoil := func(sectors string) string {
		return table + `for s in ` + sectors + `; do dd if=/dev/urandom of="$D0" bs=512 seek=$s count=1 conv=fsync; done; udevadm settle`
	}
	var cases []Case
	for _, row := range []struct{ name, before, text string }{
		{"MBR", table + `sgdisk -m 1 "$D0"; udevadm settle`, `getting partition count of "/run/ignition/dev_aliases$D0": disk does not have a GPT`},
		{"both copies spoiled", spoil("1 2097151"), `getting partition count of "/run/ignition/dev_aliases$D0": no partition table found`},
		{"both lists of entries spoiled", spoil("2 2097119"), `no partition table found`},
		{"no protective MBR", table + `dd if=/dev/zero of="$D0" bs=512 count=1 conv=fsync; udevadm settle`, `failed to pretend to create partitions`},
		{"ext4 on the whole disk", `mkfs.ext4 -q -L whole "$D0"; udevadm settle`, `refusing to partition "/run/ignition/dev_aliases$D0": it holds ext4 as a whole, label "whole"`},
		{"FAT on the whole disk", `mkfs.vfat -I -n WHOLE "$D0"; udevadm settle`, `refusing to partition "/run/ignition/dev_aliases$D0": it holds vfat as a whole, label "WHOLE"`},
	} {
		cases = append(cases, Case{
			Name: row.name, Disks: []int{0}, Before: row.before, Stages: disksOnly, Fails: "disks", Keep: []string{"$D0"}, Slow: row.name != "both copies spoiled",
			Config: partitioned(`{"number": 2, "label": "two", "sizeMiB": 50}`),
			Error:  []string{"create partitions failed: ", row.text, "the failing config entry is $.storage.disks.0"},
		})
	}
	for _, row := range []struct{ name, sector, damaged string }{
		{"primary header spoiled", "1", "primary"}, {"primary entries spoiled", "2", "primary"},
		{"backup header spoiled", "2097151", "backup"}, {"backup entries spoiled", "2097119", "backup"},
	} {
		cases = append(cases, Case{
			Name: row.name, Disks: []int{0}, Before: spoil(row.sector), Stages: disksOnly, Again: true, Slow: true,
			Config: partitioned(`{"number": 2, "label": "two", "sizeMiB": 50}`, `{"number": 1, "label": "one"}`),
			After:  showTable + `table "$D0"; sgdisk -v "$D0" | grep -c '^No problems found'`,
			Want:   "1 2048 204800 one\n2 206848 102400 two\n1",
			Check: func(t *testing.T, r Result) {
				if want := "the " + row.damaged + " copy of the partition table of"; !strings.Contains(r.Output(), want) {
					t.Errorf("the log lacks %q", want)
				}
			},
		})
	}
	runCases(t, append(cases, grownCases...))
}

// smallImage puts the ends of an image of 512 MiB onto a disk of 1024.
const smallImage = `truncate -s 512M "$CASE/image"; sgdisk -n 1:1M:+100M -c 1:one "$CASE/image"
for at in 0 511; do dd if="$CASE/image" of="$D0" bs=1M skip=$at seek=$at count=1 conv=fsync; done; udevadm settle
dd if=/dev/urandom of="$CASE/data" bs=1M count=1; dd if="$CASE/data" of="${D0}1" conv=fsync; udevadm settle
`

var grownCases = []Case{
	{
		Name:   "disk that grew, filled",
		Disks:  []int{0},
		Before: smallImage,
		Config: partitioned(`{"number": 2, "label": "rest", "sizeMiB": 0}`),
		Stages: disksOnly,
		Keep:   []string{"${D0}1"},
		After:  showTable + `table "$D0"; sgdisk -v "$D0" | grep -c '^No problems found'`,
		Want:   "1 2048 204800 one\n2 206848 1890271 rest\n1",
		Again:  true,
		Slow:   true,
	},
	{
		Name:   "disk that grew, last partition resized",
		Disks:  []int{0},
		Before: smallImage,
		Config: partitioned(`{"number": 1, "sizeMiB": 0, "resize": true}`),
		Stages: disksOnly,
		After:  sameData + showTable + `table "$D0"; sgdisk -v "$D0" | grep -c '^No problems found'`,
		Want:   "1 2048 2095071 one\n1",
		Again:  true,
		Slow:   true,
	},
	{
		Name:   "disk that grew, beyond the old end",
		Disks:  []int{0},
		Before: smallImage,
		Config: partitioned(`{"label": "far", "startMiB": 600, "sizeMiB": 100}`),
		Stages: disksOnly,
		Keep:   []string{"${D0}1"},
		After:  showTable + `table "$D0"`,
		Want:   "1 2048 204800 one\n2 1228800 204800 far",
		Again:  true,
		Slow:   true,
	},
	{
		Name:   "disk that grew, nothing to do",
		Disks:  []int{0},
		Before: smallImage,
		Config: partitioned(`{"number": 1, "label": "one", "startMiB": 1, "sizeMiB": 100}`),
		Stages: disksOnly,
		Keep:   []string{"$D0"},
		Slow:   true,
	},
}

// mapped is a disk of the device mapper as multipath makes it: its partitions
// are maps that udev's rules let kpartx make.
const mapped = `dmsetup create mpatha --uuid mpath-test --table "0 2097152 linear $D0 0"; udevadm settle
`

func TestMappedDisk(t *testing.T) {
	const two = mapped + `sgdisk -n 1:1M:+100M -c 1:one -n 2:101M:+100M -c 2:two /dev/mapper/mpatha; udevadm trigger --settle /dev/mapper/mpatha; udevadm settle
readlink -f /dev/disk/by-id/dm-name-mpatha-part2; mkfs.ext4 -q /dev/mapper/mpatha-part1; mkdir "$CASE/m"; mount -o ro /dev/mapper/mpatha-part1 "$CASE/m"
`
	const maps = `udevadm settle; for m in $(dmsetup ls | cut -f1 | sort); do echo $m $(dmsetup table $m | cut -d' ' -f 2,3,5); done`
	runCases(t, []Case{
		{
			Name:    "blank",
			Disks:   []int{0},
			Before:  mapped,
			Between: mapped,
			Config: `{"ignition": {"version": "3.4.0"}, "storage": {
"disks": [{"device": "/dev/mapper/mpatha", "partitions": [{"number": 1, "label": "one", "sizeMiB": 100}, {"label": "rest"}]}],
"filesystems": [{"device": "/dev/disk/by-partlabel/rest", "format": "ext4"}]}}`,
			Stages: disksOnly,
			After:  maps + `; blkid -p -o value -s TYPE /dev/disk/by-id/dm-name-mpatha-part2`,
			Want:   "mpatha 2097152 linear 0\nmpatha-part1 204800 linear 2048\nmpatha-part2 1890271 linear 206848\next4",
			Again:  true,
		},
		{
			Name:   "beside a mounted map",
			Disks:  []int{0},
			Before: two,
			Config: partitionedOn("/dev/disk/by-id/dm-name-mpatha", "", `{"number": 2, "sizeMiB": 200, "resize": true}`, `{"number": 3, "label": "three", "sizeMiB": 10}`),
			Stages: disksOnly,
			Keep:   []string{"/dev/mapper/mpatha-part1"},
			After:  maps,
			Want:   "mpatha 2097152 linear 0\nmpatha-part1 204800 linear 2048\nmpatha-part2 409600 linear 206848\nmpatha-part3 20480 linear 616448",
			Slow:   true,
		},
		{
			Name:   "deleted beside a mounted map",
			Disks:  []int{0},
			Before: two,
			Config: partitionedOn("/dev/mapper/mpatha", "", `{"number": 2, "shouldExist": false, "wipePartitionEntry": true}`),
			Stages: disksOnly,
			Keep:   []string{"/dev/mapper/mpatha-part1"},
			After:  maps,
			Want:   "mpatha 2097152 linear 0\nmpatha-part1 204800 linear 2048",
			Slow:   true,
		},
		{
			Name:   "mounted map",
			Disks:  []int{0},
			Before: two,
			Config: partitionedOn("/dev/mapper/mpatha", "", `{"number": 1, "sizeMiB": 50, "resize": true}`),
			Stages: disksOnly,
			Fails:  "disks",
			Error:  []string{`refusing to modify active partition 1 on "/run/ignition/dev_aliases/dev/mapper/mpatha": it is mounted at "$CASE/m"`},
			Keep:   []string{"/dev/mapper/mpatha", "/dev/mapper/mpatha-part1"},
			Slow:   true,
		},
		{
			Name:   "as a whole held by another map",
			Disks:  []int{0},
			Before: mapped + `dmsetup create over --table "0 2048 linear /dev/mapper/mpatha 4096"; udevadm settle`,
			Config: partitionedOn("/dev/mapper/mpatha", "", `{"number": 1, "sizeMiB": 50}`),
			Stages: disksOnly,
			Fails:  "disks",
			Error:  []string{"refusing to operate on directly active disk", "held by dm-"},
			Keep:   []string{"$D0"},
			Slow:   true,
		},
		{
			Name:   "a map of another shape",
			Disks:  []int{0},
			Before: mapped,
			Vars:   instead(map[string]string{"dmsetup": `if [[ $1 == table ]]; then echo 0 20480 striped 1 128 254:0 2048; else real "$@"; fi`}),
			Config: partitionedOn("/dev/mapper/mpatha", "", `{"number": 1, "sizeMiB": 10}`),
			Stages: disksOnly,
			Fails:  "disks",
			Error:  []string{`failed to get DM table for "`, `unexpected dmsetup table output for "`, `0 20480 striped 1 128 254:0 2048`},
			Slow:   true,
		},
	})
}

// healed runs the stage again with all programs as they are.
func healed(t *testing.T, r Result, want string) {
	t.Helper()
	s := r.env.with("PATH", os.Getenv("PATH")).stage(t, "disks")
	if s.Code != 0 {
		t.Errorf("the next run failed with status %d:\n%s", s.Code, s.Output)
	}
	if got := r.Sh(t, showTable+`table "$D0"`); got != want {
		t.Errorf("after the next run the table is\n%s\nwant\n%s", got, want)
	}
}

// TestKernelView is about a kernel that does not see what was written.
func TestKernelView(t *testing.T) {
	const two = `sgdisk -n 1:1M:+100M -c 1:one -n 2:101M:+100M -c 2:two "$D0"; udevadm settle
`
	const busy = two + `mkfs.ext4 -q "${D0}1"; mkdir "$CASE/m"; mount -o ro "${D0}1" "$CASE/m"`
	blind := instead(map[string]string{"partx": `echo no >&2; exit 1`})
	row := func(name, entry, text, next string) Case {
		return Case{
			Name: name, Disks: []int{0}, Before: busy, Vars: blind, Config: partitioned(entry), Stages: disksOnly, Fails: "disks",
			Error: []string{"create partitions failed: ", text, "the failing config entry is $.storage.disks.0"}, Keep: []string{"${D0}1"}, Slow: true,
			Check: func(t *testing.T, r Result) { healed(t, r, next) },
		}
	}
	pretend := func(name, lines, text string) Case {
		return Case{
			Name: name, Disks: []int{0}, Vars: instead(map[string]string{"sgdisk": lines}), Stages: disksOnly, Keep: []string{"$D0"}, Slow: true,
			Config: partitioned(`{"number": 1, "sizeMiB": 10}`, `{"number": 2}`), Fails: "disks", Error: []string{text},
		}
	}
	runCases(t, []Case{
		{
			Name:   "partx fails and is not needed",
			Disks:  []int{0},
			Before: two,
			Vars:   blind,
			Config: partitioned(`{"number": 1, "shouldExist": false, "wipePartitionEntry": true}`, `{"number": 2, "sizeMiB": 50, "resize": true}`, `{"number": 3, "sizeMiB": 10}`),
			Stages: disksOnly,
			After:  showTable + `table "$D0"`,
			Want:   "2 206848 102400 two\n3 309248 20480",
			Check: func(t *testing.T, r Result) {
				if !strings.Contains(r.Output(), `exit status 1: Cmd: "partx"`) {
					t.Error("partx did not fail")
				}
			},
			Slow: true,
		},
		row("old size", `{"number": 2, "sizeMiB": 150, "resize": true}`,
			`kernel partition size for "${D0}2" does not match expected (204800 != 307200 512-byte sectors)`, "1 2048 204800 one\n2 206848 307200 two"),
		row("old start", `{"number": 2, "startMiB": 201, "sizeMiB": 100, "wipePartitionEntry": true}`,
			`kernel partition start for "${D0}2" does not match expected (206848 != 411648 512-byte sectors)`, "1 2048 204800 one\n2 411648 204800"),
		row("deleted and still there", `{"number": 2, "shouldExist": false, "wipePartitionEntry": true}`,
			`"${D0}2" unexpectedly exists after partitioning`, "1 2048 204800 one"),
		row("added and not there", `{"number": 3, "label": "three", "sizeMiB": 10}`,
			`failed to resolve "${D0}3"`, "1 2048 204800 one\n2 206848 204800 two\n3 411648 20480 three"),
		pretend("sgdisk says too little", `if [[ $1 == --pretend ]]; then real "$@" | grep -v '^Last'; else real "$@"; fi`, "sgdisk had unexpected output"),
		pretend("sgdisk says too much", `real "$@"; if [[ $1 == --pretend ]]; then real "$@"; fi`, "sgdisk had unexpected output"),
		pretend("sgdisk would do something else", `if [[ $1 == --pretend ]]; then real "$@" | sed 's/^First sector: 2048 /First sector: 4096 /'; else real "$@"; fi`,
			"sgdisk would put partition 1 of"),
	})
}

// TestDeviceMissing has devices that never come, in each section.
func TestDeviceMissing(t *testing.T) {
	var cases []Case
	const device = `"/dev/disk/by-id/absent disk"`
	for _, row := range []struct{ what, section, path string }{
		{"disks", `"disks": [{"device": "$D0"}, {"device": ` + device + `}, {"device": "/dev/nowhere"}]`, "disks.1.device"},
		{"raids", `"raid": [{"name": "x", "level": "raid1", "devices": ["$D0", ` + device + `]}]`, "raid.0.devices.1"},
		{"luks", `"luks": [{"name": "x", "device": ` + device + `}]`, "luks.0.device"},
		{"filesystems", `"filesystems": [{"device": ` + device + `, "format": "ext4"}]`, "filesystems.0.device"},
	} {
		cases = append(cases, Case{
			Name: row.what, Disks: []int{0}, Stages: disksOnly, Fails: "disks", Keep: []string{"$D0"}, Slow: row.what != "disks",
			Config: `{"ignition": {"version": "3.4.0"}, "storage": {` + row.section + `}}`,
			Error: []string{"failed to wait on " + row.what + ` devs: device unit dev-disk-by\x2did-absent\x20disk.device timeout`,
				"the failing config entry is $.storage." + row.path + `: no device "/dev/disk/by-id/absent disk" appeared`},
			Within: 25 * time.Second, // DefaultDeviceTimeoutSec of the guest is 15
		})
	}
	cases[0].Error = append(cases[0].Error, "device unit dev-nowhere.device timeout")
	runCases(t, cases)
}

// secluded runs the stage with no program to be found and with systemd's bus hidden.
func secluded(t *testing.T, r Result) string {
	t.Helper()
	return r.Sh(t, `unshare -m bash -c 'mount --bind /dev/null /run/systemd/private
PATH=/nonexistent IGNITION_CONFIG_FILE=$CASE/config.ign exec "$IGNITION" --platform=file --stage=disks --root="$CASE/sysroot" --log-to-stdout' || echo "exit status $?"`)
}

func TestDevices(t *testing.T) {
	runCases(t, []Case{
		{
			Name:   "nothing to do starts nothing",
			Disks:  []int{0},
			Config: `{"ignition": {"version": "3.4.0"}, "storage": {"disks": [], "files": [{"path": "/etc/x"}]}}`,
			Stages: []string{"fetch"},
			Check: func(t *testing.T, r Result) {
				out := secluded(t, r)
				if !strings.Contains(out, "disks passed") || strings.Contains(out, "executing") || strings.Contains(out, "waiting") || strings.Contains(out, "exit status") {
					t.Errorf("the stage did something:\n%s", out)
				}
			},
		},
		{
			Name:   "without systemd's bus",
			Disks:  []int{0},
			Config: partitioned(`{"number": 1}`),
			Stages: []string{"fetch"},
			Check: func(t *testing.T, r Result) {
				if out := secluded(t, r); !strings.Contains(out, "connecting to systemd") || !strings.Contains(out, "exit status 1") {
					t.Errorf("the stage did not fail for want of the bus:\n%s", out)
				}
			},
			Slow: true,
		},
		{
			Name:  "a link that is away for a moment",
			Disks: []int{0},
			Before: `rm "$ID0"
(until pgrep -f -- --stage=disks; do :; done; sleep 1; ln -s "$D0" "$ID0") >/dev/null 2>&1 </dev/null &`,
			Config: partitionedOn("$ID0", "", `{"number": 1, "label": "one"}`),
			Stages: disksOnly,
			After:  showTable + `table "$D0"`,
			Want:   "1 2048 2095071 one",
			Slow:   true,
		},
		{
			Name:  "a link that means another device by then",
			Disks: []int{0, 1},
			// The last thing of the first sub-step: udev has seen what was written.
			Vars: instead(map[string]string{"udevadm": `real "$@"; ln -sfn "$D1" "$ID0"`}),
			Config: `{"ignition": {"version": "3.4.0"}, "storage": {"disks": [{"device": "$ID0", "wipeTable": true}],
"filesystems": [{"device": "$ID0", "format": "ext4", "label": "moved", "wipeFilesystem": true}]}}`,
			Stages: disksOnly,
			Keep:   []string{"$D0"},
			After:  `blkid -p -o value -s LABEL "$D1"; ln -sfn "$D0" "$ID0"`,
			Want:   "moved",
			Slow:   true,
		},
	})
}
