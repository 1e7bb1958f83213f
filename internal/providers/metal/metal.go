// SPDX-License-Identifier: Apache-2.0

// Package metal is the provider of machines without a platform: it has no
// config. Theirs comes by the kernel command line or from the image.
package metal

import (
	"context"

	"firstboot.dev/ignition/internal/providers"
)

// Fetch gives no config.
func Fetch(_ context.Context, env *providers.Env) (providers.Result, error) {
	env.Log.Debug("metal provider fetching empty config")
	return providers.Result{}, nil
}
