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
	"github.com/coreos/vcontext/report"
)

// deskLimit is how many seconds a fetch may take at a desk if the config does not say, since people wait for it. Tests
// make it short.
var deskLimit = 30

// desk is what rendering keeps for those who look at a config: which document gave what, and what could not be
// read. Rendering goes on without the latter. A nil one is a boot, which keeps nothing.
type desk struct {
	online  bool
	config  config.Config // rendered
	fetcher *resource.Fetcher
	givers  []*giver // as they were merged: of two that give a value the later counts
	faults  []fault

	mu   sync.Mutex // guards held: documents are fetched side by side
	held map[string]*giver
}

// giver is a document that is part of a rendered config.
type giver struct {
	via
	doc     *document.Document
	entries []report.Entry // of its report
}

// fault is a referenced config that could not be read, or that was read with warnings.
type fault struct {
	via
	kind report.EntryKind
	err  error
}

func (d *desk) hold(source string, doc *document.Document, rep report.Report) {
	if d == nil {
		return
	}
	d.mu.Lock()
	if d.held == nil {
		d.held = map[string]*giver{}
	}
	d.held[source] = &giver{doc: doc, entries: rep.Entries}
	d.mu.Unlock()
}

// took adds a document that is merged now. One that replaces takes the place of the document that refers to it.
func (d *desk) took(source string, v via, replaces bool) {
	d.mu.Lock()
	g := *d.held[source]
	d.mu.Unlock()
	g.via = v
	if replaces {
		d.givers = d.givers[:len(d.givers)-1]
	}
	d.givers = append(d.givers, &g)
	for i := range g.entries {
		d.faults = append(d.faults, fault{v, g.entries[i].Kind, errors.New(g.entries[i].String())})
	}
}

// excuses notes what could not be read, and tells whether rendering goes on without it.
func (d *desk) excuses(v via, err error) bool {
	if d != nil {
		d.faults = append(d.faults, fault{v, report.Error, err})
	}
	return d != nil
}

// settings gives the fetcher for the settings of a config. Without the network none matter.
func (d *desk) settings(ctx context.Context, rd *renderer, ign *config.Ignition) (*resource.Fetcher, error) {
	if !d.online {
		return rd.fetcher, nil
	}
	limited := *ign
	if limit := deskLimit; limited.Timeouts.HTTPTotal == nil {
		limited.Timeouts.HTTPTotal = &limit
	}
	return rd.fetcher.Using(ctx, rd.log, limited)
}

// render renders a document. What it says of the work is not shown.
func (d *desk) render(ctx context.Context, o *Options, name string, doc *document.Document) (err error) {
	d.fetcher = newFetcher(*o, 0)
	if !d.online {
		d.fetcher = d.fetcher.Offline()
	}
	d.givers = append(d.givers, &giver{via: via{name: name}, doc: doc})
	rd := &renderer{log: oplog.Deferred(), fetcher: d.fetcher, record: func(stages.FetchedConfig) {}, origins: new(origins), desk: d}
	if d.config, err = rd.render(ctx, doc.Config); err == nil && d.online {
		d.fetcher, err = d.fetcher.Using(ctx, rd.log, d.config.Ignition)
	}
	return err
}

// reason is the text of an error about a reference, without what the place says already.
func reason(err error) string {
	var e *config.EntryError
	if errors.As(err, &e) && errors.Unwrap(e.Err) != nil {
		err = errors.Unwrap(e.Err)
	}
	text := resource.Reason(err)
	if list := problems(err); len(list) > 0 {
		text = strings.Join(list, "; ")
	}
	return text
}

// given is the document that gave a value, nil if none did, and the path there.
type given struct {
	*giver
	path string
}

// sources finds who gave the values of the rendered config.
func (d *desk) sources() ([]config.Leaf, map[string]given) {
	by, after := map[string]given{}, map[string]int{}
	for i := len(d.givers) - 1; i >= 0; i-- {
		for _, l := range config.Leaves(&d.givers[i].doc.Config, after) {
			if by[l.Name].giver == nil {
				by[l.Name] = given{d.givers[i], l.Path}
			}
		}
	}
	return config.Leaves(&d.config, map[string]int{}), by
}
