// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"fmt"

	"firstboot.dev/ignition/internal/exec/raid"
	"firstboot.dev/ignition/internal/oplog"
)

// createRaids goes through the arrays, one after the other, and waits for the
// node of each.
func (s *stage) createRaids(log *oplog.Logger) error {
	for i := range s.s.RAID {
		a := &s.s.RAID[i]
		path := fmt.Sprintf("$.storage.raid.%d", i)
		g, err := s.gather(log)
		if err == nil {
			err = g.array(a)
		}
		if err != nil {
			return fail(path, "look at the devices: one may be broken", err)
		}
		op, err := planArray(a, path, g.facts)
		if err != nil {
			return err
		}
		if err := s.array(log, op); err != nil {
			return fail(path, "look at the members of the array", err)
		}
		node := raid.Node(a.Name)
		if err := s.wait(log, raidStep, []neededDevice{{node, path}}); err != nil {
			return err
		}
		if n, err := s.Host.Look(node); err == nil && op.Changes() {
			s.fresh[n.Name] = true
		}
	}
	return nil
}

func (s *stage) array(log *oplog.Logger, op *Array) error {
	for _, note := range op.notes {
		log.Warning("%s", note)
	}
	switch op.Action {
	case KeepArray:
		log.Info("array %q is already as specified", op.Name)
		return nil
	case StartArray:
		return raid.Assemble(s.ctx, log, s.Runner, op.Array, op.at.Path)
	}
	return raid.Create(s.ctx, log, s.Runner, op.Array, op.at.Path)
}
