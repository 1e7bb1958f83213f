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
	keptBody      = 4 << 10  // bytes of a refusal
	headway       = 16 << 10 // bytes of one attempt that make its end no further failure
)

// errIdle ends a read that gets nothing for too long.
var errIdle = errors.New("no data for too long")

// fetchHTTP tries until it has the whole body, until an answer says that
// trying again is useless, or until the total time-out.
func fetchHTTP(ctx context.Context, f *Fetcher, log Log, r Request, out *pipeline) error {
	if done, err := fetchAzureBlob(ctx, f, log, r, out); done || err != nil {
		return err
	}
	h, err := newHTTPFetch(f, log, r, out)
	if err != nil {
		return err
	}
	return h.run(ctx)
}

func (h *httpFetch) run(ctx context.Context) error {
	log := h.log
	failures := 0 // in a row
	for n := 1; ; n++ {
		log.Info("%s %s: attempt #%d", h.method, h.shown, n)
		had := h.out.raw
		err := h.attempt(ctx)
		if err == nil {
			return nil
		}
		var again *retryable
		if !errors.As(err, &again) {
			return err
		}
		if ctx.Err() != nil && context.Cause(ctx) != errTotal {
			return ctx.Err()
		}
		if !again.said {
			log.Info("%s error: %v", h.method, again.err)
		}
		if h.out.raw-had >= headway {
			failures = 0 // a download that is cut again and again gets on all the same
		}
		failures++
		if ctx.Err() == nil {
			h.warnOfClock(again.err)
			_ = h.shared.opts.sleep(ctx, pause(failures, again.after))
		}
		if ctx.Err() != nil {
			return ended(ctx, again.err)
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

	prepare  func(*http.Request) error // the last touch to the first request of an attempt, may be nil
	stay     bool                      // redirects are answers
	keepBody bool                      // what the server says of a refusal is kept
	taking   func()                    // called when a body begins, may be nil
}

// showAs has log lines name the resource by another URL than the one that is asked.
func (h *httpFetch) showAs(raw string) { h.shown = config.RedactURL(raw) }

// newHTTPFetch refuses what no attempt could send.
func newHTTPFetch(f *Fetcher, log Log, r Request, out *pipeline) (*httpFetch, error) {
	u, err := url.Parse(r.URL)
	if err != nil {
		return nil, errURL
	}
	if r.LowPort {
		f = f.fromLowPort()
	}
	h := &httpFetch{Fetcher: f, log: log, request: r, out: out, method: r.Method, url: u, shown: config.RedactURL(r.URL), length: -1}
	if h.method == "" {
		h.method = http.MethodGet
	}
	if u.Host == "" {
		return nil, fmt.Errorf("%w: %s names no host", ErrFailed, h.shown)
	}
	for name, values := range r.Headers {
		if !validHeader(name, values) {
			return nil, errHeader
		}
	}
	return h, nil
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
		var status *StatusError
		if errors.As(err, &status) {
			status.header = a.Header
			if h.keepBody {
				t := time.AfterFunc(h.shared.opts.idle, func() { a.cancel(errIdle) })
				status.body, _ = io.ReadAll(io.LimitReader(a.Body, keptBody))
				t.Stop()
			}
		}
		return err
	}
	if h.taking != nil {
		h.taking()
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
		return &retryable{err: &StatusError{Code: code, err: ErrFailed}, said: true, after: retryAfter(resp)}
	case code == http.StatusRequestedRangeNotSatisfiable && h.resuming():
		h.etag = ""
		return &retryable{err: errors.New("the server cannot resume")}
	case code == http.StatusNotFound:
		return &StatusError{Code: code, err: ErrNotFound}
	}
	return &StatusError{Code: code, err: ErrFailed}
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
	watched := &watchedBody{body: a.Body, last: now, start: now, from: h.out.raw, got: h.out.raw, fetch: h}
	h.shared.meter.begin(watched)
	defer h.shared.meter.end(watched)
	watched.timer = time.AfterFunc(h.shared.opts.idle, func() { a.cancel(errIdle) })
	defer watched.timer.Stop()
	err := h.out.copy(watched)
	over := context.Cause(a.Request.Context())
	switch {
	case h.out.failed != nil:
		return h.out.failed
	case err != nil:
	case h.length >= 0 && h.out.raw != h.length:
		err = io.ErrUnexpectedEOF // a range that ends early
	case h.length < 0 && over != nil:
		err = over // a server may end a body in good order when we hang up
	default:
		return nil
	}
	if over == errIdle {
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
	got         int64 // the meter's
	fetch       *httpFetch
}

func (w *watchedBody) Read(b []byte) (int, error) {
	w.timer.Reset(w.fetch.shared.opts.idle)
	n, err := w.body.Read(b)
	w.timer.Stop()
	now := time.Now()
	if now.Sub(w.last) >= w.fetch.shared.opts.progress {
		w.last = now
		w.tell(now, int64(n))
	}
	w.fetch.shared.meter.count(w, n, now)
	return n, err
}

func (w *watchedBody) tell(now time.Time, n int64) {
	h := w.fetch
	text := fmt.Sprintf("%s %s: %s", h.method, h.shown, Progress(h.out.raw+n, w.from, h.length, now.Sub(w.start)))
	h.log.Info("%s", text)
	if p := h.shared.opts.Progress; p != nil {
		p(text)
	}
}

// Progress tells how far a download is that stands at got of length bytes (-1 =
// not known), having begun at from.
func Progress(got, from, length int64, took time.Duration) string {
	const mib = 1 << 20
	rate := float64(got-from) / took.Seconds() // bytes per second
	if length <= 0 {
		return fmt.Sprintf("%.1f MiB so far, %.1f MiB/s", float64(got)/mib, rate/mib)
	}
	end := ""
	const foreseen = 100 * 3600 // seconds
	if rest := float64(length-got) / rate; got < length && rest < foreseen {
		end = fmt.Sprintf(", %v to go", time.Duration(max(rest, 1))*time.Second)
	}
	return fmt.Sprintf("%.1f of %.1f MiB so far, %.1f MiB/s%s", float64(got)/mib, float64(length)/mib, rate/mib, end)
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
