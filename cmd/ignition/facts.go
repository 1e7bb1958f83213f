// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"

	"firstboot.dev/ignition/internal/engine"
	"firstboot.dev/ignition/internal/oplog"
)

// factsMain describes the disks of this machine.
func factsMain(ctx context.Context, p process) int {
	var out string
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.StringVar(&out, "o", "-", "file to write to, readable by its owner alone; - is stdout")
	fs.Usage = usageOf(fs, p.stderr, fmt.Sprintf(`Usage: %s [options]
Describes the disks of this machine, as `+"`ignition plan --disks FILE`"+` takes it. Only reads; needs root.

Options:
`, p.name))
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return code
	}
	if len(rest) > 0 {
		fs.Usage()
		return engine.ExitFailed
	}
	o, err := environment(p)
	var raw []byte
	if err == nil {
		o.Log = logger(oplog.AtLeast(slog.LevelWarn, oplog.StdoutHandler(p.stderr)), nil)
		raw, err = engine.Facts(ctx, o)
	}
	switch {
	case err != nil:
	case out == "-":
		_, err = p.stdout.Write(raw)
	default:
		err = writeFacts(out, raw)
	}
	if err != nil {
		fmt.Fprintf(p.stderr, "no facts about the disks: %v\n", err)
		return engine.ExitFailed
	}
	return engine.ExitOK
}

// writeFacts replaces a file as a whole.
func writeFacts(name string, raw []byte) error {
	temp := name + ".new"
	_ = os.Remove(temp) // of a run that was cut
	if err := os.WriteFile(temp, raw, 0o600); err != nil {
		return err
	}
	return os.Rename(temp, name)
}
