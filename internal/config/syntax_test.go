// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestSyntax: where reading stops, and that encoding/json is of the same opinion. The want is the position's byte and
// the beginning of the text; none means good JSON.
func TestSyntax(t *testing.T) {
	for _, c := range []struct {
		in   string
		off  int
		want string
	}{
		{`-`, 1, "expected a digit, but the document ends"},
		{`-x`, 2, "expected a digit, found 'x'"},
		{`01`, 2, "expected the end of the document"},
		{`-0.5e+10`, 0, ""},
		{`1.`, 2, "expected a digit"},
		{`1.e1`, 3, "expected a digit, found 'e'"},
		{`1E-`, 3, "expected a digit"},
		{`tru`, 3, "expected true, but"},
		{`nul!`, 4, "expected null, found '!'"},
		{`"\x"`, 3, "expected an escape sequence, found 'x'"},
		{`"\`, 2, "expected an escape sequence, but"},
		{`"\u12g4"`, 6, "expected four hex digits"},
		{`"\u00`, 5, "expected four hex digits"},
		{`"\"\\\/\b\f\n\r\t\u00fF"`, 0, ""},
		{"\"a long text with a tab\tin it\"", 24, "expected a character of a string"},
		{"\"before an escape\x01 \\n\"", 18, "expected a character of a string"},
		{`"a`, 2, "expected the closing quote"},
		{`{"a" 1}`, 6, `expected ":" after a key`},
		{`{"a":1 "b"}`, 8, `expected "," or "}"`},
		{`{"a":}`, 6, "expected a value"},
		{`{1:1}`, 2, "expected a key"},
		{`{"a\`, 4, "expected an escape"},
		{`[1 2]`, 4, `expected "," or "]"`},
		{`[1,]`, 4, "expected a value"},
		{`[`, 1, "expected a value"},
		{`[[`, 2, "expected a value"},
		{`[1`, 2, `expected "," or "]"`},
	} {
		t.Run(c.in, func(t *testing.T) {
			err := checkSyntax([]byte(c.in))
			if json.Valid([]byte(c.in)) != (c.want == "") {
				t.Error("encoding/json thinks otherwise")
			}
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			re, ok := err.(*readError)
			if !ok || re.off != c.off || !strings.HasPrefix(re.msg, "invalid JSON: "+c.want) {
				t.Errorf("got %+v, want %d, %s", err, c.off, c.want)
			}
		})
	}
}

func TestMountPath(t *testing.T) {
	for _, c := range []struct {
		name         string
		path, format *string
		want         string
	}{
		{"none given", nil, nil, ""},
		{"no format", new("/p"), nil, ""},
		{"no path", nil, new("ext4"), ""},
		{"both", new("/p"), new("ext4"), "/p"},
		{"share", new("/p"), new("virtiofs"), "/p"},
		{"empty format", new("/p"), new(""), ""},
		{"empty path", new(""), new("ext4"), ""},
		{"swap", new("/p"), new("swap"), ""},
		{"none", new("/p"), new("none"), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := (Filesystem{Path: c.path, Format: c.format}).MountPath(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
