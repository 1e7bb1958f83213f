// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"os"
	"strings"
	"testing"
)

func TestApply(t *testing.T) {
	unit := `,"systemd":{"units":[{"name":"a@x.service","enabled":true,"contents":"[Service]\nExecStart=/x\n[Install]\nWantedBy=a"}]}}`
	files := `,"storage":{"files":[{"path":"/etc/a","contents":{"source":"data:,x"}}]}`
	for _, row := range []struct {
		name, config string
		args         []string
		container    bool
		fail         string
	}{
		{"files and units", spec34 + files + unit, nil, true, ""},
		{"on a host", spec34 + "}", nil, false, "failed to apply: this tool is not designed to run on a host system; reprovision the machine instead"},
		{"kernel arguments", spec34 + `,"kernelArguments":{"shouldExist":["a"]}}`, nil, true, "running stage 'kargs': cannot apply kargs modifications live"},
		{"disks", spec34 + `,"storage":{"disks":[{"device":"/dev/x"}]}}`, nil, true, "running stage 'disks': cannot apply disk modifications live"},
		{"users", spec34 + `,"passwd":{"users":[{"name":"x"}]}}`, nil, true, "running stage 'files': cannot apply passwd live"},
		{"users ignored", spec34 + `,"passwd":{"users":[{"name":"x"}]}` + files + "}", []string{"--ignore-unsupported"}, true, ""},
		{"offline", spec34 + `,"storage":{"files":[{"path":"/a","contents":{"source":"http://192.0.2.1/"}}]}}`, []string{"--offline"}, true, "resource requires networking"},
		{"invalid", "{", nil, true, "couldn't parse config: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			if _, err := os.Stat("/.dockerenv"); err == nil && !row.container {
				t.Skip("runs in a container")
			}
			m := newMachine(t)
			m.write("c.ign", row.config)
			if row.container {
				m.env = append(m.env, "container=podman")
			}
			res := m.run(append([]string{"apply", "--root", m.root, "c.ign"}, row.args...)...)
			if row.fail != "" {
				if res.code != 1 {
					t.Errorf("exit code %d", res.code)
				}
				wantText(t, res.stdout, row.fail)
				return
			}
			if res.code != 0 {
				t.Fatalf("exit code %d\n%s%s", res.code, res.stdout, res.stderr)
			}
			m.wantFile("etc/a", "x")
			wantNoText(t, res.stdout, "passed")
			if strings.Contains(row.config, "a@x") {
				m.wantFile("etc/systemd/system-preset/20-ignition.preset", "enable a@.service x\n")
			}
			if m.exists("sysroot/etc/.ignition-result.json") {
				t.Error("a result file was written")
			}
		})
	}
}

func TestReportCommand(t *testing.T) {
	m := newMachine(t)
	m.provision(hello("/a", "b"))
	res := m.run("report", "--svg", m.path("out.svg"), m.path("run/ops.jsonl"))
	if res.code != 0 {
		t.Fatalf("exit code %d: %s", res.code, res.stderr)
	}
	wantText(t, res.stdout, "files")
	wantText(t, res.stdout, "$.storage.files.0")
	wantText(t, m.read("out.svg"), "<svg")
	if res := m.run("report", m.path("nowhere")); res.code != 1 {
		t.Errorf("a missing record: exit code %d", res.code)
	}
}
