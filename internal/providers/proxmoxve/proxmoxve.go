// SPDX-License-Identifier: Apache-2.0

// Package proxmoxve is the provider of Proxmox VE machines: the config is the
// user data, or else the vendor data, on a NoCloud drive. What Proxmox makes up
// for cloud-init by itself is passed over.
package proxmoxve

import (
	"bytes"
	"context"

	"firstboot.dev/ignition/internal/providers"
)

// Fetch gives the config. No drive within 30 s is an empty result, as is a
// drive without a config.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	drive := providers.Drive{Label: "cidata", Files: []string{"/user-data", "/vendor-data"}}
	drive.Usable = func(file string, raw []byte) bool {
		switch {
		case cloudConfig(raw):
			env.Log.Debug("config drive (%q) contains a cloud-config configuration, ignoring", file)
			return false
		case len(raw) == 0:
			env.Log.Debug("config drive (%q) is empty, ignoring", file)
			return false
		}
		env.Log.Debug("config drive (%q) contains data", file)
		return true
	}
	return drive.FetchOptional(ctx, env, providers.NoCloudWait)
}

// cloudConfig tells whether the first line says that this is for cloud-init.
func cloudConfig(raw []byte) bool {
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	return string(bytes.TrimRight(line, " \t\r")) == "#cloud-config"
}
