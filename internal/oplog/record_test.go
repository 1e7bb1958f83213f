// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func readAll(t *testing.T, path string) []Record {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := ReadRecords(f)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func TestRecordLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "ignition", "ops.jsonl")
	rec, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	rec.SetStage("files")
	rec.SetBoot("b-1")
	rec.SetRedact(func(s string) string { return strings.ReplaceAll(s, "s3cret", "<redacted>") })
	base := rec.base
	elapsed := time.Duration(0)
	l, _ := logTo()
	l.core.own.record = rec
	l.core.own.now = func() time.Time { return base.Add(elapsed) }

	stage := l.Activity(Op{Kind: KindStage, Desc: "files"})
	outer := stage.Log().Start(Op{Desc: "outer", Kind: "unit", Path: "a.service", ConfigPath: "$.systemd.units.0"})
	elapsed = 1500 * time.Millisecond
	inner := outer.Log().Start(Op{Desc: `writing file "/a s3cret"`, Kind: "write-file", Path: "/a"})
	inner.AddBytes(1000)
	inner.AddBytes(24)
	elapsed = 2 * time.Second
	_ = inner.End(errors.New("bad s3cret"))
	_ = outer.End(nil)
	_ = stage.End(nil)

	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration) string { return base.Add(d).Round(0).UTC().Format(time.RFC3339Nano) }
	want := []map[string]any{
		{"stage": "files", "op": 2.0, "parent": 1.0, "kind": "write-file", "desc": `writing file "/a <redacted>"`, "path": "/a",
			"start": at(1500 * time.Millisecond), "end": at(2 * time.Second), "seconds": 0.5,
			"outcome": "failed", "error": "bad <redacted>", "bytes": 1024.0, "boot": "b-1"},
		{"stage": "files", "op": 1.0, "kind": "unit", "desc": "outer", "path": "a.service", "config": "$.systemd.units.0",
			"start": at(0), "end": at(2 * time.Second), "seconds": 2.0, "outcome": "ok", "boot": "b-1"},
		{"stage": "files", "kind": "stage", "desc": "files",
			"start": at(0), "end": at(2 * time.Second), "seconds": 2.0, "outcome": "ok", "boot": "b-1"},
	}
	lines := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	if len(lines) != len(want) {
		t.Fatalf("%d lines:\n%s", len(lines), data)
	}
	for i, line := range lines {
		var got map[string]any
		if err := json.Unmarshal([]byte(line), &got); err != nil {
			t.Fatal(err)
		}
		g, _ := json.Marshal(got)
		w, _ := json.Marshal(want[i])
		check(t, string(g), string(w))
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %o, want 600", info.Mode().Perm())
	}
	if err := rec.Close(); err != nil {
		t.Error(err)
	}
}

func TestRecorderOpensAnExistingFile(t *testing.T) {
	one := `{"stage":"disks","kind":"stage","desc":"disks","start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:00:01Z","seconds":1,"outcome":"ok"}`
	for _, row := range []struct {
		name, before, kept string
	}{
		{"another stage's lines stay", one + "\n", one + "\n"},
		{"a cut line does not spoil the next one", one + "\n" + one[:20], one + "\n" + one[:20] + "\n"},
		{"empty", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "ops.jsonl")
			if err := os.WriteFile(path, []byte(row.before), 0o644); err != nil {
				t.Fatal(err)
			}
			rec, err := NewRecorder(path)
			if err != nil {
				t.Fatal(err)
			}
			l, _ := logTo()
			l.core.own.record = rec
			_ = l.Start(Op{Desc: "d"}).End(nil)
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			rest, ok := strings.CutPrefix(string(data), row.kept)
			if !ok || strings.Count(rest, "\n") != 1 || !json.Valid([]byte(rest)) {
				t.Errorf("file is\n%s", data)
			}
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("mode %v, error %v", info.Mode(), err)
			}
		})
	}
}

func TestRecorderRefuses(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.WriteFile(target, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, path string }{
		{"a symlink", link},
		{"a pipe", fifo},
		{"a directory", dir},
		{"a path below a file", filepath.Join(target, "ops.jsonl")},
	} {
		t.Run(row.name, func(t *testing.T) {
			if rec, err := NewRecorder(row.path); err == nil {
				t.Errorf("opened %v", rec)
			}
		})
	}
}

// TestRecordFailureIsSaidOnce writes to a full device.
func TestRecordFailureIsSaidOnce(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("needs /dev/full: %v", err)
	}
	defer full.Close()
	l, b := logTo()
	l.core.own.record = &Recorder{file: full}
	for range 3 {
		if err := l.With("files").Do(Op{Desc: "d"}, func(*Logger) error { return nil }); err != nil {
			t.Errorf("the operation failed for its record: %v", err)
		}
	}
	if got := strings.Count(b.String(), "WARNING"); got != 1 {
		t.Errorf("%d warnings, want 1:\n%s", got, b.String())
	}
	if want := "WARNING  : files: recording operations: write /dev/full: no space left on device\n"; !strings.Contains(b.String(), want) {
		t.Errorf("log is\n%swant in it\n%s", b.String(), want)
	}
}

func TestNilRecorder(t *testing.T) {
	var rec *Recorder
	rec.SetStage("x")
	rec.SetBoot("x")
	rec.SetRedact(nil)
	if err := rec.Close(); err != nil {
		t.Error(err)
	}
	var b bytes.Buffer
	_ = New(StdoutHandler(&b), rec).Start(Op{Desc: "d"}).End(nil)
	check(t, b.String(), "INFO     : op(1): [started]  d\nINFO     : op(1): [finished] d\n")
}
