// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/base64"
	"io"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

type dataURLCase struct{ name, in, want, err string }

var dataURLCases = []dataURLCase{
	{"empty data", "data:,", "", ""},
	{"plain", "data:,hello%20world", "hello world", ""},
	{"plus is literal", "data:,a+b", "a+b", ""},
	{"question mark is data", "data:,a?b=c", "a?b=c", ""},
	{"escaped bytes", "data:,%00%fF%7F", "\x00\xff\x7f", ""},
	{"commas in data", "data:,a,b;c", "a,b;c", ""},
	{"media type", "data:text/plain,x", "x", ""},
	{"media types", "data:application/vnd.a+b,x", "x", ""},
	{"x token", "data:x-foo/bar,x", "x", ""},
	{"X token", "data:X-foo/bar,x", "x", ""},
	{"empty subtype", "data:text/,x", "x", ""},
	{"parameter", "data:text/plain;charset=utf-8,x", "x", ""},
	{"escaped parameter", "data:;a=%41b,x", "x", ""},
	{"quoted parameter", `data:;a="b;,\"c",x`, "x", ""},
	{"two parameters and base64", `data:text/plain;a=b;c="d";base64,aGk=`, "hi", ""},
	{"base64", "data:;base64,aGVsbG8=", "hello", ""},
	{"base64 of nothing", "data:;base64,", "", ""},
	{"base64 with spare bits", "data:;base64,aGVsbG9=", "hello", ""},
	{"base64 two paddings", "data:;base64,aA==", "h", ""},
	{"base64 in lines", "data:;base64,aGVs\nbG8=\n", "hello", ""},

	{"no prefix", "text", "", "missing data prefix"},
	{"upper-case prefix", "DATA:,x", "", "missing data prefix"},
	{"no comma", "data:", "", "missing comma before data"},
	{"no slash", "data:x", "", "missing media type slash"},
	{"type ends", "data:text/plain", "", "incomplete media type"},
	{"parameters end", "data:;base64", "", "unterminated parameter sequence"},
	{"value ends", "data:;a=b", "", "unterminated parameter sequence"},
	{"after semicolon", "data:;", "", "unterminated parameter sequence"},
	{"empty parameter", "data:;,x", "", "unterminated parameter sequence"},
	{"bad after prefix", "data:/x,", "", "invalid character after data prefix"},
	{"type without slash", "data:text,x", "", "invalid character for media type"},
	{"bad type", "data:te(xt/plain,x", "", "invalid character for media type"},
	{"bad subtype", "data:text/pl(ain,x", "", "invalid character for media subtype"},
	{"unknown type", "data:font/woff,x", "", "invalid media type"},
	{"two semicolons", "data:;;a=b,x", "", "invalid character for parameter attribute"},
	{"bad attribute", "data:;a(=b,x", "", "invalid character for parameter attribute"},
	{"base64 not last", "data:;base64;a=b,x", "", "invalid character for parameter attribute"},
	{"empty value", "data:;a=,x", "", "invalid character for parameter value"},
	{"bad value", "data:;a=b(,x", "", "invalid character for parameter value"},
	{"after quote", `data:;a="b"c,x`, "", "expected semicolon or comma"},
	{"open quote", `data:;a="b,x`, "", "unclosed quoted string"},
	{"quote ends in backslash", `data:;a="b\`, "", "unclosed quoted string"},
	{"bare word", "data:;gzip,x", "", "expected base64, got gzip"},
	{"upper-case base64", "data:;BASE64,aGk=", "", "expected base64, got BASE64"},
	{"missing padding", "data:;base64,aGk", "", "illegal base64 data at input byte 0"},
	{"data after padding", "data:;base64,aGk=aGk=", "", "illegal base64 data at input byte 4"},
	{"padding only", "data:;base64,====", "", "illegal base64 data at input byte 0"},
	{"three paddings", "data:;base64,a===", "", "illegal base64 data at input byte 1"},
	{"url-safe alphabet", "data:;base64,a-_=", "", "invalid data character"},
	{"space in base64", "data:;base64,aG k", "", "invalid data character"},
	{"escape in base64", "data:;base64,aGk%3D", "", "invalid data character"},
	{"bad escape", "data:,%zz", "", "rfc2396: invalid char 0x25 in unescape sequence"},
	{"bad second digit", "data:,%4g", "", "rfc2396: invalid char 0x25 in unescape sequence"},
	{"short escape", "data:,a%4", "", "rfc2396: unexpected end of unescape sequence"},
	{"lone percent", "data:,a%", "", "rfc2396: unexpected end of unescape sequence"},
	{"bad escape in parameter", "data:;a=%zz,x", "", "rfc2396: invalid char 0x25 in unescape sequence"},
	{"non-ascii", "data:,\u00e4", "", "invalid data character"},
	{"newline in plain", "data:,a\nb", "", "invalid data character"},
}

func TestDataURL(t *testing.T) {
	tests := slices.Clone(dataURLCases)
	for _, c := range " <>#\"{}|\\^[]`" {
		tests = append(tests, dataURLCase{"raw " + string(c), "data:,a" + string(c), "", "invalid data character"})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checked := checkDataURL(tt.in)
			r, err := DataURLReader(tt.in)
			if errorText(checked) != tt.err || errorText(err) != tt.err {
				t.Fatalf("check: %q, reader: %q, want %q", errorText(checked), errorText(err), tt.err)
			}
			if err != nil {
				return
			}
			got, err := io.ReadAll(iotest.OneByteReader(r))
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func FuzzDataURL(f *testing.F) {
	for _, seed := range []string{"data:,", "data:,a%20b", "data:;base64,aGk=", `data:text/plain;a="b\"";base64,aGk=`,
		"data:;base64,aGk\n=", "data:;base64,====", "data:,%", "data:;a=\"", "data:x-"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := DataURLReader(s)
		if errorText(checkDataURL(s)) != errorText(err) {
			t.Fatalf("check and reader differ: %v", err)
		}
		if err != nil {
			return
		}
		got, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("accepted, but read: %v", err)
		}
		payload, isBase64, _ := splitDataURL(s)
		var want []byte
		if isBase64 {
			want, err = base64.StdEncoding.DecodeString(payload)
		} else {
			var plain string
			plain, err = url.PathUnescape(payload)
			want = []byte(plain)
		}
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %q, want %q, %v", got, want, err)
		}
	})
}

func BenchmarkDataURL(b *testing.B) {
	raw := bytes.Repeat([]byte("payload\n"), 1<<20)
	for name, s := range map[string]string{
		"base64": "data:;base64," + base64.StdEncoding.EncodeToString(raw),
		"escape": "data:," + strings.ReplaceAll(string(raw), "\n", "%0A"),
	} {
		b.Run(name+"/check", func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				if err := checkURL(s, V3_7); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/decode", func(b *testing.B) {
			b.SetBytes(int64(len(s)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := DataURLReader(s)
				if err != nil {
					b.Fatal(err)
				}
				if n, err := io.Copy(io.Discard, r); err != nil || n != int64(len(raw)) {
					b.Fatal(n, err)
				}
			}
		})
	}
}
