// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"context"
	"io"
	"log/slog"
	"sync"
)

// severity is a level as syslog counts it.
func severity(level slog.Level) int {
	for _, l := range levels {
		if level >= l.level {
			return l.severity
		}
	}
	return 7
}

// levels has the most urgent one first.
var levels = []struct {
	level    slog.Level
	severity int
	label    string // padded to nine columns
}{
	{LevelEmergency, 0, "EMERGENCY:"},
	{LevelAlert, 1, "ALERT    :"},
	{LevelCritical, 2, "CRITICAL :"},
	{LevelError, 3, "ERROR    :"},
	{LevelWarning, 4, "WARNING  :"},
	{LevelNotice, 5, "NOTICE   :"},
	{LevelInfo, 6, "INFO     :"},
	{LevelDebug, 7, "DEBUG    :"},
}

func label(level slog.Level) string { return levels[severity(level)].label }

// plain is the part that both handlers share: every level is written, and
// there are no attributes, since the text says all.
type plain struct{}

func (plain) Enabled(context.Context, slog.Level) bool { return true }

type stdoutHandler struct {
	plain
	mu sync.Mutex
	w  io.Writer
}

// StdoutHandler writes each message as one line with a label: `INFO     : text`.
func StdoutHandler(w io.Writer) slog.Handler { return &stdoutHandler{w: w} }

func (h *stdoutHandler) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h *stdoutHandler) WithGroup(string) slog.Handler      { return h }

func (h *stdoutHandler) Handle(_ context.Context, r slog.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := io.WriteString(h.w, label(r.Level)+" "+r.Message+"\n")
	return err
}

// OpenDefault gives the handler that a run logs to: syslog, or stdout where
// that is asked for or syslog cannot be opened. sockets is nil except in tests.
func OpenDefault(toStdout bool, stdout io.Writer, sockets []string) slog.Handler {
	h := StdoutHandler(stdout)
	if toStdout {
		return h
	}
	sys, err := SyslogHandler(sockets)
	if err != nil {
		New(h, nil).Err("unable to open syslog: %v", err)
		return h
	}
	return sys
}
