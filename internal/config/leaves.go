// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"strconv"
)

// Leaf is a value of a config that is not an object or a list of objects.
type Leaf struct {
	Path string // $.storage.files.3.mode
	// Name is the path with the keys of entries for their indices, as they stay when configs are merged:
	// $.storage.files[/etc/hosts].mode.
	Name    string
	Ordered bool // it is of an entry with a key in a list whose order has a meaning
	value   reflect.Value
}

// String is the value as it stands in JSON, without quotes.
func (l *Leaf) String() string {
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

// leafWalk walks a config. after says of lists that merge by appending how many entries stand behind those of this
// config.
type leafWalk struct {
	list  []Leaf
	after map[string]int
}

// Leaves lists the values that are set, in the order of the cache form. With a map, entries of lists that merge by
// appending are counted from the end in names; of configs that are merged, the last one comes first, with one map.
func Leaves(c *Config, after map[string]int) []Leaf {
	w := leafWalk{after: after}
	w.object(reflect.ValueOf(c).Elem(), describeConfig(), Leaf{Path: "$", Name: "$"})
	return w.list
}

func (w *leafWalk) object(v reflect.Value, o *object, at Leaf) {
	for i := range o.fields {
		f := &o.fields[i]
		value := f.In(v)
		here := at
		here.Path += "." + f.name
		here.Name += "." + f.name
		if !f.list {
			w.value(value, f, here)
			continue
		}
		here.Ordered = hasOrder(f.name)
		behind := w.after[here.Name] + value.Len()
		if f.appends && w.after != nil {
			w.after[here.Name] = behind
		}
		for n := range value.Len() {
			e, entry := value.Index(n), here
			entry.Path += "." + strconv.Itoa(n)
			switch {
			case !f.appends:
				entry.Name += "[" + keyOf(e) + "]"
			case w.after == nil:
				entry.Name += "." + strconv.Itoa(n)
			default:
				entry.Name += ".-" + strconv.Itoa(behind-n)
			}
			w.value(e, f, entry)
		}
	}
}

func (w *leafWalk) value(v reflect.Value, f *field, at Leaf) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem() // the zero Value of nil
	}
	switch {
	case !v.IsValid():
	case f.elem != nil:
		w.object(v, f.elem, at)
	case f.required || f.list || f.typ.Kind() == reflect.Pointer || !v.IsZero():
		at.value = v
		w.list = append(w.list, at)
	}
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
	raw, err := MarshalCache(c)
	if err == nil {
		c, err = UnmarshalCache(raw)
	}
	if err == nil {
		redactConfig(&c)
	}
	return c, err
}
