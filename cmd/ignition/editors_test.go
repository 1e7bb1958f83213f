// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var fence = regexp.MustCompile("(?s)```([a-z]+)\n(.*?)```")

// TestEditorsPage runs every command of docs/editors.md, in order, beside its example.
func TestEditorsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/editors.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script, files, commands := "", "", 0
	for _, block := range fence.FindAllStringSubmatch(string(page), -1) {
		switch language, text := block[1], block[2]; language {
		case "sh":
			for line := range strings.Lines(text) {
				script += "exec sh -ec '" + strings.ReplaceAll(strings.TrimSpace(line), "'", "''") + "'\n"
				commands++
			}
		case "yaml":
			files += "-- config.bu --\n" + text
		case "json":
			if !json.Valid([]byte(text)) {
				t.Errorf("this is no JSON:\n%s", text)
			}
			for _, name := range []string{"flatcar.json", "ignition.json"} {
				if !strings.Contains(text, "./"+name) {
					t.Errorf("the settings do not name %s", name)
				}
			}
		}
	}
	if commands == 0 || files == "" {
		t.Fatalf("%d commands, example %q", commands, files)
	}
	script += "exists flatcar.json ignition.json schemas/3.4.0.json schemas/flatcar-1.1.0.json schemas/openshift-4.22.0.json\n" +
		"grep urn:ignition:schema:flatcar:1.1.0 schemas/flatcar-1.1.0.json\ncmp flatcar.json schemas/flatcar-1.1.0.json\n"
	if err := os.WriteFile(filepath.Join(dir, "editors.txtar"), []byte(script+files), 0o644); err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{Dir: dir})
}
