// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/providers"
)

// buffer collects a log that is written by several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// machine is what a run works on: files below dir, and a platform whose answer a test chooses.
type machine struct {
	Options
	t       *testing.T
	dir     string
	log     *buffer
	stderr  *buffer
	journal []map[string]string
	fetches int
}

func newMachine(t *testing.T, stage string, answer func() (providers.Result, error)) *machine {
	t.Helper()
	m := &machine{t: t, dir: t.TempDir(), log: &buffer{}, stderr: &buffer{}}
	log := oplog.New(oplog.StdoutHandler(m.log), nil)
	log.SetJournal(func(message string, priority int, vars map[string]string) error {
		entry := map[string]string{"MESSAGE": message, "PRIORITY": fmt.Sprint(priority)}
		for k, v := range vars {
			entry[k] = v
		}
		m.journal = append(m.journal, entry)
		return nil
	})
	m.Options = Options{
		Stage: stage, Root: m.path("root"), Version: "1.0",
		ConfigCache: m.path("run/ignition.json"), NeedNet: m.path("run/net/neednet"), StateFile: m.path("run/state"),
		SystemDirs:      []string{m.path("run-ignition"), m.path("etc-ignition"), m.path("usr-ignition")},
		CommandLinePath: m.path("cmdline"), LabelDir: m.path("by-label"), OEMDir: m.path("oem"),
		Log: log, Stderr: m.stderr,
	}
	m.Platform = Platform{Name: "test", provider: providers.Provider{Name: "test", Fetch: func(context.Context, *providers.Env) (providers.Result, error) {
		m.fetches++
		return answer()
	}}}
	m.write("cmdline", "quiet\n")
	m.write("root/etc/os-release", "ID=test\n")
	return m
}

// gives is the answer of a platform that has a config.
func gives(raw string) func() (providers.Result, error) {
	return func() (providers.Result, error) { return providers.Result{Raw: []byte(raw)}, nil }
}

func fails(err error) func() (providers.Result, error) {
	return func() (providers.Result, error) { return providers.Result{}, err }
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) write(name, text string) {
	m.t.Helper()
	if err := os.MkdirAll(filepath.Dir(m.path(name)), 0o755); err != nil {
		m.t.Fatal(err)
	}
	if err := os.WriteFile(m.path(name), []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) read(name string) string {
	m.t.Helper()
	raw, err := os.ReadFile(m.path(name))
	if err != nil {
		m.t.Error(err)
	}
	return string(raw)
}

func (m *machine) has(name string) bool {
	_, err := os.Stat(m.path(name))
	return err == nil
}

// run runs the stage and checks the exit code.
func (m *machine) run(want int) {
	m.t.Helper()
	if got := Run(m.t.Context(), m.Options); got != want {
		m.t.Errorf("exit code %d, want %d; log:\n%s", got, want, m.log)
	}
	if want == ExitOK && strings.Contains(m.log.String(), "CRITICAL") {
		m.t.Errorf("a run that succeeds logs a critical line:\n%s", m.log)
	}
}

func (m *machine) wantLog(texts ...string) {
	m.t.Helper()
	for _, text := range texts {
		if !strings.Contains(m.log.String(), text) {
			m.t.Errorf("log lacks %q:\n%s", text, m.log)
		}
	}
}

// doc is a config of the given version with the given parts.
func doc(version string, ignition, rest string) string {
	if ignition != "" {
		ignition = "," + ignition
	}
	if rest != "" {
		rest = "," + rest
	}
	return fmt.Sprintf(`{"ignition":{"version":%q%s}%s}`, version, ignition, rest)
}

func merges(urls ...string) string {
	var refs []string
	for _, u := range urls {
		refs = append(refs, fmt.Sprintf(`{"source":%q}`, u))
	}
	return `"config":{"merge":[` + strings.Join(refs, ",") + `]}`
}

func replaces(url string) string { return fmt.Sprintf(`"config":{"replace":{"source":%q}}`, url) }

// file is a config's storage with one file whose content names where it comes from.
func file(from string) string {
	return fmt.Sprintf(`"storage":{"files":[{"path":"/from","contents":{"source":"data:,%s"}}]}`, from)
}

// site serves documents by path. As a proxy it serves those of any host, and
// tells which were asked for in that way.
type site struct {
	*httptest.Server
	mu      sync.Mutex
	docs    map[string]string
	asked   []string
	proxied []string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{docs: map[string]string{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, r.URL.Path)
		if r.URL.IsAbs() {
			s.proxied = append(s.proxied, r.URL.Path)
		}
		if text, ok := s.docs[r.URL.Path]; ok {
			_, _ = w.Write([]byte(text))
			return
		}
		http.NotFound(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func statusFunc(f func(stage string, err error) error) func(context.Context, *providers.Env, string, error) error {
	return func(_ context.Context, _ *providers.Env, stage string, err error) error { return f(stage, err) }
}
