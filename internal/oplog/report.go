// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"
)

// SkippedError says that some lines of a record file are no records. The
// records beside it are good.
type SkippedError struct {
	Lines   int  // whole lines that are no records
	First   int  // number of the first of them
	CutLast bool // the last line has no end: the machine was stopped while it was written
}

func (e *SkippedError) Error() string {
	var parts []string
	if e.Lines > 0 {
		parts = append(parts, fmt.Sprintf("%s skipped that are no records, the first is line %d", count(e.Lines, "line"), e.First))
	}
	if e.CutLast {
		parts = append(parts, "the last line is cut off")
	}
	return strings.Join(parts, "; ")
}

// ReadRecords reads a record file. What is no record is skipped and counted
// in a *SkippedError, which comes beside the records; any other error is one of reading.
func ReadRecords(r io.Reader) ([]Record, error) {
	var records []Record
	var skipped SkippedError
	in := bufio.NewReader(r)
	for number := 1; ; number++ {
		text, err := in.ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return records, err
		}
		if rec, ok := parseRecord(text); ok {
			records = append(records, rec)
		} else if len(bytes.TrimSpace(text)) > 0 && err == nil {
			skipped.Lines++
			if skipped.First == 0 {
				skipped.First = number
			}
		} else if len(text) > 0 && err != nil {
			skipped.CutLast = true
		}
		if err != nil {
			break
		}
	}
	if skipped != (SkippedError{}) {
		return records, &skipped
	}
	return records, nil
}

// tooLong is more than any operation takes.
const tooLong = 365 * 24 * time.Hour

func parseRecord(text []byte) (Record, bool) {
	var rec Record
	if json.Unmarshal(text, &rec) != nil {
		return rec, false
	}
	known := rec.Outcome == OK || rec.Outcome == Failed
	took := rec.End.Sub(rec.Start)
	possible := took >= 0 && took < tooLong && rec.Seconds >= 0 && rec.Seconds < tooLong.Seconds()
	return rec, known && possible && !rec.Start.IsZero()
}

// run is one execution of a stage. A stage can run more than once.
type run struct {
	stage   string
	whole   *Record  // the record of the stage itself; nil if it was cut short
	records []Record // all others, in the order they ended
}

// runs splits records, which come in the order they were written. The record
// of a stage is the last one of its run.
func runs(records []Record) []run {
	var out []run
	var open *run
	boot := ""
	for i := range records {
		rec := records[i]
		if open == nil || open.stage != rec.Stage || boot != rec.Boot {
			out = append(out, run{stage: rec.Stage})
			open, boot = &out[len(out)-1], rec.Boot
		}
		if rec.Kind == KindStage {
			open.whole, open = &rec, nil
			continue
		}
		open.records = append(open.records, rec)
	}
	return out
}

func (r run) span() (start, end time.Time) {
	if r.whole != nil {
		return r.whole.Start, r.whole.End
	}
	start, end = r.records[0].Start, r.records[0].End
	for _, rec := range r.records {
		start, end = minTime(start, rec.Start), maxTime(end, rec.End)
	}
	return start, end
}

func (r run) outcome() string {
	if r.whole == nil {
		return "unfinished"
	}
	return r.whole.Outcome
}

func (r run) ops() int {
	n := 0
	for _, rec := range r.records {
		if rec.Op != 0 {
			n++
		}
	}
	return n
}

// bytes tells what was fetched from what was written, since the same bytes are often both.
func (r run) bytes() (fetched, written int64) {
	for _, rec := range r.records {
		if rec.Kind == KindFetch {
			fetched += rec.Bytes
		} else {
			written += rec.Bytes
		}
	}
	return fetched, written
}

func minTime(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func maxTime(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// ReportOptions shape a report.
type ReportOptions struct {
	Top   int // so many of the slowest operations; 0 = ten
	Width int // of wrapped text; 0 = 100 columns
}

// WriteReport prints the outcome, the stages, the slowest operations and what
// failed. It says whether any stage or operation failed.
func WriteReport(w io.Writer, records []Record, opts ReportOptions) (failed bool, err error) {
	if opts.Top <= 0 {
		opts.Top = 10
	}
	if opts.Width <= 0 {
		opts.Width = 100
	}
	opts.Width = max(opts.Width, 40)
	records = operations(records)
	if len(records) == 0 {
		_, err := fmt.Fprintln(w, "No operations are recorded.")
		return false, err
	}
	all := runs(records)
	failures := failures(records)
	out := bufio.NewWriter(w)
	writeHeader(out, all, len(failures))
	writeStages(out, all)
	writeSlowest(out, records, opts)
	writeFailures(out, failures, opts)
	return len(failures) > 0, out.Flush()
}

// operations leaves out the runs of programs.
func operations(records []Record) []Record {
	return slices.DeleteFunc(slices.Clone(records), func(r Record) bool { return r.Kind == KindProgram })
}

func failures(records []Record) []Record {
	var out []Record
	for _, rec := range records {
		if rec.Outcome == Failed {
			out = append(out, rec)
		}
	}
	return out
}

// writeHeader gives the verdict of the last run, which is what the machine
// came up with, and sums everything up.
func writeHeader(w io.Writer, all []run, failures int) {
	last := all[len(all)-1]
	verdict := "ok"
	switch {
	case last.outcome() == Failed:
		verdict = fmt.Sprintf("failed in stage %s", clean(last.stage))
	case last.outcome() != OK:
		verdict = fmt.Sprintf("unfinished: stage %s did not come to its end", clean(last.stage))
	case failures > 0:
		verdict = fmt.Sprintf("ok in the end, after %s", count(failures, "failure"))
	}
	begin, end := all[0].span()
	var ops int
	var busy time.Duration
	for _, r := range all {
		s, e := r.span()
		begin, end = minTime(begin, s), maxTime(end, e)
		busy += e.Sub(s)
		ops += r.ops()
	}
	fmt.Fprintf(w, "Outcome: %s\n", verdict)
	fmt.Fprintf(w, "Began %s; %s, %s, %s of work in %s\n", begin.UTC().Format(time.RFC3339),
		count(len(all), "stage"), count(ops, "operation"), duration(busy), duration(end.Sub(begin)))
}

func writeStages(w io.Writer, all []run) {
	begin, _ := all[0].span()
	for _, r := range all {
		s, _ := r.span()
		begin = minTime(begin, s)
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "START\tTIME\tOPS\tFETCHED\tWRITTEN\t  STAGE")
	for _, r := range all {
		s, e := r.span()
		fetched, written := r.bytes()
		name := clean(r.stage)
		if r.outcome() != OK {
			name += " (" + r.outcome() + ")"
		}
		fmt.Fprintf(t, "+%s\t%s\t%d\t%s\t%s\t  %s\n", duration(s.Sub(begin)), duration(e.Sub(s)), r.ops(),
			size(fetched), size(written), name)
	}
	t.Flush()
}

func writeSlowest(w io.Writer, records []Record, opts ReportOptions) {
	slow := slowest(records, opts.Top)
	if len(slow) == 0 {
		return
	}
	fmt.Fprintf(w, "\nSlowest operations:\n")
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	widest := len("STAGE")
	for _, rec := range slow {
		widest = max(widest, utf8.RuneCountInString(clean(rec.Stage)))
	}
	fmt.Fprintf(t, "TIME\tBYTES\tRATE\tOP\t  %-*s  WHAT\n", widest, "STAGE")
	for _, rec := range slow {
		op := "-"
		if rec.Op != 0 {
			op = fmt.Sprintf("%x", rec.Op)
		}
		what := middle(clean(rec.Desc), opts.Width*2/3)
		if rec.Outcome == Failed {
			what = "FAILED " + what
		}
		if rec.Config != "" {
			what += "  [" + clean(rec.Config) + "]"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t  %-*s  %s\n",
			duration(seconds(rec)), size(rec.Bytes), rate(rec), op, widest, clean(rec.Stage), what)
	}
	t.Flush()
}

// slowest are the n operations and downloads that took longest, longest first.
func slowest(records []Record, n int) []Record {
	var out []Record
	for _, rec := range records {
		if rec.Kind != KindStage {
			out = append(out, rec)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Seconds > out[j].Seconds })
	return out[:min(n, len(out))]
}

func writeFailures(w io.Writer, failures []Record, opts ReportOptions) {
	if len(failures) == 0 {
		return
	}
	fmt.Fprintf(w, "\nFailures, in the order they came:\n")
	for _, rec := range failures {
		title := fmt.Sprintf("%s: %s", clean(rec.Stage), clean(rec.Desc))
		switch {
		case rec.Kind == KindStage:
			title = fmt.Sprintf("stage %s", clean(rec.Stage))
		case rec.Op != 0:
			title = fmt.Sprintf("%s: op(%x): %s", clean(rec.Stage), rec.Op, clean(rec.Desc))
		}
		wrap(w, "- ", "  ", title, opts.Width)
		if rec.Config != "" {
			wrap(w, "  config entry: ", "    ", clean(rec.Config), opts.Width)
		}
		wrap(w, "  error: ", "    ", clean(rec.Error), opts.Width)
	}
}

// wrap breaks text between words. A word that is longer than a line stays whole, so that it can be copied.
func wrap(w io.Writer, first, rest, text string, width int) {
	lineText, empty := first, true
	for _, word := range strings.Fields(text) {
		if !empty && utf8.RuneCountInString(lineText)+1+utf8.RuneCountInString(word) > width {
			fmt.Fprintln(w, lineText)
			lineText, empty = rest, true
		}
		if !empty {
			lineText += " "
		}
		lineText, empty = lineText+word, false
	}
	fmt.Fprintln(w, strings.TrimRight(lineText, " "))
}

// clean makes a text fit for one line of a terminal: what is recorded can come
// from a config or a server, and must not move the cursor.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, s)
}

// middle shortens a text to n runes; the beginning says what, the end which one.
func middle(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	head := (n - 3) / 2
	return string(runes[:head]) + "..." + string(runes[len(runes)-(n-3-head):])
}

func seconds(rec Record) time.Duration { return time.Duration(rec.Seconds * float64(time.Second)) }

func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "-" + duration(max(-d, 0))
	case d < time.Second:
		return fmt.Sprintf("%.1fms", float64(d)/float64(time.Millisecond))
	case d < time.Minute:
		return fmt.Sprintf("%.2fs", d.Seconds())
	}
	return fmt.Sprintf("%dmin %04.1fs", int(d.Minutes()), (d % time.Minute).Seconds())
}

func size(n int64) string {
	if n <= 0 {
		return "-"
	}
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), 0
	for value >= 1023.95 && unit < 4 {
		value /= 1024
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, " KMGT"[unit])
}

func rate(rec Record) string {
	if rec.Bytes <= 0 || rec.Seconds <= 0 {
		return "-"
	}
	return size(int64(float64(rec.Bytes)/rec.Seconds)) + "/s"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
