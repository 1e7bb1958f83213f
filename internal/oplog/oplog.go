// SPDX-License-Identifier: Apache-2.0

// Package oplog is the program's log: numbered operations with their
// "op(n): [started] ..." lines, the sinks that the lines go to (syslog,
// stdout), native journal entries, and a machine-readable record of every
// operation (ops.jsonl) with the report drawn from it. It decides how things
// are said, never what is done. Nothing in here may log or record a secret
// that its caller has redacted.
package oplog

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// Levels in syslog's order. The first four of them are slog's own.
const (
	LevelDebug     = slog.LevelDebug
	LevelInfo      = slog.LevelInfo
	LevelNotice    = slog.Level(2)
	LevelWarning   = slog.LevelWarn
	LevelError     = slog.LevelError
	LevelCritical  = slog.Level(12)
	LevelAlert     = slog.Level(16)
	LevelEmergency = slog.Level(20)
)

// Logger writes lines under a stack of prefixes. A Logger is immutable and
// safe for concurrent use; With and Start give new ones.
type Logger struct {
	core   *core
	prefix string
	parent uint64 // op number that encloses lines of this logger, 0 outside of ops
}

// shared is what all loggers of one process share.
type shared struct {
	record   *Recorder
	journal  JournalFunc // nil: no native entries
	ops      atomic.Uint64
	now      func() time.Time
	complain sync.Once // about a record that cannot be written
	failed   failed
}

// core is where lines go: to a handler, or into a list until a target is attached.
type core struct {
	own     *shared
	handler slog.Handler // nil: deferred

	target   atomic.Pointer[Logger]
	mu       sync.Mutex // keeps the order of lines while a target is attached
	deferred []line
}

type line struct {
	time  time.Time
	level slog.Level
	text  string
}

// New returns a logger that writes to h and records operations in rec, which may be nil.
func New(h slog.Handler, rec *Recorder) *Logger {
	return &Logger{core: &core{handler: h, own: &shared{record: rec, now: time.Now}}}
}

// Deferred returns a logger that keeps its lines until Attach is called. A
// download that runs ahead of its operation logs to one, so that its lines
// come out below the operation's prefix, in config order.
func Deferred() *Logger {
	return &Logger{core: &core{own: &shared{now: time.Now}}}
}

// Deferred returns a deferred logger that counts operations and records them
// as l does. Its lines have none of l's prefixes: those of Attach's target apply.
func (l *Logger) Deferred() *Logger {
	return &Logger{core: &core{own: l.shared()}, parent: l.parent}
}

// Attach writes the lines that were kept back to target, and sends later ones
// straight there. It does nothing on a logger that was not deferred, or that
// has a target already.
func (l *Logger) Attach(target *Logger) {
	c := l.core
	if c.handler != nil || target.core == c {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.target.Load() != nil {
		return
	}
	for _, d := range c.deferred {
		target.emit(d)
	}
	c.deferred = nil
	c.target.Store(target)
}

// With returns a logger whose lines have one more prefix.
func (l *Logger) With(prefix string) *Logger {
	n := *l
	n.prefix = l.prefix + prefix + ": "
	return &n
}

// shared follows the targets of deferred loggers to what the process shares.
func (l *Logger) shared() *shared {
	if t := l.core.target.Load(); t != nil {
		return t.shared()
	}
	return l.core.own
}

func (l *Logger) emit(n line) {
	c := l.core
	n.text = l.prefix + n.text
	if c.handler != nil {
		// A log that cannot be written must not stop a boot.
		_ = c.handler.Handle(context.Background(), slog.NewRecord(n.time, n.level, n.text, 0))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := c.target.Load(); t != nil {
		t.emit(n)
		return
	}
	c.deferred = append(c.deferred, n)
}

// Log writes one line.
func (l *Logger) Log(level slog.Level, format string, args ...any) {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	l.emit(line{l.shared().now(), level, format})
}

// Debug writes one line at debug level; the other methods do so at theirs.
func (l *Logger) Debug(format string, args ...any) { l.Log(LevelDebug, format, args...) }

// Info writes one line at info level.
func (l *Logger) Info(format string, args ...any) { l.Log(LevelInfo, format, args...) }

// Notice writes one line at notice level.
func (l *Logger) Notice(format string, args ...any) { l.Log(LevelNotice, format, args...) }

// Warning writes one line at warning level.
func (l *Logger) Warning(format string, args ...any) { l.Log(LevelWarning, format, args...) }

// Err writes one line at error level.
func (l *Logger) Err(format string, args ...any) { l.Log(LevelError, format, args...) }

// Crit writes one line at critical level. A run that succeeds never does so.
func (l *Logger) Crit(format string, args ...any) { l.Log(LevelCritical, format, args...) }

// Op describes an operation for the log and for the record.
type Op struct {
	Desc       string // the text after [started], e.g. `writing file "/sysroot/etc/hostname"`
	Kind       string // machine-readable kind for the record, e.g. "write-file"
	Path       string // the object: a path in the sysroot, a unit or user name
	ConfigPath string // the config entry, e.g. "$.storage.files.0"; empty where none
}

// Running is an operation that was started and has not ended yet.
type Running struct {
	log    *Logger // the logger of lines inside the operation
	outer  *Logger
	op     Op
	number uint64
	parent uint64
	start  time.Time
	bytes  atomic.Int64
	silent bool
	kept   bool
}

// Start takes the next operation number and logs [started].
func (l *Logger) Start(op Op) *Running {
	sh := l.shared()
	n := sh.ops.Add(1)
	inner := l.With(fmt.Sprintf("op(%x)", n))
	inner.parent = n
	r := &Running{log: inner, outer: l, op: op, number: n, parent: l.parent, start: sh.now()}
	inner.Info("[started]  %s", op.Desc)
	return r
}

// Log returns the logger for lines inside the operation.
func (r *Running) Log() *Logger { return r.log }

// AddBytes counts bytes that the operation fetched or wrote, for the record.
func (r *Running) AddBytes(n int64) { r.bytes.Add(n) }

// Keep tells that nothing had to be changed, for the record.
func (r *Running) Keep() { r.kept = true }

// End logs [finished], or [failed] with err, records the operation and returns err.
func (r *Running) End(err error) error {
	if !r.silent {
		if err != nil {
			r.log.Crit("[failed]   %s: %v", r.op.Desc, err)
		} else {
			r.log.Info("[finished] %s", r.op.Desc)
		}
	}
	r.record(err)
	return err
}

// record writes the operation to the record. That it cannot be written is said
// once and stops nothing.
func (r *Running) record(err error) {
	sh := r.outer.shared()
	if err != nil {
		sh.failed.add(r, sh.now().Sub(r.start), err)
	}
	if sh.record == nil {
		return
	}
	if werr := sh.record.add(r, sh.now(), err); werr != nil {
		sh.complain.Do(func() { r.outer.Warning("recording operations: %v", werr) })
	}
}

// Do runs f as an operation.
func (l *Logger) Do(op Op, f func(l *Logger) error) error {
	r := l.Start(op)
	return r.End(f(r.log))
}

// Activity starts something that has no lines in the log, only an entry in the
// record: a stage as a whole, a download that runs ahead of its operation.
func (l *Logger) Activity(op Op) *Running {
	return &Running{log: l, outer: l, op: op, parent: l.parent, start: l.shared().now(), silent: true}
}
