// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"time"

	"firstboot.dev/ignition/internal/engine"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/plan"
)

// What `ignition plan` exits with if there is something to do.
const exitChanges = 2

type planFlags struct {
	engine.PlanOptions
	root              string
	format, platform  choice
	hash, all, detail bool
}

func newPlanFlags(p process) (*flag.FlagSet, *planFlags) {
	f := &planFlags{
		format:   choice{value: "text", kind: "format", check: func(v string) bool { return v == "text" || v == "json" }},
		platform: choice{kind: "platform", check: validPlatform},
	}
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.StringVar(&f.root, "root", "/", "root of the filesystem that the machine would have")
	fs.Var(&f.platform, "platform", fmt.Sprintf("platform whose base configs count. %v", engine.PlatformNames()))
	fs.StringVar(&f.Disks, "disks", engine.DisksNone, "disks that the machine would have: live for this machine's, a file of ignition facts, or none to leave them out")
	fs.Var(&f.format, "format", "how to print the plan. [json text]")
	fs.BoolVar(&f.hash, "hash", false, "print the plan's hash alone")
	fs.BoolVar(&f.all, "all", false, "list what stays as it is too")
	fs.BoolVar(&f.detail, "verbose", false, "log each step to stderr")
	fs.BoolVar(&f.Online, "online", false, "fetch what the config refers to")
	fs.DurationVar(&f.FetchTimeout, "fetch-timeout", time.Minute, "with --online: how long to try one download; 0 means no limit")
	fs.Usage = usageOf(fs, p.stderr, fmt.Sprintf(`Usage: %s [options] config.ign
Tells what a boot with a config would do to a root, and changes nothing.
Exits with 0 if there is nothing to do, with 2 if there is or something is not known, with 1 on an error.

Options:
`, p.name))
	return fs, f
}

// planMain prints what a boot would do.
func planMain(ctx context.Context, p process) int {
	fs, f := newPlanFlags(p)
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return min(code, engine.ExitFailed) // 2 is for a plan
	}
	if len(rest) != 1 {
		fs.Usage()
		return engine.ExitFailed
	}
	result, err := makePlan(ctx, p, f, rest[0])
	if err == nil {
		err = printPlan(p, f, result)
	}
	switch {
	case err != nil:
		fmt.Fprintln(p.stderr, err)
		return engine.ExitFailed
	case result.Changes() || len(result.Unknown) > 0:
		return exitChanges
	}
	return engine.ExitOK
}

func makePlan(ctx context.Context, p process, f *planFlags, file string) (*plan.Plan, error) {
	env, err := environment(p)
	if err != nil {
		return nil, err
	}
	if f.Raw, err = readInput(p, file); err != nil {
		return nil, fmt.Errorf("couldn't read config: %w", err)
	}
	f.Name = file
	timeout := f.FetchTimeout
	f.Options = env
	f.FetchTimeout, f.Root = timeout, f.root
	if f.platform.value != "" {
		if f.Platform, err = engine.LookupPlatform(f.platform.value); err != nil {
			return nil, err
		}
	}
	level := slog.LevelWarn
	if f.detail {
		level = slog.LevelDebug
	}
	line := newProgressLine(p)
	defer line.clear()
	f.Watch = line.show
	f.Log = logger(oplog.AtLeast(level, oplog.StdoutHandler(line.before(p.stderr))), nil)
	result, err := engine.Plan(ctx, f.PlanOptions)
	if err != nil {
		return nil, fmt.Errorf("there is no plan for this config: %w", err)
	}
	return result, nil
}

func printPlan(p process, f *planFlags, result *plan.Plan) error {
	switch {
	case f.hash && result.Hash == "":
		for _, u := range result.Unknown {
			fmt.Fprintf(p.stderr, "not known: %s\n", u)
		}
		return fmt.Errorf("this plan has no hash, since it does not know everything; --online fetches what the config refers to")
	case f.hash:
		_, err := fmt.Fprintln(p.stdout, result.Hash)
		return err
	case f.format.value == "json":
		if result.Operations == nil {
			result.Operations = []plan.Operation{}
		}
		enc := json.NewEncoder(p.stdout)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(result)
	}
	return result.Text(p.stdout, plan.Style{Color: colors(p, p.stdout), All: f.all})
}
