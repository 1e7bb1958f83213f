// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the expected results below testdata anew; read the diff")

func dump(n *Node) string {
	var b strings.Builder
	var visit func(n *Node, depth int)
	visit = func(n *Node, depth int) {
		fmt.Fprintf(&b, "%s%d:%d %s %q\n", strings.Repeat(" ", depth), n.Line, n.Column, n.Type, n.Value)
		for _, c := range n.Content {
			visit(c, depth+1)
		}
	}
	visit(n, 0)
	return b.String()
}

// TestGood reads texts of many forms and holds kinds, types, texts and places to what is written down.
func TestGood(t *testing.T) {
	raw, err := os.ReadFile("testdata/good.txt")
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, text := range strings.Split(string(raw), "\n=====\n") {
		d, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		got.WriteString(dump(d.Root) + "=====\n")
	}
	if *update {
		if err := os.WriteFile("testdata/good.golden", []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/good.golden")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("%s\nwant:\n%s", got.String(), want)
	}
}

func TestErrors(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"tab", "a:\n\tb: c\n", "2:1 yaml: line 2: found character that cannot start any token; look at line 2 col 1: a tab; YAML is indented with spaces"},
		{"tab behind spaces", "a:\n  - b\n  \t- c\n", "3:3 yaml: line 2: found a tab character that violates indentation; look at line 3 col 3: a tab; YAML is indented with spaces"},
		{"tab in a block scalar", "a: |\n\tb\n", "2:1 yaml: line 2: found a tab character where an indentation space is expected; look at line 2 col 1: a tab; YAML is indented with spaces"},
		{"tab before a continued text", "a: b\n\tc: d\n", "2:1 yaml: line 2: found a tab character that violates indentation; look at line 2 col 1: a tab; YAML is indented with spaces"},
		{"UTF-16 without a mark", "a\x00:\x00", "1:2 yaml: control characters are not allowed; look at line 1 col 2: write it as an escape in double quotes; a text with many of them is UTF-16 without a byte order mark"},
		{"UTF-16, odd", "\xff\xfea", "1:3 yaml: incomplete UTF-16 character; look at line 1 col 3"},
		{"not UTF-8", "a: b\nc: \xe9\n", "2:4 yaml: incomplete UTF-8 octet sequence; look at line 2 col 4: the text is not UTF-8: byte 0xe9"},
		{"control character", "a: é\x07", "1:5 yaml: control characters are not allowed; look at line 1 col 5: write it as an escape in double quotes; a text with many of them is UTF-16 without a byte order mark"},
		{"delete", "a: \x7f", "1:4 yaml: control characters are not allowed; look at line 1 col 4: write it as an escape in double quotes; a text with many of them is UTF-16 without a byte order mark"},
		{"list on the key's line", "a: - b\n", "1:4 yaml: block sequence entries are not allowed in this context; look at line 1 col 4: a list may not start on this line; put its items on lines of their own"},
		{"mapping on the key's line", "a: b: c\n", "1:5 yaml: mapping values are not allowed in this context; look at line 1 col 5: a text with \": \" in it needs quotes; and a key stands in one column with its neighbours"},
		{"colon in a text of two lines", "a: b\n  c: d\n", "2:4 yaml: line 2: mapping values are not allowed in this context; look at line 2 col 4: a text with \": \" in it needs quotes; and a key stands in one column with its neighbours"},
		{"no colon", "a: b\nc\n", "2:1 yaml: line 2: could not find expected ':'; look at line 2 col 1: a key needs a colon and a space behind it"},
		{"quoted key without a colon", "a: b\n\"c\"\n", "2:1 yaml: line 2: could not find expected ':'; look at line 2 col 1: a key needs a colon and a space behind it"},
		{"indented more", "a:\n  b: [c]\n   d: e\n", "3:4 yaml: line 1: did not find expected key; look at line 3 col 4: this line is indented unlike its neighbours, or a text in it needs quotes"},
		{"indented between", "a:\n   b: c\n  d: e\n", "3:3 yaml: line 2: did not find expected key; look at line 3 col 3: this line is indented unlike its neighbours, or a text in it needs quotes"},
		{"item indented more", "- \"a\"\n  - b\n", "2:3 yaml: line 1: did not find expected '-' indicator; look at line 2 col 3: this line is indented unlike the items of the list, or a text in it needs quotes"},
		{"item among keys", "a: b\n- c\n", "2:1 yaml: line 1: did not find expected key; look at line 2 col 1: this line is indented unlike its neighbours, or a text in it needs quotes"},
		{"text after a quote", "a: \"b\" c\n", "1:1 yaml: did not find expected key; look at line 1 col 1: this line is indented unlike its neighbours, or a text in it needs quotes"},
		{"text after a quoted item", "- \"b\" c\n", "1:1 yaml: did not find expected '-' indicator; look at line 1 col 1: this line is indented unlike the items of the list, or a text in it needs quotes"},
		{"open quote", "a: 'b\n", "1:1 yaml: line 2: found unexpected end of stream; look at line 1 col 1: quotes that open here are never closed"},
		{"open double quote", "a: b\nc: \"b\n", "2:1 yaml: line 2: found unexpected end of stream; look at line 2 col 1: quotes that open here are never closed"},
		{"quote over a marker", "a: \"b\n--- \"\n", "2:3 yaml: line 2: found unexpected document indicator; look at line 2 col 3: quotes are not closed before the document ends"},
		{"open bracket", "a: [b,\n c\n", "2:2 yaml: line 2: did not find expected ',' or ']'; look at line 2 col 2: a comma is missing, or the bracket is never closed"},
		{"wrong bracket", "a: [b}\n", "1:5 yaml: did not find expected ',' or ']'; look at line 1 col 5: a comma is missing, or the bracket is never closed"},
		{"missing comma", "a: {b: \"c\" d}\n", "1:10 yaml: did not find expected ',' or '}'; look at line 1 col 10: a comma is missing, or the bracket is never closed"},
		{"two commas", "a: [b,,c]\n", "1:6 yaml: did not find expected node content; look at line 1 col 6: a value is missing here, or its text needs quotes"},
		{"escape", `a: "\d"`, "1:5 yaml: found unknown escape character; look at line 1 col 5: a backslash in double quotes is written twice"},
		{"escape without digits", `a: "\xzz"`, "1:6 yaml: did not find expected hexdecimal number; look at line 1 col 6"},
		{"half a surrogate pair", `a: "\ud83d"`, "1:10 yaml: found invalid Unicode character escape code; look at line 1 col 10"},
		{"unknown anchor", "a: *b\n", "1:4 yaml: unknown anchor 'b' referenced; look at line 1 col 4: a text that starts with * needs quotes"},
		{"node inside of itself", "a: &b\n  c: *b\n", "2:6 yaml: line 2: anchor 'b' value contains itself; look at line 2 col 6"},
		{"alias bomb", bomb, "6:32 yaml: line 6: the aliases of this document stand for too much (more than 1048576 values); look at line 6 col 32"},
		{"alias bomb of text", "a: &a \"" + strings.Repeat("x", 1<<24) + "\"\nb: [*a,*a,*a,*a,*a]\n", "2:"},
		{"merge of a scalar", "a:\n  <<: b\n", "2:7 yaml: line 2: the value of the merge key << must be a mapping or a list of mappings; look at line 2 col 7"},
		{"key that is a list", "[a]: b\n", "1:1 yaml: line 1: a key must be a scalar, not a list or a mapping; look at line 1 col 1"},
		{"reserved", "a: @b\n", "1:4 yaml: found character that cannot start any token; look at line 1 col 4: a text that starts with @, ` or % needs quotes"},
		{"percent", "a: %b\n", "1:4 yaml: found character that cannot start any token; look at line 1 col 4: a text that starts with @, ` or % needs quotes"},
		{"dash in brackets", "a: [- b]\n", "1:4 yaml: did not find expected node content; look at line 1 col 4: a value is missing here, or its text needs quotes"},
		{"text after the block header", "a: | b\n  c\n", "1:6 yaml: did not find expected comment or line break; look at line 1 col 6: the text after | or > starts on the next line"},
		{"empty line indented more", "a: |\n     \n  c\n", "3:3 yaml: line 2: did not find expected key; look at line 3 col 3: this line is indented unlike its neighbours, or a text in it needs quotes"},
		{"depth", strings.Repeat("[", 1<<20), "1:10001 yaml: exceeded max depth of 10000; look at line 1 col 10001"},
		{"depth of items", strings.Repeat("- ", 1<<16), "1:"},
		{"a second root", "a: b\n...\n", ""},
		{"text after an explicit key", "? \"a\" b\n", "1:1 yaml: did not find expected key; look at line 1 col 1: this line is indented unlike its neighbours, or a text in it needs quotes"},
		{"end", "- a\nb\n", "2:1 yaml: line 2: could not find expected ':'; look at line 2 col 1: a key needs a colon and a space behind it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.text))
			got := ""
			if e, ok := err.(*Error); ok {
				got = fmt.Sprintf("%d:%d %s", e.Line, e.Column, e.Message)
			}
			if !strings.HasPrefix(got, tt.want) || tt.want == "" && got != "" {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

func TestText(t *testing.T) {
	want := "1:1 !!map \"\"\n 1:1 !!str \"a\"\n 1:4 !!str \"ü\"\n 2:1 !!str \"b\"\n 2:4 !!int \"1\"\n"
	for name, text := range map[string]string{
		"CRLF":      "a: ü\r\nb: 1\r\n",
		"CR":        "a: ü\rb: 1\r",
		"BOM":       "\ufeffa: ü\nb: 1\n",
		"UTF-16 LE": "\xff\xfea\x00:\x00 \x00\xfc\x00\n\x00b\x00:\x00 \x001\x00",
		"UTF-16 BE": "\xfe\xff\x00a\x00:\x00 \x00\xfc\x00\n\x00b\x00:\x00 \x001",
	} {
		d, err := Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if got := dump(d.Root); got != want {
			t.Errorf("%s:\n%swant:\n%s", name, got, want)
		}
	}
}

func TestDocument(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "0:0"},
		{"a: b\n---\n", "0:0"},
		{"a: b\n...\n# c\n", "0:0"},
		{"a: b\n---\n# c\nd: e\n", "4:1"},
		{"a: b\n--- d\n", "2:5"},
		{"---\na: b\n...\n---\n c: d\n", "5:2"},
	} {
		d, err := Parse([]byte(tt.text))
		if err != nil {
			t.Fatalf("%q: %v", tt.text, err)
		}
		if got := fmt.Sprintf("%d:%d", d.NextLine, d.NextColumn); got != tt.want {
			t.Errorf("%q: a second document at %s, want %s", tt.text, got, tt.want)
		}
	}
}

func TestMergeKeysAndRepeatedKeys(t *testing.T) {
	d, err := Parse([]byte("a: &a {x: 1, y: 2}\nb: &b {y: 3, z: 4}\nc:\n  <<: [*a, *b]\n  x: 0\n  x: 9\na: 5\n"))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	c := d.Root.Get("c")
	for i := 0; i < len(c.Content); i += 2 {
		keys = append(keys, c.Content[i].Value+"="+c.Content[i+1].Value)
	}
	if got := strings.Join(keys, " "); got != "x=0 x=9 y=2 z=4" {
		t.Errorf("merged to %q", got)
	}
	var repeated []string
	for _, r := range d.Repeated {
		repeated = append(repeated, fmt.Sprintf("%s %d %d %t", r.Key.Value, r.First.Line, r.Key.Line, r.In == d.Root))
	}
	if got := strings.Join(repeated, ", "); got != "x 5 6 false, a 1 7 true" {
		t.Errorf("repeated %q", got)
	}
}

func TestValues(t *testing.T) {
	d, err := Parse([]byte("[0644, 0o644, 0x1A4, 0b110100100, 4_20, 420.0, 4.2e2, +420, 0O644, !!int \"420\", 0888, 08, -1," +
		" 420.5, 1:30, '420', !!str 420, 1e30, .nan, 99999999999999999999, x, null]"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, n := range d.Root.Content {
		if i, ok := n.Int(); ok {
			got = append(got, fmt.Sprint(i))
		} else {
			got = append(got, n.Type)
		}
	}
	want := "420 420 420 420 420 420 420 420 420 420 888 8 -1 !!float !!str !!str !!str !!float !!float !!float !!str !!null"
	if got := strings.Join(got, " "); got != want {
		t.Errorf("integers: %s\nwant %s", got, want)
	}
	d, err = Parse([]byte("[true, False, yes, 'yes', Off, n, \"true\", 1, 0, tRUE, null, !!binary aGk=, !!binary \"a\"]"))
	if err != nil {
		t.Fatal(err)
	}
	got = nil
	for _, n := range d.Root.Content {
		b, ok := n.Bool()
		text, isText := n.Text()
		got = append(got, fmt.Sprintf("%t %t %s %t", b, ok, text, isText))
	}
	want = "true true true true|false true False true|true true yes true|true true yes true|false true Off true|false true n true|" +
		"true false true true|false false 1 true|false false 0 true|false false tRUE true|false false null true|false false hi true|false false  false"
	if got := strings.Join(got, "|"); got != want {
		t.Errorf("truth values: %s\nwant %s", got, want)
	}
}

// FuzzParse looks for texts that the reader does not survive, or reads differently from the library.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/good.txt"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, text := range strings.Split(string(raw), "\n=====\n") {
			f.Add([]byte(text))
		}
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := Parse(raw)
		if err == nil {
			_ = dump(d.Root)
		}
	})
}
