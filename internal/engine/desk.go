// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"strings"
	"sync"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/document"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/stages"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// deskLimit is how many seconds a fetch may take at a desk if the config does not say, since people wait for it.
const deskLimit = 30

// desk is what rendering keeps for those who look at a config: which document gave what, and what could not be
// read. Rendering goes on without the latter. The zero value of a pointer is a boot, which keeps nothing.
type desk struct {
	online bool
	givers []giver // as they were merged: of two that give a value the later counts
	faults []fault

	mu   sync.Mutex // guards held: documents are fetched side by side
	held map[string]heldDocument
}

// giver is a document that is part of a rendered config.
type giver struct {
	name string
	doc  document.Document
	top  string // the reference of the root config that leads to it, "" for the root itself
}

// fault is a referenced config that could not be read, or that is read with warnings.
type fault struct {
	kind   report.EntryKind
	top    string
	nested string // what it is, if not what top names
	err    error
}

type heldDocument struct {
	doc document.Document
	rep report.Report
}

// nameOf is what people call a config that is referred to.
func nameOf(at level, where string, ref config.Resource) string {
	name := config.RedactURL(sourceOf(ref))
	if strings.HasPrefix(name, "data:") {
		name = "the data URL at " + where
		if at.name != "" {
			name += " of " + at.name
		}
	}
	return name
}

// nested is the name of a config that is not referred to by the root.
func (at level) nested(next level) string {
	if at.top == "" {
		return ""
	}
	return next.name
}

func (d *desk) hold(source string, doc document.Document, rep report.Report) {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held == nil {
		d.held = map[string]heldDocument{}
	}
	d.held[source] = heldDocument{doc, rep}
}

// took adds a document that is merged now. One that replaces takes the place of the document that refers to it.
func (d *desk) took(at level, where string, ref config.Resource) {
	d.mu.Lock()
	held := d.held[sourceOf(ref)]
	d.mu.Unlock()
	next := at.below(where, ref, config.Config{}, nil)
	if strings.HasSuffix(where, ".replace") {
		d.givers = d.givers[:len(d.givers)-1]
	}
	d.givers = append(d.givers, giver{next.name, held.doc, next.top})
	for _, e := range held.rep.Entries {
		d.faults = append(d.faults, fault{e.Kind, next.top, at.nested(next), errors.New(e.String())})
	}
}

// excuses notes what could not be read, and tells whether rendering goes on without it.
func (d *desk) excuses(at level, where string, ref config.Resource, err error) bool {
	if d == nil {
		return false
	}
	next := at.below(where, ref, config.Config{}, nil)
	d.faults = append(d.faults, fault{report.Error, next.top, at.nested(next), err})
	return true
}

// settings gives the fetcher for the settings of a config. Without the network none matter.
func (d *desk) settings(ctx context.Context, rd *renderer, ign config.Ignition) (*resource.Fetcher, error) {
	if !d.online {
		return rd.fetcher, nil
	}
	if ign.Timeouts.HTTPTotal == nil {
		limit := deskLimit
		ign.Timeouts.HTTPTotal = &limit
	}
	return rd.fetcher.Using(ctx, rd.log, ign)
}

// render renders the document that the desk is about. What it says of the work is not shown.
func (d *desk) render(ctx context.Context, o Options, name string, doc document.Document) (config.Config, *resource.Fetcher, error) {
	base := newFetcher(o)
	if !d.online {
		base = base.Offline()
	}
	d.givers = append(d.givers, giver{name: name, doc: doc})
	rd := &renderer{log: oplog.Deferred(), fetcher: base, record: func(stages.FetchedConfig) {}, origins: new(origins), desk: d}
	cfg, err := rd.render(ctx, doc.Config)
	if err != nil {
		return cfg, base, err
	}
	if d.online {
		base, err = base.Using(ctx, rd.log, cfg.Ignition)
	}
	return cfg, base, err
}

// reason is the text of an error about a reference, without what the place says already.
func reason(err error) string {
	var e *config.EntryError
	if errors.As(err, &e) {
		err = e.Err
		if inner := errors.Unwrap(err); inner != nil {
			err = inner
		}
	}
	text := err.Error()
	if list := problems(err); len(list) > 0 {
		text = strings.Join(list, "; ")
	}
	if both, ok := err.(interface{ Unwrap() []error }); ok { // of a time-out: what the last try met
		if all := both.Unwrap(); len(all) > 1 && all[1] != nil {
			text += ": " + all[1].Error()
		}
	}
	return text
}

// given is the document that gave a value, and where.
type given struct {
	*giver
	at path.ContextPath // in the config of the document
}

// sources finds who gave the values of a rendered config. The giver is nil for what no document gave.
func (d *desk) sources(cfg *config.Config) ([]config.Leaf, []given) {
	by := map[string]given{}
	after := map[string]int{}
	for i := len(d.givers) - 1; i >= 0; i-- {
		g := &d.givers[i]
		for _, l := range config.Leaves(&g.doc.Config, after) {
			if by[l.ID].giver == nil {
				by[l.ID] = given{g, l.Path}
			}
		}
	}
	list := config.Leaves(cfg, nil)
	out := make([]given, len(list))
	for i := range list {
		out[i] = by[list[i].ID]
	}
	return list, out
}
