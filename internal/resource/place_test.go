// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firstboot.dev/ignition/tests/certs"
)

// place is every https server of the world: whatever host a fetcher asks, this
// answers, with a certificate of that host.
type place struct {
	authority *certs.Authority
	server    *httptest.Server
	mu        sync.Mutex
	issued    map[string]*tls.Certificate
	requests  []*http.Request
	plain     int // connections to other ports than 443
	refuse    int // connections
}

// newPlace starts the place; the handler also gets the number of the request, from 1.
func newPlace(t *testing.T, h func(w http.ResponseWriter, r *http.Request, n int)) (*Fetcher, *naps, *place) {
	t.Helper()
	p := &place{authority: certs.New(t, "test CA"), issued: map[string]*tls.Certificate{}}
	p.server = httptest.NewUnstartedServer(numbered(func(w http.ResponseWriter, r *http.Request, n int) {
		p.mu.Lock()
		p.requests = append(p.requests, r.Clone(context.Background()))
		p.mu.Unlock()
		h(w, r, n)
	}))
	p.server.TLS = &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		c := p.issued[hello.ServerName]
		if c == nil {
			made := p.authority.Issue(t, time.Time{}, hello.ServerName)
			c = &made
			p.issued[hello.ServerName] = c
		}
		return c, nil
	}}
	p.server.Config.ErrorLog = quiet
	p.server.StartTLS()
	t.Cleanup(p.server.Close)
	s := &naps{}
	f := New(Options{Version: "v1.2.3", Stable: "3.6.0", OEMDir: t.TempDir(), sleep: s.sleep, Dial: p.dial})
	t.Cleanup(func() { closeIdle(f) })
	f, err := f.Using(t.Context(), &lines{}, withCAs(dataURL(p.authority.PEM)))
	if err != nil {
		t.Fatal(err)
	}
	return f, s, p
}

func (p *place) dial(ctx context.Context, _ *net.Dialer, network, addr string) (net.Conn, error) {
	p.mu.Lock()
	if !strings.HasSuffix(addr, ":443") {
		p.plain++
	}
	refused := p.refuse > 0
	if refused {
		p.refuse--
	}
	p.mu.Unlock()
	if refused {
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("connect: network is unreachable")}
	}
	return new(net.Dialer).DialContext(ctx, "tcp", p.server.Listener.Addr().String())
}

// asked lists the requests so far as "METHOD host/path?query".
func (p *place) asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []string
	for _, r := range p.requests {
		all = append(all, r.Method+" "+r.Host+r.URL.RequestURI())
	}
	return all
}

func (p *place) wantAsked(t *testing.T, want ...string) {
	t.Helper()
	if got := p.asked(); !slices.Equal(got, want) {
		t.Errorf("asked\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// wantError fails the test unless there is an error of a kind (nil = of any) that has a text.
func wantError(t *testing.T, err, kind error, text string) {
	t.Helper()
	if err == nil || kind != nil && !errors.Is(err, kind) || !strings.Contains(errText(err), text) {
		t.Errorf("error %v, want %v with %q", err, kind, text)
	}
}

// wantSecret fails the test if a secret is in a log or in an error.
func wantSecret(t *testing.T, l *lines, err error, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(l.all()+errText(err), s) {
			t.Errorf("%q is in the log or in the error:\n%s\n%v", s, l.all(), err)
		}
	}
}
