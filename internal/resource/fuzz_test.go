// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"testing"
)

// FuzzCerts reads bundles from a server: whoever names a certificate gets it
// trusted or gets an error, never silence.
func FuzzCerts(f *testing.F) {
	block := "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n"
	for _, seed := range []string{"", "\n", "text", block, "text\n" + block, block[:40], block + "-----BEGIN X-----\n", "-----BEGIN -----\n-----END -----"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		pool := x509.NewCertPool()
		err := addCerts(silent{}, pool, raw)
		empty := pool.Equal(x509.NewCertPool())
		if err == nil && empty && len(bytes.TrimSpace(raw)) > 0 {
			t.Errorf("no certificate and no error from %q", raw)
		}
	})
}

// FuzzContentRange reads the header by which a server says where it goes on.
func FuzzContentRange(f *testing.F) {
	for _, seed := range []string{"", "bytes 1-2/3", "bytes 1-2/*", "bytes */3", "bytes -1-2/3", "bytes 1-2/-3", "octets 1-2/3"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, length, ok := contentRange(s)
		if ok && (first < 0 || length < -1) {
			t.Errorf("%q gives %d of %d", s, first, length)
		}
	})
}

// FuzzGzip gives a body to the decompressor in two ways, local and from the
// network in pieces. Both must come to the same end.
func FuzzGzip(f *testing.F) {
	whole := zipped(f, "hello world")
	for _, seed := range []string{"", whole, whole + whole, whole[:12], whole + "x", "text"} {
		f.Add([]byte(seed), 3)
	}
	f.Fuzz(func(t *testing.T, raw []byte, size int) {
		size = max(1, min(size, 1<<16))
		// Local bodies are read as they come, those of the network are fed in pieces.
		run := func(take func(p *pipeline) error) (string, error) {
			to := &sink{room: 1 << 20}
			p, err := newPipeline(Request{Compression: "gzip", Hash: sha256Of("hello world")}, to)
			if err != nil {
				t.Fatal(err)
			}
			defer p.abort()
			if err = take(p); err == nil {
				_, err = p.finish(silent{})
			}
			return to.String(), err
		}
		local, localErr := run(func(p *pipeline) error { return p.pull(bytes.NewReader(raw)) })
		fed, fedErr := run(func(p *pipeline) error {
			for rest := raw; len(rest) > 0; {
				n := min(size, len(rest))
				if err := p.copy(bytes.NewReader(rest[:n])); err != nil {
					return err
				}
				rest = rest[n:]
			}
			return nil
		})
		if local != fed || fmt.Sprint(localErr) != fmt.Sprint(fedErr) {
			t.Errorf("local %q, %v; in pieces %q, %v", local, localErr, fed, fedErr)
		}
		if local != "hello world" && localErr == nil || errors.Is(localErr, io.EOF) {
			t.Errorf("%q, %v", local, localErr)
		}
	})
}
