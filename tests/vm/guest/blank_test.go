// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This file takes down what a case built. It calls the kernel where it can: a
// program takes a tenth of a second to start in emulation, and every case pays.

// A stack is looked at in rounds, each of which takes one layer off, until
// nothing is left. udev and systemd look at the same devices meanwhile, so that
// what is busy now may be free a moment later.
const (
	takeDownTime = time.Minute
	roundPause   = 200 * time.Millisecond
)

// powerCut ends all use of the disks and forgets what stands upon them. Arrays
// may come back at once: udev assembles them, as it does after a reboot.
func powerCut(dir string) { _ = takeDown(dir, nil) }

// takeDown unmounts, ends swapping, stops arrays and closes mappers, and
// discards the content of disks as soon as it can, lest udev put an array of
// theirs together again.
func takeDown(dir string, discard []string) error {
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	for start := time.Now(); time.Since(start) < takeDownTime; time.Sleep(roundPause) {
		errs = nil
		unmountAll(dir, note)
		swapoffAll(note)
		busy := false
		for _, node := range sysNames("/sys/block/dm-*/dm") {
			busy = true
			if !held(node) {
				note(tool("dmsetup", "remove", "--retry", "/dev/"+node))
			}
		}
		for _, node := range sysNames("/sys/block/md*/md") {
			busy = true
			if !held(node) {
				note(tool("mdadm", "--stop", "/dev/"+node))
			}
		}
		for _, node := range sysNames("/sys/block/loop*/loop") {
			note(tool("losetup", "--detach", "/dev/"+node))
		}
		for _, d := range discard {
			note(discardAll(d))
		}
		if !busy {
			return errors.Join(errs...)
		}
		note(tool("udevadm", "settle"))
	}
	return errors.Join(append(errs, errors.New("mappers or arrays are left"))...)
}

// sysNames lists block devices that have a file or directory in sysfs.
func sysNames(pattern string) []string {
	var out []string
	names, _ := filepath.Glob(pattern)
	for _, n := range names {
		out = append(out, filepath.Base(filepath.Dir(n)))
	}
	return out
}

// held tells whether a mapper or an array stands upon a device or its partitions.
func held(node string) bool {
	own, _ := filepath.Glob("/sys/block/" + node + "/holders/*")
	parts, _ := filepath.Glob("/sys/block/" + node + "/" + node + "*/holders/*")
	return len(own)+len(parts) > 0
}

func tool(name string, args ...string) error {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// unmountAll unmounts what comes from a disk or stands below a directory, the latest first.
func unmountAll(dir string, note func(error)) {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		note(err)
		return
	}
	targets := mountsToEnd(string(raw), dir)
	slices.Reverse(targets)
	for _, t := range targets {
		if unix.Unmount(t, 0) == nil {
			continue
		}
		if err := unix.Unmount(t, unix.MNT_DETACH); err != nil {
			note(fmt.Errorf("unmount %s: %w", t, err))
		}
	}
}

// mountsToEnd picks the mount points out of a mountinfo.
func mountsToEnd(mountinfo, dir string) []string {
	var out []string
	for line := range strings.Lines(mountinfo) {
		left, right, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 5 || len(g) < 2 {
			continue
		}
		target, source := unescape(f[4]), g[1]
		ofDisk := slices.ContainsFunc([]string{"/dev/vd", "/dev/md", "/dev/dm-", "/dev/mapper/", "/dev/loop", "/dev/disk/"},
			func(p string) bool { return strings.HasPrefix(source, p) })
		if ofDisk || strings.HasPrefix(target, dir+"/") {
			out = append(out, target)
		}
	}
	return out
}

// unescape reads the octal escapes of the files of /proc.
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+4 <= len(s) {
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

func swapoffAll(note func(error)) {
	raw, err := os.ReadFile("/proc/swaps")
	if err != nil {
		note(err)
		return
	}
	if bytes.Count(raw, []byte("\n")) > 1 {
		note(tool("swapoff", "--all"))
	}
}

// discardAll gives the content of a disk back to the host; it reads as zeros then.
func discardAll(dev string) error {
	f, err := os.OpenFile(dev, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, 2)
	if err != nil {
		return err
	}
	all := [2]uint64{0, uint64(size)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), unix.BLKDISCARD, uintptr(unsafe.Pointer(&all))); errno != 0 {
		return fmt.Errorf("discard %s: %w", dev, errno)
	}
	return nil
}

// makeBlank makes disks blank for the kernel, udev and the next case. An array
// that udev put together again meanwhile writes to its members when it is
// stopped, so it looks at them more than once.
func makeBlank(dir string, disks []string) error {
	var err error
	for start := time.Now(); time.Since(start) < takeDownTime; time.Sleep(roundPause) {
		if err = blankOnce(dir, disks); err == nil {
			return nil
		}
	}
	return err
}

func blankOnce(dir string, disks []string) error {
	if err := takeDown(dir, disks); err != nil {
		return err
	}
	if _, err := os.Stat("/sys/fs/btrfs"); err == nil {
		if err := tool("btrfs", "device", "scan", "--forget"); err != nil {
			return err
		}
	}
	for _, d := range disks {
		if err := forgetPartitions(d); err != nil {
			return err
		}
		for _, offset := range []int64{0, -1 << 20} {
			blank, err := isBlank(d, offset, 1<<20)
			if err != nil {
				return err
			}
			if !blank {
				return fmt.Errorf("%s holds something at %d", d, offset)
			}
		}
	}
	return tool("udevadm", append([]string{"trigger", "--settle"}, disks...)...)
}

// forgetPartitions makes the kernel look at a disk that has no table any more.
func forgetPartitions(dev string) error {
	var err error
	for start := time.Now(); time.Since(start) < takeDownTime/4; time.Sleep(roundPause) {
		if err = rereadTable(dev); err == nil {
			break
		}
		// udev has a partition open
		if err := tool("udevadm", "settle"); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if parts := sysNames(fmt.Sprintf("/sys/block/%s/*/partition", filepath.Base(dev))); len(parts) > 0 {
		return fmt.Errorf("partitions %v are left", parts)
	}
	return nil
}

func rereadTable(dev string) error {
	f, err := os.Open(dev)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := unix.IoctlRetInt(int(f.Fd()), unix.BLKRRPART); err != nil {
		return fmt.Errorf("read the partition table of %s again: %w", dev, err)
	}
	return nil
}

func TestMountsToEnd(t *testing.T) {
	info := `22 1 0:20 / / rw - overlay overlay rw
30 22 254:1 / /tmp/case/root rw,relatime shared:1 - ext4 /dev/vda1 rw
31 30 0:40 / /tmp/case/root/proc rw - proc proc rw
32 22 9:127 / /mnt/a\040b rw - xfs /dev/md127 rw
33 22 0:41 / /tmp/case2 rw - tmpfs tmpfs rw
`
	want := []string{"/tmp/case/root", "/tmp/case/root/proc", "/mnt/a b"}
	if got := mountsToEnd(info, "/tmp/case"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
