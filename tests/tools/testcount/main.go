// SPDX-License-Identifier: Apache-2.0

// Command testcount reads the output of `go test -json` and prints what a
// person wants of it: the output of what failed, one line per package, and at
// the end how many tests passed, failed and were skipped. A test with subtests
// is not counted itself, its subtests are, unless it failed on its own. A
// package that failed without a failed test (it did not build, it panicked)
// counts as one failed. Lines that are not JSON are passed on. With a file as its
// argument it adds what failed tests said to that, to be shown at the end of all.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

func main() {
	var failures strings.Builder
	t, err := read(os.Stdin, os.Stdout, &failures)
	if err == nil && len(os.Args) > 1 {
		err = appendTo(os.Args[1], failures.String())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "testcount:", err)
		os.Exit(2)
	}
	if t.failed > 0 || t.passed == 0 {
		os.Exit(1)
	}
}

func appendTo(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// event is one line of `go test -json`.
type event struct {
	Action, Package, ImportPath, Test, Output string
	Elapsed                                   float64
}

// result is what became of one test or package.
type result struct {
	action   string
	output   []string
	children bool
	failed   bool // a subtest failed
}

// mostLines is how much of the output of one failed test is shown again.
const mostLines = 200

type totals struct{ passed, failed, skipped int }

// counter gathers the results of one run.
type counter struct {
	out     io.Writer
	failed  io.Writer
	results map[[2]string]*result // by package and test; the package itself has an empty test
	order   [][2]string
}

func read(in io.Reader, out, failed io.Writer) (totals, error) {
	c := counter{out: out, failed: failed, results: map[[2]string]*result{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			c.line(line)
		}
		if err == io.EOF {
			return c.finish(), nil
		}
		if err != nil {
			return totals{}, err
		}
	}
}

func (c *counter) line(line string) {
	var e event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(c.out, line)
		return
	}
	if e.Action == "build-output" {
		fmt.Fprint(c.out, e.Output)
	}
	if e.Package == "" {
		return
	}
	r := c.at(e.Package, e.Test)
	switch e.Action {
	case "output":
		r.output = append(r.output, e.Output)
	case "pass", "fail", "skip":
		r.action = e.Action
		c.ended(e, r)
	}
}

func (c *counter) at(pkg, test string) *result {
	key := [2]string{pkg, test}
	r := c.results[key]
	if r == nil {
		r = &result{}
		c.results[key] = r
		c.order = append(c.order, key)
		if i := strings.LastIndex(test, "/"); i >= 0 {
			c.at(pkg, test[:i]).children = true
		}
	}
	return r
}

// ended prints what there is to say of a test or package that is over.
func (c *counter) ended(e event, r *result) {
	if e.Action == "fail" {
		c.blame(e.Package, e.Test)
	}
	switch {
	case e.Test == "" && e.Action != "skip":
		fmt.Fprintf(c.out, "%-4s  %s  %.1fs\n", e.Action, e.Package, e.Elapsed)
	case e.Action == "skip" && e.Test != "":
		fmt.Fprintf(c.out, "skip  %s %s%s\n", e.Package, e.Test, reason(r.output))
	}
	if e.Action == "fail" {
		fmt.Fprint(c.out, strings.Join(r.output, ""))
		fmt.Fprint(c.failed, strings.Join(r.output[max(0, len(r.output)-mostLines):], ""))
	}
	r.output = nil
}

// blame tells the parents of a failed test, and its package, that the failure
// is already counted.
func (c *counter) blame(pkg, test string) {
	if test == "" {
		return
	}
	for {
		i := strings.LastIndex(test, "/")
		if i < 0 {
			break
		}
		test = test[:i]
		c.at(pkg, test).failed = true
	}
	c.at(pkg, "").failed = true
}

// reason is the text that a skipped test gave.
func reason(output []string) string {
	for _, line := range output {
		line = strings.TrimSpace(line)
		if i := strings.Index(line, ".go:"); i >= 0 {
			if _, text, ok := strings.Cut(line[i+len(".go:"):], ": "); ok {
				return ": " + text
			}
		}
	}
	return ""
}

func (c *counter) finish() totals {
	var t totals
	var failed []string
	for _, key := range c.order {
		r := c.results[key]
		pkg := key[1] == ""
		switch {
		case r.action == "fail" && !r.failed:
			t.failed++
			failed = append(failed, strings.TrimSpace(key[0]+" "+key[1]))
		case r.action == "" && !pkg && !r.children: // its process died
			t.failed++
			failed = append(failed, key[0]+" "+key[1]+" (did not end)")
		case pkg || r.children:
		case r.action == "pass":
			t.passed++
		case r.action == "skip":
			t.skipped++
		}
	}
	slices.Sort(failed)
	for _, name := range failed {
		fmt.Fprintln(c.out, "FAILED", name)
	}
	fmt.Fprintf(c.out, "%d passed, %d failed, %d skipped\n", t.passed, t.failed, t.skipped)
	return t
}
