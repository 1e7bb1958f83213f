// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	library "firstboot.dev/ignition/third_party/yaml"
	upstream "go.yaml.in/yaml/v3"
)

// all writes down the documents of a stream, and how it ends.
func all(text []byte) (ours, theirs string) {
	var b strings.Builder
	for stream := library.NewDecoder(bytes.NewReader(text)); ; {
		var n library.Node
		err := stream.Decode(&n)
		if err != nil {
			fmt.Fprintf(&b, "end: %v %v\n", errors.Is(err, io.EOF), err)
			break
		}
		describe(&b, &n, 0)
	}
	var u strings.Builder
	for stream := upstream.NewDecoder(bytes.NewReader(text)); ; {
		var n upstream.Node
		err := stream.Decode(&n)
		if err != nil {
			fmt.Fprintf(&u, "end: %v %v\n", errors.Is(err, io.EOF), err)
			break
		}
		describeUpstream(&u, &n, 0)
	}
	return b.String(), u.String()
}

const marks = "-:#&*!|>'\"%@`{}[],? \n\t01.e_x\x00\xff"

const nodeFormat = "%*d %d %q %q %q %q %d:%d %q %q %q\n"

func describe(b *strings.Builder, n *library.Node, depth int) {
	fmt.Fprintf(b, nodeFormat, depth, n.Kind, n.Style, n.Tag, n.ShortTag(), n.Value, n.Anchor, n.Line, n.Column, n.HeadComment, n.LineComment, n.FootComment)
	for _, c := range n.Content {
		describe(b, c, depth+1)
	}
}

func describeUpstream(b *strings.Builder, n *upstream.Node, depth int) {
	fmt.Fprintf(b, nodeFormat, depth, n.Kind, n.Style, n.Tag, n.ShortTag(), n.Value, n.Anchor, n.Line, n.Column, n.HeadComment, n.LineComment, n.FootComment)
	for _, c := range n.Content {
		describeUpstream(b, c, depth+1)
	}
}

// TestLikeUpstream: the copy in third_party reads what the library reads, as it does.
func TestLikeUpstream(t *testing.T) {
	var texts [][]byte
	err := filepath.WalkDir("../testdata", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(name)
		texts = append(texts, raw)
		return err
	})
	if err != nil || len(texts) < 20 {
		t.Fatalf("%d texts, %v", len(texts), err)
	}
	for _, s := range []string{
		"1", "-1", "+.5", "1.", ".", "1e3", "1e", "1.5e-7", "1_000", "1_000.5", "0x1F", "0o17", "017", "-0o17", "0b11", "-0b11", "1e+", "--1", "1.2.3", ".5.", "e3", "+", "-", "1-", "+1.e5",
		"99999999999999999999", "18446744073709551615", "~", "null", "True", ".inf", "-.INF", ".NaN", "<<", "2001-12-14", "2001-12-14t21:59:43.10-05:00", "2001-12-14 21:59:43", "12:30:45", "yes", "on",
		"!!str 1", "!!float 1", "!!int x", "! 1", "!t 1", "'1'", "\"\\u00e9\"", "|\n  1\n", ">-\n  a\n  b\n", "&a 1", "[*a, &a x, *a]", "{a: 1, ? b : 2}", "a: &x {<<: *x}", "- a\n# foot\n- b # line\n",
	} {
		texts = append(texts, []byte(s), []byte("k: "+s), []byte("- "+s+"\n---\n"+s))
	}
	r := rand.New(rand.NewPCG(7, 7))
	check := func(text []byte) {
		t.Helper()
		if ours, theirs := all(text); ours != theirs {
			t.Fatalf("%q\nours:\n%s\nupstream:\n%s", text, ours, theirs)
		}
	}
	for _, text := range texts {
		check(text)
		for range 20 {
			if len(text) == 0 || len(text) > 1<<14 {
				break
			}
			v := bytes.Clone(text)
			for range 1 + r.IntN(3) {
				at := r.IntN(len(v))
				switch r.IntN(3) {
				case 0:
					v[at] = marks[r.IntN(len(marks))]
				case 1:
					v = append(v[:at:at], v[at+1:]...)
				default:
					v = append(v[:at:at], append([]byte{marks[r.IntN(len(marks))]}, v[at:]...)...)
				}
				if len(v) == 0 {
					break
				}
			}
			check(v)
		}
	}
}
