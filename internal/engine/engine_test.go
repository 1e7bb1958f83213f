// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/stages"
)

func TestFetchStage(t *testing.T) {
	m := newMachine(t, "fetch", gives(doc("3.3.0", "", file("platform"))))
	m.Platform.note = `platform "other" is handled as "test"`
	m.run(ExitOK)
	m.wantLog("INFO     : Ignition 1.0\nINFO     : Stage: fetch\nINFO     : platform \"other\" is handled as \"test\"\n",
		"DEBUG    : parsing config with SHA512: ", "INFO     : fetch: fetch complete\nINFO     : fetch: fetch passed\nINFO     : Ignition finished successfully\n")
	cache := m.read("run/ignition.json")
	var top struct{ Ignition struct{ Version string } }
	if err := json.Unmarshal([]byte(cache), &top); err != nil || top.Ignition.Version != "3.7.0-experimental" || strings.Contains(cache, "\n ") {
		t.Errorf("cache %s: %v", cache, err)
	}
	if info, err := os.Stat(m.ConfigCache); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("cache: %v, %v", info, err)
	}
	if info, err := os.Stat(m.StateFile); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("state: %v, %v", info, err)
	}
	want := `{"fetchedConfigs":[{"kind":"user","source":"test","referenced":false}],"luksPersistKeyFiles":null,"luksPersistVolumeKeyFiles":null,"notatedDirectories":null,"providerOutputFiles":null}` + "\n"
	if got := m.read("run/state"); got != want {
		t.Errorf("state %s\nwant  %s", got, want)
	}
	if left, _ := filepath.Glob(m.path("run/.ignition-*")); left != nil {
		t.Errorf("left behind: %q", left)
	}
	if m.stderr.String() != "" {
		t.Errorf("stderr: %s", m.stderr)
	}
}

func TestExitCodes(t *testing.T) {
	for _, row := range []struct {
		name  string
		stage string
		set   func(m *machine)
		ask   func() (providers.Result, error)
		want  int
		log   string
	}{
		{name: "success", stage: "fetch", want: ExitOK, log: "INFO     : Ignition finished successfully"},
		{name: "state is not JSON", stage: "fetch", set: func(m *machine) { m.write("run/state", "{") }, want: ExitSetup, log: "CRITICAL : reading state: "},
		{name: "state is a directory", stage: "fetch", set: func(m *machine) { m.write("run/state/x", "") }, want: ExitSetup, log: "CRITICAL : reading state: "},
		{name: "no state", stage: "files", set: func(m *machine) { m.write("run/ignition.json", doc("3.7.0-experimental", "", "")) }, want: ExitOK},
		{name: "no cache", stage: "kargs", want: ExitFailed, log: "CRITICAL : failed to acquire config: open "},
		{name: "cache is not JSON", stage: "kargs", set: func(m *machine) { m.write("run/ignition.json", "{") }, want: ExitFailed, log: "CRITICAL : failed to parse cached config: "},
		{name: "provider fails", stage: "fetch", ask: fails(errors.New("broken")), want: ExitFailed, log: "WARNING  : failed to fetch config: broken\nCRITICAL : failed to acquire config: broken\nCRITICAL : Ignition failed: broken\n"},
		{name: "no provider at all", stage: "fetch", ask: fails(providers.ErrNoProvider), want: ExitFailed, log: "CRITICAL : failed to acquire config: config provider was not online"},
		{name: "network needed in fetch", stage: "fetch", ask: fails(resource.ErrNeedNet), want: ExitFailed, log: "INFO     : failed to fetch config: resource requires networking"},
		{name: "time-out", stage: "fetch", ask: fails(resource.ErrTimeout), want: ExitFailed, log: "WARNING  : failed to fetch config: unable to fetch resource in time"},
		{name: "unknown version", stage: "fetch", ask: gives(doc("9.9.0", "", "")), want: ExitFailed, log: "CRITICAL : Ignition failed: unsupported config version"},
		{name: "invalid", stage: "fetch", ask: gives(doc("3.3.0", "", `"storage":{"files":[{"path":"a"}]}`)), want: ExitFailed, log: "CRITICAL : failed to acquire config: config is not valid"},
		{name: "command line unreadable", stage: "fetch", set: func(m *machine) { m.CommandLinePath = m.path("none") }, want: ExitFailed, log: "reading the kernel command line: open "},
		{name: "broken base config", stage: "fetch", set: func(m *machine) { m.write("usr-ignition/base.d/a.ign", "{") }, want: ExitFailed, log: "CRITICAL : failed to acquire system base config: "},
		{name: "empty base config", stage: "fetch", set: func(m *machine) { m.write("usr-ignition/base.d/a.ign", "") }, want: ExitFailed, log: "base.d/a.ign: not a config (empty)"},
		{name: "broken base config of the platform", stage: "fetch", set: func(m *machine) { m.write("usr-ignition/base.platform.d/test/a.ign", "{") }, want: ExitFailed, log: "CRITICAL : failed to acquire system base config: "},
		{name: "cache cannot be written", stage: "fetch", set: func(m *machine) { m.write("run/ignition.json/x", "") }, want: ExitFailed, log: "writing config cache: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			ask := row.ask
			if ask == nil {
				ask = gives(doc("3.3.0", "", ""))
			}
			m := newMachine(t, row.stage, ask)
			if row.set != nil {
				row.set(m)
			}
			hadState := m.has("run/state")
			m.run(row.want)
			m.wantLog(row.log)
			if row.want != ExitOK && m.has("run/state") != hadState {
				t.Error("state was saved although the stage failed")
			}
		})
	}
}

func TestStateCannotBeSaved(t *testing.T) {
	var m *machine
	m = newMachine(t, "fetch", func() (providers.Result, error) {
		m.write("run/state/in-the-way", "")
		return gives(doc("3.3.0", "", ""))()
	})
	m.run(ExitFailed)
	m.wantLog("CRITICAL : writing state: ")
}

func TestStageFails(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: useradd chroots into the tree")
	}
	m := newMachine(t, "files", nil)
	m.write("run/ignition.json", doc("3.7.0-experimental", "", `"passwd":{"users":[{"name":"core","passwordHash":"$6$SECRET"}]},"storage":{"files":[{"path":"/a","contents":{"source":"data:,SECRET","verification":{"hash":"sha512-`+strings.Repeat("0", 128)+`"}}}]}`))
	m.run(ExitFailed)
	m.wantLog("hash verification failed", "ERROR    : the failing config entry is $.storage.files.0")
	if !strings.HasPrefix(m.stderr.String(), "files failed\nFull config:\n{") {
		t.Errorf("stderr: %s", m.stderr)
	}
	if strings.Contains(m.stderr.String()+m.log.String(), "SECRET") {
		t.Errorf("a secret in\n%s\nor\n%s", m.stderr, m.log)
	}
}

func TestNeedNet(t *testing.T) {
	remote := `"storage":{"files":[{"path":"/a","contents":{"source":"http://127.0.0.1:1/x"}}]}`
	for _, row := range []struct {
		name        string
		ask         func() (providers.Result, error)
		base        string
		cache, flag bool
	}{
		{name: "provider", ask: fails(resource.ErrNeedNet), flag: true},
		{name: "provider, wrapped", ask: fails(fmt.Errorf("x: %w", resource.ErrNeedNet)), flag: true},
		{name: "nothing", ask: gives(doc("3.3.0", "", file("x"))), cache: true},
		{name: "file", ask: gives(doc("3.3.0", "", remote)), cache: true, flag: true},
		{name: "file of the base config", ask: gives(doc("3.3.0", "", "")), base: doc("3.3.0", "", remote), cache: true, flag: true},
		{name: "merge", ask: gives(doc("3.3.0", merges("http://127.0.0.1:1/x"), "")), flag: true},
		{name: "replace", ask: gives(doc("3.3.0", replaces("http://127.0.0.1:1/x"), "")), flag: true},
		{name: "certificate", ask: gives(doc("3.3.0", `"security":{"tls":{"certificateAuthorities":[{"source":"http://127.0.0.1:1/x"}]}}`, "")), flag: true},
		{name: "empty config", ask: gives(""), cache: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t, "fetch-offline", row.ask)
			if row.base != "" {
				m.write("usr-ignition/base.d/a", row.base)
			}
			m.run(ExitOK)
			if m.has("run/ignition.json") != row.cache || m.has("run/net/neednet") != row.flag {
				t.Errorf("cache: %v, want %v; flag: %v, want %v", m.has("run/ignition.json"), row.cache, m.has("run/net/neednet"), row.flag)
			}
			if row.flag && strings.Contains(m.log.String(), "fetch-offline passed") {
				t.Errorf("log:\n%s", m.log)
			}
			if strings.Contains(m.log.String(), "attempt #") {
				t.Errorf("a request while offline:\n%s", m.log)
			}
		})
	}
}

func TestNeedNetCannotBeSignalled(t *testing.T) {
	m := newMachine(t, "fetch-offline", fails(resource.ErrNeedNet))
	m.write("run/net", "a file where a directory should be")
	m.run(ExitFailed)
	m.wantLog("CRITICAL : failed to signal neednet: ")
}

// TestRoundTrip goes from fetch-offline over fetch to kargs: nothing is
// recorded twice, and later stages take the config from the cache.
func TestRoundTrip(t *testing.T) {
	answers := []func() (providers.Result, error){fails(resource.ErrNeedNet), gives(doc("3.3.0", "", file("platform")))}
	var m *machine
	m = newMachine(t, "fetch-offline", func() (providers.Result, error) { return answers[m.fetches-1]() })
	m.write("usr-ignition/base.d/a", doc("3.3.0", "", ""))
	for _, m.Stage = range []string{"fetch-offline", "fetch", "kargs"} {
		m.run(ExitOK)
	}
	if m.fetches != 2 {
		t.Errorf("the platform was asked %d times, want 2", m.fetches)
	}
	state, err := loadState(m.StateFile)
	want := []stages.FetchedConfig{{Kind: "base", Source: "system"}, {Kind: "user", Source: "test"}}
	if err != nil || !slices.Equal(state.FetchedConfigs, want) {
		t.Errorf("got %+v, %v; want %+v", state, err, want)
	}
	if len(m.journal) != 2 {
		t.Errorf("journal: %v", m.journal)
	}
}

func TestJournal(t *testing.T) {
	s := newSite(t)
	s.docs["/child"] = doc("3.3.0", "", file("child"))
	m := newMachine(t, "fetch", gives(doc("3.3.0", merges(s.URL+"/child?sig=SECRET"), "")))
	m.write("usr-ignition/base.d/a", doc("3.3.0", "", ""))
	m.run(ExitOK)
	entry := func(text, kind, src, referenced string) map[string]string {
		return map[string]string{"MESSAGE": fmt.Sprintf("fetched %s config from %q", text, src), "PRIORITY": "6",
			"MESSAGE_ID": "57124006b5c94805b77ce473e92a8aeb", "IGNITION_CONFIG_TYPE": kind, "IGNITION_CONFIG_SRC": src, "IGNITION_CONFIG_REFERENCED": referenced}
	}
	want := []map[string]string{
		entry("base", "base", "system", "false"),
		entry("user", "user", "test", "false"),
		entry("referenced user", "user", s.URL+"/child", "true"),
	}
	if fmt.Sprint(m.journal) != fmt.Sprint(want) {
		t.Errorf("journal\n%v\nwant\n%v", m.journal, want)
	}
	if strings.Contains(m.read("run/state"), "SECRET") {
		t.Error("a secret in the state")
	}
}

func TestEmptyConfig(t *testing.T) {
	for _, row := range []struct{ name, raw string }{
		{"zero bytes", ""},
		{"cloud-config", "#cloud-config\nusers: []\n"},
		{"script", "#!/bin/sh\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t, "fetch", gives(row.raw))
			m.run(ExitOK)
			m.wantLog("INFO     : not a config (empty): provider config was empty, continuing with empty cache config\n")
			state, err := loadState(m.StateFile)
			if err != nil || state.UserConfigProvided() || len(state.FetchedConfigs) != 0 || len(m.journal) != 0 {
				t.Errorf("state %+v, %v; journal %v", state, err, m.journal)
			}
			m.Stage = "kargs"
			m.run(ExitOK)
		})
	}
}

// TestProviderFiles checks that files of a provider reach the state, also beside an empty config.
func TestProviderFiles(t *testing.T) {
	m := newMachine(t, "fetch", func() (providers.Result, error) {
		return providers.Result{Files: []config.File{{Node: config.Node{Path: "/var/lib/x"}}}}, nil
	})
	m.run(ExitOK)
	state, err := loadState(m.StateFile)
	if err != nil || len(state.ProviderOutputFiles) != 1 || state.ProviderOutputFiles[0].Path != "/var/lib/x" {
		t.Errorf("state %+v, %v", state, err)
	}
}

func TestBaseUnderUser(t *testing.T) {
	m := newMachine(t, "fetch", gives(doc("3.3.0", "", `"kernelArguments":{"shouldExist":["user"]}`)))
	m.write("usr-ignition/base.d/a", doc("3.3.0", merges("http://127.0.0.1:1/never"), `"kernelArguments":{"shouldExist":["base"]}`))
	m.run(ExitOK)
	m.wantLog("WARNING  : " + m.path("usr-ignition/base.d/a") + ": ignition.config.merge and ignition.config.replace are ignored in a base config")
	if cache := m.read("run/ignition.json"); strings.Contains(cache, "base") || !strings.Contains(cache, `"user"`) {
		t.Errorf("the cache must hold the user's config alone: %s", cache)
	}
	if strings.Contains(m.log.String(), "attempt #") {
		t.Errorf("a reference of a base config was fetched:\n%s", m.log)
	}
}

func TestCacheMode(t *testing.T) {
	m := newMachine(t, "fetch", gives(doc("3.3.0", "", "")))
	m.write("run/ignition.json", "old")
	if err := os.Chmod(m.ConfigCache, 0o600); err != nil {
		t.Fatal(err)
	}
	m.run(ExitOK)
	if info, err := os.Stat(m.ConfigCache); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v: an existing cache keeps its mode", info, err)
	}
}

func TestFetchTimeout(t *testing.T) {
	for _, row := range []struct{ in, want time.Duration }{
		{0, 0}, {time.Millisecond, time.Second}, {time.Second, time.Second}, {1500 * time.Millisecond, 2 * time.Second}, {2 * time.Minute, 2 * time.Minute},
	} {
		t.Run(row.in.String(), func(t *testing.T) {
			m := newMachine(t, "fetch", nil)
			m.FetchTimeout = row.in
			r, err := newRun(m.Options)
			if err != nil || r.env.FetchTimeout != row.want {
				t.Errorf("got %v, %v; want %v", r.env.FetchTimeout, err, row.want)
			}
		})
	}
}

// TestRelativeRoot checks that the root is made absolute before anything uses it.
func TestRelativeRoot(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, row := range []struct{ in, want string }{{"sysroot", dir + "/sysroot"}, {"./sysroot//", dir + "/sysroot"}, {"/", "/"}, {"/sysroot/", "/sysroot"}} {
		t.Run(row.in, func(t *testing.T) {
			m := newMachine(t, "fetch", nil)
			m.Root = row.in
			r, err := newRun(m.Options)
			if err != nil || r.Root != row.want {
				t.Errorf("got %q, %v; want %q", r.Root, err, row.want)
			}
		})
	}
}

func TestStatusReport(t *testing.T) {
	for _, row := range []struct {
		name, stage string
		ask         func() (providers.Result, error)
		hook        error
		want        string // what the hook was told
		code        int
	}{
		{"success", "fetch", gives(doc("3.3.0", "", "")), nil, "fetch <nil>", ExitOK},
		{"failure", "fetch", fails(errors.New("broken")), nil, "fetch broken", ExitFailed},
		{"a report that fails changes nothing", "fetch", gives(doc("3.3.0", "", "")), errors.New("unreachable"), "fetch <nil>", ExitOK},
		{"not while offline", "fetch-offline", gives(doc("3.3.0", "", "")), nil, "", ExitOK},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t, row.stage, row.ask)
			told := ""
			m.Platform.provider.Status = statusFunc(func(stage string, err error) error {
				told = fmt.Sprint(stage, " ", err)
				return row.hook
			})
			m.run(row.code)
			if told != row.want {
				t.Errorf("the hook was told %q, want %q", told, row.want)
			}
			if row.hook != nil {
				m.wantLog("ERROR    : POST Status error: unreachable")
			}
		})
	}
}
