// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"strings"
	"testing"
)

// array is a config with one array of the first disks.
func array(fields string, devices ...string) string {
	return spec34 + `"storage":{"raid":[{"name":"data",` + fields + `,"devices":["` + strings.Join(devices, `","`) + `"]}]}}`
}

// mirror makes the array that the cases begin with, and leaves it stopped.
const mirror = `mdadm --create /dev/md/data --run --homehost any --level raid1 --raid-devices 2 "$D0" "$D1" 2>/dev/null; udevadm settle
mkfs.ext4 -q -L inside /dev/md/data; mdadm --wait /dev/md/data || true; mdadm --stop /dev/md/data 2>/dev/null; udevadm settle`

var raidCases = []Case{
	{
		Name: "a mirror with spares and options", Disks: []int{0, 1, 2}, Stages: disksOnly,
		Config: array(`"level":"raid1","spares":1,"options":["--metadata=1.0"]`, "$D0", "$D1", "$D2"),
		Check: func(t *testing.T, r Result) {
			want := `executing: "mdadm" "--create" "data" "--force" "--run" "--homehost" "any" "--level" "raid1" "--raid-devices" "2" "--spare-devices" "1" "--metadata=1.0" "/run/ignition/dev_aliases`
			if !strings.Contains(r.Output(), want) {
				t.Errorf("the log lacks %s", want)
			}
			if m := r.Mdadm(t, "/dev/md/data"); m["MD_LEVEL"] != "raid1" || m["MD_DEVICES"] != "2" || m["MD_METADATA"] != "1.0" || m["MD_NAME"] != "any:data" {
				t.Errorf("mdadm shows %v", m)
			}
		},
		Again: true,
	},
	{
		Name: "a name that is a path", Disks: []int{0, 1}, Stages: disksOnly, Slow: true,
		Config: strings.Replace(array(`"level":"stripe"`, "$D0", "$D1"), `"data"`, `"/dev/md/path"`, 1),
		After:  `mdadm --detail --export /dev/md/path | grep LEVEL`, Want: "MD_LEVEL=raid0", Again: true,
	},
	{
		Name: "an array that is there, stopped, is started", Disks: []int{0, 1}, Before: mirror, Stages: disksOnly,
		Config: `{"ignition":{"version":"3.4.0"},"storage":{"raid":[{"name":"data","level":"mirror","devices":["$D0","$D1"]}],"filesystems":[{"device":"/dev/md/data","format":"ext4","label":"inside"}]}}`,
		After:  `blkid -p -o value -s LABEL /dev/md/data`, Want: "inside",
		Check: func(t *testing.T, r Result) {
			if strings.Contains(r.Output(), "--create") {
				t.Error("the array was made again")
			}
		},
		Again: true,
	},
	mirrorRefused("another level", `"level":"raid0"`, `array "data" has another level (specified "raid0", got "raid1")`),
	mirrorRefused("another metadata version", `"level":"raid1","options":["--metadata=1.0"]`, `array "data" has another metadata version (specified "1.0", got "1.2")`),
	{
		Name: "another number of devices is refused", Disks: []int{0, 1, 2}, Before: mirror, Keep: []string{"$D0", "$D1", "$D2"}, Stages: disksOnly, Fails: "disks", Slow: true,
		Config: array(`"level":"raid1"`, "$D0", "$D1", "$D2"), Error: []string{`array "data" exists on some of its devices only; $D2 are not part of it`, "$.storage.raid.0"},
	},
	{
		Name: "superblocks of another array are overwritten", Slow: true, Disks: []int{0, 1}, Before: mirror, Stages: disksOnly,
		Config: strings.Replace(array(`"level":"raid1"`, "$D0", "$D1"), `"data"`, `"other"`, 1),
		After:  `mdadm --detail --export /dev/md/other | grep NAME=`, Want: "MD_DEVNAME=other\nMD_NAME=any:other",
		Check: func(t *testing.T, r Result) {
			if !strings.Contains(r.Output(), `WARNING  : disks: createRaids: "`+r.env.expand("$D0")+`" was a member of the array "data"; it is overwritten`) {
				t.Error("there is no warning")
			}
		},
	},
	{
		Name: "a member in use is refused before a disk is changed", Disks: []int{0, 1, 2}, Stages: disksOnly, Fails: "disks", Keep: []string{"$D2"},
		Before: `mkfs.ext4 -q "$D1"; mkdir "$CASE/m"; mount "$D1" "$CASE/m"`,
		Config: spec34 + `"storage":{"disks":[{"device":"$D2","wipeTable":true,"partitions":[{"label":"x"}]}],"raid":[{"name":"data","level":"raid1","devices":["$D0","$D1"]}]}}`,
		Error:  []string{`refusing to make an array of "/run/ignition/dev_aliases$D1": it is mounted at`, "$.storage.raid.0.devices.1"}, After: `umount "$CASE/m"; fsck.ext4 -fn "$D1" >/dev/null`,
	},
	{
		Name: "mdadm fails, and nothing is done after it", Disks: []int{0, 1, 2}, Stages: disksOnly, Fails: "disks", Keep: []string{"$D2"}, Slow: true,
		Config: spec34 + `"storage":{"raid":[{"name":"data","level":"raid1","options":["--no-such-option"],"devices":["$D0","$D1"]}],"luks":[{"name":"v","device":"$D2"}]}}`,
		Error:  []string{"failed to create raids: mdadm failed: exit status 2: Cmd:", "$.storage.raid.0"},
	},
}

// mirrorRefused is an array of the config's name that is another one.
func mirrorRefused(name, fields, why string) Case {
	return Case{
		Name: name + " is refused", Disks: []int{0, 1}, Before: mirror, Keep: []string{"$D0", "$D1"}, Stages: disksOnly, Fails: "disks", Slow: name != "another level",
		Config: array(fields, "$D0", "$D1"), Error: []string{why, "$.storage.raid.0"},
	}
}

func TestRAID(t *testing.T) { runCases(t, raidCases) }
