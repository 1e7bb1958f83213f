// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"

	"firstboot.dev/ignition/internal/engine"
)

const renderHelp = `Usage: %s [options] CONFIG

Prints the config that is left when all configs that CONFIG refers to are merged into it, in the oldest spec version
that can say it. It holds what they hold, secrets too.

Options:
`

// renderMain prints the config that a boot ends up with, or where its values come from.
func renderMain(ctx context.Context, p process) int {
	var o engine.ShowOptions
	var id string
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.StringVar(&o.Explain, "explain", "", "tell where the values below this `path` come from, such as $.storage.files.3")
	fs.BoolVar(&o.Online, "online", false, "fetch what is not in a data: URL")
	fs.StringVar(&id, "platform", "", "merge the base configs of the distribution too, and those of this platform")
	fs.Usage = usageOf(fs, p.stderr, fmt.Sprintf(renderHelp, p.name))
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return code
	}
	if len(rest) != 1 {
		fs.Usage()
		return engine.ExitUsage
	}
	var err error
	if o.Options, err = environment(p); err == nil && id != "" {
		o.Base = true
		if o.Platform, err = engine.LookupPlatform(id); err != nil {
			fmt.Fprintf(p.stderr, "invalid platform name %q provided\n", id)
			return engine.ExitUsage
		}
	}
	if err == nil {
		o.Name = rest[0]
		o.Raw, err = readInput(p, rest[0])
	}
	var out []byte
	if err == nil {
		out, err = engine.Show(ctx, &o)
	}
	if err == nil {
		_, err = p.stdout.Write(out)
	}
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return engine.ExitFailed
	}
	return engine.ExitOK
}
