// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the expected results below testdata anew")

// TestCorpus reads each case at every version from its "min:" to its "max:" line (default: all of them). A case
// holds a config, or a parent and a child to merge; " quoted" and " gzip" after the name say how its bytes are
// written down, and the word VERSION in it stands for the version. What must come of it stands in sections:
//
//	error    the error's text
//	report   the whole report; of two documents parent's, then child's
//	merged   the report of the pass that follows merging, which a document alone goes through too
//	result   the config in the newest form without empty objects; always for merges, else if there is such a section
//	cache    its exact cache form, if there is such a section
//
// A section without text is left out. One that holds for some versions only names them: "report 3.0-3.5".
func TestCorpus(t *testing.T) {
	cases := 0
	err := filepath.WalkDir("testdata/corpus", func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".txtar" {
			return err
		}
		cases++
		a, err := txtar.ParseFile(name)
		if err != nil {
			return err
		}
		short := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(name), "testdata/corpus/"), ".txtar")
		c := readCase(t, short, a)
		t.Run(short, c.check)
		if *update {
			return os.WriteFile(name, txtar.Format(c.updated(a.Comment)), 0o644)
		}
		return nil
	})
	if err != nil || cases == 0 {
		t.Fatalf("%d cases, %v", cases, err)
	}
}

// kinds of sections, in the order in which they are written.
var kinds = []string{"error", "report", "merged", "result", "cache"}

type corpusCase struct {
	inputs   []txtar.File
	versions []Version
	want     map[string]map[Version]string // by kind
	optional map[string]bool               // kinds that this case wants although they are not for every case
}

func readCase(t testing.TB, name string, a *txtar.Archive) *corpusCase {
	t.Helper()
	c := &corpusCase{want: map[string]map[Version]string{}, optional: map[string]bool{}}
	from, to := Versions[0], Versions[len(Versions)-1]
	for line := range strings.Lines(string(a.Comment)) {
		if s, ok := strings.CutPrefix(strings.TrimSpace(line), "min: "); ok {
			from = minorVersion(s)
		} else if s, ok := strings.CutPrefix(strings.TrimSpace(line), "max: "); ok {
			to = minorVersion(s)
		}
	}
	c.versions = versionsBetween(from, to)
	for _, kind := range kinds {
		c.want[kind] = map[Version]string{}
	}
	for _, f := range a.Files {
		kind, span, ranged := strings.Cut(f.Name, " ")
		switch kind {
		case "config", "parent", "child":
			c.inputs = append(c.inputs, f)
			continue
		}
		if c.want[kind] == nil {
			t.Fatalf("%s: unknown section %q", name, f.Name)
		}
		c.optional[kind] = true
		versions := c.versions
		if first, last, _ := strings.Cut(span, "-"); ranged {
			if last == "" {
				last = first
			}
			versions = versionsBetween(minorVersion(first), minorVersion(last))
		}
		for _, v := range versions {
			if _, twice := c.want[kind][v]; twice {
				t.Fatalf("%s: two sections %s for %s", name, kind, v)
			}
			c.want[kind][v] = string(f.Data)
		}
	}
	if n := len(c.inputs); n != 1 && (n != 2 || !strings.HasPrefix(c.inputs[0].Name, "parent") || !strings.HasPrefix(c.inputs[1].Name, "child")) {
		t.Fatalf("%s: want one config, or a parent and a child", name)
	}
	return c
}

// versionsBetween gives the supported versions between two minor versions, these included.
func versionsBetween(from, to Version) (list []Version) {
	for _, v := range Versions {
		if !v.Before(from) && !to.Before(v) {
			list = append(list, v)
		}
	}
	return list
}

// check compares what the case gives at each version. With -update it notes it instead.
func (c *corpusCase) check(t *testing.T) {
	for _, v := range c.versions {
		got := c.run(t, v)
		for _, kind := range kinds {
			if *update {
				c.want[kind][v] = got[kind]
			} else if want := c.want[kind][v]; got[kind] != want {
				t.Errorf("%s, %s:\n%swant:\n%s", v, kind, got[kind], want)
			}
		}
	}
}

func (c *corpusCase) run(t *testing.T, v Version) map[string]string {
	t.Helper()
	got := map[string]string{}
	var result Config
	for i, f := range c.inputs {
		doc, r, err := Parse(inputBytes(t, f, v))
		got["report"] += r.String()
		if err != nil {
			got["error"] = err.Error() + "\n"
			return got
		}
		if i == 0 {
			result = doc
		} else {
			result = Merge(result, doc)
		}
	}
	got["merged"] = ValidateMerged(result).String()
	raw, err := MarshalCache(result)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := UnmarshalCache(raw); err != nil {
		t.Errorf("%s: the cache form cannot be read: %v", v, err)
	} else if raw2, _ := MarshalCache(again); !bytes.Equal(raw, raw2) {
		t.Errorf("%s: the cache form changes when it is read:\n%s\n%s", v, raw, raw2)
	}
	if len(c.inputs) > 1 || c.optional["result"] {
		got["result"] = brief(t, raw)
	}
	if c.optional["cache"] {
		got["cache"] = string(raw) + "\n"
	}
	return got
}

func inputBytes(t testing.TB, f txtar.File, v Version) []byte {
	t.Helper()
	s := strings.ReplaceAll(strings.TrimSuffix(string(f.Data), "\n"), "VERSION", v.String())
	switch _, how, _ := strings.Cut(f.Name, " "); how {
	case "":
	case "quoted":
		plain, err := strconv.Unquote(s)
		if err != nil {
			t.Fatalf("section %q: %v", f.Name, err)
		}
		s = plain
	case "gzip":
		s = gz(s)
	default:
		t.Fatalf("section %q", f.Name)
	}
	return []byte(s)
}

// brief gives a cache form indented, without the version and without empty objects.
func brief(t *testing.T, raw []byte) string {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	delete(doc["ignition"].(map[string]any), "version")
	out, err := json.MarshalIndent(withoutEmpty(doc), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out) + "\n"
}

func withoutEmpty(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if m, ok := withoutEmpty(member).(map[string]any); ok && len(m) == 0 {
				delete(v, name)
			}
		}
	case []any:
		for _, element := range v {
			withoutEmpty(element)
		}
	}
	return v
}

// updated writes the case with its new results; versions in a row that give the same share a section.
func (c *corpusCase) updated(comment []byte) *txtar.Archive {
	a := &txtar.Archive{Comment: comment, Files: c.inputs}
	for _, kind := range kinds {
		for i := 0; i < len(c.versions); {
			text, first := c.want[kind][c.versions[i]], i
			for i++; i < len(c.versions) && c.want[kind][c.versions[i]] == text; i++ {
			}
			if text == "" {
				continue
			}
			name := kind
			if first > 0 || i < len(c.versions) {
				name += " 3." + strconv.FormatInt(c.versions[first].Minor, 10)
				if i-first > 1 {
					name += "-3." + strconv.FormatInt(c.versions[i-1].Minor, 10)
				}
			}
			a.Files = append(a.Files, txtar.File{Name: name, Data: []byte(text)})
		}
	}
	return a
}
