// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/sysroot"
)

const (
	presetFile = "/etc/systemd/system-preset/20-ignition.preset"
	machineID  = "/etc/machine-id"
)

// Presets applies the presets that the files stage wrote, on an image where
// PID 1 does not: systemd's own idea of a first boot is a machine-id that is
// missing or says "uninitialized". Nothing but the units of the config changes.
func (e *Env) Presets(ctx context.Context) error {
	root, err := sysroot.Open(e.at(e.Sysroot))
	if err != nil {
		return err
	}
	defer root.Close()
	id, err := root.ReadFile(machineID)
	switch {
	case errors.Is(err, os.ErrNotExist):
		e.Log.Info("there is no %s: systemd applies presets itself", machineID)
		return nil
	case err != nil:
		return fmt.Errorf("looking whether systemd applies presets itself: %w", err)
	case strings.TrimSpace(string(id)) == "uninitialized":
		e.Log.Info("%s is uninitialized: systemd applies presets itself", machineID)
		return nil
	}
	raw, err := root.ReadFile(presetFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, unit := range presetUnits(raw) {
		if err := e.preset(ctx, unit); err != nil {
			return err
		}
	}
	return nil
}

// preset applies the presets of one unit. That a unit does not exist is no
// error where PID 1 applies them, so it is none here.
func (e *Env) preset(ctx context.Context, unit string) error {
	op := oplog.Op{Desc: fmt.Sprintf("applying the preset of %q", unit), Kind: "preset", Path: unit}
	return e.Log.Do(op, func(log *oplog.Logger) error {
		cmd := exec.Cmd{Name: "systemctl", Args: []string{"--root=" + e.at(e.Sysroot), "preset", "--", unit}, Env: []string{"LC_ALL=C"}}
		res, err := e.runner().RunIn(ctx, log, cmd)
		if err != nil && strings.Contains(string(res.Stderr), "does not exist") {
			log.Warning("the unit %q does not exist, so it is neither enabled nor disabled", unit)
			return nil
		}
		return err
	})
}

// presetUnits are the units of a preset file; a template stands for its instances.
func presetUnits(raw []byte) []string {
	var out []string
	for _, l := range lines(raw) {
		f := strings.Fields(l)
		if len(f) < 2 || f[0] != "enable" && f[0] != "disable" {
			continue
		}
		prefix, suffix, template := strings.Cut(f[1], "@.")
		if !template || len(f) == 2 {
			out = append(out, f[1])
			continue
		}
		for _, instance := range f[2:] {
			out = append(out, prefix+"@"+instance+"."+suffix)
		}
	}
	return out
}
