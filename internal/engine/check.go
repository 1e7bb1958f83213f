// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/document"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/exec/units"
	"firstboot.dev/ignition/internal/schema"
	"github.com/coreos/vcontext/report"
	"github.com/coreos/vcontext/tree"
)

// CheckOptions is what the check of a config depends on.
type CheckOptions struct {
	Options
	Name   string // of the document, in messages
	Raw    []byte
	Online bool // fetch what the config refers to
	Units  bool // have systemd judge units
	Strict bool // what fails a boot later is an error, and what was not looked at is said
}

// check is the check of one document, which can be read.
type check struct {
	*CheckOptions
	desk
	doc    document.Document
	leaves []config.Leaf // of the rendered config, once they are asked for
	by     map[string]given
	report report.Report
}

// Check reads a config as a boot does, with what it refers to as far as it can be had, and reports what is wrong with
// it. Nothing is changed.
func Check(ctx context.Context, o *CheckOptions) (report.Report, error) {
	c := &check{CheckOptions: o, desk: desk{online: o.Online}}
	var err error
	c.doc, c.report, err = document.Parse(o.Raw)
	suggest(o.Raw, c.report)
	if err != nil {
		return c.report, err
	}
	err = c.render(ctx, &o.Options, o.Name, &c.doc)
	c.addFaults()
	if err != nil {
		at := "$.ignition"
		var e *config.EntryError
		if errors.As(err, &e) {
			at = e.Path
		}
		c.add(c.severity(), at, "cannot be read: "+reason(err))
		return c.report, ctx.Err()
	}
	when := "once merged: "
	if len(c.givers) == 1 {
		when = "once converted to the newest spec: "
	}
	for _, e := range config.ValidateMerged(c.config).Entries {
		if e.Kind.IsFatal() {
			c.addMerged(c.severity(), e.Context.String(), when+e.Message)
		}
	}
	if o.Units {
		c.addUnits(ctx)
	}
	if o.Online {
		c.addFetched(ctx)
	}
	return c.report, ctx.Err()
}

// severity is that of what the older tools do not look at: it fails a boot, and must not fail those who check with
// the same command line as ever.
func (c *check) severity() report.Kind {
	if c.Online || c.Strict {
		return report.Error
	}
	return report.Warn
}

// addFaults reports about referenced configs.
func (c *check) addFaults() {
	for i := range c.faults {
		f := &c.faults[i]
		what := ""
		if f.nested {
			what = " (" + f.name + ")"
		}
		switch {
		case !c.Online && !strings.HasPrefix(f.name, inDataURL): // an oem: URL is there on the machine alone
			if c.Strict {
				c.add(report.Info, f.top, "not read without --online"+what)
			}
		case f.kind == report.Error:
			c.add(c.severity(), f.top, "cannot be read"+what+": "+reason(f.err))
		case c.Strict || c.Online:
			c.add(f.kind, f.top, "in the config that is merged here"+what+": "+f.err.Error())
		}
	}
}

// add reports at a path of the root config.
func (c *check) add(kind report.EntryKind, at, message string) {
	there, place, _ := c.doc.Find(at)
	c.report.Entries = append(c.report.Entries, report.Entry{Kind: kind, Message: message, Context: document.Path(there),
		Marker: tree.Marker{StartP: &tree.Pos{Line: int64(place.Line), Column: int64(place.Column)}}})
}

// addMerged reports at a path of the rendered config: where the root config has it, else at the reference that
// brings it.
func (c *check) addMerged(kind report.Kind, at, message string) {
	if c.by == nil {
		c.leaves, c.by = c.sources()
	}
	for i := range c.leaves {
		rest, ok := strings.CutPrefix(c.leaves[i].Path, at)
		g := c.by[c.leaves[i].Name]
		if !ok || rest != "" && rest[0] != '.' || g.giver == nil {
			continue
		}
		own := strings.TrimSuffix(g.path, rest)
		if g.top == "" {
			at = own
			break
		}
		there, place, _ := g.doc.Find(own)
		message = fmt.Sprintf("%s (%s, line %d col %d of %s)", message, there, place.Line, place.Column, g.name)
		at = g.top
		break
	}
	c.add(kind, at, message)
}

// addUnits has systemd judge the units of the rendered config.
func (c *check) addUnits(ctx context.Context) {
	list, err := units.Verify(ctx, &exec.Runner{}, c.config.Systemd.Units)
	for _, found := range list {
		text := "systemd says: " + found.Text
		if found.Line > 0 {
			text = fmt.Sprintf("systemd says of line %d: %s", found.Line, found.Text)
		}
		c.addMerged(report.Warn, "$.systemd.units."+found.Path, text)
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		c.add(report.Info, "$.systemd.units", "units are not judged: there is no systemd-analyze on this machine")
	case err != nil:
		c.add(report.Warn, "$.systemd.units", "units are not judged: "+err.Error())
	}
}

// suggest adds to each entry about a key that is not used the key that may have been meant.
func suggest(raw []byte, rep report.Report) {
	const unused = "unused key "
	var l *schema.Language
	for i := range rep.Entries {
		e := &rep.Entries[i]
		if !strings.HasPrefix(e.Message, unused) || e.Context.Len() == 0 {
			continue
		}
		if l == nil {
			if l = schema.Of(raw); l == nil {
				return
			}
		}
		if key := l.Nearest(e.Context.Path); key != "" {
			e.Message += "; did you mean " + key + "?"
		}
	}
}
