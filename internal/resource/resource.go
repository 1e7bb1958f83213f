// SPDX-License-Identifier: Apache-2.0

// Package resource turns a URL into bytes or into a file: schemes, retry,
// time-outs, TLS, proxies, decompression, verification, and downloads that run
// ahead of their operation. It does not know what the bytes are for.
package resource

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
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

// Log is what a fetch says; *oplog.Logger is one.
type Log interface {
	Debug(format string, args ...any)
	Info(format string, args ...any)
	Warning(format string, args ...any)
	Err(format string, args ...any)
}

// Options of a process's fetchers.
type Options struct {
	Version  string // raw version for User-Agent
	Stable   string // newest stable spec version for Accept
	OEMDir   string // root of oem:// URLs
	FIPSPath string // /proc/sys/crypto/fips_enabled
}

// Fetcher fetches with one fixed set of settings (time-outs, proxy, trusted CAs, offline or not).
// It is safe for concurrent use. Derived ones share connections and fetched CAs.
type Fetcher struct{}

// New returns a fetcher with default settings (headers 10 s, no total limit, no proxy, system CAs).
func New(o Options) *Fetcher { panic("stub") }

// Offline returns a fetcher that answers ErrNeedNet for every network scheme, without any I/O.
func (f *Fetcher) Offline() *Fetcher { panic("stub") }
func (f *Fetcher) IsOffline() bool   { panic("stub") }

// WithTimeouts returns a fetcher with default settings but these limits; 0 = none.
func (f *Fetcher) WithTimeouts(headers, total time.Duration) *Fetcher { panic("stub") }

// Using returns a fetcher with the settings of a config: time-outs, proxy, CAs. CAs are fetched with the
// pool in force in f and the new time-outs and proxy, once per process for one and the same resource.
func (f *Fetcher) Using(ctx context.Context, log Log, ign config.Ignition) (*Fetcher, error) {
	panic("stub")
}

// CABytes gives the decompressed bytes of a CA entry that Using has fetched (or fetches them).
func (f *Fetcher) CABytes(ctx context.Context, log Log, ca config.Resource) ([]byte, error) {
	panic("stub")
}

// Request is one fetch.
type Request struct {
	URL         string
	Method      string      // "" = GET
	Headers     http.Header // replace defaults of the same name
	Compression string
	Hash        string // "sha512-<hex>"; "" = not verified
	RetryStatus []int  // retried besides 5xx
	Limit       int64  // bytes that Bytes accepts, 0 = 256 MiB
}

// RequestFor turns a config's resource into a request; a nil source gives URL "".
func RequestFor(r config.Resource) (Request, error) { panic("stub") }

// Networked tells whether a URL needs the network: any scheme but data, oem and none.
func Networked(rawURL string) bool { panic("stub") }

// Info is what is known after a fetch.
type Info struct {
	Bytes  int64  // after decompression
	SHA512 []byte // filled by Bytes only
}

// Sink receives a body. Reset throws away what was written; a retry begins with it.
type Sink interface {
	io.Writer
	Reset() error
}

// Bytes fetches to memory, To streams to dst: decompressed and hashed on the way. "" as URL gives zero bytes.
func (f *Fetcher) Bytes(ctx context.Context, log Log, r Request) ([]byte, Info, error) { panic("stub") }
func (f *Fetcher) To(ctx context.Context, log Log, r Request, dst Sink) (Info, error)  { panic("stub") }

// Ahead runs downloads ahead of the operations that need them.
type Ahead struct{}

// Ahead returns a queue that runs at most limit downloads at a time, begun in the order of Add.
// act is called at start and gives the activity entry for the op record.
func (f *Fetcher) Ahead(ctx context.Context, l *oplog.Logger, limit int) *Ahead { panic("stub") }

// Add queues a download. open is called when it starts, in a worker, and gives the sink.
func (a *Ahead) Add(r Request, op oplog.Op, open func() (Sink, error)) *Download { panic("stub") }

// Close cancels all that is not finished and waits for the workers.
func (a *Ahead) Close() { panic("stub") }

// Download is one queued download.
type Download struct{}

// Wait writes the download's log lines so far and to come to l and returns its result.
func (d *Download) Wait(l *oplog.Logger) (Info, error) { panic("stub") }
