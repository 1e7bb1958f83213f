// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// corpusInputs gives the documents of all corpus cases, for the oldest and for the newest version they are for.
func corpusInputs(f *testing.F) (documents [][][]byte) {
	names, err := filepath.Glob("testdata/corpus/*/*.txtar")
	if err != nil || len(names) == 0 {
		f.Fatal("no corpus", err)
	}
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		c := readCase(f, name, a)
		for _, v := range []Version{c.versions[0], c.versions[len(c.versions)-1]} {
			var inputs [][]byte
			for _, in := range c.inputs {
				inputs = append(inputs, inputBytes(f, in, v))
			}
			documents = append(documents, inputs)
		}
	}
	return documents
}

// FuzzParse: the reader agrees with encoding/json on what is JSON, every entry of a report has a place inside of the
// document, an error is there if and only if the report is fatal or empty, and what was read survives the cache.
func FuzzParse(f *testing.F) {
	for _, inputs := range corpusInputs(f) {
		for _, in := range inputs {
			f.Add(in)
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if got, want := checkSyntax(in) == nil, json.Valid(in); got != want {
			t.Fatalf("valid %v, want %v", got, want)
		}
		c, r, err := Parse(in)
		if r.IsFatal() && err != ErrInvalid || !r.IsFatal() && err == ErrInvalid {
			t.Fatalf("%v with report\n%s", err, r)
		}
		for _, e := range r.Entries {
			p := e.Marker.StartP
			if p == nil || p.Index < 0 || p.Index > int64(len(in)) || p.Line < 1 || p.Column < 1 || p.Line > int64(1+bytes.Count(in, []byte("\n"))) {
				t.Fatalf("%s has a place outside of the document: %+v", e, p)
			}
		}
		if err != nil {
			if !reflect.DeepEqual(c, Config{}) {
				t.Fatalf("a config in spite of %v", err)
			}
			return
		}
		checkCache(t, c)
		ValidateMerged(c)
	})
}

// checkCache writes and reads a config, which must not change.
func checkCache(t *testing.T, c Config) {
	t.Helper()
	raw, err := MarshalCache(c)
	if err != nil || !json.Valid(raw) {
		t.Fatalf("%v: %s", err, raw)
	}
	again, err := UnmarshalCache(raw)
	if err != nil {
		t.Fatal(err)
	}
	if raw2, _ := MarshalCache(again); !bytes.Equal(raw, raw2) {
		t.Fatalf("%s\n%s", raw, raw2)
	}
	if _, err := MarshalRedacted(c); err != nil {
		t.Fatal(err)
	}
}

// FuzzMerge: merging changes neither of its arguments, and with nothing gives the other one.
func FuzzMerge(f *testing.F) {
	for _, inputs := range corpusInputs(f) {
		f.Add(inputs[0], inputs[len(inputs)-1])
	}
	f.Fuzz(func(t *testing.T, in1, in2 []byte) {
		parent, _, err1 := Parse(in1)
		child, _, err2 := Parse(in2)
		if err1 != nil || err2 != nil {
			return
		}
		before1, _ := MarshalCache(parent)
		before2, _ := MarshalCache(child)
		checkCache(t, Merge(parent, child))
		after1, _ := MarshalCache(parent)
		after2, _ := MarshalCache(child)
		if !bytes.Equal(before1, after1) || !bytes.Equal(before2, after2) {
			t.Fatal("merging changed what it was given")
		}
		over, _ := MarshalCache(Merge(Empty(), child))
		below, _ := MarshalCache(Merge(parent, Empty()))
		if !bytes.Equal(over, before2) || !bytes.Equal(below, before1) {
			t.Fatalf("merging with nothing:\n%s\n%s\n%s\n%s", before2, over, before1, below)
		}
	})
}
