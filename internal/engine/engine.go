// SPDX-License-Identifier: Apache-2.0

// Package engine runs one stage: it collects the base configs, acquires and
// renders the user's config or reads it from the cache, hands the merged
// result to the stage, keeps what one stage leaves for the next, and reports
// how it went. What a stage does with the config is not its business.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/stages"
)

// Exit codes of the stage runner.
const (
	ExitOK     = 0
	ExitFailed = 1 // the stage failed
	ExitUsage  = 2
	ExitSetup  = 3 // nothing was begun: the fetcher or the state file is bad
)

// Options is all that a run depends on. Flags, environment and link-time
// settings are read by the caller.
type Options struct {
	Stage        string
	Platform     Platform
	Root         string
	ConfigCache  string
	NeedNet      string
	StateFile    string
	FetchTimeout time.Duration // rounded up to whole seconds; 0 = none
	FailureFile  string        // what a stage that failed leaves for the report; "" = nothing
	BootID       string        // of this boot of the kernel
	ExpectPlan   *string       // hash of the plan that alone may be carried out; nil = what the kernel command line says

	Version         string
	SystemDirs      []string // highest priority first
	CommandLinePath string
	LabelDir        string
	OEMDir          string
	ConfigFile      string
	IMDSEndpoint    string
	IMDSMode        string
	Fragments       bool

	Watch  func(string) // told how far downloads are; nil for nobody
	Log    *oplog.Logger
	Stderr io.Writer
}

// run is the state of one run.
type run struct {
	Options
	stage   stages.Stage
	state   *stages.State
	root    *resource.Fetcher // default settings; offline in fetch-offline
	fetcher *resource.Fetcher // settings of the config in force
	env     *providers.Env
	runner  *exec.Runner
	origins origins
	base    config.Config // of the distribution
	config  config.Config // what the stage runs with, as far as it is known
	agreed  agreement
}

// Run runs one stage and returns the exit code.
func Run(ctx context.Context, o Options) int {
	o.Log.Info("Ignition %s", o.Version)
	o.Log.Info("Stage: %s", o.Stage)
	if o.Platform.note != "" {
		o.Log.Info("%s", o.Platform.note)
	}
	start := time.Now()
	if o.FailureFile != "" {
		_ = os.Remove(o.FailureFile) // of an earlier try of a stage
	}
	r, err := newRun(o)
	if err != nil {
		o.Log.Crit("%v", err)
		o.recordFailure(nil, start, err)
		return ExitSetup
	}
	act := o.Log.Activity(oplog.Op{Kind: oplog.KindStage, Desc: o.Stage})
	err = r.run(ctx)
	_ = act.End(err)
	r.reportStatus(ctx, err)
	if err != nil {
		o.Log.Crit("Ignition failed: %v", err)
		explain(o.Log, err)
		o.recordFailure(r, start, err)
		oplog.FinalStatus("Ignition: stage " + o.Stage + " failed")
		return ExitFailed
	}
	if err := saveState(o.StateFile, r.state); err != nil {
		o.Log.Crit("writing state: %v", err)
		o.recordFailure(r, start, fmt.Errorf("writing state: %w", err))
		return ExitFailed
	}
	o.Log.Info("Ignition finished successfully")
	oplog.FinalStatus("Ignition: stage " + o.Stage + " finished")
	return ExitOK
}

func newRun(o Options) (*run, error) {
	stage, ok := stages.Lookup(o.Stage)
	if !ok {
		return nil, fmt.Errorf("%s is not a valid stage", o.Stage)
	}
	root, err := absolute(o.Root)
	if err != nil {
		return nil, err
	}
	o.Root = root
	state, err := loadState(o.StateFile)
	if err != nil {
		return nil, fmt.Errorf("reading state: %w", err)
	}
	r := &run{Options: o, stage: stage, state: state, runner: &exec.Runner{}}
	r.root = newFetcher(o, 0)
	if stage.Name == "fetch-offline" {
		r.root = r.root.Offline()
	}
	r.fetcher = r.root
	r.env = r.providerEnv()
	if cloud := r.Platform.provider.Cloud; cloud != nil {
		r.root.SetCloud(cloud(r.env))
	}
	return r, nil
}

// ProgressText tells how far work is that stands at got of size bytes.
func ProgressText(got, size int64, took time.Duration) string {
	return resource.Progress(got, 0, size, took)
}

func absolute(root string) (string, error) {
	p, err := filepath.Abs(root)
	if err != nil {
		return "", fmt.Errorf("root %q: %w", root, err)
	}
	return p, nil
}

// newFetcher gives the fetcher of default settings; limit is for resources whose config sets none.
func newFetcher(o Options, limit time.Duration) *resource.Fetcher {
	return resource.New(resource.Options{
		Version:  o.Version,
		Stable:   config.MaxStable(),
		OEMDir:   o.OEMDir,
		Limit:    limit,
		Progress: func(s string) { oplog.Status(s) },
		Watch:    o.Watch,
	})
}

// run goes through the steps that all stages share.
func (r *run) run(ctx context.Context) error {
	if err := r.agree(); err != nil {
		r.Log.Crit("%v", err)
		return err
	}
	var err error
	if r.base, err = r.baseConfig(); err != nil {
		r.Log.Crit("failed to acquire system base config: %v", err)
		return err
	}
	user, err := r.acquire(ctx)
	switch {
	case err == nil:
	case errors.Is(err, resource.ErrNeedNet) && r.stage.Name == "fetch-offline":
		return r.signalNeedNet()
	case errors.Is(err, config.ErrEmpty):
		r.Log.Info("%v: ignoring user-provided config", err)
		user = config.Empty()
	default:
		r.Log.Crit("failed to acquire config: %v", err)
		return err
	}
	r.config = config.Merge(r.base, user)
	return r.runStage(ctx, r.config)
}

func (r *run) runStage(ctx context.Context, full config.Config) error {
	log := r.Log.With(r.stage.Name)
	oplog.Status("Ignition: stage " + r.stage.Name)
	err := r.stage.Run(ctx, &stages.Env{
		Config:    &full,
		Root:      r.Root,
		Log:       log,
		Fetcher:   r.fetcher,
		Runner:    r.runner,
		State:     r.state,
		Fragments: r.Fragments,
		Plan:      r.agreed.text,
		Agreed:    r.agreedOperations(),

		CommandLine: func() (string, error) { return readCommandLineFile(r.CommandLinePath) },
	})
	if errors.Is(err, resource.ErrNeedNet) && r.stage.Name == "fetch-offline" {
		return r.signalNeedNet()
	}
	if err != nil {
		dumpConfig(r.Stderr, r.stage.Name, full)
		return err
	}
	log.Info("%s passed", r.stage.Name)
	return nil
}

// dumpConfig shows the config of a failed stage on stderr, without its secrets.
func dumpConfig(w io.Writer, stage string, c config.Config) {
	fmt.Fprintf(w, "%s failed\nFull config:\n", stage)
	raw, err := config.MarshalRedacted(c)
	if err != nil {
		fmt.Fprintf(w, "(cannot be shown: %v)\n", err)
		return
	}
	fmt.Fprintf(w, "%s\n", raw)
}

// explain adds what the person at the console can act on: which entry of the
// config failed and what to do about it.
func explain(log *oplog.Logger, err error) {
	var e *config.EntryError
	if !errors.As(err, &e) {
		return
	}
	text := "the failing config entry is " + e.Path
	if e.Hint != "" {
		text += ": " + strings.TrimSuffix(e.Hint, ".")
	}
	log.Err("%s", text)
}

func (r *run) reportStatus(ctx context.Context, stageErr error) {
	status := r.Platform.provider.Status
	if status == nil || r.root.IsOffline() {
		return
	}
	env := *r.env
	if r.fetcher != nil {
		env.Fetcher = r.fetcher // with the config's proxy and CAs
	}
	if err := status(ctx, &env, r.Stage, stageErr); err != nil {
		r.Log.Err("POST Status error: %v", err)
	}
}
