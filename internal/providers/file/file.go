// SPDX-License-Identifier: Apache-2.0

// Package file is the provider that reads the config from a file, named by the
// environment variable IGNITION_CONFIG_FILE. Tests and image builders use it.
package file

import (
	"context"
	"fmt"
	"os"

	"firstboot.dev/ignition/internal/providers"
)

const defaultName = "config.ign"

// Fetch reads the file. Any error, also that it is not there, is fatal.
func Fetch(_ context.Context, env *providers.Env) (providers.Result, error) {
	name := env.ConfigFile
	if name == "" {
		env.Log.Info("using default filename")
		name = defaultName
	}
	env.Log.Info("using config file at %q", name)
	raw, err := os.ReadFile(name)
	if err != nil {
		return providers.Result{}, fmt.Errorf("couldn't read config %q: %w", name, err)
	}
	return providers.Result{Raw: raw}, nil
}
