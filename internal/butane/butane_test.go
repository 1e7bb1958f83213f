// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"bytes"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func TestSnakeAndCamel(t *testing.T) {
	for camelCase, snakeCase := range map[string]string{
		"sizeMiB": "size_mib", "startMiB": "start_mib", "httpsProxy": "https_proxy", "tpm2": "tpm2", "sshAuthorizedKeys": "ssh_authorized_keys",
		"noCreateHome": "no_create_home", "uuid": "uuid", "typeGuid": "type_guid", "key": "key",
	} {
		if got := snake(camelCase); got != snakeCase {
			t.Errorf("snake(%q) is %q", camelCase, got)
		}
		if got := camel(snakeCase); got != camelCase {
			t.Errorf("camel(%q) is %q", snakeCase, got)
		}
	}
	for _, no := range []string{"sizeMiB", "a__b", "a_", "a_B", "A", "a_1"} {
		if got := camel(no); got != "" {
			t.Errorf("camel(%q) is %q", no, got)
		}
	}
}

func TestTypicalModes(t *testing.T) {
	for _, tt := range []struct {
		modes       []int
		file, other bool // typical for a file, for a directory
	}{
		{[]int{0}, true, true},
		{[]int{0o644, 0o600, 0o400, 0o444, 0o640, 0o664, 0o666}, true, false},
		{[]int{0o755, 0o700, 0o750, 0o500, 0o777, 0o555}, true, true},
		{[]int{0o4755, 0o6755}, true, false},
		{[]int{0o2755}, true, true},
		{[]int{0o1777, 0o3775}, false, true},
		{[]int{0o744, 0o754, 0o711, 0o022, 0o100, 0o200, 0o045, 0o4644, 0o2666, 0o1644, 0o1555, 10000, 0o4777}, false, false},
	} {
		for _, m := range tt.modes {
			if got := typicalMode(m, false); got != tt.file {
				t.Errorf("file %04o: %t", m, got)
			}
			if got := typicalMode(m, true); got != tt.other {
				t.Errorf("directory %04o: %t", m, got)
			}
		}
	}
}

func TestEscapePath(t *testing.T) {
	for path, want := range map[string]string{
		"/": "-", "": "-", "//": "-", "/a/b": "a-b", "//a///b/": "a-b", "/var/lib/my data-x/a_b": `var-lib-my\x20data\x2dx-a_b`, "/.x": `\x2ex`, "/a.b": "a.b",
		"/a/.b": "a-.b", "/\t": `\x09`, "é": `\xc3\xa9`, "/a:b": "a:b", "/-": `\x2d`, "/a-/": `a\x2d`, "/-/a": `\x2d-a`,
	} {
		if got := escapePath(path); got != want {
			t.Errorf("%q: %s, want %s", path, got, want)
		}
	}
}

// TestDataURLBorders holds each form to where it starts to be the shortest.
func TestDataURLBorders(t *testing.T) {
	escapedAt := func(n int) string { return strings.Repeat(" ", n) }
	for _, tt := range []struct{ in, prefix string }{
		{"", "data:,"},
		{escapedAt(5), "data:,"}, // 16 either way
		{escapedAt(6), "data:;base64,IC"},
		{strings.Repeat("a", 1000), "data:;base64,H4sI"},
	} {
		if url, _ := dataURL([]byte(tt.in), true, nil); !strings.HasPrefix(url, tt.prefix) {
			t.Errorf("%q: %s", tt.in, url)
		}
	}
	gzipWon, last := 0, 0
	for n := range 200 { // gzip starts to win once, where its 4 letters of compression are made up for
		in := []byte(strings.Repeat("b", n))
		url, gzipped := dataURL(in, true, nil)
		text, _ := dataURL(in, false, nil)
		if gzipped {
			gzipWon++
			if len(url)+len("gzip") >= len(text) {
				t.Errorf("%d bytes: gzip won with %d against %d", n, len(url), len(text))
			}
		} else {
			last = n
		}
	}
	if gzipWon == 0 || last != 199-gzipWon {
		t.Errorf("gzip won %d times, the last without was at %d", gzipWon, last)
	}
}

// TestExcerpts prints entries at the borders of a text.
func TestExcerpts(t *testing.T) {
	source := "variant: flatcar\nversion: 1.1.0\né: {ü: 1, x: 2}\nstorage:\n  files:\n    - {path: a}"
	result, _ := Transpile([]byte(source), Options{})
	want := `warning[$.é]:
  --> f:3:1
   |
 1 | variant: flatcar
 2 | version: 1.1.0
 3 | é: {ü: 1, x: 2}
   | ^^ unused key é
 4 | storage:
 5 |   files:
   |

error[$.storage.files.0.path]:
  --> f:6:14
   |
 4 | storage:
 5 |   files:
 6 |     - {path: a}
   |              ^^ path not absolute
   |
`
	if got := Excerpts(result.Report, "f", []byte(source), false); got != want {
		t.Errorf("%s\nwant:\n%s", got, want)
	}
	colored := Excerpts(result.Report, "f", []byte(source), true)
	for _, part := range []string{yellow + "warning[$.é]:" + plain + "\n", blue + "  -->" + plain + " f:3:1\n", blue + " 1 |" + plain + " variant: flatcar\n", yellow + "^^ unused key é" + plain + "\n", red + "error["} {
		if !strings.Contains(colored, part) {
			t.Errorf("no %q in\n%q", part, colored)
		}
	}
	for _, e := range result.Report.Entries {
		e.Marker.StartP.Line = 100
	}
	if got := Excerpts(result.Report, "f", []byte(source), false); got != "warning at $.é, line 100 col 1: unused key é\n\nerror at $.storage.files.0.path, line 100 col 14: path not absolute\n" {
		t.Errorf("outside of the text:\n%s", got)
	}
}

// largeFile seems to have 100 MB.
type largeFile struct{ fstest.MapFS }

func (l largeFile) Stat(name string) (fs.FileInfo, error) {
	info, err := fs.Stat(l.MapFS, name)
	return largeInfo{info}, err
}

type largeInfo struct{ fs.FileInfo }

func (largeInfo) Size() int64 { return largeLocal }

func TestLargeLocalFile(t *testing.T) {
	files := largeFile{fstest.MapFS{"a": {Data: []byte("x"), Mode: 0o644}}}
	result, err := Transpile([]byte("variant: flatcar\nversion: 1.1.0\nstorage: {files: [{path: /a, contents: {local: a}}]}"), Options{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	want := "warning at $.storage.files.0.contents.local, line 3 col 48: local file has 100 MB, and all of it becomes part of the config; a config that fetches it stays small\n"
	if got := result.Report.String(); got != want {
		t.Errorf("report %s", got)
	}
}

// TestEachDialectOnce holds the table to its order.
func TestEachDialectOnce(t *testing.T) {
	seen := map[string]bool{}
	for i, d := range dialects {
		key := d.variant + " " + d.version
		if seen[key] {
			t.Errorf("%s stands twice", key)
		}
		seen[key] = true
		if i > 0 && dialects[i-1].variant == d.variant && dialects[i-1].minor > d.minor {
			t.Errorf("%s: the spec of an older version is newer", key)
		}
		if strings.Contains(d.version, "experimental") != (d.spec().Pre != "") {
			t.Errorf("%s makes %s", key, d.spec())
		}
	}
}

// FuzzTranspile: what is translated, the reader of configs accepts.
func FuzzTranspile(f *testing.F) {
	names, _ := filepath.Glob("testdata/corpus/*/*.txtar")
	for _, name := range names {
		c := readCase(f, name)
		variant, version, _ := strings.Cut(c.dialects[len(c.dialects)-1], " ")
		f.Add([]byte(strings.NewReplacer("VARIANT", variant, "VERSION", version).Replace(c.input)))
	}
	files := fstest.MapFS{"a": {Data: []byte("x"), Mode: 0o644}, "t/b": {Data: []byte("y"), Mode: 0o755}}
	f.Fuzz(func(t *testing.T, raw []byte) {
		result, err := Transpile(raw, Options{Files: files, FilesDir: "dir"})
		_ = Excerpts(result.Report, "f", raw, true)
		if err == nil && !result.MachineConfig {
			checkAccepted(t, result.Output)
			if bytes.ContainsRune(result.Output, '\n') {
				t.Error("the output has lines")
			}
		}
	})
}
