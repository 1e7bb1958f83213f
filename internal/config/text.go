// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// unquote gives the content of the checked string literal q, quotes included. Nearly all strings of a config
// hold no escape: these are copied once and not looked at byte by byte.
func unquote(q []byte) string {
	q = q[1 : len(q)-1]
	if bytes.IndexByte(q, '\\') < 0 && utf8.Valid(q) {
		return string(q)
	}
	var s strings.Builder
	s.Grow(len(q))
	for len(q) > 0 {
		switch n := plainPrefix(q); {
		case n > 0:
			s.Write(q[:n])
			q = q[n:]
		case q[0] == '\\':
			q = unescape(&s, q)
		default:
			r, size := utf8.DecodeRune(q)
			s.WriteRune(r) // U+FFFD for a byte that is no UTF-8
			q = q[size:]
		}
	}
	return s.String()
}

// plainPrefix counts the bytes that are copied as they are.
func plainPrefix(q []byte) int {
	for i, ch := range q {
		if ch == '\\' || ch >= utf8.RuneSelf {
			return i
		}
	}
	return len(q)
}

func unescape(s *strings.Builder, q []byte) []byte {
	if q[1] != 'u' {
		s.WriteByte(escaped(q[1]))
		return q[2:]
	}
	r := hex4(q[2:])
	q = q[6:]
	if !utf16.IsSurrogate(r) {
		s.WriteRune(r)
		return q
	}
	if len(q) >= 6 && q[0] == '\\' && q[1] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(q[2:])); pair != utf8.RuneError {
			s.WriteRune(pair)
			return q[6:]
		}
	}
	s.WriteRune(utf8.RuneError) // half a pair
	return q
}

func escaped(ch byte) byte {
	switch ch {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return ch // quote, slash, backslash
}

func hex4(q []byte) (r rune) {
	for _, ch := range q[:4] {
		r = r<<4 | hexDigit(ch)
	}
	return r
}
