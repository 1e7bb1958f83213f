// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"strconv"
	"strings"

	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
	"github.com/coreos/vcontext/tree"
)

// Place is a position in a document; lines and columns (in bytes) count from 1.
type Place struct {
	Line   int `json:"line"`
	Column int `json:"column"`
}

// named is an entry with its path, and a name that stays the same when configs
// are merged: the key of a list's entry stands in the place of its index.
type named struct {
	name string
	path path.ContextPath
}

// entryNames lists the objects of a config and the entries of its keyed lists.
func entryNames(v reflect.Value, o *object, at named, out []named) []named {
	for i := range o.fields {
		f := &o.fields[i]
		if f.elem == nil || f.appends {
			continue
		}
		here := named{at.name + "." + f.name, below(at.path, f.name)}
		value := v.FieldByIndex(f.index)
		if !f.list {
			out = append(out, here)
			out = entryNames(value, f.elem, here, out)
			continue
		}
		for n := range value.Len() {
			e := value.Index(n)
			entry := named{here.name + "[" + keyOf(e) + "]", below(here.path, n)}
			out = append(out, entry)
			out = entryNames(e, f.elem, entry, out)
		}
	}
	return out
}

// below gives a path of its own, which those of siblings do not overwrite.
func below(p path.ContextPath, element any) path.ContextPath {
	p.Path = append(p.Path[:len(p.Path):len(p.Path)], element)
	return p
}

// Places gives the position of every entry of a document that Parse read into
// c, by the name that EntryNames gives.
func Places(raw []byte, c Config) map[string]Place { return PlacesFrom(raw, c, nil) }

// PlacesFrom is Places for a document of another language, with the function that turns a path of c into the
// document's.
func PlacesFrom(raw []byte, c Config, from func(path.ContextPath) path.ContextPath) map[string]Place {
	all := entryNames(reflect.ValueOf(&c).Elem(), describeConfig(), named{"$", path.New("json")}, nil)
	paths := make([]path.ContextPath, len(all))
	for i := range all {
		if from != nil {
			all[i].path = from(all[i].path)
		}
		paths[i] = all[i].path
	}
	l := newLocator(paths)
	l.walk(raw)
	var found []string
	var entries []report.Entry
	for _, e := range all {
		if off, exact := l.offset(e.path); exact {
			found = append(found, e.name)
			entries = append(entries, report.Entry{Marker: tree.MarkerFromIndices(int64(off), -1)})
		}
	}
	placeOffsets(raw, entries)
	out := make(map[string]Place, len(found))
	for i, name := range found {
		p := entries[i].Marker.StartP
		out[name] = Place{int(p.Line), int(p.Column)}
	}
	return out
}

// PlacesBy is Places for a document of a language that finds the place of a path itself.
func PlacesBy(c Config, at func(path.ContextPath) (Place, bool)) map[string]Place {
	all := entryNames(reflect.ValueOf(&c).Elem(), describeConfig(), named{"$", path.New("json")}, nil)
	out := make(map[string]Place, len(all))
	for _, e := range all {
		if p, ok := at(e.path); ok {
			out[e.name] = p
		}
	}
	return out
}

// EntryNames gives the names of the entry of c at a path such as
// $.storage.files.3.contents, and of those around it, the innermost first.
func EntryNames(c Config, p string) []string {
	v, o, name := reflect.ValueOf(&c).Elem(), describeConfig(), "$"
	names := []string{}
	parts := strings.Split(p, ".")
	for i := 1; i < len(parts); i++ {
		f, exact := o.lookup([]byte(parts[i]))
		if !exact || f.elem == nil || f.appends {
			break
		}
		v, o, name = v.FieldByIndex(f.index), f.elem, name+"."+f.name
		if f.list {
			if i++; i == len(parts) {
				break
			}
			n, err := strconv.Atoi(parts[i])
			if err != nil || n < 0 || n >= v.Len() {
				break
			}
			v = v.Index(n)
			name += "[" + keyOf(v) + "]"
		}
		names = append([]string{name}, names...)
	}
	return names
}
