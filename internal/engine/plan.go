// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"path/filepath"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/document"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/plan"
	"firstboot.dev/ignition/internal/stages"
)

// PlanOptions is what a plan depends on.
type PlanOptions struct {
	Options
	Raw    []byte
	Online bool // fetch what the config refers to
}

// Plan tells what a boot with a config would do on a tree. Nothing is changed.
func Plan(ctx context.Context, o PlanOptions) (*plan.Plan, error) {
	doc, rep, err := document.Parse(o.Raw)
	logReport(o.Log, rep)
	if err != nil {
		return nil, fmt.Errorf("couldn't parse config: %w", err)
	}
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, fmt.Errorf("root %q: %w", o.Root, err)
	}
	base := newFetcher(o.Options)
	if !o.Online {
		base = base.Offline()
	}
	state := &stages.State{}
	rd := &renderer{log: o.Log, fetcher: base, record: state.AddFetched, origins: new(origins)}
	cfg, err := rd.render(ctx, doc.Config)
	if err != nil {
		return nil, err
	}
	fetcher, err := base.Using(ctx, o.Log, cfg.Ignition)
	if err != nil {
		return nil, err
	}
	if rep := config.ValidateMerged(cfg); rep.IsFatal() {
		logReport(o.Log, rep)
		return nil, config.ErrInvalid
	}
	ops, err := stages.Preview(ctx, &stages.Env{
		Config: &cfg, Root: root, Log: o.Log, Fetcher: fetcher, Runner: &exec.Runner{}, State: state, Fragments: o.Fragments,
	})
	return &plan.Plan{Operations: ops}, err
}
