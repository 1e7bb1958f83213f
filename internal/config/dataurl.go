// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A data URL's payload may be many megabytes. It is checked in place, byte by byte against a table, and
// decoded by a reader, so that neither copies it.

var (
	errDataPrefix        = errors.New("missing data prefix")
	errDataAfterPrefix   = errors.New("invalid character after data prefix")
	errDataNoComma       = errors.New("missing comma before data")
	errDataNoSlash       = errors.New("missing media type slash")
	errDataType          = errors.New("invalid media type")
	errDataTypeChar      = errors.New("invalid character for media type")
	errDataSubtypeChar   = errors.New("invalid character for media subtype")
	errDataSubtypeEnd    = errors.New("incomplete media type")
	errDataParamsEnd     = errors.New("unterminated parameter sequence")
	errDataAttributeChar = errors.New("invalid character for parameter attribute")
	errDataValueChar     = errors.New("invalid character for parameter value")
	errDataQuoteOpen     = errors.New("unclosed quoted string")
	errDataAfterQuote    = errors.New("expected semicolon or comma")
	errDataChar          = errors.New("invalid data character")
	errEscapeChar        = errors.New("rfc2396: invalid char 0x25 in unescape sequence")
	errEscapeEnd         = errors.New("rfc2396: unexpected end of unescape sequence")
)

// byteSet is a set of bytes; a lookup is one load.
type byteSet [256]bool

func asciiSet(except string) *byteSet {
	var s byteSet
	for c := byte(0x21); c < 0x7f; c++ {
		s[c] = strings.IndexByte(except, c) < 0
	}
	return &s
}

// holdsAll tells whether s consists of bytes of the set. Eight look-ups per branch make it twice as fast.
func (t *byteSet) holdsAll(s string) bool {
	for len(s) >= 8 {
		if !(t[s[0]] && t[s[1]] && t[s[2]] && t[s[3]] && t[s[4]] && t[s[5]] && t[s[6]] && t[s[7]]) {
			return false
		}
		s = s[8:]
	}
	for i := 0; i < len(s); i++ {
		if !t[s[i]] {
			return false
		}
	}
	return true
}

var (
	tokenBytes   = asciiSet("()<>@,;:\\\"/[]?=")
	payloadBytes = asciiSet("<>#\"{}|\\^[]`")
	base64Bytes  = func() *byteSet {
		s := asciiSet("!\"#$%&'()*,-.:;<>?@[\\]^_`{|}~")
		s['\n'] = true
		return s
	}()
)

// DataURLReader decodes a data URL as a stream. It checks the whole of it first, so Read does not fail.
func DataURLReader(s string) (io.Reader, error) {
	payload, isBase64, err := splitDataURL(s)
	if err != nil {
		return nil, err
	}
	if err := checkPayload(payload, isBase64); err != nil {
		return nil, err
	}
	if isBase64 {
		return base64.NewDecoder(base64.StdEncoding, strings.NewReader(payload)), nil
	}
	if strings.IndexByte(payload, '%') < 0 {
		return strings.NewReader(payload), nil
	}
	return &percentReader{rest: payload}, nil
}

// checkDataURL finds every error that DataURLReader finds, and decodes nothing into memory.
func checkDataURL(s string) error {
	payload, isBase64, err := splitDataURL(s)
	if err != nil {
		return err
	}
	return checkPayload(payload, isBase64)
}

// isPlainDataURL tells of nearly every good data URL that it is one, without the generic URL parser, which is slow
// on megabytes. The texts of errors, which depend on what that parser thinks, are not its business.
func isPlainDataURL(s string) bool {
	payload, isBase64, err := splitDataURL(s)
	if err != nil {
		return false
	}
	head := s[:len(s)-len(payload)]
	if hasControl(head) || strings.IndexByte(head, '#') >= 0 || isBase64 && strings.IndexByte(payload, '\n') >= 0 {
		return false
	}
	return checkPayload(payload, isBase64) == nil
}

// splitDataURL checks everything before the payload.
func splitDataURL(s string) (payload string, isBase64 bool, err error) {
	rest, ok := strings.CutPrefix(s, "data:")
	if !ok {
		return "", false, errDataPrefix
	}
	switch {
	case rest == "":
		return "", false, errDataNoComma
	case rest[0] == ',':
		return rest[1:], false, nil
	case rest[0] == ';':
	case tokenBytes[rest[0]]:
		if rest, err = skipMediaType(rest); err != nil {
			return "", false, err
		}
	default:
		return "", false, errDataAfterPrefix
	}
	for rest[0] == ';' {
		if rest, isBase64, err = skipParameter(rest[1:]); err != nil {
			return "", false, err
		}
	}
	return rest[1:], isBase64, nil
}

// skipToken returns the length of the token that s begins with.
func skipToken(s string) int {
	n := 0
	for n < len(s) && tokenBytes[s[n]] {
		n++
	}
	return n
}

// skipMediaType returns what follows type/subtype; it begins with a semicolon or comma.
func skipMediaType(s string) (string, error) {
	n := skipToken(s)
	switch {
	case n == len(s):
		return "", errDataNoSlash
	case s[n] != '/':
		return "", errDataTypeChar
	case !knownMediaType(s[:n]):
		return "", errDataType
	}
	s = s[n+1:]
	n = skipToken(s)
	switch {
	case n == len(s):
		return "", errDataSubtypeEnd
	case s[n] != ';' && s[n] != ',':
		return "", errDataSubtypeChar
	}
	return s[n:], nil
}

func knownMediaType(t string) bool {
	for _, known := range [...]string{"text", "image", "audio", "video", "application", "message", "multipart", "x-", "X-"} {
		if strings.HasPrefix(t, known) {
			return true
		}
	}
	return false
}

// skipParameter takes what follows a semicolon and returns what follows the parameter, which begins with a
// semicolon or comma. The word base64 ends the list, so only a comma follows it.
func skipParameter(s string) (rest string, isBase64 bool, err error) {
	n := skipToken(s)
	switch {
	case n == len(s):
		return "", false, errDataParamsEnd
	case n == 0 && (s[0] == ',' || s[0] == '='):
		return "", false, errDataParamsEnd
	case s[n] == '=':
		rest, err = skipParameterValue(s[n+1:])
		return rest, false, err
	case s[n] != ',':
		return "", false, errDataAttributeChar
	case s[:n] != "base64":
		return "", false, fmt.Errorf("expected base64, got %s", s[:n])
	}
	return s[n:], true, nil
}

func skipParameterValue(s string) (string, error) {
	if strings.HasPrefix(s, `"`) {
		return skipQuoted(s[1:])
	}
	n := skipToken(s)
	switch {
	case n == len(s):
		return "", errDataParamsEnd
	case n == 0 || s[n] != ';' && s[n] != ',':
		return "", errDataValueChar
	}
	return s[n:], checkEscapes(s[:n])
}

func skipQuoted(s string) (string, error) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++ // the next byte stands for itself
		case '"':
			s = s[i+1:]
			switch {
			case s == "":
				return "", errDataParamsEnd
			case s[0] != ';' && s[0] != ',':
				return "", errDataAfterQuote
			}
			return s, nil
		}
	}
	return "", errDataQuoteOpen
}

func checkPayload(s string, isBase64 bool) error {
	allowed := payloadBytes
	if isBase64 {
		allowed = base64Bytes
	}
	if !allowed.holdsAll(s) {
		return errDataChar
	}
	if isBase64 {
		return checkBase64(s)
	}
	return checkEscapes(s)
}

// checkBase64 checks the padding of text in the right alphabet. Only text that is wrong, or broken into
// lines, costs a decoding, which knows the place of the error.
func checkBase64(s string) error {
	body := strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	if len(s)%4 == 0 && len(body)%4 != 1 && strings.IndexByte(body, '=') < 0 && strings.IndexByte(s, '\n') < 0 {
		return nil
	}
	_, err := base64.StdEncoding.DecodeString(s)
	return err
}

func checkEscapes(s string) error {
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			return nil
		}
		s = s[i+1:]
		for n := range 2 {
			if n == len(s) {
				return errEscapeEnd
			}
			if _, ok := hexValue(s[n]); !ok {
				return errEscapeChar
			}
		}
		s = s[2:]
	}
}

func hexValue(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// percentReader decodes text whose escapes were checked.
type percentReader struct{ rest string }

func (r *percentReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	n := 0
	for n < len(p) && r.rest != "" {
		if r.rest[0] == '%' {
			high, _ := hexValue(r.rest[1])
			low, _ := hexValue(r.rest[2])
			p[n] = high<<4 | low
			n++
			r.rest = r.rest[3:]
			continue
		}
		plain := r.rest[:min(len(r.rest), len(p)-n)]
		if i := strings.IndexByte(plain, '%'); i >= 0 {
			plain = plain[:i]
		}
		copied := copy(p[n:], plain)
		n += copied
		r.rest = r.rest[copied:]
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}
