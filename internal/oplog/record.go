// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Kinds of records that the report treats in their own way.
const (
	KindStage = "stage" // a stage as a whole; the last record of its run
	KindFetch = "fetch" // a download

	// KindProgram is one run of a host program. The operation around it says
	// what it was for, so the report leaves it out.
	KindProgram = "program"
)

// Outcomes of an operation.
const (
	OK     = "ok"
	Kept   = "kept" // all was there already, so nothing was changed
	Failed = "failed"
)

// Record is one finished operation or activity, one line of the record file.
type Record struct {
	Stage   string    `json:"stage"`
	Op      uint64    `json:"op,omitempty"`     // absent for activities
	Parent  uint64    `json:"parent,omitempty"` // the enclosing operation
	Kind    string    `json:"kind"`
	Desc    string    `json:"desc"`
	Path    string    `json:"path,omitempty"`
	Config  string    `json:"config,omitempty"` // the config entry
	Start   time.Time `json:"start"`
	End     time.Time `json:"end"`
	Seconds float64   `json:"seconds"`
	Outcome string    `json:"outcome"`
	Error   string    `json:"error,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"`
	Boot    string    `json:"boot,omitempty"` // the kernel's boot id
}

// Recorder appends one JSON line per finished operation to a file. Stages are
// processes of their own that append to the same file one after the other. The
// methods of a nil Recorder do nothing, as where the file could not be opened.
type Recorder struct {
	mu     sync.Mutex
	file   *os.File
	stage  string
	boot   string
	redact func(string) string
	base   time.Time
	torn   bool      // the file does not end with a line end
	lines  []byte    // not written yet
	last   time.Time // when lines were written
}

// Lines are held back for a moment, since a write for each of thousands of
// small operations costs more than the operations' own.
const (
	holdLines = 100 * time.Millisecond
	holdBytes = 32 << 10
)

// NewRecorder opens the record file, readable by root alone, and makes its
// directories as needed.
func NewRecorder(path string) (*Recorder, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	// Neither a link nor a pipe that lies in wait is written to.
	const flags = os.O_RDWR | os.O_APPEND | os.O_CREATE | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, err
	}
	rec := &Recorder{file: f, base: time.Now()}
	if err := rec.prepare(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return rec, nil
}

// prepare takes an existing file as it is, except for its mode and a last line
// that was cut: the next record starts on a line of its own.
func (rec *Recorder) prepare() error {
	info, err := rec.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	if info.Mode().Perm() != 0o600 {
		if err := rec.file.Chmod(0o600); err != nil {
			return err
		}
	}
	if info.Size() == 0 {
		return nil
	}
	var last [1]byte
	if _, err := rec.file.ReadAt(last[:], info.Size()-1); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	rec.torn = last[0] != '\n'
	return nil
}

// SetStage names the stage that the following records belong to.
func (rec *Recorder) SetStage(name string) {
	if rec == nil {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.stage = name
}

// SetBoot sets the boot id that goes into the records.
func (rec *Recorder) SetBoot(id string) {
	if rec == nil {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.boot = id
}

// SetRedact sets a filter that descriptions, paths and errors pass through. It is a safety
// net: callers redact what they know to be secret.
func (rec *Recorder) SetRedact(f func(string) string) {
	if rec == nil {
		return
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	rec.redact = f
}

// Close ends the record.
func (rec *Recorder) Close() error {
	if rec == nil {
		return nil
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	return errors.Join(rec.flush(), rec.file.Close())
}

func (rec *Recorder) add(r *Running, end time.Time, err error) error {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	data, merr := json.Marshal(rec.entry(r, end, err))
	if merr != nil {
		return merr
	}
	return rec.write(append(data, '\n'), err != nil || r.op.Kind == KindStage)
}

func (rec *Recorder) entry(r *Running, end time.Time, err error) Record {
	filter := func(s string) string {
		if rec.redact == nil || s == "" {
			return s
		}
		return rec.redact(s)
	}
	e := Record{
		Stage: rec.stage, Op: r.number, Parent: r.parent, Kind: r.op.Kind,
		Desc: filter(r.op.Desc), Path: filter(r.op.Path), Config: r.op.ConfigPath,
		Start: rec.wall(r.start), End: rec.wall(end), Seconds: end.Sub(r.start).Seconds(),
		Outcome: OK, Bytes: r.bytes.Load(), Boot: rec.boot,
	}
	if r.kept {
		e.Outcome = Kept
	}
	if err != nil {
		e.Outcome, e.Error = Failed, filter(err.Error())
	}
	return e
}

// wall is a time on this process's own scale: the clock as it was at the start
// plus what has passed since. A clock that is set during the first boot would
// otherwise tear operations apart.
func (rec *Recorder) wall(t time.Time) time.Time {
	return rec.base.Add(t.Sub(rec.base)).Round(0).UTC()
}

// write appends one line. What is written at once ends with a whole line, so
// that lines of several processes do not mix. A failed operation and the end of
// a stage are written at once.
func (rec *Recorder) write(text []byte, urgent bool) error {
	rec.lines = append(rec.lines, text...)
	now := time.Now()
	if !urgent && len(rec.lines) < holdBytes && now.Sub(rec.last) < holdLines {
		return nil
	}
	rec.last = now
	return rec.flush()
}

// flush writes the lines that were held back.
func (rec *Recorder) flush() error {
	if len(rec.lines) == 0 {
		return nil
	}
	text := rec.lines
	if rec.torn {
		text = append([]byte{'\n'}, text...)
	}
	rec.lines = rec.lines[:0]
	n, err := rec.file.Write(text)
	if n > 0 {
		rec.torn = text[n-1] != '\n'
	}
	return err
}
