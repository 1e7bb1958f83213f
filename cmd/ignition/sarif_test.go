// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sarifDocument is what the specification of SARIF 2.1.0 requires of a log, and what services that show it need.
type sarifDocument struct {
	Schema  string `json:"$schema"`
	Version string `json:"version"`
	Runs    []struct {
		ColumnKind string `json:"columnKind"`
		Tool       struct {
			Driver struct {
				Name    string `json:"name"`
				Version string `json:"version"`
				Rules   []struct {
					ID    string `json:"id"`
					Short struct {
						Text string `json:"text"`
					} `json:"shortDescription"`
				} `json:"rules"`
			} `json:"driver"`
		} `json:"tool"`
		Results []struct {
			RuleID  string `json:"ruleId"`
			Level   string `json:"level"`
			Message struct {
				Text string `json:"text"`
			} `json:"message"`
			Locations []struct {
				Physical struct {
					Artifact struct {
						URI string `json:"uri"`
					} `json:"artifactLocation"`
					Region *struct {
						Line   int `json:"startLine"`
						Column int `json:"startColumn"`
					} `json:"region"`
				} `json:"physicalLocation"`
			} `json:"locations"`
		} `json:"results"`
	} `json:"runs"`
}

func runSARIF(t *testing.T, args ...string) sarifDocument {
	t.Helper()
	var stdout, stderr bytes.Buffer
	validateMain(context.Background(), process{name: "ignition-validate", args: append([]string{"--format=sarif"}, args...),
		stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, getenv: func(string) string { return "" }})
	d := json.NewDecoder(&stdout)
	d.DisallowUnknownFields()
	var log sarifDocument
	if err := d.Decode(&log); err != nil {
		t.Fatalf("%v; stderr: %s", err, &stderr)
	}
	return log
}

func TestSARIF(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{
		"warn.ign":      `{"ignition":{"version":"3.3.0"},"nonsense":1}`,
		"a dir/bad.ign": "{\"ignition\":{\"version\":\"3.4.0\"},\n\"storage\":{\"files\":[{\"path\":\"/é\", \"mode\":4096}]}}",
		"empty.ign":     "",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log := runSARIF(t, "warn.ign", "./a dir/bad.ign", "empty.ign", "missing.ign")
	if log.Version != "2.1.0" || !strings.Contains(log.Schema, "sarif-schema-2.1.0.json") || len(log.Runs) != 1 {
		t.Fatalf("version %q, $schema %q, %d runs", log.Version, log.Schema, len(log.Runs))
	}
	run := log.Runs[0]
	if d := run.Tool.Driver; d.Name == "" || d.Version == "" || len(d.Rules) != len(sarifRules) {
		t.Errorf("driver %q version %q with %d rules", d.Name, d.Version, len(d.Rules))
	}
	known := map[string]bool{}
	for _, r := range run.Tool.Driver.Rules {
		if known[r.ID] || r.ID == "" || r.Short.Text == "" {
			t.Errorf("rule %q, text %q", r.ID, r.Short.Text)
		}
		known[r.ID] = true
	}
	type row struct {
		rule, level, uri string
		line, column     int
	}
	var got []row
	for _, r := range run.Results {
		if !known[r.RuleID] || r.Message.Text == "" || len(r.Locations) != 1 {
			t.Fatalf("result %+v", r)
		}
		p := r.Locations[0].Physical
		g := row{rule: r.RuleID, level: r.Level, uri: p.Artifact.URI}
		if p.Region != nil {
			g.line, g.column = p.Region.Line, p.Region.Column
		}
		got = append(got, g)
	}
	want := []row{
		{"unused-key", "warning", "warn.ign", 1, 33},
		{"mode", "error", "a%20dir/bad.ign", 2, 42}, // a character is one column, of however many bytes
		{"unreadable", "error", "empty.ign", 0, 0},
		{"unreadable", "error", "missing.ign", 0, 0},
	}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
	// Without findings the list is there and empty.
	if err := os.WriteFile("good.ign", []byte(`{"ignition":{"version":"3.3.0"}}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if run := runSARIF(t, "good.ign").Runs[0]; run.Results == nil || len(run.Results) != 0 {
		t.Errorf("results of a good file: %v", run.Results)
	}
}

// TestSARIFRules holds the names: services know findings by them.
func TestSARIFRules(t *testing.T) {
	for _, tt := range []struct{ path, message, want string }{
		{"", "config is not valid", "unreadable"},
		{"$.a", "unused key a", "unused-key"},
		{"$.ignition.config.merge.0", "not read without --online", "unread-reference"},
		{"$.storage.files.0.contents", "cannot be fetched: resource not found", "reference"},
		{"$.storage.links.0.target", "once merged: link target is required", "merge"},
		{"$.systemd.units.0.name", "invalid systemd unit extension", "unit"},
		{"$.storage.files.1", "duplicate entry defined", "duplicate"},
		{"$.storage.files.0.path", "path not absolute", "path"},
		{"$.storage.files.0.mode", "illegal file mode", "mode"},
		{"$.storage.files.0.contents.source", "invalid url scheme", "url"},
		{"$.storage.disks.0", "something else", "value"},
	} {
		if got := sarifRule(&jsonEntry{Path: tt.path, Message: tt.message}); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.message, got, tt.want)
		}
	}
}
