// SPDX-License-Identifier: Apache-2.0

// Package logs is a log that remembers its lines, for tests of rooms that are
// handed one. Each line is its level, a space and the text.
package logs

import (
	"fmt"
	"strings"
	"sync"
)

// Lines is the log. The zero value is empty; it is safe for concurrent use.
type Lines struct {
	mu  sync.Mutex
	all []string
}

func (l *Lines) add(level, format string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, level+" "+fmt.Sprintf(format, args...))
}

// Debug notes a line at debug level; the other methods do so at theirs.
func (l *Lines) Debug(format string, args ...any) { l.add("debug", format, args) }

// Info notes a line at info level.
func (l *Lines) Info(format string, args ...any) { l.add("info", format, args) }

// Warning notes a line at warning level.
func (l *Lines) Warning(format string, args ...any) { l.add("warning", format, args) }

// Err notes a line at error level.
func (l *Lines) Err(format string, args ...any) { l.add("error", format, args) }

// String gives the lines so far.
func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}
