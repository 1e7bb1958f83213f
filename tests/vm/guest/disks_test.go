// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// wantDisks is the disk set of the guest; TestGuest of package vm makes it so.
var wantDisks = []struct{ mib, sector int }{
	{1024, 512}, {1024, 512}, {1024, 512}, {1024, 512}, {1024, 512}, {1024, 512}, {1024, 4096}, {1024, 4096},
}

// serial is the number that package vm gives to a disk.
func serial(i int) string { return fmt.Sprintf("ignition-test-%d", i) }

// dirty are the disks that a case may have written to since they were last made blank.
var dirty = map[int]bool{}

// guestDisks lists the device paths, in the order of wantDisks. Disks with
// another serial number are not ours and are left out.
func guestDisks(t *testing.T) []string {
	t.Helper()
	var out []string
	for i := range wantDisks {
		nodes, err := filepath.Glob("/sys/block/vd*/serial")
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range nodes {
			if strings.TrimSpace(mustRead(t, n)) == serial(i) {
				out = append(out, "/dev/"+filepath.Base(filepath.Dir(n)))
			}
		}
	}
	return out
}

func readSys(t *testing.T, dev, name string) string {
	t.Helper()
	return strings.TrimSpace(mustRead(t, filepath.Join("/sys/class/block", filepath.Base(dev), name)))
}

func mustRead(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// reset makes the disks blank; a disk that no case had since is blank already.
func reset(t *testing.T, e *env, disks []int) {
	t.Helper()
	all := guestDisks(t)
	var nodes []string
	for _, i := range disks {
		if dirty[i] {
			nodes = append(nodes, all[i])
		}
	}
	if len(nodes) == 0 {
		return
	}
	if err := makeBlank(e.dir, nodes); err != nil {
		// Every case after this one would fail for a reason that is not its own.
		t.Fatalf("disks %v could not be made blank: %v\n%s", nodes, err, lookAround(e))
	}
	for _, i := range disks {
		delete(dirty, i)
	}
	dropCaches()
}

// dropCaches lets go of the inodes of the shared root: for each that the guest
// remembers, the host keeps a file open, and it may keep some thousands only.
func dropCaches() {
	var inodes int
	raw, err := os.ReadFile("/proc/sys/fs/inode-nr")
	if err != nil {
		return
	}
	if _, err := fmt.Sscan(string(raw), &inodes); err == nil && inodes > 30000 {
		_ = os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0o200)
	}
}

const (
	chunk = 1 << 20 // is read at once
	block = 1 << 16 // is compared with zeros, and hashed
)

// contentHash is a hash of everything on a device. Zeros are not hashed but
// their place is, which makes it quick on disks that are mostly empty.
func contentHash(dev string) (string, error) { return rangeHash(dev, 0, -1) }

// rangeHash hashes n bytes from an offset; a negative offset counts from the
// end, a negative n means all.
func rangeHash(dev string, offset, n int64) (string, error) {
	h := sha256.New()
	err := readChunks(dev, offset, n, func(at int64, part []byte) {
		for i := 0; i < len(part); i += block {
			if b := part[i:min(i+block, len(part))]; !allZero(b) {
				_ = binary.Write(h, binary.LittleEndian, at+int64(i))
				h.Write(b)
			}
		}
	})
	return fmt.Sprintf("%x", h.Sum(nil)), err
}

// isBlank tells whether a range holds zeros only.
func isBlank(dev string, offset, n int64) (bool, error) {
	blank := true
	err := readChunks(dev, offset, n, func(_ int64, part []byte) {
		blank = blank && allZero(part)
	})
	return blank, err
}

// allZero goes by words: in emulation that is five times as fast as
// bytes.Equal with its vector instructions. Devices are read in whole sectors.
func allZero(p []byte) bool {
	for w := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(p))), len(p)/8); len(w) >= 8; w = w[8:] {
		if w[0]|w[1]|w[2]|w[3]|w[4]|w[5]|w[6]|w[7] != 0 {
			return false
		}
	}
	return true
}

// readChunks reads past the page cache: copies are slow in emulation, and what
// the cache holds is not what a power cut leaves.
func readChunks(dev string, offset, n int64, f func(at int64, part []byte)) (err error) {
	in, err := os.OpenFile(dev, os.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	size, err := in.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if offset < 0 {
		offset += size
	}
	end := size
	if n >= 0 {
		end = min(size, offset+n)
	}
	buf, err := unix.Mmap(-1, 0, chunk, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS) // aligned
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Munmap(buf)) }()
	for at := offset; at < end; at += chunk {
		part := buf[:min(chunk, end-at)]
		if _, err := in.ReadAt(part, at); err != nil {
			return fmt.Errorf("%s at %d: %w", dev, at, err)
		}
		f(at, part)
	}
	return nil
}

// identity describes what a second run must leave alone: the ends of each disk,
// where tables and superblocks are, and what blkid finds on every partition.
// Past a mount the start of a filesystem is allowed to differ (it counts its
// mounts), so the first MiB, before the first partition, has to do.
func identity(e *env, mounted bool) (string, error) {
	head := int64(4 << 20)
	if mounted {
		head = 1 << 20
	}
	var out strings.Builder
	for _, d := range e.disks {
		first, err := rangeHash(d, 0, head)
		if err != nil {
			return "", err
		}
		last, err := rangeHash(d, -1<<20, -1)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&out, "%s first %d MiB %s\n%s last MiB %s\n", d, head>>20, first, d, last)
		nodes, _ := filepath.Glob(fmt.Sprintf("/sys/block/%s/%[1]s*", filepath.Base(d)))
		for _, n := range append([]string{d}, nodes...) {
			text, _, _ := e.bash("blkid -p -o export /dev/" + filepath.Base(n))
			fmt.Fprintln(&out, text)
		}
	}
	return out.String(), nil
}

// differences lists the lines of two texts that are not in both.
func differences(a, b string) string {
	la, lb := strings.Split(a, "\n"), strings.Split(b, "\n")
	var out []string
	for _, l := range la {
		if !slices.Contains(lb, l) {
			out = append(out, "- "+l)
		}
	}
	for _, l := range lb {
		if !slices.Contains(la, l) {
			out = append(out, "+ "+l)
		}
	}
	return strings.Join(out, "\n")
}

// lookAround shows the state of the disks, for the report of a failure.
func lookAround(e *env) string {
	short := *e
	short.limit = time.Minute
	_, out, _ := short.bash(`set +e; exec 2>&1
echo '--- lsblk'; lsblk -o NAME,TYPE,SIZE,FSTYPE,LABEL,UUID,PARTLABEL,MOUNTPOINTS
for d in $DISKS; do echo "--- sgdisk -p $d"; sgdisk -p "$d"; done
echo '--- /proc/mdstat'; cat /proc/mdstat
echo '--- kernel'; dmesg | tail -n 15`)
	return out
}

// TestRangeHash: what changed must not be taken for kept.
func TestRangeHash(t *testing.T) {
	e := newEnv(t, []int{5})
	dirty[5] = true
	t.Cleanup(func() { reset(t, e, []int{5}) })
	const size = 8 << 20
	hash := func() string {
		h, err := rangeHash(e.disks[0], 0, size)
		if err != nil {
			t.Fatal(err)
		}
		return h
	}
	write := func(from string, offsets ...string) {
		e.must(t, "writing", "for at in "+strings.Join(offsets, " ")+"; do head -c 1 "+from+" | dd of=$D0 bs=1 seek=$at conv=notrunc,fsync status=none; done")
	}
	blank := hash()
	seen := map[string]string{blank: "blank"}
	offsets := []string{"0", "4096", "65528", "1048576", strconv.Itoa(size - 1)}
	for _, at := range offsets {
		write("/etc/passwd", at)
		h := hash()
		if other := seen[h]; other != "" {
			t.Errorf("a byte at %s does not change the hash (%s)", at, other)
		}
		seen[h] = "with a byte at " + at
	}
	write("/dev/zero", offsets...)
	if hash() != blank {
		t.Error("the disk is blank again, but not by its hash")
	}
	write("/etc/passwd", strconv.Itoa(size))
	if hash() != blank {
		t.Error("a byte past the range changes the hash")
	}
}
