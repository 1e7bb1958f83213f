// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// scalar completes a node with its text.
func scalar(n *Node, text string) *Node {
	n.Value = text
	n.weight += len(text) / textUnit
	return n
}

// plain reads a text without quotes, which may go on over lines that are indented more than indent.
func (p *parser) plain(indent int, inBrackets bool) *Node {
	n := p.node(Scalar, p.pos)
	n.Plain = true
	if p.indicator('-') || p.indicator('?') {
		p.fail(p.pos, "a text that is, or starts with, %q needs quotes", rune(p.peek()))
	}
	var text []byte
	for {
		start := p.pos
		for p.pos < len(p.src) && !p.plainEnds(start, inBrackets) {
			p.pos++
		}
		line := bytes.TrimRight(p.src[start:p.pos], " \t")
		text = append(text, line...)
		stopped := p.pos
		p.pos = start + len(line)
		if stopped < len(p.src) && p.src[stopped] != '\n' {
			break
		}
		end := p.pos
		breaks, ok := p.continues(indent, inBrackets)
		if !ok {
			if p.err == nil {
				p.pos = end
			}
			break
		}
		text = fold(text, breaks)
	}
	return scalar(n, string(text))
}

func (p *parser) plainEnds(start int, inBrackets bool) bool {
	switch c := p.peek(); {
	case c == '\n':
		return true
	case c == ':':
		return isBlank(p.peekAt(1)) || inBrackets && isFlowIndicator(p.peekAt(1))
	case c == '#':
		return p.pos > start && isBlank(p.src[p.pos-1])
	case isFlowIndicator(c):
		return inBrackets
	}
	return false
}

// continues moves to the next line of a plain text and counts the breaks before it.
func (p *parser) continues(indent int, inBrackets bool) (breaks int, ok bool) {
	for ; ; p.pos++ {
		for p.peek() == ' ' {
			p.pos++
		}
		column := p.column()
		tab := p.blanks()
		if p.peek() == '\n' {
			breaks++
			continue
		}
		if breaks == 0 || p.atEnd() || p.peek() == '#' || inBrackets && (isFlowIndicator(p.peek()) || p.plainEnds(p.pos, true)) {
			return 0, false
		}
		if inBrackets {
			return breaks, true
		}
		if column <= indent {
			if tab >= 0 {
				p.fail(tab, "found a tab where the line is indented; YAML is indented with spaces")
			}
			return 0, false
		}
		return breaks, true
	}
}

// fold joins lines: one break is a space, more are one less.
func fold(text []byte, breaks int) []byte {
	if breaks == 1 {
		return append(text, ' ')
	}
	return append(text, bytes.Repeat([]byte{'\n'}, breaks-1)...)
}

// quotedBreak folds a line break inside of quotes. keep is how much of the text must stay: escaped blanks do.
func (p *parser) quotedBreak(text []byte, keep int) []byte {
	for len(text) > keep && isBlank(text[len(text)-1]) {
		text = text[:len(text)-1]
	}
	breaks := 0
	for p.peek() == '\n' {
		breaks++
		p.pos++
		if p.atMarker() {
			p.fail(p.pos, "found the end of the document inside of quotes")
		}
		p.blanks()
	}
	return fold(text, breaks)
}

func (p *parser) singleQuoted() *Node {
	start := p.pos
	n := p.node(Scalar, start)
	var text []byte
	keep := 0
	for p.pos++; ; {
		switch c := p.peek(); {
		case p.pos >= len(p.src):
			p.fail(start, "the quote that opens here is never closed")
			return n
		case c == '\'' && p.peekAt(1) == '\'':
			text = append(text, c)
			p.pos += 2
		case c == '\'':
			p.pos++
			return scalar(n, string(text))
		case c == '\n':
			text = p.quotedBreak(text, keep)
			keep = len(text)
		default:
			text = append(text, c)
			p.pos++
		}
	}
}

func (p *parser) doubleQuoted() *Node {
	start := p.pos
	n := p.node(Scalar, start)
	var text []byte
	keep := 0
	for p.pos++; ; {
		switch c := p.peek(); {
		case p.pos >= len(p.src):
			p.fail(start, "the quote that opens here is never closed")
			return n
		case c == '"':
			p.pos++
			return scalar(n, string(text))
		case c == '\\' && p.peekAt(1) == '\n':
			p.pos += 2
			for p.blanks(); p.peek() == '\n'; p.blanks() {
				text = append(text, '\n')
				p.pos++
			}
			keep = len(text)
		case c == '\\':
			text = p.escape(text)
			keep = len(text)
		case c == '\n':
			text = p.quotedBreak(text, keep)
			keep = len(text)
		default:
			text = append(text, c)
			p.pos++
		}
	}
}

func (p *parser) escape(text []byte) []byte {
	const from, to = "0abtnvfre \"'/\\\t", "\x00\a\b\t\n\v\f\r\x1b \"'/\\\t"
	start, c := p.pos, p.peekAt(1)
	p.pos += 2
	switch c {
	case 'N':
		return append(text, "\u0085"...)
	case '_':
		return append(text, "\u00a0"...)
	case 'L':
		return append(text, "\u2028"...)
	case 'P':
		return append(text, "\u2029"...)
	case 'x':
		return utf8.AppendRune(text, p.hex(start, 2))
	case 'U':
		return utf8.AppendRune(text, p.hex(start, 8))
	case 'u':
		r := p.hex(start, 4)
		if utf16.IsSurrogate(r) && p.peek() == '\\' && p.peekAt(1) == 'u' {
			p.pos += 2
			r = utf16.DecodeRune(r, p.hex(start, 4))
		}
		if utf16.IsSurrogate(r) {
			p.fail(start, "half of a surrogate pair is no character")
		}
		return utf8.AppendRune(text, r)
	}
	if i := strings.IndexByte(from, c); i >= 0 {
		return append(text, to[i])
	}
	p.fail(start, "unknown escape sequence; a backslash in double quotes is written twice")
	return text
}

func (p *parser) hex(start, digits int) rune {
	if p.pos+digits <= len(p.src) {
		if n, err := strconv.ParseUint(string(p.src[p.pos:p.pos+digits]), 16, 32); err == nil && n <= utf8.MaxRune {
			p.pos += digits
			return rune(n)
		}
	}
	p.fail(start, "the escape sequence needs %d hexadecimal digits of a character", digits)
	return 0
}

// blockScalar reads a text after | or >.
func (p *parser) blockScalar(indent int) *Node {
	n := p.node(Scalar, p.pos)
	folded := p.peek() == '>'
	chomp, column := p.blockHeader(indent)
	if column == 0 {
		column = p.blockIndent(indent)
	}
	var text []byte
	breaks, first, wasSpaced := 0, true, false
	for p.pos < len(p.src) {
		spaces := 0
		for spaces < column && p.peekAt(spaces) == ' ' {
			spaces++
		}
		if p.peekAt(spaces) == '\n' {
			p.pos += spaces + 1
			breaks++
			continue
		}
		if spaces < column || p.pos+spaces == len(p.src) || column == 0 && p.atMarker() {
			if p.peekAt(spaces) == '\t' {
				p.fail(p.pos+spaces, "found a tab where the line is indented; YAML is indented with spaces")
			}
			break
		}
		p.pos += spaces
		spaced := p.peek() == ' ' || p.peek() == '\t'
		if folded && !first && !spaced && !wasSpaced {
			text = fold(text, breaks)
		} else {
			text = append(text, bytes.Repeat([]byte{'\n'}, breaks)...)
		}
		start := p.pos
		p.endLine()
		text = append(text, p.src[start:p.pos]...)
		breaks, first, wasSpaced = 0, false, spaced
		if p.pos < len(p.src) {
			p.pos++
			breaks = 1
		}
	}
	switch {
	case chomp == '+':
		text = append(text, bytes.Repeat([]byte{'\n'}, breaks)...)
	case chomp == 0 && breaks > 0 && !first:
		text = append(text, '\n')
	}
	return scalar(n, string(text))
}

// blockHeader reads what follows | or > on its line: how the end is kept, and the column if it is told.
func (p *parser) blockHeader(indent int) (chomp byte, column int) {
	for p.pos++; ; p.pos++ {
		switch c := p.peek(); {
		case (c == '+' || c == '-') && chomp == 0:
			chomp = c
			continue
		case c >= '1' && c <= '9' && column == 0:
			column = max(indent, 0) + int(c-'0')
			continue
		}
		break
	}
	if p.blanks(); p.peek() == '#' {
		p.endLine()
	}
	if p.pos < len(p.src) && p.peek() != '\n' {
		p.fail(p.pos, "the text after | or > starts on the next line")
	}
	if p.pos < len(p.src) {
		p.pos++
	}
	return chomp, column
}

// blockIndent finds the column of a block scalar by its first line that is not empty.
func (p *parser) blockIndent(indent int) int {
	longest := 0
	for i := p.pos; i < len(p.src); {
		spaces := 0
		for i+spaces < len(p.src) && p.src[i+spaces] == ' ' {
			spaces++
		}
		if i+spaces < len(p.src) && p.src[i+spaces] == '\n' {
			longest = max(longest, spaces)
			i += spaces + 1
			continue
		}
		if i+spaces < len(p.src) && spaces > indent && longest > spaces {
			p.fail(i+spaces, "an empty line above this one is indented more than the text")
		}
		if spaces > indent {
			return max(spaces, 1)
		}
		break // no text at all
	}
	return max(longest, indent+1, 1)
}
