// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/config"
)

// What Fedora CoreOS adds: the boot disk mirrored or encrypted, and users of GRUB.

const (
	guidBIOS     = "21686148-6449-6E6F-744E-656564454649"
	guidESP      = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
	guidPReP     = "9E1A2D38-C612-4316-AA26-8B49521E5A8B"
	guidReserved = "8DA63339-0007-60C0-C436-083AC8230908"

	byPartLabel = "/dev/disk/by-partlabel/"
)

// bootPartition is a partition that a mirrored boot disk starts with.
type bootPartition struct {
	label, guid string
	size        int
}

var (
	partBIOS     = bootPartition{"bios", guidBIOS, 1}
	partESP      = bootPartition{"esp", guidESP, 127}
	partPReP     = bootPartition{"prep", guidPReP, 4}
	partReserved = bootPartition{"reserved", guidReserved, 1}
)

// layouts lists what boot_device.layout can be, in the order of the messages. Those without partitions cannot be mirrored.
var layouts = []struct {
	name       string
	partitions []bootPartition
}{
	{"aarch64", []bootPartition{partReserved, partESP}},
	{"ppc64le", []bootPartition{partPReP, partReserved}},
	{"s390x-eckd", nil},
	{"s390x-virt", nil},
	{"s390x-zfcp", nil},
	{"x86_64", []bootPartition{partBIOS, partESP}},
}

func (b *bootDevice) wantsClevis() bool { return value(b.LUKS.TPM2) || len(b.LUKS.Tang) > 0 }
func (b *bootDevice) wantsCEX() bool    { return value(b.LUKS.CEX.Enabled) }
func (b *bootDevice) wantsLUKS() bool   { return b.wantsClevis() || b.wantsCEX() }
func (b *bootDevice) wantsMirror() bool { return len(b.Mirror.Devices) > 0 }

// checkBootDevice judges boot_device. The rules of the s390x layouts came with spec 3.5.
func (t *translation) checkBootDevice() {
	b, layout := &t.keys.BootDevice, value(t.keys.BootDevice.Layout)
	s390x := strings.HasPrefix(layout, "s390x-") && t.dialect.minor >= 5
	at := "boot_device.layout"
	if b.Layout != nil {
		var names []string
		known := false
		for _, l := range layouts {
			if l.partitions != nil || t.dialect.minor >= 5 {
				names = append(names, l.name)
				known = known || l.name == layout
			}
		}
		if !known {
			t.fail("layout must be one of: "+strings.Join(names, ", "), at)
		}
	}
	if b.wantsMirror() {
		if layout == "" {
			say := t.warn
			if t.dialect.minor >= 6 {
				say = t.fail
			}
			say("boot_device.layout should be specified when boot_device.mirror is specified", "boot_device.mirror")
		}
		if len(b.Mirror.Devices) == 1 {
			t.fail("mirroring requires at least two devices", "boot_device.mirror.devices")
		}
		if s390x {
			t.fail("mirroring not supported on layouts: s390x-eckd, s390x-zfcp, s390x-virt", at)
		}
	}
	if t.dialect.minor >= 5 {
		t.checkBootLUKS(b, layout, s390x)
	}
}

// namesDisk tells whether a path ends in prefix and one lower-case letter.
func namesDisk(device, prefix string) bool {
	last := len(device) - 1
	return last > 0 && device[last] >= 'a' && device[last] <= 'z' && strings.HasSuffix(device[:last], prefix)
}

func (t *translation) checkBootLUKS(b *bootDevice, layout string, s390x bool) {
	at := "boot_device.layout"
	device := value(b.LUKS.Device)
	switch eckd := layout == "s390x-eckd"; {
	case !eckd && layout != "s390x-zfcp":
	case device == "":
		t.fail("device is required for layouts: s390x-eckd, s390x-zfcp", at)
	case eckd && !namesDisk(device, "/dev/dasd") || !eckd && !namesDisk(device, "/dev/sd"):
		t.fail("device name must start with /dev/dasd on s390x-eckd layout or /dev/sd on s390x-zfcp layout", at)
	}
	if b.wantsCEX() {
		const wrong = "when using cex the targeted architecture must match s390x"
		if layout == "" {
			t.fail(wrong, "boot_device.luks.cex")
		} else if !s390x {
			t.fail(wrong, at)
		}
		if b.wantsClevis() {
			t.fail("cannot use cex with clevis", "boot_device.luks")
		}
	}
	if device != "" && !b.wantsLUKS() && t.dialect.minor >= 6 {
		t.fail("no method specified for luks", "boot_device.luks")
	}
}

// addBootDevice makes disks, arrays, volume and filesystems of boot_device.
func (t *translation) addBootDevice() {
	b := &t.keys.BootDevice
	if !b.wantsLUKS() && !b.wantsMirror() {
		return
	}
	var g generated
	root := "/dev/md/md-root"
	if b.wantsMirror() {
		g.mirror(b)
	}
	if b.wantsLUKS() {
		root = "/dev/mapper/root"
		g.encrypt(b)
	}
	s := &g.config.Storage
	g.renames.add(item("storage.filesystems", len(s.Filesystems)), "boot_device")
	s.Filesystems = addFilesystem(s.Filesystems, root, "xfs", "root")
	t.made = append(t.made, g)
}

// Small binaries matter in an initramfs: these are called often and copied nowhere.
//
//go:noinline
func newArray(name string) config.RAID { return config.RAID{Name: name, Level: ptr("raid1")} }

//go:noinline
func addFilesystem(list []config.Filesystem, device, format, label string) []config.Filesystem {
	return append(list, config.Filesystem{Device: device, Format: &format, Label: &label, WipeFilesystem: ptr(true)})
}

//go:noinline
func addPartition(list []config.Partition, p bootPartition, suffix string) []config.Partition {
	out := config.Partition{Label: ptr(p.label + suffix)}
	if p.size > 0 {
		out.SizeMiB = &p.size
	}
	if p.guid != "" {
		out.TypeGUID = &p.guid
	}
	return append(list, out)
}

func (g *generated) mirror(b *bootDevice) {
	s := &g.config.Storage
	at := "boot_device.mirror"
	first := []bootPartition{partBIOS, partESP}
	for _, l := range layouts {
		if l.name == value(b.Layout) {
			first = l.partitions
		}
	}
	boot, root := newArray("md-boot"), newArray("md-root")
	boot.Options = []string{"--metadata=1.0"}
	for i, device := range b.Mirror.Devices {
		suffix := "-" + strconv.Itoa(i+1)
		d := config.Disk{Device: device, WipeTable: ptr(true)}
		for _, p := range first {
			d.Partitions = addPartition(d.Partitions, p, suffix)
			if p.label == partESP.label {
				s.Filesystems = addFilesystem(s.Filesystems, byPartLabel+p.label+suffix, "vfat", p.label+suffix)
			}
		}
		d.Partitions = addPartition(d.Partitions, bootPartition{"boot", "", 384}, suffix)
		d.Partitions = addPartition(d.Partitions, bootPartition{"root", "", 0}, suffix)
		s.Disks = append(s.Disks, d)
		g.renames.add(item("storage.disks", i), item(at+".devices", i))
		boot.Devices = append(boot.Devices, byPartLabel+"boot"+suffix)
		root.Devices = append(root.Devices, byPartLabel+"root"+suffix)
	}
	s.RAID = []config.RAID{boot, root}
	s.Filesystems = addFilesystem(s.Filesystems, "/dev/md/md-boot", "ext4", "boot")
	g.renames.add("storage.filesystems", at)
	g.renames.add("storage.raid", at)
}

func (g *generated) encrypt(b *bootDevice) {
	l := config.LUKS{Name: "root", Label: ptr("luks-root"), WipeVolume: ptr(true), Discard: b.LUKS.Discard}
	switch {
	case value(b.Layout) == "s390x-eckd":
		l.Device = ptr(value(b.LUKS.Device) + "2")
	case value(b.Layout) == "s390x-zfcp":
		l.Device = ptr(value(b.LUKS.Device) + "4")
	case b.wantsMirror():
		l.Device = ptr("/dev/md/md-root")
	default:
		l.Device = ptr(byPartLabel + "root")
	}
	if b.wantsCEX() {
		l.CEX.Enabled = ptr(true)
	} else {
		l.Clevis = config.Clevis{Tang: b.LUKS.Tang, Threshold: b.LUKS.Threshold, TPM2: b.LUKS.TPM2}
	}
	g.config.Storage.LUKS = []config.LUKS{l}
	at := "boot_device.luks"
	g.renames.add(item("storage.luks", 0), at)
	for i := range b.LUKS.Tang {
		for _, key := range []string{"url", "thumbprint", "advertisement"} {
			g.renames.add(item(item("storage.luks", 0)+".clevis.tang", i)+"."+key, item(at+".tang", i)+"."+key)
		}
		g.renames.add(item(item("storage.luks", 0)+".clevis.tang", i), item(at+".tang", i))
	}
}

func (t *translation) checkGrub() {
	for i, u := range t.keys.Grub.Users {
		if u.Name == "" {
			t.fail(`field "name" is required`, item("grub.users", i)+".name")
		}
		if u.PasswordHash == "" {
			t.fail(`field "password_hash" is required`, item("grub.users", i)+".password_hash")
		}
	}
}

const grubConfig = "/boot/grub2/user.cfg"

// addGrub appends GRUB's users to its config.
func (t *translation) addGrub() {
	if len(t.keys.Grub.Users) == 0 {
		return
	}
	names, passwords := "", ""
	for _, u := range t.keys.Grub.Users {
		names += " " + u.Name
		passwords += "password_pbkdf2 " + u.Name + " " + u.PasswordHash + "\n"
	}
	var r config.Resource
	t.setContents(&r, []byte("# Generated by Butane\n\nset superusers=\""+names[1:]+"\"\n"+passwords))
	var g generated
	g.config.Storage.Filesystems = []config.Filesystem{{Device: "/dev/disk/by-label/boot", Format: ptr("ext4"), Path: ptr("/boot")}}
	g.config.Storage.Files = []config.File{{Node: config.Node{Path: grubConfig}, Append: []config.Resource{r}}}
	for _, list := range []string{"filesystems", "files"} {
		g.renames.add("storage."+list, "grub.users")
	}
	t.made = append(t.made, g)
	t.out = config.Merge(g.config, t.out)
}
