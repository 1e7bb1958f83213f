// SPDX-License-Identifier: Apache-2.0

// Command compare measures two builds of the program side by side: this one
// and an older one that follows the same command line. Both get the same
// configs, a fresh tree and state for each run, and take turns, so that a slow
// moment of the machine falls on both. What is measured is the whole process:
// wall time, CPU time and peak memory as the kernel counts them. Each run is
// checked for its result before its figures count. Medians, ratios and the bars
// of the project are printed; all single figures go to a JSON file.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == launchVerb {
		os.Exit(launch(os.Args[2:]))
	}
	var o options
	flag.StringVar(&o.ours, "ours", "bin/ignition", "this build")
	flag.StringVar(&o.older, "older", "", "the build to compare with")
	flag.StringVar(&o.dir, "dir", os.TempDir(), "where the scratch trees are made; decides which disk is measured")
	flag.StringVar(&o.out, "out", "", "also write every figure as JSON to this file")
	flag.StringVar(&o.only, "only", "", "run only the workload of this name")
	flag.IntVar(&o.runs, "runs", 0, "runs of each program; 0 means what the workload says")
	flag.BoolVar(&o.quick, "quick", false, "small sizes and two runs: shows that it works, not how fast it is")
	flag.Parse()
	if o.older == "" || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := compare(o); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

type options struct {
	ours, older    string
	dir, out, only string
	runs           int
	quick          bool
}

// report is what ends up in the JSON file.
type report struct {
	Quick       bool
	MemoryFloor int64
	Workloads   []outcome
}

// outcome is one workload's figures by program.
type outcome struct {
	Name, About string
	Figures     map[string][]figures
}

func compare(o options) error {
	scratch, err := os.MkdirTemp(o.dir, "compare-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	programs, err := findPrograms(o, scratch)
	if err != nil {
		return err
	}
	sizes := fullSizes
	if o.quick {
		sizes = quickSizes
	}
	server, err := startServer(sizes)
	if err != nil {
		return err
	}
	defer server.close()

	floor, err := run([]string{"/bin/true"}, nil, filepath.Join(scratch, "floor.log"))
	if err != nil {
		return err
	}
	fmt.Printf("peak memory is read with a floor of %.1f MiB: that of the process that starts the programs\n", mib(floor.MaxRSS))

	rep := report{Quick: o.quick, MemoryFloor: floor.MaxRSS}
	for _, w := range workloads(sizes, server) {
		if o.only != "" && o.only != w.name {
			continue
		}
		out, err := w.measure(programs, scratch, runsOf(o, w))
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		printOutcome(os.Stdout, out, w.bars, o.quick)
		rep.Workloads = append(rep.Workloads, out)
	}
	if len(rep.Workloads) == 0 {
		return fmt.Errorf("no workload is named %q", o.only)
	}
	return writeReport(o.out, rep)
}

func runsOf(o options, w workload) int {
	switch {
	case o.runs > 0:
		return o.runs
	case o.quick:
		return 2
	}
	return w.runs
}

func writeReport(path string, rep report) error {
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(rep, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
