// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"firstboot.dev/ignition/internal/engine"
)

// usageOf gives a usage function of the form that the tools with one argument share.
func usageOf(fs *flag.FlagSet, w io.Writer, head string) func() {
	return func() {
		fmt.Fprint(w, head)
		fs.PrintDefaults()
	}
}

// readInput reads a file, or stdin for "-".
func readInput(p process, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(p.stdin)
	}
	return os.ReadFile(name)
}

// applyMain applies a config to the root of a container.
func applyMain(ctx context.Context, p process) int {
	var f common
	var offline, ignore, passwd, host bool
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.StringVar(&f.root, "root", "/", "root of the filesystem")
	fs.BoolVar(&ignore, "ignore-unsupported", false, "ignore unsupported config sections")
	fs.BoolVar(&offline, "offline", false, "error out if the config needs the network")
	fs.BoolVar(&passwd, "with-passwd", false, "apply users and groups too, with the useradd of this system")
	fs.BoolVar(&host, "on-host", false, "apply outside of a container as well, to another root than this system's")
	fs.BoolVar(&f.version, "version", false, "print the version and exit")
	fs.Usage = usageOf(fs, p.stderr, fmt.Sprintf("Usage: %s [options] config.ign\nOptions:\n", p.name))
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return code
	}
	if f.version {
		printVersion(p.stdout)
		return engine.ExitOK
	}
	if len(rest) != 1 {
		fs.Usage()
		return engine.ExitFailed
	}
	o, err := environment(p)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return engine.ExitUsage
	}
	line := newProgressLine(p)
	defer line.clear()
	shown := p
	shown.stdout = line.before(p.stdout)
	log, closeLog := openLog(shown, true, "", "apply")
	defer closeLog()
	o.Log, o.Root, o.Watch = log, f.root, line.show
	raw, err := readInput(p, rest[0])
	if err != nil {
		log.Crit("couldn't read config: %v", err)
		return engine.ExitFailed
	}
	return engine.Apply(ctx, engine.ApplyOptions{
		Options: o, Raw: raw, Offline: offline, IgnoreUnsupported: ignore, Container: p.getenv("container"),
		WithPasswd: passwd, OnHost: host,
	})
}

// rmcfgMain deletes the user config from the platform's metadata.
func rmcfgMain(ctx context.Context, p process) int {
	var f common
	var id string
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.StringVar(&id, "platform", "", "current platform")
	fs.BoolVar(&f.logToStdout, "log-to-stdout", false, "log to stdout instead of the system log")
	fs.BoolVar(&f.version, "version", false, "print the version and exit")
	fs.Usage = usageOf(fs, p.stderr, fmt.Sprintf("Usage: %s [options]\nOptions:\n", p.name))
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return code
	}
	switch {
	case f.version:
		printVersion(p.stdout)
		return engine.ExitOK
	case len(rest) != 0:
		fs.Usage()
		return engine.ExitUsage
	case id == "":
		fmt.Fprintln(p.stderr, "'--platform' must be provided")
		return engine.ExitUsage
	}
	plat, err := engine.LookupPlatform(id)
	if err != nil {
		fmt.Fprintf(p.stderr, "invalid platform name %q provided\n", id)
		return engine.ExitUsage
	}
	o, err := environment(p)
	if err != nil {
		fmt.Fprintln(p.stderr, err)
		return engine.ExitUsage
	}
	log, closeLog := openLog(p, f.logToStdout, "", "rmcfg")
	defer closeLog()
	o.Log, o.Platform = log, plat
	return engine.RemoveConfig(ctx, o)
}
