// SPDX-License-Identifier: Apache-2.0

// Package oraclecloud is the provider of Oracle Cloud instances: the config is
// the user data of the instance metadata service, in base64.
package oraclecloud

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const (
	endpointIPv4 = "http://169.254.169.254"
	endpointIPv6 = "http://[fd00:c1::a9fe:a9fe]"
	userDataPath = "/opc/v2/instance/metadata/user_data"
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
		func(ctx context.Context, log resource.Log, endpoint string) ([]byte, error) {
			raw, _, err := env.Fetcher.Bytes(ctx, log, resource.Request{
				URL:         endpoint + userDataPath,
				Headers:     http.Header{"Authorization": {"Bearer Oracle"}},
				RetryStatus: []int{http.StatusTooManyRequests},
			})
			return raw, err
		})
	switch {
	case errors.Is(answer.Err, resource.ErrNotFound):
		return providers.Result{}, nil
	case answer.Err != nil:
		return providers.Result{}, answer.Err
	}
	raw, err := base64.StdEncoding.DecodeString(string(answer.Value))
	if err != nil {
		return providers.Result{}, fmt.Errorf("decoding userdata: %w", err)
	}
	return providers.Result{Raw: raw}, nil
}
