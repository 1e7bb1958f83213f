// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxDiff is how many bytes a text may have to be compared line by line.
	MaxDiff = 256 << 10

	context  = 3    // lines shown around a change
	maxEdits = 2000 // beyond it the texts have too little in common
)

// Diff compares two texts in the unified format. A text that is not there is
// nil. Equal texts give nothing, binary and very large ones their sizes.
func Diff(name string, old, new []byte) string {
	for _, t := range [][]byte{old, new} {
		if len(t) > MaxDiff || !isText(t) {
			if old == nil {
				return NotShown(kindOf(t), -1, int64(len(new)))
			}
			return NotShown(kindOf(t), int64(len(old)), int64(len(new)))
		}
	}
	from, to := "a"+name, "b"+name
	if old == nil {
		from = "/dev/null"
	}
	if new == nil {
		to = "/dev/null"
	}
	body := hunks(lines(old), lines(new))
	if body == "" {
		return ""
	}
	return "--- " + from + "\n+++ " + to + "\n" + body
}

// NotShown stands for a difference that is not shown, and says why. A size of
// less than 0 is that of no file.
func NotShown(why string, before, after int64) string {
	if before < 0 {
		return fmt.Sprintf("content not shown: %s; %s\n", why, bytesText(after))
	}
	return fmt.Sprintf("content not shown: %s; %s become %s\n", why, bytesText(before), bytesText(after))
}

func kindOf(t []byte) string {
	if len(t) > MaxDiff {
		return "large"
	}
	return "binary"
}

func isText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	for _, r := range string(b) {
		if unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' {
			return false
		}
	}
	return true
}

// lines keeps the ends: a last line without one differs from one with it.
func lines(b []byte) []string {
	if len(b) == 0 {
		return nil
	}
	all := strings.SplitAfter(string(b), "\n")
	if all[len(all)-1] == "" {
		all = all[:len(all)-1]
	}
	return all
}

// edit is one line of a script that makes the new text of the old one.
type edit struct {
	sign byte // ' ', '-' or '+'
	text string
}

// script is the shortest one by Myers' algorithm, between what the texts begin
// and end with in common.
func script(a, b []string) []edit {
	var head, tail []edit
	for len(a) > 0 && len(b) > 0 && a[0] == b[0] {
		head = append(head, edit{' ', a[0]})
		a, b = a[1:], b[1:]
	}
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	for _, l := range a[len(a)-n:] {
		tail = append(tail, edit{' ', l})
	}
	return append(append(head, shortest(a[:len(a)-n], b[:len(b)-n])...), tail...)
}

func shortest(a, b []string) []edit {
	var trace [][]int
	reach := map[int]int{1: 0} // the furthest line of a, by diagonal
	for d := 0; d <= len(a)+len(b) && d <= maxEdits; d++ {
		row := make([]int, 0, d+1)
		for k := -d; k <= d; k += 2 {
			x := reach[k-1] + 1
			if k == -d || k != d && reach[k-1] < reach[k+1] {
				x = reach[k+1]
			}
			for x < len(a) && x-k < len(b) && a[x] == b[x-k] {
				x++
			}
			reach[k] = x
			row = append(row, x)
			if x >= len(a) && x-k >= len(b) {
				return walkBack(a, b, append(trace, row))
			}
		}
		trace = append(trace, row)
	}
	var all []edit
	for _, l := range a {
		all = append(all, edit{'-', l})
	}
	for _, l := range b {
		all = append(all, edit{'+', l})
	}
	return all
}

// walkBack reads the script from the end: row d of the trace has what d edits reach.
func walkBack(a, b []string, trace [][]int) []edit {
	var back []edit
	x, y := len(a), len(b)
	for d := len(trace) - 1; d > 0; d-- {
		at := func(k int) int { return trace[d-1][(k+d-1)/2] }
		k := x - y
		prev := k - 1
		if k == -d || k != d && at(k-1) < at(k+1) {
			prev = k + 1
		}
		px := at(prev)
		for x > px && y > px-prev {
			x, y = x-1, y-1
			back = append(back, edit{' ', a[x]})
		}
		if prev == k+1 {
			y--
			back = append(back, edit{'+', b[y]})
		} else {
			x--
			back = append(back, edit{'-', a[x]})
		}
	}
	for x > 0 {
		x--
		back = append(back, edit{' ', a[x]})
	}
	for i, j := 0, len(back)-1; i < j; i, j = i+1, j-1 {
		back[i], back[j] = back[j], back[i]
	}
	return back
}

// hunks writes the changed parts with some lines around.
func hunks(a, b []string) string {
	all := script(a, b)
	var out strings.Builder
	oldLine, newLine, done := 1, 1, 0
	for i := 0; i < len(all); i++ {
		if all[i].sign == ' ' {
			continue
		}
		first := max(i-context, done)
		for _, e := range all[done:first] {
			oldLine, newLine = count(e, oldLine, newLine)
		}
		end := i
		for j := i; j < len(all) && j <= end+2*context; j++ {
			if all[j].sign != ' ' {
				end = j
			}
		}
		last := min(end+context+1, len(all))
		nextOld, nextNew := oldLine, newLine
		for _, e := range all[first:last] {
			nextOld, nextNew = count(e, nextOld, nextNew)
		}
		fmt.Fprintf(&out, "@@ -%s +%s @@\n", span(oldLine, nextOld), span(newLine, nextNew))
		for _, e := range all[first:last] {
			out.WriteByte(e.sign)
			out.WriteString(e.text)
			if !strings.HasSuffix(e.text, "\n") {
				out.WriteString("\n\\ No newline at end of file\n")
			}
		}
		oldLine, newLine, done, i = nextOld, nextNew, last, last-1
	}
	return out.String()
}

func count(e edit, oldLine, newLine int) (int, int) {
	if e.sign != '+' {
		oldLine++
	}
	if e.sign != '-' {
		newLine++
	}
	return oldLine, newLine
}

// span is a range of lines as the format has it: an empty one names the line before it.
func span(from, to int) string {
	switch to - from {
	case 0:
		return fmt.Sprintf("%d,0", from-1)
	case 1:
		return fmt.Sprint(from)
	}
	return fmt.Sprintf("%d,%d", from, to-from)
}
