// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"

	"firstboot.dev/ignition/internal/engine"
)

// What `ignition plan` exits with if there is something to do.
const exitChanges = 2

// planMain prints what a boot would do.
func planMain(ctx context.Context, p process) int {
	var o engine.PlanOptions
	var root, format string
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.StringVar(&root, "root", "/", "root of the filesystem")
	fs.StringVar(&format, "format", "text", "text or json")
	fs.BoolVar(&o.Online, "online", false, "fetch what the config refers to")
	fs.Usage = usageOf(fs, p.stderr, fmt.Sprintf("Usage: %s [options] config.ign\nOptions:\n", p.name))
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return code
	}
	if len(rest) != 1 || format != "text" && format != "json" {
		fs.Usage()
		return engine.ExitFailed
	}
	env, err := environment(p)
	if err == nil {
		o.Raw, err = readInput(p, rest[0])
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return engine.ExitFailed
	}
	log, closeLog := openLog(process{stdout: p.stderr, stderr: p.stderr, getenv: p.getenv}, true, "", "plan")
	defer closeLog()
	o.Options = env
	o.Log, o.Root = log, root
	result, err := engine.Plan(ctx, o)
	if err != nil {
		fmt.Fprintf(p.stderr, "there is no plan for this config: %v\n", err)
		return engine.ExitFailed
	}
	if format == "json" {
		enc := json.NewEncoder(p.stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(result)
	} else {
		for _, op := range result.Operations {
			_, err = fmt.Fprintf(p.stdout, "%-7s %s\n", op.Effect, op.Desc)
		}
	}
	switch {
	case err != nil:
		fmt.Fprintln(p.stderr, err)
		return engine.ExitFailed
	case result.Changes():
		return exitChanges
	}
	return engine.ExitOK
}
