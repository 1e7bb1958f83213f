// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestPlaces(t *testing.T) {
	raw := []byte(`{"ignition": {"version": "3.4.0"},
 "storage": {
  "disks": [{"device": "/dev/a", "partitions": [
    {"label": "x"}, {"number": 2, "label": "y"}]}],
  "files": [
    {"path": "/a"},
    {"path": "/b", "contents": {"source": "data:,"}}]},
 "kernelArguments": {"shouldExist": ["a"]}}`)
	c, _, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	places := Places(raw, c)
	parent, _, err := Parse([]byte(`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/0"},{"path":"/1"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	merged := Merge(parent, c)
	for _, row := range []struct {
		path  string
		place Place
		depth int // how many names stand before the one that has a place
	}{
		{"$.storage.files.3.contents", Place{7, 32}, 0},
		{"$.storage.files.3.contents.source", Place{7, 32}, 0},
		{"$.storage.files.3", Place{7, 5}, 0},
		{"$.storage.files.2.mode", Place{6, 5}, 0},
		{"$.storage.disks.0.partitions.1", Place{4, 21}, 0},
		{"$.storage.disks.0.partitions.0.label", Place{4, 5}, 0},
		{"$.storage.disks.0.device", Place{3, 13}, 0},
		{"$.kernelArguments", Place{8, 21}, 0},
		{"$.storage.files.0", Place{2, 13}, 1}, // the parent's: only the object around it is in this document
		{"$.storage.files.9", Place{2, 13}, 0},
		{"$.nothing", Place{}, 0},
	} {
		var got Place
		depth := 0
		for i, name := range EntryNames(merged, row.path) {
			if p, ok := places[name]; ok {
				got, depth = p, i
				break
			}
		}
		if got != row.place || depth != row.depth {
			t.Errorf("%s: %v at depth %d, want %v at %d (names %q)", row.path, got, depth, row.place, row.depth, EntryNames(merged, row.path))
		}
	}
}

// TestEntryNamesAgree: both walks give an entry the same name.
func TestEntryNamesAgree(t *testing.T) {
	c, _, err := Parse([]byte(`{"ignition":{"version":"3.4.0"},"passwd":{"users":[{"name":"a.b"}]},"systemd":{"units":[{"name":"x.service","dropins":[{"name":"1.conf"}]}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entryNames(reflect.ValueOf(&c).Elem(), describeConfig(), named{name: "$"}, nil) {
		var b strings.Builder
		b.WriteString("$")
		for _, p := range e.path.Path {
			b.WriteString("." + elementName(p))
		}
		if got := EntryNames(c, b.String()); len(got) == 0 || got[0] != e.name {
			t.Errorf("%s is %q, not %q", b.String(), got, e.name)
		}
	}
}

// TestPlacesOfSiblings: an object's place is its own, not that of one beside it.
func TestPlacesOfSiblings(t *testing.T) {
	raw := []byte("{\"ignition\":{\"version\":\"3.4.0\"},\n\"storage\":{\"files\":[{\"path\":\"/a\",\n\"user\":{\"id\":1},\n\"contents\":{\"source\":\"data:,\"}}]}}")
	c, _, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	places := Places(raw, c)
	for name, line := range map[string]int{"user": 3, "contents": 4, "group": 0} {
		if got := places["$.storage.files[/a]."+name].Line; got != line {
			t.Errorf("%s is at line %d, want %d", name, got, line)
		}
	}
}
