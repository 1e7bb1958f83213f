// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/providers"
)

func TestApplyChecks(t *testing.T) {
	const outside = "CRITICAL : failed to apply: this tool is not designed to run on a host system; reprovision the machine instead"
	remote := `"storage":{"files":[{"path":"/a","contents":{"source":"http://127.0.0.1:1/x"}}]}`
	for _, row := range []struct {
		name            string
		raw             string
		host            bool
		offline, ignore bool
		want            string // log line of the failure; "" = success
	}{
		{name: "files", raw: doc("3.3.0", "", file("x"))},
		{name: "on a host", raw: doc("3.3.0", "", ""), host: true, want: outside},
		{name: "empty", raw: "", want: "CRITICAL : couldn't parse config: not a config (empty)"},
		{name: "unknown version", raw: doc("9.0.0", "", ""), want: "CRITICAL : couldn't parse config: unsupported config version"},
		{name: "invalid", raw: doc("3.3.0", "", `"storage":{"files":[{"path":"a"}]}`), want: "CRITICAL : couldn't parse config: config is not valid"},
		{name: "kernel arguments", raw: doc("3.3.0", "", `"kernelArguments":{"shouldExist":["a"]}`), want: "running stage 'kargs': cannot apply kargs modifications live"},
		{name: "kernel arguments to remove", raw: doc("3.3.0", "", `"kernelArguments":{"shouldNotExist":["a"]}`), want: "cannot apply kargs modifications live"},
		{name: "disk", raw: doc("3.3.0", "", `"storage":{"disks":[{"device":"/dev/sdx","wipeTable":true}]}`), want: "running stage 'disks': cannot apply disk modifications live"},
		{name: "raid", raw: doc("3.3.0", "", `"storage":{"raid":[{"name":"r","level":"raid1","devices":["/dev/a","/dev/b"]}]}`), want: "cannot apply disk modifications live"},
		{name: "filesystem", raw: doc("3.3.0", "", `"storage":{"filesystems":[{"device":"/dev/a","format":"ext4"}]}`), want: "cannot apply disk modifications live"},
		{name: "luks", raw: doc("3.3.0", "", `"storage":{"luks":[{"name":"l","device":"/dev/a"}]}`), want: "cannot apply disk modifications live"},
		{name: "user", raw: doc("3.3.0", "", `"passwd":{"users":[{"name":"core"}]}`), want: "running stage 'files': cannot apply passwd live"},
		{name: "group", raw: doc("3.3.0", "", `"passwd":{"groups":[{"name":"core"}]}`), want: "cannot apply passwd live"},
		{name: "user, ignored", raw: doc("3.3.0", "", file("x")+`,"passwd":{"users":[{"name":"core"}]},"kernelArguments":{"shouldExist":["a"]}`), ignore: true},
		{name: "remote file offline", raw: doc("3.3.0", "", remote), offline: true, want: "resource requires networking"},
		{name: "remote file offline, ignored or not", raw: doc("3.3.0", "", remote), offline: true, ignore: true, want: "resource requires networking"},
		{name: "remote reference offline", raw: doc("3.3.0", merges("http://127.0.0.1:1/x"), ""), offline: true, want: "resource requires networking"},
		{name: "YAML", raw: yamlFile},
		{name: "YAML, invalid", raw: strings.Replace(yamlFile, "/from", "x", 1), want: "CRITICAL : error at $.storage.files.0.path, line 5 col 13: path not absolute\nCRITICAL : couldn't parse config: config generated was invalid"},
		{name: "YAML with a local file", raw: strings.Replace(yamlFile, "inline", "local", 1), want: "a machine has no local files to embed"},
		{name: "YAML, kernel arguments", raw: "variant: flatcar\nversion: 1.0.0\nkernel_arguments: {should_exist: [a]}\n", want: "cannot apply kargs modifications live"},
		{name: "data offline", raw: doc("3.3.0", "", file("x")), offline: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.host {
				saved := containerMarks
				containerMarks = nil
				defer func() { containerMarks = saved }()
			}
			m := newMachine(t, "", nil)
			o := ApplyOptions{Options: m.Options, Raw: []byte(row.raw), Offline: row.offline, IgnoreUnsupported: row.ignore}
			if !row.host {
				o.Container = "podman"
			}
			want := ExitOK
			if row.want != "" {
				want = ExitFailed
			}
			if got := Apply(t.Context(), o); got != want {
				t.Errorf("exit code %d, want %d; log:\n%s", got, want, m.log)
			}
			m.wantLog(row.want)
			if written := m.has("root/from"); written != (row.want == "" && strings.Contains(row.raw, "/from")) {
				t.Errorf("the file was written: %v", written)
			}
			for _, name := range []string{"run/ignition.json", "run/state", "root/etc/.ignition-result.json"} {
				if m.has(name) {
					t.Errorf("%s was written", name)
				}
			}
			if len(m.journal) != 0 {
				t.Errorf("journal: %v", m.journal)
			}
		})
	}
}

// TestApplySettings checks that the settings of a config without references are in force for its files.
func TestApplySettings(t *testing.T) {
	s := newSite(t)
	s.docs["/x"] = "by proxy"
	m := newMachine(t, "", nil)
	raw := doc("3.3.0", proxied(s), `"storage":{"files":[{"path":"/a","contents":{"source":"`+hidden+`/x"}}]}`)
	if got := Apply(t.Context(), ApplyOptions{Options: m.Options, Raw: []byte(raw), Container: "1"}); got != ExitOK || m.read("root/a") != "by proxy" {
		t.Errorf("exit code %d; log:\n%s", got, m.log)
	}
	if strings.Contains(m.log.String(), "files: ") {
		t.Errorf("lines have a stage's prefix:\n%s", m.log)
	}
}

func TestInContainer(t *testing.T) {
	saved := containerMarks
	defer func() { containerMarks = saved }()
	dir := t.TempDir()
	containerMarks = []string{dir + "/.containerenv", dir + "/.dockerenv"}
	if inContainer("") || !inContainer("oci") {
		t.Error("the variable alone should decide")
	}
	if err := os.WriteFile(dir+"/.dockerenv", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !inContainer("") {
		t.Error("the mark of a runtime was not seen")
	}
}

func TestRemoveConfig(t *testing.T) {
	for _, row := range []struct {
		name string
		del  func(context.Context, *providers.Env) error
		want int
		log  string
	}{
		{"not possible", nil, ExitFailed, "INFO     : Ignition 1.0\nCRITICAL : couldn't delete config: cannot delete config on this platform\n"},
		{"fails", func(context.Context, *providers.Env) error { return errors.New("read-only") }, ExitFailed, "CRITICAL : couldn't delete config: read-only\n"},
		{"succeeds", func(context.Context, *providers.Env) error { return nil }, ExitOK, "INFO     : Ignition 1.0\nINFO     : Successfully deleted config\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t, "", nil)
			m.Platform.provider.Delete = row.del
			if got := RemoveConfig(t.Context(), m.Options); got != row.want {
				t.Errorf("exit code %d, want %d", got, row.want)
			}
			m.wantLog(row.log)
		})
	}
}

func TestPlatformFromCommandLine(t *testing.T) {
	for _, row := range []struct{ name, line, want, note, err string }{
		{name: "upstream", line: "ignition.platform.id=qemu", want: "qemu"},
		{name: "alias", line: "flatcar.first_boot=detected flatcar.oem.id=ec2", want: "aws", note: `platform "ec2" is handled as "aws"`},
		{name: "none", line: "quiet", err: ErrNoPlatform.Error()},
		{name: "unknown", line: "ignition.platform.id=x", err: "x is not a valid platform"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t, "", nil)
			m.write("cmdline", row.line+"\n")
			p, err := PlatformFromCommandLine(t.Context(), m.CommandLinePath)
			if row.err != "" {
				if err == nil || err.Error() != row.err {
					t.Errorf("error %v, want %s", err, row.err)
				}
				return
			}
			if err != nil || p.Name != row.want || p.note != row.note || p.provider.Fetch == nil {
				t.Errorf("got %q, note %q, %v", p.Name, p.note, err)
			}
		})
	}
	if _, err := PlatformFromCommandLine(t.Context(), "/nonexistent"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}
