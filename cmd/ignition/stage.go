// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/engine"
)

// choice is a flag whose value must be one of a list.
type choice struct {
	value string
	kind  string
	check func(string) bool
}

func (c *choice) String() string { return c.value }

func (c *choice) Set(v string) error {
	if !c.check(v) {
		return fmt.Errorf("%s is not a valid %s", v, c.kind)
	}
	c.value = v
	return nil
}

func validStage(v string) bool { return slices.Contains(engine.StageNames(), v) }

func validPlatform(v string) bool {
	_, err := engine.LookupPlatform(v)
	return err == nil
}

func sorted(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return names
}

// stageFlags are the flags of the stage runner.
type stageFlags struct {
	common
	platform, stage choice
	expectPlan      *string // nil: the flag was not given
}

func newStageFlags(p process) (*flag.FlagSet, *stageFlags) {
	f := &stageFlags{
		platform: choice{kind: "platform", check: validPlatform},
		stage:    choice{kind: "stage", check: validStage},
	}
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.StringVar(&f.configCache, "config-cache", distro.ConfigCache, "where to cache the config")
	fs.Func("expect-plan", "`hash` of the plan that alone may be carried out (default: ignition.plan= of the kernel command line)", func(v string) error {
		f.expectPlan = &v // also an empty one, which is refused: a script lost it
		return nil
	})
	fs.DurationVar(&f.fetchTimeout, "fetch-timeout", 2*time.Minute, "how long to try to get the first config; 0 means no limit")
	fs.StringVar(&f.needNet, "neednet", distro.NeednetFile, "flag file to write if the network is needed")
	fs.StringVar(&f.opsFile, "ops-file", distro.OpsFile, "where to append the record of operations; empty for none")
	fs.Var(&f.platform, "platform", fmt.Sprintf("current platform. %v", engine.PlatformNames()))
	fs.StringVar(&f.root, "root", "/", "root of the filesystem")
	fs.Var(&f.stage, "stage", fmt.Sprintf("execution stage. %v", sorted(engine.StageNames())))
	fs.StringVar(&f.stateFile, "state-file", distro.StateFile, "where to keep state between stages")
	fs.BoolVar(&f.version, "version", false, "print the version and exit")
	fs.BoolVar(&f.logToStdout, "log-to-stdout", false, "log to stdout instead of the system log")
	fs.Usage = func() {
		fmt.Fprintf(p.stderr, "Usage of %s:\n", p.name)
		fs.PrintDefaults()
		fmt.Fprintf(p.stderr, "Verbs (`%s VERB --help` tells more):\n", p.name)
		for _, v := range verbs {
			fmt.Fprintf(p.stderr, "  %-10s %s\n", v.name, v.summary)
		}
	}
	return fs, f
}

// stageMain runs one stage, as the units of the initramfs do.
func stageMain(ctx context.Context, p process) int {
	fs, f := newStageFlags(p)
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return code
	}
	if f.version {
		printVersion(p.stdout)
		return engine.ExitOK
	}
	// Units pass an empty argument when the variable for extra ones is unset.
	rest = slices.DeleteFunc(rest, func(a string) bool { return a == "" })
	if len(rest) > 0 {
		fmt.Fprintf(p.stderr, "unexpected argument %q\n", strings.Join(rest, " "))
		fs.Usage()
		return engine.ExitUsage
	}
	o, err := environment(p)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return engine.ExitUsage
	}
	plat, code := choosePlatform(ctx, p, o, f.platform.value)
	if code != engine.ExitOK {
		return code
	}
	if f.stage.value == "" {
		fmt.Fprintln(p.stderr, "'--stage' must be provided")
		return engine.ExitUsage
	}
	log, closeLog := openLog(p, f.logToStdout, f.opsFile, f.stage.value)
	defer closeLog()
	o.Platform, o.Stage, o.Log = plat, f.stage.value, log
	o.Root, o.ConfigCache, o.NeedNet, o.StateFile = f.root, f.configCache, f.needNet, f.stateFile
	o.FetchTimeout, o.ExpectPlan = f.fetchTimeout, f.expectPlan
	// Beside the state, so that a run by hand leaves nothing elsewhere.
	o.FailureFile = filepath.Join(filepath.Dir(f.stateFile), filepath.Base(distro.FailureFile))
	if id, err := os.ReadFile(distro.BootIDPath); err == nil {
		o.BootID = strings.TrimSpace(string(id))
	}
	return engine.Run(ctx, o)
}

// choosePlatform takes the flag, else the kernel command line.
func choosePlatform(ctx context.Context, p process, o engine.Options, id string) (engine.Platform, int) {
	var plat engine.Platform
	var err error
	if id != "" {
		plat, err = engine.LookupPlatform(id)
	} else {
		plat, err = engine.PlatformFromCommandLine(ctx, o.CommandLinePath)
	}
	if err == nil {
		return plat, engine.ExitOK
	}
	if id == "" {
		fmt.Fprintln(p.stderr, "'--platform' must be provided")
		if !errors.Is(err, engine.ErrNoPlatform) {
			fmt.Fprintf(p.stderr, "%s: %v\n", o.CommandLinePath, err)
		}
	} else {
		fmt.Fprintln(p.stderr, err)
	}
	return plat, engine.ExitUsage
}
