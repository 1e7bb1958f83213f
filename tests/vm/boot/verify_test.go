// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// extract unpacks the initramfs of the image.
func extract(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("bash", "-euo", "pipefail", "-c", `zstd -dc "$1" | cpio -idm --quiet -D "$2" --no-absolute-filenames`, "bash", filepath.Join(Build(t).Dir, "initrd.img"), dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("unpacking the initramfs: %v\n%s", err, out)
	}
	return dir
}

// verify runs the generators for a kernel command line in a copy of the
// initramfs and has systemd look for ordering cycles. It gives what systemd says.
func verify(t *testing.T, initramfs, cmdline string, more map[string]string) string {
	t.Helper()
	root := t.TempDir()
	if out, err := exec.Command("cp", "-a", initramfs+"/.", root).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	units := filepath.Join(root, "etc/systemd/system")
	err := os.WriteFile(filepath.Join(root, "cmdline"), []byte(cmdline+"\n"), 0o644)
	for name, text := range more {
		p := filepath.Join(units, name)
		err = errors.Join(err, os.MkdirAll(filepath.Dir(p), 0o755), os.RemoveAll(p), os.WriteFile(p, []byte(text), 0o644))
	}
	if err != nil {
		t.Fatal(err)
	}
	// Not with systemd's own search of generators: it would run those of this machine.
	generate := exec.Command("/usr/sbin/chroot", root, "/bin/sh", "-ec", `g=/usr/lib/systemd/system-generators
IGNITION_KERNEL_CMDLINE_PATH=/cmdline /usr/bin/ignition boot generator /etc/systemd/system
for one in systemd-fstab-generator systemd-cryptsetup-generator; do $g/$one /etc/systemd/system /etc/systemd/system /etc/systemd/system; done`)
	generate.Env = []string{"PATH=/usr/sbin:/usr/bin", "SYSTEMD_IN_INITRD=1", "SYSTEMD_PROC_CMDLINE=" + cmdline, "SYSTEMD_LOG_LEVEL=warning"}
	if out, err := generate.CombinedOutput(); err != nil {
		t.Fatalf("generators: %v\n%s", err, out)
	}
	cmd := exec.Command("systemd-analyze", "verify", "--root="+root, "--generators=no", "--man=no", "initrd.target")
	cmd.Env = append(os.Environ(), "SYSTEMD_IN_INITRD=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("systemd-analyze: %v", err)
	}
	return string(out)
}

// flavour are the drop-ins of a distribution, and empty units in the place of
// those that its own modules bring.
func flavour(t *testing.T, name string, units ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	dir := filepath.Join("../../../dracut", name)
	files, err := filepath.Glob(filepath.Join(dir, "*.d/*.conf"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no drop-ins in %s: %v", dir, err)
	}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		rel, _ := filepath.Rel(dir, f)
		out[rel] = string(raw)
	}
	for _, u := range units {
		name, unit, _ := strings.Cut(u, " ")
		if unit == "" {
			unit = "[Unit]\nDefaultDependencies=no\n"
		}
		out[name] = unit + "[Service]\nType=oneshot\nExecStart=/bin/true\n"
	}
	return out
}

// TestOrdering: systemd finds no ordering cycle, whatever the root is; and it
// does find one that is there.
func TestOrdering(t *testing.T) {
	needGate(t, false)
	initramfs := extract(t)
	const first = " ignition.firstboot ignition.platform.id=qemu"
	flatcar := flavour(t, "flatcar",
		"initrd-setup-root.service [Unit]\nDefaultDependencies=no\nRequires=initrd-root-fs.target\nAfter=initrd-root-fs.target\nBefore=initrd-parse-etc.service\n",
		"initrd-setup-root-after-ignition.service [Unit]\nDefaultDependencies=no\nAfter=ignition-files.service initrd-setup-root.service\n")
	for _, row := range []struct {
		name, cmdline string
		more          map[string]string
		cycle         bool
	}{
		{"root on a label", "root=LABEL=ROOT rw" + first, nil, false},
		{"later boot", "root=LABEL=ROOT rw", nil, false},
		{"no platform", "root=LABEL=ROOT ignition.firstboot", nil, false},
		{"root on LUKS", "root=/dev/mapper/root rd.luks.name=11111111-2222-3333-4444-555555555555=root" + first, nil, false},
		{"root in memory", "root=tmpfs rootfstype=tmpfs" + first, nil, false},
		{"/usr of its own", "root=LABEL=ROOT mount.usr=PARTUUID=11111111-2222-3333-4444-555555555555" + first, nil, false},
		{"Flatcar", "root=LABEL=ROOT mount.usr=PARTUUID=11111111-2222-3333-4444-555555555555 flatcar.first_boot=detected flatcar.oem.id=ec2", flatcar, false},
		{"Flatcar, later boot", "root=LABEL=ROOT mount.usr=PARTUUID=11111111-2222-3333-4444-555555555555 flatcar.oem.id=ec2", flatcar, false},
		{"Fedora CoreOS", "root=LABEL=root" + first, flavour(t, "fcos", "coreos-enable-network.service", "coreos-ignition-setup-user.service"), false},
		{"a cycle", "root=LABEL=ROOT" + first, map[string]string{"ignition-disks.service.d/50.conf": "[Unit]\nAfter=ignition-files.service\n"}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			said := verify(t, initramfs, row.cmdline, row.more)
			if got := strings.Contains(said, "ordering cycle"); got != row.cycle {
				t.Errorf("ordering cycle: %t, want %t\n%s", got, row.cycle, said)
			}
			if !row.cycle && said != "" {
				t.Errorf("systemd says\n%s", said)
			}
		})
	}
}

// TestInitramfs: everything that the stages call is in it, and nothing of the
// network starts by itself.
func TestInitramfs(t *testing.T) {
	needGate(t, false)
	root := extract(t)
	for _, name := range []string{"sgdisk", "partx", "blkid", "wipefs", "lsblk", "mkswap", "mkfs.ext4", "mkfs.xfs", "mkfs.btrfs", "mkfs.fat", "mdadm", "dmsetup", "cryptsetup",
		"useradd", "usermod", "userdel", "groupadd", "groupmod", "groupdel", "systemd-detect-virt", "clevis", "clevis-luks-bind", "clevis-luks-unlock", "clevis-encrypt-tang",
		"jose", "tpm2_create", "pwmake", "curl", "udevadm", "modprobe", "mountpoint", "ip", "ignition", "ignition-kargs-helper", "journalctl"} {
		out, err := exec.Command("/usr/sbin/chroot", root, "/bin/sh", "-c", "command -v "+name).CombinedOutput()
		if err != nil {
			t.Errorf("%s is not in the initramfs: %v %s", name, err, out)
		}
	}
	wanted := ""
	_ = filepath.WalkDir(root, func(p string, _ os.DirEntry, err error) error {
		if dir := filepath.Base(filepath.Dir(p)); err == nil && (strings.HasSuffix(dir, ".wants") || strings.HasSuffix(dir, ".requires")) && strings.HasPrefix(filepath.Base(p), "systemd-networkd") {
			wanted += fmt.Sprintln(p)
		}
		return nil
	})
	if wanted != "" {
		t.Errorf("the network is started on every boot:\n%s", wanted)
	}
}
