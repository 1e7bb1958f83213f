// SPDX-License-Identifier: Apache-2.0

package config

import "reflect"

// Merge lays child over parent. Neither is changed; entries that only one of them has are shared with it.
func Merge(parent, child Config) Config {
	var out Config
	mergeObject(reflect.ValueOf(&out).Elem(), reflect.ValueOf(&parent).Elem(), reflect.ValueOf(&child).Elem(), describeConfig())
	out.Ignition.Version = MaxVersion()
	return out
}

func mergeObject(to, parent, child reflect.Value, o *object) {
	spaces := map[string][]*field{}
	for i := range o.fields {
		if f := &o.fields[i]; f.space != "" {
			spaces[f.space] = append(spaces[f.space], f)
		}
	}
	for i := range o.fields {
		f := &o.fields[i]
		t, p, c := to.FieldByIndex(f.index), parent.FieldByIndex(f.index), child.FieldByIndex(f.index)
		switch {
		case f.list && f.appends:
			t.Set(joined(p, c))
		case f.list:
			var taken map[string]bool
			for _, sibling := range spaces[f.space] {
				if sibling != f {
					taken = addKeys(taken, child.FieldByIndex(sibling.index))
				}
			}
			t.Set(mergeList(p, c, f, taken))
		case f.elem != nil:
			mergeObject(t, p, c, f.elem)
		case f.typ.Kind() == reflect.Pointer && c.IsNil():
			t.Set(p)
		default: // a value of the child, or a key, which the child always has
			t.Set(c)
		}
	}
}

// joined is parent's entries and then child's, in a list of its own. It keeps the difference of nil and empty.
func joined(parent, child reflect.Value) reflect.Value {
	if child.IsNil() && parent.IsNil() {
		return parent
	}
	out := reflect.MakeSlice(parent.Type(), 0, parent.Len()+child.Len())
	return reflect.AppendSlice(reflect.AppendSlice(out, parent), child)
}

// mergeList merges lists in which each key occurs once. taken are the keys that the child has in other lists of
// the same key space: the child moved these entries, so parent's are dropped.
func mergeList(parent, child reflect.Value, f *field, taken map[string]bool) reflect.Value {
	if child.Len() == 0 && len(taken) == 0 || parent.Len() == 0 {
		return joined(parent, child)
	}
	inChild := make(map[string]int, child.Len())
	for i := range child.Len() {
		inChild[keyOf(child.Index(i))] = i
	}
	out := reflect.MakeSlice(parent.Type(), 0, parent.Len()+child.Len())
	inParent := make(map[string]bool, parent.Len())
	for i := range parent.Len() {
		p := parent.Index(i)
		key := keyOf(p)
		inParent[key] = true
		at, both := inChild[key]
		switch {
		case both && removes(child.Index(at)):
		case both && f.elem != nil:
			out = reflect.Append(out, reflect.Zero(f.elem.typ))
			mergeObject(out.Index(out.Len()-1), p, child.Index(at), f.elem)
		case both || !taken[key]:
			out = reflect.Append(out, p)
		}
	}
	for i := range child.Len() {
		if c := child.Index(i); !inParent[keyOf(c)] {
			out = reflect.Append(out, c)
		}
	}
	return out
}

func addKeys(to map[string]bool, list reflect.Value) map[string]bool {
	for i := range list.Len() {
		if to == nil {
			to = make(map[string]bool, list.Len())
		}
		to[keyOf(list.Index(i))] = true
	}
	return to
}

// keyOf is an entry's key: its Key method, or the string itself.
func keyOf(v reflect.Value) string {
	if v.Kind() == reflect.String {
		return v.String()
	}
	return v.Addr().Interface().(keyed).Key()
}

func removes(v reflect.Value) bool {
	if v.Kind() == reflect.String {
		return false
	}
	r, ok := v.Addr().Interface().(removable)
	return ok && r.removes()
}
