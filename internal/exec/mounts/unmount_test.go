// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"context"
	"errors"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/tests/filesystems"
)

func mkfifo(p string) error { return syscall.Mkfifo(p, 0o644) }

func TestUnmountTries(t *testing.T) {
	for _, row := range []struct {
		name    string
		results []error
		calls   int
		pauses  int
		want    error
	}{
		{"at once", nil, 1, 0, nil},
		{"at the third try", []error{unix.EBUSY, unix.EBUSY}, 3, 2, nil},
		{"always busy", []error{unix.EBUSY, unix.EBUSY, unix.EBUSY}, 3, 2, unix.EBUSY},
		{"not mounted", []error{unix.EINVAL}, 1, 0, unix.EINVAL},
		{"gone while it was busy", []error{unix.EBUSY, unix.EINVAL}, 2, 1, unix.EINVAL},
		{"interrupted", []error{unix.EINTR, unix.EINTR}, 3, 0, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, nil, row.results...)
			err := r.Unmount(t.Context(), r.logger, "/does/not/exist")
			if !errors.Is(err, row.want) || len(r.calls) != row.calls || r.pauses != row.pauses {
				t.Errorf("got %v after %d calls and %d pauses", err, len(r.calls), r.pauses)
			}
		})
	}
}

// TestUnmountCancelled: a run that ends does not wait for what is busy.
func TestUnmountCancelled(t *testing.T) {
	r := newRig(t, nil, unix.EBUSY, unix.EBUSY)
	ctx, cancel := context.WithCancel(t.Context())
	r.sleep = nil // the real pause
	cancel()
	err := r.Unmount(ctx, r.logger, "/does/not/exist")
	if !errors.Is(err, unix.EBUSY) || !strings.Contains(err.Error(), "context canceled") || len(r.calls) != 1 {
		t.Errorf("got %v after %d calls", err, len(r.calls))
	}
}

// TestHolders: a busy mount names the process and the mount that keep it so.
func TestHolders(t *testing.T) {
	dir := filesystems.Private(t)
	at := filepath.Join(dir, "at")
	below := filepath.Join(at, "below")
	for _, p := range []string{at, below} {
		if err := os.Mkdir(p, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("none", p, "tmpfs", 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(at, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	sleep := osexec.Command("sleep", "1000")
	sleep.Dir = at
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sleep.Process.Kill(); _ = sleep.Wait() })

	r := newRig(t, nil)
	r.unmount = nil // the real one
	err := r.Unmount(t.Context(), r.logger, at)
	want := `device or resource busy, used by the mount at "` + below + `", ` + strconv.Itoa(sleep.Process.Pid) + " (sleep)"
	if !errors.Is(err, unix.EBUSY) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if r.pauses != 2 {
		t.Errorf("%d pauses", r.pauses)
	}
	if err := unix.Unmount(below, 0); err != nil {
		t.Fatal(err)
	}
	_ = sleep.Process.Kill()
	_ = sleep.Wait()
	open, err := os.Open(filepath.Join(at, "file"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Unmount(t.Context(), r.logger, at); err == nil || !strings.HasSuffix(err.Error(), "used by "+strconv.Itoa(os.Getpid())+" ("+ownName(t)+")") {
		t.Errorf("got %v", err)
	}
	open.Close()
	if err := r.Unmount(t.Context(), r.logger, at); err != nil {
		t.Error(err)
	}
	if err := r.Unmount(t.Context(), r.logger, at); !errors.Is(err, unix.EINVAL) {
		t.Errorf("a second time: %v", err)
	}
}

func ownName(t *testing.T) string {
	t.Helper()
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(name))
}

// TestStackOfRealMounts compares what the kernel shows with what was mounted.
func TestStackOfRealMounts(t *testing.T) {
	for _, format := range []string{"ext4", "xfs", "btrfs"} {
		t.Run(format, func(t *testing.T) {
			dir := filesystems.Private(t)
			filesystems.Supports(t, format)
			device, other := filesystems.Device(t, dir, format), filesystems.Device(t, dir, "ext4")
			at := filepath.Join(dir, "a place")
			if err := os.Mkdir(at, 0o755); err != nil {
				t.Fatal(err)
			}
			if got, err := Stack(at); err != nil || got != nil {
				t.Fatalf("a mere directory has %+v, %v", got, err)
			}
			filesystems.Run(t, "mount", "-t", "tmpfs", "none", at)
			filesystems.Run(t, "mount", "-t", format, device, at)
			filesystems.Run(t, "mount", "-t", "ext4", other, at)
			got, err := Stack(at)
			if err != nil || len(got) != 3 || got[0].Type != "tmpfs" || got[1].Type != format || got[2].Type != "ext4" {
				t.Fatalf("got %+v, %v", got, err)
			}
			link := filepath.Join(dir, "link")
			if err := os.Symlink(device, link); err != nil {
				t.Fatal(err)
			}
			group := []Mount{{Device: link, Format: format}, {Device: other, Format: "ext4"}}
			if n := Done(group, got); n != 2 {
				t.Errorf("%d of the two are found", n)
			}
			if n := Done(group, got[:2]); n != 1 {
				t.Errorf("%d of the first are found", n)
			}
			if n := Done(group[1:], got[:2]); n != 0 {
				t.Errorf("%d: the one for the other", n)
			}
			bound := filepath.Join(at, "bound")
			if err := os.MkdirAll(filepath.Join(at, "sub"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(bound, 0o755); err != nil {
				t.Fatal(err)
			}
			filesystems.Run(t, "mount", "--bind", filepath.Join(at, "sub"), bound)
			if got, err := Stack(bound); err != nil || len(got) != 1 || Done(group[1:], got) != 0 {
				t.Errorf("a directory of the filesystem counts as the filesystem: %+v, %v", got, err)
			}
		})
	}
}

func TestStackOfNothing(t *testing.T) {
	if _, err := Stack(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
