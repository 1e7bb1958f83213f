// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"context"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"firstboot.dev/ignition/internal/config"
	"golang.org/x/net/http/httpproxy"
)

// Defaults of a fetch; a config's timeouts replace the first two.
const (
	defaultHeaderTimeout = 10 * time.Second
	dialTimeout          = 30 * time.Second
	tlsTimeout           = 10 * time.Second
	defaultIdleTimeout   = 60 * time.Second // without a byte of the body
)

// Options of a process's fetchers.
type Options struct {
	Version  string       // raw version for User-Agent
	Stable   string       // newest stable spec version for Accept
	OEMDir   string       // root of oem:// URLs
	Progress func(string) // told about long downloads, may be nil

	idle  time.Duration // tests make the limits short
	sleep func(ctx context.Context, d time.Duration) error
}

// shared is what all fetchers of a process have in common.
type shared struct {
	opts Options
	mu   sync.Mutex
	cas  map[string][]byte // fetched CA bundles by resource
}

// Fetcher fetches with one fixed set of settings (time-outs, proxy, trusted CAs, offline or not).
// It is safe for concurrent use. Derived ones share what was fetched of CAs.
type Fetcher struct {
	shared    *shared
	offline   bool
	total     time.Duration
	headers   time.Duration
	proxy     func(*url.URL) (*url.URL, error)
	pool      *x509.CertPool // nil: the system's
	transport *http.Transport
}

// New returns a fetcher with default settings (headers 10 s, no total limit, no proxy, system CAs).
func New(o Options) *Fetcher {
	if o.idle == 0 {
		o.idle = defaultIdleTimeout
	}
	if o.sleep == nil {
		o.sleep = sleep
	}
	f := &Fetcher{shared: &shared{opts: o, cas: map[string][]byte{}}, headers: defaultHeaderTimeout}
	f.transport = f.newTransport()
	return f
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *Fetcher) newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Resolver: &net.Resolver{PreferGo: true}}
	return &http.Transport{
		Proxy: func(r *http.Request) (*url.URL, error) {
			if f.proxy == nil {
				return nil, nil
			}
			return f.proxy(r.URL)
		},
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   tlsTimeout,
		ResponseHeaderTimeout: f.headers,
		TLSClientConfig:       &tls.Config{RootCAs: f.pool, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       30 * time.Second,
		DisableCompression:    true,
		ReadBufferSize:        64 << 10,
		// HTTP/2 would bring nothing to a handful of downloads.
		TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{},
	}
}

// Offline returns a fetcher that answers ErrNeedNet for every network scheme, without any I/O.
func (f *Fetcher) Offline() *Fetcher {
	n := *f
	n.offline = true
	return &n
}

// IsOffline tells whether network schemes are refused.
func (f *Fetcher) IsOffline() bool { return f.offline }

// WithTimeouts returns a fetcher with default settings but these limits; 0 = none.
func (f *Fetcher) WithTimeouts(headers, total time.Duration) *Fetcher {
	n := &Fetcher{shared: f.shared, offline: f.offline, headers: headers, total: total}
	n.transport = n.newTransport()
	return n
}

// Using returns a fetcher with the settings of a config: time-outs, proxy, CAs.
// CAs are fetched with the pool in force in f and the new time-outs and proxy,
// once per process for one and the same resource.
func (f *Fetcher) Using(ctx context.Context, log Log, ign config.Ignition) (*Fetcher, error) {
	n := &Fetcher{shared: f.shared, offline: f.offline, headers: defaultHeaderTimeout, pool: f.pool}
	if t := ign.Timeouts.HTTPResponseHeaders; t != nil {
		n.headers = seconds(*t)
	}
	if t := ign.Timeouts.HTTPTotal; t != nil {
		n.total = seconds(*t)
	}
	n.proxy = proxyFunc(ign.Proxy)
	n.transport = n.newTransport()
	cas := ign.Security.TLS.CertificateAuthorities
	if len(cas) == 0 {
		if n.pool != nil {
			n.pool = nil
			n.transport = n.newTransport()
		}
		return n, nil
	}
	pool, err := n.caPool(ctx, log, cas)
	if err != nil {
		return nil, err
	}
	n.transport.CloseIdleConnections()
	n.pool = pool
	n.transport = n.newTransport()
	return n, nil
}

// seconds of a config; a negative number is no limit.
func seconds(n int) time.Duration {
	if n < 0 {
		return 0
	}
	return time.Duration(min(n, 1<<31)) * time.Second
}

// proxyFunc follows the config alone, never the environment. Link-local
// addresses, where metadata services live, are never proxied.
func proxyFunc(p config.Proxy) func(*url.URL) (*url.URL, error) {
	if p.HTTPProxy == nil && p.HTTPSProxy == nil {
		return nil
	}
	c := httpproxy.Config{NoProxy: strings.Join(p.NoProxy, ",")}
	if p.HTTPProxy != nil {
		c.HTTPProxy = *p.HTTPProxy
	}
	if p.HTTPSProxy != nil {
		c.HTTPSProxy = *p.HTTPSProxy
	}
	proxy := c.ProxyFunc()
	return func(u *url.URL) (*url.URL, error) {
		host, _, _ := strings.Cut(u.Hostname(), "%")
		if ip := net.ParseIP(host); ip != nil && ip.IsLinkLocalUnicast() {
			return nil, nil
		}
		return proxy(u)
	}
}

func (f *Fetcher) caPool(ctx context.Context, log Log, cas []config.Resource) (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	for _, ca := range cas {
		raw, err := f.CABytes(ctx, log, ca)
		if err != nil {
			if !errors.Is(err, ErrNeedNet) {
				log.Err("Unable to fetch CA (%s): %v", config.RedactURL(*ca.Source), err)
			}
			return nil, err
		}
		if err := addCerts(log, pool, raw); err != nil {
			log.Err("Unable to parse CA bundle: %v", err)
			return nil, fmt.Errorf("CA %s: %w", config.RedactURL(*ca.Source), err)
		}
	}
	return pool, nil
}

// CABytes gives the decompressed bytes of a CA entry that Using has fetched (or fetches them).
func (f *Fetcher) CABytes(ctx context.Context, log Log, ca config.Resource) ([]byte, error) {
	if ca.Source == nil || *ca.Source == "" {
		return nil, errors.New("source is required")
	}
	req, err := RequestFor(ca)
	if err != nil {
		return nil, err
	}
	key := fmt.Sprintf("%q %q %q %q", req.URL, req.Compression, req.Hash, req.Headers)
	f.shared.mu.Lock()
	raw, ok := f.shared.cas[key]
	f.shared.mu.Unlock()
	if ok {
		return raw, nil
	}
	raw, _, err = f.Bytes(ctx, log, req)
	if err != nil {
		return nil, err
	}
	f.shared.mu.Lock()
	defer f.shared.mu.Unlock()
	f.shared.cas[key] = raw
	return raw, nil
}

// Bytes fetches to memory. "" as URL gives zero bytes.
func (f *Fetcher) Bytes(ctx context.Context, log Log, r Request) ([]byte, Info, error) {
	limit := r.Limit
	if limit == 0 {
		limit = defaultLimit
	}
	m := &memory{limit: limit}
	info, err := f.To(ctx, log, r, m)
	if err != nil {
		return nil, info, err
	}
	sum := sha512.Sum512(m.Bytes())
	info.SHA512 = sum[:]
	return m.Bytes(), info, nil
}

// To streams to dst: decompressed and hashed on the way.
func (f *Fetcher) To(ctx context.Context, log Log, r Request, dst Sink) (Info, error) {
	name, err := schemeOf(r.URL)
	if err != nil {
		return Info{}, err
	}
	s, ok := schemes[name]
	switch {
	case !ok:
		return Info{}, fmt.Errorf("%w %q", ErrScheme, name)
	case f.offline && !s.local:
		return Info{}, ErrNeedNet
	}
	out, err := newPipeline(r, dst)
	if err != nil {
		log.Err("%v", err)
		return Info{}, err
	}
	defer out.abort()
	if err := s.fetch(ctx, f, log, r, out); err != nil {
		return Info{}, err
	}
	if name == "" {
		return Info{}, nil // an empty source is not verified
	}
	return out.finish(log)
}

// memory is a sink of limited size.
type memory struct {
	bytes.Buffer
	limit int64
}

func (m *memory) Write(b []byte) (int, error) {
	if int64(m.Len()+len(b)) > m.limit {
		return 0, fmt.Errorf("the resource is larger than %d bytes", m.limit)
	}
	return m.Buffer.Write(b)
}

func (m *memory) Reset() error {
	m.Buffer.Reset()
	return nil
}

var _ io.Writer = (*memory)(nil)
