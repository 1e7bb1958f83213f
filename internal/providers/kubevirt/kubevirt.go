// SPDX-License-Identifier: Apache-2.0

// Package kubevirt is the provider of KubeVirt machines: the config is the user
// data on a NoCloud drive or on a config drive.
package kubevirt

import (
	"context"

	"firstboot.dev/ignition/internal/providers"
)

// Fetch gives the user data. None, or no drive, is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	raw, err := providers.FirstConfig(ctx, env, []providers.Candidate{
		providers.Drive{Label: "cidata", Files: []string{"/user-data"}}.Candidate(env),
		providers.Drive{Label: "config-2", Files: []string{"/openstack/latest/user_data"}}.Candidate(env),
	})
	return providers.Result{Raw: raw}, err
}
