// SPDX-License-Identifier: Apache-2.0

// Package ibmcloud is the provider of IBM Cloud (VPC) instances: the config is
// the user data on a NoCloud drive.
package ibmcloud

import (
	"context"

	"firstboot.dev/ignition/internal/providers"
)

// Fetch gives the user data. No drive within 30 s is an empty result, as is a
// drive without the file.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return providers.Drive{Label: "cidata", Files: []string{"/user-data"}}.FetchOptional(ctx, env, providers.NoCloudWait)
}
