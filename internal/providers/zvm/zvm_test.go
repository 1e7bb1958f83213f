// SPDX-License-Identifier: Apache-2.0

package zvm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/tests/logs"
)

func list(t *testing.T) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/list.txt")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestFind(t *testing.T) {
	full := list(t)
	header, rest, _ := strings.Cut(full, "\n")
	const record = "O 0001 A PUN 1 001 NONE 09-02 10:02:59 N "
	for _, row := range []struct {
		name, list string
		want       spoolFile
		ok         bool
	}{
		{"first of two", full, spoolFile{"0012", "NODE1"}, true},
		{"without a header", rest, spoolFile{"0012", "NODE1"}, true},
		{"no newline at the end", strings.TrimSpace(rest), spoolFile{"0012", "NODE1"}, true},
		{"upper case", record + "IGN X\n", spoolFile{"0001", "N"}, true},
		{"eleven fields", record + "ign\n", spoolFile{"0001", "N"}, true},
		{"ten fields", strings.TrimSpace(record) + "\n", spoolFile{}, false},
		{"another type", record + "ignition X\n", spoolFile{}, false},
		{"header alone", header + "\n", spoolFile{}, false},
		{"stops at an empty line", header + "\n\n" + rest, spoolFile{}, false},
		{"stops at one field", header + "\nend\n" + rest, spoolFile{}, false},
		{"nothing", "", spoolFile{}, false},
		{"garbage", "\x00\xff ign", spoolFile{}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, ok := find(row.list)
			if got != row.want || ok != row.ok {
				t.Errorf("got %+v, %v; want %+v, %v", got, ok, row.want, row.ok)
			}
		})
	}
}

// guest stands for the tools. fail names commands that do not succeed, and how often.
type guest struct {
	list, data string
	noFile     bool
	fail       map[string]int
	calls      []string
	file       string
}

var errFailed = errors.New("exit status 1")

func (g *guest) run(ctx context.Context, desc, name string, args ...string) ([]byte, []byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if len(args) == 4 && args[0] == "re" {
		g.file = args[3]
		args[3] = filepath.Base(g.file)
	}
	call := strings.Join(append([]string{name}, args...), " ")
	g.calls = append(g.calls, call)
	if g.fail[call] > 0 {
		g.fail[call]--
		return nil, []byte("no"), errFailed
	}
	switch {
	case call == "vmur li":
		return []byte(g.list), nil, nil
	case args[0] == "re" && !g.noFile:
		return nil, nil, os.WriteFile(g.file, []byte(g.data), 0o600)
	}
	return nil, nil, nil
}

const (
	online1  = "chccwdev -e 000c"
	ignore   = "cio_ignore -r 000c"
	settle   = "udevadm settle"
	listing  = "vmur li"
	receive1 = "vmur re -f 0012 NODE1.ign"
)

func TestFetch(t *testing.T) {
	full := list(t)
	for _, row := range []struct {
		name   string
		list   string
		data   string
		noFile bool
		fail   map[string]int
		calls  []string
		want   string
		err    string
		log    string
	}{
		{name: "a config", list: full, data: "{}", calls: []string{online1, settle, listing, receive1}, want: "{}"},
		{name: "NULs on both sides", list: full, data: "\x00{\x00}\x00\x00", calls: []string{online1, settle, listing, receive1}, want: "{\x00}"},
		{name: "zero bytes", list: full, calls: []string{online1, settle, listing, receive1}},
		{name: "no record", list: "ORIGINID\n", calls: []string{online1, settle, listing}, log: `info no spool file of type "ign" in the reader`},
		{name: "ignored device", list: full, data: "{}", fail: map[string]int{online1: 1}, calls: []string{online1, ignore, online1, settle, listing, receive1}, want: "{}"},
		{name: "still not online", fail: map[string]int{online1: 2}, calls: []string{online1, ignore, online1}, err: "exit status 1"},
		{name: "cannot be un-ignored", fail: map[string]int{online1: 1, ignore: 1}, calls: []string{online1, ignore}, err: "exit status 1"},
		{name: "udev does not settle", list: full, data: "{}", fail: map[string]int{settle: 1}, calls: []string{online1, settle, listing, receive1}, want: "{}", log: "warning waiting for udev to settle: exit status 1"},
		{name: "no list", fail: map[string]int{listing: 1}, calls: []string{online1, settle, listing}, err: "exit status 1"},
		{name: "not received", list: full, fail: map[string]int{receive1: 1}, calls: []string{online1, settle, listing, receive1}, err: "spool file 0012: exit status 1"},
		{name: "received nothing", list: full, noFile: true, calls: []string{online1, settle, listing, receive1}, err: "spool file 0012: open "},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := &guest{list: row.list, data: row.data, noFile: row.noFile, fail: row.fail}
			sys := t.TempDir()
			if err := os.MkdirAll(filepath.Join(sys, "bus/ccw/drivers/vmur"), 0o755); err != nil {
				t.Fatal(err)
			}
			log := &logs.Lines{}
			res, err := Fetch(t.Context(), &providers.Env{Log: log, SysDir: sys, Run: g.run})
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Errorf("error %v, want %q", err, row.err)
			}
			if string(res.Raw) != row.want || (row.want != "") && !res.Once {
				t.Errorf("got %q (once: %v), want %q", res.Raw, res.Once, row.want)
			}
			if got, want := strings.Join(g.calls, "\n"), strings.Join(row.calls, "\n"); got != want {
				t.Errorf("calls:\n%s\nwant:\n%s", got, want)
			}
			if !strings.Contains(log.String(), row.log) {
				t.Errorf("log lacks %q:\n%s", row.log, log)
			}
			if g.file != "" {
				if _, err := os.Stat(filepath.Dir(g.file)); !errors.Is(err, os.ErrNotExist) {
					t.Errorf("%s is left behind: %v", filepath.Dir(g.file), err)
				}
			}
		})
	}
}

// TestName checks that a name cannot lead out of the private directory.
func TestName(t *testing.T) {
	g := &guest{list: "O 0001 A PUN 1 001 NONE 09-02 10:02:59 ../../N ign X\n", data: "{}"}
	res, err := Fetch(t.Context(), &providers.Env{Log: &logs.Lines{}, SysDir: t.TempDir(), Run: g.run,
		Modprobe: func(context.Context, string) error { return nil }})
	if err != nil || string(res.Raw) != "{}" || filepath.Base(g.file) != "N.ign" || !strings.Contains(filepath.Dir(g.file), "ignition-zvm-") {
		t.Errorf("got %q, %v in %s", res.Raw, err, g.file)
	}
}

func TestModule(t *testing.T) {
	broken := errors.New("no such module")
	for _, row := range []struct {
		name, want string
		err        error
	}{
		{name: "loaded", want: "{}"},
		{name: "cannot be loaded", err: broken},
	} {
		t.Run(row.name, func(t *testing.T) {
			g := &guest{list: list(t), data: "{}"}
			loaded := ""
			res, err := Fetch(t.Context(), &providers.Env{Log: &logs.Lines{}, SysDir: t.TempDir(), Run: g.run,
				Modprobe: func(_ context.Context, module string) error {
					loaded += module
					return row.err
				}})
			if loaded != "vmur" || !errors.Is(err, row.err) || string(res.Raw) != row.want {
				t.Errorf("loaded %q, got %q, %v", loaded, res.Raw, err)
			}
			if row.err != nil && (err.Error() != "couldn't install vmur module: no such module" || len(g.calls) != 0) {
				t.Errorf("error %q, calls %v", err, g.calls)
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	g := &guest{}
	_, err := Fetch(ctx, &providers.Env{Log: &logs.Lines{}, SysDir: t.TempDir(), Run: g.run, Modprobe: func(context.Context, string) error { return nil }})
	if !errors.Is(err, context.Canceled) || len(g.calls) != 0 {
		t.Errorf("%v, calls %v", err, g.calls)
	}
}
