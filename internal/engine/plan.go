// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/document"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/plan"
	"firstboot.dev/ignition/internal/stages"
	"firstboot.dev/ignition/internal/stages/disks"
)

// PlanOptions is what a plan depends on.
type PlanOptions struct {
	Options
	Raw    []byte
	Name   string // of the config's file, for messages
	Online bool   // fetch what the config refers to
	Disks  string // DisksLive, DisksNone or the name of a file with facts

	Machine *disks.Machine // what that file says
}

// Where a plan looks for disks.
const (
	DisksLive = "live" // this machine's
	DisksNone = "none"
)

// planner makes a plan.
type planner struct {
	*run
	unknown []string
}

// Plan tells what a boot with a config would do on a tree. Nothing is changed.
func Plan(ctx context.Context, o PlanOptions) (*plan.Plan, error) {
	p, err := newPlanner(&o)
	if err != nil {
		return nil, err
	}
	whole, err := p.plan(ctx, o)
	return whole, p.placed(err)
}

// placed adds to an error where the entry that it is about was written, and what to do.
func (p *planner) placed(err error) error {
	var e *config.EntryError
	if !errors.As(err, &e) || e.Path == "" {
		return err
	}
	place, hint := e.Path, ""
	if at, ok := p.origins.find(p.config, e.Path); ok {
		place = fmt.Sprintf("%s (%s line %d column %d)", e.Path, at.Source, at.Line, at.Column)
	}
	if e.Hint != "" {
		hint = "; " + e.Hint
	}
	return fmt.Errorf("%s: %w%s", place, err, hint)
}

func (p *planner) plan(ctx context.Context, o PlanOptions) (*plan.Plan, error) {
	base, err := p.baseConfig()
	if err != nil {
		return nil, fmt.Errorf("base config: %w", err)
	}
	user, err := p.userConfig(ctx, o)
	if err != nil {
		return nil, err
	}
	p.config = config.Merge(base, user)
	hash, err := configDigest(p.config)
	if err != nil {
		return nil, err
	}
	env := &stages.Env{
		Config: &p.config, Root: p.Root, Log: o.Log, Fetcher: p.fetcher, Runner: p.runner, State: p.state, Fragments: o.Fragments,
		Disks: p.disks(o), Ahead: true,
	}
	if p.Root == "/" {
		env.CommandLine = func() (string, error) { return readCommandLineFile(p.CommandLinePath) }
	}
	whole, err := stages.Preview(ctx, env)
	if err != nil {
		return nil, err
	}
	if whole.Unknown = p.unknown; len(p.unknown) > 0 {
		return whole, nil
	}
	// A stage compares before it fetches anything.
	compared := whole
	if o.Online {
		env.Fetcher = env.Fetcher.Offline()
		if compared, err = stages.Preview(ctx, env); err != nil {
			return nil, err
		}
	}
	h := plan.Hash{Config: hash}
	raw, err := sectionsOf(p.config, "files")
	if h.Files = compared.Digest("files", raw); err == nil && env.Disks != nil {
		raw, err = sectionsOf(p.config, "disks")
		h.Disks = compared.Digest("disks", raw)
	}
	if err != nil {
		return nil, err
	}
	whole.Hash = h.String()
	return whole, nil
}

// disks tells where the facts about disks come from.
func (p *planner) disks(o PlanOptions) func(context.Context, disks.Input) (*disks.Facts, error) {
	switch {
	case o.Machine != nil:
		return o.Machine.LookAt
	case o.Disks == DisksLive:
		return disks.Look
	}
	return nil
}

// configDigest is the part of a plan's hash that a fetch stage compares.
func configDigest(c config.Config) (string, error) {
	raw, err := config.MarshalCache(c)
	return plan.ConfigDigest(raw), err
}

// sectionsOf gives what a stage works from. The base configs are read anew for
// each, so that what the fetch stage compared is not all.
func sectionsOf(c config.Config, stage string) ([]byte, error) {
	var part config.Config
	from, to := &c.Storage, &part.Storage
	to.LUKS = from.LUKS
	if stage == "files" {
		to.Directories, to.Files, to.Links = from.Directories, from.Files, from.Links
		part.Passwd, part.Systemd = c.Passwd, c.Systemd
	} else {
		to.Disks, to.RAID, to.Filesystems = from.Disks, from.RAID, from.Filesystems
	}
	return config.MarshalCache(part)
}

// agreement is what a run may do. Without one it may do anything.
type agreement struct {
	plan.Hash
	text  string
	given bool
}

// agree reads the hash of the plan that alone may be carried out: of the flag,
// else of the kernel command line.
func (r *run) agree() error {
	text := r.ExpectPlan
	if text == nil {
		args, err := readCommandLine(r.CommandLinePath)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for i := range args {
			if key := args[i].Key; key == "ignition.plan" || key == "flatcar.plan" {
				text = &args[i].Value
			}
		}
	}
	if text == nil {
		return nil
	}
	h, err := plan.ParseHash(*text)
	r.agreed = agreement{h, *text, err == nil}
	return err
}

// agreedConfig refuses another config than the plan's, before anything keeps it.
func (r *run) agreedConfig(user config.Config) error {
	if !r.agreed.given {
		return nil
	}
	is, err := configDigest(config.Merge(r.base, user))
	if err != nil {
		return err
	}
	return plan.Check("config", r.agreed.Config, is)
}

// agreedOperations is for the stages that change the machine.
func (r *run) agreedOperations() func(string, []plan.Operation) error {
	if !r.agreed.given {
		return nil
	}
	want := map[string]string{"disks": r.agreed.Disks, "files": r.agreed.Files}
	return func(stage string, ops []plan.Operation) error {
		raw, err := sectionsOf(r.config, stage)
		if err != nil {
			return err
		}
		return plan.Check(stage, want[stage], plan.Digest(raw, ops))
	}
}

func newPlanner(o *PlanOptions) (*planner, error) {
	root, err := absolute(o.Root)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(root); err != nil || !info.IsDir() {
		if err == nil {
			err = &fs.PathError{Op: "open", Path: root, Err: syscall.ENOTDIR}
		}
		return nil, fmt.Errorf("the root cannot be read: %w; --root is the directory that holds the tree of the machine", err)
	}
	o.Root = root
	if o.Disks != "" && o.Disks != DisksLive && o.Disks != DisksNone {
		raw, err := os.ReadFile(o.Disks)
		if err == nil {
			o.Machine, err = disks.ReadMachine(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("disks %q: %w", o.Disks, err)
		}
	}
	p := &planner{run: &run{Options: o.Options, state: &stages.State{}, runner: &exec.Runner{}, root: newFetcher(o.Options, o.FetchTimeout)}}
	if !o.Online {
		p.run.root = p.run.root.Offline()
	}
	return p, nil
}

// userConfig is the config as the files stage gets it from the cache.
func (p *planner) userConfig(ctx context.Context, o PlanOptions) (config.Config, error) {
	doc, rep, err := document.Parse(o.Raw)
	logReport(p.Log, rep)
	user := doc.Config
	switch {
	case errors.Is(err, config.ErrEmpty):
		p.Log.Info("%v: continuing with an empty config, as a boot does", err)
		user = config.Empty()
	case err != nil:
		return user, fmt.Errorf("couldn't parse config: %w", err)
	default:
		p.state.AddFetched(stages.FetchedConfig{Kind: "user", Source: "plan"})
		p.origins.add(o.Name, doc)
		p.config = user
	}
	rd := newRenderer(p.run)
	rd.missing = func(what string) {
		if !slices.Contains(p.unknown, what) {
			p.unknown = append(p.unknown, what)
		}
	}
	if user, err = rd.render(ctx, user); err != nil {
		return user, err
	}
	if p.fetcher, err = rd.settings(ctx, user.Ignition); err != nil {
		return user, err
	}
	if rep := config.ValidateMerged(user); rep.IsFatal() {
		logReport(p.Log, rep)
		return user, config.ErrInvalid
	}
	return user, nil
}
