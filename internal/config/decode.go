// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
	"github.com/coreos/vcontext/tree"
)

const nullObject = "context tree does not match content tree at %s. Line and column reporting may be inconsistent. Unused keys may not be reported"

// step is one element of the path the decoder is at: a key, or with an empty name a list index.
type step struct {
	name  string
	index int
}

// decoder reads checked text straight into the types. In the same walk it gates: keys that this version does not
// have are reported and passed over, whatever their value is.
type decoder struct {
	b       []byte
	version Version
	quiet   int // > 0 below a key in the wrong letter case: nothing is reported there
	at      []step
	entries []report.Entry
	present map[string]bool
}

func (d *decoder) push(s step) { d.at = append(d.at, s) }
func (d *decoder) pop()        { d.at = d.at[:len(d.at)-1] }

func (d *decoder) path() path.ContextPath {
	p := path.New("json")
	for _, s := range d.at {
		if s.name != "" {
			p.Path = append(p.Path, s.name)
		} else {
			p.Path = append(p.Path, s.index)
		}
	}
	return p
}

func (d *decoder) warn(off int, p path.ContextPath, msg string) {
	if d.quiet > 0 {
		return
	}
	d.entries = append(d.entries, report.Entry{Kind: report.Warn, Message: msg, Context: p,
		Marker: tree.MarkerFromIndices(int64(off), -1)})
}

// mismatch is the error of a value of the wrong type. Its place is after the token that shows the mistake.
func (d *decoder) mismatch(i int, want string) error {
	return mismatchAt(d.b, i, d.path().String(), want)
}

func mismatchAt(b []byte, i int, where, want string) error {
	found, end := "an object", i+1
	switch ch := b[i]; ch {
	case '{':
	case '[':
		found = "a list"
	default:
		end = skipValue(b, i)
		found = "a number"
		if ch == '"' {
			found = "a string"
		} else if ch == 't' || ch == 'f' {
			found = string(b[i:end])
		}
	}
	return &readError{end, fmt.Sprintf("%s must be %s, not %s", where, want, found)}
}

func (d *decoder) object(i int, v reflect.Value, o *object, narrow map[string]Version) (int, error) {
	if d.b[i] == 'n' {
		p := d.path()
		d.warn(i, p, fmt.Sprintf(nullObject, p))
		return i + len("null"), nil
	}
	if d.b[i] != '{' {
		return i, d.mismatch(i, "an object")
	}
	return eachMember(d.b, i, func(m member) (int, error) { return d.member(m, v, o, narrow) })
}

func (d *decoder) member(m member, v reflect.Value, o *object, narrow map[string]Version) (int, error) {
	key := d.b[m.key+1 : m.keyEnd-1]
	f, exact := o.lookup(key)
	if f == nil && strings.IndexByte(string(key), '\\') >= 0 {
		key = []byte(unquote(d.b[m.key:m.keyEnd]))
		f, exact = o.lookup(key)
	}
	ok := f != nil && f.known(d.version, narrow)
	if (!ok || !exact) && d.quiet == 0 {
		name := unquote(d.b[m.key:m.keyEnd])
		p := d.path()
		p.Path = append(p.Path, name)
		d.warn(m.key, p, "unused key "+name)
	}
	if !ok {
		return skipValue(d.b, m.value), nil
	}
	if !exact {
		d.quiet++
		defer func() { d.quiet-- }()
	}
	d.push(step{name: f.name})
	defer d.pop()
	if f.presence && d.b[m.value] != 'n' {
		if d.present == nil {
			d.present = map[string]bool{}
		}
		d.present[d.path().String()] = true
	}
	return d.value(m.value, v.FieldByIndex(f.index), f)
}

func (d *decoder) value(i int, v reflect.Value, f *field) (int, error) {
	switch {
	case f.elem != nil && f.list:
		return d.objects(i, v, f)
	case f.pointer && d.b[i] == 'n':
		v.SetZero()
		return i + len("null"), nil
	case f.pointer:
		v.Set(reflect.New(f.elem.typ))
		return d.object(i, v.Elem(), f.elem, f.narrow)
	case f.elem != nil:
		return d.object(i, v, f.elem, f.narrow)
	}
	switch to := v.Addr().Interface().(type) {
	case *string:
		return d.text(i, to)
	case **string:
		if d.b[i] == 'n' {
			*to = nil
			return i + len("null"), nil
		}
		*to = new(string)
		return d.text(i, *to)
	case *int:
		return d.integer(i, to)
	case **int:
		if d.b[i] == 'n' {
			*to = nil
			return i + len("null"), nil
		}
		*to = new(int)
		return d.integer(i, *to)
	case **bool:
		return d.boolean(i, to)
	case *[]string:
		return d.texts(i, to)
	}
	panic("config: field type without a decoder: " + v.Type().String())
}

func (d *decoder) objects(i int, v reflect.Value, f *field) (int, error) {
	if d.b[i] == 'n' {
		v.SetZero()
		return i + len("null"), nil
	}
	if d.b[i] != '[' {
		return i, d.mismatch(i, "a list of objects")
	}
	v.Set(reflect.MakeSlice(f.typ, 0, 0)) // of two lists under one key the last one counts
	return eachElement(d.b, i, func(n, at int) (int, error) {
		v.Grow(1)
		v.SetLen(n + 1)
		d.push(step{index: n})
		defer d.pop()
		return d.object(at, v.Index(n), f.elem, f.narrow)
	})
}

func (d *decoder) texts(i int, to *[]string) (int, error) {
	if d.b[i] == 'n' {
		*to = nil
		return i + len("null"), nil
	}
	if d.b[i] != '[' {
		return i, d.mismatch(i, "a list of strings")
	}
	*to = []string{}
	return eachElement(d.b, i, func(n, at int) (int, error) {
		d.push(step{index: n})
		defer d.pop()
		*to = append(*to, "")
		return d.text(at, &(*to)[n])
	})
}

func (d *decoder) text(i int, to *string) (int, error) {
	switch d.b[i] {
	case 'n':
		return i + len("null"), nil
	case '"':
		end := skipString(d.b, i)
		*to = unquote(d.b[i:end])
		return end, nil
	}
	return i, d.mismatch(i, "a string")
}

func (d *decoder) integer(i int, to *int) (int, error) {
	ch := d.b[i]
	if ch == 'n' {
		return i + len("null"), nil
	}
	if ch != '-' && !isDigit(ch) {
		return i, d.mismatch(i, "an integer")
	}
	end := skipValue(d.b, i)
	n, err := strconv.ParseInt(string(d.b[i:end]), 10, strconv.IntSize)
	if err != nil {
		return i, &readError{end, fmt.Sprintf("%s must be an integer in 64-bit range without fraction or exponent, not %s",
			d.path(), shorten(string(d.b[i:end])))}
	}
	*to = int(n)
	return end, nil
}

func (d *decoder) boolean(i int, to **bool) (int, error) {
	switch d.b[i] {
	case 'n':
		*to = nil
	case 't', 'f':
		is := d.b[i] == 't'
		*to = &is
	default:
		return i, d.mismatch(i, "true or false")
	}
	return skipValue(d.b, i), nil
}
