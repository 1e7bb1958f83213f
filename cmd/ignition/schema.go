// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"

	"firstboot.dev/ignition/internal/engine"
	"firstboot.dev/ignition/internal/schema"
)

const schemaHelp = `Usage: %s [NAME]

Prints the JSON Schema (2020-12) of a config version or of a Butane variant and version, for editors that complete and check.
Without a name it lists what there is.
`

// schemaMain prints the schema of a language, or the list of languages.
func schemaMain(_ context.Context, p process) int {
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.Usage = usageOf(fs, p.stderr, fmt.Sprintf(schemaHelp, p.name))
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return code
	}
	switch len(rest) {
	case 0:
		for _, l := range schema.Languages() {
			fmt.Fprintf(p.stdout, "%-28s %s\n", l.Name, l.Title())
		}
		return engine.ExitOK
	case 1:
	default:
		fs.Usage()
		return engine.ExitUsage
	}
	l := schema.Find(rest[0])
	if l == nil {
		fmt.Fprintf(p.stderr, "there is no schema of %q; `%s` lists what there is\n", rest[0], p.name)
		return engine.ExitFailed
	}
	if _, err := p.stdout.Write(schema.Make(l)); err != nil {
		fmt.Fprintf(p.stderr, "couldn't print the schema: %v\n", err)
		return engine.ExitFailed
	}
	return engine.ExitOK
}
