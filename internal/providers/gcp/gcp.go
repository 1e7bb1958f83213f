// SPDX-License-Identifier: Apache-2.0

// Package gcp is the provider of Google Compute Engine instances: the config is the
// user data, as the metadata service hands it over.
package gcp

import (
	"context"

	"firstboot.dev/ignition/internal/providers"
)

const userData = "http://169.254.169.254/computeMetadata/v1/instance/attributes/user-data"

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return providers.UserData(ctx, env, userData, map[string][]string{"Metadata-Flavor": {"Google"}})
}
