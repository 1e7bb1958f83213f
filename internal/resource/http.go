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
	"net/textproto"
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
	maxRedirects  = 10
	progressEvery = 10 * time.Second
)

var errRedirects = fmt.Errorf("stopped after %d redirects", maxRedirects)

// fetchHTTP tries until it has the whole body, until an answer says that
// trying again is useless, or until the total time-out.
func fetchHTTP(ctx context.Context, f *Fetcher, log Log, r Request, out *pipeline) error {
	total := ctx
	if f.total > 0 {
		var cancel context.CancelFunc
		total, cancel = context.WithTimeout(ctx, f.total)
		defer cancel()
	}
	h := &httpFetch{Fetcher: f, log: log, request: r, out: out, method: r.Method, shown: config.RedactURL(r.URL)}
	if h.method == "" {
		h.method = http.MethodGet
	}
	for n := 1; ; n++ {
		log.Info("%s %s: attempt #%d", h.method, h.shown, n)
		err := h.attempt(total)
		if err == nil {
			return nil
		}
		var again *retryable
		if !errors.As(err, &again) {
			if total.Err() != nil && ctx.Err() == nil && !errors.Is(err, out.failed) {
				return ErrTimeout
			}
			return err
		}
		if !again.said {
			log.Info("%s error: %v", h.method, again.err)
		}
		if total.Err() == nil {
			h.warnOfClock(again.err)
			_ = f.shared.opts.sleep(total, pause(n, again.after))
		}
		if total.Err() != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
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
	shown   string
	etag    string // strong validator of what was taken so far
	clock   bool   // said that the clock may be wrong
}

// attempt sends one request and takes its body.
func (h *httpFetch) attempt(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := h.newRequest(ctx)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: h.transport, CheckRedirect: h.redirect}
	resp, err := client.Do(req)
	if err != nil {
		err = redactError(err)
		if errors.Is(err, errRedirects) {
			h.log.Info("%s error: %v", h.method, err)
			return err
		}
		return &retryable{err: err}
	}
	defer resp.Body.Close()
	h.log.Info("%s result: %s", h.method, http.StatusText(resp.StatusCode))
	if err := h.status(resp); err != nil {
		_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
		return err
	}
	return h.body(resp, cancel)
}

func (h *httpFetch) newRequest(ctx context.Context) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, h.method, h.request.URL, nil)
	if err != nil {
		return nil, redactError(err)
	}
	req.Header = h.defaultHeaders()
	for name, values := range h.request.Headers {
		if strings.EqualFold(name, "Host") {
			req.Host = values[len(values)-1]
			continue
		}
		req.Header[textproto.CanonicalMIMEHeaderKey(name)] = values
	}
	if h.out.raw > 0 && h.etag != "" {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", h.out.raw))
		req.Header.Set("If-Range", h.etag)
	}
	return req, nil
}

func (h *httpFetch) defaultHeaders() http.Header {
	o := h.shared.opts
	return http.Header{
		"User-Agent":      {"Ignition/" + o.Version},
		"Accept":          {"application/vnd.coreos.ignition+json;version=" + o.Stable + ", */*;q=0.1"},
		"Accept-Encoding": {"identity"},
	}
}

// redirect is followed without the resource's own headers: they may be meant
// for the first server alone.
func (h *httpFetch) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return errRedirects
	}
	if via[len(via)-1].URL.Scheme == "https" && req.URL.Scheme == "http" {
		h.log.Warning("%s was redirected from https to http (%s)", h.shown, config.RedactURL(req.URL.String()))
	}
	req.Header = h.defaultHeaders()
	req.Host = ""
	return nil
}

// status tells what an answer means; nil is a body to take.
func (h *httpFetch) status(resp *http.Response) error {
	code := resp.StatusCode
	switch {
	case code == http.StatusOK || code == http.StatusNoContent:
		return nil
	case code == http.StatusPartialContent && h.out.raw > 0 && h.etag != "":
		if !strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", h.out.raw)) {
			h.etag = ""
			return &retryable{err: errors.New("the server resumed at the wrong place")}
		}
		return nil
	case code >= 500 || slices.Contains(h.request.RetryStatus, code):
		return &retryable{err: &StatusError{code, ErrFailed}, said: true, after: retryAfter(resp)}
	case code == http.StatusRequestedRangeNotSatisfiable && h.out.raw > 0:
		h.etag = ""
		return &retryable{err: errors.New("the server cannot resume")}
	case code == http.StatusNotFound:
		return &StatusError{code, ErrNotFound}
	}
	return &StatusError{code, ErrFailed}
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
func (h *httpFetch) body(resp *http.Response, cancel context.CancelCauseFunc) error {
	if resp.StatusCode != http.StatusPartialContent {
		if h.out.raw > 0 {
			if err := h.out.restart(); err != nil {
				return err
			}
		}
		h.etag = strongETag(resp)
	}
	watched := &watchedBody{
		body: resp.Body, idle: h.shared.opts.idle, last: time.Now(), start: time.Now(),
		total: resp.ContentLength, fetch: h,
	}
	if total := resp.ContentLength; total >= 0 {
		watched.total = total + h.out.raw
	}
	watched.timer = time.AfterFunc(watched.idle, func() {
		cancel(fmt.Errorf("no data for %v", watched.idle))
	})
	defer watched.timer.Stop()
	err := h.out.copy(watched)
	if err == nil {
		return nil
	}
	if h.out.failed != nil {
		return h.out.failed
	}
	if cause := context.Cause(resp.Request.Context()); cause != nil && errors.Is(err, context.Canceled) {
		err = cause
	}
	return &retryable{err: fmt.Errorf("reading the body: %w", redactError(err))}
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
	idle        time.Duration
	timer       *time.Timer
	last, start time.Time
	total       int64 // -1: not known
	fetch       *httpFetch
}

func (w *watchedBody) Read(b []byte) (int, error) {
	w.timer.Reset(w.idle)
	n, err := w.body.Read(b)
	w.timer.Stop()
	if now := time.Now(); now.Sub(w.last) >= progressEvery {
		w.last = now
		w.tell(now)
	}
	return n, err
}

func (w *watchedBody) tell(now time.Time) {
	const mib = 1 << 20
	got := float64(w.fetch.out.raw) / mib
	rate := got / now.Sub(w.start).Seconds()
	of := ""
	if w.total > 0 {
		of = fmt.Sprintf(" of %.1f", float64(w.total)/mib)
	}
	text := fmt.Sprintf("%s %s: %.1f%s MiB so far, %.1f MiB/s", w.fetch.method, w.fetch.shown, got, of, rate)
	w.fetch.log.Info("%s", text)
	if p := w.fetch.shared.opts.Progress; p != nil {
		p(text)
	}
}

// redactError takes credentials out of the URL that net/http puts into its errors.
func redactError(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	return fmt.Errorf("%s %q: %w", u.Op, config.RedactURL(u.URL), u.Err)
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
