// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

const (
	failureFile = "failure.json"          // below /run/ignition, of this boot
	earlierFile = "earlier-failure.json"  // below /run/ignition, of an earlier boot
	keptFile    = "ignition-failure.json" // on the partition that keeps it
)

// keeper is where the first failure of a machine is kept: beside the first-boot
// flag where that is on a partition.
func (e *Env) keepers(r Request) []imported {
	var out []imported
	if r.Detected {
		out = append(out, imported{"EFI-SYSTEM", path.Join("flatcar", keptFile), ""})
	}
	return append(out, imported{"boot", keptFile, ""}, imported{"OEM", keptFile, ""})
}

// earlierFiles are kept failures below the top of a filesystem.
func (e *Env) earlierFiles(dir string) []string {
	var out []string
	for _, name := range []string{path.Join("flatcar", keptFile), keptFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			out = append(out, name)
		}
	}
	return out
}

// noteEarlier copies a kept failure to where the report finds it.
func (e *Env) noteEarlier(dir, label string) {
	for _, name := range e.earlierFiles(dir) {
		f, err := oplog.ReadFailure(filepath.Join(dir, name))
		if err == nil {
			err = oplog.WriteFailure(e.run(earlierFile), f)
		}
		if err != nil {
			e.Log.Warning("an earlier run failed, but its record on the filesystem labelled %q cannot be read: %v", label, err)
			continue
		}
		e.Log.Notice("a first run failed at %s: %s", f.End.Format(time.RFC3339), f.Error)
	}
}

// Failed tells what failed in this boot: what a stage left, else what systemd
// and the journal know of a failed unit. ok is false when nothing of ours failed.
func (e *Env) failed(ctx context.Context) (f oplog.Failure, units []string, ok bool) {
	units = e.failedUnits(ctx)
	f, err := oplog.ReadFailure(e.run(failureFile))
	if err == nil {
		return f, units, true
	}
	if !errors.Is(err, fs.ErrNotExist) {
		e.Log.Warning("the record of the failure: %v", err)
	}
	for _, u := range units {
		name, ours := strings.CutPrefix(u, "ignition-")
		if !ours {
			continue
		}
		f = oplog.Failure{Stage: strings.TrimSuffix(name, ".service"), Version: e.Version, Boot: e.BootID, End: time.Now().UTC().Round(0)}
		f.Error = "unit " + u + " failed"
		if tail := e.journal(ctx, 5, "-u", u); len(tail) > 0 {
			f.Error = strings.Join(tail, "\n")
		}
		return f, units, true
	}
	return f, units, false
}

func (e *Env) failedUnits(ctx context.Context) []string {
	res, err := e.runner().Run(ctx, exec.Cmd{Name: "systemctl", Args: []string{"list-units", "--failed", "--plain", "--no-legend", "--no-pager"}})
	if err != nil {
		e.Log.Warning("asking for failed units: %v", err)
	}
	var out []string
	for _, l := range lines(res.Stdout) {
		out = append(out, strings.Fields(l)[0])
	}
	return out
}

// journal gives the last lines of the journal of this boot that a filter takes.
func (e *Env) journal(ctx context.Context, n int, filter ...string) []string {
	args := append([]string{"-b", "--no-pager", "-o", "cat", "-n", fmt.Sprint(n)}, filter...)
	res, _ := e.runner().Run(ctx, exec.Cmd{Name: "journalctl", Args: args})
	return lines(res.Stdout)
}

// Report shows a failure on every console, keeps it for the next boot, hands
// the journal to a test harness and the outcome to whom it was asked for. Each
// of these may fail without keeping the others from being done. ours is false
// when the emergency is none of ours.
func (e *Env) Report(ctx context.Context) (ours bool, err error) {
	f, units, ok := e.failed(ctx)
	if !ok {
		return false, e.dumpJournal(ctx)
	}
	var errs []error
	cmdline, err := e.CommandLine()
	errs = append(errs, err)
	r := ParseRequest(cmdline)
	s := screen{failure: f, units: units, log: e.journal(ctx, 10, "-t", "ignition", "-p", "warning")}
	if earlier, err := oplog.ReadFailure(e.run(earlierFile)); err == nil {
		s.earlier = &earlier
	} else {
		s.kept, err = e.keep(ctx, f, r)
		errs = append(errs, err)
	}
	s.action = action(words(cmdline), r)
	errs = append(errs, e.show(s.text()), e.dumpJournal(ctx), e.Post(ctx, OutcomeFailure, &f))
	return true, errors.Join(errs...)
}

// keep writes the failure to a partition that the next boot looks at.
func (e *Env) keep(ctx context.Context, f oplog.Failure, r Request) (where string, err error) {
	if e.IsLive(ctx) {
		return "", nil
	}
	for _, k := range e.keepers(r) {
		device := e.labelled(k.label)
		if device == "" {
			continue
		}
		dir, unmount, merr := e.mount(ctx, "keeping the failure for the next boot", device, true)
		if merr != nil {
			err = errors.Join(err, merr)
			continue
		}
		name := filepath.Join(dir, k.from)
		werr := os.MkdirAll(filepath.Dir(name), 0o755)
		if werr == nil {
			werr = oplog.WriteFailure(name, f)
		}
		if werr = errors.Join(werr, unmount()); werr == nil {
			return fmt.Sprintf("%s of the filesystem labelled %q", k.from, k.label), nil
		}
		err = errors.Join(err, werr)
	}
	if err != nil {
		err = fmt.Errorf("keeping the failure for the next boot: %w", err)
	}
	return "", err
}

// dumpJournal writes the journal to the port that a test harness listens at.
func (e *Env) dumpJournal(ctx context.Context) error {
	port := e.at("/dev/virtio-ports/com.coreos.ignition.journal")
	out, err := os.OpenFile(port, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer out.Close()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := e.runner().Stream(ctx, exec.Cmd{Name: "journalctl", Args: []string{"-b", "--no-pager", "-o", "json"}}, out); err != nil {
		return fmt.Errorf("handing out the journal: %w", err)
	}
	_, err = io.WriteString(out, "{}\n")
	return err
}

// Actions of ignition.emergency.
const (
	ActionShell    = "shell"
	ActionReboot   = "reboot"
	ActionPoweroff = "poweroff"
	ActionPrompt   = "prompt" // a shell for who presses Enter, a reboot for nobody
)

// action is what happens after the report. Flatcar's images are known to reboot
// after a while and others to wait.
func action(w map[string]string, r Request) string {
	switch v := w["ignition.emergency"]; v {
	case ActionShell, ActionReboot, ActionPoweroff:
		return v
	}
	if r.Flatcar {
		return ActionPrompt
	}
	return ActionShell
}
