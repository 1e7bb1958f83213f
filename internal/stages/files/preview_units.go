// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/plan"
)

func (p *preview) units() error {
	var lines presets
	for i := range p.Config.Systemd.Units {
		u := &p.Config.Systemd.Units[i]
		entry := fmt.Sprintf("$.systemd.units.%d", i)
		err := p.unit(u, entry)
		if err == nil && u.Enabled != nil {
			err = lines.add(u.Name, *u.Enabled, entry)
		}
		if err == nil && u.Mask != nil {
			err = p.maskUnit(u, entry)
		}
		if err != nil {
			return entryError(entry, err)
		}
	}
	sort.Sort(byKey(lines.list))
	for _, one := range lines.list {
		if err := p.preset(one); err != nil {
			return entryError(one.entry, err)
		}
	}
	return nil
}

func (p *preview) unit(u *config.Unit, entry string) error {
	at, err := unitPath(unitDir, u.Name)
	if err != nil {
		return err
	}
	for i, d := range u.Dropins {
		if d.Contents == nil {
			continue
		}
		file, err := unitPath(at+".d", d.Name)
		if err != nil {
			return err
		}
		if err := p.unitFile(fmt.Sprintf("writing systemd drop-in %q", d.Name), file, *d.Contents, fmt.Sprintf("%s.dropins.%d", entry, i)); err != nil {
			return err
		}
	}
	if u.Contents == nil || *u.Contents == "" {
		return nil
	}
	if u.Mask != nil && *u.Mask {
		if resolved, err := p.Root.Resolve(at); err == nil && p.isMasked(resolved) {
			return nil
		}
	}
	return p.unitFile(fmt.Sprintf("writing unit %q", u.Name), at, *u.Contents, entry)
}

func (p *preview) unitFile(what, file, contents, entry string) error {
	file, err := p.Root.Resolve(file)
	if err != nil {
		return err
	}
	effect := plan.Create
	var old []byte
	mode := fs.FileMode(fileMode)
	if st, err := p.Root.Lstat(file); err == nil {
		effect = plan.Change
		if st.Mode.IsDir() {
			return fmt.Errorf("%s: is a directory", p.Root.Display(file))
		}
		if st.Mode.IsRegular() {
			old, mode = p.oldText(file), st.Mode
		}
	}
	if p.samePlain(file, []byte(contents), fileMode) {
		effect = plan.Keep
	}
	p.made[file] = 0
	op := plan.Of(p.unitOp(what, file, entry), effect)
	if effect != plan.Keep {
		op.Diff = p.difference(file, mode, old, []byte(contents))
	}
	p.add(op)
	return nil
}

func (p *preview) maskUnit(u *config.Unit, entry string) error {
	at, err := unitPath(unitDir, u.Name)
	if err != nil {
		return err
	}
	file, err := p.Root.Resolve(at)
	if err != nil {
		return err
	}
	target, linkErr := p.Root.Readlink(file)
	_, wasMade := p.made[file]
	masked := linkErr == nil && target == "/dev/null" && !wasMade
	if !*u.Mask {
		if masked {
			p.add(plan.Of(unmaskOp(u.Name, file, entry), plan.Delete))
		}
		return nil
	}
	effect := plan.Create
	st, statErr := p.Root.Lstat(file)
	switch {
	case masked && p.finished:
		effect = plan.Keep
	case statErr == nil || wasMade:
		effect = plan.Change
	}
	op := plan.Of(maskOp(u.Name, file, entry), effect)
	if effect == plan.Change && statErr == nil && !masked {
		op.Loses = "the " + typeName(st.Mode) + " that is there"
	}
	p.add(op)
	return nil
}

// preset is one line of the preset file.
func (p *preview) preset(one *preset) error {
	verb := "enable "
	op := presetOp(one)
	if !one.enabled {
		verb = "disable "
		var linked []string
		for _, unit := range one.units {
			if _, err := p.systemctl("is-enabled", unit); err == nil {
				linked = append(linked, unit)
			}
		}
		if len(linked) == 0 {
			p.add(plan.Of(op, plan.Keep))
			return nil
		}
		for _, unit := range linked {
			p.add(plan.Of(disableOp(unit, one.entry), plan.Delete))
		}
	}
	had, err := p.hasPreset(verb + one.text())
	effect := plan.Change
	if had {
		effect = plan.Keep
	}
	p.add(plan.Of(op, effect))
	return err
}

// crypttab tells of the lines and key files of volumes. Whether a line is there
// already shows in its name alone: the UUID of a volume that is not made yet is
// not known.
func (p *preview) crypttab() error {
	if len(p.Config.Storage.LUKS) == 0 {
		return nil
	}
	raw, _ := p.Root.ReadFile(crypttabPath) // none, or the run will say why not
	for i := range p.Config.Storage.LUKS {
		l := &p.Config.Storage.LUKS[i]
		effect := plan.Change
		for line := range strings.Lines(string(raw)) {
			if f := strings.Fields(line); len(f) > 0 && f[0] == l.Name {
				effect = plan.Keep
			}
		}
		op := plan.Of(oplog.Op{
			Kind: "crypttab", Path: crypttabPath, ConfigPath: fmt.Sprintf("$.storage.luks.%d", i),
			Desc: fmt.Sprintf("writing the line of %q to %q, and its key to %q", l.Name, p.Root.Display(crypttabPath), path.Join(p.LUKSKeyDir, l.Name)),
		}, effect)
		op.Depends = "the UUID of the volume"
		p.add(op)
	}
	return nil
}
