// SPDX-License-Identifier: Apache-2.0

package hyperv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/tests/logs"
	"golang.org/x/sys/unix"
)

var update = flag.Bool("update", false, "rewrite the files of testdata")

// short are times for tests.
var short = patience{device: 60 * time.Millisecond, interval: time.Millisecond, quiet: time.Millisecond, total: 10 * time.Second}

// message is what the kernel hands over: an operation, and for a "set" a pair.
func message(op, pool byte, key, value string) []byte {
	m := make([]byte, messageSize)
	m[0], m[1] = op, pool
	binary.NativeEndian.PutUint32(m[4:], 1) // REG_SZ
	binary.NativeEndian.PutUint32(m[8:], uint32(len(key)+1))
	binary.NativeEndian.PutUint32(m[12:], uint32(len(value)+1))
	copy(m[16:16+512], key)
	copy(m[528:528+2048], value)
	return m
}

func set(pool byte, key, value string) []byte { return message(opSet, pool, key, value) }

// sized is a "set" whose sizes lie.
func sized(keySize, valueSize uint32) []byte {
	m := set(0, "ignition.config", "SECRET")
	binary.NativeEndian.PutUint32(m[8:], keySize)
	binary.NativeEndian.PutUint32(m[12:], valueSize)
	return m
}

// reply is a read of the device: a message, or an error.
type reply struct {
	message []byte
	err     error
}

// kernel is a device with a recorded host behind it.
type kernel struct {
	replies   []reply
	polls     []error // of the first polls; nil: as usual
	writes    []error // of the first writes
	shortAt   int     // the write that is short, from 1
	written   [][]byte
	closed    bool
	afterPoll func()
}

func (k *kernel) Poll(time.Duration) (bool, error) {
	if k.afterPoll != nil {
		defer k.afterPoll()
	}
	if len(k.polls) > 0 {
		err := k.polls[0]
		k.polls = k.polls[1:]
		if err != nil {
			return false, err
		}
	}
	return len(k.replies) > 0, nil
}

func (k *kernel) Read(p []byte) (int, error) {
	r := k.replies[0]
	k.replies = k.replies[1:]
	return copy(p, r.message), r.err
}

func (k *kernel) Write(p []byte) (int, error) {
	if len(k.writes) > 0 {
		err := k.writes[0]
		k.writes = k.writes[1:]
		if err != nil {
			return 0, err
		}
	}
	k.written = append(k.written, bytes.Clone(p))
	if len(k.written) == k.shortAt {
		return len(p) - 1, nil
	}
	return len(p), nil
}

func (k *kernel) Close() error { k.closed = true; return nil }

func host(messages ...[]byte) *kernel {
	k := &kernel{}
	for _, m := range append([][]byte{message(opRegister, 0, "", "")}, messages...) {
		k.replies = append(k.replies, reply{message: m})
	}
	return k
}

// environment is a machine with the driver loaded.
func environment(t *testing.T) (*providers.Env, *logs.Lines) {
	t.Helper()
	log := &logs.Lines{}
	env := &providers.Env{Log: log, SysDir: t.TempDir(), DevDir: "/dev", Modprobe: func(context.Context, string) error {
		t.Error("the module was loaded although it is there")
		return nil
	}}
	if err := os.MkdirAll(filepath.Join(env.SysDir, "bus/vmbus/drivers/hv_utils"), 0o755); err != nil {
		t.Fatal(err)
	}
	return env, log
}

func (k *kernel) open(string) (device, error) { return k, nil }

func TestConfig(t *testing.T) {
	const whole, part = "ignition.config", "ignition.config."
	long := strings.Repeat("x", 2047)
	for _, row := range []struct {
		name          string
		messages      [][]byte
		want, missing string
	}{
		{name: "single key", messages: [][]byte{set(0, whole, "{}")}, want: "{}"},
		{name: "none"},
		{name: "other keys", messages: [][]byte{set(0, "HostName", "h"), set(3, "x", "y")}},
		{name: "another pool", messages: [][]byte{set(1, whole, "{}")}},
		{name: "parts", messages: [][]byte{set(0, part+"0", "{"), set(0, part+"1", "}")}, want: "{}"},
		{name: "parts out of order", messages: [][]byte{set(0, part+"1", "}"), set(0, part+"0", "{")}, want: "{}"},
		{name: "parts with a gap", messages: [][]byte{set(0, part+"0", "{"), set(0, part+"2", "}")}, want: "{", missing: part + "1"},
		{name: "no first part", messages: [][]byte{set(0, part+"1", "{}")}, missing: part + "0"},
		{name: "an empty part is none of a gap", messages: [][]byte{set(0, part+"0", "{"), set(0, part+"1", ""), set(0, part+"2", "}")}, want: "{}"},
		{name: "ten parts and more", messages: [][]byte{set(0, part+"0", "0"), set(0, part+"1", "1"), set(0, part+"2", "2"), set(0, part+"3", "3"), set(0, part+"4", "4"),
			set(0, part+"5", "5"), set(0, part+"6", "6"), set(0, part+"7", "7"), set(0, part+"8", "8"), set(0, part+"9", "9"), set(0, part+"10", "a")}, want: "0123456789a"},
		{name: "single key before parts", messages: [][]byte{set(0, part+"0", "x"), set(0, whole, "{}")}, want: "{}"},
		{name: "an empty single key", messages: [][]byte{set(0, whole, ""), set(0, part+"0", "{}")}, want: "{}"},
		{name: "set again", messages: [][]byte{set(0, whole, "old"), set(0, whole, "{}")}, want: "{}"},
		{name: "as long as a value can be", messages: [][]byte{set(0, whole, long)}, want: long},
		{name: "lengths without the NUL", messages: [][]byte{sized(15, 6)}, want: "SECRET"},
		{name: "value of no length", messages: [][]byte{sized(16, 0)}},
	} {
		t.Run(row.name, func(t *testing.T) {
			env, log := environment(t)
			k := host(row.messages...)
			all, err := collect(t.Context(), env, k.open, short)
			if err != nil {
				t.Fatal(err)
			}
			raw, missing := all.config()
			if string(raw) != row.want || missing != row.missing {
				t.Errorf("got %q, missing %q; want %q, %q", raw, missing, row.want, row.missing)
			}
			if !k.closed || log.String() != "" {
				t.Errorf("closed: %v; log %q", k.closed, log)
			}
		})
	}
}

// TestAnswers checks what is written to the device: the registration, and an
// answer to all but the kernel's half of it.
func TestAnswers(t *testing.T) {
	env, log := environment(t)
	k := host(message(0, 0, "get", ""), set(0, "a", "b"), message(2, 0, "a", ""), message(3, 2, "", ""), set(5, "a", "b"), message(4, 0, "", ""), set(4, "c", "d"))
	all, err := collect(t.Context(), env, k.open, short)
	if err != nil || len(all[0]) != 1 || len(all[4]) != 1 {
		t.Fatalf("got %v, %v", all, err)
	}
	want := []uint32{opRegister, 0x80004005, 0, 0x80004005, 0x80004005, 0x80004005, 0x80004005, 0}
	if len(k.written) != len(want) {
		t.Fatalf("%d messages written, want %d", len(k.written), len(want))
	}
	for i, m := range k.written {
		if len(m) != 7432 {
			t.Errorf("message %d has %d bytes", i, len(m))
		}
		got := binary.NativeEndian.Uint32(m)
		if i == 0 {
			got = uint32(m[0])
		}
		if got != want[i] {
			t.Errorf("message %d: %#x, want %#x", i, got, want[i])
		}
	}
	if log.String() != "warning the host has set a key of pool 5, which does not exist" {
		t.Errorf("log %q", log)
	}
}

// TestFiles pins path, mode and bytes of the daemon's files, which are there also when empty.
func TestFiles(t *testing.T) {
	env, _ := environment(t)
	k := host(set(0, "ignition.config", "{}"), set(3, "HostName", "h"), set(3, "PhysicalHostName", "p"))
	all, err := collect(t.Context(), env, k.open, short)
	if err != nil {
		t.Fatal(err)
	}
	files := all.files()
	if len(files) != 5 {
		t.Fatalf("%d files", len(files))
	}
	for i, f := range files {
		if want := "/var/lib/hyperv/.kvp_pool_" + string(rune('0'+i)); f.Path != want || *f.Mode != 0o600 || !*f.Overwrite {
			t.Errorf("%s, mode %o, overwrite %v; want %s", f.Path, *f.Mode, *f.Overwrite, want)
		}
		r, err := config.DataURLReader(*f.Contents.Source)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		var want []byte
		switch i {
		case 0:
			want = golden(t, "pool0.bin", got)
		case 3:
			want = golden(t, "pool3.bin", got)
		}
		if !bytes.Equal(got, want) || len(got)%2560 != 0 {
			t.Errorf("%s: %d bytes differ from testdata", f.Path, len(got))
		}
	}
}

func golden(t *testing.T, name string, got []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

func TestFaults(t *testing.T) {
	broken := errors.New("input/output error")
	hello := reply{message: message(opRegister, 0, "", "")}
	whole := reply{message: set(0, "ignition.config", "SECRET")}
	for _, row := range []struct {
		name string
		k    kernel
		want string // a config
		err  string
	}{
		{name: "silent host"},
		{name: "interrupted", k: kernel{polls: []error{unix.EINTR, unix.EAGAIN}, replies: []reply{{err: unix.EINTR}, {err: unix.EAGAIN}, hello, whole}}, want: "SECRET"},
		{name: "interrupted writes", k: kernel{writes: []error{unix.EINTR, unix.EAGAIN, nil, unix.EAGAIN}, replies: []reply{hello, whole}}, want: "SECRET"},
		{name: "registration refused", k: kernel{writes: []error{unix.EINVAL}}, err: "/dev/vmbus/hv_kvp: registering: invalid argument"},
		{name: "short registration", k: kernel{shortAt: 1}, err: "registering: short message: 7431 of 7432 bytes"},
		{name: "poll fails", k: kernel{polls: []error{broken}}, err: "waiting for the host: input/output error"},
		{name: "read fails", k: kernel{replies: []reply{hello, {err: broken}}}, err: "reading: input/output error"},
		{name: "short read", k: kernel{replies: []reply{hello, {message: whole.message[:4000]}}}, err: "reading: short message: 4000 of 7432 bytes"},
		{name: "end of file", k: kernel{replies: []reply{hello, {}}}, err: "reading: short message: 0 of 7432 bytes"},
		{name: "answer refused", k: kernel{writes: []error{nil, unix.EINVAL}, replies: []reply{hello, whole}}, err: "answering: invalid argument"},
		{name: "short answer", k: kernel{shortAt: 2, replies: []reply{hello, whole}}, err: "answering: short message: 7431 of 7432 bytes"},
		{name: "key too long", k: kernel{replies: []reply{hello, {message: sized(513, 7)}}}, err: "key: 513 bytes in a field of 512"},
		{name: "value too long", k: kernel{replies: []reply{hello, {message: sized(16, 1<<31)}}}, err: `value of key "ignition.config": 2147483648 bytes in a field of 2048`},
	} {
		t.Run(row.name, func(t *testing.T) {
			env, log := environment(t)
			all, err := collect(t.Context(), env, row.k.open, short)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Errorf("error %v, want %q", err, row.err)
			}
			if raw, _ := all.config(); string(raw) != row.want {
				t.Errorf("got %q, want %q", raw, row.want)
			}
			if !row.k.closed {
				t.Error("the device is still open")
			}
			if text := log.String() + " "; strings.Contains(text, "SECRET") || err != nil && strings.Contains(err.Error(), "SECRET") {
				t.Errorf("a secret in %q or %v", text, err)
			}
		})
	}
}

// TestChatty checks that a host that is never quiet holds no boot up.
func TestChatty(t *testing.T) {
	env, log := environment(t)
	k := host(set(0, "ignition.config", "{}"))
	k.afterPoll = func() { k.replies = append(k.replies, reply{message: message(0, 0, "", "")}) }
	wait := short
	wait.total = 5 * time.Millisecond
	all, err := collect(t.Context(), env, k.open, wait)
	if raw, _ := all.config(); err != nil || string(raw) != "{}" {
		t.Errorf("got %q, %v", raw, err)
	}
	if log.String() != "warning the host still sends messages after 5ms; they are left alone" {
		t.Errorf("log %q", log)
	}
}

// TestStuckWrite checks that a device that never takes a message does not hold a boot up.
func TestStuckWrite(t *testing.T) {
	env, _ := environment(t)
	k := host()
	for range 2000 {
		k.writes = append(k.writes, unix.EAGAIN)
	}
	if _, err := collect(t.Context(), env, k.open, short); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	env, _ := environment(t)
	ctx, cancel := context.WithCancel(t.Context())
	k := host()
	k.afterPoll = func() { cancel(); k.replies = append(k.replies, reply{message: message(0, 0, "", "")}) }
	if _, err := collect(ctx, env, k.open, short); !errors.Is(err, context.Canceled) || !k.closed {
		t.Errorf("got %v, closed: %v", err, k.closed)
	}
	absent := func(string) (device, error) { return nil, fs.ErrNotExist }
	if _, err := collect(ctx, env, absent, usual); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting for the device: %v", err)
	}
}

func TestDevice(t *testing.T) {
	for _, row := range []struct {
		name  string
		fails int // so many looks before it is there
		err   error
		want  string
		is    error
	}{
		{name: "late", fails: 3, err: fs.ErrNotExist, want: "{}"},
		{name: "never", fails: 1 << 30, err: fs.ErrNotExist, is: fs.ErrNotExist},
		{name: "another daemon has it", fails: 1, err: unix.EBUSY, is: unix.EBUSY},
	} {
		t.Run(row.name, func(t *testing.T) {
			env, _ := environment(t)
			env.DevDir = "/devices"
			k := host(set(0, "ignition.config", "{}"))
			looks, wait := 0, short
			if row.is == nil {
				wait.device = time.Minute // it does come
			}
			all, err := collect(t.Context(), env, func(path string) (device, error) {
				if path != "/devices/vmbus/hv_kvp" {
					t.Errorf("path %q", path)
				}
				if looks++; looks <= row.fails {
					return nil, row.err
				}
				return k, nil
			}, wait)
			if raw, _ := all.config(); string(raw) != row.want || !errors.Is(err, row.is) {
				t.Errorf("got %q, %v; want %q, %v", raw, err, row.want, row.is)
			}
		})
	}
}

func TestModule(t *testing.T) {
	broken := errors.New("no such module")
	for _, row := range []struct {
		name string
		err  error
		want string
	}{
		{name: "loaded"},
		{name: "cannot be loaded", err: broken, want: "loading hv_utils kernel module: no such module"},
	} {
		t.Run(row.name, func(t *testing.T) {
			loaded := ""
			env := &providers.Env{Log: &logs.Lines{}, SysDir: t.TempDir(), Modprobe: func(_ context.Context, module string) error {
				loaded += module
				return row.err
			}}
			k := host()
			_, err := collect(t.Context(), env, k.open, short)
			if loaded != "hv_utils" || !errors.Is(err, row.err) || err != nil && err.Error() != row.want {
				t.Errorf("loaded %q, %v", loaded, err)
			}
		})
	}
}

// TestFetch goes through the exported functions, on a machine without the device.
func TestFetch(t *testing.T) {
	env, _ := environment(t)
	env.DevDir = t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if res, err := Fetch(ctx, env); !errors.Is(err, context.DeadlineExceeded) || res.Files != nil {
		t.Errorf("fetch: %+v, %v", res, err)
	}
	if files, err := Files(ctx, env); !errors.Is(err, context.DeadlineExceeded) || files != nil {
		t.Errorf("files: %v, %v", files, err)
	}
	// A device that is none: the write works, nothing ever comes.
	if err := os.MkdirAll(filepath.Join(env.DevDir, "vmbus"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(filepath.Join(env.DevDir, "vmbus/hv_kvp"), 0o600); err != nil {
		t.Fatal(err)
	}
	dev, err := openDevice(filepath.Join(env.DevDir, "vmbus/hv_kvp"))
	if err != nil {
		t.Fatal(err)
	}
	defer dev.Close()
	all, err := exchange(t.Context(), env.Log, &drained{dev}, short)
	if raw, _ := all.config(); err != nil || len(raw) != 0 {
		t.Errorf("got %q, %v", raw, err)
	}
}

// drained takes what was written to a FIFO out of it, since what goes in comes out.
type drained struct{ device }

func (d *drained) Write(p []byte) (int, error) {
	n, err := d.device.Write(p)
	if err == nil {
		_, err = d.device.Read(make([]byte, len(p)))
	}
	return n, err
}

func FuzzTake(f *testing.F) {
	f.Add(set(0, "ignition.config", "{}"))
	f.Add(sized(1<<31, 1<<31))
	f.Fuzz(func(t *testing.T, b []byte) {
		m := make([]byte, messageSize)
		copy(m, b)
		var all pools
		status, err := all.take(&logs.Lines{}, m)
		if err != nil && status != statusFail {
			t.Errorf("status %#x beside %v", status, err)
		}
		for _, pool := range all {
			if len(poolFile(pool)) != len(pool)*2560 {
				t.Error("a record of the wrong size")
			}
		}
	})
}
