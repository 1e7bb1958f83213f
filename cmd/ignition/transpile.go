// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/butane"
	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/engine"
)

// gnuFlag is one flag in the style of GNU: --long, --long=value, -s, -svalue, several letters after one dash.
type gnuFlag struct {
	long     string
	short    byte
	argument string // name of the argument in the usage text, "" for a switch
	bare     string // value of a flag with an optional argument if it has none
	hidden   bool
	help     string
	is       *bool   // where a switch's value goes
	to       *string // and that of another flag
}

func (f *gnuFlag) set(value string) (err error) {
	if f.is == nil {
		*f.to = value
		return nil
	}
	*f.is, err = strconv.ParseBool(value)
	return err
}

type gnuFlags []gnuFlag

func (l gnuFlags) find(long string, short byte) *gnuFlag {
	for i := range l {
		if l[i].long == long || short != 0 && l[i].short == short {
			return &l[i]
		}
	}
	return nil
}

// parse sets flags wherever they stand and returns the other arguments.
func (l gnuFlags) parse(args []string) (rest []string, err error) {
	for len(args) > 0 && err == nil {
		arg := args[0]
		args = args[1:]
		switch {
		case arg == "--":
			return append(rest, args...), nil
		case strings.HasPrefix(arg, "--"):
			args, err = l.long(arg[2:], args)
		case len(arg) > 1 && arg[0] == '-':
			args, err = l.letters(arg[1:], args)
		default:
			rest = append(rest, arg)
		}
	}
	return rest, err
}

func (l gnuFlags) long(arg string, args []string) ([]string, error) {
	name, value, has := strings.Cut(arg, "=")
	f := l.find(name, 0)
	switch {
	case f == nil:
		return nil, fmt.Errorf("unknown flag: --%s", name)
	case has:
	case f.is != nil:
		value = "true"
	case f.bare != "":
		value = f.bare
	case len(args) == 0:
		return nil, fmt.Errorf("flag needs an argument: --%s", name)
	default:
		value, args = args[0], args[1:]
	}
	if err := f.set(value); err != nil {
		return nil, fmt.Errorf("invalid argument %q for --%s", value, name)
	}
	return args, nil
}

func (l gnuFlags) letters(letters string, args []string) ([]string, error) {
	for i := range len(letters) {
		f := l.find("", letters[i])
		if f == nil {
			return nil, fmt.Errorf("unknown shorthand flag: %q in -%s", letters[i], letters)
		}
		if f.is != nil {
			_ = f.set("true")
			continue
		}
		value := strings.TrimPrefix(letters[i+1:], "=")
		if value == "" {
			if len(args) == 0 {
				return nil, fmt.Errorf("flag needs an argument: %q in -%s", letters[i], letters)
			}
			value, args = args[0], args[1:]
		}
		return args, f.set(value)
	}
	return args, nil
}

func (l gnuFlags) usage(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage: %s [options] [input-file]\nOptions:\n", name)
	for _, f := range l {
		if f.hidden {
			continue
		}
		short := "    "
		if f.short != 0 {
			short = "-" + string(f.short) + ", "
		}
		long := "--" + f.long
		if f.bare != "" {
			long += "[=" + f.argument + "]"
		} else if f.argument != "" {
			long += " " + f.argument
		}
		fmt.Fprintf(&b, "  %s%-22s %s\n", short, long, f.help)
	}
	return b.String()
}

// transpileOptions is what the flags say.
type transpileOptions struct {
	check, debug, help, pretty, raw, rawErrors, separator, strict, version bool
	color, filesDir, input, output                                         string
}

func (o *transpileOptions) flags() gnuFlags {
	return gnuFlags{
		{long: "check", short: 'c', help: "check config without producing output", is: &o.check},
		{long: "color", argument: "WHEN", bare: "always", help: "color the report: auto, always or never", to: &o.color},
		{long: "colour", argument: "WHEN", bare: "always", hidden: true, to: &o.color},
		{long: "debug", short: 'D', hidden: true, is: &o.debug},
		{long: "files-dir", short: 'd', argument: "DIR", help: "allow embedding local files from this directory", to: &o.filesDir},
		{long: "help", short: 'h', help: "show this text and exit", is: &o.help},
		{long: "input", argument: "FILE", hidden: true, to: &o.input},
		{long: "output", short: 'o', argument: "FILE", help: "write to this file instead of stdout", to: &o.output},
		{long: "pretty", short: 'p', help: "indent the JSON", is: &o.pretty},
		{long: "raw", short: 'r', help: "never wrap in a MachineConfig; force Ignition output", is: &o.raw},
		{long: "raw-errors", help: "print the report one line per entry", is: &o.rawErrors},
		{long: "strict", short: 's', help: "fail on any warning", is: &o.strict},
		{long: "version", short: 'V', help: "print the version and exit", is: &o.version},
		{long: "yaml-doc-separator", help: "start a MachineConfig with a line ---", is: &o.separator},
	}
}

// transpileMain translates Butane YAML, as ignition transpile and as butane.
func transpileMain(_ context.Context, p process) int {
	o := transpileOptions{color: "auto"}
	flags := o.flags()
	rest, err := flags.parse(p.args)
	if err != nil {
		fmt.Fprintf(p.stderr, "%s%v\n", flags.usage(p.name), err)
		return engine.ExitUsage
	}
	if o.input != "" {
		fmt.Fprintln(p.stderr, "Flag --input has been deprecated, specify filename directly on command line")
		rest = append(rest, o.input)
	}
	if len(rest) > 1 {
		fmt.Fprint(p.stderr, flags.usage(p.name))
		return engine.ExitUsage
	}
	switch {
	case o.help:
		fmt.Fprint(p.stdout, flags.usage(p.name))
		return engine.ExitOK
	case o.version:
		fmt.Fprintf(p.stdout, "Butane %s\n", distro.Version)
		return engine.ExitOK
	}
	if err := transpile(p, &o, rest); err != nil {
		fmt.Fprintln(p.stderr, err)
		return engine.ExitFailed
	}
	return engine.ExitOK
}

// The texts of these errors are known to scripts.
func transpile(p process, o *transpileOptions, rest []string) error {
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
	options := butane.Options{FilesDir: o.filesDir, Pretty: o.pretty, Raw: o.raw, YAMLDocSeparator: o.separator, Debug: o.debug}
	if o.filesDir != "" {
		files, err := openLocalFiles(o.filesDir)
		if err != nil {
			return fmt.Errorf("failed to open %s: %w", o.filesDir, err)
		}
		defer files.dir.Close()
		options.Files = files
	}
	result, err := butane.Transpile(raw, options)
	fmt.Fprint(p.stderr, result.Translations)
	if o.rawErrors {
		fmt.Fprint(p.stderr, result.Report.String())
	} else {
		fmt.Fprint(p.stderr, butane.Excerpts(result.Report, name, raw, o.colored(p.stderr)))
	}
	switch {
	case err != nil:
		return fmt.Errorf("Error translating config: %w", err) //lint:ignore ST1005 the text is known
	case o.strict && len(result.Report.Entries) > 0:
		return errors.New("Config produced warnings and --strict was specified") //lint:ignore ST1005 the text is known
	case o.check:
		return nil
	}
	return o.write(p, append(result.Output, '\n'))
}

func (o *transpileOptions) write(p process, document []byte) (err error) {
	name, to := "stdout", p.stdout
	if o.output != "" {
		name = o.output
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
		if err != nil {
			return fmt.Errorf("failed to open %s: %w", name, err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		to = f
	}
	if _, err = to.Write(document); err != nil {
		return fmt.Errorf("Failed to write config to %s: %w", name, err) //lint:ignore ST1005 the text is known
	}
	return nil
}

// colored tells whether the report is printed in colors.
func (o *transpileOptions) colored(to io.Writer) bool {
	switch o.color {
	case "always", "yes":
		return true
	case "auto":
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
