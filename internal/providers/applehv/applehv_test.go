// SPDX-License-Identifier: Apache-2.0

package applehv

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/tests/logs"
	"golang.org/x/sys/unix"
)

// short are times for tests.
var short = patience{start: 80 * time.Millisecond, interval: 2 * time.Millisecond, report: 10 * time.Millisecond, headers: 30 * time.Millisecond, total: 5 * time.Second}

// server answers each connection with the next of its answers, the last one
// again and again. An empty one closes the connection without a word.
type server struct {
	t       *testing.T
	answers []string
	hold    bool // leave the connection open

	mu       sync.Mutex
	requests []string
	done     chan struct{}
}

func (s *server) start(path string) {
	s.t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.done = make(chan struct{})
	s.t.Cleanup(func() { l.Close(); close(s.done) })
	go func() {
		for i := 0; ; i++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c, s.answers[min(i, len(s.answers)-1)])
		}
	}()
}

func (s *server) serve(c net.Conn, answer string) {
	defer c.Close()
	req, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	s.mu.Lock()
	s.requests = append(s.requests, req.Method+" "+req.RequestURI+" "+req.Proto+" "+req.Host+" "+req.Header.Get("Accept")+req.Header.Get("Accept-Encoding"))
	s.mu.Unlock()
	_, _ = io.WriteString(c, answer)
	if s.hold {
		<-s.done
	}
}

func (s *server) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// dialPath dials a unix socket as the host's virtual socket is dialled.
func dialPath(path string) dialer {
	return func(ctx context.Context) (net.Conn, error) {
		return dialSocket(ctx, unix.AF_UNIX, &unix.SockaddrUnix{Name: path})
	}
}

const ok = "HTTP/1.1 200 OK\r\n"

func TestFetch(t *testing.T) {
	const request = "GET / HTTP/1.1 d application/json"
	large := strings.Repeat("x", 300<<10)
	for _, row := range []struct {
		name    string
		answers []string
		hold    bool
		want    string
		asked   int // 0: at least two
		err     string
		is      error
	}{
		{name: "a config", answers: []string{ok + "Content-Length: 2\r\n\r\n{}"}, want: "{}", asked: 1},
		{name: "until the end of the connection", answers: []string{ok + "\r\n{}"}, want: "{}", asked: 1},
		{name: "chunked", answers: []string{ok + "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"}, want: "{}", asked: 1},
		{name: "HTTP/1.0", answers: []string{"HTTP/1.0 200 OK\r\n\r\n{}"}, want: "{}", asked: 1},
		{name: "large", answers: []string{ok + "\r\n" + large}, want: large, asked: 1},
		{name: "gzip is left alone", answers: []string{ok + "Content-Encoding: gzip\r\n\r\n\x1f\x8b\x08"}, want: "\x1f\x8b\x08", asked: 1},
		{name: "zero length", answers: []string{ok + "Content-Length: 0\r\n\r\n"}, asked: 1},
		{name: "204", answers: []string{"HTTP/1.1 204 No Content\r\n\r\n"}, asked: 1},
		{name: "404", answers: []string{"HTTP/1.1 404 Not Found\r\n\r\nSECRET"}, asked: 1},
		{name: "500", answers: []string{"HTTP/1.1 500 Oops\r\n\r\nSECRET"}, asked: 1, err: "failed to fetch resource: status 500", is: resource.ErrFailed},
		{name: "403", answers: []string{"HTTP/1.1 403 No\r\n\r\n"}, asked: 1, err: "status 403", is: resource.ErrFailed},
		{name: "a redirect is not followed", answers: []string{"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n"}, asked: 1, err: "status 302", is: resource.ErrFailed},
		{name: "cut body", answers: []string{ok + "Content-Length: 9\r\n\r\n{}"}, asked: 1, err: "unexpected EOF", is: io.ErrUnexpectedEOF},
		{name: "garbage", answers: []string{"SECRET\r\n\r\n"}, asked: 1, err: "the answer is not HTTP"},
		{name: "garbage in the head", answers: []string{ok + "SECRET\r\n\r\n{}"}, asked: 1, err: "the answer is not HTTP"},
		{name: "closed, then a config", answers: []string{"", "", ok + "\r\n{}"}, want: "{}", asked: 3},
		{name: "cut head, then a config", answers: []string{ok, ok + "\r\n{}"}, want: "{}", asked: 2},
		{name: "always closed", answers: []string{""}, err: "no answer within 80ms: EOF", is: io.EOF},
		{name: "no head", answers: []string{""}, hold: true, err: "no answer within 80ms: net/http: timeout awaiting response headers"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s")
			s := &server{t: t, answers: row.answers, hold: row.hold}
			s.start(path)
			log := &logs.Lines{}
			wait := short
			if row.err == "" {
				wait.start, wait.headers = 5*time.Second, 5*time.Second
			}
			raw, err := fetch(t.Context(), log, dialPath(path), wait)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) || row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("error %v, want %q", err, row.err)
			}
			if err == nil && string(raw) != row.want {
				t.Errorf("got %.20q, want %.20q", raw, row.want)
			}
			asked := s.asked()
			if row.asked != 0 && len(asked) != row.asked || row.asked == 0 && len(asked) < 2 {
				t.Errorf("%d requests, want %d", len(asked), row.asked)
			}
			for _, r := range asked {
				if r != request {
					t.Errorf("request %q, want %q", r, request)
				}
			}
			if strings.Contains(log.String(), "SECRET") || err != nil && strings.Contains(err.Error(), "SECRET") {
				t.Errorf("a secret in %v or\n%s", err, log)
			}
		})
	}
}

// TestLate checks that the host's server may start after the guest.
func TestLate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := &server{t: t, answers: []string{ok + "\r\n{}"}}
	timer := time.AfterFunc(40*time.Millisecond, func() { s.start(path) })
	defer timer.Stop()
	log := &logs.Lines{}
	wait := short
	wait.start = 10 * time.Second
	raw, err := fetch(t.Context(), log, dialPath(path), wait)
	if err != nil || string(raw) != "{}" {
		t.Errorf("got %q, %v", raw, err)
	}
	if want := "info the host does not answer yet: connect: no such file or directory"; !strings.Contains(log.String(), want) {
		t.Errorf("log lacks %q:\n%s", want, log)
	}
}

func TestNever(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	wait := short
	wait.start = 20 * time.Millisecond
	if _, err := fetch(t.Context(), &logs.Lines{}, dialPath(path), wait); !errors.Is(err, unix.ENOENT) || !strings.HasPrefix(err.Error(), "no answer within 20ms: ") {
		t.Errorf("no socket: %v", err)
	}
	// A socket that nobody listens at.
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	if _, err := fetch(t.Context(), &logs.Lines{}, dialPath(path), wait); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
}

// TestSlowBody checks that the limit for all holds while a body trickles in.
func TestSlowBody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	s := &server{t: t, answers: []string{ok + "Content-Length: 9\r\n\r\n{"}, hold: true}
	s.start(path)
	wait := short
	wait.total = 40 * time.Millisecond
	if _, err := fetch(t.Context(), &logs.Lines{}, dialPath(path), wait); !errors.Is(err, resource.ErrTimeout) {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	wait.total = 0
	if _, err := fetch(ctx, &logs.Lines{}, dialPath(path), wait); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without a limit: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	wait := short
	wait.interval, wait.start = time.Hour, time.Hour
	dial := func(context.Context) (net.Conn, error) { cancel(); return nil, unix.ECONNRESET }
	if _, err := fetch(ctx, &logs.Lines{}, dial, wait); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestConnect checks the connection itself: one in progress, one refused, and one waited for in vain.
func TestConnect(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port}
	c, err := dialSocket(t.Context(), unix.AF_INET, to)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SetReadDeadline(time.Now().Add(5 * time.Millisecond)); err != nil {
		t.Error(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("reading nothing: %v", err)
	}
	if c.RemoteAddr().String() != "host(2):1024" || c.LocalAddr().Network() != "vsock" {
		t.Errorf("addresses %v, %v", c.LocalAddr(), c.RemoteAddr())
	}
	c.Close()
	l.Close()
	if _, err := dialSocket(t.Context(), unix.AF_INET, to); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("refused: %v", err)
	}
	if _, err := dialSocket(t.Context(), 9999, to); !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("no such family: %v", err)
	}
}

// TestPending checks that a connection that is neither made nor refused ends with its context.
func TestPending(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[0])
	defer unix.Close(fds[1])
	for { // until it takes no more, so that it is never writable
		if _, err := unix.Write(fds[0], make([]byte, 64<<10)); err != nil {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := finish(ctx, fds[0]); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestModule(t *testing.T) {
	broken := errors.New("no such module")
	loaded := ""
	env := &providers.Env{Log: &logs.Lines{}, SysDir: t.TempDir(), FetchTimeout: 10 * time.Millisecond, Modprobe: func(_ context.Context, module string) error {
		loaded += module
		return broken
	}}
	_, err := Fetch(t.Context(), env)
	if loaded != "vsock" || !errors.Is(err, broken) || err.Error() != "failed to install vsock kernel module: no such module" {
		t.Errorf("loaded %q, %v", loaded, err)
	}
	if err := os.MkdirAll(filepath.Join(env.SysDir, "devices/virtual/misc/vsock"), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fetch(ctx, env); !errors.Is(err, context.Canceled) || loaded != "vsock" {
		t.Errorf("loaded %q although it is there, %v", loaded, err)
	}
}

// TestLoopback speaks through a virtual socket to this machine itself, where its kernel can do that.
func TestLoopback(t *testing.T) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no virtual sockets: %v", err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_LOCAL, Port: unix.VMADDR_PORT_ANY}); err != nil {
		t.Skipf("no loopback: %v", err)
	}
	at, err := unix.Getsockname(fd)
	if err == nil {
		err = unix.Listen(fd, 1)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, answers: []string{ok + "\r\n{}"}}
	go func() {
		c, _, err := unix.Accept(fd)
		if err == nil {
			s.serve(conn{os.NewFile(uintptr(c), "vsock")}, s.answers[0])
		}
	}()
	raw, err := fetch(t.Context(), &logs.Lines{}, func(ctx context.Context) (net.Conn, error) {
		return dialSocket(ctx, unix.AF_VSOCK, at)
	}, short)
	if err != nil || string(raw) != "{}" {
		t.Errorf("got %q, %v", raw, err)
	}
}
