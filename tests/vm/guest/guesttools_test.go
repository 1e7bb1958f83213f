// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"net"
	"strings"
	"testing"
)

// TestGuestTools shows that the kernel, the daemons and the tools that the
// disks stage calls do their work in this guest, so that a failing case is the
// stage's and not the machine's.
func TestGuestTools(t *testing.T) {
	runCases(t, []Case{
		{
			Name:   "device mapper",
			Disks:  []int{0},
			Before: `echo "0 2048 linear $D0 4096" | dmsetup create --verifyudev tooltest`,
			Stages: []string{},
			After:  `dmsetup table tooltest | sed "s/ $(cat "/sys/class/block/${D0#/dev/}/dev") / DISK /"; blockdev --getsz /dev/mapper/tooltest`,
			Want:   "0 2048 linear DISK 4096\n2048",
		},
		{
			Name:  "partition maps of a mapped disk",
			Disks: []int{0},
			Before: `echo "0 2097152 linear $D0 0" | dmsetup create --verifyudev --uuid mpath-tooltest tooltest
sgdisk -n 1:0:+8M -n 2:0:+8M /dev/mapper/tooltest >/dev/null; kpartx -a -s -p p /dev/mapper/tooltest`,
			Stages: []string{},
			After: `dmsetup table /dev/disk/by-id/dm-name-tooltestp2 | sed "s/ $(cat "/sys/class/block/$(basename "$(readlink -f /dev/mapper/tooltest)")/dev") / MAP /"; cat "/sys/class/block/$(basename "$(readlink -f /dev/mapper/tooltestp1)")/dm/uuid"
ls "/sys/class/block/$(basename "$(readlink -f /dev/mapper/tooltest)")/holders" | wc -l`,
			Want: "0 16384 linear MAP 18432\npart1-mpath-tooltest\n2",
		},
		{
			Name:   "md",
			Disks:  []int{0, 1},
			Before: `mdadm --create /dev/md/tools --run --assume-clean --level=1 --raid-devices=2 --homehost=any $DISKS; udevadm settle`,
			Stages: []string{},
			Check: func(t *testing.T, r Result) {
				if got := r.Mdadm(t, "/dev/md/tools"); got["MD_LEVEL"] != "raid1" || got["MD_DEVICES"] != "2" {
					t.Errorf("mdadm shows %v", got)
				}
			},
		},
		{
			Name:  "an opened volume that is blank has its device unit",
			Disks: []int{0},
			Before: `echo -n pass | cryptsetup luksFormat --batch-mode --type luks2 --pbkdf=pbkdf2 --pbkdf-force-iterations=1000 "$D0" -
echo -n pass | cryptsetup open "$D0" tooltest -`,
			Stages: []string{},
			After: `udevadm settle; blkid -p /dev/mapper/tooltest && exit 1
systemctl start --no-ask-password dev-mapper-tooltest.device && systemctl show -P ActiveState dev-mapper-tooltest.device`,
			Want: "active",
			Check: func(t *testing.T, r Result) {
				if l := r.Luks(t, "$D0"); len(l.Keyslots) != 1 || len(l.Tokens) != 0 {
					t.Errorf("header %+v, want one key slot and no token", l)
				}
			},
		},
		{
			Name:   "every filesystem mounts",
			Disks:  []int{0, 1, 2, 3, 4},
			Before: `mkfs.vfat -n V "$D0"; mkfs.ext4 -q "$D1"; mkfs.xfs -q "$D2"; mkfs.btrfs -q "$D3"; mkswap "$D4"`,
			Stages: []string{},
			After: `mkdir "$CASE/m"; for d in $D0 $D1 $D2 $D3; do mount "$d" "$CASE/m"; findmnt -no FSTYPE "$CASE/m"; umount "$CASE/m"; done
swapon "$D4"; swapoff "$D4"`,
			Want: "vfat\next4\nxfs\nbtrfs",
		},
		{
			Name:   "a device that never comes",
			Stages: []string{},
			After: `SECONDS=0; systemctl start dev-disk-by\\x2dlabel-nowhere.device && exit 1
systemctl show -P DefaultDeviceTimeoutUSec; ((SECONDS >= 10 && SECONDS < 40)) || echo "it took $SECONDS s"`,
			Want: "15s",
			Slow: true,
		},
		{
			Name:   "private bus of systemd",
			Stages: []string{},
			After:  `test -S /run/systemd/private; ! test -e /run/dbus/system_bus_socket; systemctl show -P Version >/dev/null; udevadm control --ping`,
		},
		{
			Name:   "TPM",
			Stages: []string{},
			After:  `export TPM2TOOLS_TCTI=device:/dev/tpmrm0; tpm2_getrandom --hex 8 | wc -c`,
			Want:   "16",
		},
		{
			Name:   "clevis with the TPM", // TestClevis does it too
			Slow:   true,
			Stages: []string{},
			After:  `export TPM2TOOLS_TCTI=device:/dev/tpmrm0; echo secret | clevis encrypt tpm2 '{}' | clevis decrypt`,
			Want:   "secret",
		},
		{
			Name: "clevis with tang",
			Slow: true,
			Vars: func(t *testing.T) map[string]string {
				tang := StartTang(t)
				return map[string]string{"URL": tang.URL, "THP": tang.Thumbprint}
			},
			Stages: []string{},
			After:  `echo secret | clevis encrypt tang '{"url":"'"$URL"'","thp":"'"$THP"'"}' | clevis decrypt`,
			Want:   "secret",
		},
		{
			Name:   "pass phrases without a dictionary",
			Stages: []string{},
			After:  `pwmake 256 | wc -w`,
			Want:   "1",
		},
	})
}

// TestStartTang checks what cases rely on: two servers differ, a stopped one is gone.
func TestStartTang(t *testing.T) {
	a, b := StartTang(t), StartTang(t)
	if a.URL == b.URL || a.Thumbprint == b.Thumbprint || len(a.Thumbprint) != 43 {
		t.Errorf("servers %s %q and %s %q: want two with keys of their own", a.URL, a.Thumbprint, b.URL, b.Thumbprint)
	}
	if !strings.Contains(a.Advertisement, `"payload"`) {
		t.Errorf("advertisement %q", a.Advertisement)
	}
	n := a.Requests()
	get(t, a.URL+"/adv")
	if a.Requests() != n+1 {
		t.Errorf("%d requests counted after %d and one more", a.Requests(), n)
	}
	a.Stop()
	if conn, err := net.Dial("tcp", strings.TrimPrefix(a.URL, "http://")); err == nil {
		conn.Close()
		t.Error("a stopped server accepts connections")
	}
}
