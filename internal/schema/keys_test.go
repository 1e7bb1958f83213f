// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"bytes"
	"compress/gzip"
	"flag"
	"os"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "write keys.txt.gz and the reference pages anew; read the diff")

// TestKeysArePacked keeps the packed keys.txt current.
func TestKeysArePacked(t *testing.T) {
	text, err := os.ReadFile("keys.txt")
	if err != nil {
		t.Fatal(err)
	}
	if *update && keysText() != string(text) {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
		if _, err := z.Write(text); err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("keys.txt.gz", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Skip("keys.txt.gz is new: run the tests again")
	}
	if keysText() != string(text) {
		t.Error("keys.txt.gz is not keys.txt: run the test with -update")
	}
}

// TestEveryRuleHolds wants each rule to be one of some language.
func TestEveryRuleHolds(t *testing.T) {
	for section, entries := range readKeys(keysText()) {
		for name, e := range entries {
			for _, r := range e.rules {
				if !slices.ContainsFunc(Languages(), r.holds) {
					t.Errorf("keys.txt: %s.%s: no language is %q", section, name, r.when)
				}
			}
		}
	}
}

// TestEveryKeyIsDescribed wants a sentence for each key of each language, and each sentence used.
func TestEveryKeyIsDescribed(t *testing.T) {
	used := map[*entry]bool{}
	table := readKeys(keysText())
	for _, l := range Languages() {
		b := newBuilder(l)
		b.table = table
		b.found = func(section, name string, e *entry) {
			used[e] = true
			if name != "." && (len(e.text) < 2 || e.text[len(e.text)-1] != '.') {
				t.Errorf("%s: %s.%s has no sentence", l.Name, section, name)
			}
		}
		b.root()
	}
	for section, entries := range table {
		for name, e := range entries {
			if section != "Kinds" && !used[e] {
				t.Errorf("keys.txt: no language has %s.%s", section, name)
			}
		}
	}
}
