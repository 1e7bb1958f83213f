// SPDX-License-Identifier: Apache-2.0

// Package aws is the provider of EC2 instances: the config is the instance's
// user data, read from the instance metadata service with a session token
// (IMDSv2). The token is asked for when something needs it, and once. For
// fetches from object storage the package also tells the instance's region and
// the credentials of its role.
package aws

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const (
	endpointIPv4 = "http://169.254.169.254"
	endpointIPv6 = "http://[fd00:ec2::254]"

	tokenPath    = "/latest/api/token"
	tokenTTL     = "21600" // seconds
	ttlHeader    = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	tokenHeader  = "X-Aws-Ec2-Metadata-Token"
	userDataPath = "/2019-10-01/user-data"

	// headStart is how long the IPv4 endpoint may take before the IPv6 one is tried as well.
	headStart = 2 * time.Second

	largestToken    = 64 << 10
	largestUserData = 64 << 20 // unpacked
)

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	if env.Fetcher.IsOffline() {
		return providers.Result{}, resource.ErrNeedNet
	}
	c := client{env: env, head: headStart, v4: endpointIPv4, v6: endpointIPv6}
	raw, err := c.userData(ctx)
	if err != nil {
		return providers.Result{}, err
	}
	raw, err = unpack(raw, largestUserData)
	return providers.Result{Raw: raw}, err
}

// client talks to one machine's metadata service.
type client struct {
	env    *providers.Env
	v4, v6 string
	head   time.Duration

	endpoint string // where the token came from
	token    string // "" before it was asked for, and with IMDSv1
}

// endpoints lists where the service may answer, best first.
func (c *client) endpoints() []string {
	if e := c.env.IMDSEndpoint; e != "" {
		return []string{strings.TrimRight(e, "/")}
	}
	switch strings.ToLower(c.env.IMDSMode) {
	case "ipv6":
		return []string{c.v6}
	case "ipv4":
		return []string{c.v4}
	}
	return []string{c.v4, c.v6}
}

func (c *client) userData(ctx context.Context) ([]byte, error) {
	if err := c.authenticate(ctx); err != nil {
		return nil, err
	}
	raw, err := c.get(ctx, userDataPath)
	if statusOf(err) == http.StatusUnauthorized && c.token != "" {
		// The token has run out: a new one, once.
		if err := c.authenticate(ctx); err != nil {
			return nil, err
		}
		raw, err = c.get(ctx, userDataPath)
	}
	switch {
	case errors.Is(err, resource.ErrNotFound):
		return nil, nil
	case statusOf(err) == http.StatusForbidden:
		return nil, turnedOff(err)
	}
	return raw, err
}

func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	h := http.Header{}
	if c.token != "" {
		h.Set(tokenHeader, c.token)
	}
	raw, _, err := c.env.Fetcher.Bytes(ctx, c.env.Log, resource.Request{URL: c.endpoint + path, Headers: h})
	return raw, err
}

// answer is what one endpoint said to the request for a token.
type answer struct {
	endpoint string
	token    string
	err      error
	held     *heldLog // lines that nobody has seen yet
}

// decides tells whether to wait no longer for another endpoint: this one has
// answered, be it with a refusal, or the time for the fetch is over.
func (a answer) decides() bool {
	return a.err == nil || statusOf(a.err) != 0 || errors.Is(a.err, resource.ErrTimeout)
}

// authenticate asks for a session token: at the IPv4 endpoint, and, when that
// is silent for a while, at the IPv6 one too. The first that answers is used
// from then on.
func (c *client) authenticate(ctx context.Context) error {
	a := c.race(ctx, c.endpoints())
	if c.endpoint == "" {
		c.endpoint = a.endpoint
	}
	switch {
	case errors.Is(a.err, resource.ErrNotFound):
		c.env.Log.Info("IMDSv2 service is unavailable; falling back to IMDSv1")
		c.token = ""
		return nil
	case statusOf(a.err) == http.StatusForbidden:
		return turnedOff(a.err)
	case a.err != nil:
		return fmt.Errorf("asking the instance metadata service for a token: %w", a.err)
	}
	c.token = a.token
	return nil
}

// race asks the endpoints, each a head start after the one before it, and gives
// the answer of the first that has one. When it returns, the others are stopped.
func (c *client) race(ctx context.Context, endpoints []string) answer {
	if c.endpoint != "" {
		endpoints = []string{c.endpoint}
	}
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan answer, len(endpoints))
	for i, e := range endpoints {
		go func() {
			select {
			case <-time.After(time.Duration(i) * c.head):
				answers <- c.askToken(ctx, e, i > 0)
			case <-ctx.Done():
				answers <- answer{endpoint: e, err: ctx.Err()}
			}
		}()
	}
	best := <-answers
	for n := 1; n < len(endpoints); n++ {
		if best.decides() {
			cancel()
		}
		if next := <-answers; next.decides() && !best.decides() {
			best = next
		}
	}
	cancel()
	if best.held != nil {
		best.held.release()
	}
	return best
}

// askToken asks one endpoint. The lines of a quiet request are held back: on
// nearly every machine it is IPv4 that answers, and then they only confuse.
func (c *client) askToken(ctx context.Context, endpoint string, quiet bool) answer {
	a := answer{endpoint: endpoint}
	log := c.env.Log
	if quiet {
		a.held = &heldLog{to: log}
		log = a.held
	}
	raw, _, err := c.env.Fetcher.Bytes(ctx, log, resource.Request{
		URL:     endpoint + tokenPath,
		Method:  http.MethodPut,
		Headers: http.Header{ttlHeader: {tokenTTL}},
		Limit:   largestToken,
	})
	a.token, a.err = strings.TrimSpace(string(raw)), err
	if err == nil && a.token == "" {
		a.err = errors.New("the answer is empty")
	}
	return a
}

// statusOf gives the HTTP status that a fetch failed with, 0 where it was something else.
func statusOf(err error) int {
	var status *resource.StatusError
	if errors.As(err, &status) {
		return status.Code
	}
	return 0
}

func turnedOff(err error) error {
	return &config.EntryError{
		Path: "EC2 user data",
		Hint: "turn the instance metadata service on (HttpEndpoint=enabled) and raise its hop limit, or put the config on the image or the kernel command line",
		Err:  fmt.Errorf("the instance metadata service refuses requests: it is turned off for this instance: %w", err),
	}
}

// unpack undoes gzip, which the size limit of user data makes people use.
func unpack(raw []byte, limit int64) ([]byte, error) {
	if !bytes.HasPrefix(raw, []byte{0x1f, 0x8b, 0x08}) {
		return raw, nil
	}
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("user data is not whole gzip: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, fmt.Errorf("user data is not whole gzip: %w", err)
	}
	if int64(len(out)) > limit {
		return nil, fmt.Errorf("user data unpacks to more than %d bytes", limit)
	}
	return out, nil
}
