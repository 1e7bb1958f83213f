// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/config"
)

// check judges what the document says, before anything is made of it.
func (t *translation) check() {
	_ = config.EachResource(&t.user, t.checkResource)
	s := &t.user.Storage
	for i := range s.Directories {
		t.checkMode(s.Directories[i].Mode, true, item("storage.directories", i)+".mode")
	}
	for i := range s.Files {
		t.checkMode(s.Files[i].Mode, false, item("storage.files", i)+".mode")
	}
	for i := range s.Filesystems {
		t.checkFilesystem(&s.Filesystems[i], item("storage.filesystems", i))
	}
	for i, tr := range own[storageKeys](t.sugar, s).Trees {
		if tr.Local == "" {
			t.fail("local is required", item("storage.trees", i))
		}
	}
	for i := range t.user.Systemd.Units {
		u := &t.user.Systemd.Units[i]
		t.checkContents(u.Contents, own[contentsKeys](t.sugar, u).ContentsLocal, item("systemd.units", i))
		for j := range u.Dropins {
			t.checkContents(u.Dropins[j].Contents, own[contentsKeys](t.sugar, &u.Dropins[j]).ContentsLocal, item(item("systemd.units", i)+".dropins", j))
		}
	}
	for i := range own[systemdKeys](t.sugar, &t.user.Systemd).Quadlets {
		t.checkQuadlet(&own[systemdKeys](t.sugar, &t.user.Systemd).Quadlets[i], item("systemd.quadlets", i))
	}
	t.checkBootDevice()
	t.checkGrub()
	if t.dialect.coreos() && t.dialect.minor >= 5 {
		t.checkReuse()
	}
	t.checkMachineConfig()
}

func (t *translation) checkContents(contents, local *string, at where) {
	if contents != nil && local != nil {
		t.fail(onlyOne+"contents, contents_local", at+".contents_local")
	}
}

// checkMode warns of a decimal number that looks as if octal was meant.
func (t *translation) checkMode(mode *int, directory bool, at where) {
	if mode == nil || *mode < 0 || *mode > 7777 {
		return
	}
	octal := 0
	for _, digit := range fmt.Sprint(*mode) {
		if digit > '7' {
			return
		}
		octal = octal*8 + int(digit-'0')
	}
	if !typicalMode(*mode, directory) && typicalMode(octal, directory) {
		t.warn("unreasonable mode would be reasonable if specified in octal; remember to add a leading zero", at)
	}
}

// typicalMode tells whether somebody may have meant a mode.
func typicalMode(mode int, directory bool) bool {
	if mode == 0 {
		return true
	}
	if mode > 0o7777 {
		return false
	}
	user, group, other := mode>>6&7, mode>>3&7, mode&7
	if group&^user != 0 || other&^group != 0 {
		return false
	}
	wider := 0 // what the classes with more members may do
	for _, class := range []int{other, group, user} {
		if class&3 != 0 && class&4 == 0 || class&1 != 0 && wider&4 != 0 && wider&1 == 0 {
			return false
		}
		wider |= class
	}
	if mode&0o444 == 0 {
		return false
	}
	executable, writable := mode&0o111 != 0, mode&0o222 != 0
	setuid, setgid, sticky := mode&0o4000 != 0, mode&0o2000 != 0, mode&0o1000 != 0
	if directory {
		return executable && !setuid && (!setgid && !sticky || writable)
	}
	return !sticky && (!setuid && !setgid || executable && other&2 == 0)
}

func (t *translation) checkFilesystem(f *config.Filesystem, at where) {
	if !value(own[filesystemKeys](t.sugar, f).WithMountUnit) {
		return
	}
	format, mount := value(f.Format), value(f.Path)
	if format == "" {
		t.fail("format is required if with_mount_unit is true", at+".format")
	}
	if mount == "" && (t.dialect.minor < 3 || format != "" && format != "swap") {
		t.fail("path is required if with_mount_unit is true and format is not swap", at+".path")
	}
	if t.dialect.coreos() && t.dialect.minor >= 5 && mount != "" {
		clean := path.Clean(mount) + "/"
		if !strings.HasPrefix(clean, "/etc/") && !strings.HasPrefix(clean, "/var/") {
			t.fail("path must be under /etc or /var if with_mount_unit is true", at+".path")
		}
	}
}

const bootDisk = "/dev/disk/by-id/coreos-boot-disk"

// checkReuse warns of partitions that would be found by their label on a disk where that does not work.
func (t *translation) checkReuse() {
	for i, d := range t.user.Storage.Disks {
		if d.Device == bootDisk || value(d.WipeTable) || slices.Contains(t.keys.BootDevice.Mirror.Devices, d.Device) {
			continue
		}
		for j, p := range d.Partitions {
			if p.Number == 0 && value(p.Label) != "" {
				t.warn("partitions cannot be reused by label; number must be specified except on boot disk ("+bootDisk+") or when wipe_table is true", item(item("storage.disks", i)+".partitions", j)+".number")
			}
		}
	}
}

var reservedLabels = []struct {
	label  string
	number int
}{{"BIOS-BOOT", 1}, {"PowerPC-PReP-boot", 1}, {"EFI-SYSTEM", 2}, {"boot", 3}, {"root", 4}}

// checkPartitions warns of partitions that get into the way of those of the image.
func (t *translation) checkPartitions() {
	if !t.dialect.coreos() {
		return
	}
	for i, d := range t.out.Storage.Disks {
		for j, p := range d.Partitions {
			for _, r := range reservedLabels {
				if value(p.Label) == r.label && p.Number != r.number && !value(d.WipeTable) {
					t.warnIn("incorrect partition number; a new partition will be created using reserved label", item(item("storage.disks", i)+".partitions", j)+".label")
				}
			}
			if value(p.Label) == "root" && t.dialect.bootDevice {
				t.checkRootSize(d.Partitions[j:], item(item("storage.disks", i)+".partitions", j))
			}
		}
	}
}

// checkRootSize judges the first of the partitions, the root, and what follows it.
func (t *translation) checkRootSize(partitions []config.Partition, at where) {
	const least = 8192
	size := value(partitions[0].SizeMiB)
	if size == 0 {
		for _, p := range partitions[1:] {
			if value(p.StartMiB) == 0 {
				t.warnIn("root partition cannot expand; it is set to fill available space but is followed by an auto-positioned partition",
					at+".label")
				return
			}
		}
	} else if size < least {
		t.warnIn("root should have 8GiB of space assigned", at+".sizeMiB")
	}
}
