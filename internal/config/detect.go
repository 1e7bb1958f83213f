// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"compress/gzip"
	"io"
)

// notForUs tells whether user data is meant for another program: a cloud-config, a script or a MIME archive of
// them, plain or compressed. Machines are often given such data, so it counts as no config at all.
func notForUs(raw []byte) bool {
	if bytes.HasPrefix(raw, []byte{0x1f, 0x8b}) {
		if head, ok := gunzipHead(raw); ok {
			return foreign(head)
		}
	}
	return foreign(raw)
}

// gunzipHead gives the first bytes of a stream that decompresses completely.
func gunzipHead(raw []byte) ([]byte, bool) {
	const headSize, sizeLimit = 64 << 10, 1 << 30
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, false
	}
	head, err := io.ReadAll(io.LimitReader(z, headSize))
	if err != nil {
		return nil, false
	}
	if n, err := io.CopyN(io.Discard, z, sizeLimit); err != io.EOF || n == sizeLimit {
		return nil, false
	}
	return head, true
}

func foreign(data []byte) bool {
	if len(data) > 0 && data[0] == '{' {
		return false // JSON may be one line of many megabytes
	}
	first, _, _ := bytes.Cut(data, []byte("\n"))
	if bytes.HasPrefix(first, []byte("#!")) || string(bytes.TrimRight(first, " \t\r\v\f")) == "#cloud-config" {
		return true
	}
	return multipart(data)
}

// multipart reads "Key: value" lines up to the blank line that must follow them.
func multipart(data []byte) bool {
	found, inType := false, false
	for {
		line, rest, ended := bytes.Cut(data, []byte("\n"))
		if !ended {
			return false
		}
		line = bytes.TrimRight(line, "\r")
		if len(line) == 0 {
			return found
		}
		value := line
		if line[0] != ' ' && line[0] != '\t' { // else it continues the line before it
			key, after, ok := bytes.Cut(line, []byte(":"))
			if !ok || len(key) == 0 || bytes.ContainsAny(key, " \t\"{") {
				return false
			}
			value, inType = after, bytes.EqualFold(key, []byte("Content-Type"))
		}
		found = found || inType && bytes.Contains(value, []byte("multipart/mixed"))
		data = rest
	}
}
