// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be the launcher that run starts.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == launchVerb {
		os.Exit(launch(os.Args[2:]))
	}
	os.Exit(m.Run())
}

func TestMedian(t *testing.T) {
	rows := []struct {
		name string
		in   []figures
		want figures
	}{
		{"none", nil, figures{}},
		{"one", []figures{{1, 2, 3}}, figures{1, 2, 3}},
		{"odd, each figure on its own", []figures{{9, 1, 5}, {1, 9, 7}, {5, 5, 6}}, figures{5, 5, 6}},
		{"even", []figures{{2, 4, 6}, {4, 8, 10}}, figures{3, 6, 8}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := median(row.in); got != row.want {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

func TestJudge(t *testing.T) {
	m := map[string]figures{
		"ours":       {Wall: 10, CPU: 5, MaxRSS: 8 << 20},
		"older":      {Wall: 120, CPU: 9, MaxRSS: 16 << 20},
		baselineName: {Wall: 8},
	}
	rows := []struct {
		name string
		bar  bar
		met  bool
		want string
	}{
		{"wall met exactly", bar{wallRatio, 12}, true, "12.00"},
		{"wall missed", bar{wallRatio, 12.1}, false, "12.00"},
		{"CPU missed", bar{cpuRatio, 2}, false, "1.80"},
		{"memory ratio met", bar{memoryRatio, 2}, true, "2.00"},
		{"memory met", bar{memoryAtMost, 16 << 20}, true, "8.0 MiB"},
		{"memory missed", bar{memoryAtMost, 7 << 20}, false, "8.0 MiB"},
		{"baseline met", bar{wallToBaseline, 1.3}, true, "1.25"},
		{"baseline missed", bar{wallToBaseline, 1.2}, false, "1.25"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			text, met := row.bar.judge(m)
			if met != row.met || !strings.Contains(text, row.want) {
				t.Errorf("got %q, %v; want %q, %v", text, met, row.want, row.met)
			}
		})
	}
}

// TestConfigs: each workload's config has the version and the entries that its
// check counts, and about the size that its text claims.
func TestConfigs(t *testing.T) {
	s := &server{url: "http://127.0.0.1:1", bigHash: "00"}
	want := map[string]int{"remote-files": 200, "inline-files": 5000, "big-config": entriesOfSize(10_000_000), "empty-config": 0, "big-file": 1}
	for _, w := range workloads(fullSizes, s) {
		t.Run(w.name, func(t *testing.T) {
			text, err := encode(w.config())
			if err != nil {
				t.Fatal(err)
			}
			var c struct {
				Ignition struct{ Version string }
				Storage  struct{ Files []struct{ Path string } }
			}
			if err := json.Unmarshal(text, &c); err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, f := range c.Storage.Files {
				seen[f.Path] = true
			}
			if c.Ignition.Version != "3.3.0" || len(seen) != want[w.name] {
				t.Errorf("version %q with %d paths, want 3.3.0 with %d", c.Ignition.Version, len(seen), want[w.name])
			}
			if w.name == "big-config" && (len(text) < 9_800_000 || len(text) > 10_200_000) {
				t.Errorf("the config has %d bytes, not about 10 MB", len(text))
			}
		})
	}
}

func TestFilesIn(t *testing.T) {
	p := place{root: t.TempDir()}
	if err := os.MkdirAll(p.at("data/sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"data/a", "data/sub/b"} {
		if err := os.WriteFile(p.at(name), []byte("1234"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rows := []struct {
		name  string
		rel   string
		count int
		bytes int64
		ok    bool
	}{
		{"right", "data", 2, 8, true},
		{"one file", "data/a", 1, 4, true},
		{"any size", "data", 2, -1, true},
		{"a file is missing", "data", 3, 8, false},
		{"a byte is missing", "data", 2, 9, false},
		{"nothing there", "other", 0, 0, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if err := filesIn(row.rel, row.count, row.bytes)(p); (err == nil) != row.ok {
				t.Errorf("got %v, want ok=%v", err, row.ok)
			}
		})
	}
}

func TestServer(t *testing.T) {
	v, err := startServer(quickSizes)
	if err != nil {
		t.Fatal(err)
	}
	defer v.close()
	get := func(path string) (int, []byte) {
		t.Helper()
		resp, err := http.Get(v.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, body
	}
	start := time.Now()
	if code, body := get("/small/3"); code != 200 || len(body) != quickSizes.remoteBytes {
		t.Errorf("small file: %d with %d bytes", code, len(body))
	}
	if took := time.Since(start); took < quickSizes.latency {
		t.Errorf("the answer came after %v, before %v", took, quickSizes.latency)
	}
	if code, body := get("/big"); code != 200 || int64(len(body)) != quickSizes.bigBytes {
		t.Errorf("big file: %d with %d bytes", code, len(body))
	}
	if code, _ := get("/small/99999"); code != 404 {
		t.Errorf("small file that is not there: %d, want 404", code)
	}
}

func TestRun(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	f, err := run([]string{"/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done"}, nil, log)
	if err != nil {
		t.Fatal(err)
	}
	if f.Wall <= 0 || f.CPU <= 0 || f.MaxRSS < 1<<19 {
		t.Errorf("figures of a busy loop: %+v", f)
	}
	if text, _ := os.ReadFile(log); string(text) != "done\n" {
		t.Errorf("log %q", text)
	}
	_, err = run([]string{"/bin/sh", "-c", "echo what went wrong; exit 3"}, nil, log)
	if err == nil || !strings.Contains(err.Error(), "what went wrong") || !strings.Contains(err.Error(), "exit status 3") {
		t.Errorf("a failing program: %v", err)
	}
}

// TestMeasureRefusesWrongResults: a program that does nothing is not fast.
func TestMeasureRefusesWrongResults(t *testing.T) {
	scratch := t.TempDir()
	programs, err := findPrograms(options{ours: "/bin/true", older: "/bin/true"}, scratch)
	if err != nil {
		t.Fatal(err)
	}
	w := workloads(quickSizes, &server{url: "http://127.0.0.1:1"})[1]
	_, err = w.measure(programs, scratch, 1)
	if err == nil || !strings.Contains(err.Error(), "data") {
		t.Errorf("got %v, want a complaint about the missing files", err)
	}
}

// TestQuick drives the whole comparison against Debian's package, if it is
// installed; the package is both sides, so this build need not be there.
func TestQuick(t *testing.T) {
	const packaged = "/usr/lib/dracut/modules.d/30ignition/ignition"
	if _, err := os.Stat(packaged); err != nil {
		t.Skip("needs Debian's ignition package")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: the files stage sets owners")
	}
	dir := t.TempDir()
	ours := filepath.Join(dir, "ours")
	script := "#!/bin/bash\nargs=()\nfor a in \"$@\"; do [[ $a == -ops-file=* ]] || args+=(\"$a\"); done\nexec " + packaged + " \"${args[@]}\"\n"
	if err := os.WriteFile(ours, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	o := options{ours: ours, older: packaged, dir: dir, out: filepath.Join(dir, "out/figures.json"), quick: true}
	if err := compare(o); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(o.out)
	if err != nil {
		t.Fatal(err)
	}
	var rep report
	if err := json.Unmarshal(text, &rep); err != nil {
		t.Fatal(err)
	}
	if len(rep.Workloads) != 5 {
		t.Errorf("%d workloads, want 5", len(rep.Workloads))
	}
	for _, w := range rep.Workloads {
		for _, name := range []string{"ours", "older"} {
			if len(w.Figures[name]) != 2 {
				t.Errorf("%s: %d figures of %s, want 2", w.Name, len(w.Figures[name]), name)
			}
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "compare-*")); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
