// SPDX-License-Identifier: Apache-2.0

// Package cloud is a stand-in for the metadata services of all clouds: whatever
// address a program connects to, it reaches a server of the test, which notes
// the requests and answers as the test says.
package cloud

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
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

// Reply is one answer. Status 0 is a connection that is refused.
type Reply struct {
	Status int
	Body   string
	Delay  time.Duration
	Header map[string]string
}

// Service answers requests by "METHOD host/path?query", the n-th time with the
// n-th reply, and the last one for ever. What it does not know is 404.
type Service struct {
	Replies map[string][]Reply
	Silent  func(addr string) bool // addresses that never answer

	Authority *certs.Authority // signs the certificates of https services

	plain, secure *httptest.Server
	mu            sync.Mutex
	count         map[string]int
	requests      []*http.Request
	dials         []*net.Dialer
	refuse        map[string]int // connections to refuse, by address
}

// New starts the service; names are those of its certificate.
func New(t testing.TB, replies map[string][]Reply, names ...string) *Service {
	t.Helper()
	s := &Service{Replies: replies, count: map[string]int{}, refuse: map[string]int{}, Authority: certs.New(t, "test CA")}
	s.plain = httptest.NewServer(s)
	s.secure = httptest.NewUnstartedServer(s)
	s.secure.TLS = &tls.Config{Certificates: []tls.Certificate{s.Authority.Issue(t, time.Time{}, names...)}, MinVersion: tls.VersionTLS12}
	s.secure.StartTLS()
	t.Cleanup(func() {
		s.plain.CloseClientConnections()
		s.secure.CloseClientConnections()
		s.plain.Close()
		s.secure.Close()
	})
	return s
}

// Refuse makes the next n connections to an address (host:port) fail.
func (s *Service) Refuse(addr string, n int) { s.refuse[addr] = n }

// Dial connects to the service instead of to addr.
func (s *Service) Dial(ctx context.Context, d *net.Dialer, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	s.dials = append(s.dials, d)
	refused := s.refuse[addr] > 0
	if refused {
		s.refuse[addr]--
	}
	s.mu.Unlock()
	switch {
	case refused:
		return nil, &net.OpError{Op: "dial", Net: network, Err: fmt.Errorf("connect: connection refused")}
	case s.Silent != nil && s.Silent(addr):
		<-ctx.Done()
		return nil, ctx.Err()
	}
	to := s.plain
	if strings.HasSuffix(addr, ":443") {
		to = s.secure
	}
	return new(net.Dialer).DialContext(ctx, "tcp", to.Listener.Addr().String())
}

// ServeHTTP notes a request and answers it.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key := line(r)
	body, _ := io.ReadAll(r.Body)
	noted := r.Clone(context.Background())
	noted.Body = io.NopCloser(bytes.NewReader(body))
	s.mu.Lock()
	s.requests = append(s.requests, noted)
	replies := s.Replies[key]
	n := s.count[key]
	s.count[key]++
	s.mu.Unlock()
	if len(replies) == 0 {
		http.NotFound(w, r)
		return
	}
	reply := replies[min(n, len(replies)-1)]
	select {
	case <-time.After(reply.Delay):
	case <-r.Context().Done():
		return
	}
	for k, v := range reply.Header {
		w.Header().Set(k, v)
	}
	w.WriteHeader(reply.Status)
	fmt.Fprint(w, reply.Body)
}

func line(r *http.Request) string { return r.Method + " " + r.Host + r.URL.RequestURI() }

// Lines lists the requests so far, each as "METHOD host/path?query".
func (s *Service) Lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, r := range s.requests {
		all = append(all, line(r))
	}
	return all
}

// Requests gives the requests so far. Their bodies can be read once.
func (s *Service) Requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Dialers gives what connections were asked for with.
func (s *Service) Dialers() []*net.Dialer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.dials)
}
