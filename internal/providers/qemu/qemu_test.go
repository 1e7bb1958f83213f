// SPDX-License-Identifier: Apache-2.0

package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/tests/logs"
)

const (
	flatcar = "opt/org.flatcar-linux/config"
	coreos  = "opt/com.coreos/config"
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFirmware(t *testing.T) {
	page := strings.Repeat("x", 2*os.Getpagesize())
	type variable struct{ size, raw string }
	for _, row := range []struct {
		name string
		vars map[string]variable
		want string
		err  string
		log  string
	}{
		{name: "no variable", log: "info QEMU firmware config was not found. Ignoring..."},
		{name: "coreos", vars: map[string]variable{coreos: {"5\n", "hello"}}, want: "hello"},
		{name: "flatcar", vars: map[string]variable{flatcar: {"5", "hello"}}, want: "hello"},
		{name: "both: the distribution's own", vars: map[string]variable{coreos: {"1", "c"}, flatcar: {"1", "f"}}, want: "f"},
		{name: "zero bytes", vars: map[string]variable{coreos: {"0\n", ""}}},
		{name: "zero bytes of the first key decide", vars: map[string]variable{flatcar: {"0", ""}, coreos: {"1", "c"}}},
		{name: "whole pages", vars: map[string]variable{coreos: {fmt.Sprint(len(page)), page}}, want: page},
		{name: "one more byte than announced", vars: map[string]variable{coreos: {"4", "hello"}}, err: `reading QEMU firmware config "opt/com.coreos/config": missing EOF`},
		{name: "a lot more than announced", vars: map[string]variable{coreos: {"4", page}}, err: "missing EOF"},
		{name: "something where nothing was announced", vars: map[string]variable{coreos: {"0", "h"}}, err: "missing EOF"},
		{name: "less than announced", vars: map[string]variable{coreos: {"6", "hello"}}, err: "only 5 of 6 bytes"},
		{name: "size is no number", vars: map[string]variable{coreos: {"five", "hello"}}, err: "size: "},
		{name: "size is empty", vars: map[string]variable{coreos: {"", "hello"}}, err: "size: "},
		{name: "size is negative", vars: map[string]variable{coreos: {"-1", "hello"}}, err: "size: "},
		{name: "size of no config", vars: map[string]variable{coreos: {"99999999999", "hello"}}, err: "more than a config may have"},
		{name: "size but no data", vars: map[string]variable{coreos: {size: "5"}}, err: "data: "},
		{name: "a broken first key is fatal", vars: map[string]variable{flatcar: {"x", "f"}, coreos: {"1", "c"}}, err: `reading QEMU firmware config "opt/org.flatcar-linux/config"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			sys := t.TempDir()
			by := filepath.Join(sys, "firmware/qemu_fw_cfg/by_name")
			write(t, filepath.Join(by, "etc/e820/size"), "1")
			for key, v := range row.vars {
				write(t, filepath.Join(by, key, "size"), v.size)
				if row.name != "size but no data" {
					write(t, filepath.Join(by, key, "raw"), v.raw)
				}
			}
			log := &logs.Lines{}
			env := &providers.Env{Log: log, SysDir: sys, Arch: "amd64", Modprobe: func(context.Context, string) error {
				t.Error("the module was loaded although it is there")
				return nil
			}}
			res, err := Fetch(t.Context(), env)
			if row.err != "" {
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error %v, want %q", err, row.err)
				}
			} else if err != nil || string(res.Raw) != row.want {
				t.Errorf("got %.20q, %v; want %.20q", res.Raw, err, row.want)
			}
			if log.String() != row.log {
				t.Errorf("log %q, want %q", log, row.log)
			}
		})
	}
}

func TestModule(t *testing.T) {
	broken := errors.New("no such module")
	for _, row := range []struct {
		name, arch, module string
		err                error
	}{
		{"firmware", "amd64", "qemu_fw_cfg", nil},
		{"firmware, arm64", "arm64", "qemu_fw_cfg", nil},
		{"firmware, riscv64", "riscv64", "qemu_fw_cfg", nil},
		{"firmware, not loadable", "amd64", "qemu_fw_cfg", broken},
		{"disk, s390x", "s390x", "virtio_blk", nil},
		{"disk, ppc64le", "ppc64le", "virtio_blk", nil},
		{"disk, not loadable", "s390x", "virtio_blk", broken},
	} {
		t.Run(row.name, func(t *testing.T) {
			sys, dev := t.TempDir(), t.TempDir()
			var loaded []string
			env := &providers.Env{Log: &logs.Lines{}, SysDir: sys, LabelDir: filepath.Join(dev, "by-label"), Arch: row.arch,
				Modprobe: func(_ context.Context, module string) error {
					loaded = append(loaded, module)
					write(t, filepath.Join(sys, "firmware/qemu_fw_cfg/by_name", coreos, "size"), "2")
					write(t, filepath.Join(sys, "firmware/qemu_fw_cfg/by_name", coreos, "raw"), "{}")
					write(t, filepath.Join(dev, "by-id/virtio-ignition"), "{}")
					return row.err
				}}
			res, err := Fetch(t.Context(), env)
			if strings.Join(loaded, " ") != row.module || !errors.Is(err, row.err) || err == nil && string(res.Raw) != "{}" {
				t.Errorf("loaded %q, got %q, %v", loaded, res.Raw, err)
			}
		})
	}
}

// clock moves on by a second with each look.
func clock(step time.Duration) func() time.Time {
	now := time.Unix(0, 0)
	return func() time.Time {
		now = now.Add(step)
		return now
	}
}

func TestSlowRead(t *testing.T) {
	const warning = "warning Reading QEMU fw_cfg takes quadratic time. Consider moving large files or config fragments to a remote URL."
	data := bytes.Repeat([]byte("x"), 20<<10)
	for _, row := range []struct {
		name string
		step time.Duration
		want []string
	}{
		{"fast", time.Millisecond, nil},
		{"slow", 3 * time.Second, []string{warning,
			"info Reading config from QEMU fw_cfg: 4/20 KB", "info Reading config from QEMU fw_cfg: 6/20 KB", "info Reading config from QEMU fw_cfg: 8/20 KB",
			"info Reading config from QEMU fw_cfg: 10/20 KB", "info Reading config from QEMU fw_cfg: 12/20 KB", "info Reading config from QEMU fw_cfg: 14/20 KB",
			"info Reading config from QEMU fw_cfg: 16/20 KB", "info Reading config from QEMU fw_cfg: 18/20 KB", "info Reading config from QEMU fw_cfg: 20/20 KB",
			"info Reading config from QEMU fw_cfg: 20/20 KB"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			log := &logs.Lines{}
			got, err := readAll(log, &chunks{data, 1 << 10}, len(data), clock(row.step))
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if log.String() != strings.Join(row.want, "\n") {
				t.Errorf("log:\n%s\nwant:\n%s", log, strings.Join(row.want, "\n"))
			}
		})
	}
}

// chunks gives a few bytes at a time.
type chunks struct {
	rest []byte
	size int
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.size)], c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// TestReadErrors checks what ends a read, and that data and end may come together.
func TestReadErrors(t *testing.T) {
	broken := errors.New("input/output error")
	for _, row := range []struct {
		name string
		r    io.Reader
		want string
		is   error
	}{
		{"end with the data", iotest.DataErrReader(strings.NewReader("hello")), "hello", nil},
		{"byte by byte", iotest.OneByteReader(strings.NewReader("hello")), "hello", nil},
		{"error", io.MultiReader(strings.NewReader("he"), iotest.ErrReader(broken)), "", broken},
		{"early end", strings.NewReader("hell"), "", io.ErrUnexpectedEOF},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := readAll(&logs.Lines{}, row.r, 5, time.Now)
			if string(got) != row.want || !errors.Is(err, row.is) {
				t.Errorf("got %q, %v; want %q, %v", got, err, row.want, row.is)
			}
		})
	}
}

func TestDisk(t *testing.T) {
	for _, row := range []struct{ name, disk, want string }{
		{"plain", "{}", "{}"},
		{"padded with NULs", "{}" + strings.Repeat("\x00", 510), "{}"},
		{"NULs before and within stay", "\x00{\x00}\x00", "\x00{\x00}"},
		{"all NULs", strings.Repeat("\x00", 512), ""},
		{"zero bytes", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			env, log := diskEnv(t)
			write(t, disk(env), row.disk)
			res, err := Fetch(t.Context(), env)
			if err != nil || string(res.Raw) != row.want {
				t.Errorf("got %q, %v; want %q", res.Raw, err, row.want)
			}
			if want := "warning Fetching the Ignition config via the Virtio block driver is currently experimental and subject to change."; log.String() != want {
				t.Errorf("log %q", log)
			}
		})
	}
}

func diskEnv(t *testing.T) (*providers.Env, *logs.Lines) {
	t.Helper()
	log := &logs.Lines{}
	env := &providers.Env{Log: log, SysDir: t.TempDir(), LabelDir: filepath.Join(t.TempDir(), "by-label"), Arch: "s390x",
		Modprobe: func(context.Context, string) error { t.Error("the module was loaded although it is there"); return nil }}
	if err := os.MkdirAll(filepath.Join(env.SysDir, "bus/virtio/drivers/virtio_blk"), 0o755); err != nil {
		t.Fatal(err)
	}
	return env, log
}

func disk(env *providers.Env) string {
	return filepath.Join(filepath.Dir(env.LabelDir), "by-id/virtio-ignition")
}

func TestDiskLate(t *testing.T) {
	env, log := diskEnv(t)
	timer := time.AfterFunc(40*time.Millisecond, func() {
		// By a rename, as a device appears: whole.
		tmp := filepath.Join(filepath.Dir(env.LabelDir), "new")
		if os.MkdirAll(filepath.Dir(disk(env)), 0o755) == nil && os.WriteFile(tmp, []byte("{}\x00"), 0o600) == nil {
			_ = os.Rename(tmp, disk(env))
		}
	})
	defer timer.Stop()
	res, err := fromDisk(t.Context(), env, patience{timeout: 10 * time.Second, interval: 2 * time.Millisecond, report: 10 * time.Millisecond})
	if err != nil || string(res.Raw) != "{}" {
		t.Errorf("got %q, %v", res.Raw, err)
	}
	if want := fmt.Sprintf("info waiting for block device %q to appear", disk(env)); !strings.Contains(log.String(), want) {
		t.Errorf("log lacks %q:\n%s", want, log)
	}
}

func TestDiskNever(t *testing.T) {
	env, _ := diskEnv(t)
	_, err := fromDisk(t.Context(), env, patience{timeout: 20 * time.Millisecond, interval: 5 * time.Millisecond, report: time.Hour})
	if want := fmt.Sprintf("timed out after 20ms waiting for block device %q to appear", disk(env)); err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fetch(ctx, env); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	if usual.timeout != 5*time.Minute {
		t.Errorf("a disk is waited for %v", usual.timeout)
	}
}
