// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"slices"
	"testing"
)

// driveConfig tells that it was found.
const driveConfig = `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/found"}]}}`

// found prints what the cached config says.
const found = `grep -o '/found' /run/ignition.json || echo nothing`

// Shell lines that make a drive of $D0 from what is in $CASE/drive, by the
// tools that the platforms use.
var makeDrive = map[string]func(label string) string{
	"vfat": func(label string) string {
		return "mkfs.vfat -n " + label + ` $D0 >/dev/null 2>&1; mkdir m; mount $D0 m; cp -r drive/. m/; umount m`
	},
	"ext4":    func(label string) string { return "mkfs.ext4 -q -L " + label + " -d drive $D0" },
	"iso9660": func(label string) string { return "genisoimage -quiet -R -J -V " + label + " -o $D0 drive" },
}

// drive is a case with the config on a drive, which must stay as it is.
func drive(platform, fs, label, file, content string) Case {
	return Case{
		Name: platform + " " + fs + " " + label + " " + file, Disks: []int{0}, Platform: platform, Stages: []string{"fetch"},
		Before: `mkdir -p "drive/$(dirname ` + file + `)"; ` + content + ` >drive/` + file + "\n" + makeDrive[fs](label) + "\nudevadm trigger --settle $D0",
		Keep:   []string{"$D0"},
		After:  found,
		Want:   "/found",
	}
}

const (
	asIs     = `printf %s '` + driveConfig + `'`
	inGzip   = asIs + ` | gzip`
	sixteenM = `{ printf %s '` + driveConfig + `'; head -c 16M /dev/zero | tr '\0' ' '; }`
)

// broken is a drive whose filesystem cannot be mounted, though it has its label.
func broken(platform, label, file string) Case {
	c := drive(platform, "ext4", label, file, asIs)
	c.Name = platform + " with a broken drive"
	c.Before += "\ndd if=/dev/urandom of=$D0 bs=4096 seek=1 count=64 conv=notrunc status=none; udevadm trigger --settle $D0"
	c.After, c.Want = "", ""
	c.Fails, c.Error = "fetch", []string{"mounting config drive"}
	return c
}

func directory(platform, fs, label, file string) Case {
	c := drive(platform, fs, label, file+"/x", asIs)
	c.Name = platform + " with a directory named like the file"
	c.After, c.Want = "", ""
	c.Fails, c.Error = "fetch", []string{"not a regular file"}
	return c
}

func slow(c Case) Case {
	c.Slow = true
	return c
}

var driveCases = []Case{
	drive("openstack", "vfat", "config-2", "openstack/latest/user_data", asIs),
	drive("openstack", "iso9660", "config-2", "openstack/latest/user_data", inGzip),
	slow(drive("openstack", "vfat", "CONFIG-2", "openstack/latest/user_data", asIs)),
	slow(drive("openstack", "ext4", "config-2", "openstack/latest/user_data", asIs)),
	slow(drive("cloudstack", "iso9660", "config-2", "cloudstack/userdata/user_data.txt", asIs)),
	slow(drive("kubevirt", "iso9660", "cidata", "user-data", asIs)),
	slow(drive("kubevirt", "ext4", "config-2", "openstack/latest/user_data", asIs)),
	drive("nutanix", "iso9660", "config-2", "openstack/latest/user_data", sixteenM),
	slow(drive("powervs", "iso9660", "config-2", "openstack/latest/user_data", asIs)),
	slow(drive("ibmcloud", "vfat", "cidata", "user-data", asIs)),
	slow(drive("proxmoxve", "iso9660", "cidata", "user-data", inGzip)),
	slow(drive("proxmoxve", "iso9660", "cidata", "vendor-data", asIs)),
	broken("nutanix", "config-2", "openstack/latest/user_data"),
	slow(broken("ibmcloud", "cidata", "user-data")),
	directory("nutanix", "iso9660", "config-2", "openstack/latest/user_data"),
	slow(directory("ibmcloud", "vfat", "cidata", "user-data")),
	{
		Name: "nutanix with an empty drive", Disks: []int{0}, Platform: "nutanix", Stages: []string{"fetch"},
		Before: `mkdir drive; ` + makeDrive["ext4"]("config-2") + "\nudevadm trigger --settle $D0",
		Keep:   []string{"$D0"}, After: found, Want: "nothing",
	},
	{
		Name: "kubevirt without a drive", Disks: []int{0}, Platform: "kubevirt", Stages: []string{"fetch"}, Slow: true, // it is waited for
		After: found, Want: "nothing",
	},
}

// TestDrives has config drives as the platforms attach them.
func TestDrives(t *testing.T) { runCases(t, slices.Clone(driveCases)) }
