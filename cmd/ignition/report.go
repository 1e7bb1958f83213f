// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/engine"
	"firstboot.dev/ignition/internal/oplog"
)

// reportMain shows the op record: a table, and with --svg a time line.
func reportMain(_ context.Context, p process) int {
	var svg string
	var top int
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.StringVar(&svg, "svg", "", "also draw the time line to this file; - for stdout instead of the table")
	fs.IntVar(&top, "top", 15, "how many of the slowest operations to list")
	fs.Usage = usageOf(fs, p.stderr, fmt.Sprintf("Usage: %s [options] [ops.jsonl]\n\nThe default file is %s.\n\nOptions:\n", p.name, distro.OpsFile))
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return code
	}
	path := distro.OpsFile
	switch len(rest) {
	case 0:
	case 1:
		path = rest[0]
	default:
		fs.Usage()
		return engine.ExitUsage
	}
	records, err := readRecords(p, path)
	var skipped *oplog.SkippedError
	if errors.As(err, &skipped) {
		fmt.Fprintf(p.stderr, "%v\n", skipped)
		err = nil
	}
	if err != nil {
		fmt.Fprintf(p.stderr, "couldn't read the op record: %v\n", err)
		return engine.ExitFailed
	}
	if svg == "-" {
		return exitFor(p, oplog.WriteSVG(p.stdout, records))
	}
	if _, err := oplog.WriteReport(p.stdout, records, oplog.ReportOptions{Top: top}); err != nil {
		return exitFor(p, err)
	}
	if svg == "" {
		return engine.ExitOK
	}
	return exitFor(p, writeSVG(svg, records))
}

func exitFor(p process, err error) int {
	if err != nil {
		fmt.Fprintf(p.stderr, "couldn't write the report: %v\n", err)
		return engine.ExitFailed
	}
	return engine.ExitOK
}

func readRecords(p process, path string) ([]oplog.Record, error) {
	if path == "-" {
		return oplog.ReadRecords(p.stdin)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return oplog.ReadRecords(f)
}

func writeSVG(path string, records []oplog.Record) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := oplog.WriteSVG(f, records); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
