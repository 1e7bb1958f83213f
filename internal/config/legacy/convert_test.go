// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
)

// checkConvert: what Parse accepts, Convert writes as a document that config.Parse accepts and reads as the same config.
func checkConvert(t *testing.T, in []byte) {
	t.Helper()
	c, r, err := Parse(in)
	out, r2, err2 := Convert(in)
	if (err == nil) != (err2 == nil) || r.String() != r2.String() {
		t.Fatalf("Parse: %v\n%s\nConvert: %v\n%s", err, r, err2, r2)
	}
	if r.IsFatal() != errors.Is(err, config.ErrInvalid) {
		t.Fatalf("%v with report\n%s", err, r)
	}
	for _, e := range r.Entries {
		p := e.Marker.StartP
		if p == nil || p.Line < 1 || p.Column < 1 || p.Index > int64(len(in)) {
			t.Fatalf("%s has no place in the document", e)
		}
	}
	if err != nil {
		return
	}
	again, r, err := config.Parse(out)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, r, out)
	}
	for _, e := range r.Entries {
		if strings.HasPrefix(e.Message, "unused key") && !bytes.Equal(in, out) {
			t.Errorf("%s\n%s", e, out)
		}
	}
	want, _ := config.MarshalCache(c)
	if got, _ := config.MarshalCache(again); !bytes.Equal(got, want) {
		t.Fatalf("got\n%s\nwant\n%s", got, want)
	}
	if r := config.ValidateMerged(c); r.IsFatal() && !bytes.Equal(in, out) {
		t.Fatalf("accepted, but not valid later:\n%s", r)
	}
	for name, p := range Places(in, c) {
		if p.Line < 1 || p.Column < 1 {
			t.Fatalf("%s at %v", name, p)
		}
	}
}

func TestConvert(t *testing.T) {
	for name, a := range goldenCases(t) {
		t.Run(name, func(t *testing.T) {
			for _, f := range a.Files {
				if isInput(f) {
					checkConvert(t, inputOf(f))
				}
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, a := range goldenCases(f) {
		for _, file := range a.Files {
			if isInput(file) {
				f.Add(inputOf(file))
			}
		}
	}
	f.Fuzz(checkConvert)
}

// TestDocumentOf3 hands documents of spec 3.x through.
func TestDocumentOf3(t *testing.T) {
	in := []byte(`{"ignition":{"version":"3.4.0"},"networkd":{}}`)
	out, r, err := Convert(in)
	if err != nil || !bytes.Equal(in, out) || len(r.Entries) != 1 {
		t.Errorf("%v\n%s\n%s", err, r, out)
	}
	if p := Places(in, config.Config{}); p["$.ignition"].Column != 2+len(`"ignition":`) {
		t.Errorf("%v", p)
	}
}

// TestEscapes: what is written as a data URL is read as it was.
func TestEscapes(t *testing.T) {
	var all []byte
	for i := range 256 {
		all = append(all, byte(i))
	}
	for _, keep := range []string{"", "-_.!~*'()", "-_.~$&+=:@"} {
		r, err := config.DataURLReader(*escape(string(all), keep))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, all) {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestWithoutLegacy: internal/config itself takes no old document.
func TestWithoutLegacy(t *testing.T) {
	for in, want := range map[string]error{
		`{"ignition":{"version":"2.4.0"}}`: config.ErrUnknownVersion,
		`{"ignition":{"version":"2.0.0"}}`: config.ErrUnknownVersion,
		`{"ignition":{"version":"1.0.0"}}`: config.ErrUnknownVersion,
		`{"ignitionVersion":1}`:            config.ErrUnknownVersion,
	} {
		if _, _, err := config.Parse([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%s: %v", in, err)
		}
	}
}

// TestPlaces: positions are those of the old document, also where lists are not the same ones.
func TestPlaces(t *testing.T) {
	in := []byte(`{"ignition": {"version": "2.2.0"}, "storage": {"filesystems": [
		{"name": "root", "mount": {"device": "/dev/a", "format": "ext4"}},
		{"name": "b", "mount": {"device": "/dev/b", "format": "ext4"}}],
	"files": [{"filesystem": "b", "path": "/f", "mode": 420}]},
	"networkd": {"units": [{"name": "n.network",
		"contents": "[Match]"}]}}`)
	c, r, err := Parse(in)
	if err != nil {
		t.Fatal(err, r)
	}
	places := Places(in, c)
	for name, line := range map[string]int{
		"$.storage.filesystems[/dev/b]":                    3,
		"$.storage.files[" + c.Storage.Files[0].Path + "]": 4,
		"$.storage.files[/etc/systemd/network/n.network]":  5,
	} {
		if places[name].Line != line {
			t.Errorf("%s at %v, want line %d of %v", name, places[name], line, places)
		}
	}
}
