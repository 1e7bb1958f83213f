// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// maxDepth is the number of levels a document may nest.
const maxDepth = 10000

// readError is a syntax or type error. off is the number of bytes read when it was noticed.
type readError struct {
	off int
	msg string
}

func (e *readError) Error() string { return e.msg }

// checker tests that a text is one JSON value. All later walks rely on it and check nothing themselves.
type checker struct {
	b []byte
	i int
}

func checkSyntax(b []byte) error {
	c := checker{b: b}
	if err := c.value(0); err != nil {
		return err
	}
	c.i = skipSpace(b, c.i)
	if c.i < len(b) {
		return c.unexpected("the end of the document")
	}
	return nil
}

func (c *checker) unexpected(want string) error {
	if c.i >= len(c.b) {
		return &readError{len(c.b), "invalid JSON: expected " + want + ", but the document ends"}
	}
	return &readError{c.i + 1, fmt.Sprintf("invalid JSON: expected %s, found %q", want, rune(c.b[c.i]))}
}

func (c *checker) value(depth int) error {
	c.i = skipSpace(c.b, c.i)
	if c.i >= len(c.b) {
		return c.unexpected("a value")
	}
	switch ch := c.b[c.i]; {
	case ch == '{' || ch == '[':
		if depth >= maxDepth {
			return &readError{c.i + 1, fmt.Sprintf("invalid JSON: nested deeper than %d levels", maxDepth)}
		}
		if ch == '{' {
			return c.object(depth + 1)
		}
		return c.array(depth + 1)
	case ch == '"':
		return c.text()
	case ch == '-' || isDigit(ch):
		return c.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if c.b[c.i] == word[0] {
			return c.literal(word)
		}
	}
	return c.unexpected("a value")
}

func (c *checker) object(depth int) error {
	c.i = skipSpace(c.b, c.i+1)
	if c.i < len(c.b) && c.b[c.i] == '}' {
		c.i++
		return nil
	}
	for {
		if c.i >= len(c.b) || c.b[c.i] != '"' {
			return c.unexpected(`a key in double quotes`)
		}
		if err := c.text(); err != nil {
			return err
		}
		c.i = skipSpace(c.b, c.i)
		if c.i >= len(c.b) || c.b[c.i] != ':' {
			return c.unexpected(`":" after a key`)
		}
		c.i++
		if err := c.value(depth); err != nil {
			return err
		}
		c.i = skipSpace(c.b, c.i)
		if c.i < len(c.b) && c.b[c.i] == '}' {
			c.i++
			return nil
		}
		if c.i >= len(c.b) || c.b[c.i] != ',' {
			return c.unexpected(`"," or "}"`)
		}
		c.i = skipSpace(c.b, c.i+1)
	}
}

func (c *checker) array(depth int) error {
	c.i = skipSpace(c.b, c.i+1)
	if c.i < len(c.b) && c.b[c.i] == ']' {
		c.i++
		return nil
	}
	for {
		if err := c.value(depth); err != nil {
			return err
		}
		c.i = skipSpace(c.b, c.i)
		if c.i < len(c.b) && c.b[c.i] == ']' {
			c.i++
			return nil
		}
		if c.i >= len(c.b) || c.b[c.i] != ',' {
			return c.unexpected(`"," or "]"`)
		}
		c.i++
	}
}

// text looks for the quote, for backslashes before it, and for control characters between these. The quote is
// looked for again only behind the last one found, so that the work stays linear whatever the escapes.
func (c *checker) text() error {
	c.i++
	quote := -1
	for {
		if quote < c.i {
			n := bytes.IndexByte(c.b[c.i:], '"')
			if n < 0 {
				n = len(c.b) - c.i
			}
			quote = c.i + n
		}
		end := quote
		slash := bytes.IndexByte(c.b[c.i:quote], '\\')
		if slash >= 0 {
			end = c.i + slash
		}
		if n := indexControl(c.b[c.i:end]); n >= 0 {
			c.i += n
			return c.unexpected(`a character of a string (line breaks and tabs are written \n and \t)`)
		}
		c.i = end
		switch {
		case slash >= 0:
			if err := c.escape(); err != nil {
				return err
			}
			c.i++
		case end == len(c.b):
			return c.unexpected("the closing quote of a string")
		default:
			c.i++
			return nil
		}
	}
}

// indexControl returns the index of the first byte below the blank, or -1. It looks at eight bytes at a time.
func indexControl(b []byte) int {
	const each, high = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; len(b)-i >= 8; i += 8 {
		if w := binary.LittleEndian.Uint64(b[i:]); (w-each*' ')&^w&high != 0 {
			break
		}
	}
	for ; i < len(b); i++ {
		if b[i] < ' ' {
			return i
		}
	}
	return -1
}

// escape leaves i at the last byte of the escape sequence.
func (c *checker) escape() error {
	c.i++
	if c.i >= len(c.b) {
		return c.unexpected("an escape sequence")
	}
	if bytes.IndexByte([]byte(`"\/bfnrt`), c.b[c.i]) >= 0 {
		return nil
	}
	if c.b[c.i] != 'u' {
		return c.unexpected("an escape sequence")
	}
	for range 4 {
		c.i++
		if c.i >= len(c.b) || hexDigit(c.b[c.i]) < 0 {
			return c.unexpected(`four hex digits after \u`)
		}
	}
	return nil
}

func (c *checker) literal(word string) error {
	for k := range len(word) {
		if c.i >= len(c.b) || c.b[c.i] != word[k] {
			return c.unexpected(word)
		}
		c.i++
	}
	return nil
}

func (c *checker) number() error {
	if c.b[c.i] == '-' {
		c.i++
	}
	if c.i < len(c.b) && c.b[c.i] == '0' {
		c.i++ // no digit may follow a leading zero; the caller finds it
	} else if err := c.digits(); err != nil {
		return err
	}
	if c.i < len(c.b) && c.b[c.i] == '.' {
		c.i++
		if err := c.digits(); err != nil {
			return err
		}
	}
	if c.i < len(c.b) && (c.b[c.i] == 'e' || c.b[c.i] == 'E') {
		c.i++
		if c.i < len(c.b) && (c.b[c.i] == '+' || c.b[c.i] == '-') {
			c.i++
		}
		return c.digits()
	}
	return nil
}

func (c *checker) digits() error {
	if c.i >= len(c.b) || !isDigit(c.b[c.i]) {
		return c.unexpected("a digit")
	}
	for c.i < len(c.b) && isDigit(c.b[c.i]) {
		c.i++
	}
	return nil
}

func isDigit(ch byte) bool { return '0' <= ch && ch <= '9' }

func isSpace(ch byte) bool { return ch == ' ' || ch == '\n' || ch == '\r' || ch == '\t' }

func hexDigit(ch byte) rune {
	switch {
	case isDigit(ch):
		return rune(ch - '0')
	case 'a' <= ch && ch <= 'f':
		return rune(ch-'a') + 10
	case 'A' <= ch && ch <= 'F':
		return rune(ch-'A') + 10
	}
	return -1
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && isSpace(b[i]) {
		i++
	}
	return i
}

// The walks below read checked text only.

// skipString returns the index after the closing quote of the string that starts at i.
func skipString(b []byte, i int) int {
	for j := i + 1; ; {
		j += bytes.IndexByte(b[j:], '"')
		slashes := 0
		for b[j-1-slashes] == '\\' {
			slashes++
		}
		j++
		if slashes%2 == 0 {
			return j
		}
	}
}

// skipValue returns the index after the value that starts at i. It needs no stack, whatever the nesting.
func skipValue(b []byte, i int) int {
	switch b[i] {
	case '"':
		return skipString(b, i)
	case '{', '[':
	default:
		for i < len(b) && !isSpace(b[i]) && b[i] != ',' && b[i] != ']' && b[i] != '}' {
			i++
		}
		return i
	}
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = skipString(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		i++
		if depth == 0 {
			return i
		}
	}
}

// member is one key and value of an object: indices of the opening quotes or first bytes.
type member struct{ key, keyEnd, value int }

// eachMember calls f for the members of the object that starts at i. f returns the index after the value.
func eachMember(b []byte, i int, f func(m member) (int, error)) (int, error) {
	i = skipSpace(b, i+1)
	for b[i] != '}' {
		m := member{key: i, keyEnd: skipString(b, i)}
		m.value = skipSpace(b, skipSpace(b, m.keyEnd)+1) // the 1 is the colon
		end, err := f(m)
		if err != nil {
			return end, err
		}
		i = skipSpace(b, end)
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
	return i + 1, nil
}

// eachElement is eachMember for lists. f gets the element's number and index.
func eachElement(b []byte, i int, f func(n, at int) (int, error)) (int, error) {
	i = skipSpace(b, i+1)
	for n := 0; b[i] != ']'; n++ {
		end, err := f(n, i)
		if err != nil {
			return end, err
		}
		i = skipSpace(b, end)
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
	return i + 1, nil
}
