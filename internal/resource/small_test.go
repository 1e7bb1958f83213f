// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"testing"
)

// inlineURL is what tools make of a short file: compressed, then base64.
func inlineURL(content string) string {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	return "data:;base64," + base64.StdEncoding.EncodeToString(z.Bytes())
}

// BenchmarkSmall has the short inline files of which a config may hold thousands.
func BenchmarkSmall(b *testing.B) {
	sum := fmt.Sprintf("sha512-%x", sha512.Sum512([]byte("hello world")))
	for _, c := range []struct {
		name string
		r    Request
	}{
		{"plain", Request{URL: "data:,hello%20world"}},
		{"hash", Request{URL: "data:,hello%20world", Hash: sum}},
		{"gzip and hash", Request{URL: inlineURL("hello world"), Compression: "gzip", Hash: sum}},
	} {
		b.Run(c.name, func(b *testing.B) {
			f, d := New(Options{}), &discard{}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.To(b.Context(), silent{}, c.r, d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type silent struct{}

func (silent) Debug(string, ...any)   {}
func (silent) Info(string, ...any)    {}
func (silent) Warning(string, ...any) {}
func (silent) Err(string, ...any)     {}
