// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"regexp"
	"strings"
	"testing"
	"time"
)

// faulty gives a case what every fault asks for: an end in time, with a cause
// that has a name, and no panic.
func faulty(c Case) Case {
	c.Stages = disksOnly
	c.Fails = "disks"
	c.Within = time.Minute
	check := c.Check
	c.Check = func(t *testing.T, r Result) {
		noPanic(t, r)
		if check != nil {
			check(t, r)
		}
	}
	return c
}

func noPanic(t *testing.T, r Result) {
	t.Helper()
	if m := regexp.MustCompile(`(?m)^.*(panic:|goroutine ).*$`).FindString(r.Output()); m != "" {
		t.Errorf("the program panicked: %s", m)
	}
	if !strings.Contains(r.Output(), "the failing config entry is $.storage.") {
		t.Error("the log does not say which entry of the config failed")
	}
}

// beside makes two partitions, the first with data that must stay, the second
// to put something faulty on.
const beside = `sgdisk -n 1:1M:+16M -c 1:data -n 2:32M:+512M -c 2:work "$D0"; udevadm settle
dd if=/dev/urandom of="${D0}1" bs=1M count=16 conv=fsync
`

// onBad formats the faulty device of the case.
func onBad(format string) string {
	return `{"ignition": {"version": "3.4.0"}, "storage": {"filesystems": [{"device": "/dev/mapper/bad", "format": "` + format + `"}]}}`
}

// bad is a device on the second partition whose sectors from one to another
// (exclusive) cannot be read or written.
func bad(from, to string) string {
	return beside + `size=$(blockdev --getsz "${D0}2"); from=$((` + from + `)) to=$((` + to + `))
{
  if ((from > 0)); then echo "0 $from linear ${D0}2 0"; fi
  echo "$from $((to - from)) error"
  if ((to < size)); then echo "$to $((size - to)) linear ${D0}2 $to"; fi
} | dmsetup create bad; udevadm settle
`
}

// TestBadSectors has devices with sectors that give EIO.
func TestBadSectors(t *testing.T) {
	cases := []Case{
		{
			Name:   "the first one",
			Before: bad("0", "8"),
			Config: onBad("ext4"),
			Error:  []string{`querying filesystem field "TYPE" of "/run/ignition/dev_aliases/dev/mapper/bad": failed to probe: reading at byte 0: `, "input/output error"},
			Keep:   []string{"$D0"},
		},
		{
			Name:   "the last one",
			Before: bad("size - 8", "size"),
			Config: onBad("ext4"),
			Error:  []string{`querying filesystem field "TYPE" of "/run/ignition/dev_aliases/dev/mapper/bad": failed to probe: reading at byte `, "input/output error"},
			Keep:   []string{"$D0"},
		},
		{
			Name:   "in the middle, below LUKS",
			Before: bad("512", "65536"),
			Config: `{"ignition": {"version": "3.4.0"}, "storage": {"luks": [{"name": "vault", "device": "/dev/mapper/bad", "keyFile": {"source": "data:,pass"},
"options": ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"]}]}}`,
			Error: []string{"failed to create luks: ", "cryptsetup failed: "},
			Keep:  []string{"${D0}1"},
			After: `! test -e /dev/mapper/vault`,
		},
		{
			Name:   "in the superblock of RAID",
			Before: bad("8", "16"),
			Config: `{"ignition": {"version": "3.4.0"}, "storage": {"raid": [{"name": "md0", "level": "raid1", "devices": ["/dev/mapper/bad", "$D1"]}]}}`,
			Error:  []string{"mdadm"},
			Keep:   []string{"${D0}1"},
		},
	}
	for _, format := range []string{"ext4", "xfs"} {
		cases = append(cases, Case{
			Name:   "in the middle, below " + format,
			Before: bad("131072", "917504"),
			Config: onBad(format),
			Error:  []string{"failed to create filesystems: mkfs failed: exit status ", "the failing config entry is $.storage.filesystems.0"},
			Keep:   []string{"${D0}1"},
		})
	}
	for i := range cases {
		cases[i] = faulty(cases[i])
		cases[i].Disks = []int{0, 1}
		cases[i].Slow = cases[i].Name != "the last one"
	}
	runCases(t, cases)
}

// badDisk is a disk of the device mapper with the same table as $D0 whose
// last 8 sectors give EIO; a table of partitions can be there before.
const badDisk = `dmsetup create bad --uuid mpath-bad <<END
0 2097144 linear $D0 0
2097144 8 error
END
udevadm settle
`

// TestBadDisk has faults of a disk that is to be partitioned.
func TestBadDisk(t *testing.T) {
	config := partitionedOn("/dev/mapper/bad", "", `{"number": 3, "label": "three", "sizeMiB": 10}`)
	cases := []Case{
		{
			Name:   "blank, last sector",
			Before: badDisk,
			Config: config,
			Error:  []string{`getting partition count of "/run/ignition/dev_aliases/dev/mapper/bad": `, "input/output error"},
			Keep:   []string{"$D0"},
		},
		{
			Name:   "with a table, last sector",
			Before: beside + badDisk,
			Config: config,
			Error:  []string{`"/run/ignition/dev_aliases/dev/mapper/bad"`},
			Keep:   []string{"${D0}1", "${D0}2"},
			After:  `partx -gro NR,START,SECTORS,NAME "$D0"`,
			Want:   "1 2048 32768 data\n2 65536 1048576 work",
		},
		{
			Name:   "writes fail",
			Before: beside + `dmsetup create bad --uuid mpath-bad --table "0 2097152 flakey $D0 0 0 3600 1 error_writes"; udevadm settle`,
			Config: config,
			Error:  []string{`create partitions failed: commit failure: "/run/ignition/dev_aliases/dev/mapper/bad" lost what was written to it: `, "the failing config entry is $.storage.disks.0"},
			Keep:   []string{"$D0", "${D0}1", "${D0}2"},
		},
		{
			Name:   "the table is torn off between the pretended and the real call",
			Before: beside + `dmsetup create bad --uuid mpath-bad --table "0 2097152 linear $D0 0"; udevadm settle`,
			Vars: instead(map[string]string{"sgdisk": `if [[ $1 != --pretend ]]; then
  dmsetup reload bad --table "0 2097152 error"; dmsetup resume --noudevsync bad
fi
real "$@"`}),
			Config: config,
			Error:  []string{"create partitions failed: commit failure: ", "the failing config entry is $.storage.disks.0"},
			Keep:   []string{"${D0}1", "${D0}2"},
			After:  `partx -gro NR,START,SECTORS,NAME "$D0"`,
			Want:   "1 2048 32768 data\n2 65536 1048576 work",
		},
	}
	for i := range cases {
		cases[i] = faulty(cases[i])
		cases[i].Disks = []int{0}
		cases[i].Slow = cases[i].Name != "writes fail"
	}
	runCases(t, cases)
}

// TestVanishing has devices that go away while they are worked on.
func TestVanishing(t *testing.T) {
	tornOff := func(name, program, config, text string) Case {
		return faulty(Case{
			Name: name, Disks: []int{0}, Keep: []string{"${D0}1"}, Config: config, Error: []string{text}, Slow: true,
			Before: beside + `dmsetup create bad --table "0 $(blockdev --getsz "${D0}2") linear ${D0}2 0"; udevadm settle`,
			Vars: instead(map[string]string{program: `dmsetup reload bad --table "0 $(blockdev --getsz /dev/mapper/bad) error"
dmsetup resume --noudevsync bad; real "$@"`}),
		})
	}
	wiping := func(format string) string {
		return strings.Replace(onBad(format), `"format"`, `"wipeFilesystem": true, "format"`, 1)
	}
	runCases(t, []Case{
		tornOff("before ext4 is made", "mkfs.ext4", onBad("ext4"), "mkfs failed: exit status "),
		tornOff("before btrfs is made", "mkfs.btrfs", onBad("btrfs"), "mkfs failed: exit status "),
		tornOff("before swap is made", "mkswap", onBad("swap"), "mkfs failed: exit status "),
		// wipefs passes over what it cannot read
		tornOff("before signatures are wiped", "wipefs", wiping("ext4"), "mkfs failed: exit status "),
		tornOff("before signatures are wiped, with nothing made then", "wipefs", wiping("none"),
			`querying filesystem field "TYPE" of "/run/ignition/dev_aliases/dev/mapper/bad": failed to probe: reading at byte 0: `),
		unplugged("before the table is written", "sgdisk", `[[ $1 != --pretend ]]`,
			partitionedOn("$D0", "", `{"number": 3, "label": "three", "sizeMiB": 10}`), "create partitions failed: commit failure: "),
		unplugged("before the filesystem is made", "mkfs.ext4", `true`,
			`{"ignition": {"version": "3.4.0"}, "storage": {"filesystems": [{"device": "${D0}2", "format": "ext4"}]}}`, "mkfs failed: exit status "),
	})
}

// unplugged takes the whole disk from the bus when a program starts, and puts
// it back before anything else is looked at.
func unplugged(name, program, when, config, text string) Case {
	const plug = `echo 1 >/sys/bus/pci/rescan; udevadm settle; for try in 1 2 3 4 5; do if [[ -e $ID0 ]]; then break; fi; udevadm trigger --settle --action=add --subsystem-match=block; done; test -b "$D0"`
	c := faulty(Case{
		Name: name, Disks: []int{0, 1}, Before: beside + `dd if=/dev/urandom of="$D1" bs=1M count=8 conv=fsync`, Config: config, Error: []string{text}, Keep: []string{"$D1"},
		Slow: program != "sgdisk",
		Vars: func(t *testing.T) map[string]string {
			// Later cases want the disk, however this one ends.
			t.Cleanup(func() {
				newEnv(t, nil).must(t, "plugging the disk in again", `echo 1 >/sys/bus/pci/rescan; udevadm settle`)
			})
			return instead(map[string]string{program: `if ` + when + `; then echo 1 >"/sys/block/${D0#/dev/}/device/../remove"; fi; real "$@"`})(t)
		},
		After: plug + `; partx -gro NR,START,SECTORS,NAME "$D0"`,
		Want:  "1 2048 32768 data\n2 65536 1048576 work",
	})
	return c
}

// packed is a data URL of zeros that takes little room in the config.
func packed(t *testing.T, mib int) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for range mib {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return "data:;base64," + base64.StdEncoding.EncodeToString(b.Bytes())
}

// TestFullTarget has targets without room for what the config wants.
func TestFullTarget(t *testing.T) {
	blob := func(t *testing.T) map[string]string { return map[string]string{"BLOB": packed(t, 48)} }
	full := func(name, path string, c Case) Case {
		c.Name, c.Vars, c.Slow = name, blob, true
		c.Stages, c.Fails, c.Within = []string{"fetch", "disks", "mount", "files"}, "files", 2*time.Minute
		c.Error = []string{"no space left on device", path, "the failing config entry is $.storage.files.0"}
		c.Check = noPanic
		return c
	}
	const file = `"files": [{"path": "/data/big", "contents": {"compression": "gzip", "source": "$BLOB"}}]`
	runCases(t, []Case{
		full("a small filesystem", "/data/big", Case{
			Disks: []int{0},
			Config: `{"ignition": {"version": "3.4.0"}, "storage": {"disks": [{"device": "$D0", "partitions": [{"number": 1, "label": "small", "sizeMiB": 32}]}],
"filesystems": [{"device": "/dev/disk/by-partlabel/small", "path": "/data", "format": "ext4"}], ` + file + `}}`,
			After: `test -z "$(find "$CASE/sysroot/data" -name 'big*')"`,
		}),
		full("a small root", "/data/big", Case{
			Root:   `mount -t tmpfs -o size=8m tmpfs "$CASE/sysroot"; mkdir "$CASE/sysroot/etc"`,
			Config: `{"ignition": {"version": "3.4.0"}, "storage": {` + file + `}}`,
			After:  `test -z "$(find "$CASE/sysroot" -type f -name 'big*')"; umount "$CASE/sysroot"`,
		}),
	})
}
