// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"errors"
	"fmt"

	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/luks"
	"firstboot.dev/ignition/internal/exec/raid"
	"firstboot.dev/ignition/internal/oplog"
)

// gatherer collects facts. It only reads.
type gatherer struct {
	*stage
	log   *oplog.Logger
	users *block.Users
	facts *Facts
}

// gather begins a collection with a fresh look at what is in use.
func (s *stage) gather(log *oplog.Logger) (*gatherer, error) {
	users, err := s.Host.Users()
	if err != nil {
		return nil, err
	}
	return &gatherer{stage: s, log: log, users: users, facts: &Facts{Devices: map[string]*Device{}}}, nil
}

// device looks at a device that exists; the alias is there.
func (g *gatherer) device(device string) (*Device, error) {
	if d := g.facts.Devices[device]; d != nil {
		return d, nil
	}
	node, err := g.Host.Look(g.Host.Alias(device))
	if err != nil {
		return nil, fmt.Errorf("failed to resolve %q: %w", g.Host.Alias(device), err)
	}
	d := &Device{Node: node, Alias: g.Host.Alias(device), Use: g.users.Of(node), Fresh: g.fresh[node.Name]}
	if d.Parts, err = g.parts(node); err != nil {
		return nil, err
	}
	g.facts.Devices[device] = d
	return d, nil
}

func (g *gatherer) parts(node block.Node) ([]Part, error) {
	list, err := g.Host.Parts(node)
	if err != nil {
		return nil, err
	}
	var parts []Part
	for _, p := range list {
		parts = append(parts, Part{p, g.users.Of(p.Node)})
	}
	return parts, nil
}

// disk looks at a disk and its partition table.
func (g *gatherer) disk(disk *config.Disk) (*Device, error) {
	d, err := g.device(disk.Device)
	if err != nil {
		return nil, fmt.Errorf("failed usage check on %q: %w", g.Host.Alias(disk.Device), err)
	}
	if isTrue(disk.WipeTable) && !g.looking {
		return d, nil // whatever it holds
	}
	_ = g.log.Do(oplog.Op{Desc: fmt.Sprintf("reading partition table of %q", d.Alias), Kind: "read-table", Path: d.Path}, func(l *oplog.Logger) error {
		d.Table, d.TableErr = g.Host.ReadTable(d.Node)
		switch {
		case d.TableErr != nil:
			l.Notice("%v", d.TableErr)
		case d.Table.Damaged != "":
			l.Warning("the %s copy of the partition table of %q is damaged; the other one counts", d.Table.Damaged, d.Alias)
		}
		return nil // what it means is decided later
	})
	if d.TableErr == nil && !d.Table.Present {
		d.Content, d.ContentErr = g.Host.Probe(g.ctx, g.log, d.Alias)
		if d.ContentErr != nil {
			d.TableErr = d.ContentErr
		}
	}
	return d, nil
}

// array looks at the members of an array and at its own node.
func (g *gatherer) array(a *config.RAID) error {
	for _, device := range a.Devices {
		if !g.there(device) {
			continue
		}
		d, err := g.device(device)
		if err != nil {
			return err
		}
		if d.Member, err = raid.Examine(g.ctx, g.log, g.Runner, d.Alias); err != nil {
			return err
		}
	}
	node := raid.Node(a.Name)
	if g.there(node) {
		d, err := g.device(node)
		if err != nil {
			return err
		}
		d.Array, err = raid.Detail(g.ctx, g.log, g.Runner, node)
		return err
	}
	return g.assembled(a, node)
}

// assembled looks for an array of the entry's name that runs already, but whose
// link udev has not made yet: its members say what they are part of.
func (g *gatherer) assembled(a *config.RAID, node string) error {
	for _, device := range a.Devices {
		d := g.facts.Devices[device]
		if d == nil || d.Member == nil || d.Member.Name != raid.ShortName(a.Name) || len(d.Use.Holders) != 1 {
			continue
		}
		holder := "/dev/" + d.Use.Holders[0]
		array, err := raid.Detail(g.ctx, g.log, g.Runner, holder)
		if err != nil || array == nil || array.UUID != d.Member.UUID {
			return err
		}
		n, err := g.Host.Look(holder)
		if err != nil {
			return err
		}
		g.facts.Devices[node] = &Device{Node: n, Alias: holder, Use: g.users.Of(n), Array: array}
		return nil
	}
	return nil
}

// there tells whether a device exists, and makes its alias unless this sub-step
// has made it.
func (g *gatherer) there(device string) bool {
	if !g.Host.Exists(device) {
		return false
	}
	if g.aliased[device] {
		return true
	}
	_, err := g.Host.MakeAlias(g.ctx, g.log, device)
	return err == nil
}

// volume looks at a device that is to hold LUKS, and at an open volume of the name.
func (g *gatherer) volume(l *config.LUKS) (*Device, error) {
	d, err := g.device(deref(l.Device))
	if err != nil {
		return nil, err
	}
	if d.Mapper, err = g.mapper(l.Name); err != nil {
		return nil, err
	}
	if isTrue(l.WipeVolume) && !g.looking {
		return d, nil
	}
	m := g.manager(g.log)
	found, err := m.Inspect(g.ctx, luks.NewVolume(l, d.Alias, ""))
	if err != nil {
		return nil, err
	}
	d.Volume = &found
	if found.Version == 0 {
		d.Content, d.ContentErr = g.probe(fmt.Sprintf("determining volume type of %q", deref(l.Device)), d)
		if c := d.Content; c.Type != "" {
			g.log.Info("found %s at %q with uuid %q and label %q", c.Type, deref(l.Device), c.UUID, c.Label)
		}
	}
	return d, nil
}

// mapper looks at an open volume.
func (g *gatherer) mapper(name string) (*Mapper, error) {
	path := "/dev/mapper/" + name
	if !g.Host.Exists(path) {
		return nil, nil
	}
	node, err := g.Host.Look(path)
	if err != nil {
		return nil, err
	}
	m := &Mapper{Node: node, Use: g.users.Of(node)}
	m.LUKS, m.On = g.Host.Crypt(node)
	return m, nil
}

// filesystem looks at what a device holds.
func (g *gatherer) filesystem(f *config.Filesystem) (*Device, error) {
	d, err := g.device(f.Device)
	if err != nil || !handled(f) {
		return d, err
	}
	d.Content, d.ContentErr = g.probe(fmt.Sprintf("determining filesystem type of %q", f.Device), d)
	if d.ContentErr != nil && isTrue(f.WipeFilesystem) {
		g.log.Warning("%v; it is wiped anyway", d.ContentErr)
	}
	if c := d.Content; c.Type != "" {
		g.log.Info("found %s filesystem at %q with uuid %q and label %q", c.Type, f.Device, c.UUID, c.Label)
	}
	return d, nil
}

// probe is an operation that does not fail: what a failure means is decided later.
func (g *gatherer) probe(desc string, d *Device) (c block.Content, err error) {
	_ = g.log.Do(oplog.Op{Desc: desc, Kind: "probe", Path: d.Path}, func(l *oplog.Logger) error {
		if c, err = g.Host.Probe(g.ctx, l, d.Alias); err != nil {
			l.Notice("%v", err)
		}
		return nil
	})
	return c, err
}

// everything collects the facts of all sections' devices that exist.
func (g *gatherer) everything() error {
	var errs []error
	note := func(path string, err error) {
		if err != nil {
			errs = append(errs, entryOr(path, "look at the device: it may be broken", err))
		}
	}
	for i := range g.s.Disks {
		if g.looking && !g.there(g.s.Disks[i].Device) {
			continue
		}
		_, err := g.disk(&g.s.Disks[i])
		note(fmt.Sprintf("$.storage.disks.%d", i), err)
	}
	for i := range g.s.RAID {
		note(fmt.Sprintf("$.storage.raid.%d", i), g.array(&g.s.RAID[i]))
	}
	for i := range g.s.LUKS {
		if l := &g.s.LUKS[i]; g.there(deref(l.Device)) {
			path := fmt.Sprintf("$.storage.luks.%d", i)
			d, err := g.volume(l)
			if err == nil && !g.looking {
				err = g.tryRecovered(g.log, l, path, d)
			}
			note(path, err)
		}
	}
	for i := range g.s.Filesystems {
		if f := &g.s.Filesystems[i]; handled(f) && g.there(f.Device) {
			_, err := g.filesystem(f)
			note(fmt.Sprintf("$.storage.filesystems.%d", i), err)
		}
	}
	return errors.Join(errs...)
}
