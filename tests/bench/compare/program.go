// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// figures are what the kernel says of one process that ended.
type figures struct {
	Wall   time.Duration
	CPU    time.Duration // user and system
	MaxRSS int64         // bytes
}

// add joins the figures of processes that ran one after the other.
func (f figures) add(g figures) figures {
	return figures{f.Wall + g.Wall, f.CPU + g.CPU, max(f.MaxRSS, g.MaxRSS)}
}

// program is one of the two that are compared.
type program struct {
	name  string
	path  string
	extra func(p place) []string // flags that only it has
}

// place is the fresh surroundings of one run.
type place struct {
	dir, root, config string
	path              string // folder that goes before PATH
}

func findPrograms(o options, scratch string) ([]program, error) {
	ours := program{name: "ours", path: o.ours, extra: func(p place) []string {
		return []string{"-ops-file=" + filepath.Join(p.dir, "ops.jsonl")}
	}}
	older := program{name: "older", path: o.older, extra: func(place) []string { return nil }}
	programs := []program{ours, older}
	for i := range programs {
		full, err := filepath.Abs(programs[i].path)
		if err != nil {
			return nil, err
		}
		if _, err := os.Stat(full); err != nil {
			return nil, err
		}
		programs[i].path = full
	}
	return programs, writeStub(filepath.Join(scratch, "stubs"))
}

// writeStub puts a setfiles on the programs' PATH that reads its input and does
// nothing: the older program relabels, and its time should be its own.
func writeStub(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "setfiles"), []byte("#!/bin/sh\nexec cat >/dev/null\n"), 0o755)
}

// newPlace makes the tree that one run starts from.
func newPlace(scratch, config string) (place, error) {
	dir, err := os.MkdirTemp(scratch, "run-")
	if err != nil {
		return place{}, err
	}
	p := place{dir: dir, root: filepath.Join(dir, "root"), config: config, path: filepath.Join(scratch, "stubs")}
	policy := filepath.Join(p.root, "etc/selinux/targeted/contexts/files")
	if err := os.MkdirAll(policy, 0o755); err != nil {
		return place{}, err
	}
	if err := os.WriteFile(filepath.Join(policy, "file_contexts"), nil, 0o644); err != nil {
		return place{}, err
	}
	selinux := []byte("SELINUX=permissive\nSELINUXTYPE=targeted\n")
	return p, os.WriteFile(filepath.Join(p.root, "etc/selinux/config"), selinux, 0o644)
}

func (p place) cache() string { return filepath.Join(p.dir, "cache.json") }

// stage runs one stage of the program in the place.
func (g program) stage(p place, stage string) (figures, error) {
	argv := append([]string{
		g.path, "-platform=file", "-stage=" + stage, "-root=" + p.root, "-log-to-stdout",
		"-config-cache=" + p.cache(), "-state-file=" + filepath.Join(p.dir, "state"),
		"-neednet=" + filepath.Join(p.dir, "neednet"),
	}, g.extra(p)...)
	env := []string{"PATH=" + p.path + ":" + os.Getenv("PATH"), "IGNITION_CONFIG_FILE=" + p.config}
	return run(argv, env, filepath.Join(p.dir, stage+".log"))
}

// launchVerb is the first argument that turns this program into a launcher.
const launchVerb = "launch-and-measure"

// run starts argv through a small process of its own. The kernel counts the
// peak memory of the parent into that of a child it starts, and this process
// holds the files that it serves.
func run(argv, env []string, log string) (figures, error) {
	self, err := os.Executable()
	if err != nil {
		return figures{}, err
	}
	cmd := exec.Command(self, append([]string{launchVerb, log}, argv...)...)
	cmd.Env = env
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	answer, err := cmd.Output()
	if err != nil {
		text, _ := os.ReadFile(log)
		return figures{}, fmt.Errorf("%s: %w: %s\n%s", argv[0], err, strings.TrimSpace(stderr.String()), tail(text))
	}
	var f figures
	return f, json.Unmarshal(answer, &f)
}

func tail(text []byte) []byte { return text[max(0, len(text)-2000):] }

// launch is the launcher: it runs args[1:] with its output in the file args[0]
// and prints what the kernel counted.
func launch(args []string) int {
	f, err := measured(args[0], args[1:])
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(f)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func measured(log string, argv []string) (figures, error) {
	out, err := os.Create(log)
	if err != nil {
		return figures{}, err
	}
	defer out.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	start := time.Now()
	err = cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return figures{}, err
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return figures{}, errors.New("the kernel gave no resource usage")
	}
	cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	return figures{Wall: wall, CPU: cpu, MaxRSS: usage.Maxrss * 1024}, nil
}
