// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// onDisks is a config with filesystems, the n-th on $Dn.
func onDisks(list ...string) string {
	for i := range list {
		if !strings.Contains(list[i], `"device"`) {
			list[i] = fmt.Sprintf(`{"device":"$D%d",%s}`, i, list[i])
		}
	}
	return `{"ignition":{"version":"3.7.0-experimental"},"storage":{"filesystems":[` + strings.Join(list, ",") + `]}}`
}

const fsUUID = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee"

// oneOfEach makes one filesystem of each format, with names.
const oneOfEach = `mkfs.ext4 -q -L e "$D0"; mkfs.btrfs -q -L b "$D1"; mkfs.xfs -q -L x "$D2"; mkfs.fat -n V -i a1b2c3d4 "$D3" >/dev/null; mkswap -q -L s "$D4"`

var filesystemCases = []Case{
	{
		Name: "each format on blank disks", Disks: []int{0, 1, 2, 3, 4}, Stages: disksOnly,
		Config: onDisks(`"format":"ext4","label":"e","uuid":"`+strings.ToUpper(fsUUID)+`","options":["-b","1024"]`, `"format":"btrfs","label":"b","uuid":"`+fsUUID[:35]+`b"`,
			`"format":"xfs","label":"x","uuid":"`+fsUUID[:35]+`c"`, `"format":"vfat","label":"V","uuid":"A1B2-C3D4"`, `"format":"swap","label":"s","uuid":"`+fsUUID[:35]+`d"`),
		After: `for d in $DISKS; do blkid -p -o value -s TYPE -s LABEL -s UUID "$d" | sort | xargs; done; ls -l /dev/disk/by-label | grep -c ' [ebxVs] -> '; dumpe2fs -h "$D0" 2>/dev/null | grep 'Block size'`,
		Want:  "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee e ext4\naaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeeb b btrfs\naaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeec x xfs\nA1B2-C3D4 V vfat\naaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeed s swap\n5\nBlock size:               1024",
		Again: true,
	},
	{
		Name: "each format is kept", Disks: []int{0, 1, 2, 3, 4}, Before: oneOfEach, Stages: disksOnly, Slow: true, Keep: []string{"$D0", "$D1", "$D2", "$D3", "$D4"},
		Config: onDisks(`"format":"ext4","label":"e"`, `"format":"btrfs","label":""`, `"format":"xfs"`, `"format":"vfat","uuid":"a1b2c3d4"`, `"format":"swap","label":"s","uuid":""`),
		Check: func(t *testing.T, r Result) {
			if n := strings.Count(r.Output(), "is already correctly formatted. Skipping mkfs..."); n != 5 {
				t.Errorf("%d filesystems are said to be kept, want 5", n)
			}
		},
	},
	{
		Name: "each format is wiped", Disks: []int{0, 1, 2, 3, 4}, Before: oneOfEach, Stages: disksOnly, Slow: true,
		Config: onDisks(`"format":"btrfs","wipeFilesystem":true`, `"format":"btrfs","wipeFilesystem":true,"label":"b"`, `"format":"vfat","wipeFilesystem":true`, `"format":"swap","wipeFilesystem":true`, `"format":"none","wipeFilesystem":true`),
		After:  `for d in $DISKS; do blkid -p -o value -s TYPE "$d" || echo "nothing"; done; test "$(readlink -f /dev/disk/by-label/b)" = "$D1"`,
		Want:   "btrfs\nbtrfs\nvfat\nswap\nnothing",
	},
	notOfType("another format", `mkfs.xfs -q -L x "$D0"`, `"format":"ext4"`, `(found xfs, "x", `),
	notOfType("another label", `mkfs.ext4 -q -L x "$D0"`, `"format":"ext4","label":"y"`, `(found ext4, "x", `),
	notOfType("another UUID", `mkfs.ext4 -q "$D0"`, `"format":"ext4","uuid":"`+fsUUID+`"`, `(found ext4, "", `),
	notOfType("none on something", `mkfs.ext4 -q "$D0"`, `"format":"none"`, `(found ext4, `),
	notOfType("a RAID member", `mdadm --create /dev/md/x --run --homehost any --level raid1 --force --raid-devices 1 "$D0" 2>/dev/null; udevadm settle; mdadm --stop /dev/md/x 2>/dev/null`, `"format":"ext4"`, `(found linux_raid_member, `),
	notOfType("LUKS", luksBefore, `"format":"ext4"`, `(found crypto_LUKS, "old", `),
	notOfType("swap", `mkswap -q "$D0"`, `"format":"ext4"`, `(found swap, `),
	{
		Name: "none and empty formats on nothing", Disks: []int{0, 1, 2}, Stages: disksOnly, Keep: []string{"$D0", "$D1", "$D2"}, Slow: true,
		Config: `{"ignition":{"version":"3.7.0-experimental"},"storage":{"filesystems":[{"device":"$D0","format":"none"},{"device":"$D1","format":""},{"device":"$D2"},{"device":"a tag","format":"virtiofs"}]}}`,
	},
	{
		Name: "several signatures: a warning, and the strongest counts", Disks: []int{0, 1}, Stages: disksOnly, Slow: true,
		Before: `for d in $D0 $D1; do mkfs.ext4 -q -L e "$d"; printf '_BHRfS_M' | dd of="$d" bs=1 seek=65600 conv=notrunc status=none; done; blkid -p "$D0" && exit 1; true`,
		Config: onDisks(`"format":"ext4","label":"e"`, `"format":"xfs","wipeFilesystem":true`),
		After:  `wipefs -n "$D1" | grep -c btrfs || true; blkid -p -o value -s TYPE "$D1"`, Want: "0\nxfs",
		Check: func(t *testing.T, r Result) {
			if !strings.Contains(r.Output(), "found multiple filesystem types") {
				t.Error("there is no warning")
			}
		},
	},
	{
		Name: "two of three fail, and both are named", Disks: []int{0, 1, 2}, Stages: disksOnly, Fails: "disks", Within: time.Minute,
		Config: onDisks(`"format":"ext4","options":["--no-such-option"]`, `"format":"xfs"`, `"format":"vfat","options":["-F","99"]`),
		Error:  []string{"failed to create filesystems: mkfs failed: exit status", `Cmd: "mkfs.ext4" "--no-such-option" "-F"`, `Cmd: "mkfs.fat" "-F" "99"`, "the failing config entry is $.storage.filesystems."},
		After:  `blkid -p -o value -s TYPE "$D1"`, Want: "xfs",
	},
	{
		Name: "a disk with partitions is refused", Disks: []int{0}, Before: `sgdisk -n 1:0:0 "$D0" >/dev/null; udevadm settle`, Keep: []string{"$D0"}, Stages: disksOnly, Fails: "disks",
		Config: onDisks(`"format":"ext4"`), Error: []string{`refusing to format "/run/ignition/dev_aliases$D0": it has a partition table with 1 partitions`, "$.storage.filesystems.0.device"},
	},
	{
		Name: "a disk with partitions is wiped when that is asked for", Disks: []int{0}, Before: `sgdisk -n 1:0:0 "$D0" >/dev/null; udevadm settle`, Stages: disksOnly, Slow: true,
		Config: onDisks(`"format":"ext4","wipeFilesystem":true`), After: `blkid -p -o value -s TYPE "$D0"`, Want: "ext4",
	},
	{
		Name: "a mounted filesystem is not formatted", Disks: []int{0}, Before: `mkfs.ext4 -q "$D0"; mkdir "$CASE/m"; mount "$D0" "$CASE/m"; echo x >"$CASE/m/f"`, Stages: disksOnly, Fails: "disks", Slow: true,
		Config: onDisks(`"format":"ext4","wipeFilesystem":true`), Error: []string{"refusing to format", "it is mounted at"}, After: `umount "$CASE/m"; fsck.ext4 -fn "$D0" >/dev/null`,
	},
	{
		Name: "OEM of another format is kept and mounted", Disks: []int{0}, Before: `mkfs.btrfs -q -L OEM "$D0"; udevadm trigger --settle "$D0"`, Root: `mkdir -p "$CASE/sysroot/usr/share" "$CASE/sysroot/oem"; ln -s ../../oem "$CASE/sysroot/usr/share/oem"`,
		Config: `{"ignition":{"version":"3.4.0"},"storage":{"filesystems":[{"device":"/dev/disk/by-label/OEM","format":"ext4","path":"/usr/share/oem"}],"files":[{"path":"/oem/f","overwrite":true,"contents":{"source":"data:,oem"}}]}}`,
		After:  `mkdir "$CASE/m"; mount "$D0" "$CASE/m"; findmnt -no FSTYPE "$CASE/m"; cat "$CASE/m/f"; umount "$CASE/m"`, Want: "btrfs\noem",
	},
	{
		Name: "OEM is wiped when that is asked for", Disks: []int{0}, Before: `mkfs.btrfs -q -L OEM "$D0"; udevadm trigger --settle "$D0"`, Stages: disksOnly, Slow: true,
		Config: onDisks(`"format":"ext4","label":"OEM","wipeFilesystem":true`), After: `blkid -p -o value -s TYPE "$D0"`, Want: "ext4",
	},
	{
		Name: "nested mounts, files below them, and all is unmounted", Disks: []int{0, 1, 2},
		Config: `{"ignition":{"version":"3.4.0"},"storage":{"filesystems":[
			{"device":"$D1","format":"xfs","path":"/var/lib","mountOptions":["noatime"]},{"device":"$D0","format":"ext4","path":"/var"},{"device":"$D2","format":"vfat","path":"/boot/efi"}],
			"files":[{"path":"/var/a","overwrite":true,"contents":{"source":"data:,a"}},{"path":"/var/lib/b","overwrite":true,"mode":384,"contents":{"source":"data:,b"}},{"path":"/boot/efi/c","overwrite":true,"contents":{"source":"data:,c"}}]}}`,
		After: `findmnt -rno TARGET | grep -c "$CASE" || true; mkdir "$CASE/m"; for d in $D0 $D1 $D2; do mount "$d" "$CASE/m"; (cd "$CASE/m"; find . -type f | sort | while read -r f; do echo "$f $(cat "$f")"; done); umount "$CASE/m"; done; find "$CASE/sysroot" -type f -name '[abc]'`,
		Want:  "0\n./a a\n./b b\n./c c",
	},
}

// notOfType is a device that holds something that nothing permits to destroy.
func notOfType(name, before, fields, found string) Case {
	return Case{
		Name: name + " is refused", Disks: []int{0}, Before: before, Keep: []string{"$D0"}, Stages: disksOnly, Fails: "disks", Slow: name != "another format",
		Config: onDisks(fields),
		Error: []string{`filesystem at "$D0" is not of the correct type, label, or UUID ` + found, "and a filesystem wipe was not requested",
			"failed to create filesystems: filesystem is not of the correct type", "$.storage.filesystems.0"},
	}
}

func TestFilesystems(t *testing.T) { runCases(t, filesystemCases) }
