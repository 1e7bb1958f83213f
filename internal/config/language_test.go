// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"testing"

	"github.com/coreos/vcontext/path"
)

// other is a small language beside the config's own.
type other struct {
	Dropped *int       `json:"dropped" until:"2.1"`
	Inner   *otherPart `json:"inner" narrow:"guid=2.1;label=2.2"`
	New     *int       `json:"new" since:"2.1"`

	hidden int
}

type otherPart struct {
	Partition `since:"2.0"`
	Number    *string `json:"number"`
}

func TestDecodeOther(t *testing.T) {
	v := func(minor int64) Version { return Version{Major: 2, Minor: minor} }
	one, text := 1, "x"
	for _, row := range []struct {
		name, in string
		v        Version
		want     other
		report   string
		err      error
	}{
		{"old", `{"dropped": 1, "new": 1}`, v(0), other{Dropped: &one}, "warning at $.new, line 1 col 16: unused key new\n", nil},
		{"both", `{"dropped": 1, "new": 1}`, v(1), other{Dropped: &one, New: &one}, "", nil},
		{"new", `{"dropped": 1, "new": 1}`, v(2), other{New: &one}, "warning at $.dropped, line 1 col 2: unused key dropped\n", nil},
		{"null object", `{"inner": null}`, v(0), other{}, "", nil},
		{"empty object", `{"inner": {}}`, v(0), other{Inner: &otherPart{}}, "", nil},
		{"hidden by the outer field", `{"inner": {"number": "x"}}`, v(0), other{Inner: &otherPart{Number: &text}}, "", nil},
		{"several narrowed", `{"inner": {"guid": "x", "label": "x"}}`, v(1), other{Inner: &otherPart{Partition: Partition{GUID: &text}}},
			"warning at $.inner.label, line 1 col 25: unused key label\n", nil},
		{"not exported", `{"hidden": 1, "": 1}`, v(1), other{hidden: 0}, "warning at $.hidden, line 1 col 2: unused key hidden\nwarning at $., line 1 col 15: unused key \n", nil},
		{"wrong type", `{"new": "x"}`, v(1), other{}, "error at line 1 col 12: $.new must be an integer, not a string\n", ErrInvalid},
		{"no JSON", `{`, v(1), other{}, "error at line 1 col 2: invalid JSON: expected a key in double quotes, but the document ends\n", ErrInvalid},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got other
			r, err := Decode([]byte(row.in), row.v, &got)
			if err != row.err || r.String() != row.report || err == nil && !reflect.DeepEqual(got, row.want) {
				t.Errorf("%+v, %v\n%swant %+v, %v\n%s", got, err, r, row.want, row.err, row.report)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	c := Empty()
	c.Storage.Filesystems = []Filesystem{{Device: "/dev/a"}, {Device: "/dev/a"}, {Device: "b"}}
	want := "error at $.storage.filesystems.1: duplicate entry defined\nerror at $.storage.filesystems.2.device: path not absolute\n"
	if got := Validate(&c, V3_6, func(...any) bool { return true }).String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestMarshalDocument(t *testing.T) {
	c, _, err := Parse([]byte(`{"ignition": {"version": "3.0.0", "config": {}}, "storage": {"files": [{"path": "/<a>", "contents": {"source": ""}}], "disks": []}}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{
  "ignition": {
    "version": "3.6.0"
  },
  "storage": {
    "files": [
      {
        "path": "/<a>",
        "contents": {
          "source": ""
        }
      }
    ]
  }
}
`
	if got := string(MarshalDocument(c, V3_6)); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestPlacesFrom(t *testing.T) {
	in := []byte(`{"a": {"b": [1,
		{}]}}`)
	c := Config{Storage: Storage{Disks: []Disk{{Device: "/dev/a"}}}}
	places := PlacesFrom(in, c, func(p path.ContextPath) path.ContextPath {
		if p.String() == "$.storage.disks.0" {
			return path.New("json", "a", "b", 1)
		}
		return p
	})
	if want := map[string]Place{"$.storage.disks[/dev/a]": {2, 3}}; !reflect.DeepEqual(places, want) {
		t.Errorf("got %v, want %v", places, want)
	}
}
