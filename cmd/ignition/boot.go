// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/boot"
	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/engine"
	"firstboot.dev/ignition/internal/oplog"
)

// bootVerbs are what the units of the initramfs call besides the stages.
var bootVerbs = []struct {
	name, summary string
	run           func(ctx context.Context, e *boot.Env, args []string) error
}{
	{"generator", "link the units of a first boot, or those of a later one", func(ctx context.Context, e *boot.Env, args []string) error {
		dir := "/tmp"
		if len(args) > 0 {
			dir = args[0]
		}
		return e.Generate(ctx, dir)
	}},
	{"generator-failed", "say why the generator failed", func(_ context.Context, e *boot.Env, _ []string) error {
		return keepFailure(e, "generator", e.GeneratorFailed())
	}},
	{"setup", "import configs of the initramfs, the boot and the OEM partition", func(ctx context.Context, e *boot.Env, _ []string) error {
		return keepFailure(e, "setup", e.Setup(ctx))
	}},
	{"resolver", "write /etc/resolv.conf from what systemd-networkd learned", func(_ context.Context, e *boot.Env, _ []string) error {
		return e.WriteResolver()
	}},
	{"presets", "apply presets where systemd does not", func(ctx context.Context, e *boot.Env, _ []string) error {
		return keepFailure(e, "presets", e.Presets(ctx))
	}},
	{"quench", "remove the first-boot flag", func(ctx context.Context, e *boot.Env, _ []string) error {
		return keepFailure(e, "quench", e.Quench(ctx))
	}},
	{"network-cleanup", "take addresses and routes away", func(ctx context.Context, e *boot.Env, _ []string) error {
		return e.CleanNetwork(ctx)
	}},
	{"success", "report that all went well, if ignition.report.url asks for it", func(ctx context.Context, e *boot.Env, _ []string) error {
		return e.Post(ctx, boot.OutcomeSuccess, nil)
	}},
	{"emergency", "show on every console what failed, and act on ignition.emergency", emergency},
}

// emergency reports and then acts; that the report is not whole must not keep
// a machine from being powered off.
func emergency(ctx context.Context, e *boot.Env, _ []string) error {
	ours, err := e.Report(ctx)
	if !ours {
		return err
	}
	return errors.Join(err, e.Act(ctx))
}

// keepFailure leaves an error for the report, as a stage does.
func keepFailure(e *boot.Env, what string, err error) error {
	if err == nil {
		return nil
	}
	now := time.Now().UTC().Round(0)
	f := oplog.Failure{Stage: what, Version: e.Version, Boot: e.BootID, Start: now, End: now, Operations: e.Log.FailedOps(), Error: err.Error()}
	if werr := oplog.WriteFailure(distro.FailureFile, f); werr != nil {
		e.Log.Warning("the failure cannot be kept for the report: %v", werr)
	}
	return err
}

// bootMain runs a verb of a unit.
func bootMain(ctx context.Context, p process) int {
	var stdout bool
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.BoolVar(&stdout, "log-to-stdout", false, "log to stdout instead of the system log")
	fs.Usage = func() {
		fmt.Fprintf(p.stderr, "Usage: %s [options] VERB\n\nThe units of the initramfs call these:\n", p.name)
		for _, v := range bootVerbs {
			fmt.Fprintf(p.stderr, "  %-16s %s\n", v.name, v.summary)
		}
		fmt.Fprintf(p.stderr, "\nOptions:\n")
		fs.PrintDefaults()
	}
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return code
	}
	for _, v := range bootVerbs {
		if len(rest) == 0 || v.name != rest[0] {
			continue
		}
		e := bootEnv(p, stdout || v.name == "generator") // a generator runs before there is a journal
		if err := v.run(ctx, e, rest[1:]); err != nil {
			e.Log.Crit("%s: %v", v.name, err)
			return engine.ExitFailed
		}
		return engine.ExitOK
	}
	fs.Usage()
	return engine.ExitUsage
}

func bootEnv(p process, toStdout bool) *boot.Env {
	path := distro.KernelCmdlinePath
	if v := p.getenv("IGNITION_KERNEL_CMDLINE_PATH"); v != "" {
		path = v
	}
	id, _ := os.ReadFile(distro.BootIDPath) // without it nothing is compared
	return &boot.Env{
		Log:     logger(oplog.OpenDefault(toStdout, p.stdout, nil), nil),
		Sysroot: "/sysroot",
		Version: distro.Version,
		CommandLine: func() (string, error) {
			raw, err := os.ReadFile(path)
			return string(raw), err
		},
		BootID:   strings.TrimSpace(string(id)),
		LabelDir: distro.DiskByLabelDir,
		RunDir:   distro.SystemRuntimeConfigDir,
		Wait:     15 * time.Second,
	}
}

// kargsMain is ignition-kargs-helper, which the kargs stage calls. It has its
// options only, in any number and order.
func kargsMain(ctx context.Context, p process) int {
	var k boot.Kargs
	for i := 0; i < len(p.args); i += 2 {
		if i+1 == len(p.args) {
			fmt.Fprintf(p.stderr, "%s: %s needs an argument\n", p.name, p.args[i])
			return engine.ExitUsage
		}
		switch p.args[i] {
		case "--should-exist":
			k.Should = append(k.Should, p.args[i+1])
		case "--should-not-exist":
			k.ShouldNot = append(k.ShouldNot, p.args[i+1])
		default:
			fmt.Fprintf(p.stderr, "%s: unknown option %s\nUsage: %s [--should-exist ARG]... [--should-not-exist ARG]...\n", p.name, p.args[i], p.name)
			return engine.ExitUsage
		}
	}
	e := bootEnv(p, false)
	if err := e.ChangeKargs(ctx, k); err != nil {
		fmt.Fprintln(p.stderr, err)
		return engine.ExitFailed
	}
	return engine.ExitOK
}
