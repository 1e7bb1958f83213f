// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func units(list string) string {
	return `{"ignition":{"version":"3.4.0"},"systemd":{"units":[` + list + `]}}`
}

const preset = "etc/systemd/system-preset/20-ignition.preset"

// systemctl puts a stand-in on PATH that calls the units of the list enabled and notes its calls.
func (m *machine) systemctl(enabled string) {
	m.write("bin/systemctl", fmt.Sprintf(`#!/bin/sh
[ -n "$UNCOUNTED" ] || echo "$*" >>%q
case $1 in --version) echo "systemd 252 (252.1)"; exit;; esac
case $3 in
is-enabled) case " %s " in *" $4 "*) exit 0;; esac; exit 1;;
disable) exit 0;;
esac
`, m.path("systemctl.log"), enabled))
	m.must(os.Chmod(m.path("bin/systemctl"), 0o755))
	m.env[0] = "PATH=" + m.path("bin") + ":" + strings.TrimPrefix(m.env[0], "PATH=")
}

func TestUnits(t *testing.T) {
	install := `[Service]\nExecStart=/x\n[Install]\nWantedBy=a`
	for _, row := range []struct {
		name    string
		before  func(*machine)
		units   string
		enabled string // by what the tree holds
		preset  string // "" for no preset file
		files   map[string]string
		links   map[string]string
		calls   []string
		log     []string
	}{
		{"contents", nil, `{"name":"a.service","contents":"[Unit]"}`, "", "", map[string]string{"a.service": "[Unit]"}, nil, nil, nil},
		{"only a drop-in", nil, `{"name":"a.service","dropins":[{"name":"x.conf","contents":"[Service]"}]}`, "", "", map[string]string{"a.service.d/x.conf": "[Service]"}, nil, nil,
			[]string{`writing systemd drop-in "x.conf" at "ROOT/etc/systemd/system/a.service.d/x.conf"`}},
		{"empty drop-in", nil, `{"name":"a.service","dropins":[{"name":"x.conf","contents":""},{"name":"y.conf"}]}`, "", "", map[string]string{"a.service.d/x.conf": ""}, nil, nil, nil},
		{"enabled only", nil, `{"name":"a.service","enabled":true}`, "", "enable a.service\n", nil, nil, nil, []string{`setting preset to enabled for "a.service"`}},
		{"disabled, was enabled", nil, `{"name":"a.service","enabled":false}`, "a.service", "disable a.service\n", nil, nil,
			[]string{"is-enabled a.service", "disable a.service"}, []string{`setting preset to disabled for "a.service"`, `removing enablement symlink(s) for "a.service"`}},
		{"disabled, was not enabled", nil, `{"name":"a.service","enabled":false}`, "", "", nil, nil, []string{"is-enabled a.service"}, []string{`setting preset to disabled for "a.service"`}},
		{"masked with contents", nil, `{"name":"a.service","mask":true,"contents":"[Unit]"}`, "", "", nil, map[string]string{"a.service": "/dev/null"}, nil, []string{`masking unit "a.service"`}},
		{"unmasked", func(m *machine) {
			m.must(os.MkdirAll(filepath.Join(m.root, "etc/systemd/system"), 0o755))
			m.must(os.Symlink("/dev/null", filepath.Join(m.root, "etc/systemd/system/a.service")))
		}, `{"name":"a.service","mask":false}`, "", "", nil, map[string]string{"a.service": ""}, nil, []string{`unmasking unit "a.service"`}},
		{"unmask leaves a real file", func(m *machine) { m.write("sysroot/etc/systemd/system/a.service", "x") }, `{"name":"a.service","mask":false}`, "", "", map[string]string{"a.service": "x"}, nil, nil, nil},
		{"a link is replaced", func(m *machine) {
			m.must(os.MkdirAll(filepath.Join(m.root, "etc/systemd/system"), 0o755))
			m.must(os.Symlink("/usr/lib/x", filepath.Join(m.root, "etc/systemd/system/a.service")))
		}, `{"name":"a.service","contents":"[Unit]"}`, "", "", map[string]string{"a.service": "[Unit]"}, nil, nil, nil},
		{"instances share a line", nil, `{"name":"echo@bar.service","enabled":true},{"name":"echo@foo.1.service","enabled":true},{"name":"a@x.service","enabled":false},{"name":"a@y.service","enabled":false}`,
			"a@y.service", "disable a@.service x y\nenable echo@.service bar foo.1\n", nil, nil,
			[]string{"is-enabled a@x.service", "is-enabled a@y.service", "disable a@y.service", "--version"}, []string{`setting preset to enabled for "echo@.service bar foo.1"`}},
		{"a bare template", nil, `{"name":"echo@.service","enabled":true}`, "", "enable echo@.service\n", nil, nil, nil, nil},
		{"sorted by name", nil, `{"name":"z.service","enabled":true},{"name":"b.timer","enabled":true},{"name":"a.socket","enabled":true}`, "",
			"enable a.socket\nenable b.timer\nenable z.service\n", nil, nil, nil, nil},
		{"old line without an end", func(m *machine) { m.write("sysroot/"+preset, "enable old.service") }, `{"name":"a.service","enabled":true}`, "",
			"enable old.service\nenable a.service\n", nil, nil, nil, nil},
		{"line is there already", func(m *machine) { m.write("sysroot/"+preset, "enable a.service\n") }, `{"name":"a.service","enabled":true,"contents":"` + install + `"}`, "",
			"enable a.service\n", nil, nil, nil, nil},
		{"preset file is an absolute link", func(m *machine) {
			m.write("sysroot/usr/real.preset", "# kept\n")
			m.must(os.MkdirAll(filepath.Join(m.root, filepath.Dir(preset)), 0o755))
			m.must(os.Symlink("/usr/real.preset", filepath.Join(m.root, preset)))
		}, `{"name":"a.service","enabled":true}`, "", "", map[string]string{"../../../usr/real.preset": "# kept\nenable a.service\n"}, nil, nil, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t)
			m.systemctl(row.enabled)
			m.once = len(row.calls) > 0 // which are counted
			m.free = m.once
			if row.before != nil {
				row.before(m)
			}
			res := m.provision(units(row.units))
			switch {
			case row.preset != "":
				m.wantFile(preset, row.preset)
			case row.name != "preset file is an absolute link" && m.exists("sysroot/"+preset):
				t.Errorf("a preset file was written: %q", m.read("sysroot/"+preset))
			}
			for name, text := range row.files {
				m.wantFile("etc/systemd/system/"+name, text)
				if info, err := os.Lstat(filepath.Join(m.root, "etc/systemd/system", name)); err != nil || !info.Mode().IsRegular() {
					t.Errorf("%s: %v", name, err)
				}
			}
			for name, want := range row.links {
				if got, _ := os.Readlink(filepath.Join(m.root, "etc/systemd/system", name)); got != want {
					t.Errorf("%s leads to %q, want %q", name, got, want)
				}
			}
			var want strings.Builder
			for _, c := range row.calls {
				if c != "--version" {
					c = "--root " + m.root + " " + c
				}
				want.WriteString(c + "\n")
			}
			if len(row.calls) > 0 && m.read("systemctl.log") != want.String() {
				t.Errorf("calls:\n%s\nwant:\n%s", m.read("systemctl.log"), want.String())
			}
			log := strings.ReplaceAll(res.stdout, m.root, "ROOT")
			for _, line := range row.log {
				wantText(t, log, "[finished] "+line+"\n")
			}
			wantNoText(t, log, `executing: "systemctl"`)
		})
	}
}

// TestSecondRun: going through it again is not supported but must not fail by itself.
func TestSecondRun(t *testing.T) {
	needRoot(t)
	m := newMachine(t)
	m.systemctl("")
	cfg := spec34 + `,"passwd":{"groups":[{"name":"g"}],"users":[{"name":"u","groups":["g"],"sshAuthorizedKeys":["k"]}]},
		"storage":{"directories":[{"path":"/d"}],"links":[{"path":"/l","target":"d"}],"files":[{"path":"/f","overwrite":true,"contents":{"source":"data:,x"}}]},
		"systemd":{"units":[{"name":"a.service","enabled":true,"contents":"[Unit]\n[Install]\nWantedBy=x"},{"name":"b.service","mask":true}]}}`
	m.provision(cfg)
	first := m.read("sysroot/etc/.ignition-result.json")
	skip := func(rel string) bool { return strings.HasSuffix(rel, "-") || rel == "etc/.ignition-result.json" }
	want := snapshot(t, m.root, skip)
	res := m.stage(0, "file", "files")
	if got := snapshot(t, m.root, skip); got != want {
		t.Errorf("the second run changed the tree:\n%s\nwas:\n%s", got, want)
	}
	wantText(t, res.stdout, "NOTICE   : files: createResultFile: failed to run is-live-image hook: ")
	wantText(t, res.stdout, "WARNING  : files: createResultFile: Ignition has already run on this system. Unexpected behavior may occur. Ignition is not designed to run more than once per system.")
	wantText(t, res.stdout, "Symlink "+m.root+"/l to d already exists, doing nothing")
	second := m.read("sysroot/etc/.ignition-result.json")
	indented := strings.ReplaceAll(strings.TrimSpace(first), "\n", "\n  ")
	wantText(t, second, `"previousReport": `+indented+"\n}\n")
}

func TestResultFile(t *testing.T) {
	for _, row := range []struct {
		name, old, hook string // hook: exit status of is-live-image, "" for no hook
		want            string // of previousReport, "" for none
		warn            string
	}{
		{"first run", "", "", "", ""},
		{"not a live image", `{"x":1}`, "1", `"x": 1`, "Ignition has already run on this system."},
		{"live image", `garbage`, "0", "", ""},
		{"empty object", `{}`, "1", `"previousReport": {}`, "Ignition has already run on this system."},
		{"null", `null`, "1", "", "Ignition has already run on this system."},
		{"empty after a crash", " ", "1", "", "the result file of the earlier run cannot be read"},
		{"cut after a crash", `{"x"`, "1", "", "the result file of the earlier run cannot be read"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t)
			m.once = true // the result of one run is looked at
			if row.old != "" {
				m.write("sysroot/etc/.ignition-result.json", row.old)
			}
			if row.hook != "" {
				m.write("bin/is-live-image", "#!/bin/sh\nexit "+row.hook+"\n")
				m.must(os.Chmod(m.path("bin/is-live-image"), 0o755))
				m.env[0] += ":" + m.path("bin")
			}
			res := m.provision("")
			got := m.read("sysroot/etc/.ignition-result.json")
			if row.want == "" {
				wantNoText(t, got, "previousReport")
			} else {
				wantText(t, got, row.want)
			}
			if row.warn == "" {
				wantNoText(t, res.stdout, "already run")
			} else {
				wantText(t, res.stdout, row.warn)
			}
		})
	}
}
