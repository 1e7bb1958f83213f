// SPDX-License-Identifier: Apache-2.0

// Package document reads a config in whichever of its languages it is written:
// JSON of spec 3.x, JSON of the old specs, Butane YAML. All that reads configs,
// at boot and at the desk, does so here, in one order. For bytes that are none
// of these it says what they look like. What the languages mean is theirs.
package document

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/butane"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/config/legacy"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// Document is a config that was read.
type Document struct {
	Config config.Config
	raw    []byte
	yaml   *butane.Document
}

// Places is where the entries of Config stand, by the names of config.EntryNames.
func (d Document) Places() map[string]config.Place {
	if d.yaml != nil {
		return d.yaml.Places()
	}
	return legacy.Places(d.raw, d.Config)
}

// IsYAML tells whether it is Butane.
func (d *Document) IsYAML() bool { return d.yaml != nil }

// Find gives for a path of Config the one in the document, and the place of what stands there. exact is false if
// nothing does: the place is then that of what is around it.
func (d *Document) Find(p string) (there string, place config.Place, exact bool) {
	if d.yaml != nil {
		there, place, exact = d.yaml.Find(strings.TrimPrefix(p, "$."))
		return "$." + there, place, exact
	}
	from := legacy.Source(d.raw, Path(p))
	place.Line, place.Column, exact = config.Locate(d.raw, from)
	return from.String(), place, exact
}

// Path reads the text form of a path.
func Path(s string) path.ContextPath {
	p := path.New("json")
	for _, e := range strings.Split(s, ".")[1:] {
		if n, err := strconv.Atoi(e); err == nil {
			p.Path = append(p.Path, n)
		} else {
			p.Path = append(p.Path, e)
		}
	}
	return p
}

// Parse reads a config. JSON comes first, so a document with the marks of both languages is JSON. A mapping with a
// variant is Butane, and stays so in its errors. What is meant for another program counts as no config at all
// (config.ErrEmpty).
func Parse(raw []byte) (Document, report.Report, error) {
	c, r, err := legacy.Parse(raw)
	if err == nil {
		return Document{Config: c, raw: raw}, r, nil
	}
	empty, object := errors.Is(err, config.ErrEmpty), isObject(raw)
	if (empty || object) && !bytes.Contains(raw, []byte("variant")) {
		return Document{}, r, because(raw, err)
	}
	// As nodes a text is some fifty times as large: what cannot be Butane is read only while it is small.
	if len(raw) > 1<<20 && !bytes.Contains(raw, []byte("variant")) && !bytes.Contains(raw, []byte("v\x00a\x00r")) {
		return Document{}, describe(raw, butane.NotYAML, report.Report{}), config.ErrInvalid
	}
	d, looks, ofYAML, failed := butane.Read(raw)
	switch {
	case looks == butane.Butane && failed == nil:
		return Document{Config: d.Config, yaml: &d}, ofYAML, nil
	case looks == butane.Butane:
		return Document{}, ofYAML, failed
	case empty || object:
		return Document{}, r, because(raw, err)
	case looks == butane.BrokenButane:
		return Document{}, ofYAML, failed
	}
	return Document{}, describe(raw, looks, ofYAML), config.ErrInvalid
}

func isObject(raw []byte) bool { return bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{")) }
