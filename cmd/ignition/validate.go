// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strings"

	"firstboot.dev/ignition/internal/engine"
	"github.com/coreos/vcontext/report"
)

// checked is what came out of the check of one file.
type checked struct {
	name string
	raw  []byte
	read error // it could not be read
	rep  report.Report
	err  error
}

// passes tells whether a file is good enough for the exit code.
func (c *checked) passes(strict bool) bool {
	if c.read != nil || c.err != nil || c.rep.IsFatal() {
		return false
	}
	for _, e := range c.rep.Entries {
		if strict && e.Kind == report.Warn {
			return false
		}
	}
	return true
}

// validateMain checks configs. Report entries go to stdout, all else to stderr; warnings alone do not change the exit
// code, but with --strict.
func validateMain(ctx context.Context, p process) int {
	var version bool
	var o engine.CheckOptions
	format := choice{value: "text", kind: "format", check: func(v string) bool { return v == "text" || v == "json" || v == "sarif" }}
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.Var(&format, "format", "how to print the report: text, json for programs, or sarif for code scanning. [json sarif text]")
	fs.BoolVar(&o.Online, "online", false, "fetch what the config refers to, and check hashes")
	fs.BoolVar(&o.Strict, "strict", false, "fail on warnings too, such as an unknown key")
	fs.BoolVar(&o.Units, "units", false, "have systemd-analyze judge the units")
	fs.BoolVar(&version, "version", false, "print the version and exit")
	fs.Usage = usageOf(fs, p.stderr, fmt.Sprintf("Usage:\n  %s [flags] config.ign\n\n", p.name))
	rest, code, done := parseFlags(fs, p.args)
	if done {
		return code
	}
	if version {
		printVersion(p.stdout)
		return engine.ExitOK
	}
	if len(rest) == 0 {
		fs.Usage()
		return engine.ExitFailed
	}
	var err error
	if o.Options, err = environment(p); err != nil {
		fmt.Fprintln(p.stderr, err)
		return engine.ExitFailed
	}
	results, code := checkAll(ctx, p, o, rest)
	if err := printChecked(p, format.value, results, o.Strict); err != nil {
		fmt.Fprintf(p.stderr, "couldn't print the report: %v\n", err)
		return engine.ExitFailed
	}
	return code
}

func checkAll(ctx context.Context, p process, o engine.CheckOptions, names []string) (results []checked, code int) {
	results, code = make([]checked, len(names)), engine.ExitOK
	for i, name := range names {
		c := &results[i]
		c.name = name
		if o.Raw, c.read = readInput(p, name); c.read == nil {
			o.Name, c.raw = name, o.Raw
			c.rep, c.err = engine.Check(ctx, &o)
		}
		if !c.passes(o.Strict) {
			code = engine.ExitFailed
		}
	}
	return results, code
}

func printChecked(p process, format string, results []checked, strict bool) error {
	switch format {
	case "json":
		return printJSON(p, results, strict)
	case "sarif":
		return printSARIF(p, results)
	}
	for i := range results {
		if err := printText(p, &results[i], len(results) > 1); err != nil {
			return err
		}
	}
	return nil
}

// kindColors are what a terminal shows kinds of entries in.
var kindColors = map[string]string{"error": "\x1b[31m", "warning": "\x1b[33m"}

// printText writes one line per entry, of several files with the file's name before it.
func printText(p process, c *checked, several bool) error {
	prefix := ""
	if several {
		prefix = c.name + ": "
	}
	colored := colors(p, p.stdout)
	for _, e := range c.rep.Entries {
		text := e.String()
		if kind := e.Kind.String(); colored && kindColors[kind] != "" {
			text = kindColors[kind] + kind + "\x1b[0m" + strings.TrimPrefix(text, kind)
		}
		if _, err := fmt.Fprintln(p.stdout, prefix+text); err != nil {
			return err
		}
	}
	switch {
	case c.read != nil:
		fmt.Fprintf(p.stderr, "%scouldn't read config: %v\n", prefix, c.read)
	case c.err != nil && !c.rep.IsFatal():
		fmt.Fprintf(p.stderr, "%scouldn't parse config: %v\n", prefix, c.err)
	}
	return nil
}

// jsonEntry is one report entry for programs. Line and column are 1-based and
// absent where the entry has no position.
type jsonEntry struct {
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Path     string `json:"path,omitempty"`
	Line     int64  `json:"line,omitempty"`
	Column   int64  `json:"column,omitempty"`
}

type jsonReport struct {
	File    string      `json:"file,omitempty"` // of several
	Valid   bool        `json:"valid"`
	Entries []jsonEntry `json:"entries"`
}

func (c *checked) entries() []jsonEntry {
	out := []jsonEntry{}
	for _, e := range c.rep.Entries {
		j := jsonEntry{Severity: e.Kind.String(), Message: e.Message}
		if e.Context.Len() > 0 {
			j.Path = e.Context.String()
		}
		if e.Marker.StartP != nil {
			j.Line, j.Column = e.Marker.StartP.Line, e.Marker.StartP.Column
		}
		out = append(out, j)
	}
	switch {
	case c.read != nil:
		out = append(out, jsonEntry{Severity: "error", Message: "couldn't read config: " + c.read.Error()})
	case c.err != nil && !c.rep.IsFatal():
		out = append(out, jsonEntry{Severity: "error", Message: c.err.Error()})
	}
	return out
}

// printJSON writes one report, or of several files a list of them. A single file that cannot be read has none.
func printJSON(p process, results []checked, strict bool) error {
	var list []jsonReport
	for i := range results {
		c := &results[i]
		list = append(list, jsonReport{File: c.name, Valid: c.passes(strict), Entries: c.entries()})
	}
	if len(list) > 1 {
		return encodeJSON(p, list)
	}
	if results[0].read != nil {
		return printText(p, &results[0], false)
	}
	list[0].File = ""
	return encodeJSON(p, list[0])
}

func encodeJSON(p process, v any) error {
	enc := json.NewEncoder(p.stdout)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// isAbout tells whether a message has one of the words.
func isAbout(message string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(message, w) {
			return true
		}
	}
	return false
}
