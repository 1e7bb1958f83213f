// SPDX-License-Identifier: Apache-2.0

// Package aliyun is the provider of Alibaba Cloud instances: the config is the
// user data, as the metadata service hands it over.
package aliyun

import (
	"context"

	"firstboot.dev/ignition/internal/providers"
)

const userData = "http://100.100.100.200/latest/user-data"

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return providers.UserData(ctx, env, userData, nil)
}
