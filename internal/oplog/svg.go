// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"sort"
	"strings"
	"time"
	"unicode/utf8"
)

// More operations than drawAll make a drawing that nobody reads: of those only
// the drawSlowest slowest ones are drawn.
const (
	drawAll     = 400
	drawSlowest = 300
)

// Measures of the drawing, in pixels.
const (
	gutter    = 470 // labels
	plotWidth = 900
	rightEdge = 90 // room for the time beside the last bar
	topEdge   = 96
	rowHeight = 18
	barHeight = 12
	indent    = 14
	maxDepth  = 12  // deeper ones are not indented further
	charWidth = 6.3 // of the label font, on average
	svgWidth  = gutter + plotWidth + rightEdge
)

// row is one line of the drawing.
type row struct {
	Record
	depth int
	class string // CSS class of the bar
	label string
}

// chart places rows on a time axis.
type chart struct {
	w          *bufio.Writer
	begin      time.Time
	total      time.Duration
	rows       []row
	left       int // operations that are not drawn
	height     int
	ops, fetch int
}

// WriteSVG draws the records on a time line, one row per stage with its
// operations below it. Bars that share a part of the axis ran side by side.
func WriteSVG(w io.Writer, records []Record) error {
	records = operations(records)
	c := &chart{w: bufio.NewWriter(w), total: time.Millisecond}
	drawn, left := thin(records)
	c.left = left
	for _, r := range runs(drawn) {
		c.addRun(r)
	}
	c.measure()
	c.height = topEdge + len(c.rows)*rowHeight + 30
	c.open()
	c.axis()
	for i, r := range c.rows {
		c.row(i, r)
	}
	fmt.Fprintln(c.w, "</svg>")
	return c.w.Flush()
}

// thin leaves out the fastest operations if there are too many. Failed ones stay.
func thin(records []Record) (drawn []Record, left int) {
	var candidates []Record
	for _, rec := range records {
		if rec.Kind != KindStage && rec.Outcome == OK {
			candidates = append(candidates, rec)
		}
	}
	if len(candidates) <= drawAll {
		return records, 0
	}
	limit := slowest(candidates, drawSlowest)[drawSlowest-1].Seconds
	room := drawSlowest
	for _, rec := range candidates {
		if rec.Seconds > limit {
			room--
		}
	}
	for _, rec := range records {
		switch {
		case rec.Kind == KindStage || rec.Outcome != OK || rec.Seconds > limit:
		case rec.Seconds == limit && room > 0:
			room--
		default:
			left++
			continue
		}
		drawn = append(drawn, rec)
	}
	return drawn, left
}

// addRun adds the row of a stage and those of its operations: first the
// downloads that belong to no operation, side by side, then the operations by
// start, each with its inner ones below it.
func (c *chart) addRun(r run) {
	start, end := r.span()
	whole := Record{Stage: r.stage, Kind: KindStage, Outcome: r.outcome(), Start: start, End: end, Seconds: end.Sub(start).Seconds()}
	if r.whole != nil {
		whole = *r.whole
	}
	label := r.stage
	if r.outcome() != OK {
		label += " (" + r.outcome() + ")"
	}
	c.rows = append(c.rows, row{Record: whole, class: class(whole), label: label})

	here := map[uint64]bool{}
	for _, rec := range r.records {
		if rec.Op != 0 {
			here[rec.Op] = true
		}
	}
	inner := map[uint64][]Record{}
	for _, rec := range r.records {
		parent := rec.Parent
		if !here[parent] || parent == rec.Op {
			parent = 0 // it ended without a record, or is not drawn
		}
		inner[parent] = append(inner[parent], rec)
	}
	c.addLevel(inner, 0, 1)
}

// addLevel adds the rows inside one operation. Each list is taken once, so
// that records which claim to enclose each other do no harm.
func (c *chart) addLevel(inner map[uint64][]Record, parent uint64, depth int) {
	records := inner[parent]
	delete(inner, parent)
	sort.SliceStable(records, func(i, j int) bool {
		a, b := records[i], records[j]
		if fa, fb := a.Kind == KindFetch, b.Kind == KindFetch; parent == 0 && fa != fb {
			return fa
		}
		return a.Start.Before(b.Start)
	})
	for _, rec := range records {
		label := rec.Desc
		if rec.Op != 0 {
			label = fmt.Sprintf("op(%x) %s", rec.Op, rec.Desc)
			c.ops++
		}
		if rec.Kind == KindFetch {
			c.fetch++
		}
		c.rows = append(c.rows, row{Record: rec, depth: depth, class: class(rec), label: label})
		if rec.Op != 0 {
			c.addLevel(inner, rec.Op, depth+1)
		}
	}
}

func class(rec Record) string {
	switch {
	case rec.Outcome == Failed:
		return "failed"
	case rec.Kind == KindStage:
		return "stage"
	case rec.Kind == KindFetch:
		return "fetch"
	}
	return "op"
}

func (c *chart) measure() {
	if len(c.rows) == 0 {
		return
	}
	c.begin = c.rows[0].Start
	end := c.rows[0].End
	for _, r := range c.rows {
		c.begin, end = minTime(c.begin, r.Start), maxTime(end, r.End)
	}
	c.total = max(end.Sub(c.begin), time.Millisecond)
}

const style = `
  text { font: 11px sans-serif; fill: #222; }
  .title { font-size: 16px; font-weight: bold; }
  .dim { fill: #666; }
  .name { font-weight: bold; }
  .grid { stroke: #ddd; stroke-width: 1; }
  .band { fill: #f3f5f8; }
  .stage { fill: #4f6d94; }
  .op { fill: #8fb8de; }
  .fetch { fill: #e0a136; }
  .failed { fill: #c43c2e; }
`

// open writes the head of the drawing: title, totals and legend.
func (c *chart) open() {
	fmt.Fprintf(c.w, `<?xml version="1.0" encoding="UTF-8"?>
<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %[1]d %[2]d">
<style>%s</style>
<rect width="100%%" height="100%%" fill="#fff"/>
<text class="title" x="16" y="28">Provisioning: %s in all</text>
`, svgWidth, c.height, style, escape(duration(c.total)))
	note := fmt.Sprintf("%s, %s", count(c.ops, "operation"), count(c.fetch, "download"))
	if len(c.rows) == 0 {
		note = "no operations are recorded"
	} else {
		note += ", began " + c.begin.UTC().Format(time.RFC3339)
	}
	if c.left > 0 {
		note += fmt.Sprintf("; %d shorter ones are not drawn", c.left)
	}
	fmt.Fprintf(c.w, `<text class="dim" x="16" y="48">%s</text>`+"\n", escape(note))
	for i, item := range []struct{ class, text string }{
		{"stage", "stage"}, {"op", "operation"}, {"fetch", "download"}, {"failed", "failed"},
	} {
		x := 16 + i*95
		fmt.Fprintf(c.w, `<rect class="%s" x="%d" y="60" width="12" height="12"/><text x="%d" y="70">%s</text>`+"\n",
			item.class, x, x+17, item.text)
	}
}

// axis draws the ticks: at most about a dozen, at round times.
func (c *chart) axis() {
	bottom := c.height - 24
	step := tickStep(c.total)
	for i := range int(c.total/step) + 1 {
		at := time.Duration(i) * step
		x := c.x(c.begin.Add(at))
		fmt.Fprintf(c.w, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>`, x, topEdge-8, x, bottom)
		for _, y := range []int{topEdge - 14, bottom + 14} {
			fmt.Fprintf(c.w, `<text class="dim" text-anchor="middle" x="%.1f" y="%d">%s</text>`, x, y, tickLabel(at, step))
		}
		fmt.Fprintln(c.w)
	}
}

// tickStep is the smallest of 1, 2, 5 times a power of ten that gives at most
// twelve ticks.
func tickStep(total time.Duration) time.Duration {
	rough := float64(total) / 12
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	for _, factor := range []float64{1, 2, 5} {
		if step := factor * power; step >= rough {
			return max(time.Duration(step), 1)
		}
	}
	return max(time.Duration(10*power), 1)
}

// tickLabel has just the digits that tell ticks apart.
func tickLabel(at, step time.Duration) string {
	digits := 0
	for s := step.Seconds(); s < 0.999999 && digits < 9; s *= 10 {
		digits++
	}
	return fmt.Sprintf("%.*fs", digits, at.Seconds())
}

func (c *chart) x(t time.Time) float64 {
	return gutter + plotWidth*float64(t.Sub(c.begin))/float64(c.total)
}

// row draws a bar with its label in the gutter and its time beside it.
func (c *chart) row(i int, r row) {
	y := topEdge + i*rowHeight
	if r.Kind == KindStage {
		fmt.Fprintf(c.w, `<rect class="band" x="0" y="%d" width="%d" height="%d"/>`, y, svgWidth, rowHeight)
	}
	textClass, labelX := "", 16+min(r.depth, maxDepth)*indent
	if r.Kind == KindStage {
		textClass = ` class="name"`
	}
	room := int(float64(gutter-10-labelX) / charWidth)
	fmt.Fprintf(c.w, `<text%s x="%d" y="%d">%s</text>`, textClass, labelX, y+13, escape(middle(r.label, max(room, 12))))

	from, to := c.x(r.Start), c.x(r.End)
	width := max(to-from, 1.5)
	fmt.Fprintf(c.w, `<rect class="%s" x="%.1f" y="%d" width="%.1f" height="%d" rx="2"><title>%s</title></rect>`,
		r.class, from, y+(rowHeight-barHeight)/2, width, barHeight, escape(r.tip()))
	fmt.Fprintf(c.w, `<text class="dim" x="%.1f" y="%d">%s</text>`+"\n", from+width+5, y+13, escape(duration(seconds(r.Record))))
}

// tip is what a viewer shows when the pointer rests on a bar.
func (r row) tip() string {
	parts := []string{r.label, duration(seconds(r.Record))}
	if r.Bytes > 0 {
		parts = append(parts, size(r.Bytes)+", "+rate(r.Record))
	}
	if r.Config != "" {
		parts = append(parts, r.Config)
	}
	if r.Error != "" {
		parts = append(parts, "error: "+r.Error)
	}
	return strings.Join(parts, "\n")
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;", "\t", "&#x9;", "\n", "&#xA;", "\r", "&#xD;")

// escape makes any text XML. What XML cannot hold is replaced.
func escape(s string) string {
	return escaper.Replace(strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return utf8.RuneError
		}
		return r
	}, s))
}
