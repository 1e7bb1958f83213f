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
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"firstboot.dev/ignition/internal/config"
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
	Watch    func(string) // told some times a second how far all downloads are, and "" when there are none; may be nil
	// Limit is the total time-out of resources whose config sets none; 0 = none.
	Limit time.Duration
	// Dial connects instead of the dialer itself, e.g. to stand-ins in tests; nil = d.DialContext.
	Dial func(ctx context.Context, d *net.Dialer, network, addr string) (net.Conn, error)

	idle     time.Duration // tests make the limits short
	progress time.Duration
	packet   time.Duration // of TFTP, before it is sent again
	sleep    func(ctx context.Context, d time.Duration) error
}

// shared is what all fetchers of a process have in common.
type shared struct {
	opts       Options
	mu         sync.Mutex
	identity   identity
	cas        map[string]*bundle // fetched CA bundles by resource
	transports map[settings]*http.Transport
	meter      meter
}

// settings are what connections depend on: fetchers that agree in them share connections.
type settings struct {
	headers                        time.Duration
	httpProxy, httpsProxy, noProxy string
	cas                            string // digest of the trusted CAs besides the system's
	lowPort                        bool   // connections come from a port below 1024
}

// Fetcher fetches with one fixed set of settings (time-outs, proxy, trusted CAs, offline or not).
// It is safe for concurrent use. Derived ones share connections and what was fetched of CAs.
type Fetcher struct {
	shared    *shared
	offline   bool
	total     time.Duration
	set       settings
	transport *http.Transport
}

// New returns a fetcher with default settings (headers 10 s, no total limit, no proxy, system CAs).
func New(o Options) *Fetcher {
	if o.idle == 0 {
		o.idle = defaultIdleTimeout
	}
	if o.progress == 0 {
		o.progress = progressEvery
	}
	if o.packet == 0 {
		o.packet = tftpTimeout
	}
	if o.sleep == nil {
		o.sleep = sleep
	}
	sh := &shared{opts: o, cas: map[string]*bundle{}, transports: map[settings]*http.Transport{}}
	sh.meter.tell = o.Watch
	return sh.fetcher(settings{headers: defaultHeaderTimeout}, nil)
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

// fetcher returns one for these settings. pool holds the CAs that set names; nil is the system's.
func (sh *shared) fetcher(set settings, pool *x509.CertPool) *Fetcher {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := sh.transports[set]
	if t == nil {
		t = newTransport(set, pool, sh.opts.Dial)
		sh.transports[set] = t
	}
	return &Fetcher{shared: sh, set: set, transport: t}
}

func newTransport(set settings, pool *x509.CertPool, dial dialFunc) *http.Transport {
	proxy := set.proxy()
	return &http.Transport{
		Proxy:                 func(r *http.Request) (*url.URL, error) { return proxy(r.URL) },
		DialContext:           set.dialer(dial),
		TLSHandshakeTimeout:   tlsTimeout,
		ResponseHeaderTimeout: set.headers,
		TLSClientConfig:       &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost:   16,
		IdleConnTimeout:       30 * time.Second,
		DisableCompression:    true,
		DisableKeepAlives:     set.lowPort,
		ForceAttemptHTTP2:     true,
		ReadBufferSize:        64 << 10,
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
	n := f.shared.fetcher(settings{headers: headers}, nil)
	n.offline, n.total = f.offline, total
	return n
}

// Using returns a fetcher with the settings of a config: time-outs, proxy, CAs.
// CAs are fetched with the pool in force in f and the new time-outs and proxy,
// once per process for one and the same resource.
func (f *Fetcher) Using(ctx context.Context, log Log, ign config.Ignition) (*Fetcher, error) {
	set, total := settingsOf(ign)
	var pool *x509.CertPool
	if cas := ign.Security.TLS.CertificateAuthorities; len(cas) > 0 {
		var err error
		if pool, set.cas, err = f.withPoolOf(set, total).caPool(ctx, log, cas); err != nil {
			return nil, err
		}
	}
	n := f.shared.fetcher(set, pool)
	n.offline, n.total = f.offline, total
	if set.cas != f.set.cas {
		f.transport.CloseIdleConnections()
	}
	return n, nil
}

// withPoolOf returns a fetcher with new settings but the CAs that f trusts.
func (f *Fetcher) withPoolOf(set settings, total time.Duration) *Fetcher {
	set.cas = f.set.cas
	n := f.shared.fetcher(set, f.transport.TLSClientConfig.RootCAs)
	n.offline, n.total = f.offline, total
	return n
}

func settingsOf(ign config.Ignition) (set settings, total time.Duration) {
	set.headers = defaultHeaderTimeout
	if t := ign.Timeouts.HTTPResponseHeaders; t != nil {
		set.headers = seconds(*t)
	}
	if t := ign.Timeouts.HTTPTotal; t != nil {
		total = seconds(*t)
	}
	if p := ign.Proxy.HTTPProxy; p != nil {
		set.httpProxy = *p
	}
	if p := ign.Proxy.HTTPSProxy; p != nil {
		set.httpsProxy = *p
	}
	set.noProxy = strings.Join(ign.Proxy.NoProxy, ",")
	return set, total
}

// seconds of a config; a negative number is no limit.
func seconds(n int) time.Duration {
	if n < 0 {
		return 0
	}
	return time.Duration(min(n, 1<<31-1)) * time.Second
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
	if info.SHA512 == nil {
		sum := sha512.Sum512(m.Bytes())
		info.SHA512 = sum[:]
	}
	return m.Bytes(), info, nil
}

// To streams to dst: decompressed and hashed on the way.
func (f *Fetcher) To(ctx context.Context, log Log, r Request, dst Sink) (Info, error) {
	name, err := schemeOf(r.URL)
	if err != nil {
		return Info{}, err
	}
	s, known := schemeNamed(name)
	switch {
	case !known: // also offline: the network would not help
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
	total := f.total
	if total == 0 {
		total = f.shared.opts.Limit
	}
	if total > 0 { // for all requests that the resource takes
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, total, errTotal)
		defer cancel()
	}
	if err := s.fetch(ctx, f, log, r, out); err != nil {
		return Info{}, err
	}
	if name == "" {
		return Info{}, nil // an empty source is not verified
	}
	return out.finish(log)
}

// errTotal is why a context ended that bounds a whole fetch.
var errTotal = fmt.Errorf("%w", context.DeadlineExceeded)

// ended is the error of a fetch whose context is done; last is what its last try met.
func ended(ctx context.Context, last error) error {
	if context.Cause(ctx) == errTotal {
		return &timeoutError{last}
	}
	return ctx.Err()
}

var errTooLarge = errors.New("the resource is larger")

// memory is a sink of limited size.
type memory struct {
	bytes.Buffer
	limit int64
}

func (m *memory) Write(b []byte) (int, error) {
	if int64(m.Len()+len(b)) > m.limit {
		return 0, m.tooLarge()
	}
	return m.Buffer.Write(b)
}

func (m *memory) tooLarge() error {
	return fmt.Errorf("%w than %d bytes, which is all that is taken into memory", errTooLarge, m.limit)
}

// expect is told how much will come. A server may announce what it likes, so
// that not all of it is believed.
func (m *memory) expect(n int64) error {
	if n > m.limit {
		return m.tooLarge()
	}
	m.Grow(int(min(n, 16<<20)))
	return nil
}

func (m *memory) Reset() error {
	m.Buffer.Reset()
	return nil
}
