// SPDX-License-Identifier: Apache-2.0

// Package kargs is the stage that hands kernel arguments to the distribution's
// helper. The helper knows where the boot loader keeps them and decides about
// a reboot, so the stage may never return.
package kargs

import (
	"context"
	"fmt"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// Runner is the one method of exec.Runner that the stage needs.
type Runner interface {
	Logged(ctx context.Context, l *oplog.Logger, op oplog.Op, c exec.Cmd) (exec.Result, error)
}

// Run calls helper once with all arguments, or not at all when there are none.
func Run(ctx context.Context, log *oplog.Logger, run Runner, helper string, args config.KernelArguments) error {
	if len(args.ShouldExist) == 0 && len(args.ShouldNotExist) == 0 {
		return nil
	}
	if _, err := run.Logged(ctx, log, Op(), exec.Cmd{Name: helper, Args: argv(args)}); err != nil {
		return &config.EntryError{
			Path: "$.kernelArguments",
			Hint: "the image's " + helper + " refused; see its output above, or remove kernelArguments from the config",
			Err:  fmt.Errorf("failed adding kernel arguments: %w", err),
		}
	}
	return nil
}

// Op is what the record has of a call.
func Op() oplog.Op {
	return oplog.Op{Desc: "updating kernel arguments", Kind: "kernel-arguments", ConfigPath: "$.kernelArguments"}
}

// Fulfilled tells whether a kernel command line has what it should, and not what it should not.
func Fulfilled(args config.KernelArguments, cmdline string) bool {
	have := map[string]bool{}
	for _, word := range strings.Fields(cmdline) {
		have[word] = true
	}
	all := func(list []string, want bool) bool {
		for _, a := range list {
			for _, word := range strings.Fields(a) {
				if have[word] != want {
					return false
				}
			}
		}
		return true
	}
	return all(args.ShouldExist, true) && all(args.ShouldNotExist, false)
}

func argv(args config.KernelArguments) []string {
	var out []string
	for _, a := range args.ShouldExist {
		out = append(out, "--should-exist", a)
	}
	for _, a := range args.ShouldNotExist {
		out = append(out, "--should-not-exist", a)
	}
	return out
}
