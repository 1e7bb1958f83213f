// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"os"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/stages"
)

// Facts describes this machine's disks, for a plan that is made elsewhere.
func Facts(ctx context.Context, o Options) ([]byte, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("only root may read the disks")
	}
	empty := config.Empty()
	m, err := stages.LookAtDisks(ctx, &stages.Env{Config: &empty, Log: o.Log, Runner: &exec.Runner{}, State: &stages.State{}})
	if err != nil {
		return nil, err
	}
	return m.Encode(), nil
}
