// SPDX-License-Identifier: Apache-2.0

// Package boot boots a real machine image under QEMU, from the firmware to a
// login: scripts/boot-image builds it, with the package under test in its
// initramfs. A test takes a copy of the disk, puts files on its partitions,
// starts a machine with it, waits for what the console says, runs commands there,
// cuts the power. The package knows nothing of configs; what is tested is in its
// tests, which are skipped unless the environment has VM=1.
package boot

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Labels of the partitions of the image.
const (
	ESP  = "EFI-SYSTEM" // vfat; the firmware and GRUB start here
	Boot = "boot"       // ext4; kernel, initramfs, grub/grub.cfg
	OEM  = "OEM"        // ext4
	Root = "ROOT"       // ext4
)

// Image is the folder that scripts/boot-image filled.
type Image struct {
	Dir   string
	parts map[string]int64 // offset by label
}

var build = sync.OnceValues(func() (Image, error) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		return Image{}, err
	}
	run := func(name string, args ...string) (string, error) {
		cmd := exec.Command(name, args...)
		cmd.Dir, cmd.Stderr = root, os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(out)), nil
	}
	out, err := run("make", "--no-print-directory", "-s", "deb")
	if err != nil {
		return Image{}, err
	}
	deb := out[strings.LastIndexByte(out, '\n')+1:]
	dir := filepath.Join(root, "bin/boot-image")
	if _, err := run("scripts/boot-image", deb, dir); err != nil {
		return Image{}, err
	}
	parts, err := readLayout(filepath.Join(dir, "layout"))
	return Image{dir, parts}, err
})

// Build builds package and image, once per process; what is up to date stays.
func Build(t *testing.T) Image {
	t.Helper()
	i, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func readLayout(name string) (map[string]int64, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]int64{}
	for s := bufio.NewScanner(f); s.Scan(); {
		var label string
		var number int
		var offset, size int64
		if _, err := fmt.Sscan(s.Text(), &label, &number, &offset, &size); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", name, s.Text(), err)
		}
		out[label] = offset
	}
	return out, nil
}

// Disk is a copy of the image's disk.
type Disk struct {
	Path  string
	image Image
}

// Clone copies the disk into a folder; holes stay holes.
func (i Image) Clone(t *testing.T, dir string) *Disk {
	t.Helper()
	d := &Disk{filepath.Join(dir, "disk.raw"), i}
	if err := copySparse(filepath.Join(i.Dir, "disk.raw"), d.Path); err != nil {
		t.Fatal(err)
	}
	return d
}

// copySparse copies the parts of a file that have data.
func copySparse(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if err := out.Truncate(info.Size()); err != nil {
		return err
	}
	for at := int64(0); ; {
		start, err := in.Seek(at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			return nil
		}
		if err != nil {
			return err
		}
		if at, err = in.Seek(start, unix.SEEK_HOLE); err != nil {
			return err
		}
		if _, err := io.Copy(io.NewOffsetWriter(out, start), io.NewSectionReader(in, start, at-start)); err != nil {
			return err
		}
	}
}

// tool runs mtools (for the ESP) or debugfs on one partition.
func (d *Disk) tool(label string, mtools []string, debugfs string) ([]byte, error) {
	offset, ok := d.image.parts[label]
	if !ok {
		return nil, fmt.Errorf("the image has no partition %q", label)
	}
	cmd := exec.Command("/usr/sbin/debugfs", "-w", "-R", debugfs, fmt.Sprintf("%s?offset=%d", d.Path, offset))
	if label == ESP {
		cmd = exec.Command(mtools[0], append([]string{"-i", fmt.Sprintf("%s@@%d", d.Path, offset)}, mtools[1:]...)...)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	text := strings.TrimSpace(stderr.String())
	_, said, _ := strings.Cut(text, "\n") // after its version debugfs says what went wrong, and exits 0
	if label != ESP && err == nil && said != "" {
		err = errors.New(said)
	}
	if err != nil {
		return out, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, text)
	}
	return out, nil
}

// Put writes a file while no machine runs; the folders that it is in are made.
func (d *Disk) Put(t *testing.T, label, name, content string) {
	t.Helper()
	temp := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(temp, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for p := path.Dir(name); p != "." && p != "/"; p = path.Dir(p) {
		dirs = append([]string{p}, dirs...)
	}
	for _, p := range dirs { // that it exists is an error of both tools
		_, _ = d.tool(label, []string{"mmd", "::" + p}, "mkdir "+p)
	}
	_, _ = d.tool(label, []string{"true"}, "rm "+name)
	if _, err := d.tool(label, []string{"mcopy", "-o", temp, "::" + name}, "write "+temp+" "+name); err != nil {
		t.Fatal(err)
	}
}

// Remove removes a file while no machine runs.
func (d *Disk) Remove(t *testing.T, label, name string) {
	t.Helper()
	if _, err := d.tool(label, []string{"mdel", "::" + name}, "rm "+name); err != nil {
		t.Fatal(err)
	}
}

// Get reads a file while no machine runs; ok is false when it is not there.
func (d *Disk) Get(t *testing.T, label, name string) (content string, ok bool) {
	t.Helper()
	out, err := d.tool(label, []string{"mtype", "::" + name}, "cat "+name)
	if err != nil && (strings.Contains(err.Error(), "not found") || strings.Contains(err.Error(), "No such file")) {
		return "", false
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out), true
}
