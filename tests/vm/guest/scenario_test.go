// SPDX-License-Identifier: Apache-2.0

package guest

import "testing"

// The layouts that people really ask for, as Butane writes them or as the
// documentation of the distributions does.
var scenarios = []Case{
	{
		Name: "boot mirrored on two disks, root on an encrypted mirror", Disks: []int{0, 1}, Slow: true,
		Before: `mkfs.ext4 -q "$D0"; mkfs.vfat "$D1" >/dev/null`,
		Config: spec34 + `"storage":{
			"disks":[` + bootDisk("$D0", "1") + `,` + bootDisk("$D1", "2") + `],
			"raid":[
				{"name":"md-boot","level":"raid1","devices":["/dev/disk/by-partlabel/boot-1","/dev/disk/by-partlabel/boot-2"],"options":["--metadata=1.0"]},
				{"name":"md-root","level":"raid1","devices":["/dev/disk/by-partlabel/root-1","/dev/disk/by-partlabel/root-2"]}],
			"luks":[{"name":"root","device":"/dev/md/md-root","label":"luks-root","wipeVolume":true,"clevis":{"tpm2":true},` + quick + `}],
			"filesystems":[
				{"device":"/dev/disk/by-partlabel/esp-1","format":"vfat","label":"esp-1","wipeFilesystem":true},
				{"device":"/dev/disk/by-partlabel/esp-2","format":"vfat","label":"esp-2","wipeFilesystem":true},
				{"device":"/dev/md/md-boot","format":"ext4","label":"boot","wipeFilesystem":true,"path":"/boot"},
				{"device":"/dev/mapper/root","format":"xfs","label":"root","wipeFilesystem":true,"path":"/"}],
			"files":[{"path":"/boot/loader","contents":{"source":"data:,b"}},{"path":"/etc/hostname","overwrite":true,"contents":{"source":"data:,mirrored"}}]}}`,
		After: `for d in $DISKS; do sgdisk -p $d | awk '$1 ~ /^[0-9]+$/ { print $1, $6, $7 }'; done
lsblk -nro NAME,TYPE ${D0}4 | sed 's/ / is /'
cryptsetup close root; clevis luks unlock -d /dev/md/md-root -n root
mkdir r; mount /dev/mapper/root r; mount /dev/md/md-boot r/boot; cat r/etc/hostname r/boot/loader; echo; cut -d' ' -f1,3- r/etc/crypttab; umount -R r
for d in /dev/disk/by-partlabel/esp-{1,2} /dev/md/md-boot; do blkid -p -o value -s TYPE -s LABEL $d | xargs; done
mdadm --detail --export /dev/md/md-boot | grep -E 'MD_(LEVEL|DEVICES|METADATA)' | sort | xargs`,
		Want: `1 EF02 bios-1
2 EF00 esp-1
3 8300 boot-1
4 8300 root-1
1 EF02 bios-2
2 EF00 esp-2
3 8300 boot-2
4 8300 root-2
vda4 is part
md126 is raid1
root is crypt
mirroredb
root none luks,x-initrd.attach
esp-1 vfat
esp-2 vfat
boot ext4
MD_DEVICES=2 MD_LEVEL=raid1 MD_METADATA=1.0`,
	},
	{
		Name: "root made smaller on the disk that is booted from, a partition behind it", Disks: []int{0}, Slow: true,
		Before: `sgdisk -n 1:0:+16M -c 1:EFI-SYSTEM -t 1:ef00 -n 3:0:+64M -c 3:boot -n 4:0:0 -c 4:root "$D0" >/dev/null; udevadm settle
mkfs.vfat ${D0}1 >/dev/null; mkfs.ext4 -q -L boot ${D0}3; mkfs.ext4 -q -L root ${D0}4 300M; mkdir m; mount ${D0}4 m; echo kept >m/file; umount m; mount -o ro ${D0}3 m`,
		Keep: []string{"${D0}1", "${D0}3"},
		Config: spec34 + `"storage":{
			"disks":[{"device":"$D0","partitions":[{"label":"root","number":4,"sizeMiB":400,"resize":true},{"label":"var"}]}],
			"filesystems":[
				{"device":"/dev/disk/by-partlabel/var","format":"xfs","path":"/var"},
				{"device":"/dev/disk/by-label/root","format":"ext4","path":"/"}]}}`,
		After: `umount m; lsblk -nrbo KNAME,PARTLABEL,SIZE,FSTYPE "$D0"; e2fsck -fn ${D0}4 >/dev/null 2>&1; mount -o ro ${D0}4 m; cat m/file; test -d m/var; umount m`,
		Want: `vda  1073741824 
vda1 EFI-SYSTEM 16777216 vfat
vda2 var 569359872 xfs
vda3 boot 67108864 ext4
vda4 root 419430400 ext4
kept`,
		Between: `mkdir -p m; mount -o ro ${D0}3 m`, Again: true,
	},
	{
		Name: "Flatcar's disk: ROOT made anew, the OEM filesystem kept, /usr in use", Disks: []int{0}, Slow: true,
		Before: `sgdisk -n 1:0:+16M -c 1:EFI-SYSTEM -t 1:ef00 -n 3:0:+64M -c 3:USR-A -t 3:5dfbf5f4-2848-4bac-aa5e-0d9a20b745a6 -n 6:0:+128M -c 6:OEM -n 9:0:0 -c 9:ROOT "$D0" >/dev/null; udevadm settle
mkfs.ext4 -q -L USR-A ${D0}3; mkfs.btrfs -q -L OEM ${D0}6; mkfs.ext4 -q -L ROOT ${D0}9; mkdir m; mount ${D0}6 m; echo kept >m/grub.cfg; umount m
dmsetup create usr --table "0 $(blockdev --getsz ${D0}3) linear ${D0}3 0"; udevadm settle; mount -o ro /dev/mapper/usr m`,
		Keep: []string{"${D0}1", "${D0}3"},
		Config: `{"ignition":{"version":"3.3.0"},"storage":{
			"disks":[{"device":"$D0","partitions":[{"label":"ROOT","number":9,"sizeMiB":400,"resize":true},{"label":"data","number":10,"sizeMiB":128,"typeGuid":"0FC63DAF-8483-4772-8E79-3D69D8477DE4"}]}],
			"filesystems":[
				{"device":"/dev/disk/by-label/ROOT","format":"btrfs","label":"ROOT","wipeFilesystem":true,"path":"/"},
				{"device":"/dev/disk/by-label/OEM","format":"ext4","label":"OEM","path":"/oem"},
				{"device":"/dev/disk/by-partlabel/data","format":"swap","label":"data"}],
			"files":[{"path":"/oem/added","contents":{"source":"data:,new"}},{"path":"/etc/hostname","contents":{"source":"data:,flat"}}]}}`,
		After: `umount m; dmsetup remove usr; udevadm settle; blkid -p -o value -s TYPE -s LABEL ${D0}9 ${D0}6 ${D0}10 | xargs
mount ${D0}6 m; cat m/grub.cfg m/added; echo; umount m; mount ${D0}9 m; cat m/etc/hostname; ls m; umount m`,
		Want: `ROOT btrfs OEM btrfs data swap
kept
new
flatetc
oem`,
	},
}

// bootDisk is a disk as Butane's boot_device mirror lays it out on x86_64.
func bootDisk(device, n string) string {
	return `{"device":"` + device + `","wipeTable":true,"partitions":[
		{"label":"bios-` + n + `","sizeMiB":1,"typeGuid":"21686148-6449-6E6F-744E-656564454649"},
		{"label":"esp-` + n + `","sizeMiB":64,"typeGuid":"C12A7328-F81F-11D2-BA4B-00A0C93EC93B"},
		{"label":"boot-` + n + `","sizeMiB":128},
		{"label":"root-` + n + `"}]}`
}

func TestScenarios(t *testing.T) { runCases(t, scenarios) }
