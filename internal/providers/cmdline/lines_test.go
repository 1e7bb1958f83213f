// SPDX-License-Identifier: Apache-2.0

package cmdline

import (
	"fmt"
	"strings"
	"sync"
)

// lines is a log that remembers.
type lines struct {
	mu  sync.Mutex
	all []string
}

func (l *lines) add(level, format string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, level+" "+fmt.Sprintf(format, args...))
}
func (l *lines) Debug(format string, args ...any)   { l.add("debug", format, args) }
func (l *lines) Info(format string, args ...any)    { l.add("info", format, args) }
func (l *lines) Warning(format string, args ...any) { l.add("warning", format, args) }
func (l *lines) Err(format string, args ...any)     { l.add("error", format, args) }
func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.all, "\n")
}
