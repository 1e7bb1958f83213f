// SPDX-License-Identifier: Apache-2.0

// Package upcloud is the provider of UpCloud servers: the config is the
// user data, as the metadata service hands it over. The metadata service
// must be turned on for the server.
package upcloud

import (
	"context"

	"firstboot.dev/ignition/internal/providers"
)

const userData = "http://169.254.169.254/metadata/v1/user_data"

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return providers.UserData(ctx, env, userData, nil)
}
