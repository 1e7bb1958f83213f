// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/oplog"
)

const yamlFile = "variant: flatcar\nversion: 1.0.0\nstorage:\n  files:\n    - path: /from\n      contents:\n        inline: platform\n"

// TestYAMLAsUserData: Butane YAML is a config, and the cache has it as JSON, the same that the JSON would give.
func TestYAMLAsUserData(t *testing.T) {
	m := newMachine(t, "fetch", gives(yamlFile+"unknown: 1\n"))
	m.run(ExitOK)
	m.wantLog("WARNING  : warning at $.unknown, line 8 col 1: unused key unknown\n")
	other := newMachine(t, "fetch", gives(doc("3.3.0", "", `"storage":{"files":[{"path":"/from","contents":{"compression":"","source":"data:,platform"}}]}`)))
	other.run(ExitOK)
	if got, want := m.read("run/ignition.json"), other.read("run/ignition.json"); got != want {
		t.Errorf("cache\n%s\nwant\n%s", got, want)
	}
	if !json.Valid([]byte(m.read("run/ignition.json"))) {
		t.Error("the cache is not JSON")
	}
}

// TestYAMLEverywhere: wherever a config is read, it may be YAML.
func TestYAMLEverywhere(t *testing.T) {
	s := newSite(t)
	s.docs["/child"] = strings.Replace(yamlFile, "platform", "child", 1)
	encoded := "data:;base64," + base64.StdEncoding.EncodeToString([]byte(strings.Replace(yamlFile, "platform", "data", 1)))
	verified := fmt.Sprintf(`"config":{"merge":[{"source":%q,"verification":{"hash":"sha512-%x"}}]}`, s.URL+"/child", sha512.Sum512([]byte(s.docs["/child"])))
	for _, tt := range []struct {
		name, user string
		set        func(m *machine)
		want       string
	}{
		{"merge over HTTP, verified", doc("3.4.0", verified, ""), nil, "data:,child"},
		{"merge from a data URL", doc("3.4.0", merges(encoded), ""), nil, "data:,data"},
		{"replace", doc("3.4.0", replaces(s.URL+"/child"), ""), nil, "data:,child"},
		{"YAML merges YAML", "variant: fcos\nversion: 1.5.0\nignition: {config: {merge: [{source: \"" + s.URL + "/child\"}]}}\n", nil, "data:,child"},
		{"old spec appends YAML", doc("2.4.0", `"config":{"append":[{"source":"`+s.URL+`/child"}]}`, ""), nil, "data:,child"},
		{"kernel command line", "{", func(m *machine) { m.write("cmdline", "ignition.config.url="+s.URL+"/child\n") }, "data:,child"},
		{"user.ign", "{", func(m *machine) { m.write("usr-ignition/user.ign", yamlFile) }, "data:,platform"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, "fetch", gives(tt.user))
			if tt.set != nil {
				tt.set(m)
			}
			m.write("run/origins.json", "")
			m.run(ExitOK)
			if got := m.read("run/ignition.json"); !strings.Contains(got, tt.want) {
				t.Errorf("cache %s", got)
			}
		})
	}
}

// TestYAMLBaseFragments: the distribution's fragments may be YAML; the user's config wins.
func TestYAMLBaseFragments(t *testing.T) {
	m := newMachine(t, "fetch", gives(doc("3.4.0", "", "")))
	m.write("usr-ignition/base.d/10-a.bu", yamlFile)
	m.write("usr-ignition/base.platform.d/test/10-b", strings.Replace(yamlFile, "/from", "/b", 1))
	m.run(ExitOK)
	m.wantLog("parsing config with SHA512")

	m = newMachine(t, "fetch", gives(doc("3.4.0", "", "")))
	m.FailureFile = m.path("run/failure.json")
	m.write("usr-ignition/base.d/10-a.bu", strings.Replace(yamlFile, "/from", "from", 1))
	m.run(ExitFailed)
	m.wantLog("CRITICAL : error at $.storage.files.0.path, line 5 col 13: path not absolute", "10-a.bu: config generated was invalid")
	if f := readFailure(t, m); len(f.Problems) != 1 || f.Problems[0] != "error at $.storage.files.0.path, line 5 col 13: path not absolute" {
		t.Errorf("problems %q", f.Problems)
	}
}

func readFailure(t *testing.T, m *machine) (f oplog.Failure) {
	t.Helper()
	if err := json.Unmarshal([]byte(m.read("run/failure.json")), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestYAMLFailures: what is on the failure screen has the YAML's path, line and column, and no value.
func TestYAMLFailures(t *testing.T) {
	hash := "sha512-" + strings.Repeat("0", 128)
	for _, tt := range []struct {
		name, user string
		problem    string // the one problem of the failure
		log        string
	}{
		{"tab", "variant: flatcar\nversion: 1.0.0\npasswd:\n\tusers: hunter2\n",
			"error at line 4 col 1: yaml: line 4: found character that cannot start any token; look at line 4 col 1: a tab; YAML is indented with spaces", "Ignition failed: source config is invalid"},
		{"type", "variant: flatcar\nversion: 1.0.0\npasswd:\n  users: hunter2\n", "error at $.passwd.users, line 4 col 10: cannot unmarshal !!str into a list", ""},
		{"local", strings.Replace(yamlFile, "inline: platform", "local: hunter2", 1), "error at $.storage.files.0.contents.local, line 7 col 16: a machine has no local files to embed; " +
			"put the text inline, fetch it from a source, or translate the config beforehand with butane --files-dir", ""},
		{"neither language", "ignition:\n\tversion: 3.4.0\n", "error at line 2 col 1: this is neither JSON, which begins with {, nor Butane YAML: " +
			"yaml: line 2: found character that cannot start any token; look at line 2 col 1: a tab; YAML is indented with spaces", "config is not valid"},
		{"bad child", doc("3.4.0", merges("data:,variant:%20flatcar%0Aversion:%201.0.0%0Astorage:%20%7Bfiles:%20%5B%7Bpath:%20hunter%7D%5D%7D"), ""),
			"error at $.storage.files.0.path, line 3 col 26: path not absolute", "$.ignition.config.merge.0"},
		{"child with another hash", "variant: flatcar\nversion: 1.0.0\nignition:\n  config:\n    merge:\n      - source: data:,x\n        verification:\n          hash: " + hash + "\n",
			"", "hash verification failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, "fetch", gives(tt.user))
			m.FailureFile = m.path("run/failure.json")
			m.write("run/x", "")
			m.run(ExitFailed)
			m.wantLog(tt.log)
			f := readFailure(t, m)
			if got := strings.Join(f.Problems, "\n"); got != tt.problem {
				t.Errorf("problems %q, want %q", got, tt.problem)
			}
			if text := m.log.String() + m.stderr.String() + m.read("run/failure.json"); strings.Contains(text, "hunter2") {
				t.Errorf("a value in\n%s", text)
			}
			if m.has("run/ignition.json") {
				t.Error("a config that was refused is in the cache")
			}
		})
	}
}

// TestYAMLPlaceOfLaterFailure: a stage that fails later names the line of the YAML, not of the JSON made of it.
func TestYAMLPlaceOfLaterFailure(t *testing.T) {
	const user = "variant: flatcar\nversion: 1.0.0\nignition:\n  config:\n    merge:\n      - source: data:,%7B\n"
	m := newMachine(t, "fetch", gives(yamlFile))
	m.write("run/x", "")
	m.run(ExitOK)
	var at map[string]origin
	if err := json.Unmarshal([]byte(m.read("run/origins.json")), &at); err != nil {
		t.Fatal(err)
	}
	if got := at["$.storage.files[/from]"]; got.Source != "the config of test" || got.Line != 5 || got.Column != 7 {
		t.Errorf("the file is at %+v", got)
	}

	m = newMachine(t, "fetch", gives(user))
	m.FailureFile = m.path("run/failure.json")
	m.write("run/x", "")
	m.run(ExitFailed)
	if f := readFailure(t, m); f.Config != "$.ignition.config.merge.0" || f.Line == 0 {
		t.Errorf("the failure is at %s, line %d col %d", f.Config, f.Line, f.Column)
	}
}
