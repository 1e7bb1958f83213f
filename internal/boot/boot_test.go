// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// rig is an initramfs in a folder: programs are shell scripts, and a filesystem
// with a label is a folder that mounting gives.
type rig struct {
	*Env
	t       *testing.T
	dir     string
	cmdline string
	log     bytes.Buffer
	mounted []string
	broken  map[string]error // by label: mounting fails
}

func newRig(t *testing.T, cmdline string) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir(), cmdline: cmdline, broken: map[string]error{}}
	r.Env = &Env{
		Log: oplog.New(oplog.StdoutHandler(&r.log), nil), Runner: &exec.Runner{Path: filepath.Join(r.dir, "bin") + ":/usr/bin:/bin"},
		Prefix: r.dir, Sysroot: "/sysroot", Version: "2.27.0", BootID: "this-boot", LabelDir: "/dev/disk/by-label", RunDir: "/run/ignition",
		CommandLine: func() (string, error) { return r.cmdline, nil }, Wait: 200 * time.Millisecond,
	}
	r.Mount = func(_ context.Context, _, device string, write bool) (string, func() error, error) {
		label := filepath.Base(device)
		r.mounted = append(r.mounted, fmt.Sprintf("%s %t", label, write))
		return filepath.Join(r.dir, "fs", label), func() error { return nil }, r.broken[label]
	}
	r.program("udevadm", "exit 0")
	r.program("systemd-detect-virt", "echo none; exit 1")
	return r
}

// program puts a shell script where programs are looked up.
func (r *rig) program(name, script string) {
	r.t.Helper()
	r.write("bin/"+name, "#!/bin/sh\n"+script+"\n", 0o755)
}

func (r *rig) write(name, text string, mode fs.FileMode) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), mode)); err != nil {
		r.t.Fatal(err)
	}
}

// filesystem makes a labelled one with files.
func (r *rig) filesystem(label string, files map[string]string) {
	r.t.Helper()
	r.write("dev/disk/by-label/"+label, "", 0o600)
	if err := os.MkdirAll(filepath.Join(r.dir, "fs", label), 0o755); err != nil {
		r.t.Fatal(err)
	}
	for name, text := range files {
		r.write("fs/"+label+"/"+name, text, 0o644)
	}
}

// read gives the text of a file, "(none)" if it is not there.
func (r *rig) read(name string) string {
	raw, err := os.ReadFile(filepath.Join(r.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "(none)"
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return string(raw)
}

// tree lists files and links below a folder.
func (r *rig) tree(name string) []string {
	var out []string
	root := filepath.Join(r.dir, name)
	_ = filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			rel, _ := filepath.Rel(root, p)
			if to, err := os.Readlink(p); err == nil {
				rel += " -> " + to
			}
			out = append(out, rel)
		}
		return nil
	})
	return out
}

func TestParseRequest(t *testing.T) {
	for _, row := range []struct {
		cmdline string
		want    Request
	}{
		{"", Request{}},
		{"ignition.firstboot", Request{First: true, Upstream: true}},
		{"ignition.firstboot=1", Request{First: true, Upstream: true}},
		{"ignition.firstboot=yes", Request{First: true, Upstream: true}},
		{"ignition.firstboot=0", Request{}},
		{"ignition.firstboot=no", Request{}},
		{"ignition.firstboot=off", Request{}},
		{"ignition.firstboot=", Request{}},
		{"ignition.firstboot=false", Request{}},
		{"ignition.firstboot=False", Request{}},
		{"ignition.firstboot=n ignition.firstboot=f", Request{}},
		{"ignition.firstboot=0 ignition.firstboot=1", Request{First: true, Upstream: true}},
		{"ignition.firstboot ignition.firstboot=0", Request{}},
		{"flatcar.first_boot=1", Request{First: true, Flatcar: true}},
		{"flatcar.first_boot=detected", Request{First: true, Flatcar: true, Detected: true}},
		{"coreos.first_boot=detected", Request{First: true, Flatcar: true, Detected: true}},
		{"coreos.first_boot", Request{First: true, Flatcar: true}},
		{"flatcar.first_boot=detected flatcar.first_boot=0", Request{}},
		{"flatcar.first_boot=0 coreos.first_boot=1", Request{First: true, Flatcar: true}},
		{"ignition.firstboot flatcar.first_boot=detected", Request{First: true, Upstream: true, Flatcar: true, Detected: true}},
		{"xignition.firstboot ignition.firstbootx", Request{}},
	} {
		if got := ParseRequest(row.cmdline); got != row.want {
			t.Errorf("%q: %+v, want %+v", row.cmdline, got, row.want)
		}
	}
}

func TestPlatformID(t *testing.T) {
	for _, row := range []struct{ cmdline, virt, want, fails string }{
		{"ignition.firstboot ignition.platform.id=qemu", "none", "qemu", ""},
		{"ignition.platform.id=ec2", "none", "ec2", ""}, // the engine knows it as an alias
		{"flatcar.oem.id=ec2", "none", "aws", ""},
		{"flatcar.oem.id=gce", "none", "gcp", ""},
		{"coreos.oem.id=pxe", "none", "metal", ""},
		{"flatcar.oem.id=azure", "none", "azure", ""},
		{"flatcar.oem.id=no-such_one9", "none", "no-such_one9", ""},
		{"flatcar.first_boot=1", "kvm", "qemu", ""},
		{"flatcar.first_boot=1", "qemu", "qemu", ""},
		{"flatcar.first_boot=1", "none", "metal", ""},
		{"flatcar.first_boot=1 flatcar.oem.id=", "none", "metal", ""},
		{"ignition.platform.id=a ignition.platform.id=b flatcar.oem.id=c", "none", "b", ""},
		{"ignition.firstboot", "kvm", "", "names no platform"},
		{"ignition.firstboot ignition.platform.id=", "kvm", "", "names no platform"},
		{"ignition.platform.id=a;reboot", "none", "", "is no platform"},
		{"ignition.platform.id=AWS", "none", "", "is no platform"},
		{"flatcar.oem.id=$(x)", "none", "", "is no platform"},
	} {
		got, err := platformID(row.cmdline, func() string { return row.virt })
		if got != row.want || (err == nil) != (row.fails == "") || err != nil && !strings.Contains(err.Error(), row.fails) {
			t.Errorf("%q: %q, %v; want %q, %q", row.cmdline, got, err, row.want, row.fails)
		}
	}
}

func TestGenerate(t *testing.T) {
	const req = ".requires/"
	diskful := []string{
		"ignition-complete.target" + req + "ignition-diskful.target -> ../ignition-diskful.target",
		"ignition-complete.target" + req + "ignition-quench.service -> ../ignition-quench.service",
		"initrd-parse-etc.service" + req + "ignition-files.service -> ../ignition-files.service",
		"initrd-parse-etc.service" + req + "ignition-presets.service -> ../ignition-presets.service",
		"initrd-parse-etc.service" + req + "ignition-quench.service -> ../ignition-quench.service",
		"initrd.target" + req + "ignition-complete.target -> ../ignition-complete.target",
	}
	failed := []string{
		"initrd-parse-etc.service" + req + "ignition-generator-failed.service -> ../ignition-generator-failed.service",
		"initrd.target" + req + "ignition-generator-failed.service -> ../ignition-generator-failed.service",
	}
	for _, row := range []struct {
		name, cmdline string
		live          string // exit status of is-live-image; "" is none
		links         []string
		env           string
	}{
		{"first, disk", "flatcar.first_boot=detected flatcar.oem.id=gce", "", diskful, "OEM_ID=gcp\nPLATFORM_ID=gcp\n"},
		{"first, disk by the hook", "ignition.firstboot ignition.platform.id=qemu", "1", diskful, "OEM_ID=qemu\nPLATFORM_ID=qemu\n"},
		{"first, live", "ignition.firstboot ignition.platform.id=metal", "0", []string{diskful[2], diskful[3], diskful[5]}, "OEM_ID=metal\nPLATFORM_ID=metal\n"},
		{"first, aws", "flatcar.first_boot=1 flatcar.oem.id=ec2", "", append(slices.Clone(diskful), "systemd-networkd.service.d/10-conflict-emergency.conf"), "OEM_ID=aws\nPLATFORM_ID=aws\n"},
		{"later", "flatcar.oem.id=ec2", "", []string{
			"ignition-subsequent.target" + req + "ignition-diskful-subsequent.target -> ../ignition-diskful-subsequent.target",
			"initrd.target" + req + "ignition-subsequent.target -> ../ignition-subsequent.target",
		}, "OEM_ID=aws\nPLATFORM_ID=aws\n"},
		{"later, live, no platform", "quiet", "0", []string{"initrd.target" + req + "ignition-subsequent.target -> ../ignition-subsequent.target"}, "OEM_ID=\nPLATFORM_ID=\n"},
		{"later, root on the network", "netroot=iscsi:x", "0", []string{
			"initrd.target" + req + "ignition-subsequent.target -> ../ignition-subsequent.target",
			"initrd.target.wants/systemd-networkd.service -> /usr/lib/systemd/system/systemd-networkd.service",
		}, "OEM_ID=\nPLATFORM_ID=\n"},
		{"first, no platform", "ignition.firstboot", "", failed, "(none)"},
		{"first, bad platform", "ignition.firstboot ignition.platform.id=a\"b", "", failed, "(none)"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, row.cmdline)
			if row.live != "" {
				r.program("is-live-image", "exit "+row.live)
			}
			for range 2 { // systemd runs generators again when it reloads
				if err := r.Generate(t.Context(), filepath.Join(r.dir, "out")); err != nil {
					t.Fatal(err)
				}
			}
			if got := r.tree("out"); !slices.Equal(got, row.links) {
				t.Errorf("links\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(row.links, "\n"))
			}
			if got := r.read("run/ignition.env"); got != row.env {
				t.Errorf("environment %q, want %q", got, row.env)
			}
		})
	}
}

func TestGeneratorSaysWhy(t *testing.T) {
	r := newRig(t, "ignition.firstboot")
	if err := r.Generate(t.Context(), filepath.Join(r.dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := r.GeneratorFailed(); err == nil || err.Error() != errNoPlatform.Error() {
		t.Errorf("%v", err)
	}
	r = newRig(t, "")
	r.CommandLine = func() (string, error) { return "", errors.New("no such thing") }
	if err := r.Generate(t.Context(), filepath.Join(r.dir, "out")); err != nil {
		t.Fatal(err)
	}
	if err := r.GeneratorFailed(); err == nil || !strings.Contains(err.Error(), "reading the kernel command line: no such thing") {
		t.Errorf("%v", err)
	}
	if err := newRig(t, "").GeneratorFailed(); err == nil {
		t.Error("a failure without a reason is none")
	}
}

func TestSetup(t *testing.T) {
	both := map[string]string{"config.ign": "OEM", "base/base.ign": "BASE"}
	for _, row := range []struct {
		name, cmdline string
		live          bool
		make          func(r *rig)
		user, base    string
		mounted       []string
	}{
		{"nothing", "", false, func(*rig) {}, "(none)", "(none)", nil},
		{"of the initramfs", "", false, func(r *rig) { r.write("config.ign", "INITRAMFS", 0o644); r.filesystem("OEM", both) }, "INITRAMFS", "BASE", []string{"OEM false"}},
		{"of the boot partition", "", false, func(r *rig) {
			r.filesystem("boot", map[string]string{"ignition/config.ign": "BOOT"})
			r.filesystem("OEM", both)
		}, "BOOT", "BASE", []string{"boot false", "OEM false"}},
		{"of the OEM partition", "", false, func(r *rig) { r.filesystem("OEM", both) }, "OEM", "BASE", []string{"OEM false"}},
		{"live", "", true, func(r *rig) { r.filesystem("OEM", both) }, "(none)", "(none)", nil},
		{"of somebody else before", "", false, func(r *rig) { r.write("run/ignition/user.ign", "MINE", 0o600); r.filesystem("OEM", both) }, "MINE", "BASE", []string{"OEM false"}},
		{"root that does not come", "root=LABEL=nowhere", false, func(r *rig) { r.filesystem("OEM", both) }, "OEM", "BASE", []string{"OEM false"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, "flatcar.first_boot=1 flatcar.oem.id=ec2 "+row.cmdline)
			if row.live {
				r.program("is-live-image", "exit 0")
			}
			row.make(r)
			if err := r.Setup(t.Context()); err != nil {
				t.Fatal(err)
			}
			if u, b := r.read("run/ignition/user.ign"), r.read("run/ignition/base.d/base.ign"); u != row.user || b != row.base {
				t.Errorf("user config %q and base %q, want %q and %q\n%s", u, b, row.user, row.base, r.log.String())
			}
			if !slices.Equal(r.mounted, row.mounted) {
				t.Errorf("mounted %q, want %q", r.mounted, row.mounted)
			}
			if got := r.read("run/ignition.env"); got != "OEM_ID=aws\nPLATFORM_ID=aws\n" {
				t.Errorf("environment %q", got)
			}
		})
	}
}

func TestSetupFails(t *testing.T) {
	r := newRig(t, "ignition.firstboot")
	if err := r.Setup(t.Context()); !errors.Is(err, errNoPlatform) {
		t.Errorf("%v", err)
	}
	r = newRig(t, "ignition.platform.id=qemu")
	r.filesystem("OEM", nil)
	r.broken["OEM"] = errors.New("bad superblock")
	if err := r.Setup(t.Context()); err == nil || !strings.Contains(err.Error(), `filesystem labelled "OEM": bad superblock`) {
		t.Errorf("%v", err)
	}
	r = newRig(t, "ignition.platform.id=qemu")
	r.filesystem("OEM", map[string]string{"config.ign/x": ""}) // a directory of that name
	if err := r.Setup(t.Context()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("%v", err)
	}
}

func TestQuench(t *testing.T) {
	for _, row := range []struct {
		name, cmdline string
		make          func(r *rig)
		left          []string
		fails         string
	}{
		{"both names", "flatcar.first_boot=detected", func(r *rig) {
			r.filesystem("EFI-SYSTEM", map[string]string{"flatcar/first_boot": "", "coreos/first_boot": "", "flatcar/grub": "", "flatcar/ignition-failure.json": "{}"})
		}, []string{"EFI-SYSTEM/flatcar/grub"}, ""},
		{"one name", "coreos.first_boot=detected", func(r *rig) { r.filesystem("EFI-SYSTEM", map[string]string{"coreos/first_boot": ""}) }, nil, ""},
		{"by hand", "flatcar.first_boot=1", func(r *rig) { r.filesystem("EFI-SYSTEM", map[string]string{"flatcar/first_boot": ""}) },
			[]string{"EFI-SYSTEM/flatcar/first_boot"}, ""},
		{"no flag", "flatcar.first_boot=detected", func(r *rig) { r.filesystem("EFI-SYSTEM", nil) }, nil, "neither flatcar/first_boot nor coreos/first_boot"},
		{"no partition", "flatcar.first_boot=detected", func(*rig) {}, nil, `no filesystem is labelled "EFI-SYSTEM"`},
		{"partition that cannot be mounted", "flatcar.first_boot=detected", func(r *rig) { r.filesystem("EFI-SYSTEM", nil); r.broken["EFI-SYSTEM"] = errors.New("read-only") }, nil, "read-only"},
		{"upstream", "ignition.firstboot", func(r *rig) { r.filesystem("boot", map[string]string{"ignition.firstboot": "", "grub.cfg": ""}) }, []string{"boot/grub.cfg"}, ""},
		{"upstream by hand", "ignition.firstboot", func(r *rig) { r.filesystem("boot", nil) }, nil, ""},
		{"upstream without a partition", "ignition.firstboot=1", func(*rig) {}, nil, ""},
		{"a failure that was kept elsewhere", "flatcar.first_boot=1", func(r *rig) {
			r.write("run/ignition/earlier-failure.json", "{}", 0o600)
			r.filesystem("OEM", map[string]string{"ignition-failure.json": "{}", "grub.cfg": ""})
		}, []string{"OEM/grub.cfg"}, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, row.cmdline)
			row.make(r)
			err := r.Quench(t.Context())
			if (err == nil) != (row.fails == "") || err != nil && !strings.Contains(err.Error(), row.fails) {
				t.Errorf("%v, want %q", err, row.fails)
			}
			if got := r.tree("fs"); !slices.Equal(got, row.left) {
				t.Errorf("left %q, want %q", got, row.left)
			}
		})
	}
}

func TestPresets(t *testing.T) {
	const presets = "# made by\nenable nginx.service\ndisable b.service\nenable getty@.service tty1 tty2\nenable plain@.service\n\nmask x.service\n"
	want := "nginx.service b.service getty@tty1.service getty@tty2.service plain@.service"
	for _, row := range []struct {
		name, id, presets, want, script, fails string
	}{
		{"empty machine-id", "", presets, want, "", ""},
		{"populated machine-id", "0123456789abcdef0123456789abcdef\n", presets, want, "", ""},
		{"uninitialized", "uninitialized\n", presets, "", "", ""},
		{"missing", "(none)", presets, "", "", ""},
		{"no presets", "", "(none)", "", "", ""},
		{"a unit that does not exist", "", "enable no.service\nenable b.service\n", "no.service b.service",
			`case $4 in no.*) echo "Failed to preset unit: Unit file no.service does not exist." >&2; exit 1;; esac`, ""},
		{"a unit that cannot be enabled", "", "enable a.service\nenable b.service\n", "a.service", "echo Read-only file system >&2; exit 1", "Read-only"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, "")
			r.write("sysroot/etc/x", "", 0o644)
			if row.id != "(none)" {
				r.write("sysroot/etc/machine-id", row.id, 0o444)
			}
			if row.presets != "(none)" {
				r.write("sysroot/etc/systemd/system-preset/20-ignition.preset", row.presets, 0o644)
			}
			r.program("systemctl", `echo "$@" >>`+r.dir+"/calls\n"+row.script)
			err := r.Presets(t.Context())
			if (err == nil) != (row.fails == "") || err != nil && !strings.Contains(err.Error(), row.fails) {
				t.Errorf("%v, want %q", err, row.fails)
			}
			var calls []string
			for _, l := range lines([]byte(r.read("calls"))) {
				if l == "(none)" {
					continue
				}
				unit, ok := strings.CutPrefix(l, "--root="+r.dir+"/sysroot preset -- ")
				if !ok {
					t.Errorf("called with %q", l)
				}
				calls = append(calls, unit)
			}
			if got := strings.Join(calls, " "); got != row.want {
				t.Errorf("units %q, want %q", got, row.want)
			}
		})
	}
}

func TestWriteResolver(t *testing.T) {
	r := newRig(t, "")
	if err := r.WriteResolver(); err != nil || r.read("etc/resolv.conf") != "(none)" {
		t.Errorf("without a state: %v, %q", err, r.read("etc/resolv.conf"))
	}
	r.write("run/systemd/netif/state", "# This is private data\nOPER_STATE=routable\nDNS=10.0.2.3 fe80::1%2#dot.example\nDOMAINS=a.example ~b.example\n", 0o644)
	want := resolvHead + "search a.example b.example\nnameserver 10.0.2.3\nnameserver fe80::1%2\n"
	for range 2 {
		if err := r.WriteResolver(); err != nil || r.read("etc/resolv.conf") != want {
			t.Errorf("%v, %q", err, r.read("etc/resolv.conf"))
		}
	}
	r.write("run/systemd/netif/state", "OPER_STATE=carrier\n", 0o644)
	if err := r.WriteResolver(); err != nil || r.read("etc/resolv.conf") != want {
		t.Errorf("servers that went away: %v, %q", err, r.read("etc/resolv.conf"))
	}
	r.write("run/systemd/netif/state", "DNS=1.2.3.4\n", 0o644)
	r.write("etc/resolv.conf", "nameserver 9.9.9.9\n", 0o644)
	if err := r.WriteResolver(); err != nil || r.read("etc/resolv.conf") != "nameserver 9.9.9.9\n" {
		t.Errorf("somebody else's file: %v, %q", err, r.read("etc/resolv.conf"))
	}
}

func TestCleanNetwork(t *testing.T) {
	for _, row := range []struct{ cmdline, want string }{
		{"root=LABEL=ROOT", "address flush dev ens3\nlink set dev ens3 down\n"},
		{"root=nfs:1.2.3.4:/x", "(none)"},
		{"netroot=iscsi:x root=/dev/sda", "(none)"},
	} {
		r := newRig(t, row.cmdline)
		r.program("ip", `echo "$@" >>`+r.dir+"/calls")
		for name, flags := range map[string]string{"lo": "0x9", "ens3": "0x1003", "ens4": "0x1002"} {
			r.write("sys/class/net/"+name+"/flags", flags+"\n", 0o444)
		}
		if err := r.CleanNetwork(t.Context()); err != nil || r.read("calls") != row.want {
			t.Errorf("%s: %v, called\n%swant\n%s", row.cmdline, err, r.read("calls"), row.want)
		}
	}
}
