// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/document"
	"firstboot.dev/ignition/internal/providers/system"
	"firstboot.dev/ignition/internal/resource"
	"github.com/coreos/vcontext/report"
)

// ShowOptions is what a rendered config depends on.
type ShowOptions struct {
	Options
	Name    string // of the document, in messages
	Raw     []byte
	Online  bool   // fetch configs that are referred to
	Base    bool   // with the base configs of the distribution and of Options.Platform
	Explain string // a path: tell where the values below it come from; "" is the config itself
}

// Show gives the config that a boot ends up with, or tells where its values come from.
func Show(ctx context.Context, o *ShowOptions) ([]byte, error) {
	d := &desk{online: o.Online}
	var base []*giver
	if o.Base {
		var err error
		if base, err = o.baseGivers(); err != nil {
			return nil, err
		}
	}
	if err := d.whole(ctx, &o.Options, o.Name, o.Raw, false); err != nil {
		return nil, err
	}
	if rep := config.ValidateMerged(d.config); rep.IsFatal() {
		return nil, fmt.Errorf("%s: once rendered: %w", o.Name, inLines(config.ErrInvalid, rep))
	}
	if len(base) > 0 {
		below := config.Empty()
		for _, g := range base {
			below = config.Merge(below, g.doc.Config)
		}
		d.config, d.givers = config.Merge(below, d.config), append(base, d.givers...)
	}
	d.config.Ignition.Config = config.Sources{} // they are in it
	if o.Explain != "" {
		return d.explain(o.Explain)
	}
	return config.MarshalOldest(d.config), nil
}

// open reads a document.
func open(name string, raw []byte) (*document.Document, error) {
	doc, rep, err := document.Parse(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, inLines(err, rep))
	}
	return &doc, nil
}

// whole renders a document, all of whose references must be there; without the network those that need it may be
// missing from a part.
func (d *desk) whole(ctx context.Context, o *Options, name string, raw []byte, part bool) error {
	doc, err := open(name, raw)
	if err != nil {
		return err
	}
	if err := d.render(ctx, o, name, doc); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	var failed []error
	for i := range d.faults {
		f := &d.faults[i]
		text := reason(f.err)
		if errors.Is(f.err, resource.ErrNeedNet) {
			text = "it is not fetched without --online"
		}
		if f.kind.IsFatal() && !(part && errors.Is(f.err, resource.ErrNeedNet)) {
			there, place, _ := doc.Find(f.top)
			failed = append(failed, fmt.Errorf("%s: %s, line %d col %d: %s: %s", name, there, place.Line, place.Column, f.name, text))
		}
	}
	return errors.Join(failed...) // each on a line of its own
}

// inLines is an error with the errors of its report, one a line.
func inLines(err error, rep report.Report) error {
	return fmt.Errorf("%w%s", err, strings.Join(append([]string{""}, problems(withReport(err, rep))...), "\n"))
}

// baseGivers reads the base configs, lowest first.
func (o *ShowOptions) baseGivers() (list []*giver, err error) {
	_, err = system.BaseFragments(&probe{}, o.SystemDirs, o.Platform.Name, func(f system.Fragment) error {
		doc, err := open(f.Path, f.Raw)
		list = append(list, &giver{via: via{name: "base fragment " + f.Path}, doc: doc})
		return err
	})
	return list, err
}

// explain says of each value at or below a path which document gave it, and where.
func (d *desk) explain(at string) ([]byte, error) {
	shown, err := config.Redacted(d.config)
	if err != nil {
		return nil, err
	}
	leaves, by := d.sources()
	values := config.Leaves(&shown, map[string]int{})
	var out bytes.Buffer
	nearest := "$"
	for i := range leaves {
		l := &leaves[i]
		if l.Path == "$.ignition.version" {
			continue
		}
		is := false
		for _, name := range []string{l.Path, l.Name, dotted(l.Name)} {
			n := common(name, at)
			is = is || n == len(at)
			if n > len(nearest) {
				nearest = at[:n]
			}
		}
		if is {
			fmt.Fprintf(&out, "%s = %s, %s\n", l.Path, quote(&values[i]), by[l.Name].says(l))
		}
	}
	if out.Len() == 0 {
		return nil, fmt.Errorf("the config has nothing at %s; the nearest path that it has is %s", at, nearest)
	}
	return out.Bytes(), nil
}

// common is the length of the longest beginning of a path, in whole elements, that a name has too.
func common(name, p string) int {
	n := 0
	for i := 0; i <= len(p); i++ {
		if i == len(p) || p[i] == '.' || p[i] == '[' {
			if !strings.HasPrefix(name, p[:i]) {
				break
			}
			if i == len(name) || i < len(name) && strings.IndexByte(".[]", name[i]) >= 0 {
				n = i
			}
		}
	}
	return n
}

// dotted is a name with a dot before its keys: $.passwd.users.core.shell.
func dotted(name string) string {
	return strings.ReplaceAll(strings.ReplaceAll(name, "[", "."), "]", "")
}

// quote shows a value, of which the beginning is enough.
func quote(l *config.Leaf) string {
	const longest = 100
	s := l.String()
	if len(s) > longest {
		s = s[:longest] + "..."
	}
	if l.IsText() {
		return strconv.Quote(s)
	}
	if mode, err := strconv.Atoi(s); err == nil && strings.HasSuffix(l.Path, ".mode") {
		s = fmt.Sprintf("%d (%#o)", mode, mode)
	}
	return s
}

// says tells where a value was written.
func (g given) says(l *config.Leaf) string {
	if g.giver == nil {
		return "the default"
	}
	there, place, exact := g.doc.Find(g.path)
	text := fmt.Sprintf("from %s line %d col %d", g.name, place.Line, place.Column)
	last := strings.LastIndexByte
	switch {
	case !exact:
		text = "the default in what is " + text
	case strings.ReplaceAll(there[last(there, '.')+1:], "_", "") != strings.ToLower(l.Path[last(l.Path, '.')+1:]) && g.doc.IsYAML():
		text += ", made of " + there
	}
	return text
}
