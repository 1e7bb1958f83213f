// SPDX-License-Identifier: Apache-2.0

// Package hetzner is the provider of Hetzner Cloud servers: the config is the
// user data, as the metadata service hands it over.
package hetzner

import (
	"context"

	"firstboot.dev/ignition/internal/providers"
)

const userData = "http://169.254.169.254/hetzner/v1/userdata"

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return providers.UserData(ctx, env, userData, nil)
}
