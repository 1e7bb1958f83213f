// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"

	"firstboot.dev/ignition/internal/engine"
)

const diffHelp = `Usage: %s A B

Compares two configs by what they mean, in whichever language each is: - is in A alone, + in B alone, ~ differs.
Exits with 0 if they mean the same, 1 if not, 2 in trouble. Secrets are not shown.
`

// What `ignition diff` exits with, as diff does.
const (
	exitDiffer  = 1
	exitTrouble = 2
)

// diffMain compares two configs.
func diffMain(ctx context.Context, p process) int {
	var o engine.DiffOptions
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.Usage = usageOf(fs, p.stderr, fmt.Sprintf(diffHelp, p.name))
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return code
	}
	if len(rest) != len(o.Names) {
		fs.Usage()
		return exitTrouble
	}
	var err error
	o.Options, err = environment(p)
	for i := range o.Names {
		if err == nil {
			o.Names[i] = rest[i]
			o.Raw[i], err = readInput(p, rest[i])
		}
	}
	var lines []string
	if err == nil {
		lines, err = engine.Diff(ctx, &o)
	}
	for _, line := range lines {
		if err == nil {
			_, err = fmt.Fprintln(p.stdout, line)
		}
	}
	switch {
	case err != nil:
		fmt.Fprintln(p.stderr, err)
		return exitTrouble
	case len(lines) > 0:
		return exitDiffer
	}
	return engine.ExitOK
}
