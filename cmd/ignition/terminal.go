// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode"

	"firstboot.dev/ignition/internal/engine"
	"golang.org/x/sys/unix"
)

// isTerminal tells whether a stream is a terminal that knows control sequences.
func isTerminal(p process, w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || p.getenv("TERM") == "dumb" {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// colors tells whether a stream is a terminal on which the user wants colours.
func colors(p process, w io.Writer) bool { return p.getenv("NO_COLOR") == "" && isTerminal(p, w) }

// progressLine is the last line of a terminal, which says how far long work is.
// The zero value shows nothing.
type progressLine struct {
	mu    sync.Mutex
	to    *os.File
	shown bool
}

// newProgressLine shows progress on stderr if that is a terminal.
func newProgressLine(p process) *progressLine {
	l := &progressLine{}
	if isTerminal(p, p.stderr) {
		l.to = p.stderr.(*os.File)
	}
	return l
}

const clearLine = "\r\x1b[K"

// show replaces the line; with nothing if there is no text.
func (l *progressLine) show(text string) {
	if text == "" {
		l.clear()
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.to == nil {
		return
	}
	width := 80
	if size, err := unix.IoctlGetWinsize(int(l.to.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 1 {
		width = int(size.Col)
	}
	text = strings.Map(func(r rune) rune { // names of files may hold anything
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, text)
	if r := []rune(text); len(r) >= width { // the end is what changes
		text = "…" + string(r[len(r)-width+2:])
	}
	fmt.Fprint(l.to, clearLine+text)
	l.shown = true
}

// clear takes the line away.
func (l *progressLine) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.shown {
		fmt.Fprint(l.to, clearLine)
		l.shown = false
	}
}

// before is w, but for the line being cleared before anything is written.
func (l *progressLine) before(w io.Writer) io.Writer {
	if l.to == nil {
		return w
	}
	return clearing{w, l}
}

type clearing struct {
	io.Writer
	line *progressLine
}

func (c clearing) Write(b []byte) (int, error) {
	c.line.clear()
	return c.Writer.Write(b)
}

// shownWork tells how far some work is, as soon as it takes long.
type shownWork struct {
	line        *progressLine
	what        string
	start, last time.Time
}

const progressEvery = 200 * time.Millisecond

// at is told as often as anybody likes. Work begins anew with got 0.
func (w *shownWork) at(got, size int64) {
	now := time.Now()
	if w.start.IsZero() || got == 0 {
		w.start, w.last = now, now
	}
	if now.Sub(w.last) >= progressEvery {
		w.last = now
		w.line.show(w.what + ": " + engine.ProgressText(got, size, now.Sub(w.start)))
	}
}

// shownReader tells how much of a file has been read.
type shownReader struct {
	io.Reader
	work      shownWork
	got, size int64
}

func (r *shownReader) Read(b []byte) (int, error) {
	r.work.at(r.got, r.size)
	n, err := r.Reader.Read(b)
	r.got += int64(n)
	return n, err
}
