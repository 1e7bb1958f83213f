// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bufio"
	"bytes"
	"io"
	"reflect"
	"strconv"
	"unicode/utf8"
)

// EncodeCache writes the compact one-line cache form through one small buffer, whatever the size of the config.
func EncodeCache(w io.Writer, c Config) error {
	const bufferSize = 64 << 10
	e := encoder{Writer: bufio.NewWriterSize(w, bufferSize)}
	e.object(reflect.ValueOf(&c).Elem(), describeConfig())
	return e.Flush()
}

// MarshalCache gives what EncodeCache writes; UnmarshalCache reads it without validation.
func MarshalCache(c Config) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(sizeOf(reflect.ValueOf(&c).Elem()))
	err := EncodeCache(&b, c)
	return b.Bytes(), err
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

// encoder keeps the first error of the writer until Flush, so its methods return none. It writes the cache form,
// or with document the form of a document.
type encoder struct {
	*bufio.Writer
	document *document
}

func (e encoder) object(v reflect.Value, o *object) {
	e.WriteByte('{')
	first := true
	for i := range o.fields {
		f := &o.fields[i]
		fv := v.FieldByIndex(f.index)
		if e.document != nil && e.document.omits(fv, f) || e.document == nil && absent(fv, f) {
			continue
		}
		if !first {
			e.WriteByte(',')
		}
		first = false
		e.text(f.name)
		e.WriteByte(':')
		e.below(f.name, -1, fv, f)
	}
	e.WriteByte('}')
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

// below writes a value below the current one: that of a key, or one of a list. A document needs its path.
func (e encoder) below(key string, index int, v reflect.Value, f *field) {
	if d := e.document; d != nil {
		defer d.leave()
		if index < 0 {
			d.at = append(d.at, key)
		} else {
			d.at = append(d.at, index)
		}
	}
	e.value(v, f)
}

func (e encoder) value(v reflect.Value, f *field) {
	switch v.Kind() {
	case reflect.Pointer:
		e.value(v.Elem(), f)
	case reflect.Struct:
		e.object(v, f.elem)
	case reflect.String:
		e.text(v.String())
	case reflect.Int:
		e.Write(strconv.AppendInt(e.AvailableBuffer(), v.Int(), 10))
	case reflect.Bool:
		e.Write(strconv.AppendBool(e.AvailableBuffer(), v.Bool()))
	case reflect.Slice:
		e.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				e.WriteByte(',')
			}
			e.below("", i, v.Index(i), f)
		}
		e.WriteByte(']')
	default:
		panic("config: field type without an encoder: " + v.Type().String())
	}
}

func (e encoder) text(s string) {
	const hex = "0123456789abcdef"
	e.WriteByte('"')
	for {
		n := plainText(s)
		e.WriteString(s[:n])
		if s = s[n:]; s == "" {
			break
		}
		switch ch := s[0]; {
		case ch >= utf8.RuneSelf:
			e.WriteString("\ufffd") // of a byte that is no UTF-8
		case ch == '"' || ch == '\\':
			e.Write([]byte{'\\', ch})
		case ch == '\n':
			e.WriteString(`\n`)
		case ch == '\r' && e.document != nil:
			e.WriteString(`\r`)
		case ch == '\t' && e.document != nil:
			e.WriteString(`\t`)
		default:
			e.Write([]byte{'\\', 'u', '0', '0', hex[ch>>4], hex[ch&15]})
		}
		s = s[1:]
	}
	e.WriteByte('"')
}

// plainText counts the bytes that stand in JSON as they are.
func plainText(s string) int {
	i := 0
	for i < len(s) {
		i += plainASCII(s[i:])
		if i == len(s) || s[i] < utf8.RuneSelf {
			break
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		i += size
	}
	return i
}

// plainASCII counts plain bytes up to the first that is not ASCII, eight at a time.
func plainASCII(s string) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; len(s)-i >= 8; i += 8 {
		b := s[i : i+8]
		w := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
			uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		quote, slash := w^each*'"', w^each*'\\'
		if (w|(w-each*' ')&^w|(quote-each)&^quote|(slash-each)&^slash)&high != 0 {
			break
		}
	}
	for i < len(s) && s[i] >= ' ' && s[i] < utf8.RuneSelf && s[i] != '"' && s[i] != '\\' {
		i++
	}
	return i
}
