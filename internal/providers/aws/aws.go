// SPDX-License-Identifier: Apache-2.0

// Package aws is the provider of EC2 instances: the config is the instance's
// user data, read from the instance metadata service with a session token
// (IMDSv2). The token is asked for when something needs it, and once. For
// fetches from object storage the package also tells the instance's region and
// the credentials of its role.
package aws

import (
	"context"
	"errors"
	"fmt"
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

	largestToken = 64 << 10
)

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	if env.Fetcher.IsOffline() {
		return providers.Result{}, resource.ErrNeedNet
	}
	c := client{env: env, head: providers.HeadStart, v4: endpointIPv4, v6: endpointIPv6}
	raw, err := c.userData(ctx)
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
	raw, err := c.document(ctx, userDataPath)
	if errors.Is(err, resource.ErrNotFound) {
		return nil, nil
	}
	return raw, err
}

// document gets one document, with a session token that is asked for once.
func (c *client) document(ctx context.Context, path string) ([]byte, error) {
	if c.endpoint == "" {
		if err := c.authenticate(ctx); err != nil {
			return nil, err
		}
	}
	raw, err := c.get(ctx, path)
	if providers.StatusOf(err) == http.StatusUnauthorized && c.token != "" {
		// The token has run out: a new one, once.
		if err := c.authenticate(ctx); err != nil {
			return nil, err
		}
		raw, err = c.get(ctx, path)
	}
	if providers.StatusOf(err) == http.StatusForbidden {
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

// authenticate asks for a session token: at the IPv4 endpoint, and, when that
// is silent for a while, at the IPv6 one too. The first that answers is used
// from then on.
func (c *client) authenticate(ctx context.Context) error {
	endpoints := c.endpoints()
	if c.endpoint != "" {
		endpoints = []string{c.endpoint}
	}
	a := providers.FirstEndpoint(ctx, c.env.Log, c.head, endpoints, c.askToken)
	if a.Err == nil || errors.Is(a.Err, resource.ErrNotFound) {
		c.endpoint = a.Endpoint
	}
	switch {
	case errors.Is(a.Err, resource.ErrNotFound):
		c.env.Log.Info("IMDSv2 service is unavailable; falling back to IMDSv1")
		c.token = ""
		return nil
	case providers.StatusOf(a.Err) == http.StatusForbidden:
		return turnedOff(a.Err)
	case a.Err != nil:
		return fmt.Errorf("asking the instance metadata service for a token: %w", a.Err)
	}
	c.token = a.Value
	return nil
}

func (c *client) askToken(ctx context.Context, log resource.Log, endpoint string) (string, error) {
	raw, _, err := c.env.Fetcher.Bytes(ctx, log, resource.Request{
		URL:     endpoint + tokenPath,
		Method:  http.MethodPut,
		Headers: http.Header{ttlHeader: {tokenTTL}},
		Limit:   largestToken,
	})
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(raw))
	if token == "" {
		return "", errors.New("the answer is empty")
	}
	return token, nil
}

func turnedOff(err error) error {
	return &config.EntryError{
		Path: "EC2 user data",
		Hint: "turn the instance metadata service on (HttpEndpoint=enabled) and raise its hop limit, or put the config on the image or the kernel command line",
		Err:  fmt.Errorf("the instance metadata service refuses requests: it is turned off for this instance: %w", err),
	}
}
