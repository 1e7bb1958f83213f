// SPDX-License-Identifier: Apache-2.0

// Package vm runs a command in a throw-away QEMU guest. The kernel of a build
// machine often has no device mapper, no md, no vfat and no partition scan, and
// its disks are nobody's to try things on; the guest runs Debian's cloud kernel
// in software emulation, with systemd as PID 1 and udevd. It sees the root of
// the host read-only below a tmpfs, so that the tree under test stands at its
// own path and every installed tool is there; a folder is shared read-write at
// /out. It has no network but the loopback.
//
// The tests of this package boot such a guest and run package guest in it. They
// are skipped unless the environment has VM=1, which `make test-vm` sets:
//
//	VM=1         boot a guest and run the cases that are not slow
//	VM_ALL=1     the slow ones too
//	VM_RUN=re    only tests that match, in the form of go test -run
//	VM_SOAK=n    how often the soak test repeats its cases (0: not at all)
//	VM_KEEP=1    keep the folder of the run below bin/vm also when all passed
//
// This package knows nothing of Ignition; what is tested is in package guest.
package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is the hardware of a guest.
type Machine struct {
	MemoryMiB int    // default 3072
	CPUs      int    // default 2
	Disks     []Disk // /dev/vda, /dev/vdb, ...
	TPM       bool   // a TPM 2.0 (swtpm)
	Timeout   time.Duration
	Extra     []string          // more arguments of QEMU
	Files     map[string]string // more files of the guest, by absolute path; overlay those of the host

	// Dir is where logs and the shared folder (Dir/out) stand. It must exist.
	Dir string
}

// Disk is an empty disk; it takes no room on the host until it is written to.
type Disk struct {
	MiB    int
	Sector int    // 512 (the default) or 4096
	Serial string // gives /dev/disk/by-id/virtio-SERIAL
}

// Command is what runs in the guest, as root.
type Command struct {
	Args   []string
	Env    []string // more than PATH and HOME
	Dir    string   // default: /
	Output io.Writer
}

// Result is how a command ended.
type Result struct {
	Status int           // exit status of the command
	Boot   time.Duration // from power-on to the start of the command
	Wall   time.Duration // from power-on to power-off
}

// Out is the host's path of the folder that the guest sees at /out.
func (m Machine) Out() string { return filepath.Join(m.Dir, "out") }

func (m Machine) console() string { return filepath.Join(m.Dir, "console.log") }

// Run boots the machine, runs the command and waits for the power-off. What the
// command writes to stdout and stderr arrives at its Output while it runs. A
// guest that did not come to its end is an error, an exit status is none.
func Run(ctx context.Context, m Machine, c Command) (Result, error) {
	m = m.withDefaults()
	if os.Geteuid() != 0 {
		return Result{}, errors.New("a guest needs root: it sees every file of this machine")
	}
	h, err := lookHost(m, "/")
	if err != nil {
		return Result{}, err
	}
	if err := os.MkdirAll(m.Out(), 0o755); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.Timeout, fmt.Errorf("not finished after %v", m.Timeout))
	defer cancel()
	// The helpers die with the thread that started them, so it must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	g := &guest{Machine: m, host: h}
	defer g.stop()
	if err := g.prepare(ctx, c); err != nil {
		return Result{}, err
	}
	start := time.Now()
	runErr := g.boot(ctx, c.Output)
	res := Result{Wall: time.Since(start)}
	if info, err := os.Stat(filepath.Join(m.Out(), "ready")); err == nil {
		res.Boot = info.ModTime().Sub(start)
	}
	status, err := readStatus(filepath.Join(m.Out(), "status"))
	if err != nil {
		if ctx.Err() != nil {
			runErr = context.Cause(ctx)
		}
		return res, g.failure(errors.Join(runErr, err))
	}
	res.Status = status
	return res, nil
}

func (m Machine) withDefaults() Machine {
	if m.MemoryMiB == 0 {
		m.MemoryMiB = 3072
	}
	if m.CPUs == 0 {
		m.CPUs = 2
	}
	if m.Timeout == 0 {
		m.Timeout = 10 * time.Minute
	}
	return m
}

func readStatus(name string) (int, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return 0, errors.New("the guest left no exit status")
	}
	return strconv.Atoi(strings.TrimSpace(string(raw)))
}

// failure adds to an error what the guest said last and where the rest is.
func (g *guest) failure(err error) error {
	text, readErr := os.ReadFile(g.console())
	if readErr != nil {
		return fmt.Errorf("guest: %w; no console log: %w", err, readErr)
	}
	return fmt.Errorf("guest: %w\nlast lines of %s:\n%s", err, g.console(), lastLines(text, 25))
}

func lastLines(text []byte, n int) string {
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return string(bytes.Join(lines, []byte("\n")))
}
