// SPDX-License-Identifier: Apache-2.0

// Package resource turns a URL into bytes or into a file: schemes, retry,
// time-outs, TLS, proxies, decompression, verification, and downloads that run
// ahead of their operation. It does not know what the bytes are for. Randomness
// for TLS is that of Go's crypto/rand, in FIPS mode too: it asks getrandom(2),
// and since Linux 5.4 the kernel gathers enough for it by itself within about a
// second, so that early boot is not held up and no weaker source is needed.
package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"firstboot.dev/ignition/internal/config"
)

// Errors that callers tell apart, with errors.Is.
var (
	ErrNeedNet     = errors.New("resource requires networking")
	ErrNotFound    = errors.New("resource not found")
	ErrFailed      = errors.New("failed to fetch resource")
	ErrTimeout     = errors.New("unable to fetch resource in time")
	ErrScheme      = errors.New("unsupported source scheme")
	ErrCompression = errors.New("compression is not supported with that scheme")
	ErrPath        = errors.New("path is not absolute")
	ErrVerify      = errors.New("hash verification failed")
)

var (
	errURL    = errors.New("unable to parse url") // not why: the parser's error quotes what may be a password
	errHeader = errors.New("unable to parse HTTP header")
)

// StatusError is an HTTP status that ended a fetch. It wraps ErrNotFound or ErrFailed.
type StatusError struct {
	Code   int
	err    error
	header http.Header
	body   []byte // its beginning, where a scheme wants to know
}

func (e *StatusError) Error() string { return e.err.Error() }
func (e *StatusError) Unwrap() error { return e.err }

// timeoutError is ErrTimeout with what the last try met.
type timeoutError struct{ last error }

func (e *timeoutError) Error() string   { return ErrTimeout.Error() }
func (e *timeoutError) Unwrap() []error { return []error{ErrTimeout, e.last} }

// Reason is the text of an error, and of a time-out also what the last try met.
func Reason(err error) string {
	var e *timeoutError
	if errors.As(err, &e) && e.last != nil {
		return err.Error() + ": " + e.last.Error()
	}
	return err.Error()
}

// Log is what a fetch says; *oplog.Logger is one.
type Log interface {
	Debug(format string, args ...any)
	Info(format string, args ...any)
	Warning(format string, args ...any)
	Err(format string, args ...any)
}

// defaultLimit is how much Bytes takes into memory.
const defaultLimit = 256 << 20

// Request is one fetch.
type Request struct {
	URL         string
	Method      string      // "" = GET
	Headers     http.Header // replace defaults of the same name
	Compression string
	Hash        string // "sha512-<hex>"; "" = not verified
	RetryStatus []int  // retried besides 5xx
	Limit       int64  // bytes that Bytes accepts, 0 = 256 MiB
	Body        []byte // sent with the request, not after a redirect
	LowPort     bool   // connect from a local port below 1024, another for each attempt
	long        func() // called once, when the download turns out to be a long one
}

// RequestFor turns a config's resource into a request; a nil source gives URL "".
func RequestFor(r config.Resource) (Request, error) {
	var req Request
	if r.Source != nil {
		req.URL = *r.Source
	}
	if r.Compression != nil {
		req.Compression = *r.Compression
	}
	if r.Verification.Hash != nil {
		req.Hash = *r.Verification.Hash
	}
	for _, h := range r.HTTPHeaders {
		switch {
		case h.Name == "":
			return Request{}, errors.New("HTTP header name can't be empty")
		case h.Value == nil || *h.Value == "":
			return Request{}, errHeader
		}
		if req.Headers == nil {
			req.Headers = http.Header{}
		}
		req.Headers.Set(h.Name, *h.Value)
	}
	return req, nil
}

// Info is what is known after a fetch.
type Info struct {
	Bytes  int64  // after decompression
	Raw    int64  // as they came
	SHA512 []byte // always filled by Bytes
}

// Sink receives a body. Reset throws away what was written; a retry begins with it.
type Sink interface {
	io.Writer
	Reset() error
}

// scheme is one way to get bytes. A new scheme is one file and one line of the table.
type scheme struct {
	local bool // needs no network
	fetch func(ctx context.Context, f *Fetcher, log Log, r Request, out *pipeline) error
}

// schemeNamed is the table of what can be fetched. It is a function because a
// scheme may itself fetch something first, such as a token.
func schemeNamed(name string) (s scheme, known bool) {
	switch name {
	case "":
		return scheme{local: true, fetch: fetchNothing}, true
	case "data":
		return scheme{local: true, fetch: fetchData}, true
	case "oem":
		return scheme{local: true, fetch: fetchOEM}, true
	case "http", "https":
		return scheme{fetch: fetchHTTP}, true
	case "s3", "arn":
		return scheme{fetch: fetchS3}, true
	case "tftp":
		return scheme{fetch: fetchTFTP}, true
	case "oci":
		return scheme{fetch: fetchOCI}, true
	case "gs":
		return scheme{fetch: fetchGS}, true
	}
	return scheme{}, false
}

// schemeOf gives the lower-cased scheme of a URL without parsing the rest,
// which may be megabytes of inline data.
func schemeOf(raw string) (string, error) {
	if i := strings.IndexByte(raw, ':'); i > 0 && strings.EqualFold(raw[:i], "data") {
		return "data", nil
	}
	if raw == "" {
		return "", nil
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", errURL
	}
	if u.Scheme == "" {
		return "", fmt.Errorf("%w: the URL has none", ErrScheme)
	}
	return u.Scheme, nil
}

// Networked tells whether a URL needs the network: any scheme but data, oem and none.
func Networked(rawURL string) bool {
	name, err := schemeOf(rawURL)
	if err != nil {
		return false
	}
	s, _ := schemeNamed(name)
	return !s.local
}

func fetchNothing(context.Context, *Fetcher, Log, Request, *pipeline) error { return nil }

func fetchData(_ context.Context, _ *Fetcher, _ Log, r Request, out *pipeline) error {
	body, err := config.DataURLReader(r.URL)
	if err != nil {
		return err
	}
	return out.pull(body)
}
