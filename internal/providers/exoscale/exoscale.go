// SPDX-License-Identifier: Apache-2.0

// Package exoscale is the provider of Exoscale instances: the config is the
// user data, as the metadata service hands it over.
package exoscale

import (
	"context"

	"firstboot.dev/ignition/internal/providers"
)

const userData = "http://169.254.169.254/1.0/user-data"

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return providers.UserData(ctx, env, userData, nil)
}
