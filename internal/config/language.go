// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bufio"
	"bytes"
	"encoding/json"
	"reflect"

	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// What this file exports lets other languages (Butane, the old specs) share the types, the
// gates, the rules and the output of this one.

// Shape describes an object type: its keys, and since when it has them.
type Shape = object

// Field describes one key of an object type.
type Field = field

// ShapeOf describes a struct type that is tagged like those of types.go.
func ShapeOf(t reflect.Type) *Shape {
	root := describeConfig()
	if t == root.typ {
		return root
	}
	return describe(t, map[reflect.Type]*object{})
}

// Field gives the field of a key in its exact spelling, or nil.
func (o *object) Field(name string) *Field {
	if i, ok := o.byName[name]; ok {
		return &o.fields[i]
	}
	return nil
}

// Name is the key.
func (f *field) Name() string { return f.name }

// In gives the field's value in a value of the object type.
func (f *field) In(v reflect.Value) reflect.Value { return v.FieldByIndex(f.index) }

// Elem describes the value, or the list's elements; it is nil for scalars and lists of them.
func (f *field) Elem() *Shape { return f.elem }

// IsList tells whether the value is a list.
func (f *field) IsList() bool { return f.list }

// Narrow names the keys of Elem that are newer in this place than in Elem itself.
func (f *field) Narrow() map[string]Version { return f.narrow }

// Known tells whether version v has the field, given the Narrow of the place where its object stands.
func (f *field) Known(v Version, narrow map[string]Version) bool { return f.known(v, narrow) }

// DocumentVersion gives the version of a document, if it is one that Parse reads.
func DocumentVersion(raw []byte) (Version, bool) {
	if checkSyntax(raw) != nil {
		return Version{}, false
	}
	h, err := readHeader(raw)
	if err != nil {
		return Version{}, false
	}
	v, err := h.supported()
	return v, err == nil
}

// Validate runs the checks that a document of version v has to pass, first those for duplicates. has tells
// whether the document has an object at a path, such as a custom clevis pin. The entries have no positions.
func Validate(c *Config, v Version, has func(path ...any) bool) report.Report {
	r := validateDuplicates(c)
	r.Merge(validateRules(c, v, has))
	return r
}

// Duplicates runs the checks for duplicates alone.
func Duplicates(c *Config) report.Report { return validateDuplicates(c) }

// Counterpart finds in source the entry that stands at p in merged, a config that source was merged into as
// parent or as child. known says how many elements of p source has; what follows them is p's own.
func Counterpart(merged, source *Config, child bool, p path.ContextPath) (there path.ContextPath, known int) {
	m, s, o := reflect.ValueOf(merged).Elem(), reflect.ValueOf(source).Elem(), describeConfig()
	out := path.New(p.Tag)
	i := 0
	for o != nil && i < len(p.Path) {
		f := o.Field(elementName(p.Path[i]))
		if f == nil {
			break
		}
		m, s, o = f.In(m), f.In(s), f.elem
		if isEmpty(s) {
			break
		}
		out.Path = append(out.Path, p.Path[i])
		i++
		if !f.list || i == len(p.Path) {
			continue
		}
		n, ok := p.Path[i].(int)
		k := -1
		if ok && n < m.Len() {
			k = counterpartIndex(m, s, n, f.appends, child)
		}
		if k < 0 {
			break
		}
		out.Path = append(out.Path, k)
		i++
		m, s = m.Index(n), s.Index(k)
	}
	out.Path = append(out.Path, p.Path[i:]...)
	return out, i
}

// counterpartIndex finds in list s the entry that stands at n in m: the one with its key (of several, the one of
// the same rank), or in lists that merge by appending the one at its distance from parent's start or child's end.
func counterpartIndex(m, s reflect.Value, n int, appends, child bool) int {
	if appends {
		if child {
			n -= m.Len() - s.Len()
		}
		if n >= s.Len() {
			return -1
		}
		return max(n, -1)
	}
	key := keyOf(m.Index(n))
	rank := 0
	for i := range n {
		if keyOf(m.Index(i)) == key {
			rank++
		}
	}
	for i := range s.Len() {
		if keyOf(s.Index(i)) == key {
			if rank == 0 {
				return i
			}
			rank--
		}
	}
	return -1
}

// isEmpty tells whether a value says nothing: unset, an empty list, an object of such values.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if !isEmpty(v.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		return v.Len() == 0
	}
	return v.IsZero()
}

// IsEmpty tells whether an object of a config says nothing. What is set counts, false and "" too.
func IsEmpty[T any](object *T) bool { return isEmpty(reflect.ValueOf(object).Elem()) }

// document is what the encoder needs to write the form of a document: without objects that say nothing.
type document struct {
	version Version
	has     func(path ...any) bool
	at      []any
}

// EncodeDocument gives c as a document of version v for machines: one line, without empty objects and lists. It
// fills in what documents of that version always have. has is as in Validate.
func EncodeDocument(c Config, v Version, has func(path ...any) bool) []byte {
	flat := encodeDocument(c, v, has)
	var out bytes.Buffer
	out.Grow(len(flat) + 1) // a final newline fits too
	json.HTMLEscape(&out, flat)
	return out.Bytes()
}

// MarshalDocument gives the same for people: in lines, that it may be edited.
func MarshalDocument(c Config, v Version) []byte {
	var out bytes.Buffer
	_ = json.Indent(&out, encodeDocument(c, v, func(...any) bool { return false }), "", "  ") // the encoder writes JSON
	out.WriteByte('\n')
	return out.Bytes()
}

// MarshalOldest gives c as MarshalDocument does, of the oldest version that can say all of it.
func MarshalOldest(c Config) []byte {
	want, _ := MarshalCache(c)
	var out []byte
	for _, v := range Versions {
		out = MarshalDocument(c, v)
		same, _, err := Parse(out)
		if got, _ := MarshalCache(same); err == nil && bytes.Equal(got, want) {
			break
		}
	}
	return out
}

func encodeDocument(c Config, v Version, has func(path ...any) bool) []byte {
	c.Ignition.Version = v.String()
	if v.Before(V3_3) {
		normaliseRequired(&c.Storage, has)
	}
	var b bytes.Buffer
	b.Grow(sizeOf(reflect.ValueOf(&c).Elem()))
	e := encoder{Writer: bufio.NewWriter(&b), document: &document{version: v, has: has}}
	e.object(reflect.ValueOf(&c).Elem(), describeConfig())
	_ = e.Flush() // a buffer takes all
	return b.Bytes()
}

// omits tells what a document leaves out.
func (d *document) omits(v reflect.Value, f *field) bool {
	if f.required && f.name != "url" || !isEmpty(v) {
		return false
	}
	// Before 3.3 this object was a pointer, so that an empty one differs from none.
	return !(f.presence && d.version.Before(V3_3) && d.has(append(d.at, f.name)...))
}

func (d *document) leave() { d.at = d.at[:len(d.at)-1] }

// KeysIn lists the keys of an object that are set.
func KeysIn[T any](object *T) (keys []string) {
	v := reflect.ValueOf(object).Elem()
	o := ShapeOf(v.Type())
	for i := range o.fields {
		if !isEmpty(o.fields[i].In(v)) {
			keys = append(keys, o.fields[i].name)
		}
	}
	return keys
}

// Decode reads a document into types of another language, which bear the tags of this one and besides them
//
//	until:"M.N"    last version that has the field
//
// and may point to objects, which are nil when absent. A syntax or type error comes with a report of it, else the
// report says which keys are not used, with positions.
func Decode(raw []byte, v Version, into any) (report.Report, error) {
	err := checkSyntax(raw)
	d := decoder{b: raw, version: v}
	if err == nil {
		to := reflect.ValueOf(into).Elem()
		_, err = d.object(skipSpace(raw, 0), to, describe(to.Type(), map[reflect.Type]*object{}), nil)
	}
	if err != nil {
		_, r, err := unreadable(raw, err)
		return r, err
	}
	placeOffsets(raw, d.entries)
	return report.Report{Entries: d.entries}, nil
}

// SpecVersion gives ignition.version of a document that was read without an error. It checks nothing, and so costs
// next to nothing.
func SpecVersion(raw []byte) string {
	h, _ := readHeader(raw)
	return h.version
}

// SetPositions gives each entry the position of the value at its path, or of what is around it.
func SetPositions(raw []byte, entries []report.Entry) { placeEntries(raw, entries) }

// CheckURL checks the URL of a resource by the rules of version v.
func CheckURL(s string, v Version) error { return checkURL(s, v) }

// CheckHash checks the form of a verification hash by the rules of version v.
func CheckHash(s string, v Version) error {
	_, _, err := splitHash(s, v)
	return err
}

// CheckUnitContents checks the grammar of a unit or drop-in.
func CheckUnitContents(s string) error { return readUnit(&s).err }

// LabelLimit is how many bytes the label of a filesystem may have; ok is false for a format without a limit.
func LabelLimit(format string) (limit int, ok bool) {
	limit, ok = filesystemLabelLimits[format]
	return limit, ok
}

// Type is the Go type of the object.
func (o *object) Type() reflect.Type { return o.typ }

// Keys lists the fields that version v has, given the Narrow of the place where the object stands.
func (o *object) Keys(v Version, narrow map[string]Version) (list []*Field) {
	for i := range o.fields {
		if o.fields[i].known(v, narrow) {
			list = append(list, &o.fields[i])
		}
	}
	return list
}

// Type is the Go type of the value.
func (f *field) Type() reflect.Type { return f.typ }

// Required tells whether a document in the newest form always has the key.
func (f *field) Required() bool { return f.required }
