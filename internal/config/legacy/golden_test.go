// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the expected results below testdata anew")

// A case holds a document in the section input, or a parent and a child to merge, and what must come of it:
//
//	error    the error's text
//	report   the whole report; of two documents parent's, then child's
//	config   the result as Convert writes it
//
// A section without text is left out.
func goldenCases(t testing.TB) map[string]*txtar.Archive {
	t.Helper()
	names, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal("no cases", err)
	}
	cases := map[string]*txtar.Archive{}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		cases[name] = a
	}
	return cases
}

func isInput(f txtar.File) bool { return f.Name == "input" || f.Name == "parent" || f.Name == "child" }

func inputOf(f txtar.File) []byte {
	return bytes.TrimSuffix(f.Data, []byte("\n"))
}

func TestGolden(t *testing.T) {
	for name, a := range goldenCases(t) {
		short := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(name), "testdata/"), ".txtar")
		t.Run(short, func(t *testing.T) {
			got := &txtar.Archive{Comment: a.Comment}
			sections := map[string]string{}
			var whole *config.Config
			for _, f := range a.Files {
				if !isInput(f) {
					continue
				}
				got.Files = append(got.Files, f)
				c, r, err := Parse(inputOf(f))
				sections["report"] += r.String()
				if err != nil {
					sections["error"], whole = err.Error()+"\n", nil
					break
				}
				if whole == nil {
					whole = &c
				} else {
					merged := config.Merge(*whole, c)
					whole = &merged
				}
			}
			if whole != nil {
				sections["config"] = string(config.MarshalDocument(*whole, newForm))
			}
			for _, kind := range []string{"error", "report", "config"} {
				if text := sections[kind]; text != "" {
					got.Files = append(got.Files, txtar.File{Name: kind, Data: []byte(text)})
				}
			}
			switch out := txtar.Format(got); {
			case *update:
				if err := os.WriteFile(name, out, 0o644); err != nil {
					t.Fatal(err)
				}
			case !bytes.Equal(out, txtar.Format(a)):
				t.Errorf("got\n%s\nwant\n%s", out, txtar.Format(a))
			}
		})
	}
}
