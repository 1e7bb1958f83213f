// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"fmt"
	"os"
	"strings"
	"testing"

	library "gopkg.in/yaml.v3"
)

func dump(n *Node) string {
	var b strings.Builder
	var visit func(n *Node, depth int)
	visit = func(n *Node, depth int) {
		fmt.Fprintf(&b, "%s%d:%d %s %q\n", strings.Repeat(" ", depth), n.Line, n.Column, n.Type(), n.Value)
		for _, c := range n.Content {
			visit(c, depth+1)
		}
	}
	visit(n, 0)
	return b.String()
}

// dumpLibrary gives the same form of what the library reads. Aliases are followed; merge keys are not in it.
func dumpLibrary(n *library.Node) string {
	var b strings.Builder
	var visit func(n *library.Node, line, column, depth int)
	visit = func(n *library.Node, line, column, depth int) {
		if n.Kind == library.AliasNode {
			n = n.Alias
		}
		tag := n.ShortTag()
		if n.Kind == library.ScalarNode && tag == "!!timestamp" || tag == "!" {
			tag = "!!str"
		}
		fmt.Fprintf(&b, "%s%d:%d %s %q\n", strings.Repeat(" ", depth), line, column, tag, n.Value)
		for _, c := range n.Content {
			visit(c, c.Line, c.Column, depth+1)
		}
	}
	visit(n, n.Line, n.Column, 0)
	return b.String()
}

// compare holds the reader to the library where both read a text. It tells which of them did.
func compare(t *testing.T, text string) (ours, theirs error) {
	t.Helper()
	d, ours := Parse([]byte(text))
	var root library.Node
	theirs = library.Unmarshal([]byte(text), &root)
	if ours != nil || theirs != nil || len(root.Content) == 0 {
		return ours, theirs
	}
	if got, want := dump(d.Root), dumpLibrary(root.Content[0]); got != want {
		t.Errorf("%q:\n%swant:\n%s", text, got, want)
	}
	return ours, theirs
}

// TestLikeTheLibrary reads texts as a widespread library does: kinds, types, texts and places.
func TestLikeTheLibrary(t *testing.T) {
	raw, err := os.ReadFile("testdata/good.txt")
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range strings.Split(string(raw), "\n=====\n") {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			if ours, theirs := compare(t, text); ours != nil || theirs != nil {
				t.Errorf("%q:\nours: %v\ntheirs: %v", text, ours, theirs)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'j'; c++ {
		bomb += fmt.Sprintf("%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1, c-1)
	}
	for _, tt := range []struct{ name, text, want string }{
		{"tab", "a:\n\tb: c\n", "2:1 found a tab where the line is indented; YAML is indented with spaces"},
		{"tab behind spaces", "a:\n  - b\n  \t- c\n", "3:3 found a tab"},
		{"tab in a block scalar", "a: |\n\tb\n", "2:1 found a tab"},
		{"tab before a continued text", "a: b\n\tc: d\n", "2:1 found a tab"},
		{"UTF-16 without a mark", "a\x00:\x00", "1:1 the text seems to be UTF-16"},
		{"UTF-16, odd", "\xff\xfea", "1:1 the text starts as UTF-16 but"},
		{"not UTF-8", "a: b\nc: \xe9\n", "2:4 the text is not UTF-8: byte 0xe9"},
		{"control character", "a: é\x07", "1:5 control character U+0007 is not allowed"},
		{"delete", "a: \x7f", "1:4 control character U+007F"},
		{"list on the key's line", "a: - b\n", "1:4 a list may not start on this line"},
		{"mapping on the key's line", "a: b: c\n", "1:5 a mapping may not start on this line"},
		{"colon in a text of two lines", "a: b\n  c: d\n", "2:4 found a \": \" that is no key's"},
		{"no colon", "a: b\nc\n", "2:1 expected a key with a colon"},
		{"quoted key without a colon", "a: b\n\"c\"\n", "2:1 expected a key with a colon"},
		{"indented more", "a:\n  b: [c]\n   d: e\n", "3:4 this line is indented more than the keys before it (3 columns instead of 2)"},
		{"indented between", "a:\n   b: c\n  d: e\n", "3:3 this line is indented more than the keys before it (2 columns instead of 0)"},
		{"item indented more", "- \"a\"\n  - b\n", "2:3 this line is indented more than the items before it"},
		{"item among keys", "a: b\n- c\n", "2:1 expected a key, but found an item of a list"},
		{"text after a quote", "a: \"b\" c\n", "1:8 unexpected text after a value"},
		{"text after a quoted item", "- \"b\" c\n", "1:7 unexpected text after an item"},
		{"open quote", "a: 'b\n", "1:4 the quote that opens here is never closed"},
		{"open double quote", "a: b\nc: \"b\n", "2:4 the quote that opens here is never closed"},
		{"quote over a marker", "a: \"b\n--- \"\n", "2:1 found the end of the document inside of quotes"},
		{"open bracket", "a: [b,\n c\n", "1:4 the bracket that opens here is never closed"},
		{"wrong bracket", "a: [b}\n", "1:6 expected a comma or ']'"},
		{"missing comma", "a: {b: \"c\" d}\n", "1:12 expected a comma or '}'"},
		{"two commas", "a: [b,,c]\n", "1:7 expected a value before the comma"},
		{"escape", `a: "\d"`, "1:5 unknown escape sequence"},
		{"escape without digits", `a: "\xzz"`, "1:5 the escape sequence needs 2"},
		{"half a surrogate pair", `a: "\ud83d"`, "1:5 half of a surrogate pair"},
		{"unknown anchor", "a: *b\n", "1:4 unknown anchor \"b\""},
		{"node inside of itself", "a: &b\n  c: *b\n", "2:6 unknown anchor \"b\""},
		{"alias bomb", bomb, "6:32 the aliases of this document stand for too much"},
		{"alias bomb of text", "a: &a \"" + strings.Repeat("x", 1<<24) + "\"\nb: [*a,*a,*a,*a,*a]\n", "2:"},
		{"merge of a scalar", "a:\n  <<: b\n", "2:7 the value of the merge key << must be"},
		{"key that is a list", "[a]: b\n", "1:1 a key must be a scalar"},
		{"reserved", "a: @b\n", "1:4 a text that starts with '@' needs quotes"},
		{"percent", "a: %b\n", "1:4 a text that starts with '%' needs quotes"},
		{"dash in brackets", "a: [- b]\n", "1:5 a text that is, or starts with, '-' needs quotes"},
		{"text after the block header", "a: | b\n  c\n", "1:6 the text after | or > starts on the next line"},
		{"empty line indented more", "a: |\n     \n  c\n", "3:3 an empty line above this one"},
		{"depth", strings.Repeat("[", 1<<20), "1:1000 nested deeper than 1000 levels"},
		{"depth of items", strings.Repeat("- ", 1<<16), "1:"},
		{"a second root", "a: b\n...\n", ""},
		{"text after an explicit key", "? \"a\" b\n", "1:7 unexpected text after a value"},
		{"end", "- a\nb\n", "2:1 the document should end here"},
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
			got = append(got, n.Type())
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
