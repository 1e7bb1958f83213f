// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"firstboot.dev/ignition/internal/distro"
)

// sarifRules are the kinds of entries. Services that show reports know findings by these names, so they do not change.
var sarifRules = []struct {
	id, text string
	words    []string // in messages of this kind; the first rule that has one counts
}{
	{id: "unreadable", text: "The file cannot be read, or not as a config."},
	{id: "unused-key", text: "A key that this version of the language does not have.", words: []string{"unused key"}},
	{id: "unread-reference", text: "A reference that was not followed.", words: []string{"without --online"}},
	{id: "reference", text: "What the config refers to cannot be fetched or is not what it should be.", words: []string{"cannot be "}},
	{id: "merge", text: "The config is valid, and what a boot makes of it is not.", words: []string{"once merged:", "once converted", "merged here"}},
	{id: "unit", text: "A systemd unit is wrong.", words: []string{"systemd"}},
	{id: "duplicate", text: "Two entries are about the same thing.", words: []string{"duplicate", "already"}},
	{id: "path", text: "A path is missing, relative or not in its simplest form.", words: []string{"path "}},
	{id: "mode", text: "A file mode is wrong.", words: []string{"mode", "setuid"}},
	{id: "url", text: "A URL is wrong.", words: []string{"url", "URL", "data ", "base64", "S3 "}},
	{id: "value", text: "A value, or a combination of values, is wrong."},
}

func sarifRule(e *jsonEntry) string {
	if e.Path == "" {
		return sarifRules[0].id
	}
	for i := range sarifRules {
		if r := &sarifRules[i]; isAbout(e.Message, r.words...) {
			return r.id
		}
	}
	return sarifRules[len(sarifRules)-1].id
}

// The parts of a log of SARIF 2.1.0. Text that came from outside is in quotes by then.
const (
	sarifLog = `{"$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", "version": "2.1.0",
"runs": [{"tool": {"driver": {"name": "ignition validate", "version": %s, "rules": [%s]}}, "columnKind": "unicodeCodePoints", "results": [%s]}]}`
	sarifDefinition = `{"id": "%s", "shortDescription": {"text": "%s"}}`
	sarifResult     = `{"ruleId": "%s", "level": "%s", "message": {"text": %s},
"locations": [{"physicalLocation": {"artifactLocation": {"uri": %s}%s}}]}`
	sarifRegion = `, "region": {"startLine": %d, "startColumn": %d}`
)

func inQuotes(s string) []byte {
	b, _ := json.Marshal(s) // a string has no error
	return b
}

// printSARIF writes one run about all files.
func printSARIF(p process, results []checked) error {
	var rules, found []string
	for i := range sarifRules {
		rules = append(rules, fmt.Sprintf(sarifDefinition, sarifRules[i].id, sarifRules[i].text))
	}
	for i := range results {
		c := &results[i]
		for _, e := range c.entries() {
			text, region := e.Message, ""
			if e.Path != "" {
				text = e.Path + ": " + text
			}
			if e.Line > 0 { // others are about the file as a whole
				region = fmt.Sprintf(sarifRegion, e.Line, characters(c.raw, &e))
			}
			level := e.Severity
			if level == "info" {
				level = "note"
			}
			found = append(found, fmt.Sprintf(sarifResult, sarifRule(&e), level, inQuotes(text), inQuotes(fileURI(c.name)), region))
		}
	}
	return encodeJSON(p, json.RawMessage(fmt.Sprintf(sarifLog, inQuotes(distro.Version), strings.Join(rules, ","), strings.Join(found, ","))))
}

// characters is the column of an entry in characters. Those of JSON are in bytes.
func characters(raw []byte, e *jsonEntry) int {
	column := max(int(e.Column), 1)
	if !bytes.HasPrefix(bytes.TrimLeft(raw, " \t\r\n"), []byte("{")) {
		return column
	}
	for range e.Line - 1 {
		_, raw, _ = bytes.Cut(raw, []byte("\n"))
	}
	return utf8.RuneCount(raw[:min(column-1, len(raw))]) + 1
}

// fileURI is a file's name as a URI, relative if the name is.
func fileURI(name string) string {
	if name == "-" {
		return "stdin"
	}
	name = filepath.ToSlash(filepath.Clean(name))
	u := url.URL{Path: name}
	if strings.HasPrefix(name, "/") {
		u.Scheme = "file"
	}
	return u.String()
}
