// SPDX-License-Identifier: Apache-2.0

// Package outscale is the provider of Outscale virtual machines: the config is the
// user data, as the metadata service hands it over. The service is shaped
// like that of EC2 but knows no session tokens.
package outscale

import (
	"context"

	"firstboot.dev/ignition/internal/providers"
)

const userData = "http://169.254.169.254/latest/user-data"

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return providers.UserData(ctx, env, userData, nil)
}
