// SPDX-License-Identifier: Apache-2.0

// Package digitalocean is the provider of DigitalOcean droplets: the config is the
// user data, as the metadata service hands it over.
package digitalocean

import (
	"context"

	"firstboot.dev/ignition/internal/providers"
)

const userData = "http://169.254.169.254/metadata/v1/user-data"

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return providers.UserData(ctx, env, userData, nil)
}
