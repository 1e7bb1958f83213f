// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"bytes"
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/stages/mount"
	"firstboot.dev/ignition/internal/stages/umount"
	"firstboot.dev/ignition/tests/filesystems"
)

// boot is a sysroot and a config whose filesystems are real ones.
type boot struct {
	t       *testing.T
	dir     string
	root    string
	log     bytes.Buffer
	cfg     config.Config
	flatcar bool
	notated []string
}

func newBoot(t *testing.T) *boot {
	t.Helper()
	b := &boot{t: t, dir: filesystems.Private(t)}
	b.root = filepath.Join(b.dir, "sysroot")
	b.must(os.Mkdir(b.root, 0o755))
	// In production the sysroot is a mount.
	filesystems.Run(t, "mount", "-t", "tmpfs", "sysroot", b.root)
	return b
}

func (b *boot) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *boot) add(device, format, path string, options ...string) {
	b.cfg.Storage.Filesystems = append(b.cfg.Storage.Filesystems,
		config.Filesystem{Device: device, Format: &format, Path: &path, MountOptions: options})
}

// device makes a filesystem and adds it.
func (b *boot) device(format, path string, options ...string) string {
	b.t.Helper()
	d := filesystems.Device(b.t, b.dir, format)
	b.add(d, format, path, options...)
	return d
}

func (b *boot) logger() *oplog.Logger { return oplog.New(oplog.StdoutHandler(&b.log), nil) }

func (b *boot) tryMount() (err error) {
	b.notated, err = mount.Run(b.t.Context(), mount.Input{
		Config: &b.cfg, Root: b.root, Log: b.logger().With("mount"), Runner: &exec.Runner{},
		FlatcarOEM: b.flatcar, Mount: "mount", Blkid: "blkid", NotatedDirs: b.notated,
	})
	return err
}

func (b *boot) tryUmount() error {
	return umount.Run(b.t.Context(), umount.Input{Config: &b.cfg, Root: b.root, Log: b.logger().With("umount"), FlatcarOEM: b.flatcar})
}

func (b *boot) mount() {
	b.t.Helper()
	if err := b.tryMount(); err != nil {
		b.t.Fatalf("mount: %v\n%s", err, &b.log)
	}
}

func (b *boot) umount() {
	b.t.Helper()
	if err := b.tryUmount(); err != nil {
		b.t.Fatalf("umount: %v\n%s", err, &b.log)
	}
}

func (b *boot) write(name string) {
	b.t.Helper()
	b.must(os.WriteFile(filepath.Join(b.root, name), []byte(name), 0o644))
}

// points lists the mount points at and below the sysroot, without what was
// there at the start, in the order of the kernel's table.
func (b *boot) points() []string {
	b.t.Helper()
	raw, err := os.ReadFile("/proc/thread-self/mountinfo")
	b.must(err)
	var at []string
	for line := range strings.Lines(string(raw)) {
		p := strings.Fields(line)[4]
		if p == b.root || strings.HasPrefix(p, b.root+"/") {
			at = append(at, "/"+strings.TrimPrefix(p[len(b.root):], "/"))
		}
	}
	return at[1:]
}

func (b *boot) wantPoints(want ...string) {
	b.t.Helper()
	if got := b.points(); !slices.Equal(got, want) {
		b.t.Errorf("mounted at %q, want %q\n%s", got, want, &b.log)
	}
}

// has looks for a file on a device.
func (b *boot) has(device, name string) bool {
	b.t.Helper()
	at := filepath.Join(b.dir, "look")
	b.must(os.MkdirAll(at, 0o755))
	filesystems.Run(b.t, "mount", "-o", "ro", device, at)
	defer filesystems.Run(b.t, "umount", at)
	_, err := os.Lstat(filepath.Join(at, name))
	return err == nil
}

// TestRoundTrip: what is written between mount and umount is on the devices.
func TestRoundTrip(t *testing.T) {
	for _, format := range []string{"ext4", "xfs", "btrfs", "vfat"} {
		t.Run(format, func(t *testing.T) {
			b := newBoot(t)
			filesystems.Supports(t, format)
			inner := b.device("ext4", "/srv/deep/inner", "noatime")
			outer := b.device(format, "/srv")
			b.mount()
			b.wantPoints("/srv", "/srv/deep/inner")
			if want := []string{"/srv", "/srv/deep", "/srv/deep/inner"}; !slices.Equal(b.notated, want) {
				t.Errorf("notated %q, want %q", b.notated, want)
			}
			b.write("srv/out")
			b.write("srv/deep/inner/in")
			b.umount()
			b.wantPoints()
			if !b.has(outer, "out") || !b.has(outer, "deep/inner") || !b.has(inner, "in") {
				t.Errorf("files are missing\n%s", &b.log)
			}
			if entries, err := os.ReadDir(filepath.Join(b.root, "srv")); err != nil || len(entries) > 0 {
				t.Errorf("below the mount point: %v, %v", entries, err)
			}
		})
	}
}

// TestStacked: two at one path come off in the reverse order, and one over the
// root hides what is there.
func TestStacked(t *testing.T) {
	b := newBoot(t)
	b.write("hidden")
	low := b.device("ext4", "/data")
	high := b.device("ext4", "/data")
	over := b.device("ext4", "/")
	b.mount()
	b.wantPoints("/", "/data", "/data")
	if _, err := os.Stat(filepath.Join(b.root, "hidden")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("nothing is mounted over the root: %v", err)
	}
	b.write("data/high")
	b.write("over")
	b.umount()
	b.wantPoints()
	if b.has(low, "high") || !b.has(high, "high") || !b.has(over, "over") || !b.has(over, "data") {
		t.Errorf("files are not where they belong\n%s", &b.log)
	}
	var order []string
	for line := range strings.Lines(b.log.String()) {
		if _, p, ok := strings.Cut(line, "[finished] umounting "); ok {
			order = append(order, strings.TrimSpace(p))
		}
	}
	if want := []string{strconv.Quote(b.root + "/data"), strconv.Quote(b.root + "/data"), strconv.Quote(b.root)}; !slices.Equal(order, want) {
		t.Errorf("got %q, want %q", order, want)
	}
	if _, err := os.Stat(filepath.Join(b.root, "hidden")); err != nil {
		t.Errorf("the sysroot is gone: %v", err)
	}
	if err := b.tryUmount(); err == nil {
		t.Error("a second umount passed")
	}
	if _, err := os.Stat(filepath.Join(b.root, "hidden")); err != nil {
		t.Errorf("the second umount took the sysroot: %v", err)
	}
}

// TestMountAgain: what a run that was cut has mounted is left as it is.
func TestMountAgain(t *testing.T) {
	for _, format := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(format, func(t *testing.T) {
			b := newBoot(t)
			filesystems.Supports(t, format)
			b.device(format, "/a")
			b.device("ext4", "/a/b")
			b.device("ext4", "/a/b")
			bad := filepath.Join(b.dir, "later")
			b.add(bad, format, "/a/b/c")
			if err := b.tryMount(); err == nil {
				t.Fatal("a missing device was mounted")
			}
			b.wantPoints("/a", "/a/b", "/a/b")
			first := slices.Clone(b.notated)

			// The device turns up, and the stage is run again.
			b.must(os.Symlink(filesystems.Device(t, b.dir, format), bad))
			b.log.Reset()
			b.mount()
			b.wantPoints("/a", "/a/b", "/a/b", "/a/b/c")
			if !slices.Equal(b.notated, first) {
				t.Errorf("notated %q at first and %q then", first, b.notated)
			}
			if n := strings.Count(b.log.String(), "from an earlier run: left as it is"); n != 3 {
				t.Errorf("%d mounts are said to be left\n%s", n, &b.log)
			}
			b.umount()
			b.wantPoints()
		})
	}
}

// TestMountAgainOverRoot: of two mounts at the sysroot the lower one is the
// sysroot's own, also where both are of one kind.
func TestMountAgainOverRoot(t *testing.T) {
	b := newBoot(t)
	own := filesystems.Device(t, b.dir, "ext4")
	filesystems.Run(t, "umount", b.root)
	filesystems.Run(t, "mount", own, b.root)
	b.device("ext4", "/")
	b.mount()
	b.mount()
	b.wantPoints("/")
	b.umount()
	b.wantPoints()
	if err := b.tryUmount(); err == nil {
		t.Error("a umount too many passed")
	}
	b.write("sysroot-is-there")
	b.wantPoints()

	// The sysroot's own filesystem is not taken for one that an earlier run has
	// mounted: then the umount stage would take the sysroot away.
	b.cfg.Storage.Filesystems[0].Device = own
	b.log.Reset()
	_ = b.tryMount() // newer versions of the program do it, older ones refuse
	if !strings.Contains(b.log.String(), "[started]  mounting") {
		t.Errorf("nothing was tried\n%s", &b.log)
	}
	if strings.Contains(b.log.String(), "left as it is") {
		t.Errorf("the sysroot counts as mounted by the stage\n%s", &b.log)
	}
}

// TestMountOverOthers: what is not the config's filesystem is mounted over.
func TestMountOverOthers(t *testing.T) {
	b := newBoot(t)
	device := b.device("ext4", "/a")
	other := filesystems.Device(t, b.dir, "ext4")
	at := filepath.Join(b.root, "a")
	b.must(os.Mkdir(at, 0o755))
	filesystems.Run(t, "mount", other, at)
	b.mount()
	b.wantPoints("/a", "/a")
	b.write("a/file")
	b.umount()
	b.wantPoints("/a")
	filesystems.Run(t, "umount", at)
	if !b.has(device, "file") || b.has(other, "file") {
		t.Error("the file is not on the config's filesystem")
	}
}

// TestUmountAgain: the rest of a run that was cut is done, and nothing that
// looks otherwise passes.
func TestUmountAgain(t *testing.T) {
	for _, row := range []struct {
		name string
		gone []string // unmounted before
		file string   // written below a mount point that is gone
		fine bool
	}{
		{"cut after the first", []string{"a/b/c"}, "", true},
		{"cut after the second", []string{"a/b/c", "a/b"}, "", true},
		{"complete", []string{"a/b/c", "a/b", "a"}, "", false},
		{"a gap", []string{"s"}, "", false},
		{"files astray", []string{"a/b/c"}, "a/b/c/file", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBoot(t)
			b.device("ext4", "/a")
			if row.name == "a gap" {
				b.device("ext4", "/s")
			}
			b.device("ext4", "/a/b")
			b.device("ext4", "/a/b/c")
			b.mount()
			for _, p := range row.gone {
				b.must(unix.Unmount(filepath.Join(b.root, p), 0))
			}
			if row.file != "" {
				b.write(row.file)
			}
			err := b.tryUmount()
			if row.fine {
				if err != nil || strings.Count(b.log.String(), "by an earlier run that was cut") != len(row.gone) {
					t.Errorf("error %v\n%s", err, &b.log)
				}
				b.wantPoints()
				return
			}
			var entry *config.EntryError
			if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) || !errors.As(err, &entry) || !strings.Contains(entry.Hint, "it is not mounted") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestUmountBusy: the error names the entry and who holds the filesystem.
func TestUmountBusy(t *testing.T) {
	b := newBoot(t)
	b.device("ext4", "/a")
	b.device("ext4", "/b")
	b.mount()
	sleep := osexec.Command("sleep", "1000")
	sleep.Dir = filepath.Join(b.root, "b")
	b.must(sleep.Start())
	t.Cleanup(func() { _ = sleep.Process.Kill(); _ = sleep.Wait() })
	err := b.tryUmount()
	var entry *config.EntryError
	if !errors.Is(err, unix.EBUSY) || !errors.As(err, &entry) || entry.Path != "$.storage.filesystems.1.path" || entry.Hint == "" {
		t.Fatalf("got %#v", err)
	}
	if !strings.Contains(err.Error(), "used by "+strconv.Itoa(sleep.Process.Pid)+" (sleep)") {
		t.Errorf("got %v", err)
	}
	b.wantPoints("/a", "/b")
	_ = sleep.Process.Kill()
	_ = sleep.Wait()
	b.umount()
	b.wantPoints()
}

// TestFlatcarOEM: /usr/share/oem is a link to /oem on Flatcar, and the OEM
// filesystem there may be of another type than the config says.
func TestFlatcarOEM(t *testing.T) {
	for _, format := range []string{"ext4", "btrfs"} {
		t.Run(format, func(t *testing.T) {
			b := newBoot(t)
			b.flatcar = true
			filesystems.Supports(t, format)
			device := filesystems.Device(t, b.dir, format, "-L", "OEM")
			filesystems.Labels(t, b.dir, map[string]string{"OEM": device})
			b.must(os.MkdirAll(filepath.Join(b.root, "usr/share"), 0o755))
			b.must(os.Symlink("../../oem", filepath.Join(b.root, "usr/share/oem")))
			b.add("/dev/disk/by-label/OEM", "ext4", "/usr/share/oem")
			b.mount()
			b.wantPoints("/oem")
			b.write("usr/share/oem/file")
			b.mount() // a second run finds it
			b.wantPoints("/oem")
			b.umount()
			b.wantPoints()
			if !b.has(device, "file") {
				t.Errorf("the file is not on the OEM filesystem\n%s", &b.log)
			}
			b.flatcar = false
			if err := b.tryMount(); err == nil || !strings.Contains(err.Error(), "contains non-directory component") {
				t.Errorf("elsewhere: %v", err)
			}
		})
	}
}

// TestRealRefusals: the reasons that the real programs give lead to the field.
func TestRealRefusals(t *testing.T) {
	for _, row := range []struct{ name, on, format, option, field string }{
		{"another type", "ext4", "xfs", "", "format"},
		{"bad option", "ext4", "ext4", "no-such-option", "mountOptions"},
		{"no filesystem", "", "ext4", "noatime", "device"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := newBoot(t)
			filesystems.Need(t, "blkid")
			device := filesystems.Device(t, b.dir, row.on)
			b.add(device, row.format, "/a", row.option)
			err := b.tryMount()
			var entry *config.EntryError
			if !errors.As(err, &entry) || entry.Path != "$.storage.filesystems.0."+row.field {
				t.Errorf("got %#v", err)
			}
			b.wantPoints()
		})
	}
}
