// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParse(t *testing.T) {
	for _, row := range []struct {
		name, line string
		want       Mounted
	}{
		{"plain", "36 35 98:1 /root /point rw,noatime - ext3 /dev/sda1 rw,errors=continue",
			Mounted{36, 35, unix.Mkdev(98, 1), "/root", "/point", "ext3", "/dev/sda1", "rw,errors=continue"}},
		{"peers", "36 35 0:42 / /point rw shared:1 master:2 - btrfs /dev/vda6 rw,subvolid=5,subvol=/",
			Mounted{36, 35, unix.Mkdev(0, 42), "/", "/point", "btrfs", "/dev/vda6", "rw,subvolid=5,subvol=/"}},
		{"blanks and backslashes", `36 35 0:42 /a\040b /c\011d\134e rw - virtiofs my\040tag rw`,
			Mounted{36, 35, unix.Mkdev(0, 42), "/a b", "/c\td\\e", "virtiofs", "my tag", "rw"}},
		{"no source", "36 35 0:42 / /point rw - tmpfs  rw", Mounted{36, 35, unix.Mkdev(0, 42), "/", "/point", "tmpfs", "", "rw"}},
		{"what is no escape", `36 35 0:42 / /p\0 rw - tmpfs a\999 rw`, Mounted{36, 35, unix.Mkdev(0, 42), "/", `/p\0`, "tmpfs", `a\999`, "rw"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := Parse(strings.NewReader(row.line + "\n"))
			if err != nil || !reflect.DeepEqual(got, []Mounted{row.want}) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, row.want)
			}
		})
	}
	for _, bad := range []string{"", "36 35 98:1 / /p rw", "x 35 98:1 / /p rw - a b", "36 x 98:1 / /p rw - a b", "36 35 98 / /p rw - a b", "36 35 9:x / /p rw - a b", "1 2 - a b"} {
		if got, err := Parse(strings.NewReader(bad + "\n")); err == nil {
			t.Errorf("%q was read as %+v", bad, got)
		}
	}
}

// FuzzParse: whatever is in the table, reading it ends without a panic.
func FuzzParse(f *testing.F) {
	f.Add(`36 35 98:1 /a\040b /point rw,noatime master:1 - ext3 /dev/sda1 rw`)
	f.Add(`36 35 98:1 /a\04`)
	f.Fuzz(func(t *testing.T, line string) {
		table, err := Parse(strings.NewReader(line))
		if err != nil && !strings.Contains(line, "\n") && len(table) > 0 {
			t.Errorf("an error beside %+v", table)
		}
	})
}

func TestStackOrder(t *testing.T) {
	table := []Mounted{
		{ID: 1, Parent: 1, Point: "/"},
		{ID: 5, Parent: 1, Point: "/data"}, {ID: 9, Parent: 5, Point: "/data"}, {ID: 7, Parent: 9, Point: "/data"},
		{ID: 8, Parent: 7, Point: "/data/sub"},
		{ID: 20, Parent: 21, Point: "/odd"}, {ID: 21, Parent: 20, Point: "/odd"},
	}
	for _, row := range []struct {
		name string
		id   uint64
		want []uint64
	}{
		{"one", 8, []uint64{8}},
		{"three", 7, []uint64{5, 9, 7}},
		{"the root of all", 1, []uint64{1}},
		{"not in the table", 77, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got []uint64
			for _, m := range stack(table, row.id) {
				got = append(got, m.ID)
			}
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
	if got := stack(table, 20); len(got) > len(table)+1 {
		t.Errorf("a circle gave %d mounts", len(got))
	}
}

// TestDone uses shares, which are told apart by name alone.
func TestDone(t *testing.T) {
	for _, row := range []struct {
		name, group, at string
		want            int
	}{
		{"nothing there", "ab", "", 0},
		{"something else", "ab", "x", 0},
		{"the first", "ab", "a", 1},
		{"both", "ab", "ab", 2},
		{"over something else", "ab", "xa", 1},
		{"hidden", "ab", "ax", 0},
		{"hidden, then again", "ab", "axa", 1},
		{"only the second", "ab", "b", 0},
		{"wrong order", "ab", "ba", 1},
		{"nothing meant", "", "a", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			var group []Mount
			for _, c := range row.group {
				group = append(group, Mount{Device: string(c), Format: virtiofs})
			}
			var at []Mounted
			for _, c := range row.at {
				at = append(at, Mounted{Source: string(c), Type: virtiofs, Root: "/"})
			}
			if got := Done(group, at); got != row.want {
				t.Errorf("got %d, want %d", got, row.want)
			}
		})
	}
}

func TestSameSubvolume(t *testing.T) {
	for _, row := range []struct {
		name, options, root, super string
		want                       bool
	}{
		{"top", "", "/", "rw,subvolid=5,subvol=/", true},
		{"default subvolume", "noatime", "/@", "rw,subvolid=256,subvol=/@", true},
		{"a directory bound", "", "/@/dir", "rw,subvolid=256,subvol=/@", false},
		{"by name", "subvol=a", "/a", "rw,subvolid=256,subvol=/a", true},
		{"by path", "ro,subvol=/a/", "/a", "rw,subvolid=256,subvol=/a", true},
		{"another name", "subvol=b", "/a", "rw,subvolid=256,subvol=/a", false},
		{"by number", "subvolid=256", "/a", "rw,subvolid=256,subvol=/a", true},
		{"another number", "subvolid=257", "/a", "rw,subvolid=256,subvol=/a", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := sameSubvolume(row.options, Mounted{Root: row.root, Super: row.super}); got != row.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestSameIsNoDevice(t *testing.T) {
	for _, m := range []Mount{
		{Device: "/dev/null", Format: "ext4"}, {Device: "/does/not/exist", Format: "ext4"}, {Device: "tag", Format: "ext4"},
	} {
		if same(m, Mounted{Source: m.Device, Root: "/", Type: "ext4"}) {
			t.Errorf("%s counts as a device", m.Device)
		}
	}
}
