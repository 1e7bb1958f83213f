// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// event is one line of go tool test2json.
type event struct {
	Action, Test, Output string
	Elapsed              float64
}

// readEvents hands over the events of a stream until it ends.
func readEvents(in io.Reader) <-chan event {
	out := make(chan event)
	go func() {
		defer close(out)
		r := bufio.NewReader(in)
		for {
			line, err := r.ReadBytes('\n')
			var e event
			if len(line) > 0 && json.Unmarshal(line, &e) == nil {
				out <- e
			}
			if err != nil {
				return
			}
		}
	}()
	return out
}

// tester is the part of testing.T that a replay needs.
type tester interface {
	Run(name string, f func(tester)) bool
	Log(args ...any)
	Error(args ...any)
	Skip(args ...any)
}

// subtest makes a tester of a testing.T.
type subtest struct{ *testing.T }

func (s subtest) Run(name string, f func(tester)) bool {
	return s.T.Run(name, func(t *testing.T) { f(subtest{t}) })
}

// replay turns the tests of another process into subtests while they run. The
// tests of the guest are not parallel, so their events are nested.
type replay struct {
	times []timing
	ended bool // the stream ended
}

type timing struct {
	name    string
	seconds float64
	outcome string
}

func newReplay() *replay { return &replay{} }

// run replays the top level. What is said outside of tests is logged: a panic
// shows there.
func (r *replay) run(t tester, events <-chan event) {
	var rest strings.Builder
	for {
		e, ok := <-events
		switch {
		case !ok:
			if rest.Len() > 0 {
				t.Log("said outside of tests:\n" + rest.String())
			}
			if len(r.times) == 0 {
				t.Error("no test ran")
			}
			return
		case e.Action == "run":
			r.sub(t, "", e.Test, events)
		case e.Action == "output" && !frame(e.Output):
			rest.WriteString(e.Output)
		}
	}
}

// sub replays one test until its end.
func (r *replay) sub(t tester, parent, name string, events <-chan event) {
	t.Run(strings.TrimPrefix(name, parent+"/"), func(t tester) {
		var text strings.Builder
		children := false
		for e := range events {
			switch e.Action {
			case "run":
				children = true
				r.sub(t, name, e.Test, events)
			case "output":
				if !frame(e.Output) {
					text.WriteString(e.Output)
				}
			case "pass", "fail", "skip":
				r.end(t, e, text.String(), children)
				return
			}
		}
		r.ended = true
		t.Log(text.String())
		t.Error("the guest ended in the middle of this test")
	})
}

func (r *replay) end(t tester, e event, text string, children bool) {
	if !children {
		r.times = append(r.times, timing{e.Test, e.Elapsed, e.Action})
	}
	switch e.Action {
	case "fail":
		t.Error("failed in the guest:\n" + text)
	case "skip":
		t.Skip(strings.TrimSpace(text))
	default:
		if text != "" {
			t.Log(text)
		}
	}
}

// frame tells the lines that the testing package prints around a test.
func frame(line string) bool {
	line = strings.TrimLeft(line, " ")
	for _, start := range []string{"=== ", "--- PASS: ", "--- FAIL: ", "--- SKIP: "} {
		if strings.HasPrefix(line, start) {
			return true
		}
	}
	return line == "PASS\n" || line == "FAIL\n"
}

// table lists the tests, the slowest first.
func (r *replay) table() string {
	times := slices.Clone(r.times)
	slices.SortStableFunc(times, func(a, b timing) int { return int(1000 * (b.seconds - a.seconds)) })
	var b strings.Builder
	for _, e := range times {
		fmt.Fprintf(&b, "%7.2f s  %-4s  %s\n", e.seconds, e.outcome, e.name)
	}
	return b.String()
}

// note is a tester that writes down what happens to it.
type note struct {
	out    *strings.Builder
	indent string
}

func (n note) say(what string, args ...any) {
	fmt.Fprintf(n.out, "%s%s %q\n", n.indent, what, strings.TrimSpace(fmt.Sprint(args...)))
}
func (n note) Run(name string, f func(tester)) bool {
	n.say("run", name)
	f(note{n.out, n.indent + "  "})
	return true
}
func (n note) Log(args ...any)   { n.say("log", args...) }
func (n note) Error(args ...any) { n.say("error", args...) }
func (n note) Skip(args ...any)  { n.say("skip", args...) }

func TestReplay(t *testing.T) {
	rows := []struct {
		name, stream, want, table string
	}{
		{"nested", `{"Action":"run","Test":"TestA"}
{"Action":"output","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"run","Test":"TestA/x/y"}
{"Action":"output","Test":"TestA/x/y","Output":"    a_test.go:1: wrong\n"}
{"Action":"output","Test":"TestA/x/y","Output":"    --- FAIL: TestA/x/y (0.50s)\n"}
{"Action":"fail","Test":"TestA/x/y","Elapsed":0.5}
{"Action":"run","Test":"TestA/z"}
{"Action":"pass","Test":"TestA/z","Elapsed":1.5}
{"Action":"fail","Test":"TestA","Elapsed":2}
{"Action":"run","Test":"TestB"}
{"Action":"output","Test":"TestB","Output":"    b_test.go:1: no disk\n"}
{"Action":"skip","Test":"TestB"}
{"Action":"output","Output":"FAIL\n"}
{"Action":"fail"}
`, `run "TestA"
  run "x/y"
    error "failed in the guest:\n    a_test.go:1: wrong"
  run "z"
  error "failed in the guest:"
run "TestB"
  skip "b_test.go:1: no disk"
`, "   1.50 s  pass  TestA/z\n   0.50 s  fail  TestA/x/y\n   0.00 s  skip  TestB\n"},
		{"cut off", `{"Action":"run","Test":"TestA"}
{"Action":"run","Test":"TestA/b"}
{"Action":"output","Test":"TestA/b","Output":"half"}
not json
`, `run "TestA"
  run "b"
    log "half"
    error "the guest ended in the middle of this test"
  log ""
  error "the guest ended in the middle of this test"
error "no test ran"
`, ""},
		{"panic at start", `{"Action":"output","Output":"panic: here\n"}
{"Action":"fail"}
`, `log "said outside of tests:\npanic: here"
error "no test ran"
`, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var out strings.Builder
			r := newReplay()
			r.run(note{&out, ""}, readEvents(strings.NewReader(row.stream)))
			if out.String() != row.want {
				t.Errorf("got\n%s\nwant\n%s", out.String(), row.want)
			}
			if got := r.table(); got != row.table {
				t.Errorf("table\n%s\nwant\n%s", got, row.table)
			}
		})
	}
}
