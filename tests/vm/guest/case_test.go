// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Case is one machine before and after a run of the stages. Shell lines run
// under bash -euo pipefail as root. They, the config and Error may say
//
//	$D0 $D1 ...     the disks of the case (/dev/vda, ...; write ${D0}1 for a partition)
//	$ID0 $ID1 ...   the same by serial number (/dev/disk/by-id/virtio-...)
//	$CASE           a folder of the case; $CASE/sysroot is the --root of the stages
//	$IGNITION       the binary under test (shell lines)
//	$DISKS          all disks of the case, with spaces between (shell lines)
//	and what Vars gives
type Case struct {
	Name   string
	Disks  []int                                // which of wantDisks; they are blank when the case starts
	Vars   func(t *testing.T) map[string]string // values that are known at run time only
	Root   string                               // shell lines that fill $CASE/sysroot, which has an empty /etc
	Before string                               // shell lines that make the state to start from

	Config   string        // Ignition config
	Platform string        // that has the config, if not Config
	Stages   []string      // default: defaultStages; []string{} for none
	Fails    string        // the stage that must fail; "" if all must pass
	Error    []string      // what the output of the failing stage must contain
	Within   time.Duration // longest time that all stages together may take

	Critical []string                     // parts of CRITICAL lines that may be there although all passed
	Keep     []string                     // devices whose whole content must be the same after the stages
	After    string                       // shell lines that verify
	Want     string                       // what After must print to stdout; "" for whatever
	Check    func(t *testing.T, r Result) // for what shell lines cannot say

	Again   bool   // a second run after a reboot must pass and leave tables and superblocks as they are
	Between string // shell lines before that second run (assemble an array, for instance)
	Slow    bool   // only with `make test-vm-all`
}

var defaultStages = []string{"fetch", "disks", "mount", "files", "umount"}

// Result is what Check functions look at.
type Result struct {
	Stages []StageRun // those that ran, of the first run
	After  string     // what After printed
	env    *env

	finished bool // the machine was finished by an earlier run
}

// StageRun is one run of the binary.
type StageRun struct {
	Name   string
	Output string // stdout and stderr
	Code   int
	Wall   time.Duration
}

// Output is what the stages said, one after the other.
func (r Result) Output() string {
	var b strings.Builder
	for _, s := range r.Stages {
		b.WriteString(s.Output)
	}
	return b.String()
}

// runCases runs each case as a subtest.
func runCases(t *testing.T, cases []Case) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) { c.run(t) })
	}
}

func (c Case) run(t *testing.T) {
	if c.Slow && os.Getenv("VM_ALL") == "" {
		t.Skip("slow: runs with `make test-vm-all`")
	}
	e := newEnv(t, c.Disks)
	e.platform = c.Platform
	reset(t, e, c.Disks)
	for _, i := range c.Disks {
		dirty[i] = true
	}
	r, second := Result{env: e}, Result{env: e}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s%s", c.report(r, second), lookAround(e))
		}
		reset(t, e, c.Disks)
	})
	if c.Vars != nil {
		maps.Copy(e.vars, c.Vars(t))
	}
	if err := os.MkdirAll(e.path("sysroot/etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if c.Root+c.Before != "" {
		e.must(t, "Root and Before", c.Root+"\n"+c.Before+"\nudevadm settle")
	}
	before := hashAll(t, e, c.Keep)

	c.runStages(t, e, &r)
	if t.Failed() {
		return
	}
	if after := hashAll(t, e, c.Keep); before != after {
		t.Errorf("what had to be kept was changed:\n%s", differences(before, after))
	}
	r.After = e.must(t, "After", c.After)
	if c.Want != "" && strings.TrimSpace(r.After) != strings.TrimSpace(e.expand(c.Want)) {
		t.Errorf("After printed\n%s\nwant\n%s", r.After, e.expand(c.Want))
	}
	if c.Check != nil {
		c.Check(t, r)
	}
	if c.Again && !t.Failed() {
		c.again(t, e, &second)
	}
}

// runStages runs the binary once per stage, from fresh state.
func (c Case) runStages(t *testing.T, e *env, r *Result) {
	t.Helper()
	stages := c.Stages
	if stages == nil {
		stages = defaultStages
	}
	if len(stages) == 0 {
		return
	}
	if err := errors.Join(os.RemoveAll("/run/ignition"), os.RemoveAll("/run/ignition.json"),
		os.WriteFile(e.path("config.ign"), []byte(e.expand(c.Config)), 0o600)); err != nil {
		t.Fatal(err)
	}
	var plan planned
	if c.plans(stages) {
		plan = e.plan(t, "live")
		if c.Again { // few cases: describing all disks takes its time
			e.wantFacts(t, plan)
		}
		if r.finished && !strings.Contains(c.Config, `"wipe`) && len(plan.sure) > 0 {
			t.Errorf("the plan of a finished machine has %q", plan.sure)
		}
	}
	var total time.Duration
	for _, name := range stages {
		var held []string
		if plan.hash != "" && len(plan.perhaps) == 0 { // what was not known is not what was planned
			held = []string{"--expect-plan=" + plan.hash}
		}
		s := e.stage(t, name, held...)
		r.Stages = append(r.Stages, s)
		total += s.Wall
		t.Logf("stage %s: %.2f s, exit status %d", name, s.Wall.Seconds(), s.Code)
		if name == c.Fails || s.Code != 0 {
			break
		}
	}
	for _, problem := range c.verdict(r.Stages, e.expand) {
		t.Error(problem)
	}
	if c.plans(stages) && !t.Failed() {
		plan.wantDone(t)
	}
	if c.Within > 0 && total > c.Within {
		t.Errorf("the stages took %v, want at most %v", total, c.Within)
	}
}

// plans tells whether the case is one whose plan can be compared with what is
// done: one that passes, with the disks stage in it.
func (c Case) plans(stages []string) bool {
	return c.Fails == "" && slices.Contains(stages, "disks")
}

// verdict compares how the stages ended with how they should; nothing is good.
func (c Case) verdict(stages []StageRun, expand func(string) string) []string {
	last := stages[len(stages)-1]
	switch {
	case c.Fails == "" && last.Code != 0:
		return []string{"stage " + last.Name + " failed"}
	case c.Fails != "" && last.Name != c.Fails:
		return []string{fmt.Sprintf("stage %s was the last one (exit status %d), want %s to fail", last.Name, last.Code, c.Fails)}
	case c.Fails != "" && last.Code == 0:
		return []string{"stage " + last.Name + " passed, want it to fail"}
	}
	var out []string
	for _, text := range c.Error {
		if !strings.Contains(last.Output, expand(text)) {
			out = append(out, fmt.Sprintf("stage %s did not say %q", last.Name, expand(text)))
		}
	}
	if c.Fails != "" {
		return out
	}
	for _, s := range stages {
		for line := range strings.Lines(s.Output) {
			allowed := slices.ContainsFunc(c.Critical, func(part string) bool { return strings.Contains(line, expand(part)) })
			if strings.Contains(line, "CRITICAL") && !allowed {
				out = append(out, "a run that passed logged a critical line: "+line)
			}
		}
	}
	return out
}

// again runs the stages on what the first run left, as a machine does that was
// cut off before its first boot was noted as done.
func (c Case) again(t *testing.T, e *env, r *Result) {
	t.Helper()
	stages := c.Stages
	if stages == nil {
		stages = defaultStages
	}
	mounted := slices.Contains(stages, "mount")
	powerCut(e.dir)
	e.must(t, "settling", "udevadm settle")
	first, err := identity(e, mounted)
	if err != nil {
		t.Fatal(err)
	}
	e.must(t, "Between", c.Between)
	r.finished = c.Between == ""
	c.runStages(t, e, r)
	powerCut(e.dir)
	e.must(t, "settling", "udevadm settle")
	after, err := identity(e, mounted)
	if err != nil {
		t.Fatal(err)
	}
	if first != after {
		t.Errorf("the second run changed the disks:\n%s", differences(first, after))
	}
}

// report is what a reader of a failure needs first.
func (c Case) report(first, second Result) string {
	var b strings.Builder
	if c.Config != "" {
		fmt.Fprintf(&b, "--- config\n%s\n", first.env.expand(c.Config))
	}
	for i, r := range []Result{first, second} {
		for _, s := range r.Stages {
			fmt.Fprintf(&b, "--- run %d, stage %s, exit status %d\n%s", i+1, s.Name, s.Code, s.Output)
		}
	}
	return b.String()
}

func hashAll(t *testing.T, e *env, devices []string) string {
	t.Helper()
	var b strings.Builder
	for _, d := range devices {
		h, err := contentHash(e.expand(d))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, e.expand(d), h)
	}
	return b.String()
}

// env is where the shell lines and stages of one case run.
type env struct {
	dir      string
	platform string // "" = file
	disks    []string
	vars     map[string]string
	limit    time.Duration // of one call of bash
}

func newEnv(t *testing.T, disks []int) *env {
	t.Helper()
	e := &env{dir: t.TempDir(), vars: map[string]string{}, limit: 5 * time.Minute}
	all := guestDisks(t)
	for n, i := range disks {
		if i >= len(all) {
			t.Fatalf("the guest has no disk %d", i)
		}
		e.disks = append(e.disks, all[i])
		e.vars[fmt.Sprintf("D%d", n)] = all[i]
		e.vars[fmt.Sprintf("ID%d", n)] = "/dev/disk/by-id/virtio-" + serial(i)
	}
	e.vars["CASE"] = e.dir
	return e
}

func (e *env) path(name string) string { return filepath.Join(e.dir, name) }

// with is the same place with one more variable.
func (e *env) with(name, value string) *env {
	out := *e
	out.vars = maps.Clone(e.vars)
	out.vars[name] = value
	return &out
}

var variable = regexp.MustCompile(`\$(?:([A-Za-z_][A-Za-z0-9_]*)|\{([A-Za-z_][A-Za-z0-9_]*)\})`)

// expand replaces the names of the case and leaves every other dollar sign alone.
func (e *env) expand(text string) string {
	return variable.ReplaceAllStringFunc(text, func(m string) string {
		if v, ok := e.vars[strings.Trim(m, "${}")]; ok {
			return v
		}
		return m
	})
}

func (e *env) environ() []string {
	out := append(os.Environ(), "IGNITION="+ignition, "DISKS="+strings.Join(e.disks, " "))
	for _, name := range slices.Sorted(maps.Keys(e.vars)) {
		out = append(out, name+"="+e.vars[name])
	}
	return out
}

// shared is a buffer that two streams are written to.
type shared struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *shared) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

// bash runs shell lines and gives back what they wrote, to stdout and to either.
func (e *env) bash(lines string) (stdout, all string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), e.limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", lines)
	cmd.Env, cmd.Dir = e.environ(), e.dir
	cmd.WaitDelay = 2 * time.Second // a daemon that they started may hold the pipe
	var out bytes.Buffer
	var both shared
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, &both), &both
	err = cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("not finished after %v: %w", e.limit, err)
	}
	return out.String(), both.buf.String(), err
}

// must runs shell lines that may not fail and gives back their stdout.
func (e *env) must(t *testing.T, what, lines string) string {
	t.Helper()
	if strings.TrimSpace(lines) == "" {
		return ""
	}
	out, all, err := e.bash(lines)
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) {
		t.Fatalf("%s: %v\n%s\nit printed:\n%s", what, err, strings.TrimSpace(lines), all)
	}
	return out
}

// stage runs one stage of the binary under test.
func (e *env) stage(t *testing.T, name string, more ...string) StageRun {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), e.limit)
	defer cancel()
	args := []string{"--platform=" + cmp.Or(e.platform, "file"), "--stage=" + name, "--root=" + e.path("sysroot"), "--log-to-stdout"}
	cmd := exec.CommandContext(ctx, ignition, append(args, more...)...)
	cmd.Env = append(e.environ(), "IGNITION_CONFIG_FILE="+e.path("config.ign"))
	cmd.Dir = e.dir
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 2 * time.Second
	start := time.Now()
	err := cmd.Run()
	s := StageRun{Name: name, Output: out.String(), Wall: time.Since(start)}
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		s.Code = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("stage %s: %v\n%s", name, err, s.Output)
	}
	if ctx.Err() != nil {
		t.Fatalf("stage %s: not finished after %v\n%s", name, e.limit, s.Output)
	}
	return s
}
