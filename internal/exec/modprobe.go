// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"context"
	"fmt"

	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/oplog"
)

// Modprobe loads a kernel module as an operation. Callers look first whether
// it is there already, since it may be built in or modprobe may be missing.
func Modprobe(ctx context.Context, l *oplog.Logger, r *Runner, module string) error {
	op := oplog.Op{
		Desc: fmt.Sprintf("loading kernel module %q", module),
		Kind: "modprobe",
		Path: module,
	}
	_, err := r.Logged(ctx, l, op, Cmd{Name: distro.Modprobe, Args: []string{module}})
	return err
}
