// SPDX-License-Identifier: Apache-2.0

// Package filesystems makes real filesystems on loop devices, in a mount
// namespace that only one test sees, for tests of what mounts them. A test that
// cannot have them here is skipped, with the reason.
package filesystems

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Private gives the calling test a mount namespace of its own and a directory
// that is gone at the end with all that was mounted below it. The namespace
// belongs to the test's goroutine, and to the programs that it starts: a subtest
// is another goroutine and needs its own.
func Private(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts filesystems")
	}
	dir := t.TempDir()
	runtime.LockOSThread() // and never unlocked, so that the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		t.Skipf("needs a mount namespace of its own: %v", err)
	}
	for _, m := range []struct {
		source, target, fstype string
		flags                  uintptr
	}{
		{"none", "/", "", unix.MS_REC | unix.MS_PRIVATE},
		{"none", dir, "tmpfs", 0},
	} {
		if err := unix.Mount(m.source, m.target, m.fstype, m.flags, ""); err != nil {
			t.Fatalf("mounting at %s: %v", m.target, err)
		}
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// sizes are the least that each mkfs accepts, or a little more.
var sizes = map[string]string{"ext4": "16M", "xfs": "320M", "btrfs": "128M", "vfat": "34M"}

// Device makes a filesystem in a file below dir and gives the loop device that
// shows it. An empty format leaves the device empty.
func Device(t *testing.T, dir, format string, mkfsOptions ...string) string {
	t.Helper()
	f, err := os.CreateTemp(dir, "image-"+format+"-")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	size, ok := sizes[format]
	if !ok {
		size = "16M"
	}
	Run(t, "truncate", "-s", size, f.Name())
	if format != "" {
		Format(t, f.Name(), format, mkfsOptions...)
	}
	out, err := exec.Command("losetup", "--find", "--show", f.Name()).CombinedOutput()
	if err != nil {
		t.Skipf("needs a loop device: %v: %s", err, out)
	}
	device := strings.TrimSpace(string(out))
	// While it is mounted this makes it go by itself once it is not.
	t.Cleanup(func() { _ = exec.Command("losetup", "--detach", device).Run() })
	return device
}

// Format makes a filesystem on a file or a device.
func Format(t *testing.T, device, format string, options ...string) {
	t.Helper()
	force := map[string]string{"ext4": "-F", "xfs": "-f", "btrfs": "-f"}[format]
	args := append([]string{"-q"}, options...)
	if force != "" {
		args = append(args, force)
	}
	if format == "vfat" {
		args = args[1:]
	}
	Need(t, "mkfs."+format)
	Run(t, "mkfs."+format, append(args, device)...)
}

// Need skips a test that lacks a program.
func Need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs %s", program)
	}
}

// Supports skips a test if the kernel has no such filesystem.
func Supports(t *testing.T, format string) {
	t.Helper()
	_ = exec.Command("modprobe", "-q", format).Run()
	raw, err := os.ReadFile("/proc/filesystems")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); f[len(f)-1] == format {
			return
		}
	}
	t.Skipf("needs a kernel with %s", format)
}

// Run runs a program that must succeed, and gives what it printed.
func Run(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// Labels hides /dev/disk and shows one that has the given links in by-label,
// label to device. It is in the test's namespace alone.
func Labels(t *testing.T, dir string, links map[string]string) {
	t.Helper()
	dev := filepath.Join(dir, "dev")
	byLabel := filepath.Join(dev, "disk/by-label")
	if err := os.MkdirAll(byLabel, 0o755); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("/dev")
	if err != nil {
		t.Fatal(err)
	}
	Run(t, "mount", "--rbind", "/dev", mkdir(t, dir, "olddev"))
	for _, e := range entries {
		if e.Name() != "disk" {
			if err := os.Symlink(filepath.Join(dir, "olddev", e.Name()), filepath.Join(dev, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	for label, device := range links {
		name := filepath.Base(device)
		if err := os.Symlink(filepath.Join(dir, "olddev", name), filepath.Join(byLabel, label)); err != nil {
			t.Fatal(err)
		}
	}
	Run(t, "mount", "--bind", dev, "/dev")
	t.Cleanup(func() { _ = unix.Unmount("/dev", unix.MNT_DETACH) })
}

func mkdir(t *testing.T, elem ...string) string {
	t.Helper()
	p := filepath.Join(elem...)
	if err := os.MkdirAll(p, 0o755); err != nil {
		t.Fatal(err)
	}
	return p
}
