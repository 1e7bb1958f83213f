// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// sizes scale the workloads.
type sizes struct {
	remoteFiles int
	remoteBytes int
	latency     time.Duration
	inlineFiles int
	configBytes int
	bigBytes    int64
}

var (
	fullSizes  = sizes{200, 1 << 10, 50 * time.Millisecond, 5000, 10_000_000, 1 << 30}
	quickSizes = sizes{10, 1 << 10, 5 * time.Millisecond, 50, 200_000, 4 << 20}
)

// workload is one thing that the programs are measured at.
type workload struct {
	name, about string
	runs        int
	config      func() any
	prepare     []string // stages that run unmeasured before
	stages      []string // stages that are measured, as one
	check       func(p place) error
	baseline    func(p place) (figures, error) // another way to the same result, for the bar
	bars        []bar
	bulky       bool // its trees are removed as it goes, for the room on the disk
}

func workloads(s sizes, server *server) []workload {
	return []workload{
		{
			name:  "remote-files",
			about: fmt.Sprintf("files stage: %d files of %d bytes, server answers after %v", s.remoteFiles, s.remoteBytes, s.latency),
			runs:  5, config: func() any { return remoteFiles(s, server) },
			prepare: []string{"fetch"}, stages: []string{"files"},
			check: filesIn("data", s.remoteFiles, int64(s.remoteFiles*s.remoteBytes)),
			bars:  []bar{{wallRatio, 12}},
		},
		{
			name:  "inline-files",
			about: fmt.Sprintf("files stage: %d files with inline contents", s.inlineFiles),
			runs:  7, config: func() any { return inlineFiles(s.inlineFiles, 16) },
			prepare: []string{"fetch"}, stages: []string{"files"},
			check: filesIn("data", s.inlineFiles, int64(s.inlineFiles*16)),
			bars:  []bar{{cpuRatio, 2}, {wallRatio, 1.5}},
		},
		{
			name:  "big-config",
			about: fmt.Sprintf("fetch stage: a config of %.1f MB, files of 1000 bytes inline", float64(s.configBytes)/1e6),
			runs:  7, config: func() any { return configOfSize(s.configBytes) },
			stages: []string{"fetch"},
			check:  cached(entriesOfSize(s.configBytes)),
			bars:   []bar{{cpuRatio, 2}, {memoryRatio, 2}},
		},
		{
			name:  "empty-config",
			about: "fetch and files stage: a config that asks for nothing",
			runs:  15, config: func() any { return ignition(nil) },
			stages: []string{"fetch", "files"},
			check:  filesIn("etc/.ignition-result.json", 1, -1),
			bars:   []bar{{cpuRatio, 1.5}, {memoryAtMost, 16 << 20}},
		},
		{
			name:  "big-file",
			about: fmt.Sprintf("files stage: one remote file of %d MiB with sha512", s.bigBytes>>20),
			runs:  3, config: func() any { return bigFile(server) },
			prepare: []string{"fetch"}, stages: []string{"files"},
			check:    filesIn("data", 1, s.bigBytes),
			baseline: func(p place) (figures, error) { return curl(p, server) },
			bars:     []bar{{memoryAtMost, 48 << 20}, {wallToBaseline, 1.3}},
			bulky:    true,
		},
	}
}

func ignition(files []map[string]any) map[string]any {
	c := map[string]any{"ignition": map[string]any{"version": "3.3.0"}}
	if files != nil {
		c["storage"] = map[string]any{"files": files}
	}
	return c
}

func fileEntry(path, source, hash string) map[string]any {
	contents := map[string]any{"source": source}
	if hash != "" {
		contents["verification"] = map[string]any{"hash": hash}
	}
	return map[string]any{"path": path, "mode": 0o644, "contents": contents}
}

func remoteFiles(s sizes, server *server) any {
	var files []map[string]any
	for i := range s.remoteFiles {
		files = append(files, fileEntry(fmt.Sprintf("/data/%04d", i), fmt.Sprintf("%s/small/%d", server.url, i), ""))
	}
	return ignition(files)
}

func bigFile(server *server) any {
	return ignition([]map[string]any{fileEntry("/data/big", server.url+"/big", "sha512-"+server.bigHash)})
}

// inlineFiles makes n files whose contents, of size bytes, are all different.
func inlineFiles(n, size int) any {
	random := rand.New(rand.NewPCG(1, 2))
	body := make([]byte, size)
	files := []map[string]any{}
	for i := range n {
		for j := range body {
			body[j] = byte(random.Uint32())
		}
		files = append(files, fileEntry(fmt.Sprintf("/data/%02d/%05d", i%50, i), "data:;base64,"+base64.StdEncoding.EncodeToString(body), ""))
	}
	return ignition(files)
}

// An entry of a big config holds 1000 bytes as base64 and comes to about 1410 bytes of JSON.
const bigConfigEntry = 1410

func entriesOfSize(bytes int) int    { return bytes / bigConfigEntry }
func configOfSize(bytes int) any     { return inlineFiles(entriesOfSize(bytes), 1000) }
func encode(v any) ([]byte, error)   { return json.Marshal(v) }
func (p place) at(rel string) string { return filepath.Join(p.root, rel) }

// filesIn checks how many regular files are under a path of the tree, and their
// bytes together (-1: any).
func filesIn(rel string, count int, bytes int64) func(place) error {
	return func(p place) error {
		var n int
		var sum int64
		err := filepath.WalkDir(p.at(rel), func(_ string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			info, err := d.Info()
			if err == nil {
				n++
				sum += info.Size()
			}
			return err
		})
		if err == nil && (n != count || bytes >= 0 && sum != bytes) {
			err = fmt.Errorf("%s holds %d files with %d bytes, want %d with %d", rel, n, sum, count, bytes)
		}
		return err
	}
}

// cached checks that the cached config holds the files of the config.
func cached(count int) func(place) error {
	return func(p place) error {
		text, err := os.ReadFile(p.cache())
		if err != nil {
			return err
		}
		if n := bytes.Count(text, []byte(`"/data/`)); n != count {
			return fmt.Errorf("the cached config holds %d files, want %d", n, count)
		}
		return nil
	}
}

// curl fetches the big file the way a shell user would.
func curl(p place, server *server) (figures, error) {
	out := filepath.Join(p.dir, "curl.out")
	script := fmt.Sprintf("set -o pipefail; curl -sSf %s/big | tee %s | sha512sum", server.url, out)
	f, err := run([]string{"/bin/bash", "-c", script}, []string{"PATH=" + os.Getenv("PATH")}, filepath.Join(p.dir, "curl.log"))
	if err != nil {
		return f, err
	}
	sum, err := os.ReadFile(filepath.Join(p.dir, "curl.log"))
	if err == nil && !bytes.HasPrefix(sum, []byte(server.bigHash)) {
		err = fmt.Errorf("curl got other bytes: %s", sum)
	}
	return f, err
}

const baselineName = "baseline"

// measure lets the programs take turns. Who begins changes from round to round.
func (w workload) measure(programs []program, scratch string, runs int) (outcome, error) {
	text, err := encode(w.config())
	if err != nil {
		return outcome{}, err
	}
	config := filepath.Join(scratch, w.name+".ign")
	if err := os.WriteFile(config, text, 0o644); err != nil {
		return outcome{}, err
	}
	out := outcome{Name: w.name, About: w.about, Figures: map[string][]figures{}}
	for round := range runs {
		for i := range programs {
			g := programs[(i+round)%len(programs)]
			f, err := w.once(g, scratch, config)
			if err != nil {
				return out, fmt.Errorf("%s: %w", g.name, err)
			}
			out.Figures[g.name] = append(out.Figures[g.name], f)
		}
		if w.baseline == nil {
			continue
		}
		f, err := w.inFreshPlace(scratch, config, w.baseline)
		if err != nil {
			return out, fmt.Errorf("%s: %w", baselineName, err)
		}
		out.Figures[baselineName] = append(out.Figures[baselineName], f)
	}
	return out, nil
}

// inFreshPlace runs f in a new tree, with what earlier runs wrote on the disk.
// Trees of many files stay until the end: ext4 does not give out an inode again
// for a minute after it was freed, and the search past thousands of such takes
// longer than the creation of a file. A first boot frees none.
func (w workload) inFreshPlace(scratch, config string, f func(place) (figures, error)) (figures, error) {
	p, err := newPlace(scratch, config)
	if err != nil {
		return figures{}, err
	}
	if w.bulky {
		defer os.RemoveAll(p.dir)
	}
	syscall.Sync()
	return f(p)
}

func (w workload) once(g program, scratch, config string) (figures, error) {
	return w.inFreshPlace(scratch, config, func(p place) (figures, error) {
		for _, stage := range w.prepare {
			if _, err := g.stage(p, stage); err != nil {
				return figures{}, err
			}
		}
		var sum figures
		for _, stage := range w.stages {
			f, err := g.stage(p, stage)
			if err != nil {
				return figures{}, err
			}
			sum = sum.add(f)
		}
		return sum, w.check(p)
	})
}
