// SPDX-License-Identifier: Apache-2.0

// Command ignition is the first-boot provisioning program. One binary has
// several names: called as ignition with flags it runs one stage, as the boot
// units do; ignition-validate, ignition-apply, ignition-rmcfg and butane are
// names of it, and `ignition validate` and the others of the table below are verbs. This package reads flags and the environment and decides about exit codes; the work
// is done below it.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/engine"
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

// verbs lists the programs of the binary by their verb, each with the arguments
// of a call that shows what it is for.
var verbs = []struct {
	name, summary string
	example       string
	run           command
}{
	{"apply", "apply a config to the root of a container", "--on-host --root image --with-passwd config.bu", applyMain},
	{"completion", "print the completion script of a shell", "bash >/etc/bash_completion.d/ignition", completionMain},
	{"diff", "compare two configs by what they mean", "config.bu config.ign", diffMain},
	{"facts", "describe the disks of this machine, for a plan made elsewhere", "-o machine.json", factsMain},
	{"plan", "show what a boot would do", "--root image --disks machine.json config.bu", planMain},
	{"render", "print the config that is left when all that it refers to is merged", "--explain $.storage.files.0 config.bu", renderMain},
	{"report", "show the operations of a run: the slowest, the failed", "--svg boot.svg /run/ignition/ops.jsonl", reportMain},
	{"rmcfg", "delete the user config from the platform's metadata", "--platform vmware", rmcfgMain},
	{"schema", "print a JSON Schema, for editors", "flatcar/1.1.0 >flatcar.json", schemaMain},
	{"transpile", "translate Butane YAML to a config", "--pretty --strict --files-dir files config.bu", transpileMain},
	{"validate", "check a config", "--strict config.bu config.ign", validateMain},
	{"version", "print the version", "", versionMain},
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
	if len(p.args) > 0 && p.args[0] == "__complete" { // the scripts of the shells call it, by any name of the binary
		p.args = p.args[1:]
		return completeMain(ctx, p)
	}
	if run := lookup(strings.TrimPrefix(filepath.Base(p.name), "ignition-")); run != nil {
		return run(ctx, p)
	}
	if len(p.args) > 0 && p.args[0] == "help" { // help VERB is VERB --help
		p.args = append(slices.Clone(p.args[1:]), "--help")
	}
	if len(p.args) > 0 {
		if run := lookup(p.args[0]); run != nil {
			verb := p.args[0]
			p.name += " " + verb
			p.args = p.args[1:]
			code := run(ctx, p)
			if code == engine.ExitOK {
				showExample(p, verb)
			}
			return code
		}
	}
	return stageMain(ctx, p)
}

// about is said at the end of a help whose beginning is known to scripts.
var about = map[string]string{
	"apply": `Writes files, directories, links and units of a config into a root, as a first boot does. Outside of a container that
takes --on-host. Exits with 0 if the config was applied, 1 if not, 2 if an option was wrong.
`,
	"report": `Shows the outcome of the stages and their slowest operations. Exits with 0, or with 1 if the record cannot be read.
`,
	"rmcfg": `Deletes the user's config from where the hypervisor keeps it. Exits with 1 if that did not work or the platform has no
means for it.
`,
	"transpile": `Translates Butane YAML to a config, or with --to a config of an old spec to the newest. Exits with 0 if it did, 1 if
nothing was written, 2 if the command line was wrong. Without a file it reads the standard input.
`,
	"validate": `Checks configs in JSON, of any spec version, and in Butane YAML. Exits with 0 if all are valid, 1 if one is not or
cannot be read, 2 if an option was wrong. - is the standard input.
`,
}

// showExample ends the help of a verb with what it does and a call that works.
func showExample(p process, verb string) {
	if len(p.args) != 1 || !slices.Contains([]string{"-h", "-help", "--help"}, p.args[0]) {
		return
	}
	w := p.stderr
	if verb == "transpile" { // whose help goes to stdout, as that of other tools
		w = p.stdout
	}
	if text := about[verb]; text != "" {
		fmt.Fprintf(w, "\n%s", text)
	}
	for _, v := range verbs {
		if v.name == verb && v.example != "" {
			fmt.Fprintf(w, "\nExample:\n  %s %s\n", p.name, v.example)
		}
	}
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
