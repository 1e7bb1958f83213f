// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"path"
	"strings"
)

func (k *rules) checkSystemd(p *place, c *Systemd) {
	list := p.field("units")
	contents := make([]unitContents, len(c.Units)) // parsed once, for the cross check and the unit's own
	for i := range c.Units {
		contents[i] = readUnit(c.Units[i].Contents)
	}
	k.checkTemplates(list, c.Units, contents)
	for i := range c.Units {
		k.checkUnit(list.at(i), &c.Units[i], contents[i])
	}
}

// checkTemplates warns of an enabled instance whose template cannot be enabled.
func (k *rules) checkTemplates(p *place, units []Unit, contents []unitContents) {
	templates := make(map[string]struct{})
	for i := range units {
		c := contents[i]
		if strings.HasSuffix(units[i].Name, "@.service") && c.given && c.err == nil && !c.hasInstall {
			templates[units[i].Name] = struct{}{}
		}
	}
	if len(templates) == 0 {
		return
	}
	for i := range units {
		template, ok := templateOf(units[i].Name)
		if _, lacks := templates[template]; !ok || !lacks || !isTrue(units[i].Enabled) {
			continue
		}
		k.warn(p.at(i).field("contents"),
			fmt.Sprintf("template unit %q for %q doesn't have Install section", template, units[i].Name))
	}
}

// templateOf gives X@.service for X@Y.service.
func templateOf(name string) (string, bool) {
	base, isService := strings.CutSuffix(name, ".service")
	prefix, instance, hasAt := strings.Cut(base, "@")
	return prefix + "@.service", isService && hasAt && prefix != "" && instance != ""
}

func (k *rules) checkUnit(p *place, c *Unit, contents unitContents) {
	switch path.Ext(c.Name) {
	case ".service", ".socket", ".device", ".mount", ".automount", ".swap", ".target", ".path", ".timer",
		".snapshot", ".slice", ".scope":
	default:
		k.fail(p.field("name"), "invalid systemd unit extension")
	}
	k.checkUnitName(p.field("name"), "unit", c.Name)
	k.failOn(p.field("contents"), contents.err)
	if isTrue(c.Enabled) && contents.given && contents.err == nil && !contents.hasInstall {
		k.warn(p.field("contents"),
			fmt.Sprintf("unit %q is enabled, but has no install section so enable does nothing", c.Name))
	}
	for i := range c.Dropins {
		k.checkDropin(p.field("dropins").at(i), &c.Dropins[i])
	}
}

func (k *rules) checkDropin(p *place, c *Dropin) {
	if path.Ext(c.Name) != ".conf" {
		k.fail(p.field("name"), "invalid systemd drop-in extension")
	}
	k.checkUnitName(p.field("name"), "drop-in", c.Name)
	k.failOn(p.field("contents"), readUnit(c.Contents).err)
}

// checkUnitName warns of a name that is no plain file name. Older documents were accepted with it, and it
// cannot lead out of the sysroot, so only new documents are refused. A control character is always refused: a
// newline in a name would forge lines of the log and of the preset file.
func (k *rules) checkUnitName(p *place, kind, name string) {
	k.failOn(p, controlError(name))
	if !strings.Contains(name, "/") && name != "." && name != ".." {
		return
	}
	message := fmt.Sprintf("%s name %q is not a plain file name", kind, name)
	if k.strict() {
		k.fail(p, message)
	} else {
		k.advise(p, message)
	}
}

func controlError(name string) error {
	if hasControl(name) {
		return errNameControl
	}
	return nil
}
