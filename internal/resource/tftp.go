// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"firstboot.dev/ignition/internal/config"
	"github.com/pin/tftp/v3"
)

const (
	tftpPort    = "69"
	tftpBlock   = 1428 // bytes that go into one Ethernet frame
	tftpTimeout = 5 * time.Second
	tftpRetries = 5 // of one packet
)

// tftpError is what a server says in an error packet: trying again is useless.
type tftpError struct {
	text string
	code string
}

func (e *tftpError) Error() string { return e.text }

func (e *tftpError) Is(target error) bool { return target == ErrNotFound && e.code == "1" }

// fetchTFTP tries until the server has answered, as long as an HTTP fetch does:
// the network may be late.
func fetchTFTP(ctx context.Context, f *Fetcher, log Log, r Request, out *pipeline) error {
	u, err := url.Parse(r.URL)
	if err != nil {
		return errURL
	}
	if u.Hostname() == "" || len(u.Path) < 2 {
		return fmt.Errorf("%w: a TFTP URL is tftp://HOST[:PORT]/FILE", ErrFailed)
	}
	t := tftpFetch{url: u, out: out, options: true, timeout: f.shared.opts.packet}
	shown := config.RedactURL(r.URL)
	for n := 1; ; n++ {
		log.Info("GET %s: attempt #%d", shown, n)
		err := t.attempt(ctx)
		if err == nil {
			log.Info("GET result: OK")
			return nil
		}
		if ctx.Err() != nil && context.Cause(ctx) != errTotal {
			return ctx.Err()
		}
		log.Info("GET error: %v", err)
		var said *tftpError
		switch {
		case errors.As(err, &said) && said.code == "8" && t.options:
			t.options = false // the server does not want them
		case errors.As(err, &said), out.failed != nil:
			return err
		default:
			// A server that is older than options may be silent about them.
			t.options = !t.options || out.raw > 0
		}
		if ctx.Err() == nil {
			_ = f.shared.opts.sleep(ctx, pause(n, 0))
		}
		if ctx.Err() != nil {
			return ended(ctx, err)
		}
		if out.raw > 0 {
			if err := out.restart(); err != nil {
				return err
			}
		}
	}
}

type tftpFetch struct {
	url     *url.URL
	out     *pipeline
	options bool // ask for larger blocks and for the size
	timeout time.Duration
}

func (t *tftpFetch) attempt(ctx context.Context) error {
	port := t.url.Port()
	if port == "" {
		port = tftpPort
	}
	addrs, err := (&net.Resolver{PreferGo: true}).LookupNetIP(ctx, "ip", t.url.Hostname())
	if err != nil {
		return fmt.Errorf("resolving address: %w", err)
	}
	for _, a := range addrs {
		if err = t.from(ctx, net.JoinHostPort(a.Unmap().String(), port)); err == nil || t.out.raw > 0 || ctx.Err() != nil {
			break
		}
	}
	return err
}

// from takes the file from one address. The library knows no context: when that
// is over, what it writes to is closed, and its own time-outs end it.
func (t *tftpFetch) from(ctx context.Context, addr string) error {
	c, err := tftp.NewClient(addr)
	if err != nil {
		return err
	}
	c.SetTimeout(t.timeout)
	c.SetRetries(tftpRetries)
	c.SetBackoff(func(int) time.Duration { return rand.N(t.timeout / 5) })
	if t.options {
		c.SetBlockSize(tftpBlock)
		c.RequestTSize(true)
	}
	to := &gate{to: t.out}
	done := make(chan error, 1)
	go func() {
		// The leading slash is part of the name.
		transfer, err := c.Receive(t.url.Path, "octet")
		if err != nil {
			done <- err
			return
		}
		size := int64(-1)
		if s, ok := transfer.(tftp.IncomingTransfer); ok {
			// 0 is also what is asked with, where the server knows no options.
			if n, known := s.Size(); known && n > 0 {
				size = n
			}
		}
		to.expect(size)
		n, err := transfer.WriteTo(to)
		if err == nil && size >= 0 && n != size {
			err = fmt.Errorf("%w: %d of %d bytes", io.ErrUnexpectedEOF, n, size)
		}
		done <- err
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		to.close()
		return ctx.Err()
	}
	return serverError(err)
}

// serverError gives the type to what the library has as text: code: N, message: TEXT.
func serverError(err error) error {
	if err == nil || !strings.HasPrefix(err.Error(), "code: ") {
		return err
	}
	text, _, _ := strings.Cut(err.Error(), "\x00")
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	code, _, _ := strings.Cut(strings.TrimPrefix(text, "code: "), ",")
	return &tftpError{text, code}
}

var errGate = errors.New("the fetch is over")

// gate hands on to a pipeline until it is closed.
type gate struct {
	mu     sync.Mutex
	to     *pipeline
	closed bool
}

func (g *gate) Write(b []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.closed:
		return 0, errGate
	case g.to.failed != nil:
		return 0, g.to.failed
	}
	return g.to.Write(b)
}

// expect is told the size. If that is too much, writes fail.
func (g *gate) expect(size int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.to.failed = g.to.expect(size)
	}
}

// close returns when no write is under way and none will come.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
}
