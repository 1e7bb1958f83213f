// SPDX-License-Identifier: Apache-2.0

// Command ignition is the first-boot provisioning program. One binary has
// several names: called as ignition with flags it runs one stage, as the boot
// units do; ignition-validate, ignition-apply, ignition-rmcfg and butane are
// names of it, and `ignition validate`, `ignition apply`, `ignition rmcfg`,
// `ignition report`, `ignition schema`, `ignition transpile` and `ignition version`
// are verbs. This package reads flags and the environment and decides about exit codes; the work
// is done below it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"firstboot.dev/ignition/internal/distro"
)

// process is what a command sees of the outside.
type process struct {
	name   string // how the program was called, for usage texts
	args   []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	getenv func(string) string
}

// command runs one program and returns the exit code.
type command func(ctx context.Context, p process) int

// verbs lists the programs of the binary by their verb.
var verbs = []struct {
	name, summary string
	run           command
}{
	{"apply", "apply a config to the root of a container", applyMain},
	{"facts", "describe the disks of this machine, for a plan made elsewhere", factsMain},
	{"plan", "show what a boot would do", planMain},
	{"report", "show the operations of a run: the slowest, the failed", reportMain},
	{"rmcfg", "delete the user config from the platform's metadata", rmcfgMain},
	{"schema", "print a JSON Schema, for editors", schemaMain},
	{"transpile", "translate Butane YAML to a config", transpileMain},
	{"validate", "check a config", validateMain},
	{"version", "print the version", versionMain},
}

func main() {
	syscall.Umask(0o022)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := dispatch(ctx, process{
		name: os.Args[0], args: os.Args[1:],
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		getenv: os.Getenv,
	})
	stop()
	os.Exit(code)
}

// hidden are the programs that people do not call: the units of the initramfs do.
// butane is a name of the binary.
var hidden = map[string]command{"boot": bootMain, "butane": transpileMain, "kargs-helper": kargsMain}

// dispatch picks the program: by the name that it was called by, by a verb,
// else the stage runner.
func dispatch(ctx context.Context, p process) int {
	if run := lookup(strings.TrimPrefix(filepath.Base(p.name), "ignition-")); run != nil {
		return run(ctx, p)
	}
	if len(p.args) > 0 {
		if run := lookup(p.args[0]); run != nil {
			p.name += " " + p.args[0]
			p.args = p.args[1:]
			return run(ctx, p)
		}
	}
	return stageMain(ctx, p)
}

func lookup(verb string) command {
	for _, v := range verbs {
		if v.name == verb {
			return v.run
		}
	}
	return hidden[verb]
}

func versionMain(_ context.Context, p process) int {
	printVersion(p.stdout)
	return 0
}

func printVersion(w io.Writer) { fmt.Fprintf(w, "Ignition %s\n", distro.Version) }
