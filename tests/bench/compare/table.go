// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// metric is what a bar is about.
type metric int

const (
	wallRatio      metric = iota // older wall over ours, at least
	cpuRatio                     // older CPU over ours, at least
	memoryRatio                  // older peak memory over ours, at least
	memoryAtMost                 // our peak memory in bytes
	wallToBaseline               // our wall over the baseline's, at most
)

// bar is what the project holds itself to.
type bar struct {
	metric metric
	value  float64
}

// judge says what the bar asks, what was measured and whether it is met.
func (b bar) judge(m map[string]figures) (text string, met bool) {
	ours, older := m["ours"], m["older"]
	switch b.metric {
	case wallRatio:
		return b.atLeast("wall ratio", ratio(older.Wall, ours.Wall))
	case cpuRatio:
		return b.atLeast("CPU ratio", ratio(older.CPU, ours.CPU))
	case memoryRatio:
		return b.atLeast("memory ratio", ratio(older.MaxRSS, ours.MaxRSS))
	case memoryAtMost:
		met = float64(ours.MaxRSS) <= b.value
		return fmt.Sprintf("peak memory at most %.0f MiB: %.1f MiB", b.value/(1<<20), mib(ours.MaxRSS)), met
	case wallToBaseline:
		got := ratio(ours.Wall, m[baselineName].Wall)
		return fmt.Sprintf("wall at most %.1f of the baseline's: %.2f", b.value, got), got <= b.value
	}
	return fmt.Sprintf("unknown metric %d", b.metric), false
}

func (b bar) atLeast(what string, got float64) (string, bool) {
	return fmt.Sprintf("%s at least %.1f: %.2f", what, b.value, got), got >= b.value
}

func ratio[N ~int64](a, b N) float64 {
	if b == 0 {
		return 0
	}
	return float64(a) / float64(b)
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }

// median takes the middle of each figure on its own.
func median(all []figures) figures {
	return figures{
		Wall:   middle(all, func(f figures) time.Duration { return f.Wall }),
		CPU:    middle(all, func(f figures) time.Duration { return f.CPU }),
		MaxRSS: middle(all, func(f figures) int64 { return f.MaxRSS }),
	}
}

func middle[N ~int64](all []figures, of func(figures) N) N {
	if len(all) == 0 {
		return 0
	}
	values := make([]N, len(all))
	for i, f := range all {
		values[i] = of(f)
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

func printOutcome(w io.Writer, out outcome, bars []bar, quick bool) {
	medians := map[string]figures{}
	for name, all := range out.Figures {
		medians[name] = median(all)
	}
	fmt.Fprintf(w, "\n%s: %s (medians of %d runs)\n", out.Name, out.About, len(out.Figures["ours"]))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\twall\tCPU\tpeak memory\t")
	for _, name := range []string{"ours", "older", baselineName} {
		if m, ok := medians[name]; ok {
			fmt.Fprintf(t, "%s\t%.1f ms\t%.1f ms\t%.1f MiB\t\n", name, ms(m.Wall), ms(m.CPU), mib(m.MaxRSS))
		}
	}
	ours, older := medians["ours"], medians["older"]
	fmt.Fprintf(t, "older/ours\t%.2f\t%.2f\t%.2f\t\n",
		ratio(older.Wall, ours.Wall), ratio(older.CPU, ours.CPU), ratio(older.MaxRSS, ours.MaxRSS))
	t.Flush()
	for _, b := range bars {
		text, met := b.judge(medians)
		fmt.Fprintf(w, "  bar: %s (%s)\n", text, verdict(met, quick))
	}
}

func verdict(met, quick bool) string {
	switch {
	case quick:
		return "sizes are too small to judge"
	case met:
		return "met"
	}
	return "NOT met"
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
