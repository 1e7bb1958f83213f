// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"context"
	"fmt"
	"path"
	"strings"

	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/filesystems"
	"firstboot.dev/ignition/internal/exec/luks"
	"firstboot.dev/ignition/internal/exec/raid"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/plan"
)

// Look gathers what Preview needs to know of this machine. It only reads,
// waits for nothing, and tries no key.
func Look(ctx context.Context, in Input) (*Facts, error) {
	host := *in.Host
	host.ReadOnly = true
	in.Host = &host
	s := &stage{Input: in, ctx: ctx, s: &in.Config.Storage, looking: true}
	g, err := s.gather(oplog.Deferred())
	if err != nil {
		return nil, err
	}
	return g.facts, g.everything()
}

// Preview tells what Run would do on a machine of which these facts are known,
// in the order of the config's sections. It is a pure function but for the keys
// of generated volumes, which it looks for in the root.
func Preview(in Input, facts *Facts) (plan.Stage, error) {
	s := &stage{Input: in, s: &in.Config.Storage}
	p := &preview{stage: s, facts: facts, real: *in.Host}
	p.real.ReadOnly = false
	for i := range s.s.LUKS {
		l := &s.s.LUKS[i]
		if d := facts.device(deref(l.Device)); d != nil && recoverable(l) && s.keyIn(s.Root, l.Name) != nil {
			d.Key = KeyOpens
		}
	}
	ops, err := Plan(s.s, facts, s.Rules)
	if err != nil {
		return plan.Stage{}, err
	}
	for _, op := range ops {
		switch o := op.(type) {
		case *Partitioning:
			p.partitioning(o)
		case *Array:
			p.array(o)
		case *Volume:
			p.volume(o)
		case *Filesystem:
			p.filesystem(o)
		}
	}
	return p.out, nil
}

// preview turns operations of the stage into those of a plan.
type preview struct {
	*stage
	facts *Facts
	real  block.Host // with the aliases that programs get in a boot
	out   plan.Stage
}

func (p *preview) add(op oplog.Op, effect plan.Effect, loses, depends string) {
	one := plan.Of(op, effect)
	// A reader knows devices by the config's names.
	one.Desc = strings.ReplaceAll(one.Desc, p.real.AliasDir+"/", "/")
	one.Loses, one.Depends = loses, depends
	p.out.Operations = append(p.out.Operations, one)
}

// keep lists an entry that nothing is done about.
func (p *preview) keep(op Operation, kind, depends string) {
	p.add(oplog.Op{Kind: kind, Path: op.Entry().Device, ConfigPath: op.Entry().Path, Desc: op.String()}, plan.Keep, "", depends)
}

const absent = "a device that is not there now"

// pending says what an operation waits for.
func (p *preview) pending(op Operation, device string) string {
	switch {
	case !op.Pending() || p.facts.device(device) != nil:
		return ""
	case p.makes(device):
		return ""
	}
	return absent
}

// makes tells whether the config itself makes a device: what it does with it
// follows from that.
func (p *preview) makes(device string) bool {
	for i := range p.s.RAID {
		if raid.Node(p.s.RAID[i].Name) == device {
			return true
		}
	}
	for i := range p.s.LUKS {
		if name, ok := strings.CutPrefix(device, "/dev/mapper/"); ok && p.s.LUKS[i].Name == name {
			return true
		}
		if p.s.LUKS[i].Name == path.Base(device) && strings.HasPrefix(device, "/dev/disk/by-id/dm-name-") {
			return true
		}
	}
	for i := range p.s.Disks {
		for _, part := range p.s.Disks[i].Partitions {
			if deref(part.Label) != "" && device == "/dev/disk/by-partlabel/"+*part.Label {
				return true
			}
			if part.Number > 0 && (device == fmt.Sprintf("%s%d", p.s.Disks[i].Device, part.Number) ||
				device == fmt.Sprintf("%sp%d", p.s.Disks[i].Device, part.Number) || device == fmt.Sprintf("%s-part%d", p.s.Disks[i].Device, part.Number)) {
				return true
			}
		}
	}
	return false
}

func (p *preview) partitioning(o *Partitioning) {
	d := p.facts.device(o.at.Device)
	if d == nil {
		p.add(oplog.Op{Kind: "write-table", Path: o.at.Device, ConfigPath: o.at.Path, Desc: o.String()}, plan.Change, "", absent)
		return
	}
	o.Alias = p.real.Alias(o.at.Device)
	p.out.Disks = append(p.out.Disks, o.layout(d))
	if !o.Changes() {
		p.keep(o, "write-table", "")
		return
	}
	if o.Wipe {
		op := o.wipeOp()
		op.Desc = fmt.Sprintf("removing the partition table of %q", o.at.Device)
		p.add(op, plan.Delete, "the partition table"+p.lostParts(d, func(int) bool { return true }), "")
	}
	if len(o.Delete)+len(o.Create) == 0 {
		return
	}
	lost := ""
	if !o.Wipe {
		lost = strings.TrimPrefix(p.lostParts(d, o.destroys), " and ")
	}
	p.add(o.writeOp(), plan.Change, lost, "")
	p.out.Operations[len(p.out.Operations)-1].Exact = strings.Join(o.sgdiskArgs(false), " ")
}

// destroys tells whether what a partition holds is gone afterwards.
func (o *Partitioning) destroys(number int) bool {
	for _, c := range o.Create {
		if c.Number == number {
			return !c.Resizes
		}
	}
	return o.touches(number)
}

// lostParts names partitions.
func (p *preview) lostParts(d *Device, which func(number int) bool) string {
	var names []string
	for _, part := range d.Parts {
		if !which(part.Number) {
			continue
		}
		name := fmt.Sprintf("partition %d", part.Number)
		if entry, ok := d.Table.Partition(part.Number); ok && entry.Label != "" {
			name += fmt.Sprintf(" %q", entry.Label)
		}
		names = append(names, fmt.Sprintf("%s of %s", name, plan.Bytes(part.Size)))
	}
	if len(names) == 0 {
		return ""
	}
	return " and what is on " + strings.Join(names, ", ")
}

// layout is the table as it is and as it will be.
func (o *Partitioning) layout(d *Device) plan.Disk {
	out := plan.Disk{Device: o.at.Device, Size: d.Size, SectorSize: o.SectorSize}
	of := func(n int, start, size int64, label, kind string) plan.Partition {
		return plan.Partition{Number: n, Label: label, Type: kind, Start: start * o.SectorSize, Size: size * o.SectorSize}
	}
	for _, e := range d.Table.Partitions {
		out.Before = append(out.Before, of(e.Number, e.Start, e.Size, e.Label, e.TypeGUID))
		if !o.Wipe && !o.touches(e.Number) {
			out.After = append(out.After, of(e.Number, e.Start, e.Size, e.Label, e.TypeGUID))
		}
	}
	for _, c := range o.Create {
		out.After = append(out.After, of(c.Number, c.Start, c.Size, deref(c.Label), c.TypeGUID))
	}
	plan.SortPartitions(out.After)
	return out
}

func (p *preview) array(o *Array) {
	for i, device := range p.s.RAID[index(o.at.Path)].Devices {
		o.Devices[i] = p.real.Alias(device)
	}
	switch o.Action {
	case KeepArray, StartArray:
		p.keep(o, "assemble-array", "")
		return
	}
	depends := ""
	for _, device := range p.s.RAID[index(o.at.Path)].Devices {
		if p.facts.device(device) == nil && !p.makes(device) {
			depends = absent
		}
	}
	p.add(raid.CreateOp(o.Array, o.at.Path), plan.Create, p.lostContents(p.s.RAID[index(o.at.Path)].Devices...), depends)
}

// lostContents names what is known to be on devices.
func (p *preview) lostContents(devices ...string) string {
	var names []string
	for _, device := range devices {
		d := p.facts.device(device)
		if d == nil {
			continue
		}
		what := ""
		switch c := d.Content; {
		case d.Member != nil:
			what = fmt.Sprintf("its part of array %q", d.Member.Name)
		case d.Volume != nil && d.Volume.Version != 0:
			what = "its LUKS volume"
		case c.Type != "" && c.Label != "":
			what = fmt.Sprintf("%s %q", c.Type, c.Label)
		case c.Type != "":
			what = c.Type
		default:
			continue
		}
		names = append(names, fmt.Sprintf("%s: %s, %s", device, what, plan.Bytes(d.Size)))
	}
	return strings.Join(names, "; ")
}

func (p *preview) volume(o *Volume) {
	l := &p.s.LUKS[index(o.at.Path)]
	device := deref(l.Device)
	if o.Action == ReuseVolume {
		depends := ""
		if deref(l.KeyFile.Source) != "" {
			depends = "that the key of the config opens it, which a plan does not try"
		}
		p.keep(o, "luks-open", depends)
		return
	}
	if o.Pending() {
		o.Wipe, o.Mark = isTrue(l.WipeVolume), luks.Marked(l)
	}
	depends := p.pending(o, device)
	loses := p.lostContents(device)
	if o.Wipe || o.Action == RemakeVolume {
		if d := p.facts.device(device); loses == "" && d != nil {
			loses = fmt.Sprintf("what %s holds, %s", device, plan.Bytes(d.Size))
		}
		p.add(filesystems.WipeOp(p.real.Alias(device), o.at.Path), plan.Delete, loses, depends)
	}
	v := luks.NewVolume(l, p.real.Alias(device), "")
	v.ConfigPath = o.at.Path
	for _, op := range v.Ops(l, o.Mark) {
		p.add(op, plan.Create, "", depends)
	}
}

func (p *preview) filesystem(o *Filesystem) {
	f := &p.s.Filesystems[index(o.at.Path)]
	if o.Action == KeepFilesystem {
		p.keep(o, "make-filesystem", "")
		return
	}
	if o.Pending() && o.Format == "none" {
		o.Action = WipeOnly
	}
	alias := p.real.Alias(f.Device)
	depends := p.pending(o, f.Device)
	if depends == "" && o.Pending() && !isTrue(f.WipeFilesystem) {
		depends = "that nothing is left over there: a filesystem that is as the config says is kept, another is refused"
	}
	p.add(filesystems.WipeOp(alias, o.at.Path), plan.Delete, p.lostContents(f.Device), depends)
	if o.Action != WipeOnly {
		p.add(filesystems.MakeOp(o.Format, alias, o.at.Path), plan.Create, "", depends)
	}
}

// index is the last part of an entry's path.
func index(at string) (n int) {
	for _, c := range at[strings.LastIndexByte(at, '.')+1:] {
		n = 10*n + int(c-'0')
	}
	return n
}

// recoverable tells whether an earlier run may have left the key of a volume in the target.
func recoverable(l *config.LUKS) bool {
	return deref(l.KeyFile.Source) == "" && !luks.UsesClevis(l) && !isTrue(l.WipeVolume) && !isTrue(l.CEX.Enabled)
}

// agreed asks whether what would be done now is what was planned. It looks at
// the machine as a plan does.
func (s *stage) agreed() error {
	if s.Agreed == nil {
		return nil
	}
	facts, err := Look(s.ctx, s.Input)
	if err != nil {
		return err
	}
	list, err := Preview(s.Input, facts)
	if err != nil {
		return err
	}
	return s.Agreed(list.Operations)
}
