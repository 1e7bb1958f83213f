// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

const (
	btrfs    = "btrfs"
	virtiofs = "virtiofs"
)

// mountinfo is the kernel's table of this thread: threads of one process may
// see different mounts, and then this one's are meant.
const mountinfo = "/proc/thread-self/mountinfo"

// Mounted is one line of the kernel's table of mounts.
type Mounted struct {
	ID, Parent uint64
	Dev        uint64 // the filesystem's; btrfs has one that is no device's
	Root       string // what of the filesystem is mounted
	Point      string
	Type       string
	Source     string
	Super      string // options of the filesystem, e.g. "rw,subvol=/"
}

// Stack gives what is mounted at p itself, bottom first; nothing if p is no
// mount point. A link at p is not followed.
func Stack(p string) ([]Mounted, error) {
	id, err := mountID(p)
	if err != nil || id == 0 {
		return nil, err
	}
	raw, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("reading the table of mounts: %w", err)
	}
	table, err := Parse(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	return stack(table, id), nil
}

// mountID is the number of the mount whose root p is, or 0.
func mountID(p string) (uint64, error) {
	var sx unix.Statx_t
	err := unix.Statx(unix.AT_FDCWD, p, unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_TYPE|unix.STATX_MNT_ID, &sx)
	if err != nil {
		return 0, &os.PathError{Op: "stat", Path: p, Err: err}
	}
	// Kernels before 5.8 tell neither; nothing then counts as mounted.
	if sx.Attributes&unix.STATX_ATTR_MOUNT_ROOT == 0 || sx.Mask&unix.STATX_MNT_ID == 0 {
		return 0, nil
	}
	return sx.Mnt_id, nil
}

// stack goes from the topmost mount down while the one beneath is at the same place.
func stack(table []Mounted, id uint64) []Mounted {
	byID := make(map[uint64]Mounted, len(table))
	for _, m := range table {
		byID[m.ID] = m
	}
	var found []Mounted
	for m, ok := byID[id]; ok; m, ok = byID[m.Parent] {
		if len(found) > 0 && (m.Point != found[0].Point || m.ID == m.Parent || len(found) > len(table)) {
			break
		}
		found = append(found, m)
	}
	slices.Reverse(found)
	return found
}

// Parse reads the table of mounts.
func Parse(r io.Reader) ([]Mounted, error) {
	var table []Mounted
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // an overlay names all of its layers
	for lines.Scan() {
		m, err := parseLine(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("table of mounts: %w", err)
		}
		table = append(table, m)
	}
	return table, lines.Err()
}

// parseLine reads `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/sda1 rw`;
// the number of fields before the dash varies.
func parseLine(line string) (m Mounted, err error) {
	before, after, ok := strings.Cut(line, " - ")
	f, g := strings.Split(before, " "), strings.Split(after, " ")
	if !ok || len(f) < 6 || len(g) < 2 {
		return m, fmt.Errorf("line %q", line)
	}
	if m.ID, err = strconv.ParseUint(f[0], 10, 64); err != nil {
		return m, err
	}
	if m.Parent, err = strconv.ParseUint(f[1], 10, 64); err != nil {
		return m, err
	}
	major, minor, _ := strings.Cut(f[2], ":")
	ma, err := strconv.ParseUint(major, 10, 32)
	if err != nil {
		return m, err
	}
	mi, err := strconv.ParseUint(minor, 10, 32)
	if err != nil {
		return m, err
	}
	m.Dev = unix.Mkdev(uint32(ma), uint32(mi))
	m.Root, m.Point = Unescape(f[3]), Unescape(f[4])
	m.Type, m.Source = Unescape(g[0]), Unescape(g[1])
	if len(g) > 2 {
		m.Super = Unescape(g[2])
	}
	return m, nil
}

// Unescape undoes the kernel's octal form of blanks and backslashes.
func Unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Done tells how many of the mounts that belong at one place are there already,
// counted from the bottom: those that a run which was cut has left. What is
// above or between them hides them, so that only an unbroken top counts.
func Done(group []Mount, at []Mounted) int {
	for k := min(len(group), len(at)); k > 0; k-- {
		top := at[len(at)-k:]
		if slices.EqualFunc(group[:k], top, same) {
			return k
		}
	}
	return 0
}

// same tells whether a mount shows the filesystem that m means, as mounting it would.
func same(m Mount, at Mounted) bool {
	if m.Format == virtiofs {
		return at.Type == virtiofs && at.Source == m.Device && at.Root == "/"
	}
	dev, ok := blockDevice(m.Device)
	if !ok {
		return false
	}
	if at.Dev != dev {
		// btrfs shows the device only by its name.
		source, ok := blockDevice(at.Source)
		if !ok || source != dev {
			return false
		}
	}
	if at.Type == btrfs {
		return sameSubvolume(m.Options, at)
	}
	return at.Root == "/"
}

// sameSubvolume: without an option it is the default subvolume, whichever that
// is, but not a directory of one, as a bind mount could show it.
func sameSubvolume(options string, at Mounted) bool {
	if name, ok := option(options, "subvol"); ok {
		return path.Clean("/"+name) == at.Root
	}
	if id, ok := option(options, "subvolid"); ok {
		have, _ := option(at.Super, "subvolid")
		return have == id
	}
	name, ok := option(at.Super, "subvol")
	return !ok || name == at.Root
}

// option finds the last value of an option in a list.
func option(list, name string) (value string, ok bool) {
	for o := range strings.SplitSeq(list, ",") {
		if v, has := strings.CutPrefix(o, name+"="); has {
			value, ok = v, true
		}
	}
	return value, ok
}

// blockDevice gives the number of the block device at p, following links.
func blockDevice(p string) (uint64, bool) {
	var st unix.Stat_t
	if !path.IsAbs(p) || unix.Stat(p, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return 0, false
	}
	return st.Rdev, true
}
