// SPDX-License-Identifier: Apache-2.0

// Package blackbox drives the built binary: real directory trees, real
// useradd and friends, real servers on the loopback. Tests that need root say
// so and are skipped otherwise.
package blackbox

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is the program under test.
var binary string

func TestMain(m *testing.M) {
	filteredMain()
	os.Exit(func() int {
		syscall.Umask(0o022)
		dir, err := os.MkdirTemp("", "ignition-blackbox-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "ignition")
		build := exec.Command("go", "build", "-trimpath", "-ldflags",
			"-X firstboot.dev/ignition/internal/distro.Version=2.18.0", "-o", binary, "../../cmd/ignition")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the binary: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

// machine is one machine being provisioned: its sysroot and its /run.
type machine struct {
	once bool // no second run of the files stage: the config empties a directory, or a server counts

	free    bool   // the stages are not held to the plan: what comparing costs is counted
	planned func() // called when the plan is made, before the stages run
	t       *testing.T
	dir     string
	root    string
	env     []string
}

// result is what one stage left.
type result struct {
	code   int
	stdout string
	stderr string
	wall   time.Duration
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: useradd and its kin chroot into the sysroot")
	}
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, dir: dir, root: filepath.Join(dir, "sysroot")}
	m.env = []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"IGNITION_SYSTEM_RUNTIME_CONFIG_DIR=" + m.path("run"),
		"IGNITION_SYSTEM_LOCAL_CONFIG_DIR=" + m.path("local"),
		"IGNITION_SYSTEM_CONFIG_DIR=" + m.path("vendor"),
		"IGNITION_KERNEL_CMDLINE_PATH=" + m.path("cmdline"),
		"IGNITION_OEM_LOOKASIDE_DIR=" + m.path("oem"),
		"IGNITION_CONFIG_FILE=" + m.path("config.ign"),
	}
	m.write("cmdline", "root=/dev/vda9 flatcar.first_boot=detected\n")
	m.makeSysroot()
	return m
}

// makeSysroot gives the sysroot what shadow's tools read.
func (m *machine) makeSysroot() {
	for name, text := range map[string]string{
		"etc/passwd":        "root:x:0:0:root:/root:/bin/bash\ncore:x:500:500:CoreOS Admin:/home/core:/bin/bash\n",
		"etc/group":         "root:x:0:\ncore:x:500:\ndocker:x:233:\n",
		"etc/shadow":        "root:*:19000:0:99999:7:::\ncore:*:19000:0:99999:7:::\n",
		"etc/gshadow":       "root:*::\ncore:!::\ndocker:!::\n",
		"etc/login.defs":    "UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\nUSERGROUPS_ENAB yes\nHOME_MODE 0700\nENCRYPT_METHOD SHA512\n",
		"etc/skel/.profile": "# shell\n",
	} {
		m.write(filepath.Join("sysroot", name), text)
	}
	m.must(os.Chmod(filepath.Join(m.root, "etc/shadow"), 0o600))
	m.must(os.Chmod(filepath.Join(m.root, "etc/gshadow"), 0o600))
	m.must(os.MkdirAll(filepath.Join(m.root, "home"), 0o755))
	if os.Geteuid() == 0 {
		m.must(os.MkdirAll(filepath.Join(m.root, "home/core"), 0o700))
		m.must(os.Chown(filepath.Join(m.root, "home/core"), 500, 500))
	}
}

func (m *machine) must(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// write makes a file below the machine's directory, with its parents.
func (m *machine) write(name, text string) {
	m.t.Helper()
	p := m.path(name)
	m.must(os.MkdirAll(filepath.Dir(p), 0o755))
	m.must(os.WriteFile(p, []byte(text), 0o644))
}

func (m *machine) command(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, binary, args...)
	c.Env = m.env
	c.Dir = m.dir
	return c
}

func (m *machine) stageArgs(platform, stage string, more ...string) []string {
	args := []string{
		"--platform=" + platform, "--stage=" + stage, "--root=" + m.root, "--log-to-stdout",
		"--config-cache=" + m.path("run/ignition.json"), "--state-file=" + m.path("run/state"),
		"--neednet=" + m.path("run/neednet"), "--ops-file=" + m.path("run/ops.jsonl"),
	}
	return append(args, more...)
}

// run runs the binary to its end.
func (m *machine) run(args ...string) result {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := m.command(ctx, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	start := time.Now()
	err := c.Run()
	res := result{stdout: out.String(), stderr: errs.String(), wall: time.Since(start)}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		res.code = exit.ExitCode()
	case err != nil:
		m.t.Fatal(err)
	}
	return res
}

// stage runs one stage and wants this exit code.
func (m *machine) stage(code int, platform, stage string, more ...string) result {
	m.t.Helper()
	res := m.run(m.stageArgs(platform, stage, more...)...)
	if res.code != code {
		m.t.Fatalf("stage %s exited with %d, want %d\n%s%s", stage, res.code, code, res.stdout, res.stderr)
	}
	if code == 0 && strings.Contains(res.stdout, "CRITICAL") {
		m.t.Errorf("a successful run logged a critical line:\n%s", res.stdout)
	}
	return res
}

// provision runs fetch and files on a config for platform file.
func (m *machine) provision(config string) result {
	m.t.Helper()
	m.write("config.ign", config)
	planned, hash := m.plan()
	if m.planned != nil {
		m.planned()
	}
	var held []string
	if !m.free {
		held = append(held, "--expect-plan="+hash)
	}
	m.stage(0, "file", "fetch", held...)
	res := m.stage(0, "file", "files", held...)
	if did := strings.Join(m.changes("run/ops.jsonl"), "\n"); did != planned {
		m.t.Errorf("planned:\n%s\ndone:\n%s", planned, did)
	}
	if !m.once {
		m.wantNothingToDo()
	}
	return res
}

// refuse runs fetch, which must pass, and files, which must fail, and returns the latter's result.
// A plan may not know that before, but changes nothing.
func (m *machine) refuse(config string) result {
	m.t.Helper()
	m.write("config.ign", config)
	if foreseen, hash := m.plan(); hash == "" && !strings.Contains(foreseen, "there is no plan for this config") {
		m.t.Errorf("no plan, and not why: %s", foreseen)
	}
	m.stage(0, "file", "fetch")
	return m.stage(1, "file", "files")
}

func (m *machine) read(name string) string {
	m.t.Helper()
	raw, err := os.ReadFile(m.path(name))
	m.must(err)
	return string(raw)
}

func (m *machine) exists(name string) bool {
	_, err := os.Lstat(m.path(name))
	return err == nil
}

// wantNode checks type and permission, owner and group of a node in the sysroot.
func (m *machine) wantNode(name, mode string, uid, gid uint32) {
	m.t.Helper()
	info, err := os.Lstat(filepath.Join(m.root, name))
	m.must(err)
	st := info.Sys().(*syscall.Stat_t)
	if got := info.Mode().String(); got != mode || st.Uid != uid || st.Gid != gid {
		m.t.Errorf("%s is %s %d:%d, want %s %d:%d", name, got, st.Uid, st.Gid, mode, uid, gid)
	}
}

// wantFile checks the content of a file in the sysroot.
func (m *machine) wantFile(name, text string) {
	m.t.Helper()
	if got := m.read(filepath.Join("sysroot", name)); got != text {
		m.t.Errorf("%s holds %q, want %q", name, got, text)
	}
}

func wantLine(t *testing.T, text, line string) {
	t.Helper()
	for _, l := range strings.Split(text, "\n") {
		if l == line {
			return
		}
	}
	t.Errorf("no line %q in:\n%s", line, text)
}

func wantText(t *testing.T, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Errorf("no %q in:\n%s", part, text)
	}
}

func wantNoText(t *testing.T, text, part string) {
	t.Helper()
	if strings.Contains(text, part) {
		t.Errorf("%q must not be in:\n%s", part, text)
	}
}

// snapshot describes every node of a tree: path, type and mode, owner, content or target.
func snapshot(t *testing.T, root string, skip func(rel string) bool) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		if skip != nil && skip(rel) {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&out, "%s %s %d:%d", rel, info.Mode(), st.Uid, st.Gid)
		switch {
		case info.Mode().IsRegular():
			raw, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if len(raw) > 200 {
				raw = fmt.Appendf(nil, "%d bytes, %x", len(raw), sha256.Sum256(raw))
			}
			fmt.Fprintf(&out, " %q", raw)
		case info.Mode()&fs.ModeSymlink != 0:
			target, _ := os.Readlink(p)
			fmt.Fprintf(&out, " -> %s", target)
		}
		out.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// wantNoLeftovers fails if the program left a temporary name in the sysroot.
func (m *machine) wantNoLeftovers() {
	m.t.Helper()
	_ = filepath.WalkDir(m.root, func(p string, _ fs.DirEntry, _ error) error {
		base := filepath.Base(p)
		if strings.HasPrefix(base, ".ignition-") && base != ".ignition-result.json" {
			m.t.Errorf("left over: %s", p)
		}
		return nil
	})
}
