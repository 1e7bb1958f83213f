// SPDX-License-Identifier: Apache-2.0

package nvidiabluefield

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/tests/logs"
)

const notFound = "info No config found in any of the NVIDIA BlueField bootfifo interfaces"

func write(t *testing.T, sys, text string) {
	t.Helper()
	path := filepath.Join(sys, fifo)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFetch(t *testing.T) {
	large := strings.Repeat("x", 200<<10)
	for _, row := range []struct{ name, text, want, log string }{
		{name: "plain", text: "{}", want: "{}"},
		{name: "padded with NULs", text: "{}\x00\x00\x00\x00\x00\x00", want: "{}"},
		{name: "NULs on both sides", text: "\x00\x00{}\x00", want: "{}"},
		{name: "a NUL within stays", text: "{\x00}", want: "{\x00}"},
		{name: "larger than a read", text: large, want: large},
		{name: "zero bytes", log: "info FIFO is empty\n" + notFound},
		{name: "NULs alone", text: strings.Repeat("\x00", 16), log: "info FIFO is empty\n" + notFound},
	} {
		t.Run(row.name, func(t *testing.T) {
			sys := t.TempDir()
			write(t, sys, row.text)
			log := &logs.Lines{}
			env := &providers.Env{Log: log, SysDir: sys, Modprobe: func(context.Context, string) error {
				t.Error("the module was loaded although it is there")
				return nil
			}}
			res, err := Fetch(t.Context(), env)
			if err != nil || string(res.Raw) != row.want || !res.Once {
				t.Errorf("got %.20q (once: %v), %v; want %.20q", res.Raw, res.Once, err, row.want)
			}
			if got := strings.ReplaceAll(log.String(), filepath.Join(sys, fifo), "FIFO"); got != row.log {
				t.Errorf("log %q, want %q", got, row.log)
			}
		})
	}
}

func TestModule(t *testing.T) {
	broken := errors.New("no such module")
	for _, row := range []struct {
		name  string
		text  string
		err   error
		want  string
		lines []string
	}{
		{name: "brings the FIFO", text: "{}", want: "{}"},
		{name: "brings none", lines: []string{"error couldn't read config: ", notFound}},
		{name: "cannot be loaded", err: broken},
	} {
		t.Run(row.name, func(t *testing.T) {
			sys := t.TempDir()
			loaded := ""
			log := &logs.Lines{}
			env := &providers.Env{Log: log, SysDir: sys, Modprobe: func(_ context.Context, module string) error {
				loaded += module
				if row.text != "" {
					write(t, sys, row.text)
				}
				return row.err
			}}
			res, err := Fetch(t.Context(), env)
			if loaded != "mlxbf_bootctl" || !errors.Is(err, row.err) || string(res.Raw) != row.want {
				t.Errorf("loaded %q, got %q, %v", loaded, res.Raw, err)
			}
			for _, line := range row.lines {
				if !strings.Contains(log.String(), line) {
					t.Errorf("log lacks %q:\n%s", line, log)
				}
			}
		})
	}
}

// TestUnreadable checks that a FIFO that cannot be read is as none, and said.
func TestUnreadable(t *testing.T) {
	sys := t.TempDir()
	if err := os.MkdirAll(filepath.Join(sys, fifo), 0o755); err != nil { // a directory
		t.Fatal(err)
	}
	log := &logs.Lines{}
	res, err := Fetch(t.Context(), &providers.Env{Log: log, SysDir: sys})
	if err != nil || len(res.Raw) != 0 {
		t.Errorf("got %q, %v", res.Raw, err)
	}
	if text := log.String(); !strings.Contains(text, "error couldn't read config: ") || !strings.HasSuffix(text, "\n"+notFound) || strings.Contains(text, "is empty") {
		t.Errorf("log %q", text)
	}
}

// words is a FIFO as the driver shows it: to a reader with room for less than a word it is empty.
type words struct{ rest []byte }

func (w *words) Read(p []byte) (int, error) {
	n := copy(p[:len(p)&^7], w.rest)
	w.rest = w.rest[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func TestDrain(t *testing.T) {
	broken := errors.New("input/output error")
	data := bytes.Repeat([]byte("12345678"), 40<<10)
	for _, row := range []struct {
		name string
		r    io.Reader
		want []byte
		is   error
	}{
		{"words", &words{data}, data, nil},
		{"nothing", &words{}, nil, nil},
		{"end with the data", iotest.DataErrReader(&words{data}), data, nil},
		{"byte by byte", iotest.OneByteReader(strings.NewReader("hello")), []byte("hello"), nil},
		{"error", io.MultiReader(strings.NewReader("he"), iotest.ErrReader(broken)), nil, broken},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := drain(row.r)
			if !bytes.Equal(got, row.want) || !errors.Is(err, row.is) {
				t.Errorf("got %d bytes, %v; want %d, %v", len(got), err, len(row.want), row.is)
			}
		})
	}
}
