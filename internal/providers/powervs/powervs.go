// SPDX-License-Identifier: Apache-2.0

// Package powervs is the provider of IBM Power Virtual Servers: the config is the
// user data on the config drive, which is always attached.
package powervs

import (
	"context"

	"firstboot.dev/ignition/internal/providers"
)

var drive = providers.Drive{Label: "config-2", Files: []string{"/openstack/latest/user_data"}}

// Fetch gives the user data. None is an empty result; no drive is an error.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	raw, err := drive.Fetch(ctx, env, env.DriveWait(), nil)
	return providers.Result{Raw: raw}, err
}
