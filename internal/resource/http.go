// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/config"
)

const (
	firstPause    = 200 * time.Millisecond
	longestPause  = 5 * time.Second
	progressEvery = 10 * time.Second
)

// errIdle ends a read that gets nothing for too long.
var errIdle = errors.New("no data for too long")

// fetchHTTP tries until it has the whole body, until an answer says that
// trying again is useless, or until the total time-out.
func fetchHTTP(ctx context.Context, f *Fetcher, log Log, r Request, out *pipeline) error {
	h, err := newHTTPFetch(f, log, r, out)
	if err != nil {
		return err
	}
	total := ctx
	if f.total > 0 {
		var cancel context.CancelFunc
		total, cancel = context.WithTimeout(ctx, f.total)
		defer cancel()
	}
	for n := 1; ; n++ {
		log.Info("%s %s: attempt #%d", h.method, h.shown, n)
		err := h.attempt(total)
		if err == nil {
			return nil
		}
		var again *retryable
		if !errors.As(err, &again) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !again.said {
			log.Info("%s error: %v", h.method, again.err)
		}
		if total.Err() == nil {
			h.warnOfClock(again.err)
			_ = f.shared.opts.sleep(total, pause(n, again.after))
		}
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case total.Err() != nil:
			return ErrTimeout
		}
	}
}

// pause is the back-off after the n-th failure, with a little jitter, or what
// the server asks for, up to the cap.
func pause(n int, after time.Duration) time.Duration {
	d := longestPause
	if n < 6 {
		d = min(firstPause<<(n-1), longestPause)
	}
	d = max(d, min(after, longestPause))
	return min(d+time.Duration(rand.Int64N(int64(d)/10+1)), longestPause)
}

// retryable marks an error after which the fetch is tried again.
type retryable struct {
	err   error
	said  bool // its line was logged
	after time.Duration
}

func (r *retryable) Error() string { return r.err.Error() }
func (r *retryable) Unwrap() error { return r.err }

// httpFetch is one resource being fetched.
type httpFetch struct {
	*Fetcher
	log     Log
	request Request
	out     *pipeline
	method  string
	url     *url.URL
	shown   string
	etag    string // strong validator of what was taken so far
	length  int64  // of the whole body, -1 where not known
	clock   bool   // said that the clock may be wrong
}

// newHTTPFetch refuses what no attempt could send.
func newHTTPFetch(f *Fetcher, log Log, r Request, out *pipeline) (*httpFetch, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, errURL
	}
	h := &httpFetch{Fetcher: f, log: log, request: r, out: out, method: r.Method, url: u, shown: config.RedactURL(r.URL), length: -1}
	if h.method == "" {
		h.method = http.MethodGet
	}
	if u.Host == "" {
		return nil, fmt.Errorf("%w: %s names no host", ErrFailed, h.shown)
	}
	for name, values := range r.Headers {
		if !validHeaderName(name) || slices.ContainsFunc(values, func(v string) bool { return !validHeaderValue(v) }) {
			return nil, errHeader
		}
	}
	return h, nil
}

// validHeaderName tells whether a name is a token of HTTP.
func validHeaderName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if c == 0 || strings.IndexByte("0123456789!#$%&'*+-.^_`|~", c) < 0 {
				return false
			}
		}
	}
	return name != ""
}

// validHeaderValue tells whether a value cannot break out of its line.
func validHeaderValue(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// attempt sends one request and takes its body.
func (h *httpFetch) attempt(ctx context.Context) error {
	a, err := h.send(ctx)
	if err != nil {
		var again *retryable
		if !errors.As(err, &again) {
			h.log.Info("%s error: %v", h.method, err)
		}
		return err
	}
	defer a.drop()
	h.log.Info("%s result: %s", h.method, http.StatusText(a.StatusCode))
	if err := h.status(a.Response); err != nil {
		return err
	}
	return h.body(a)
}

// status tells what an answer means; nil is a body to take.
func (h *httpFetch) status(resp *http.Response) error {
	code := resp.StatusCode
	switch {
	case code == http.StatusOK || code == http.StatusNoContent:
		return nil
	case code == http.StatusPartialContent && h.resuming():
		return h.resumed(resp)
	case code >= 500 || slices.Contains(h.request.RetryStatus, code):
		return &retryable{err: &StatusError{code, ErrFailed}, said: true, after: retryAfter(resp)}
	case code == http.StatusRequestedRangeNotSatisfiable && h.resuming():
		h.etag = ""
		return &retryable{err: errors.New("the server cannot resume")}
	case code == http.StatusNotFound:
		return &StatusError{code, ErrNotFound}
	}
	return &StatusError{code, ErrFailed}
}

// resuming tells whether a request asks for the rest of a body only.
func (h *httpFetch) resuming() bool { return h.out.raw > 0 && h.etag != "" }

// resumed checks that an answer goes on where the body was cut, and that it is
// still the same body. If not, the next attempt begins at the start.
func (h *httpFetch) resumed(resp *http.Response) error {
	first, length, ok := contentRange(resp.Header.Get("Content-Range"))
	tag := resp.Header.Get("ETag")
	if !ok || first != h.out.raw || tag != "" && tag != h.etag || h.length >= 0 && length >= 0 && length != h.length {
		h.etag = ""
		return &retryable{err: errors.New("the server resumed with something else")}
	}
	if length >= 0 {
		h.length = length
	}
	return nil
}

// contentRange reads "bytes <first>-<last>/<length>"; a length of * is -1.
func contentRange(s string) (first, length int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, total, slash := strings.Cut(s, "/")
	start, _, dash := strings.Cut(span, "-")
	if !ok || !slash || !dash {
		return 0, 0, false
	}
	first, err := strconv.ParseInt(start, 10, 64)
	if err != nil {
		return 0, 0, false
	}
	if total == "*" {
		return first, -1, true
	}
	length, err = strconv.ParseInt(total, 10, 64)
	return first, length, err == nil && length >= 0
}

func retryAfter(resp *http.Response) time.Duration {
	n, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(min(n, 3600)) * time.Second
}

// body takes the bytes of an answer. An error on the way is worth another try:
// from the point reached if the server can tell that it still has the same
// bytes, else from the start.
func (h *httpFetch) body(a *answer) error {
	if a.StatusCode != http.StatusPartialContent {
		if h.out.raw > 0 {
			if err := h.out.restart(); err != nil {
				return err
			}
		}
		h.etag, h.length = strongETag(a.Response), a.ContentLength
		if err := h.out.expect(h.length); err != nil {
			return err
		}
	}
	now := time.Now()
	watched := &watchedBody{body: a.Body, last: now, start: now, from: h.out.raw, fetch: h}
	watched.timer = time.AfterFunc(h.shared.opts.idle, func() { a.cancel(errIdle) })
	defer watched.timer.Stop()
	err := h.out.copy(watched)
	switch {
	case h.out.failed != nil:
		return h.out.failed
	case err == nil && h.length >= 0 && h.out.raw != h.length:
		err = io.ErrUnexpectedEOF // a range that ends early
	case err == nil:
		return nil
	}
	if context.Cause(a.Request.Context()) == errIdle {
		err = fmt.Errorf("no data for %v", h.shared.opts.idle)
	}
	return &retryable{err: fmt.Errorf("reading the body after %d bytes: %w", h.out.raw, err)}
}

// strongETag gives the validator by which a download may be resumed.
func strongETag(resp *http.Response) string {
	tag := resp.Header.Get("ETag")
	if strings.HasPrefix(tag, `"`) && resp.Header.Get("Accept-Ranges") != "none" {
		return tag
	}
	return ""
}

// watchedBody ends a read that gets no byte for too long, and tells of long downloads.
type watchedBody struct {
	body        io.Reader
	timer       *time.Timer
	last, start time.Time
	from        int64 // where this attempt began
	fetch       *httpFetch
}

func (w *watchedBody) Read(b []byte) (int, error) {
	w.timer.Reset(w.fetch.shared.opts.idle)
	n, err := w.body.Read(b)
	w.timer.Stop()
	if now := time.Now(); now.Sub(w.last) >= w.fetch.shared.opts.progress {
		w.last = now
		w.tell(now, int64(n))
	}
	return n, err
}

func (w *watchedBody) tell(now time.Time, n int64) {
	const mib = 1 << 20
	h := w.fetch
	got := h.out.raw + n
	rate := float64(got-w.from) / mib / now.Sub(w.start).Seconds()
	of := ""
	if h.length > 0 {
		of = fmt.Sprintf(" of %.1f", float64(h.length)/mib)
	}
	text := fmt.Sprintf("%s %s: %.1f%s MiB so far, %.1f MiB/s", h.method, h.shown, float64(got)/mib, of, rate)
	h.log.Info("%s", text)
	if p := h.shared.opts.Progress; p != nil {
		p(text)
	}
}

// warnOfClock says once that a certificate may be refused because the machine's
// clock is not set yet. The fetch goes on: the clock may be set meanwhile.
func (h *httpFetch) warnOfClock(err error) {
	var invalid x509.CertificateInvalidError
	if h.clock || !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		return
	}
	if now := time.Now(); now.Before(invalid.Cert.NotBefore) {
		h.clock = true
		h.log.Warning("the server's certificate is valid from %s on, but this machine's clock says %s; trying on until the clock is set",
			invalid.Cert.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
}
