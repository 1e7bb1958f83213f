// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/config"
)

const (
	maxRedirects = 10
	drainBytes   = 64 << 10
	drainTime    = time.Second / 2
)

var (
	errRedirects = fmt.Errorf("%w: stopped after %d redirects", ErrFailed, maxRedirects)
	errMetadata  = fmt.Errorf("%w: redirected to a link-local address, where metadata services with the machine's credentials are", ErrFailed)
	errRedirect  = fmt.Errorf("%w: redirected to what is no http or https URL", ErrFailed)
)

// answer is a response and what ends its request.
type answer struct {
	*http.Response
	cancel context.CancelCauseFunc
}

// drop ends an answer. What is left of it is read if it is short and comes at
// once, so that the connection can be used again.
func (a *answer) drop() {
	if a.ContentLength <= drainBytes {
		t := time.AfterFunc(drainTime, func() { a.cancel(nil) })
		_, _ = io.CopyN(io.Discard, a.Body, drainBytes)
		t.Stop()
	}
	a.Body.Close()
	a.cancel(nil)
}

// send sends the request and follows redirects. It does so itself: net/http's
// client would wait without limit for the rest of a redirect's body, forget the
// range of a download that is resumed, and quote the new URL in its errors.
func (h *httpFetch) send(ctx context.Context) (*answer, error) {
	method, at := h.method, h.url
	header, host := h.ownHeader()
	for hop := 0; ; hop++ {
		var prepare func(*http.Request) error
		if hop == 0 {
			prepare = h.prepare
		}
		a, err := h.roundTrip(ctx, method, at, header, host, prepare)
		if err != nil {
			return nil, err
		}
		location := a.Header.Get("Location")
		if !redirects(a.StatusCode) || location == "" || h.stay {
			return a, nil
		}
		keep := a.StatusCode == http.StatusTemporaryRedirect || a.StatusCode == http.StatusPermanentRedirect
		a.drop()
		if hop == maxRedirects {
			return nil, h.urlError(method, at, errRedirects)
		}
		if at, err = h.follow(at, location); err != nil {
			return nil, err
		}
		if !keep {
			method = http.MethodGet
		}
		// The resource's own headers may be meant for the first server alone.
		header, host = h.defaultHeader(), ""
	}
}

func redirects(code int) bool {
	switch code {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// follow gives the URL that a redirect leads to.
func (h *httpFetch) follow(from *url.URL, location string) (*url.URL, error) {
	to, err := from.Parse(location)
	if err != nil || to.Host == "" || to.Scheme != "http" && to.Scheme != "https" {
		return nil, h.urlError(h.method, from, errRedirect)
	}
	if ip := net.ParseIP(to.Hostname()); ip != nil && ip.IsLinkLocalUnicast() && to.Hostname() != from.Hostname() {
		return nil, h.urlError(h.method, from, errMetadata)
	}
	if from.Scheme == "https" && to.Scheme == "http" {
		h.log.Warning("%s was redirected from https to http (%s)", h.shown, config.RedactURL(to.String()))
	}
	return to, nil
}

func (h *httpFetch) roundTrip(ctx context.Context, method string, at *url.URL, header http.Header, host string, prepare func(*http.Request) error) (*answer, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	req := (&http.Request{Method: method, URL: at, Header: header, Host: host}).WithContext(ctx)
	if at == h.url && len(h.request.Body) > 0 {
		body := h.request.Body
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	}
	if u := at.User; u != nil && header.Get("Authorization") == "" {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	if prepare != nil {
		if err := prepare(req); err != nil {
			cancel(nil)
			return nil, err
		}
	}
	resp, err := h.transport.RoundTrip(req)
	if err != nil {
		cancel(nil)
		return nil, &retryable{err: h.urlError(method, at, err)}
	}
	return &answer{resp, cancel}, nil
}

// urlError has the form of net/http's errors, without credentials in the URL.
func (h *httpFetch) urlError(method string, at *url.URL, err error) error {
	return fmt.Errorf("%s %q: %w", method[:1]+strings.ToLower(method[1:]), config.RedactURL(at.String()), err)
}

// defaultHeader is what every request carries.
func (h *httpFetch) defaultHeader() http.Header {
	o := h.shared.opts
	header := http.Header{
		"User-Agent":      {"Ignition/" + o.Version},
		"Accept":          {"application/vnd.coreos.ignition+json;version=" + o.Stable + ", */*;q=0.1"},
		"Accept-Encoding": {"identity"},
	}
	if h.resuming() {
		header.Set("Range", fmt.Sprintf("bytes=%d-", h.out.raw))
		header.Set("If-Range", h.etag)
	}
	return header
}

// ownHeader is what the first request carries: the resource's headers replace the defaults.
func (h *httpFetch) ownHeader() (header http.Header, host string) {
	header = h.defaultHeader()
	for name, values := range h.request.Headers {
		if len(values) == 0 {
			continue
		}
		if strings.EqualFold(name, "Host") {
			host = values[len(values)-1]
			continue
		}
		header[http.CanonicalHeaderKey(name)] = values
	}
	return header, host
}
