// SPDX-License-Identifier: Apache-2.0

package config

import (
	"slices"
	"strings"
	"testing"
)

func unitsOf(list ...Unit) Config { return Config{Systemd: Systemd{Units: list}} }

func TestRulesSystemd(t *testing.T) {
	const at = "$.systemd.units."
	const useless = "warning at $.systemd.units.0.contents: unit \"a.service\" is enabled, but has no install section so enable does nothing"
	const lacks = "warning at $.systemd.units.0.contents: template unit \"a@.service\" for \"a@b.service\" doesn't have Install section"
	unit := func(contents string) Config {
		return unitsOf(Unit{Name: "a.service", Enabled: new(true), Contents: &contents})
	}
	template := func(instance, name, contents string) Config {
		return unitsOf(Unit{Name: instance, Enabled: new(true)}, Unit{Name: name, Contents: &contents})
	}
	tests := []ruleCase{
		{"no extension", V3_0, unitsOf(Unit{Name: "a"}), []string{"error at " + at + "0.name: invalid systemd unit extension"}},
		{"unknown extension", V3_0, unitsOf(Unit{Name: "a.conf"}), []string{"error at " + at + "0.name: invalid systemd unit extension"}},
		{"extension alone", V3_0, unitsOf(Unit{Name: ".service"}), nil},
		{"slash before", V3_6, unitsOf(Unit{Name: "x/a.service"}), []string{`warning at $.systemd.units.0.name: unit name "x/a.service" is not a plain file name`}},
		{"slash", V3_7, unitsOf(Unit{Name: "../a.service"}), []string{`error at $.systemd.units.0.name: unit name "../a.service" is not a plain file name`}},
		{"drop-in slash before", V3_6, unitsOf(Unit{Name: "a.service", Dropins: []Dropin{{Name: "../x.conf"}}}),
			[]string{`warning at $.systemd.units.0.dropins.0.name: drop-in name "../x.conf" is not a plain file name`}},
		{"drop-in slash", V3_7, unitsOf(Unit{Name: "a.service", Dropins: []Dropin{{Name: "../x.conf"}}}),
			[]string{`error at $.systemd.units.0.dropins.0.name: drop-in name "../x.conf" is not a plain file name`}},
		{"newline", V3_0, unitsOf(Unit{Name: "a\nb.service", Dropins: []Dropin{{Name: "\x7f.conf"}}}),
			[]string{"error at " + at + "0.name: name contains a control character",
				"error at " + at + "0.dropins.0.name: name contains a control character"}},
		{"drop-in extension", V3_0, unitsOf(Unit{Name: "a.service", Dropins: []Dropin{{Name: "a"}, {Name: "b.conf", Contents: new("[a")}}}),
			[]string{"error at " + at + "0.dropins.0.name: invalid systemd drop-in extension",
				"error at " + at + "0.dropins.1.contents: invalid unit content: unable to find end of section"}},
		{"bad contents", V3_0, unit("[a"), []string{"error at " + at + "0.contents: invalid unit content: unable to find end of section"}},
		{"enabled without contents", V3_0, unitsOf(Unit{Name: "a.service", Enabled: new(true)}), nil},
		{"enabled with empty contents", V3_0, unit(""), nil},
		{"enabled with a comment", V3_0, unit("# a"), []string{useless}},
		{"enabled with empty install", V3_0, unit("[Install]"), []string{useless}},
		{"enabled with install", V3_0, unit("[Install]\nWantedBy=a"), nil},
		{"not enabled", V3_0, unitsOf(Unit{Name: "a.service", Contents: new("[Unit]")}), nil},
		{"template without install", V3_0, template("a@b.service", "a@.service", "[Unit]\nA=b"), []string{lacks}},
		{"template with install", V3_0, template("a@b.service", "a@.service", "[Install]\nA=b"), nil},
		{"template without contents", V3_0, template("a@b.service", "a@.service", ""), nil},
		{"template of another type", V3_0, template("a@b.timer", "a@.timer", "[Unit]"), nil},
		{"template itself", V3_0, template("a@.service", "a@.service", "[Unit]"), nil},
		{"template without prefix", V3_0, template("@b.service", "@.service", "[Unit]"), nil},
		{"template cut at the first at", V3_0, template("a@b@c.service", "a@.service", "[Unit]"), []string{strings.Replace(lacks, "a@b.", "a@b@c.", 1)}},
	}
	for _, ext := range strings.Fields(".service .socket .device .mount .automount .swap .target .path .timer .snapshot .slice .scope") {
		tests = append(tests, ruleCase{"extension " + ext, V3_0, unitsOf(Unit{Name: "a.b" + ext}), nil})
	}
	runRules(t, tests)
}

func TestRulesAcrossEntries(t *testing.T) {
	node := func(p string) Node { return Node{Path: p} }
	link := func(p string) Link { return Link{Node: node(p), Target: new("/t")} }
	hard := func(target string) Config {
		return storageOf(Storage{Directories: []Directory{{Node: node("/a/d")}},
			Links: []Link{{Node: node("/a/l"), Hard: new(true), Target: &target}}})
	}
	conflict := func(contents string, paths ...string) Config {
		c := unitsOf(Unit{Name: "a.service", Contents: &contents, Dropins: []Dropin{{Name: "b.conf", Contents: &contents}}})
		for _, p := range paths {
			c.Storage.Files = append(c.Storage.Files, File{Node: node(p)})
		}
		return c
	}
	fsOn := func(d Disk, f Filesystem) Config {
		d.Device, f.Device, f.Format = "/d", "/d", new("ext4")
		return storageOf(Storage{Disks: []Disk{d}, Filesystems: []Filesystem{f}})
	}
	const device = "warning at $.storage.filesystems.0.device: "
	const ignored = ": user/group ignored for hard link"
	const clash = ".path: path conflicts with systemd unit or dropin"
	wiped := []string{device + "device matches disk with wipeTable enabled; filesystem will be wiped"}
	runRules(t, []ruleCase{
		{"below links", V3_0, storageOf(Storage{Directories: []Directory{{Node: node("/l/d")}}, Files: []File{{Node: node("/lx/f")}, {Node: node("/l/x/f")}},
			Links: []Link{link("/l"), link("/l/m")}}),
			[]string{"error at $.storage.directories.0: directory path includes link in config",
				"error at $.storage.files.1: file path includes link in config", "error at $.storage.links.1: link path includes link in config"}},
		{"below a hard link", V3_0, storageOf(Storage{Files: []File{{Node: node("/l/f")}}, Links: []Link{{Node: node("/l"), Hard: new(true), Target: new("/t")}}}),
			[]string{"error at $.storage.files.0: file path includes link in config"}},
		{"hard link to directory", V3_0, hard("/a/x/../d/"), []string{"error at $.storage.links.0: hard link target is a directory"}},
		{"hard link to relative directory", V3_0, hard("d"), []string{"error at $.storage.links.0: hard link target is a directory"}},
		{"hard link relative to itself", V3_0, hard("../d"), nil},
		{"hard link to file", V3_0, hard("/a/f"), nil},
		{"symbolic link to directory", V3_0, storageOf(Storage{Directories: []Directory{{Node: node("/t")}}, Links: []Link{link("/l")}}), nil},
		{"hard link owner", V3_0, storageOf(Storage{Links: []Link{{Hard: new(true), Target: new("/t"),
			Node: Node{Path: "/l", User: NodeOwner{ID: new(0), Name: new("")}, Group: NodeOwner{Name: new("g")}}}}}),
			[]string{"warning at $.storage.links.0.user.id" + ignored, "warning at $.storage.links.0.user.name" + ignored,
				"warning at $.storage.links.0.group.name" + ignored}},
		{"partitioned", V3_0, fsOn(Disk{WipeTable: new(true), Partitions: []Partition{{Number: 1}}}, Filesystem{}),
			[]string{device + "filesystem overwrites partitioned device"}},
		{"wiped", V3_0, fsOn(Disk{WipeTable: new(true)}, Filesystem{}), wiped},
		{"wiped, said no", V3_0, fsOn(Disk{WipeTable: new(true)}, Filesystem{WipeFilesystem: new(false)}), wiped},
		{"wiped, agreed", V3_0, fsOn(Disk{WipeTable: new(true)}, Filesystem{WipeFilesystem: new(true)}), nil},
		{"disk as it is", V3_0, fsOn(Disk{}, Filesystem{}), nil},
		{"unit file", V3_0, conflict("[Unit]", "/etc/systemd/system/a.service", "/etc/systemd/system/a.service.d", "/etc/systemd/system/a.service.d/b.conf"),
			[]string{"error at $.storage.files.0" + clash, "error at $.storage.files.2" + clash}},
		{"unit file without contents", V3_0, conflict("", "/etc/systemd/system/a.service", "/etc/systemd/system/a.service.d/b.conf"), nil},
		{"unit directory and link", V3_0, Config{Systemd: Systemd{Units: []Unit{{Name: "a.service", Contents: new("[Unit]")}, {Name: "b.service", Contents: new("[Unit]")}}},
			Storage: Storage{Directories: []Directory{{Node: node("/etc/systemd/system/a.service")}}, Links: []Link{link("/etc/systemd/system/b.service")}}},
			[]string{"error at $.storage.directories.0" + clash, "error at $.storage.links.0" + clash}},
	})
}

func TestDuplicates(t *testing.T) {
	node := func(p string) Node { return Node{Path: p} }
	twice := []string{"a", "a"}
	headers := []HTTPHeader{{Name: "a"}, {Name: "A"}, {Name: "a"}}
	reference := Resource{Source: new("http://a"), HTTPHeaders: headers}
	tests := []struct {
		name string
		c    Config
		want []string // paths
	}{
		{"merge", Config{Ignition: Ignition{Config: Sources{Merge: []Resource{{}, {Source: new("")}, {Source: new("a")}}}}}, []string{"ignition.config.merge.1"}},
		{"certificates", Config{Ignition: Ignition{Security: Security{TLS{[]Resource{{Source: new("a")}, {Source: new("a")}}}}}},
			[]string{"ignition.security.tls.certificateAuthorities.1"}},
		{"headers of references", Config{Ignition: Ignition{Config: Sources{Merge: []Resource{reference}, Replace: reference}, Security: Security{TLS{[]Resource{reference}}}}},
			[]string{"ignition.config.merge.0.httpHeaders.2", "ignition.config.replace.httpHeaders.2", "ignition.security.tls.certificateAuthorities.0.httpHeaders.2"}},
		{"headers in storage", storageOf(Storage{Files: []File{{Append: []Resource{reference, reference}, Contents: reference}}, LUKS: []LUKS{{KeyFile: reference}}}),
			[]string{"storage.files.0.append.0.httpHeaders.2", "storage.files.0.append.1.httpHeaders.2", "storage.files.0.contents.httpHeaders.2", "storage.luks.0.keyFile.httpHeaders.2"}},
		{"no proxy", Config{Ignition: Ignition{Proxy: Proxy{NoProxy: twice}}}, []string{"ignition.proxy.noProxy.1"}},
		{"kernel arguments", Config{KernelArguments: KernelArguments{ShouldExist: []string{"a", "b"}, ShouldNotExist: []string{"c", "a"}}}, []string{"kernelArguments.shouldNotExist.1"}},
		{"accounts", Config{Passwd: Passwd{Groups: []Group{{Name: "a"}, {Name: "a"}}, Users: []User{{Name: "a", Groups: twice, SSHAuthorizedKeys: twice}, {Name: "a"}}}},
			[]string{"passwd.groups.1", "passwd.users.1", "passwd.users.0.groups.1", "passwd.users.0.sshAuthorizedKeys.1"}},
		{"nodes", storageOf(Storage{Links: []Link{{Node: node("/a")}}, Files: []File{{Node: node("/a")}, {Node: node("/b")}}, Directories: []Directory{{Node: node("/a")}, {Node: node("/a")}}}),
			[]string{"storage.directories.1", "storage.files.0", "storage.links.0"}},
		{"devices", storageOf(Storage{Disks: []Disk{{Device: "/a"}, {Device: "/a"}}, Filesystems: []Filesystem{{Device: "/a"}, {Device: "/a"}},
			LUKS: []LUKS{{Name: "a"}, {Name: "a"}}, RAID: []RAID{{Name: "a", Devices: twice}, {Name: "a"}}}),
			[]string{"storage.disks.1", "storage.filesystems.1", "storage.luks.1", "storage.raid.1", "storage.raid.0.devices.1"}},
		{"partitions", diskOf(Partition{Number: 1, Label: new("a")}, Partition{Label: new("a")}, Partition{Label: new("a")}, Partition{Number: 1},
			Partition{}, Partition{Label: new("")}, Partition{}),
			[]string{"storage.disks.0.partitions.2", "storage.disks.0.partitions.3", "storage.disks.0.partitions.6"}},
		{"luks", storageOf(Storage{LUKS: []LUKS{{OpenOptions: []string{"a", "a", "a"}, Clevis: Clevis{Tang: []Tang{{URL: "a"}, {URL: "a"}}}}}}),
			[]string{"storage.luks.0.clevis.tang.1", "storage.luks.0.openOptions.1", "storage.luks.0.openOptions.2"}},
		{"units", unitsOf(Unit{Name: "a", Dropins: []Dropin{{Name: "x"}, {Name: "x"}}}, Unit{Name: "b", Dropins: []Dropin{{Name: "x"}}}, Unit{Name: "a"}),
			[]string{"systemd.units.2", "systemd.units.0.dropins.1"}},
		{"exempt", storageOf(Storage{Files: []File{{Append: []Resource{{Source: new("a")}, {Source: new("a")}}}}, Filesystems: []Filesystem{{Options: twice, MountOptions: twice}},
			RAID: []RAID{{Options: twice}}, LUKS: []LUKS{{Options: twice}}}), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got, want []string
			for _, e := range validateDuplicates(&tt.c).Entries {
				got = append(got, e.String())
			}
			for _, p := range tt.want {
				want = append(want, "error at $."+p+": duplicate entry defined")
			}
			if !slices.Equal(got, want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}
