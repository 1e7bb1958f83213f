// SPDX-License-Identifier: Apache-2.0

// Package applehv is the provider of guests of Apple's hypervisor framework: a
// server on the host gives the config as the answer to one HTTP request, which
// goes through a virtual socket instead of a network.
package applehv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"golang.org/x/sys/unix"
)

const largestConfig = 256 << 20

// patience is how long the parts of the exchange may take.
type patience struct {
	start    time.Duration // until the host's server answers
	interval time.Duration // between tries
	report   time.Duration // between lines that say so
	headers  time.Duration // until the head of the answer is there
	total    time.Duration // for all; 0 = no limit
}

// dialer opens a connection to the host's server.
type dialer func(ctx context.Context) (net.Conn, error)

// Fetch asks the host for the config.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	if _, err := os.Stat(filepath.Join(env.SysDir, "devices/virtual/misc/vsock")); errors.Is(err, fs.ErrNotExist) {
		if err := env.Modprobe(ctx, "vsock"); err != nil {
			return providers.Result{}, fmt.Errorf("failed to install vsock kernel module: %w", err)
		}
	}
	raw, err := fetch(ctx, env.Log, dialHost, patience{
		start: 30 * time.Second, interval: 250 * time.Millisecond, report: 10 * time.Second,
		headers: 10 * time.Second, total: env.FetchTimeout,
	})
	if err != nil {
		return providers.Result{}, fmt.Errorf("asking the host for the config: %w", err)
	}
	return providers.Result{Raw: raw}, nil
}

// fetch asks until the server has answered, which it may only be starting to
// do. Whatever it then says counts.
func fetch(ctx context.Context, log resource.Log, dial dialer, wait patience) ([]byte, error) {
	if wait.total > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, wait.total, resource.ErrTimeout)
		defer cancel()
	}
	begin := time.Now()
	said := begin
	for {
		raw, answered, err := ask(ctx, dial, wait.headers)
		switch {
		case err == nil:
			return raw, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case answered:
			return nil, err
		case time.Since(begin) >= wait.start:
			return nil, fmt.Errorf("no answer within %v: %w", wait.start, err)
		}
		if time.Since(said) >= wait.report {
			log.Info("the host does not answer yet: %v", err)
			said = time.Now()
		}
		select {
		case <-time.After(wait.interval):
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// ask makes one request. answered tells whether the server has said anything.
func ask(ctx context.Context, dial dialer, headers time.Duration) (raw []byte, answered bool, err error) {
	t := &http.Transport{
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		DisableKeepAlives:     true,
		DisableCompression:    true,
		ResponseHeaderTimeout: headers,
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://d/", nil)
	if err != nil {
		return nil, true, err
	}
	req.Header.Set("Accept", "application/json")
	resp, err := t.RoundTrip(req) // and not a client: a redirect leads nowhere
	switch {
	case err != nil && silent(err):
		return nil, false, err
	case err != nil:
		return nil, true, errors.New("the answer is not HTTP") // net/http's error quotes it
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNoContent, http.StatusNotFound:
		return nil, true, nil
	default:
		return nil, true, fmt.Errorf("%w: status %d", resource.ErrFailed, resp.StatusCode)
	}
	raw, err = io.ReadAll(io.LimitReader(resp.Body, largestConfig+1))
	if err == nil && len(raw) > largestConfig {
		err = fmt.Errorf("the answer is larger than a config may be (%d bytes)", largestConfig)
	}
	return raw, true, err
}

// silent tells whether an error means that there was no answer.
func silent(err error) bool {
	var errno unix.Errno
	var timeout interface{ Timeout() bool }
	return errors.As(err, &errno) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, context.Canceled) || errors.As(err, &timeout) && timeout.Timeout()
}
