// SPDX-License-Identifier: Apache-2.0

// Package akamai is the provider of Akamai (Linode) instances: the config is
// the user data of the metadata service, which wants a token and answers in
// base64.
package akamai

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const (
	endpointIPv4 = "http://169.254.169.254"
	endpointIPv6 = "http://[fd00:a9fe:a9fe::1]"

	tokenPath    = "/v1/token"
	tokenTTL     = "300" // seconds
	userDataPath = "/v1/user-data"
	largestToken = 64 << 10
)

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return fetch(ctx, env, providers.HeadStart)
}

func fetch(ctx context.Context, env *providers.Env, head time.Duration) (providers.Result, error) {
	if env.Fetcher.IsOffline() {
		return providers.Result{}, resource.ErrNeedNet
	}
	answer := providers.FirstEndpoint(ctx, env.Log, head, []string{endpointIPv4, endpointIPv6},
		func(ctx context.Context, log resource.Log, endpoint string) (string, error) {
			return token(ctx, env, log, endpoint)
		})
	if answer.Err != nil {
		return providers.Result{}, fmt.Errorf("get token: %w", answer.Err)
	}
	body, err := providers.Metadata(ctx, env, env.Log, answer.Endpoint+userDataPath, http.Header{
		"Accept":         {"*/*"}, // the default one is refused
		"Metadata-Token": {answer.Value},
	})
	if err != nil {
		return providers.Result{}, fmt.Errorf("fetch userdata: %w", err)
	}
	raw, err := base64.StdEncoding.DecodeString(string(body)) // line breaks are skipped
	if err != nil {
		return providers.Result{}, fmt.Errorf("decode base64: %w", err)
	}
	return providers.Result{Raw: raw}, nil
}

func token(ctx context.Context, env *providers.Env, log resource.Log, endpoint string) (string, error) {
	raw, _, err := env.Fetcher.Bytes(ctx, log, resource.Request{
		URL:    endpoint + tokenPath,
		Method: http.MethodPut,
		Headers: http.Header{
			"Accept":                        {"text/plain"},
			"Metadata-Token-Expiry-Seconds": {tokenTTL},
		},
		Limit: largestToken,
	})
	if err != nil {
		return "", err
	}
	t := strings.TrimSpace(string(raw))
	if t == "" {
		return "", errors.New("received an empty token")
	}
	return t, nil
}
