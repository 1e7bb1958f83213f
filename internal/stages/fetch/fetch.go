// SPDX-License-Identifier: Apache-2.0

// Package fetch is the stage that gets the config over the network. The engine
// does all of that for every stage whose name begins with "fetch"; what is left
// for the stage itself is to say that it is done.
package fetch

import "firstboot.dev/ignition/internal/oplog"

// Run logs that the config was fetched.
func Run(log *oplog.Logger) error {
	log.Info("fetch complete")
	return nil
}
