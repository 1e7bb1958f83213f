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

// TestApplyPasswd: users and groups of a root, with the host's tools, when asked.
func TestApplyPasswd(t *testing.T) {
	needRoot(t)
	const hash = "$6$salt$verysecrethash"
	config := spec34 + `,"passwd":{"groups":[{"name":"crew","gid":3000}],"users":[
		{"name":"deploy","uid":2000,"groups":["crew","docker"],"passwordHash":"` + hash + `","sshAuthorizedKeys":["ssh-ed25519 AAAA deploy"],"shell":"/bin/bash"},
		{"name":"core","sshAuthorizedKeys":["ssh-ed25519 BBBB core"]}]},
		"storage":{"files":[{"path":"/home/deploy/x","user":{"name":"deploy"},"group":{"name":"crew"},"contents":{"source":"data:,x"}}]}}`
	m := newMachine(t)
	m.write("c.ign", config)
	args := []string{"apply", "--on-host", "--with-passwd", "--root", m.root, "c.ign"}
	res := m.run(args...)
	if res.code != 0 {
		t.Fatalf("exit code %d\n%s%s", res.code, res.stdout, res.stderr)
	}
	wantNoText(t, res.stdout+res.stderr, hash)
	wantText(t, m.read("sysroot/etc/passwd"), "deploy:x:2000:2000:")
	wantText(t, m.read("sysroot/etc/shadow"), "deploy:"+hash+":")
	wantText(t, m.read("sysroot/etc/group"), "crew:x:3000:deploy\n")
	wantText(t, m.read("sysroot/etc/group"), "docker:x:233:deploy\n")
	m.wantNode("home/deploy/x", "-rw-r--r--", 2000, 3000)
	m.wantNode("home/deploy", "drwx------", 2000, 2000)
	keys := "home/core/.ssh/authorized_keys"
	if m.exists("sysroot/" + keys + ".d/ignition") {
		keys += ".d/ignition"
	}
	wantText(t, m.read("sysroot/"+keys), "ssh-ed25519 BBBB core")
	m.wantNode(keys, "-rw-------", 500, 500)
	if m.exists("sysroot/" + resultFile) {
		t.Error("a result file was written")
	}

	before := m.listing()
	if res := m.run(args...); res.code != 0 {
		t.Errorf("again: exit code %d\n%s%s", res.code, res.stdout, res.stderr)
	}
	if after := m.listing(); after != before {
		t.Errorf("applied again, it changed\n%s", difference(before, after))
	}
}

// TestApplyPasswdRefused: what cannot be done leaves the root as it is.
func TestApplyPasswdRefused(t *testing.T) {
	needRoot(t)
	users := `,"passwd":{"users":[{"name":"x","groups":["nobodys"]}]}}`
	for name, row := range map[string]struct {
		config string
		args   []string
		before func(m *machine)
		says   string
	}{
		"the host's own root":          {spec34 + users, []string{"--on-host", "--with-passwd", "--root", "/"}, nil, "is this machine's own"},
		"the host's own root by a way": {spec34 + users, []string{"--on-host", "--with-passwd", "--root", "/proc/self/root"}, nil, "is this machine's own"},
		"not asked":                    {spec34 + users, []string{"--on-host"}, nil, "running stage 'files': cannot apply passwd live"},
		"an unknown group":             {spec34 + users, []string{"--on-host", "--with-passwd"}, nil, "nobodys"},
		"no useradd":                   {spec34 + `,"passwd":{"users":[{"name":"x"}]}}`, []string{"--on-host", "--with-passwd"}, func(m *machine) { m.env[0] = "PATH=" + m.dir }, `exec: "useradd"`},
		"no account files":             {spec34 + users, []string{"--on-host", "--with-passwd"}, func(m *machine) { m.must(os.Remove(m.path("sysroot/etc/group"))) }, "account files: stat "},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := os.Stat("/.dockerenv"); err == nil {
				t.Skip("runs in a container")
			}
			m := newMachine(t)
			m.write("c.ign", row.config)
			if row.before != nil {
				row.before(m)
			}
			before := m.listing()
			args := append([]string{"apply", "--root", m.root}, row.args...)
			res := m.run(append(args, "c.ign")...)
			wantText(t, res.stdout, row.says)
			if res.code != 1 {
				t.Errorf("exit code %d", res.code)
			}
			if after := m.listing(); after != before {
				t.Errorf("the root changed:\n%s", difference(before, after))
			}
		})
	}
}
