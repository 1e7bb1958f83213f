// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	rows := []struct {
		name  string
		lines []string
		want  totals
		shown []string // parts of the output, in any order
	}{
		{
			name: "leaves are counted, parents are not",
			lines: []string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"run","Package":"p","Test":"TestA/x"}`,
				`{"Action":"run","Package":"p","Test":"TestA/y"}`,
				`{"Action":"pass","Package":"p","Test":"TestA/x"}`,
				`{"Action":"pass","Package":"p","Test":"TestA/y"}`,
				`{"Action":"pass","Package":"p","Test":"TestA"}`,
				`{"Action":"run","Package":"p","Test":"TestB"}`,
				`{"Action":"pass","Package":"p","Test":"TestB"}`,
				`{"Action":"pass","Package":"p","Elapsed":1.5}`,
			},
			want:  totals{passed: 3},
			shown: []string{"pass  p  1.5s", "3 passed, 0 failed, 0 skipped"},
		},
		{
			name: "a failed subtest is one failure and its output is shown",
			lines: []string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"run","Package":"p","Test":"TestA/x"}`,
				`{"Action":"output","Package":"p","Test":"TestA/x","Output":"    a_test.go:3: got 1\n"}`,
				`{"Action":"fail","Package":"p","Test":"TestA/x"}`,
				`{"Action":"fail","Package":"p","Test":"TestA"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			want:  totals{failed: 1},
			shown: []string{"got 1", "FAILED p TestA/x"},
		},
		{
			name: "a parent that failed on its own counts beside its subtests",
			lines: []string{
				`{"Action":"pass","Package":"p","Test":"TestA/x"}`,
				`{"Action":"fail","Package":"p","Test":"TestA"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			want: totals{passed: 1, failed: 1},
		},
		{
			name: "a package that does not build is one failure",
			lines: []string{
				`{"ImportPath":"p","Action":"build-output","Output":"a.go:1: wrong\n"}`,
				`{"ImportPath":"p","Action":"build-fail"}`,
				`{"Action":"fail","Package":"p","FailedBuild":"p"}`,
			},
			want:  totals{failed: 1},
			shown: []string{"a.go:1: wrong", "FAILED p"},
		},
		{
			name: "a test whose process died is a failure",
			lines: []string{
				`{"Action":"run","Package":"p","Test":"TestA"}`,
				`{"Action":"fail","Package":"p"}`,
			},
			want:  totals{failed: 2},
			shown: []string{"TestA (did not end)"},
		},
		{
			name: "a skipped test says why; a package without tests is none",
			lines: []string{
				`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: needs root\n"}`,
				`{"Action":"skip","Package":"p","Test":"TestA"}`,
				`{"Action":"pass","Package":"p"}`,
				`{"Action":"skip","Package":"q"}`,
			},
			want:  totals{skipped: 1},
			shown: []string{"skip  p TestA: needs root"},
		},
		{
			name:  "what is not JSON is passed on",
			lines: []string{"go: downloading x"},
			shown: []string{"go: downloading x", "0 passed, 0 failed, 0 skipped"},
		},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var out, failed strings.Builder
			got, err := read(strings.NewReader(strings.Join(row.lines, "\n")), &out, &failed)
			if err != nil {
				t.Fatal(err)
			}
			if got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
			for _, part := range row.shown {
				if !strings.Contains(out.String(), part) {
					t.Errorf("output lacks %q:\n%s", part, out.String())
				}
			}
		})
	}
}

// TestAgain: what a failed test said is kept for the end, and nothing else.
func TestAgain(t *testing.T) {
	var failed strings.Builder
	lines := []string{
		`{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:3: bad\n"}`,
		`{"Action":"fail","Package":"p","Test":"TestA"}`,
		`{"Action":"output","Package":"p","Test":"TestB","Output":"    a_test.go:9: good\n"}`,
		`{"Action":"pass","Package":"p","Test":"TestB"}`,
	}
	if _, err := read(strings.NewReader(strings.Join(lines, "\n")), io.Discard, &failed); err != nil {
		t.Fatal(err)
	}
	if failed.String() != "    a_test.go:3: bad\n" {
		t.Errorf("%q", failed.String())
	}
}
