// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// times is a handler that keeps the times of lines.
type times struct {
	plain
	at []time.Time
}

func (h *times) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *times) WithGroup(string) slog.Handler      { return h }
func (h *times) Handle(_ context.Context, r slog.Record) error {
	h.at = append(h.at, r.Time)
	return nil
}

// listen opens a datagram socket as syslog has one.
func listen(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func receive(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 1<<18)
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestSyslogDatagrams(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	conn := listen(t, path)
	h, err := SyslogHandler([]string{path + ".missing", path})
	if err != nil {
		t.Fatal(err)
	}
	l := New(h, nil)
	l.core.own.now = func() time.Time { return time.Date(2026, 3, 7, 8, 9, 10, 0, time.Local) }
	for _, row := range []struct {
		level slog.Level
		text  string
		want  string
	}{
		{LevelEmergency, "text", "<0>%s text"},
		{LevelAlert, "text", "<1>%s text"},
		{LevelCritical, "text", "<2>%s text"},
		{LevelError, "text", "<3>%s text"},
		{LevelWarning, "text", "<4>%s text"},
		{LevelNotice, "text", "<5>%s text"},
		{LevelInfo, "text", "<6>%s text"},
		{LevelDebug, "text", "<7>%s text"},
		{LevelInfo, "one\ntwo", "<6>%s one\ntwo"},
		{LevelInfo, "a\x00b", "<6>%s ab"},
		{LevelInfo, "100%", "<6>%s 100%%"},
	} {
		l.Log(row.level, row.text)
		want := fmt.Sprintf(row.want, fmt.Sprintf("Mar  7 08:09:10 ignition[%d]:", os.Getpid()))
		if got := receive(t, conn); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSyslogComesBack(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	first := listen(t, path)
	h, err := SyslogHandler([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	l := New(h, nil)
	l.Info("one")
	if got := receive(t, first); !strings.HasSuffix(got, ": one") {
		t.Errorf("got %q", got)
	}
	first.Close()
	os.Remove(path)
	l.Info("lost") // no logger there: neither a panic nor a hang
	second := listen(t, path)
	l.Info("two")
	if got := receive(t, second); !strings.HasSuffix(got, ": two") {
		t.Errorf("after the restart: got %q", got)
	}
}

func TestSyslogLongMessage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	conn := listen(t, path)
	h, err := SyslogHandler([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan string)
	go func() {
		buf := make([]byte, 1<<20)
		n, _ := conn.Read(buf)
		done <- string(buf[:n])
	}()
	New(h, nil).Info("%s", strings.Repeat("x", 8<<20))
	select {
	case got := <-done:
		if len(got) != maxDatagram+4 || !strings.HasSuffix(got, "x ...") {
			t.Errorf("%d bytes, ending %q", len(got), got[max(0, len(got)-10):])
		}
	case <-time.After(10 * time.Second):
		t.Error("nothing came")
	}
}

// TestSyslogStuck fills the queue of a logger that does not read.
func TestSyslogStuck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	listen(t, path)
	h, err := SyslogHandler([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	var lost error
	for range 2000 {
		h.(*syslogHandler).stuck = true // spares the test the first, long wait
		if lost = h.Handle(t.Context(), slog.NewRecord(begin, LevelInfo, "line", 0)); lost != nil {
			break
		}
	}
	if !errors.Is(lost, os.ErrDeadlineExceeded) {
		t.Errorf("error %v, want a deadline", lost)
	}
	if took := time.Since(begin); took > patience {
		t.Errorf("took %v", took)
	}
}

func TestOpenDefault(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	missing := path + ".missing"
	conn := listen(t, path)
	for _, row := range []struct {
		name     string
		toStdout bool
		sockets  []string
		want     string // on stdout
		syslog   bool
	}{
		{"asked for stdout", true, []string{path}, "INFO     : hello\n", false},
		{"syslog", false, []string{path}, "", true},
		{"no syslog", false, []string{missing}, "ERROR    : unable to open syslog: dial unixgram " + missing +
			": connect: no such file or directory\nINFO     : hello\n", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			var b bytes.Buffer
			New(OpenDefault(row.toStdout, &b, row.sockets), nil).Info("hello")
			check(t, b.String(), row.want)
			if row.syslog {
				if got := receive(t, conn); !strings.HasSuffix(got, ": hello") {
					t.Errorf("got %q", got)
				}
			}
		})
	}
}

func TestBrokenStdoutStopsNothing(t *testing.T) {
	l := New(StdoutHandler(brokenWriter{}), nil)
	l.Info("text")
	if err := l.Do(Op{Desc: "d"}, func(*Logger) error { return nil }); err != nil {
		t.Error(err)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken") }

type entry struct {
	message  string
	priority int
	vars     map[string]string
}

func TestJournalEntries(t *testing.T) {
	var got []entry
	l, b := logTo()
	l.SetJournal(func(message string, priority int, vars map[string]string) error {
		got = append(got, entry{message, priority, vars})
		return nil
	})
	l.FetchedConfig("base", "system", false)
	l.With("files").FetchedConfig("user", "https://example.com/a.ign", true)
	l.WroteKeys("core", "/sysroot/home/core/.ssh/authorized_keys.d/ignition")
	l.WroteKeys("root", "/sysroot/root/.ssh/authorized_keys.d/ignition")
	want := []entry{
		{`fetched base config from "system"`, 6, map[string]string{
			"MESSAGE_ID": "57124006b5c94805b77ce473e92a8aeb", "IGNITION_CONFIG_TYPE": "base",
			"IGNITION_CONFIG_SRC": "system", "IGNITION_CONFIG_REFERENCED": "false"}},
		{`fetched referenced user config from "https://example.com/a.ign"`, 6, map[string]string{
			"MESSAGE_ID": "57124006b5c94805b77ce473e92a8aeb", "IGNITION_CONFIG_TYPE": "user",
			"IGNITION_CONFIG_SRC": "https://example.com/a.ign", "IGNITION_CONFIG_REFERENCED": "true"}},
		{"wrote ssh authorized keys file for user: core", 6, map[string]string{
			"MESSAGE_ID": "225067b87bbd4a0cb6ab151f82fa364b", "IGNITION_USER_NAME": "core",
			"IGNITION_PATH": "/sysroot/home/core/.ssh/authorized_keys.d/ignition"}},
		{"wrote ssh authorized keys file for user: root", 6, map[string]string{
			"MESSAGE_ID": "225067b87bbd4a0cb6ab151f82fa364b", "IGNITION_USER_NAME": "root",
			"IGNITION_PATH": "/sysroot/root/.ssh/authorized_keys.d/ignition"}},
	}
	if !slices.EqualFunc(got, want, func(a, b entry) bool {
		return a.message == b.message && a.priority == b.priority && maps.Equal(a.vars, b.vars)
	}) {
		t.Errorf("got\n%v\nwant\n%v", got, want)
	}
	check(t, b.String(), "")
}

func TestJournalFailures(t *testing.T) {
	l, b := logTo()
	l.FetchedConfig("user", "aws", false) // no journal: silently nothing
	l.SetJournal(func(string, int, map[string]string) error { return errors.New("no space") })
	l.FetchedConfig("user", "aws", false)
	l.WroteKeys("core", "/x")
	check(t, b.String(), "INFO     : failed to log systemd journal entry: no space\n")
}

func TestJournalWithoutSocket(t *testing.T) {
	if _, err := os.Stat("/run/systemd/journal/socket"); err == nil {
		t.Skip("this host has a journal")
	}
	if err := Journal("text", 6, nil); err != nil {
		t.Errorf("no journal is an error: %v", err)
	}
}

func TestStatus(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var sent []string
	s := &status{now: func() time.Time { return at }, send: func(state string) error {
		sent = append(sent, state)
		return errors.New("nobody listens")
	}}
	for _, step := range []struct {
		after time.Duration
		text  string
		final bool
	}{
		{0, "one", false},
		{500 * time.Millisecond, "too soon", false},
		{500 * time.Millisecond, "two", false},
		{10 * time.Millisecond, "done\nREADY=1\x00", true},
	} {
		at = at.Add(step.after)
		s.show(step.text, step.final)
	}
	want := []string{"STATUS=one", "STATUS=two", "STATUS=done READY=1"}
	if !slices.Equal(sent, want) {
		t.Errorf("sent %q, want %q", sent, want)
	}
}

func TestStatusReachesTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	conn := listen(t, path)
	t.Setenv("NOTIFY_SOCKET", path)
	FinalStatus("files: op(1)")
	if got := receive(t, conn); got != "STATUS=files: op(1)" {
		t.Errorf("got %q", got)
	}
	t.Setenv("NOTIFY_SOCKET", "")
	FinalStatus("nobody") // must neither fail nor panic
}
