// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"
)

// The report's order is part of the language: checks of an object before those of its fields, fields by name.
func TestRulesOrder(t *testing.T) {
	c := Config{
		Ignition: Ignition{Proxy: Proxy{HTTPProxy: new("")}, Config: Sources{Merge: []Resource{{}}}},
		Passwd:   Passwd{Users: []User{{}}},
		Storage: Storage{
			RAID: []RAID{{Name: "r", Level: new("1")}}, LUKS: []LUKS{{Name: "l"}}, Filesystems: []Filesystem{{}},
			Disks: []Disk{{}}, Directories: []Directory{{}}, Files: []File{{Node: Node{Path: "/l/f"}, Mode: new(-1)}},
			Links: []Link{{Node: Node{Path: "/l"}}, {Node: Node{Path: "/etc/systemd/system/a"}, Target: new("x")}},
		},
		Systemd: Systemd{Units: []Unit{{Name: "a", Contents: new("[Unit]")}}},
	}
	want := strings.Fields(`storage.links.1.path ignition.config.merge.0 ignition.proxy.httpProxy passwd.users.0.name
		storage.files.0 storage.directories.0.path storage.disks.0.device storage.files.0.mode
		storage.filesystems.0.device storage.links.0.target storage.luks.0.device storage.raid.0.devices systemd.units.0.name`)
	var got []string
	for _, e := range validateRules(&c, V3_7, func(...any) bool { return false }).Entries {
		got = append(got, strings.TrimPrefix(e.Context.String(), "$."))
	}
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got:\n%s\nwant:\n%s", g, w)
	}
}
