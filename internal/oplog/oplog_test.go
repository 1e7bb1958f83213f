// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// logTo gives a logger and what it writes, with the labels of stdout.
func logTo() (*Logger, *bytes.Buffer) {
	var b bytes.Buffer
	return New(StdoutHandler(&b), nil), &b
}

func check(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestLabels(t *testing.T) {
	l, b := logTo()
	l.Log(LevelEmergency, "a")
	l.Log(LevelAlert, "b")
	l.Crit("c")
	l.Err("d")
	l.Warning("e")
	l.Notice("f")
	l.Info("g")
	l.Debug("h")
	check(t, b.String(), `EMERGENCY: a
ALERT    : b
CRITICAL : c
ERROR    : d
WARNING  : e
NOTICE   : f
INFO     : g
DEBUG    : h
`)
}

func TestText(t *testing.T) {
	for _, row := range []struct {
		name   string
		format string
		args   []any
		want   string
	}{
		{"plain", "fetch passed", nil, "INFO     : files: fetch passed\n"},
		{"a format without arguments is a text", "100% of %d", nil, "INFO     : files: 100% of %d\n"},
		{"arguments", "%q at %d%%", []any{"a b", 5}, "INFO     : files: \"a b\" at 5%\n"},
		{"several lines stay one message", "one\ntwo", nil, "INFO     : files: one\ntwo\n"},
		{"empty", "", nil, "INFO     : files: \n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			l, b := logTo()
			l.With("files").Info(row.format, row.args...)
			check(t, b.String(), row.want)
		})
	}
}

func TestOperations(t *testing.T) {
	l, b := logTo()
	users := l.With("files").With("ensureUsers")
	if err := users.Do(Op{Desc: `creating or modifying user "core"`}, func(l *Logger) error {
		l.Debug(`executing: "usermod" "core"`)
		return nil
	}); err != nil {
		t.Error(err)
	}
	cause := errors.New("resource not found")
	err := l.With("files").Do(Op{Desc: "outer"}, func(l *Logger) error {
		return l.Do(Op{Desc: "inner"}, func(l *Logger) error {
			l.Info("text")
			return cause
		})
	})
	if !errors.Is(err, cause) || err.Error() != cause.Error() {
		t.Errorf("error %v", err)
	}
	check(t, b.String(), `INFO     : files: ensureUsers: op(1): [started]  creating or modifying user "core"
DEBUG    : files: ensureUsers: op(1): executing: "usermod" "core"
INFO     : files: ensureUsers: op(1): [finished] creating or modifying user "core"
INFO     : files: op(2): [started]  outer
INFO     : files: op(2): op(3): [started]  inner
INFO     : files: op(2): op(3): text
CRITICAL : files: op(2): op(3): [failed]   inner: resource not found
CRITICAL : files: op(2): [failed]   outer: resource not found
`)
}

func TestNumbersAreHex(t *testing.T) {
	l, b := logTo()
	for range 26 {
		_ = l.With("x").Start(Op{Desc: "d"}).End(nil)
	}
	for _, want := range []string{"x: op(9): ", "x: op(a): ", "x: op(f): ", "x: op(10): ", "x: op(1a): "} {
		if strings.Count(b.String(), want) != 2 {
			t.Errorf("%q comes %d times, want 2", want, strings.Count(b.String(), want))
		}
	}
}

func TestActivityIsSilentAndTakesNoNumber(t *testing.T) {
	l, b := logTo()
	a := l.Activity(Op{Kind: KindStage, Desc: "files"})
	_ = a.Log().Do(Op{Desc: "d"}, func(*Logger) error { return nil })
	if err := a.End(errors.New("no")); err == nil {
		t.Error("the error is lost")
	}
	check(t, b.String(), "INFO     : op(1): [started]  d\nINFO     : op(1): [finished] d\n")
}

func TestDeferred(t *testing.T) {
	l, b := logTo()
	d := Deferred()
	inner := d.With("GET")
	inner.Info("attempt #1")
	d.Warning("slow")
	l.Info("earlier")
	if strings.Contains(b.String(), "attempt") {
		t.Fatal("a line came before Attach")
	}
	op := l.With("files").Start(Op{Desc: "writing"})
	d.Attach(op.Log())
	inner.Info("result: OK")
	d.Attach(l.With("elsewhere")) // a second target changes nothing
	d.Debug("last")
	_ = op.End(nil)
	check(t, b.String(), `INFO     : earlier
INFO     : files: op(1): [started]  writing
INFO     : files: op(1): GET: attempt #1
WARNING  : files: op(1): slow
INFO     : files: op(1): GET: result: OK
DEBUG    : files: op(1): last
INFO     : files: op(1): [finished] writing
`)
}

func TestAttachOnAnOrdinaryLoggerDoesNothing(t *testing.T) {
	l, b := logTo()
	other, ob := logTo()
	l.Attach(other)
	l.Info("stays")
	d := Deferred()
	d.Attach(d.With("self")) // would never end
	check(t, b.String()+ob.String(), "INFO     : stays\n")
}

func TestDeferredThroughDeferred(t *testing.T) {
	l, b := logTo()
	first, second := Deferred(), Deferred()
	first.Info("one")
	second.Info("two")
	first.Attach(second.With("second"))
	first.Info("three")
	second.Attach(l.With("target"))
	check(t, b.String(), "INFO     : target: two\nINFO     : target: second: one\nINFO     : target: second: three\n")
}

// TestDeferredSharesNumbersAndRecord is about the method: operations on such a
// logger are the process's own, though their lines come later.
func TestDeferredSharesNumbersAndRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ops.jsonl")
	rec, err := NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	l := New(StdoutHandler(&b), rec)
	d := l.Deferred()
	_ = d.Activity(Op{Kind: KindFetch, Desc: "GET"}).End(nil)
	_ = d.Start(Op{Desc: "first"}).End(nil)
	_ = l.Start(Op{Desc: "second"}).End(nil)
	d.Attach(l)
	check(t, b.String(), `INFO     : op(2): [started]  second
INFO     : op(2): [finished] second
INFO     : op(1): [started]  first
INFO     : op(1): [finished] first
`)
	if err := rec.Close(); err != nil {
		t.Fatal(err)
	}
	if got := len(readAll(t, path)); got != 3 {
		t.Errorf("%d records, want 3", got)
	}
}

// TestDeferredKeepsTimes: a line says when it was said, not when it came out.
func TestDeferredKeepsTimes(t *testing.T) {
	h := &times{}
	l := New(h, nil)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l.core.own.now = func() time.Time { return at }
	d := l.Deferred()
	d.Info("early")
	at = at.Add(time.Hour)
	d.Attach(l)
	l.Info("late")
	if len(h.at) != 2 || h.at[1].Sub(h.at[0]) != time.Hour {
		t.Errorf("times %v", h.at)
	}
}

// TestConcurrent is for the race detector, and checks that lines are whole and numbers unique.
func TestConcurrent(t *testing.T) {
	rec, err := NewRecorder(filepath.Join(t.TempDir(), "ops.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	l := New(StdoutHandler(&b), rec).With("files")
	const workers, each = 8, 50
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				d := l.Deferred()
				var inner sync.WaitGroup
				inner.Go(func() { d.Info("ahead %d-%d", w, i) })
				op := l.Start(Op{Desc: fmt.Sprintf("job %d-%d", w, i)})
				op.AddBytes(1)
				d.Attach(op.Log())
				inner.Wait()
				_ = op.End(nil)
			}
		})
	}
	wg.Wait()
	valid := regexp.MustCompile(`^INFO     : files: (op\([0-9a-f]+\)): (\[started\]  job|\[finished\] job|ahead) \d-\d+$`)
	lines := strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
	perOp := map[string]int{}
	for _, line := range lines {
		m := valid.FindStringSubmatch(line)
		if m == nil {
			t.Fatalf("line %q", line)
		}
		perOp[m[1]]++
	}
	if len(lines) != 3*workers*each || len(perOp) != workers*each {
		t.Errorf("%d lines of %d operations, want %d of %d", len(lines), len(perOp), 3*workers*each, workers*each)
	}
}

// TestDeferredOrderWhileAttaching: lines of one goroutine stay in order though another attaches.
func TestDeferredOrderWhileAttaching(t *testing.T) {
	for range 50 {
		l, b := logTo()
		d := Deferred()
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 50 {
				d.Info("%03d", i)
			}
		})
		d.Attach(l)
		wg.Wait()
		var want strings.Builder
		for i := range 50 {
			fmt.Fprintf(&want, "INFO     : %03d\n", i)
		}
		if b.String() != want.String() {
			t.Fatalf("out of order:\n%s", b.String())
		}
	}
}
