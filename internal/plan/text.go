// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Style is how a plan is written for a person.
type Style struct {
	Color bool
	All   bool // what is kept too
}

var signs = map[Effect]string{Create: "+", Change: "~", Delete: "-", Keep: "="}

const (
	red, green, yellow, plainText = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"
)

// writer writes lines and keeps the first error.
type writer struct {
	to  io.Writer
	on  bool // colour
	err error
}

func (w *writer) line(color, format string, args ...any) {
	text := visible(fmt.Sprintf(format, args...))
	if w.on && color != "" {
		text = color + text + plainText
	}
	if w.err == nil {
		_, w.err = fmt.Fprintln(w.to, text)
	}
}

// visible replaces what would steer a terminal.
func visible(s string) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t' || strconv.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, "\\x%02x", r)
		default: // some turn the direction of writing
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// Text writes a plan for a person.
func (p *Plan) Text(to io.Writer, s Style) error {
	w := &writer{to: to, on: s.Color}
	stage := ""
	for i := range p.Operations {
		op := &p.Operations[i]
		if op.Effect == Keep && !s.All {
			continue
		}
		if op.Stage != stage {
			stage = op.Stage
			w.line("", "stage %s:", stage)
		}
		w.operation(op)
	}
	for i := range p.Disks {
		if d := &p.Disks[i]; s.All || !samePartitions(d.Before, d.After) {
			w.disk(d)
		}
	}
	for _, u := range p.Unknown {
		w.line(yellow, "not known: %s", u)
	}
	w.line("", "%s", p.Summary())
	return w.err
}

func (w *writer) operation(op *Operation) {
	color := map[Effect]string{Create: green, Change: yellow, Delete: red}[op.Effect]
	at := ""
	if op.Config != "" {
		at = "  (" + op.Config + ")"
	}
	w.line(color, "  %s %s%s", signs[op.Effect], op.Desc, at)
	if op.Loses != "" {
		w.line(red, "      irreversible: %s", op.Loses)
	}
	if op.Depends != "" {
		w.line("", "      depends on: %s", op.Depends)
	}
	if f := op.Fetches; f != nil {
		w.line("", "      downloads %s (%s)", f.URL, f.about())
	}
	for l := range strings.Lines(op.Diff) {
		color := ""
		switch {
		case strings.HasPrefix(l, "+"):
			color = green
		case strings.HasPrefix(l, "-"):
			color = red
		}
		w.line(color, "      %s", strings.TrimSuffix(l, "\n"))
	}
}

func (d *Download) about() string {
	size := "size not known"
	if d.Size > 0 {
		size = bytesText(d.Size)
	}
	if d.Hash == "" {
		return size + ", no hash in the config"
	}
	return size + ", " + d.Hash
}

// bytesText is a size for a person.
func bytesText(n int64) string {
	unit, value := "bytes", float64(n)
	for _, u := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if value < 1024 {
			break
		}
		unit, value = u, value/1024
	}
	if unit == "bytes" {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f %s", value, unit)
}

// Summary counts.
func (p *Plan) Summary() string {
	n := map[Effect]int{}
	lost, downloads, known, size := 0, 0, 0, int64(0)
	for i := range p.Operations {
		op := &p.Operations[i]
		n[op.Effect]++
		if op.Effect == Keep {
			continue
		}
		if op.Loses != "" {
			lost++
		}
		if f := op.Fetches; f != nil {
			downloads++
			if f.Size > 0 {
				known++
				size += f.Size
			}
		}
	}
	text := fmt.Sprintf("%d to create, %d to change, %d to delete, %d as the config says", n[Create], n[Change], n[Delete], n[Keep])
	if !p.Changes() && len(p.Unknown) == 0 {
		text = fmt.Sprintf("nothing to do, %d as the config says", n[Keep])
	}
	if lost > 0 {
		text += fmt.Sprintf("; %d irreversible", lost)
	}
	if downloads > 0 {
		text += fmt.Sprintf("; %d to download", downloads)
		if known > 0 {
			text += fmt.Sprintf(" (%s of %d)", bytesText(size), known)
		}
	}
	if len(p.Unknown) > 0 {
		text += fmt.Sprintf("; %d not known", len(p.Unknown))
	}
	return text
}
