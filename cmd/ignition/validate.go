// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"

	"firstboot.dev/ignition/internal/document"
	"firstboot.dev/ignition/internal/engine"
	"github.com/coreos/vcontext/report"
)

// validateMain checks one config. Report entries go to stdout, all else to
// stderr; warnings alone do not change the exit code.
func validateMain(_ context.Context, p process) int {
	var version bool
	format := choice{value: "text", kind: "format", check: func(v string) bool { return v == "text" || v == "json" }}
	fs := flag.NewFlagSet(p.name, flag.ContinueOnError)
	fs.SetOutput(p.stderr)
	fs.Var(&format, "format", "how to print the report: text, or json for editors and pipelines")
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
	if len(rest) != 1 {
		fs.Usage()
		return engine.ExitFailed
	}
	raw, err := readInput(p, rest[0])
	if err != nil {
		fmt.Fprintf(p.stderr, "couldn't read config: %v\n", err)
		return engine.ExitFailed
	}
	_, rep, err := document.Parse(raw)
	if format.value == "json" {
		return reportJSON(p.stdout, rep, err)
	}
	fmt.Fprint(p.stdout, rep.String())
	switch {
	case rep.IsFatal():
		return engine.ExitFailed
	case err != nil:
		fmt.Fprintf(p.stderr, "couldn't parse config: %v\n", err)
		return engine.ExitFailed
	}
	return engine.ExitOK
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
	Valid   bool        `json:"valid"`
	Entries []jsonEntry `json:"entries"`
}

func reportJSON(w io.Writer, rep report.Report, err error) int {
	out := jsonReport{Valid: err == nil && !rep.IsFatal(), Entries: []jsonEntry{}}
	for _, e := range rep.Entries {
		j := jsonEntry{Severity: e.Kind.String(), Message: e.Message}
		if e.Context.Len() > 0 {
			j.Path = e.Context.String()
		}
		if e.Marker.StartP != nil {
			j.Line, j.Column = e.Marker.StartP.Line, e.Marker.StartP.Column
		}
		out.Entries = append(out.Entries, j)
	}
	if err != nil && !rep.IsFatal() {
		out.Entries = append(out.Entries, jsonEntry{Severity: "error", Message: err.Error()})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	_ = enc.Encode(out)
	if !out.Valid {
		return engine.ExitFailed
	}
	return engine.ExitOK
}
