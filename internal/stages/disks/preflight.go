// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"fmt"

	"firstboot.dev/ignition/internal/oplog"
)

// preflight decides about everything on what is there already, so that a config
// that cannot work fails with nothing changed. What does not exist yet, or is
// made anew by an earlier section, is decided about in its turn.
func (s *stage) preflight() error {
	log := s.Log.With("checkDevices")
	return log.Do(oplog.Op{Desc: "checking that the devices can become what the config asks for", Kind: "check-devices"}, func(log *oplog.Logger) error {
		g, err := s.gather(log)
		if err != nil {
			return err
		}
		if err := g.everything(); err != nil {
			return err
		}
		ops, err := Plan(s.s, g.facts, s.Rules)
		if err != nil {
			logRefusals(log, err)
			return err
		}
		if err := s.agreed(); err != nil {
			return err
		}
		written := false
		for _, op := range ops {
			if p, ok := op.(*Partitioning); ok {
				if err := s.pretend(log, p); err != nil {
					return partitionStep.wrap(err)
				}
			}
			if v, ok := op.(*Volume); ok && written && v.Action == ReuseVolume {
				if err := s.tryKey(g, v); err != nil {
					return luksStep.wrap(err)
				}
			}
			written = written || op.Changes()
			log.Debug("plan: %s", op)
		}
		return nil
	})
}

// tryKey finds out whether the key of a volume to reuse opens it, when
// something would be written before that comes out by itself.
func (s *stage) tryKey(g *gatherer, op *Volume) error {
	for i := range s.s.LUKS {
		l := &s.s.LUKS[i]
		if fmt.Sprintf("$.storage.luks.%d", i) != op.at.Path {
			continue
		}
		d, err := g.device(deref(l.Device))
		if err != nil {
			return err
		}
		if err := s.testKey(g.log, l, op.at.Path, d); err != nil {
			return err
		}
		_, err = planVolume(l, op.at.Path, d)
		return err
	}
	return nil
}
