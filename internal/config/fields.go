// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"slices"
	"strings"
	"sync"
)

// field describes one key of an object type. Every walker of this package works from these descriptions.
type field struct {
	name     string
	index    []int
	typ      reflect.Type
	elem     *object // object type of the value or of the list's elements, nil for scalars
	since    Version
	until    Version            // last version that has the field; the zero value says that none is
	narrow   map[string]Version // keys of elem that are of another version here than in elem itself
	list     bool
	pointer  bool   // to an object: null and absent give nil
	appends  bool   // lists only: no keys, child's entries follow the parent's
	space    string // lists only: name of the key space shared with sibling lists
	required bool
	presence bool // a rule asks whether the document has it
}

// object describes an object type. Fields stand in traversal order, parts of embedded types first.
type object struct {
	typ    reflect.Type
	fields []field
	byName map[string]int
}

// describeConfig builds the description of Config, and of all types below it, once.
var describeConfig = sync.OnceValue(func() *object {
	return describe(reflect.TypeFor[Config](), map[reflect.Type]*object{})
})

func describe(t reflect.Type, known map[reflect.Type]*object) *object {
	if o := known[t]; o != nil {
		return o
	}
	o := &object{typ: t, byName: map[string]int{}}
	known[t] = o
	o.add(t, nil, known)
	for i, f := range o.fields {
		o.byName[f.name] = i
	}
	return o
}

func (o *object) add(t reflect.Type, prefix []int, known map[reflect.Type]*object) {
	for i := range t.NumField() {
		sf := t.Field(i)
		index := append(append([]int(nil), prefix...), i)
		if sf.Anonymous {
			n := len(o.fields)
			o.add(sf.Type, index, known)
			if s := sf.Tag.Get("since"); s != "" {
				for i := range o.fields[n:] {
					o.fields[n+i].since = minorVersion(s)
				}
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		f := field{name: name, index: index, typ: sf.Type, appends: sf.Tag.Get("merge") == "append",
			space: sf.Tag.Get("space"), required: sf.Tag.Get("required") == "true",
			presence: sf.Tag.Get("presence") == "true", list: sf.Type.Kind() == reflect.Slice}
		if s := sf.Tag.Get("since"); s != "" {
			f.since = minorVersion(s)
		}
		if s := sf.Tag.Get("until"); s != "" {
			f.until = minorVersion(s)
		}
		f.narrow = parseNarrow(sf.Tag.Get("narrow"))
		et := sf.Type
		f.pointer = et.Kind() == reflect.Pointer && et.Elem().Kind() == reflect.Struct
		if f.list || f.pointer {
			et = et.Elem()
		}
		if et.Kind() == reflect.Struct {
			f.elem = describe(et, known)
		}
		if n := slices.IndexFunc(o.fields, func(old field) bool { return old.name == name }); n >= 0 {
			o.fields[n] = f // it hides the embedded one, as in Go
			continue
		}
		o.fields = append(o.fields, f)
	}
}

// minorVersion reads the "3.N" of a tag. A wrong tag is a programming error that every test run meets.
func minorVersion(s string) Version {
	v, _, ok := ParseVersion(s + ".0")
	if !ok {
		panic("config: bad version in struct tag: " + s)
	}
	return v
}

func parseNarrow(tag string) map[string]Version {
	if tag == "" {
		return nil
	}
	m := map[string]Version{}
	for _, part := range strings.Split(tag, ";") {
		names, version, _ := strings.Cut(part, "=")
		for _, n := range strings.Split(names, ",") {
			m[n] = minorVersion(version)
		}
	}
	return m
}

// lookup finds the field of a key. exact is false if only the letter case differs: such a key has its effect,
// as it always had with Go's decoder, but is reported.
func (o *object) lookup(key []byte) (f *field, exact bool) {
	if i, ok := o.byName[string(key)]; ok {
		return &o.fields[i], true
	}
	for i := range o.fields {
		if strings.EqualFold(o.fields[i].name, string(key)) {
			return &o.fields[i], false
		}
	}
	return nil, false
}

// known tells whether version v has the field, given the narrowing of the place where its object stands.
func (f *field) known(v Version, narrow map[string]Version) bool {
	since, ok := narrow[f.name]
	if !ok {
		since = f.since
	}
	return !v.Before(since) && (f.until == Version{} || !f.until.Before(v))
}
