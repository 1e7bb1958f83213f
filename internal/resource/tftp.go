// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"time"

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
	total := ctx
	if f.total > 0 {
		var cancel context.CancelFunc
		total, cancel = context.WithTimeout(ctx, f.total)
		defer cancel()
	}
	t := tftpFetch{url: u, out: out, options: true}
	shown := config.RedactURL(r.URL)
	for n := 1; ; n++ {
		log.Info("GET %s: attempt #%d", shown, n)
		err := t.attempt(total)
		if err == nil {
			log.Info("GET result: OK")
			return nil
		}
		if ctx.Err() != nil {
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
		if total.Err() == nil {
			_ = f.shared.opts.sleep(total, pause(n, 0))
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case total.Err() != nil:
			return &timeoutError{err}
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

// from takes the file from one address. The library knows no context: what it
// writes to refuses when it is over, and its time-outs end it where nothing comes.
func (t *tftpFetch) from(ctx context.Context, addr string) error {
	c, err := tftp.NewClient(addr)
	if err != nil {
		return err
	}
	c.SetTimeout(tftpTimeout)
	c.SetRetries(tftpRetries)
	if t.options {
		c.SetBlockSize(tftpBlock)
		c.RequestTSize(true)
	}
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
			if n, known := s.Size(); known {
				size = n
			}
		}
		if err := t.out.expect(size); err != nil {
			done <- err
			return
		}
		n, err := transfer.WriteTo(whileRunning{ctx, t.out})
		if err == nil && size >= 0 && n != size {
			err = fmt.Errorf("%w: %d of %d bytes", io.ErrUnexpectedEOF, n, size)
		}
		done <- err
	}()
	err = <-done
	if err != nil && strings.HasPrefix(err.Error(), "code: ") {
		code, _, _ := strings.Cut(strings.TrimPrefix(err.Error(), "code: "), ",")
		return &tftpError{err.Error(), code}
	}
	return err
}

// whileRunning writes until a context is done.
type whileRunning struct {
	ctx context.Context
	to  io.Writer
}

func (w whileRunning) Write(b []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.to.Write(b)
}
