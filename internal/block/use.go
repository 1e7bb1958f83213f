// SPDX-License-Identifier: Apache-2.0

package block

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/exec/mounts"
	"golang.org/x/sys/unix"
)

// Use is who has a device in use. The zero value is a device at rest.
type Use struct {
	Mounts  []string `json:"mounts,omitempty"`  // where it is mounted
	Holders []string `json:"holders,omitempty"` // devices that are made of it: md arrays, device mapper
	Swap    bool     `json:"swap,omitempty"`    // the kernel swaps to it
}

// Any tells whether anybody uses the device.
func (u Use) Any() bool { return len(u.Mounts) > 0 || len(u.Holders) > 0 || u.Swap }

// String names the users, for a message.
func (u Use) String() string {
	var parts []string
	for _, m := range u.Mounts {
		parts = append(parts, fmt.Sprintf("mounted at %q", m))
	}
	if len(u.Holders) > 0 {
		parts = append(parts, "held by "+strings.Join(u.Holders, ", "))
	}
	if u.Swap {
		parts = append(parts, "used as swap")
	}
	return strings.Join(parts, " and ")
}

// Users is a snapshot of what is mounted and swapped to.
type Users struct {
	h      *Host
	mounts []mounted
	swaps  []string // device numbers
}

type mounted struct {
	number string // of the filesystem; not the device's for btrfs
	source string // number of the source, if it is a device node
	target string
}

// Users reads the mount table and the list of swap areas. A mount source that
// is no device, or is gone, is nobody's.
func (h *Host) Users() (*Users, error) {
	raw, err := os.ReadFile(h.root + "/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("usage check: %w", err)
	}
	table, err := mounts.Parse(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("usage check: %w", err)
	}
	u := &Users{h: h}
	for _, m := range table {
		one := mounted{number: fmt.Sprintf("%d:%d", unix.Major(m.Dev), unix.Minor(m.Dev)), target: m.Point}
		if strings.HasPrefix(m.Source, "/") {
			one.source = h.numberOf(m.Source)
		}
		u.mounts = append(u.mounts, one)
	}
	raw, err = os.ReadFile(h.root + "/proc/swaps")
	if err != nil && !os.IsNotExist(err) { // a kernel without swap has no such file
		return nil, fmt.Errorf("usage check: %w", err)
	}
	for line := range strings.Lines(string(raw)) {
		if fields := strings.Fields(line); len(fields) > 0 && strings.HasPrefix(fields[0], "/") {
			u.swaps = append(u.swaps, h.numberOf(mounts.Unescape(fields[0])))
		}
	}
	return u, nil
}

// numberOf gives the device number behind a path, "" if there is no device.
func (h *Host) numberOf(path string) string {
	real, err := h.Resolve(path)
	if err != nil {
		return ""
	}
	return h.number(real)
}

// Of tells who uses one device.
func (u *Users) Of(n Node) Use {
	var use Use
	number := u.h.number(n.Path)
	for _, m := range u.mounts {
		if number != "" && (m.number == number || m.source == number) {
			use.Mounts = append(use.Mounts, m.target)
		}
	}
	// A btrfs of several devices shows one of them as its source.
	if links, _ := filepath.Glob(u.h.root + "/sys/fs/btrfs/*/devices/" + n.Name); len(links) > 0 && len(use.Mounts) == 0 {
		use.Holders = append(use.Holders, "btrfs "+filepath.Base(filepath.Dir(filepath.Dir(links[0]))))
	}
	for _, s := range u.swaps {
		use.Swap = use.Swap || s == number && number != ""
	}
	use.Holders = append(use.Holders, u.h.Holders(n)...)
	return use
}

// Holders lists the devices that are made of a device, without the partition
// maps of a device mapper disk: those are its partitions, not its users.
func (h *Host) Holders(n Node) []string {
	entries, _ := os.ReadDir(filepath.Join(h.class(n.Name), "holders"))
	var names []string
	for _, e := range entries {
		if n.DMName != "" && h.mapNumber(n, e.Name()) > 0 {
			continue
		}
		names = append(names, e.Name())
	}
	return names
}

// mapNumber gives the number of the partition of a device mapper disk that a
// holder of it maps, 0 if it is something else. kpartx marks them by their UUID.
func (h *Host) mapNumber(disk Node, holder string) int {
	uuid := readText(filepath.Join(h.class(holder), "dm", "uuid"))
	if rest, ok := strings.CutPrefix(uuid, "part"); ok {
		if digits, _, ok := strings.Cut(rest, "-"); ok {
			n, _ := strconv.Atoi(digits)
			return n
		}
	}
	// Maps without a UUID follow the disk's name: mpatha1, mpathap1, mpatha-part1.
	name := readText(filepath.Join(h.class(holder), "dm", "name"))
	if rest, ok := strings.CutPrefix(name, disk.DMName); ok && uuid == "" {
		n, _ := strconv.Atoi(strings.TrimPrefix(strings.TrimPrefix(rest, "-part"), "p"))
		return n
	}
	return 0
}
