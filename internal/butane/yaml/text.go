// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// utf8Text gives the text as UTF-8 with line feeds as line breaks, without byte order mark. The place of an
// error is an offset into what it returns.
func utf8Text(src []byte) (text []byte, at int, complaint string) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(src, []byte("\xef\xbb\xbf")):
		src = src[3:]
	case bytes.HasPrefix(src, []byte("\xff\xfe")):
		order = binary.LittleEndian
	case bytes.HasPrefix(src, []byte("\xfe\xff")):
		order = binary.BigEndian
	case len(src) >= 2 && (src[0] == 0) != (src[1] == 0):
		return nil, 0, "the text seems to be UTF-16 without a byte order mark; write it as UTF-8"
	}
	if order != nil {
		if len(src)%2 != 0 {
			return nil, 0, "the text starts as UTF-16 but has an odd number of bytes"
		}
		units := make([]uint16, len(src)/2-1)
		for i := range units {
			units[i] = order.Uint16(src[2+2*i:])
		}
		src = []byte(string(utf16.Decode(units)))
	}
	if bytes.IndexByte(src, '\r') >= 0 {
		src = bytes.ReplaceAll(src, []byte("\r\n"), []byte("\n"))
		src = bytes.ReplaceAll(src, []byte("\r"), []byte("\n"))
	}
	for i := 0; i < len(src); {
		if c := src[i]; c >= ' ' && c < 0x7f || c == '\n' || c == '\t' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(src[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			return src, i, fmt.Sprintf("the text is not UTF-8: byte 0x%02x", src[i])
		case r < ' ' || r == 0x7f || r > 0x7f && r < 0xa0 && r != 0x85 || r == 0xfffe || r == 0xffff:
			return src, i, fmt.Sprintf("control character U+%04X is not allowed; write it as an escape in double quotes", r)
		}
		i += size
	}
	return src, 0, ""
}

// places turns offsets into lines and columns. It is quick if they are asked for in order.
type places struct {
	src               []byte
	off, line, column int // the last place asked for, counted from 0
}

func (p *places) at(off int) (line, column int) {
	if off < p.off {
		p.off, p.line, p.column = 0, 0, 0
	}
	part := p.src[p.off:off]
	if n := bytes.Count(part, []byte{'\n'}); n > 0 {
		p.line, p.column = p.line+n, 0
		part = part[bytes.LastIndexByte(part, '\n')+1:]
	}
	p.off, p.column = off, p.column+utf8.RuneCount(part)
	return p.line + 1, p.column + 1
}
