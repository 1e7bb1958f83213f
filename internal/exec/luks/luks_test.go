// SPDX-License-Identifier: Apache-2.0

package luks

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ptr[T any](v T) *T { return &v }

// bench is a Manager with a log that can be read.
type bench struct {
	*Manager
	log   *bytes.Buffer
	calls func() []string // of stub programs
}

func newBench(r *exec.Runner) bench {
	log := &bytes.Buffer{}
	l := oplog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}), nil)
	return bench{&Manager{Runner: r, Log: l}, log, nil}
}

// stubs gives a Manager whose programs append their arguments, one call a
// line, to what calls gives. Then each does what script says.
func stubs(t *testing.T, script string) bench {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "calls")
	text := fmt.Sprintf("#!/bin/sh\n{ printf %%s \"${0##*/}\"; for a; do printf ' [%%s]' \"$a\"; done; echo; } >>%s\n%s\n", out, script)
	for _, tool := range []string{"cryptsetup", "clevis", "zkey", "zkey-cryptsetup"} {
		must(t, os.WriteFile(filepath.Join(dir, tool), []byte(text), 0o755))
	}
	b := newBench(&exec.Runner{Path: dir + ":/usr/bin:/bin"})
	b.calls = func() []string {
		data, err := os.ReadFile(out)
		if err != nil {
			return nil
		}
		return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	}
	return b
}

func checkCalls(t *testing.T, b bench, want ...string) {
	t.Helper()
	if got := b.calls(); !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// checkLog wants each text in the log, and no CRITICAL line unless one is wanted.
func checkLog(t *testing.T, b bench, crit bool, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(b.log.String(), w) {
			t.Errorf("%q is not in the log:\n%s", w, b.log)
		}
	}
	if got := strings.Contains(b.log.String(), "[failed]"); got != crit {
		t.Errorf("failed operations in the log: %v, want %v:\n%s", got, crit, b.log)
	}
}

func checkError(t *testing.T, err error, prefix string) {
	t.Helper()
	switch {
	case prefix == "" && err != nil:
		t.Errorf("unexpected error: %v", err)
	case prefix != "" && (err == nil || !strings.HasPrefix(err.Error(), prefix)):
		t.Errorf("got error %v, want one that begins with %q", err, prefix)
	}
}

var plain = Volume{Name: "data", Device: "/dev/disk/by-label/x", Alias: "/run/a/x", KeyFile: "/tmp/key"}

// with is plain, changed.
func with(f func(v *Volume)) Volume {
	v := plain
	f(&v)
	return v
}

// commands are the calls that run one command each.
var commands = []struct {
	name string
	do   func(m *Manager, t *testing.T, v Volume) error
	v    Volume
	want string // the command
	op   string
	err  string // prefix of the error when the command fails
}{
	{"format", func(m *Manager, t *testing.T, v Volume) error { return m.Format(t.Context(), v) }, plain,
		"cryptsetup [luksFormat] [--type] [luks2] [--key-file] [/tmp/key] [/run/a/x]",
		`creating \"data\"`, "cryptsetup failed: exit status 1: "},
	{"format with everything", func(m *Manager, t *testing.T, v Volume) error { return m.Format(t.Context(), v) },
		with(func(v *Volume) {
			v.Label, v.UUID = "l l", "1-2"
			v.Options, v.OpenOptions, v.Discard = []string{"--cipher", "c"}, []string{"--no"}, true
		}),
		"cryptsetup [luksFormat] [--type] [luks2] [--key-file] [/tmp/key] [--label] [l l] [--uuid] [1-2] [--cipher] [c] [/run/a/x]",
		`creating \"data\"`, "cryptsetup failed: exit status 1: "},
	{"open", func(m *Manager, t *testing.T, v Volume) error { return m.Open(t.Context(), v) }, plain,
		"cryptsetup [luksOpen] [/run/a/x] [data] [--key-file] [/tmp/key] [--persistent]",
		"opening luks device data", "opening luks device: exit status 1: "},
	{"open with everything", func(m *Manager, t *testing.T, v Volume) error { return m.Open(t.Context(), v) },
		with(func(v *Volume) {
			v.Options, v.OpenOptions, v.Discard = []string{"--no"}, []string{"--perf-no_read_workqueue", "-S", "3"}, true
		}),
		"cryptsetup [luksOpen] [/run/a/x] [data] [--key-file] [/tmp/key] [--persistent] [--allow-discards] [--perf-no_read_workqueue] [-S] [3]",
		"opening luks device data", "opening luks device: exit status 1: "},
	{"test", testKey, plain, "cryptsetup [open] [--test-passphrase] [--key-file] [/tmp/key] [/run/a/x]",
		"checking if the key opens /dev/disk/by-label/x", "testing key of luks device: exit status 1: "},
	{"test with options of the key", testKey,
		with(func(v *Volume) {
			v.OpenOptions = []string{"--refresh", "--keyfile-size=32", "-S", "3", "--perf-no_read_workqueue", "--keyfile-offset"}
		}),
		"cryptsetup [open] [--test-passphrase] [--key-file] [/tmp/key] [--keyfile-size=32] [-S] [3] [--keyfile-offset] [/run/a/x]",
		"checking if the key opens /dev/disk/by-label/x", "testing key of luks device: exit status 1: "},
	{"close", func(m *Manager, t *testing.T, v Volume) error { return m.Close(t.Context(), v.Name) }, plain,
		"cryptsetup [luksClose] [data]", "closing luks device data", "closing luks device: exit status 1: "},
	{"remove key", func(m *Manager, t *testing.T, v Volume) error { return m.RemoveKey(t.Context(), v) }, plain,
		"cryptsetup [luksRemoveKey] [/run/a/x] [/tmp/key]",
		"removing key file for data", "removing key file from luks device: exit status 1: "},
	{"mark", func(m *Manager, t *testing.T, v Volume) error { return m.SetMark(t.Context(), v, Mark{}) }, plain,
		"cryptsetup [token] [import] [--json-file] [-] [/run/a/x]",
		"marking luks device data", "marking luks device: exit status 1: "},
	{"bind", bind, with(func(v *Volume) { v.Clevis = &config.Clevis{TPM2: ptr(true)} }),
		`clevis [luks] [bind] [-f] [-k] [/tmp/key] [-d] [/run/a/x] [sss] [{"pins":{"tpm2":{}},"t":1}]`,
		"Clevis bind", "binding clevis device: exit status 1: "},
	{"verify cex", func(m *Manager, t *testing.T, v Volume) error { return m.VerifyCEX(t.Context(), v) },
		with(func(v *Volume) { v.KeyFile = CEXKeyFile }),
		"zkey-cryptsetup [setvp] [/run/a/x] [--key-file] [/etc/luks/cex.key]",
		"setting cex verification pattern of data", "zkey Verification pattern failed: exit status 1: "},
}

func testKey(m *Manager, t *testing.T, v Volume) error {
	yes, err := m.Test(t.Context(), v)
	if err == nil && !yes {
		t.Error("the key was refused")
	}
	return err
}

func bind(m *Manager, t *testing.T, v Volume) error { return m.BindClevis(t.Context(), v) }

func TestCommands(t *testing.T) {
	for _, row := range commands {
		t.Run(row.name, func(t *testing.T) {
			b := stubs(t, "exit 0")
			checkError(t, row.do(b.Manager, t, row.v), "")
			checkCalls(t, b, row.want)
			checkLog(t, b, false, "[started]  "+row.op, "[finished] "+row.op)
		})
		t.Run(row.name+" fails", func(t *testing.T) {
			b := stubs(t, "echo broken >&2; exit 1")
			err := row.do(b.Manager, t, row.v)
			checkError(t, err, row.err)
			if err != nil && !strings.HasSuffix(err.Error(), `Stderr: "broken\n"`) {
				t.Errorf("the program's own words are missing: %v", err)
			}
			checkLog(t, b, true, "[failed]   "+row.op)
		})
	}
}

func TestReopen(t *testing.T) {
	b := stubs(t, "exit 0")
	checkError(t, b.Reopen(t.Context(), plain), "")
	checkCalls(t, b, "cryptsetup [luksClose] [data]", "clevis [luks] [unlock] [-d] [/run/a/x] [-n] [data]")
	checkLog(t, b, false, "[finished] closing clevis luks device data", "[finished] reopening clevis luks device data")

	b = stubs(t, `[ ${0##*/} != cryptsetup ]`)
	checkError(t, b.Reopen(t.Context(), plain), "closing luks device: exit status 1: ")
	checkCalls(t, b, "cryptsetup [luksClose] [data]")

	b = stubs(t, `[ ${0##*/} = cryptsetup ]`)
	checkError(t, b.Reopen(t.Context(), plain), "reopening luks device data: exit status 1: ")
}

// TestTestAnswers tells the exit status that is an answer from others.
func TestTestAnswers(t *testing.T) {
	for _, row := range []struct {
		name, script string
		yes          bool
		err          string
	}{
		{"opens", "exit 0", true, ""},
		{"does not open", "echo no key >&2; exit 2", false, ""},
		{"no device", "exit 4", false, "testing key of luks device: exit status 4"},
		{"killed", "kill -9 $$", false, "testing key of luks device: signal: killed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := stubs(t, row.script)
			yes, err := b.Test(t.Context(), plain)
			checkError(t, err, row.err)
			if yes != row.yes {
				t.Errorf("got %v, want %v", yes, row.yes)
			}
			checkLog(t, b, row.err != "")
		})
	}
}

func TestNewVolume(t *testing.T) {
	l := &config.LUKS{Name: "n", Device: ptr("/dev/d"), Label: ptr(""), UUID: nil, Discard: ptr(true),
		Options: []string{"o"}, OpenOptions: []string{"p"}, CEX: config.CEX{Enabled: ptr(true)}}
	v := NewVolume(l, "/a", "/k")
	if v.Name != "n" || v.Device != "/dev/d" || v.Alias != "/a" || v.KeyFile != "/k" || v.Label != "" || v.UUID != "" ||
		!v.Discard || !v.CEX || v.Clevis != &l.Clevis || v.Options[0] != "o" || v.OpenOptions[0] != "p" {
		t.Errorf("got %+v", v)
	}
	if v := NewVolume(&config.LUKS{Label: ptr("l"), UUID: ptr("u")}, "", ""); v.Label != "l" || v.UUID != "u" || v.Discard || v.CEX {
		t.Errorf("got %+v", v)
	}
}
