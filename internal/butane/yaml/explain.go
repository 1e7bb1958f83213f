// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	library "firstboot.dev/ignition/third_party/yaml"
)

// Error is an error of the text. The message starts as the library's does, whose line may be one where a
// collection begins; Line and Column are where to look.
type Error struct {
	Line, Column int
	Message      string
}

func (e *Error) Error() string { return e.Message }

// Unnamed is the message without the name of an anchor: a password that starts with * or & and lacks quotes is one.
func (e *Error) Unnamed() string {
	before, rest, found := strings.Cut(e.Message, "anchor '")
	if end := strings.Index(rest, "; look at"); found && end >= 0 {
		name := strings.LastIndexByte(rest[:end], '\'')
		return before + "anchor" + rest[name+1:]
	}
	return e.Message
}

// hints say what the library's errors mostly come from. The text before the tab is the end of a message.
var hints = []string{
	"start any token\ta text that starts with @, ` or % needs quotes",
	"mapping values are not allowed in this context\ta text with \": \" in it needs quotes; and a key stands in one column with its neighbours",
	"block sequence entries are not allowed in this context\ta list may not start on this line; put its items on lines of their own",
	"could not find expected ':'\ta key needs a colon and a space behind it",
	"did not find expected key\tthis line is indented unlike its neighbours, or a text in it needs quotes",
	"did not find expected '-' indicator\tthis line is indented unlike the items of the list, or a text in it needs quotes",
	"did not find expected ',' or ']'\ta comma is missing, or the bracket is never closed",
	"did not find expected ',' or '}'\ta comma is missing, or the bracket is never closed",
	"did not find expected node content\ta value is missing here, or its text needs quotes",
	"found unexpected end of stream\tquotes that open here are never closed",
	"found unexpected document indicator\tquotes are not closed before the document ends",
	"found unknown escape character\ta backslash in double quotes is written twice",
	"did not find expected <document start>\tthe document should end here; is this line indented too little, or are quotes missing?",
	"did not find expected comment or line break\tthe text after | or > starts on the next line",
	"referenced\ta text that starts with * needs quotes",
	"control characters are not allowed\twrite it as an escape in double quotes; a text with many of them is UTF-16 without a byte order mark",
}

// explain adds to an error of the library where to look and what may be wrong. Nothing of the text gets into it.
func explain(src []byte, err error) *Error {
	text := err.Error()
	off := failsAt(src)
	e := &Error{Message: text}
	hint := ""
	for _, h := range hints {
		end, advice, _ := strings.Cut(h, "\t")
		if strings.HasSuffix(text, end) {
			hint = advice
		}
	}
	if bytes.HasPrefix(src[off:], []byte("\t")) {
		hint = "a tab; YAML is indented with spaces"
	}
	if strings.Contains(text, "UTF-8") {
		hint = "the text is not UTF-8"
		if off < len(src) {
			hint += fmt.Sprintf(": byte 0x%02x", src[off])
		}
	}
	before := src[:off]
	e.Line = bytes.Count(before, []byte("\n")) + 1
	before = bytes.TrimPrefix(before[bytes.LastIndexByte(before, '\n')+1:], []byte("\ufeff"))
	e.Column = utf8.RuneCount(before) + 1
	e.Message += fmt.Sprintf("; look at line %d col %d", e.Line, e.Column)
	if hint != "" {
		e.Message += ": " + hint
	}
	return e
}

// oneByOne hands out a text byte by byte, so that n tells how far it was read.
type oneByOne struct {
	text []byte
	n    int
}

func (o *oneByOne) Read(to []byte) (int, error) {
	if o.n == len(o.text) {
		return 0, io.EOF
	}
	to[0] = o.text[o.n]
	o.n++
	return 1, nil
}

// failure reads a text until it fails and gives the message without its line.
func failure(from io.Reader) string {
	stream := library.NewDecoder(from)
	for {
		_, err := next(stream)
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return ""
		default:
			return cause(err.Error())
		}
	}
}

// cause is a message of the library without its line.
func cause(text string) string {
	text = strings.TrimPrefix(text, "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		_, text, _ = strings.Cut(rest, ": ")
	}
	return text
}

// failsAt finds the offset of what an error is about: the first line with which the text fails in this way, and
// on it the first character with which it does.
func failsAt(src []byte) int {
	const linesBack = 64
	budget := 4 << 20 // bytes that are read again at most
	if i := unreadable(src); i >= 0 {
		return i
	}
	o := &oneByOne{text: src}
	want, end := failure(o), o.n
	fails := func(n int) bool {
		budget -= n
		return budget >= 0 && failure(bytes.NewReader(src[:n])) == want
	}
	start := bytes.LastIndexByte(src[:end], '\n') + 1
	for range linesBack {
		if start == 0 || !fails(start) {
			break
		}
		end = start
		start = bytes.LastIndexByte(src[:start-1], '\n') + 1
	}
	indent := start + len(src[start:end]) - len(bytes.TrimLeft(src[start:end], " "))
	if strings.HasPrefix(want, "did not find expected key") || strings.HasPrefix(want, "did not find expected '-'") ||
		strings.HasPrefix(want, "could not") || strings.HasSuffix(want, "end of stream") {
		return min(indent, max(end-1, 0))
	}
	low, high := start, end // text up to low is well, text up to high is not
	for high-low > 1 {
		if middle := (low + high) / 2; fails(middle) {
			high = middle
		} else {
			low = middle
		}
	}
	if strings.HasPrefix(want, "unknown anchor") {
		return max(bytes.LastIndexByte(src[:high], '*'), start)
	}
	for low > start && !utf8.RuneStart(src[low]) {
		low--
	}
	return low
}

// unreadable finds the first byte that is no text, or -1.
func unreadable(src []byte) int {
	if bytes.HasPrefix(src, []byte("\xff\xfe")) || bytes.HasPrefix(src, []byte("\xfe\xff")) {
		return -1
	}
	for i := 0; i < len(src); {
		r, size := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && size == 1 || r < ' ' && r != '\n' && r != '\r' && r != '\t' || r == 0x7f || r > 0x7f && r < 0xa0 && r != 0x85 {
			return i
		}
		i += size
	}
	return -1
}
