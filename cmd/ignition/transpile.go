// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/butane"
	"firstboot.dev/ignition/internal/config/legacy"
	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/engine"
	"github.com/coreos/vcontext/report"
)

// gnuFlag is one flag in the style of GNU: --long, --long=value, -s, -svalue, several letters after one dash.
type gnuFlag struct {
	long     string
	short    byte
	argument string // name of the argument in the usage text, "" for a switch
	bare     string // value of a flag with an optional argument if it has none
	hidden   bool
	help     string
}

var transpileFlags = []gnuFlag{
	{long: "check", short: 'c', help: "check config without producing output"},
	{long: "color", argument: "WHEN", bare: "always", help: "color the report: auto, always or never"},
	{long: "colour", argument: "WHEN", bare: "always", hidden: true},
	{long: "debug", short: 'D', hidden: true},
	{long: "files-dir", short: 'd', argument: "DIR", help: "allow embedding local files from this directory"},
	{long: "help", short: 'h', help: "show this text and exit"},
	{long: "input", argument: "FILE", hidden: true},
	{long: "output", short: 'o', argument: "FILE", help: "write to this file instead of stdout"},
	{long: "pretty", short: 'p', help: "indent the JSON"},
	{long: "raw", short: 'r', help: "never wrap in a MachineConfig; force Ignition output"},
	{long: "raw-errors", help: "print the report one line per entry"},
	{long: "strict", short: 's', help: "fail on any warning"},
	{long: "to", argument: "3.x", help: "convert a config of spec 1 or 2.x"},
	{long: "version", short: 'V', help: "print the version and exit"},
	{long: "yaml-doc-separator", help: "start a MachineConfig with a line ---"},
}

// flagValues are the flags that were given; a switch that is on has the value "true".
type flagValues map[string]string

func (v flagValues) on(name string) bool { return v[name] == "true" }

// parseGNU reads the flags of transpileFlags wherever they stand, and the other arguments.
func parseGNU(args []string) (v flagValues, rest []string, err error) {
	v = flagValues{}
	for len(args) > 0 && err == nil {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return v, append(rest, args...), nil
		case strings.HasPrefix(arg, "--"):
			args, err = v.long(arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = v.letters(arg[1:], args)
		default:
			rest = append(rest, arg)
		}
	}
	return v, rest, err
}

func findFlag(long string, short byte) *gnuFlag {
	for i := range transpileFlags {
		if f := &transpileFlags[i]; f.long == long || short != 0 && f.short == short {
			return f
		}
	}
	return nil
}

func (v flagValues) long(arg string, args []string) ([]string, error) {
	name, value, has := strings.Cut(arg, "=")
	f := findFlag(name, 0)
	switch {
	case f == nil:
		return nil, errors.New("unknown flag: --" + name)
	case has:
	case f.argument == "":
		value = "true"
	case f.bare != "":
		value = f.bare
	case len(args) == 0:
		return nil, errors.New("flag needs an argument: --" + name)
	default:
		value, args = args[0], args[1:]
	}
	if f.argument == "" {
		is, err := strconv.ParseBool(value)
		if err != nil {
			return nil, errors.New("invalid argument " + strconv.Quote(value) + " for --" + name)
		}
		value = strconv.FormatBool(is)
	}
	if name == "colour" {
		name = "color"
	}
	v[name] = value
	return args, nil
}

func (v flagValues) letters(letters string, args []string) ([]string, error) {
	for i := range len(letters) {
		f := findFlag("", letters[i])
		where := ": '" + letters[i:i+1] + "' in -" + letters
		if f == nil {
			return nil, errors.New("unknown shorthand flag" + where)
		}
		if f.argument == "" {
			v[f.long] = "true"
			continue
		}
		value := strings.TrimPrefix(letters[i+1:], "=")
		if value == "" {
			if len(args) == 0 {
				return nil, errors.New("flag needs an argument" + where)
			}
			value, args = args[0], args[1:]
		}
		v[f.long] = value
		break
	}
	return args, nil
}

func transpileUsage(name string) string {
	const width = 24
	text := "Usage: " + name + " [options] [input-file]\nOptions:\n"
	for i := range transpileFlags {
		f := &transpileFlags[i]
		if f.hidden {
			continue
		}
		line := "      --" + f.long
		if f.short != 0 {
			line = "  -" + string(f.short) + ", --" + f.long
		}
		if f.bare != "" {
			line += "[=" + f.argument + "]"
		} else if f.argument != "" {
			line += " " + f.argument
		}
		text += line + strings.Repeat(" ", width+len("  -x, --")-len(line)) + f.help + "\n"
	}
	return text
}

// transpileMain translates Butane YAML, as ignition transpile and as butane.
func transpileMain(_ context.Context, p process) int {
	v, rest, err := parseGNU(p.args)
	if err != nil {
		fmt.Fprintf(p.stderr, "%s%v\n", transpileUsage(p.name), err)
		return engine.ExitUsage
	}
	if v["input"] != "" {
		fmt.Fprintln(p.stderr, "Flag --input has been deprecated, specify filename directly on command line")
		rest = append(rest, v["input"])
	}
	switch {
	case len(rest) > 1:
		fmt.Fprint(p.stderr, transpileUsage(p.name))
		return engine.ExitUsage
	case v.on("help"):
		fmt.Fprint(p.stdout, transpileUsage(p.name))
		return engine.ExitOK
	case v.on("version"):
		fmt.Fprintf(p.stdout, "Butane %s\n", distro.Version)
		return engine.ExitOK
	}
	if to, given := v["to"]; given && to != "3.x" {
		fmt.Fprintf(p.stderr, "%sinvalid argument %q for --to; it is 3.x\n", transpileUsage(p.name), to)
		return engine.ExitUsage
	}
	if err := transpile(p, v, rest); err != nil {
		fmt.Fprintln(p.stderr, err)
		return engine.ExitFailed
	}
	return engine.ExitOK
}

// The texts of these errors are known to scripts.
func transpile(p process, v flagValues, rest []string) error {
	name, source := "<stdin>", p.stdin
	if len(rest) == 1 {
		name = rest[0]
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("failed to open %s: %w", name, err)
		}
		defer f.Close()
		source = f
	}
	raw, err := io.ReadAll(source)
	if err != nil {
		return fmt.Errorf("failed to read %s: %w", name, err)
	}
	if v["to"] != "" {
		return v.convert(p, name, raw)
	}
	options := butane.Options{FilesDir: v["files-dir"], Pretty: v.on("pretty"), Raw: v.on("raw"),
		YAMLDocSeparator: v.on("yaml-doc-separator"), Debug: v.on("debug")}
	line := newProgressLine(p)
	packing := shownWork{line: line, what: "packing"}
	options.Watch = func(done, size int) { packing.at(int64(done), int64(size)) }
	if options.FilesDir != "" {
		files, err := openLocalFiles(options.FilesDir, line)
		if err != nil {
			return fmt.Errorf("failed to open %s: %w", options.FilesDir, err)
		}
		defer files.dir.Close()
		options.Files = files
	}
	result, err := butane.Transpile(raw, options)
	line.clear()
	fmt.Fprint(p.stderr, result.Translations)
	return v.finish(p, name, raw, result.Report, append(result.Output, '\n'), err)
}

// convert writes a config of an old spec as one of spec 3.x. The report lists what changes its meaning, and of one
// that cannot be carried over why.
func (v flagValues) convert(p process, name string, raw []byte) error {
	if !bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{")) {
		//lint:ignore ST1005 the text is known
		return errors.New("Error translating config: --to converts a config in JSON; Butane YAML is translated without it")
	}
	document, rep, err := legacy.Convert(raw)
	return v.finish(p, name, raw, rep, document, err)
}

// finish prints the report and writes the document, unless there was an error.
func (v flagValues) finish(p process, name string, raw []byte, rep report.Report, document []byte, err error) error {
	if v.on("raw-errors") {
		for _, e := range rep.Entries {
			fmt.Fprintln(p.stderr, e)
		}
	} else {
		fmt.Fprint(p.stderr, butane.Excerpts(rep, name, raw, v.colored(p.stderr)))
	}
	switch {
	case err != nil:
		//lint:ignore ST1005 the text is known
		return fmt.Errorf("Error translating config: %w", err)
	case v.on("strict") && len(rep.Entries) > 0:
		//lint:ignore ST1005 the text is known
		return errors.New("Config produced warnings and --strict was specified")
	case v.on("check"):
		return nil
	}
	return v.write(p, document)
}

func (v flagValues) write(p process, document []byte) (err error) {
	name, to := "stdout", p.stdout
	if v["output"] != "" {
		name = v["output"]
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return fmt.Errorf("failed to open %s: %w", name, err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		to = f
	}
	if _, err = to.Write(document); err != nil {
		//lint:ignore ST1005 the text is known
		return fmt.Errorf("Failed to write config to %s: %w", name, err)
	}
	return nil
}

// colored tells whether the report is printed in colors.
func (v flagValues) colored(to io.Writer) bool {
	switch v["color"] {
	case "always", "yes":
		return true
	case "", "auto":
	default:
		return false
	}
	if _, no := os.LookupEnv("NO_COLOR"); no {
		return false
	}
	f, ok := to.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
