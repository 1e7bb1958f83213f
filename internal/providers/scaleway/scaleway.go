// SPDX-License-Identifier: Apache-2.0

// Package scaleway is the provider of Scaleway instances: the config is the
// user data, which the metadata service tells only to privileged programs: the
// connection must come from a port below 1024.
package scaleway

import (
	"context"
	"errors"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const (
	endpointIPv4 = "http://169.254.42.42"
	endpointIPv6 = "http://[fd00:42::42]"
	userDataPath = "/user_data/cloud-init"
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
			raw, _, err := env.Fetcher.Bytes(ctx, log, resource.Request{URL: endpoint + userDataPath, LowPort: true})
			return raw, err
		})
	if errors.Is(answer.Err, resource.ErrNotFound) {
		return providers.Result{}, nil
	}
	return providers.Result{Raw: answer.Value}, answer.Err
}
