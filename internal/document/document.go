// SPDX-License-Identifier: Apache-2.0

// Package document reads a config in whichever of its languages it is written:
// JSON of spec 3.x, JSON of the old specs, Butane YAML. All that reads configs,
// at boot and at the desk, does so here, in one order. For bytes that are none
// of these it says what they look like. What the languages mean is theirs.
package document

import (
	"bytes"
	"errors"

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

// Spot is what a value of Config comes from.
type Spot struct {
	config.Place
	Path  path.ContextPath // in the document
	Sugar bool             // made from a key of another name
	Exact bool             // the document has a value at Path; else Place is that of what is around it
}

// Find gives what the values at paths of Config come from.
func (d Document) Find(paths []path.ContextPath) []Spot {
	out := make([]Spot, len(paths))
	if d.yaml != nil {
		for i := range out {
			s := &out[i]
			s.Place, s.Path, s.Sugar, s.Exact = d.yaml.Find(paths[i])
		}
		return out
	}
	places, there, exact := legacy.Find(d.raw, paths)
	for i := range out {
		out[i] = Spot{Place: places[i], Path: there[i], Exact: exact[i]}
	}
	return out
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
