// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/document"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/schema"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
	"github.com/coreos/vcontext/tree"
)

// CheckOptions is what the check of a config depends on.
type CheckOptions struct {
	Options
	Name   string // of the document, in messages
	Raw    []byte
	Online bool // fetch what the config refers to
	Strict bool // what fails a boot later is an error, and what was not looked at is said
}

// check is the check of one document, which can be read.
type check struct {
	CheckOptions
	doc    document.Document
	desk   desk
	cfg    config.Config // rendered
	leaves []config.Leaf // of cfg, once they are asked for
	given  []given
	report.Report
}

// Check reads a config as a boot does, with what it refers to as far as it can be had, and reports what is wrong with
// it. Nothing is changed.
func Check(ctx context.Context, o CheckOptions) (report.Report, error) {
	doc, rep, err := document.Parse(o.Raw)
	suggest(o.Raw, rep)
	if err != nil {
		return rep, err
	}
	c := &check{CheckOptions: o, doc: doc, desk: desk{online: o.Online}, Report: rep}
	cfg, fetcher, err := c.desk.render(ctx, o.Options, o.Name, doc)
	c.addFaults()
	if err != nil {
		at := "$.ignition"
		var e *config.EntryError
		if errors.As(err, &e) {
			at = e.Path
		}
		c.add(c.severity(), at, "cannot be read: "+reason(err))
		return c.Report, ctx.Err()
	}
	c.cfg = cfg
	when := "once merged: "
	if len(c.desk.givers) == 1 {
		when = "once converted to the newest spec: "
	}
	merged := config.ValidateMerged(cfg)
	for _, e := range merged.Entries {
		if e.Kind.IsFatal() {
			c.addMerged(c.severity(), e.Context.String(), when+e.Message)
		}
	}
	if o.Online {
		c.addFetched(ctx, fetcher)
	}
	return c.Report, ctx.Err()
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
	for _, f := range c.desk.faults {
		what := ""
		if f.nested != "" {
			what = " (" + f.nested + ")"
		}
		switch {
		case errors.Is(f.err, resource.ErrNeedNet):
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
	p := parsePath(at)
	s := c.doc.Find([]path.ContextPath{p})[0]
	c.Entries = append(c.Entries, report.Entry{Kind: kind, Message: message, Context: s.Path, Marker: marker(s.Place)})
}

func marker(p config.Place) tree.Marker {
	return tree.Marker{StartP: &tree.Pos{Line: int64(p.Line), Column: int64(p.Column)}}
}

// addMerged reports at a path of the rendered config: where the root config has it, else at the reference that
// brings it.
func (c *check) addMerged(kind report.Kind, at, message string) {
	if c.given == nil {
		c.leaves, c.given = c.desk.sources(&c.cfg)
	}
	for i := range c.leaves {
		rest, ok := strings.CutPrefix(c.leaves[i].Path.String(), at)
		g := c.given[i]
		if !ok || rest != "" && rest[0] != '.' || g.giver == nil {
			continue
		}
		p := g.at
		p.Path = p.Path[:len(p.Path)-strings.Count(rest, ".")]
		s := g.doc.Find([]path.ContextPath{p})[0]
		if g.top == "" {
			c.Entries = append(c.Entries, report.Entry{Kind: kind, Message: message, Context: s.Path, Marker: marker(s.Place)})
			return
		}
		c.add(kind, g.top, fmt.Sprintf("%s (%s, line %d col %d of %s)", message, s.Path, s.Line, s.Column, g.name))
		return
	}
	c.add(kind, at, message)
}

// parsePath is the reverse of a path's String, for paths of configs.
func parsePath(s string) path.ContextPath {
	p := path.New("json")
	for i, e := range strings.Split(s, ".") {
		if n, err := strconv.Atoi(e); err == nil {
			p.Path = append(p.Path, n)
		} else if i > 0 {
			p.Path = append(p.Path, e)
		}
	}
	return p
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
