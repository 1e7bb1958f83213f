// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// maxHolders bounds a list that is meant for a console.
const maxHolders = 5

// holders names what keeps the mount at p busy: mounts below it, and processes
// that have something of it open, as "412 (bash)". Of a process nothing but its
// number and the name of its command is told: arguments can hold secrets.
func holders(p string) []string {
	id, err := mountID(p)
	if err != nil || id == 0 {
		return nil
	}
	who := append(mountsBelow(id), processes(id)...)
	if more := len(who) - maxHolders; more > 0 {
		who = append(who[:maxHolders], fmt.Sprintf("%d more", more))
	}
	return who
}

func mountsBelow(id uint64) []string {
	raw, err := os.ReadFile(mountinfo)
	if err != nil {
		return nil
	}
	table, err := Parse(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	var below []string
	for _, m := range table {
		if m.Parent == id && m.ID != id {
			below = append(below, fmt.Sprintf("the mount at %q", m.Point))
		}
	}
	return below
}

// processes finds those whose working directory, root, program or open files
// are on the mount. Mapped files are not looked for: that is a lot to read.
func processes(id uint64) []string {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var pids []int
	for _, dir := range dirs {
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil && uses(dir, id) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	var who []string
	for _, pid := range pids {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
		if err != nil {
			continue // it has ended
		}
		who = append(who, fmt.Sprintf("%d (%s)", pid, printable(strings.TrimSpace(string(name)))))
	}
	return who
}

// printable keeps what a process has named itself from spoiling a console.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !strconv.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// uses tells whether a process has something of a mount open. The number of
// the mount is compared, not the device: a process in a namespace of its own
// may have the same filesystem open without keeping this mount busy.
func uses(proc string, id uint64) bool {
	links := []string{proc + "/cwd", proc + "/root", proc + "/exe"}
	// Reading the directory by itself: a process with many files needs no sorted list.
	if d, err := os.Open(proc + "/fd"); err == nil {
		names, _ := d.Readdirnames(-1)
		d.Close()
		for _, n := range names {
			links = append(links, proc+"/fd/"+n)
		}
	}
	return slices.ContainsFunc(links, func(link string) bool {
		var sx unix.Statx_t
		// What a link in /proc leads to is known to the kernel: this opens nothing.
		err := unix.Statx(unix.AT_FDCWD, link, unix.AT_NO_AUTOMOUNT|unix.AT_STATX_DONT_SYNC, unix.STATX_MNT_ID, &sx)
		return err == nil && sx.Mask&unix.STATX_MNT_ID != 0 && sx.Mnt_id == id
	})
}
