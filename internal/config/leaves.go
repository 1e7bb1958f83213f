// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"strconv"

	"github.com/coreos/vcontext/path"
)

// Leaf is a value of a config that is not an object or a list of objects.
type Leaf struct {
	Path path.ContextPath
	// Name is the path with the keys of entries instead of indices: $.storage.files[/etc/hosts].mode.
	Name string
	// Ordered tells whether it is in a list whose order has a meaning.
	Ordered bool
	// ID is the name that stays the same when configs are merged: in lists that merge by appending, entries are
	// counted from the end.
	ID string

	value reflect.Value
}

// Text is the value as it stands in JSON, without quotes.
func (l *Leaf) Text() string {
	switch v := l.value; v.Kind() {
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	default:
		return v.String()
	}
}

// IsText tells whether the value is a string.
func (l *Leaf) IsText() bool { return l.value.Kind() == reflect.String }

// Set changes a value, which must be a string.
func (l *Leaf) Set(s string) { l.value.SetString(s) }

// leafWalk walks a config. after says how many entries others have, behind those of this one, in the lists that merge
// by appending; it counts these on.
type leafWalk struct {
	list  []Leaf
	after map[string]int
}

// Leaves lists the values that are set, in the order of the document form. after carries the counts of entries in
// lists that merge by appending from config to config, the one that was merged last first; it may be nil.
func Leaves(c *Config, after map[string]int) []Leaf {
	w := leafWalk{after: after}
	w.object(reflect.ValueOf(c).Elem(), describeConfig(), Leaf{Path: path.New("json"), Name: "$", ID: "$"})
	return w.list
}

func (w *leafWalk) object(v reflect.Value, o *object, at Leaf) {
	for i := range o.fields {
		f := &o.fields[i]
		here := Leaf{Path: below(at.Path, f.name), Name: at.Name + "." + f.name, ID: at.ID + "." + f.name, Ordered: at.Ordered}
		value := f.In(v)
		if !f.list {
			w.value(value, f, here)
			continue
		}
		here.Ordered = here.Ordered || f.appends || hasOrder(f.name)
		after := 0
		if f.appends && w.after != nil {
			after = w.after[here.ID]
			w.after[here.ID] += value.Len()
		}
		for n := range value.Len() {
			w.value(value.Index(n), f, here.entry(value, n, f.appends, after))
		}
	}
}

// entry is the place of an entry below that of its list.
func (l *Leaf) entry(list reflect.Value, n int, appends bool, after int) Leaf {
	e := Leaf{Path: below(l.Path, n), Ordered: l.Ordered}
	if appends {
		e.Name = l.Name + "." + strconv.Itoa(n)
		e.ID = l.ID + ".-" + strconv.Itoa(list.Len()-n+after)
		return e
	}
	key := "[" + keyOf(list.Index(n)) + "]"
	e.Name, e.ID = l.Name+key, l.ID+key
	return e
}

func (w *leafWalk) value(v reflect.Value, f *field, at Leaf) {
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return
		}
		v = v.Elem()
	}
	if f.elem != nil {
		w.object(v, f.elem, at)
		return
	}
	if v.IsZero() && f.typ.Kind() == reflect.Int { // a number that is absent
		return
	}
	at.value = v
	w.list = append(w.list, at)
}

// hasOrder tells of keyed lists whether the order of the entries has a meaning.
func hasOrder(name string) bool {
	switch name {
	case "merge", "partitions", "devices", "shouldExist", "openOptions":
		return true
	}
	return false
}

// Redacted is a copy of a config in which secrets are replaced, value by value.
func Redacted(c Config) (Config, error) {
	c, err := Copy(c)
	if err == nil {
		redactConfig(&c)
	}
	return c, err
}

// Copy gives a config that shares nothing with c.
func Copy(c Config) (Config, error) {
	raw, err := MarshalCache(c)
	if err != nil {
		return Config{}, err
	}
	return UnmarshalCache(raw)
}
