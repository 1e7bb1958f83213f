// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"testing"
)

// limitedWriter notes the largest write and fails once room is used up.
type limitedWriter struct {
	room, largest, total int
}

var errFull = errors.New("no space left")

func (w *limitedWriter) Write(p []byte) (int, error) {
	w.largest = max(w.largest, len(p))
	w.total += len(p)
	if w.total > w.room {
		return 0, errFull
	}
	return len(p), nil
}

func TestEncodeCacheStreams(t *testing.T) {
	c := mustParse(t, string(manyFiles(200, 5000)))
	whole, err := MarshalCache(c)
	if err != nil {
		t.Fatal(err)
	}
	w := limitedWriter{room: len(whole)}
	if err := EncodeCache(&w, c); err != nil || w.total != len(whole) || w.largest > 64<<10 {
		t.Errorf("%+v, %v, want %d bytes", w, err, len(whole))
	}
	if n := testing.AllocsPerRun(5, func() { _ = EncodeCache(io.Discard, c) }); n > 5 {
		t.Errorf("%v allocations", n)
	}
	for _, room := range []int{0, 100000, len(whole) - 1} {
		if err := EncodeCache(&limitedWriter{room: room}, c); !errors.Is(err, errFull) {
			t.Errorf("room for %d bytes: %v", room, err)
		}
	}
}

func TestUnmarshalCacheErrors(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"nothing", "", "invalid JSON: expected a value, but the document ends"},
		{"cut short", `{"ignition":{`, "invalid JSON: expected a key in double quotes, but the document ends"},
		{"two values", `{}{}`, "invalid JSON: expected the end of the document, found '{'"},
		{"list", `[]`, "$ must be an object, not a list"},
		{"wrong type", `{"storage":{"files":[{"mode":"x"}]}}`, "$.storage.files.0.mode must be an integer, not a string"},
		{"large number", `{"storage":{"files":[{"mode":9223372036854775808}]}}`,
			"$.storage.files.0.mode must be an integer in 64-bit range without fraction or exponent, not 9223372036854775808"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := UnmarshalCache([]byte(c.in))
			if err == nil || err.Error() != c.want {
				t.Errorf("error %v, want %s", err, c.want)
			}
			if raw, _ := MarshalCache(got); !bytes.Contains(raw, []byte(`"version":""`)) {
				t.Errorf("a config in spite of the error: %s", raw)
			}
		})
	}
}

// TestUnmarshalCacheIsLax: neither the version nor any rule is looked at; what wrote the cache had checked it.
func TestUnmarshalCacheIsLax(t *testing.T) {
	c, err := UnmarshalCache([]byte(`{"ignition":{"version":"9.9.9"},"storage":{"files":[{"path":"relative"}]},"unknown":[{}],"passwd":null}`))
	if err != nil || c.Ignition.Version != "9.9.9" || len(c.Storage.Files) != 1 || c.Storage.Files[0].Path != "relative" {
		t.Errorf("%+v, %v", c, err)
	}
}

func FuzzCacheText(f *testing.F) {
	for _, s := range []string{"", "plain text, long enough", "\"", "a\\b", "tab\tnewline\nnull\x00", "\x7f", "ä", "\xff", "12345678\xc3", "\u2028", "😀 behind"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := Config{Storage: Storage{Files: []File{{Node: Node{Path: s}}}}}
		raw, err := MarshalCache(c)
		if err != nil || !json.Valid(raw) {
			t.Fatalf("%v: %q", err, raw)
		}
		again, err := UnmarshalCache(raw)
		if want := string([]rune(s)); err != nil || again.Storage.Files[0].Path != want {
			t.Fatalf("%v: %q became %q", err, s, again.Storage.Files[0].Path)
		}
		var std struct {
			Storage struct{ Files []struct{ Path string } }
		}
		if err := json.Unmarshal(raw, &std); err != nil || std.Storage.Files[0].Path != again.Storage.Files[0].Path {
			t.Fatalf("%v: encoding/json reads %q, we %q", err, std.Storage.Files[0].Path, again.Storage.Files[0].Path)
		}
	})
}
