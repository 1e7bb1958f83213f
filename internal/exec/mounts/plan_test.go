// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
)

func filesystem(device, format, path string, more ...func(*config.Filesystem)) config.Filesystem {
	f := config.Filesystem{Device: device, Format: &format, Path: &path}
	for _, m := range more {
		m(&f)
	}
	return f
}

func label(s string) func(*config.Filesystem) { return func(f *config.Filesystem) { f.Label = &s } }

func options(s ...string) func(*config.Filesystem) {
	return func(f *config.Filesystem) { f.MountOptions = s }
}

func TestPlan(t *testing.T) {
	unset := filesystem("/dev/z", "ext4", "/z")
	unset.Format = nil
	noPath := filesystem("/dev/z", "ext4", "/z")
	noPath.Path = nil
	for _, row := range []struct {
		name    string
		in      []config.Filesystem
		flatcar bool
		want    []string // entry device format path options, "*" where another type may be found
	}{
		{"nothing", nil, false, nil},
		{"shallow first, config order within a depth", []config.Filesystem{
			filesystem("/dev/c", "xfs", "/var/lib/c"), filesystem("/dev/b", "ext4", "/var/b"), filesystem("/dev/v", "ext4", "/var"),
			filesystem("/dev/r", "ext4", "/"), filesystem("/dev/a", "ext4", "/srv/a"), filesystem("/dev/s", "btrfs", "/srv"),
		}, false, []string{
			"3 /dev/r ext4 / ", "2 /dev/v ext4 /var ", "5 /dev/s btrfs /srv ", "1 /dev/b ext4 /var/b ", "4 /dev/a ext4 /srv/a ", "0 /dev/c xfs /var/lib/c ",
		}},
		{"the depth is that of the clean path", []config.Filesystem{
			filesystem("/dev/a", "ext4", "/a/b"), filesystem("/dev/b", "ext4", "//b///"), filesystem("/dev/c", "ext4", "/x/../c/."),
		}, false, []string{"1 /dev/b ext4 /b ", "2 /dev/c ext4 /c ", "0 /dev/a ext4 /a/b "}},
		{"what is not mounted", []config.Filesystem{
			filesystem("/dev/a", "swap", "/a"), filesystem("/dev/b", "none", "/b"), filesystem("/dev/c", "", "/c"), unset, noPath,
			filesystem("/dev/d", "ext4", ""), filesystem("/dev/e", "vfat", "/e"),
		}, false, []string{"6 /dev/e vfat /e "}},
		{"stacked at one path", []config.Filesystem{filesystem("/dev/a", "ext4", "/data"), filesystem("/dev/b", "ext4", "/data/")},
			false, []string{"0 /dev/a ext4 /data ", "1 /dev/b ext4 /data "}},
		{"options", []config.Filesystem{filesystem("/dev/a", "ext4", "/a", options("ro", "noatime,nodev"))}, false, []string{"0 /dev/a ext4 /a ro,noatime,nodev"}},
		{"share", []config.Filesystem{filesystem("tag", "virtiofs", "/a", label("OEM"))}, true, []string{"0 tag virtiofs /a "}},
		{"Flatcar's OEM", []config.Filesystem{filesystem(oemByLabel, "ext4", "/usr/share/oem/")}, true, []string{"0 /dev/disk/by-label/OEM ext4 /oem *"}},
		{"it counts at its new depth", []config.Filesystem{filesystem("/dev/a", "ext4", "/a/b"), filesystem(oemByLabel, "ext4", "/usr/share/oem")},
			true, []string{"1 /dev/disk/by-label/OEM ext4 /oem *", "0 /dev/a ext4 /a/b "}},
		{"OEM elsewhere", []config.Filesystem{filesystem(oemByLabel, "ext4", "/mnt/oem")}, true, []string{"0 /dev/disk/by-label/OEM ext4 /mnt/oem *"}},
		{"OEM by another name", []config.Filesystem{filesystem(oemByPartLabel, "ext4", "/usr/share/oem")}, true, []string{"0 /dev/disk/by-partlabel/OEM ext4 /usr/share/oem *"}},
		{"OEM by its label", []config.Filesystem{filesystem("/dev/vda6", "ext4", "/oem", label("OEM"))}, true, []string{"0 /dev/vda6 ext4 /oem *"}},
		{"another label", []config.Filesystem{filesystem("/dev/vda6", "ext4", "/oem", label("oem"))}, true, []string{"0 /dev/vda6 ext4 /oem "}},
		{"OEM on others", []config.Filesystem{filesystem(oemByLabel, "ext4", "/usr/share/oem", label("OEM"))}, false, []string{"0 /dev/disk/by-label/OEM ext4 /usr/share/oem "}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got []string
			for _, m := range Plan(row.in, row.flatcar) {
				mark := ""
				if m.FoundType {
					mark = "*"
				}
				var n int
				if _, err := fmt.Sscanf(m.Entry, "$.storage.filesystems.%d", &n); err != nil {
					t.Errorf("entry %q: %v", m.Entry, err)
				}
				got = append(got, fmt.Sprintf("%d %s %s %s %s%s", n, m.Device, m.Format, m.Path, m.Options, mark))
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
		})
	}
}

// TestPlanIsStable: a sort that is not shows only in longer lists of mixed depth.
func TestPlanIsStable(t *testing.T) {
	var in []config.Filesystem
	for i := range 60 {
		in = append(in, filesystem(fmt.Sprintf("/dev/%02d", i), "ext4", strings.Repeat("/x", 1+i*7%5%3)))
	}
	plan := Plan(in, false)
	if len(plan) != len(in) {
		t.Fatalf("%d of %d are planned", len(plan), len(in))
	}
	for i, m := range plan[1:] {
		if before := plan[i]; depth(before.Path) > depth(m.Path) || depth(before.Path) == depth(m.Path) && before.Device > m.Device {
			t.Errorf("%s at %s comes before %s at %s", before.Device, before.Path, m.Device, m.Path)
		}
	}
}

func TestAt(t *testing.T) {
	plan := Plan([]config.Filesystem{
		filesystem("/dev/a", "ext4", "/x"), filesystem("/dev/b", "ext4", "/y"), filesystem("/dev/c", "ext4", "/x"), filesystem("/dev/d", "ext4", "/x"),
	}, false)
	for i, want := range []struct{ size, index int }{{3, 0}, {1, 0}, {3, 1}, {3, 2}} {
		group, index := At(plan, i)
		if len(group) != want.size || index != want.index || group[index].Device != plan[i].Device {
			t.Errorf("%d: got %v, %d", i, group, index)
		}
	}
}
