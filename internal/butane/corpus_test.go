// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"firstboot.dev/ignition/internal/config"
	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "write the expected results below testdata anew; read the diff")

// corpusCase is one file below testdata/corpus. Its head is lines "key: values":
//
//	for: flatcar 1.0.0, fcos 1.3.0   the dialects, all with the same result; VARIANT and VERSION in the input and
//	                                 SPEC in the result stand for them. Without it the input is taken as it is.
//	flags: pretty raw nocompress separator nofiles
//	link: NAME TARGET   a symbolic link among the local files
//	mode: NAME 0755     the mode of one; a name of a directory ends in "/"
//
// Sections: input (or "input quoted", a Go string); local/NAME are local files; then what is expected: error, report, json
// (indented; gzipped data reads GZIP and its text), yaml, output (the exact bytes).
type corpusCase struct {
	name     string
	archive  *txtar.Archive
	dialects []string
	flags    map[string]bool
	files    fstest.MapFS
	input    string
	want     map[string]string
}

var resultKinds = []string{"error", "report", "json", "yaml", "output"}

func readCase(t testing.TB, name string) *corpusCase {
	t.Helper()
	a, err := txtar.ParseFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c := &corpusCase{name: name, archive: a, flags: map[string]bool{}, files: fstest.MapFS{}, want: map[string]string{}, dialects: []string{""}}
	for _, f := range a.Files {
		kind, quoted := strings.CutSuffix(f.Name, " quoted")
		switch local, isLocal := strings.CutPrefix(kind, "local/"); {
		case isLocal:
			c.files[local] = &fstest.MapFile{Data: unquoted(t, f.Data, quoted), Mode: 0o644}
		case kind == "input":
			c.input = string(unquoted(t, f.Data, quoted))
		default:
			c.want[kind] = string(f.Data)
		}
	}
	for line := range strings.Lines(string(a.Comment)) {
		key, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
		words := strings.Fields(rest)
		switch key {
		case "for":
			c.dialects = strings.Split(rest, ", ")
		case "flags":
			for _, w := range words {
				c.flags[w] = true
			}
		case "link":
			c.files[words[0]] = &fstest.MapFile{Data: []byte(words[1]), Mode: 0o777 | fs.ModeSymlink}
		case "mode":
			var mode uint32
			fmt.Sscanf(words[1], "%o", &mode)
			if dir, ok := strings.CutSuffix(words[0], "/"); ok {
				c.files[dir] = &fstest.MapFile{Mode: fs.FileMode(mode) | fs.ModeDir}
			} else if words[1] == "pipe" {
				c.files[words[0]] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
			} else {
				c.files[words[0]].Mode = fs.FileMode(mode)
			}
		}
	}
	return c
}

func unquoted(t testing.TB, data []byte, quoted bool) []byte {
	if !quoted {
		return data
	}
	var out string
	if _, err := fmt.Sscanf(string(data), "%q", &out); err != nil {
		t.Fatal(err)
	}
	return []byte(out)
}

var gzipped = regexp.MustCompile(`data:;base64,H4sI[A-Za-z0-9+/=]*`)

// legible replaces compressed data, whose bytes depend on the compressor, by what is in it.
func legible(t testing.TB, s string) string {
	return gzipped.ReplaceAllStringFunc(s, func(url string) string {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(url, "data:;base64,"))
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		q, _ := json.Marshal(string(text))
		return "GZIP " + strings.Trim(string(q), `"`)
	})
}

// run gives the results by kind.
func (c *corpusCase) run(t testing.TB, dialect string) map[string]string {
	o := Options{Files: c.files, FilesDir: "dir", Pretty: c.flags["pretty"], Raw: c.flags["raw"],
		NoResourceAutoCompression: c.flags["nocompress"], YAMLDocSeparator: c.flags["separator"]}
	if c.flags["nofiles"] {
		o.Files = nil
	}
	input := c.input
	spec := config.Version{}
	if variant, version, ok := strings.Cut(dialect, " "); ok {
		input = strings.NewReplacer("VARIANT", variant, "VERSION", version).Replace(input)
		for i := range dialects {
			if dialects[i].variant == variant && dialects[i].version == version {
				spec = dialects[i].spec()
			}
		}
	}
	result, err := Transpile([]byte(input), o)
	got := map[string]string{"report": result.Report.String()}
	if err != nil {
		got["error"] = err.Error() + "\n"
		return got
	}
	output := string(result.Output) + "\n"
	if _, exact := c.want["output"]; exact {
		got["output"] = output
	}
	kind := "yaml"
	if !result.MachineConfig {
		kind = "json"
		var b bytes.Buffer
		if err := json.Indent(&b, result.Output, "", "  "); err != nil {
			t.Fatal(err)
		}
		output = b.String() + "\n"
		checkAccepted(t, result.Output)
	}
	output = legible(t, output)
	if dialect != "" {
		output = strings.Replace(output, `"version": "`+spec.String()+`"`, `"version": "SPEC"`, 1)
		output = strings.Replace(output, `version: `+spec.String()+"\n", "version: SPEC\n", 1)
	}
	got[kind] = output
	return got
}

// checkAccepted holds what comes out to the reader of configs: it must take it, as it is.
func checkAccepted(t testing.TB, document []byte) {
	t.Helper()
	_, r, err := config.Parse(document)
	if err != nil {
		t.Errorf("the output is refused: %v\n%s%s", err, r.String(), document)
	}
	for _, e := range r.Entries {
		if strings.HasPrefix(e.Message, "unused key") || strings.HasPrefix(e.Message, "context tree") {
			t.Errorf("the output has %s", e.String())
		}
	}
}

// TestCorpus translates each case for each of its dialects.
func TestCorpus(t *testing.T) {
	names, err := filepath.Glob("testdata/corpus/*/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("%d cases, %v", len(names), err)
	}
	for _, name := range names {
		short := strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(name), "testdata/corpus/"), ".txtar")
		c := readCase(t, name)
		for n, dialect := range c.dialects {
			t.Run(short+"/"+dialect, func(t *testing.T) {
				got := c.run(t, dialect)
				if *update && n == 0 {
					c.update(t, got)
				}
				for _, kind := range resultKinds {
					if got[kind] != c.want[kind] {
						t.Errorf("%s:\n%s\nwant:\n%s", kind, got[kind], c.want[kind])
					}
				}
			})
		}
	}
}

func (c *corpusCase) update(t *testing.T, got map[string]string) {
	var kept []txtar.File
	for _, f := range c.archive.Files {
		if strings.HasPrefix(f.Name, "input") || strings.HasPrefix(f.Name, "local/") {
			kept = append(kept, f)
		}
	}
	for _, kind := range resultKinds {
		if got[kind] != "" {
			kept = append(kept, txtar.File{Name: kind, Data: []byte(got[kind])})
		}
	}
	c.archive.Files, c.want = kept, got
	if err := os.WriteFile(c.name, txtar.Format(c.archive), 0o644); err != nil {
		t.Fatal(err)
	}
}
