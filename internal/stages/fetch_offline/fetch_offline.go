// SPDX-License-Identifier: Apache-2.0

// Package fetch_offline is the stage that runs before the network is up. The
// engine has tried to get the config without networking; the stage's own part
// is to tell whether what was found needs the network later on, so that the
// image brings it up. It fetches nothing.
package fetch_offline

import (
	"fmt"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/resource"
)

// Run returns resource.ErrNeedNet when a later stage will need the network.
func Run(cfg *config.Config) error {
	needed, at, err := config.NeedsNetwork(cfg)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if needed {
		return fmt.Errorf("%s: %w", at, resource.ErrNeedNet)
	}
	return nil
}
