// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
	"golang.org/x/sys/unix"
)

var _ Log = (*oplog.Logger)(nil)

// lines is a log that remembers.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) add(level, format string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, level+" "+fmt.Sprintf(format, args...))
}

func (l *lines) Debug(format string, args ...any)   { l.add("debug", format, args) }
func (l *lines) Info(format string, args ...any)    { l.add("info", format, args) }
func (l *lines) Warning(format string, args ...any) { l.add("warning", format, args) }
func (l *lines) Err(format string, args ...any)     { l.add("err", format, args) }

func (l *lines) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.text, "\n")
}

func (l *lines) count(part string) int { return strings.Count(l.all(), part) }

func wantLog(t *testing.T, l *lines, want ...string) {
	t.Helper()
	if got := l.all(); got != strings.Join(want, "\n") {
		t.Errorf("log:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
}

func wantBody(t *testing.T, got []byte, err error, want string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, []byte(want)) {
		t.Fatalf("got %d bytes, want %d", len(got), len(want))
	}
}

// naps are the pauses that a fetcher under test would have made.
type naps struct {
	mu sync.Mutex
	d  []time.Duration
	do func(n int) // before the n-th pause ends, from 1
}

func (s *naps) sleep(ctx context.Context, d time.Duration) error {
	s.mu.Lock()
	s.d = append(s.d, d)
	n := len(s.d)
	s.mu.Unlock()
	if s.do != nil {
		s.do(n)
	}
	return ctx.Err()
}

func testFetcher(t *testing.T) (*Fetcher, *naps) {
	t.Helper()
	s := &naps{}
	f := New(Options{Version: "v1.2.3", Stable: "3.6.0", OEMDir: t.TempDir(), sleep: s.sleep})
	t.Cleanup(func() { closeIdle(f) })
	return f, s
}

func closeIdle(f *Fetcher) {
	f.shared.mu.Lock()
	defer f.shared.mu.Unlock()
	for _, tr := range f.shared.transports {
		tr.CloseIdleConnections()
	}
}

// serve starts a server for one handler that also gets the number of the request, from 1.
func serve(t *testing.T, h func(w http.ResponseWriter, r *http.Request, n int)) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(numbered(h))
	t.Cleanup(s.Close)
	return s
}

func numbered(h func(w http.ResponseWriter, r *http.Request, n int)) http.Handler {
	var mu sync.Mutex
	n := 0
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		n++
		k := n
		mu.Unlock()
		h(w, r, k)
	})
}

// cut ends the connection in the middle of an answer.
func cut(w http.ResponseWriter) {
	w.(http.Flusher).Flush()
	c, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		c.Close()
	}
}

// random is a body that does not compress; it is the same in each run.
func random(n int) string {
	b := make([]byte, n)
	x := uint32(1)
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return string(b)
}

func ptr[T any](v T) *T { return &v }

func TestRequestFor(t *testing.T) {
	header := func(name string, value *string) config.Resource {
		return config.Resource{Source: ptr("http://h/"), HTTPHeaders: []config.HTTPHeader{{Name: "x-A", Value: ptr("1")}, {Name: name, Value: value}}}
	}
	tests := []struct {
		name    string
		in      config.Resource
		want    Request
		wantErr string
	}{
		{"nil source", config.Resource{}, Request{}, ""},
		{"all of it", config.Resource{Source: ptr("http://h/"), Compression: ptr("gzip"), Verification: config.Verification{Hash: ptr("sha512-00")}},
			Request{URL: "http://h/", Compression: "gzip", Hash: "sha512-00"}, ""},
		{"two headers", header("X-B", ptr("2")), Request{URL: "http://h/", Headers: http.Header{"X-A": {"1"}, "X-B": {"2"}}}, ""},
		{"of two spellings the last counts", header("X-a", ptr("2")), Request{URL: "http://h/", Headers: http.Header{"X-A": {"2"}}}, ""},
		{"removal left over from a merge", header("X-B", nil), Request{}, "unable to parse HTTP header"},
		{"empty value", header("X-B", ptr("")), Request{}, "unable to parse HTTP header"},
		{"empty name", header("", ptr("1")), Request{}, "HTTP header name can't be empty"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := RequestFor(tt.in)
			if errText(err) != tt.wantErr {
				t.Fatalf("error %v, want %q", err, tt.wantErr)
			}
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestSchemes has each scheme on line and off line.
func TestSchemes(t *testing.T) {
	tests := []struct {
		url       string
		networked bool
		online    error // nil: not tried, for want of a server
		offline   error
	}{
		{"", false, nil, nil},
		{"data:,x", false, nil, nil},
		{"DATA:,x", false, nil, nil}, // refused by the decoder, not by the scheme
		{"oem:///x", false, nil, nil},
		{"http://127.0.0.1:1/", true, nil, ErrNeedNet},
		{"HTTPS://127.0.0.1:1/", true, nil, ErrNeedNet},
		{"tftp://h/x", true, nil, ErrNeedNet},
		{"s3://b/k", true, nil, ErrNeedNet},
		{"arn:aws:s3:::b/k", true, nil, ErrNeedNet},
		{"gs://b/k", true, nil, ErrNeedNet},
		{"oci://h/r", true, nil, ErrNeedNet},
		{"gopher://h/", true, ErrScheme, ErrScheme},
		{"example.com/x", false, ErrScheme, ErrScheme},
		{"http://u:secret@h:port/", false, errURL, errURL},
	}
	f, _ := testFetcher(t)
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			if got := Networked(tt.url); got != tt.networked {
				t.Errorf("networked = %v", got)
			}
			if tt.online != nil {
				if _, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: tt.url}); !errors.Is(err, tt.online) {
					t.Errorf("on line: %v, want %v", err, tt.online)
				} else if strings.Contains(err.Error(), "secret") {
					t.Errorf("the error holds the password: %v", err)
				}
			}
			if tt.offline != nil {
				l := &lines{}
				if _, _, err := f.Offline().Bytes(t.Context(), l, Request{URL: tt.url}); !errors.Is(err, tt.offline) {
					t.Errorf("off line: %v, want %v", err, tt.offline)
				}
				if l.count("attempt") != 0 {
					t.Errorf("tried: %s", l.all())
				}
			}
		})
	}
}

func TestOfflineStays(t *testing.T) {
	f, _ := testFetcher(t)
	derived, err := f.Offline().WithTimeouts(time.Second, time.Second).Using(t.Context(), &lines{}, config.Ignition{})
	if err != nil {
		t.Fatal(err)
	}
	if !derived.IsOffline() || f.IsOffline() {
		t.Errorf("derived %v, original %v", derived.IsOffline(), f.IsOffline())
	}
}

func TestEmptyURL(t *testing.T) {
	f, _ := testFetcher(t)
	got, info, err := f.Offline().Bytes(t.Context(), &lines{}, Request{Compression: "gzip", Hash: "sha256-" + strings.Repeat("0", 64)})
	wantBody(t, got, err, "")
	if info.Bytes != 0 || fmt.Sprintf("%x", info.SHA512)[:8] != "cf83e135" {
		t.Errorf("info %+v", info)
	}
}

func TestLimit(t *testing.T) {
	f, _ := testFetcher(t)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, random(1000)) })
	got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: s.URL, Limit: 1000})
	wantBody(t, got, err, random(1000))
	_, _, err = f.Bytes(t.Context(), &lines{}, Request{URL: s.URL, Limit: 999})
	if err == nil || !strings.Contains(err.Error(), "larger than 999 bytes") {
		t.Errorf("error %v", err)
	}
}

func newServer(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

// fullBacklog gives an address that does not answer: its queue of connections is full.
func fullBacklog(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", sa.(*unix.SockaddrInet4).Port)
	for {
		c, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { c.Close() })
	}
}
