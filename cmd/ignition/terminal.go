// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

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

// show replaces the line.
func (l *progressLine) show(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.to == nil {
		return
	}
	width := 80
	if size, err := unix.IoctlGetWinsize(int(l.to.Fd()), unix.TIOCGWINSZ); err == nil && size.Col > 1 {
		width = int(size.Col)
	}
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

// shownReader tells how much of a file has been read.
type shownReader struct {
	io.Reader
	line        *progressLine
	name        string
	got, size   int64
	start, last time.Time
}

const progressEvery = 200 * time.Millisecond

func (r *shownReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.got += int64(n)
	if now := time.Now(); now.Sub(r.last) >= progressEvery {
		r.last = now
		r.line.show(fmt.Sprintf("reading %s: %s", r.name, engine.ProgressText(r.got, r.size, now.Sub(r.start))))
	}
	return n, err
}
