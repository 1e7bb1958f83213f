// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

const presetPath = "/etc/systemd/system-preset/20-ignition.preset"

// preset is one line of the preset file: a unit, or a template with its instances.
type preset struct {
	name      string // the unit or the template
	instances []string
	units     []string // the units that the line is about
	enabled   bool
	entry     string
}

// presets are the lines of one run.
type presets struct{ list []*preset }

// add notes one unit. All instances of a template in the same state share a line.
func (p *presets) add(name string, enabled bool, entry string) error {
	one := &preset{name: name, units: []string{name}, enabled: enabled, entry: entry}
	prefix, rest, isInstance := strings.Cut(name, "@")
	if isInstance {
		dot := strings.LastIndexByte(rest, '.')
		if dot < 0 {
			return fmt.Errorf("unit name %q has an @ but no type after it", name)
		}
		one.name = prefix + "@" + rest[dot:]
		if instance := rest[:dot]; instance != "" {
			one.instances = []string{instance}
		}
		for _, have := range p.list {
			if have.name == one.name && have.enabled == enabled {
				have.instances = append(have.instances, one.instances...)
				have.units = append(have.units, name)
				return nil
			}
		}
	}
	p.list = append(p.list, one)
	return nil
}

// text is what stands behind "enable" or "disable".
func (p *preset) text() string {
	return strings.Join(append([]string{p.name}, p.instances...), " ")
}

func (p *preset) key() string {
	if p.enabled {
		return p.name + "-enabled"
	}
	return p.name + "-disabled"
}

// byKey is for sort.Sort, which, unlike slices.SortFunc, is not compiled anew for each type.
type byKey []*preset

func (l byKey) Len() int           { return len(l) }
func (l byKey) Less(i, j int) bool { return l[i].key() < l[j].key() }
func (l byKey) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }

func (s *stage) writePresets(p *presets) error {
	sort.Sort(byKey(p.list))
	instances := false
	for _, one := range p.list {
		var err error
		if one.enabled {
			err = s.enable(one)
		} else {
			err = s.disable(one)
		}
		if err != nil {
			return entryError(one.entry, err)
		}
		instances = instances || len(one.instances) > 0
	}
	if instances {
		s.checkSystemd()
	}
	return nil
}

func presetOp(p *preset) oplog.Op {
	state := "disabled"
	if p.enabled {
		state = "enabled"
	}
	return oplog.Op{Desc: fmt.Sprintf("setting preset to %s for %q", state, p.text()), Kind: "preset", Path: p.name, ConfigPath: p.entry}
}

func disableOp(unit, entry string) oplog.Op {
	return oplog.Op{Desc: fmt.Sprintf("removing enablement symlink(s) for %q", unit), Kind: "disable-unit", Path: unit, ConfigPath: entry}
}

func (s *stage) enable(p *preset) error {
	r := s.Log.Start(presetOp(p))
	return r.End(s.addPreset("enable "+p.text(), r))
}

// disable writes a line only for units that the tree enables: the line, and
// then the removal of their links, so that a run that is cut between the two is
// known by the line.
func (s *stage) disable(p *preset) error {
	r := s.Log.Start(presetOp(p))
	return r.End(func() error {
		line := "disable " + p.text()
		had, err := s.hasPreset(line)
		if err != nil {
			return err
		}
		var linked []string
		for _, unit := range p.units {
			if _, err := s.systemctl("is-enabled", unit); err == nil || had && s.mark.again {
				linked = append(linked, unit)
			}
		}
		if len(linked) == 0 {
			r.Keep()
			return nil
		}
		if err := s.addPreset(line, r); err != nil {
			return err
		}
		for _, unit := range linked {
			if err := s.removeLinks(r.Log(), unit, p.entry); err != nil {
				return err
			}
		}
		return nil
	}())
}

func (s *stage) removeLinks(log *oplog.Logger, unit, entry string) error {
	return log.Do(disableOp(unit, entry), func(*oplog.Logger) error {
		if res, err := s.systemctl("disable", unit); err != nil {
			return fmt.Errorf("cannot remove symlink(s) for %s: %w: %q", unit, err, strings.TrimSpace(string(res.Stdout)+string(res.Stderr)))
		}
		return nil
	})
}

func (s *stage) systemctl(verb, unit string) (exec.Result, error) {
	return s.Runner.Run(s.ctx, exec.Cmd{Name: s.Systemctl, Args: []string{"--root", s.Root.Path(), verb, unit}})
}

func (s *stage) readPresets() (p, text string, err error) {
	if p, err = s.Root.Resolve(presetPath); err != nil {
		return "", "", err
	}
	raw, err := s.Root.ReadFile(p)
	if errors.Is(err, fs.ErrNotExist) {
		return p, "", nil
	}
	return p, string(raw), err
}

func (s *stage) hasPreset(line string) (bool, error) {
	_, text, err := s.readPresets()
	return slices.Contains(strings.Split(text, "\n"), line), err
}

// addPreset adds a line to the preset file unless it is there already. The file
// is replaced as a whole, so it never holds half a line.
func (s *stage) addPreset(line string, r *oplog.Running) error {
	p, text, err := s.readPresets()
	if err != nil {
		return err
	}
	if slices.Contains(strings.Split(text, "\n"), line) {
		r.Keep()
		return nil
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	if err := s.followPreset(&p); err != nil {
		return err
	}
	if !s.presetLabelled { // before it is made, and so once
		s.label(p)
		s.presetLabelled = true
	}
	return s.writePlain(p, []byte(text+line+"\n"), fileMode)
}

// followPreset gives the file behind a preset file that is a link, inside the tree.
func (s *stage) followPreset(p *string) error {
	for range 40 {
		target, err := s.Root.Readlink(*p)
		if err != nil {
			return nil // not a link
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(*p), target)
		}
		if *p, err = s.Root.Resolve(path.Clean(target)); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: %w", s.Root.Display(presetPath), syscall.ELOOP)
}

// checkSystemd warns of a systemd that knows nothing of instances in presets.
// No answer is no warning.
func (s *stage) checkSystemd() {
	res, err := s.Runner.Run(s.ctx, exec.Cmd{Name: s.Systemctl, Args: []string{"--version"}})
	fields := strings.Fields(string(res.Stdout))
	if err != nil || len(fields) < 2 {
		return
	}
	if n, err := strconv.Atoi(fields[1]); err == nil && n < 240 {
		s.Log.Warning("The version of systemd (%d) is less than 240. Enabling/disabling instantiated units may not work. See https://github.com/coreos/ignition/issues/586 for more information.", n)
	}
}
