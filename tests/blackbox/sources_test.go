// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"firstboot.dev/ignition/tests/imds"
)

// hello is a config that writes one file.
func hello(path, text string) string {
	return fmt.Sprintf(`{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":%q,"overwrite":true,"contents":{"source":"data:,%s"}}]}}`, path, text)
}

// cache reads the config cache.
func (m *machine) cache() map[string]any {
	m.t.Helper()
	var c map[string]any
	m.must(json.Unmarshal([]byte(m.read("run/ignition.json")), &c))
	return c
}

func TestSourceOrder(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		switch r.URL.Path {
		case "/config":
			fmt.Fprint(w, hello("/from", "cmdline"))
		case "/empty":
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	for _, row := range []struct {
		name, cmdline string
		user          map[string]string // user.ign by directory
		want          string            // text in the cache, "" for an empty config
		source        string
	}{
		{"command line wins", "ignition.config.url=" + server.URL + "/config", map[string]string{"vendor": hello("/from", "vendor")}, "cmdline", "cmdline"},
		{"flatcar's name", "flatcar.config.url=" + server.URL + "/config", nil, "cmdline", "cmdline"},
		{"coreos's name", "coreos.config.url=" + server.URL + "/config", nil, "cmdline", "cmdline"},
		{"last of the names wins", "ignition.config.url=data:,x flatcar.config.url=" + server.URL + "/config", nil, "cmdline", "cmdline"},
		{"an empty answer still wins", "ignition.config.url=" + server.URL + "/empty", map[string]string{"vendor": hello("/from", "vendor")}, "", ""},
		{"run before local and vendor", "quiet", map[string]string{"run": hello("/from", "run"), "local": hello("/from", "local"), "vendor": hello("/from", "vendor")}, "run", "system"},
		{"local before vendor", "quiet", map[string]string{"local": hello("/from", "local"), "vendor": hello("/from", "vendor")}, "local", "system"},
		{"vendor before platform", "quiet", map[string]string{"vendor": hello("/from", "vendor")}, "vendor", "system"},
		{"platform last", "quiet", nil, "platform", "file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t)
			m.write("cmdline", row.cmdline+"\n")
			m.write("config.ign", hello("/from", "platform"))
			for dir, text := range row.user {
				m.write(dir+"/user.ign", text)
			}
			m.stage(0, "file", "fetch")
			cache := m.read("run/ignition.json")
			if row.want == "" {
				if _, ok := m.cache()["storage"].(map[string]any)["files"]; ok {
					t.Errorf("want an empty config, got %s", cache)
				}
			} else {
				wantText(t, cache, "data:,"+row.want)
			}
			if row.source != "" {
				wantText(t, m.read("run/state"), fmt.Sprintf(`{"kind":"user","source":%q,"referenced":false}`, row.source))
			} else {
				wantNoText(t, m.read("run/state"), `"kind":"user"`)
			}
		})
	}
	if asked.Load() == 0 {
		t.Error("the server was never asked")
	}
}

// TestPlatformNotAsked: with a local config the metadata service gets no request, in any stage.
func TestPlatformNotAsked(t *testing.T) {
	service := imds.New(imds.Options{UserData: []byte(hello("/from", "platform"))})
	server := httptest.NewServer(service)
	defer server.Close()
	m := newMachine(t)
	m.env = append(m.env, "AWS_EC2_METADATA_SERVICE_ENDPOINT="+server.URL)
	m.write("vendor/user.ign", hello("/from", "vendor"))
	for _, stage := range []string{"fetch-offline", "fetch", "kargs", "disks", "mount", "files", "umount"} {
		m.stage(0, "aws", stage)
	}
	m.wantFile("from", "vendor")
	if n := service.Requests(); n != 0 {
		t.Errorf("the metadata service got %d requests, want none", n)
	}
}

func TestBaseConfigs(t *testing.T) {
	m := newMachine(t)
	m.write("vendor/base.d/10-a.ign", hello("/a", "vendor"))
	m.write("vendor/base.d/20-b.ign", hello("/b", "vendor"))
	m.write("local/base.d/20-b.ign", hello("/b", "local"))
	m.write("vendor/base.d/30-c", hello("/c", "base"))
	m.write("vendor/base.platform.d/file/00-c.ign", hello("/c", "platform"))
	m.write("vendor/base.platform.d/aws/00-d.ign", hello("/d", "aws"))
	m.write("vendor/base.d/40-e.ign", hello("/e", "base"))
	res := m.provision(hello("/e", "user"))
	for path, want := range map[string]string{"a": "vendor", "b": "local", "c": "platform", "e": "user"} {
		m.wantFile(path, want)
	}
	if m.exists("sysroot/d") {
		t.Error("a fragment of another platform was applied")
	}
	wantLine(t, res.stdout, fmt.Sprintf("INFO     : reading system config file %q", m.path("local/base.d/20-b.ign")))
	if n := strings.Count(m.read("run/state"), `"kind":"base"`); n != 1 {
		t.Errorf("the state has %d base entries, want 1", n)
	}
}

func TestBadBaseConfigs(t *testing.T) {
	for _, row := range []struct {
		name string
		make func(m *machine)
		want string
	}{
		{"invalid", func(m *machine) { m.write("vendor/base.d/x.ign", "{}") }, "x.ign: invalid config version"},
		{"empty", func(m *machine) { m.write("vendor/base.d/x.ign", "") }, "x.ign: not a config (empty)"},
		{"folder", func(m *machine) { m.write("vendor/base.d/x/y.ign", "{}") }, "/base.d/x"},
		{"dangling link", func(m *machine) {
			m.write("vendor/base.d/a.ign", hello("/a", "a"))
			m.must(os.Symlink("nowhere", m.path("vendor/base.d/x.ign")))
		}, "x.ign"},
		{"invalid for the platform", func(m *machine) { m.write("vendor/base.platform.d/file/x.ign", "nonsense") }, "x.ign: config is not valid"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t)
			m.write("config.ign", hello("/a", "user"))
			row.make(m)
			res := m.stage(1, "file", "fetch")
			wantText(t, res.stdout, "CRITICAL : failed to acquire system base config: ")
			wantText(t, res.stdout, row.want)
			if m.exists("run/ignition.json") {
				t.Error("a cache was written")
			}
		})
	}
}

// TestEmptyConfig: what is not a config counts as none, and the machine is not "user configured".
func TestEmptyConfig(t *testing.T) {
	for name, text := range map[string]string{
		"zero bytes":   "",
		"cloud-config": "#cloud-config\nhostname: x\n",
		"script":       "#!/bin/sh\necho hi\n",
		"mime":         "Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\n--x\n",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			res := m.provision(text)
			wantText(t, m.read("run/ignition.json"), `"version":"3.7.0-experimental"`)
			wantText(t, m.read("sysroot/etc/.ignition-result.json"), `"userConfigProvided": false`)
			wantLine(t, res.stdout, "INFO     : files: files passed")
		})
	}
}

func TestOffline(t *testing.T) {
	inline := "data:application/json;base64," + base64.StdEncoding.EncodeToString([]byte(hello("/merged", "yes")))
	for _, row := range []struct {
		name, platform, config, cmdline string
		cache, flag                     bool
	}{
		{"all inline", "file", hello("/a", "b"), "", true, false},
		{"merge of a data URL", "file", `{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"` + inline + `"}]}}}`, "", true, false},
		{"a file from a server", "file", `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","contents":{"source":"http://192.0.2.1/a"}}]}}`, "", true, true},
		{"a file from oem", "file", `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","contents":{"source":"oem:///a"}}]}}`, "", true, false},
		{"tang", "file", `{"ignition":{"version":"3.4.0"},"storage":{"luks":[{"name":"x","device":"/dev/x","clevis":{"tang":[{"url":"http://192.0.2.1","thumbprint":"x"}]}}]}}`, "", true, true},
		{"tang with advertisement", "file", `{"ignition":{"version":"3.4.0"},"storage":{"luks":[{"name":"x","device":"/dev/x","clevis":{"tang":[{"url":"http://192.0.2.1","thumbprint":"x","advertisement":"{}"}]}}]}}`, "", true, false},
		{"custom pin", "file", `{"ignition":{"version":"3.4.0"},"storage":{"luks":[{"name":"x","device":"/dev/x","clevis":{"custom":{"pin":"tang","config":"{}","needsNetwork":true}}}]}}`, "", true, true},
		{"a CA from a server", "file", `{"ignition":{"version":"3.4.0","security":{"tls":{"certificateAuthorities":[{"source":"http://192.0.2.1/ca"}]}}}}`, "", false, true},
		{"merge from a server", "file", `{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"http://192.0.2.1/c"}]}}}`, "", false, true},
		{"replace from a server", "file", `{"ignition":{"version":"3.4.0","config":{"replace":{"source":"http://192.0.2.1/c"}}}}`, "", false, true},
		{"platform needs the network", "aws", "", "", false, true},
		{"data URL on the command line", "aws", "", "ignition.config.url=" + inline, true, false},
		{"URL on the command line", "metal", "", "ignition.config.url=http://192.0.2.1/c", false, true},
		{"oem URL on the command line", "metal", "", "flatcar.config.url=oem:///config.ign", true, false},
		{"no config", "metal", "", "", true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t)
			m.write("config.ign", row.config)
			m.write("oem/config.ign", hello("/a", "oem"))
			if row.cmdline != "" {
				m.write("cmdline", row.cmdline)
			}
			m.stage(0, row.platform, "fetch-offline")
			if m.exists("run/ignition.json") != row.cache {
				t.Errorf("cache written: %v, want %v", !row.cache, row.cache)
			}
			if m.exists("run/neednet") != row.flag {
				t.Errorf("network asked for: %v, want %v", !row.flag, row.flag)
			}
		})
	}
}

func TestCacheAndState(t *testing.T) {
	m := newMachine(t)
	m.write("config.ign", hello("/a", "b"))
	m.stage(0, "file", "fetch")
	for name, mode := range map[string]os.FileMode{"run/ignition.json": 0o640, "run/state": 0o600, "run/ops.jsonl": 0o600} {
		info, err := os.Stat(m.path(name))
		m.must(err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %o, want %o", name, info.Mode().Perm(), mode)
		}
	}
	before := m.read("run/state")
	m.write("run/ignition.json", "{")
	res := m.stage(1, "file", "files")
	wantText(t, res.stdout, "CRITICAL : failed to parse cached config: ")
	if m.read("run/state") != before {
		t.Error("a failed stage wrote the state")
	}
	m.must(os.Remove(m.path("run/ignition.json")))
	res = m.stage(1, "file", "files")
	wantText(t, res.stdout, "CRITICAL : failed to acquire config: open "+m.path("run/ignition.json")+": no such file or directory")
	m.write("run/state", "[")
	res = m.stage(3, "file", "files")
	wantText(t, res.stdout, "CRITICAL : reading state: ")
}

// TestPlatformFromCommandLine: without a flag the kernel command line names the platform.
func TestPlatformFromCommandLine(t *testing.T) {
	for _, row := range []struct {
		name, cmdline, want string
		code                int
	}{
		{"ignition's name", "ignition.platform.id=file", "Ignition finished successfully", 0},
		{"flatcar's name with an alias", "flatcar.oem.id=pxe", "metal provider fetching empty config", 0},
		{"coreos's name", "coreos.oem.id=file", "Ignition finished successfully", 0},
		{"none", "quiet", "'--platform' must be provided", 2},
		{"unknown", "ignition.platform.id=nonsense", "nonsense is not a valid platform", 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t)
			m.write("config.ign", hello("/a", "b"))
			m.write("cmdline", row.cmdline+" ignition.firstboot\n")
			res := m.run(m.stageArgs("x", "fetch")[1:]...)
			if res.code != row.code {
				t.Errorf("exit code %d, want %d", res.code, row.code)
			}
			wantText(t, res.stdout+res.stderr, row.want)
		})
	}
}
