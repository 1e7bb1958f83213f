// SPDX-License-Identifier: Apache-2.0

package config

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the corpus' expected results anew")

// TestCorpus reads each case at every version from its "min:" to its "max:" line (default: the newest). The
// word VERSION stands for the version. Section unused lists warnings that the report must end with, cache
// the cache form.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/corpus/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no corpus", err)
	}
	for _, name := range files {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		from, to := V3_0, Versions[len(Versions)-1]
		for line := range strings.Lines(string(a.Comment)) {
			if s, ok := strings.CutPrefix(strings.TrimSpace(line), "min: "); ok {
				from = minorVersion(s)
			} else if s, ok := strings.CutPrefix(strings.TrimSpace(line), "max: "); ok {
				to = minorVersion(s)
			}
		}
		for _, v := range Versions {
			if !v.Before(from) && !to.Before(v) {
				t.Run(filepath.Base(name)+"/"+v.String(), func(t *testing.T) { runCase(t, a, v) })
			}
		}
		if *update {
			if err := os.WriteFile(name, txtar.Format(a), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func runCase(t *testing.T, a *txtar.Archive, v Version) {
	in := strings.ReplaceAll(string(a.Files[0].Data), "VERSION", v.String())
	c, r, err := Parse([]byte(in))
	if err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	cache, err := MarshalCache(c)
	if err != nil {
		t.Fatal(err)
	}
	for i := range a.Files {
		f := &a.Files[i]
		switch {
		case f.Name == "cache" && *update:
			f.Data = append(cache, '\n')
		case f.Name == "cache" && string(f.Data) != string(cache)+"\n":
			t.Errorf("cache form\n%s\nwant\n%s", cache, f.Data)
		case f.Name == "unused" && !strings.HasSuffix(r.String(), string(f.Data)):
			t.Errorf("report\n%swant at its end\n%s", r, f.Data)
		}
	}
}
