// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"strconv"
	"unicode/utf8"
)

// MarshalCache gives the compact one-line cache form; UnmarshalCache reads it without validation.
func MarshalCache(c Config) ([]byte, error) {
	v := reflect.ValueOf(&c).Elem()
	return appendObject(make([]byte, 0, sizeOf(v)), v, describeConfig()), nil
}

// UnmarshalCache reads what MarshalCache wrote.
func UnmarshalCache(raw []byte) (Config, error) {
	if err := checkSyntax(raw); err != nil {
		return Config{}, err
	}
	var c Config
	d := decoder{b: raw, version: Versions[len(Versions)-1], quiet: 1}
	if _, err := d.object(skipSpace(raw, 0), reflect.ValueOf(&c).Elem(), describeConfig(), nil); err != nil {
		return Config{}, err
	}
	return c, nil
}

// sizeOf estimates the size of the cache form, so that a large one is written without moving it.
func sizeOf(v reflect.Value) int {
	const perField = 24 // name, quotes, colon, comma
	switch v.Kind() {
	case reflect.String:
		return v.Len() + v.Len()/16 + perField
	case reflect.Pointer:
		if !v.IsNil() {
			return sizeOf(v.Elem())
		}
		return 0
	}
	n := perField
	switch v.Kind() {
	case reflect.Slice:
		for i := range v.Len() {
			n += sizeOf(v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			n += sizeOf(v.Field(i))
		}
	}
	return n
}

func appendObject(b []byte, v reflect.Value, o *object) []byte {
	b = append(b, '{')
	first := true
	for i := range o.fields {
		f := &o.fields[i]
		fv := v.FieldByIndex(f.index)
		if absent(fv, f) {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(appendString(b, f.name), ':')
		b = appendValue(b, fv, f)
	}
	return append(b, '}')
}

// absent tells what the cache form leaves out. Objects are always there.
func absent(v reflect.Value, f *field) bool {
	switch v.Kind() {
	case reflect.Struct:
		return false
	case reflect.Slice:
		return v.Len() == 0
	}
	return !f.required && v.IsZero()
}

func appendValue(b []byte, v reflect.Value, f *field) []byte {
	switch v.Kind() {
	case reflect.Pointer:
		return appendValue(b, v.Elem(), f)
	case reflect.Struct:
		return appendObject(b, v, f.elem)
	case reflect.String:
		return appendString(b, v.String())
	case reflect.Int:
		return strconv.AppendInt(b, v.Int(), 10)
	case reflect.Bool:
		return strconv.AppendBool(b, v.Bool())
	case reflect.Slice:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, v.Index(i), f)
		}
		return append(b, ']')
	}
	panic("config: field type without an encoder: " + v.Type().String())
}

func appendString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		ch := s[i]
		if ch >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 {
				b = append(append(b, s[from:i]...), "\ufffd"...)
				from = i + 1
			}
			i += size
			continue
		}
		i++
		switch {
		case ch == '"' || ch == '\\':
			b = append(append(b, s[from:i-1]...), '\\', ch)
		case ch == '\n':
			b = append(append(b, s[from:i-1]...), '\\', 'n')
		case ch < ' ':
			b = append(append(b, s[from:i-1]...), '\\', 'u', '0', '0', hex[ch>>4], hex[ch&15])
		default:
			continue
		}
		from = i
	}
	return append(append(b, s[from:]...), '"')
}
