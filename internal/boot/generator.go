// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Names of units that the generator links.
const (
	completeTarget          = "ignition-complete.target"
	diskfulTarget           = "ignition-diskful.target"
	subsequentTarget        = "ignition-subsequent.target"
	diskfulSubsequentTarget = "ignition-diskful-subsequent.target"
	quenchUnit              = "ignition-quench.service"
	failedUnit              = "ignition-generator-failed.service"

	initrdTarget = "initrd.target"
	parseEtc     = "initrd-parse-etc.service" // what follows it ends the initramfs
)

// envFile is where the units find the platform.
const envFile = "/run/ignition.env"

// generatorError keeps the reason for the unit that fails with it.
const generatorError = "generator.error"

// link is a requirement that one unit gets of another.
type link struct{ from, to string }

// links are the requirements of this boot. What initrd-parse-etc requires is not
// left behind half done: it starts the switch to the real root.
func links(r Request, live bool) []link {
	if !r.First {
		out := []link{{initrdTarget, subsequentTarget}}
		if !live {
			out = append(out, link{subsequentTarget, diskfulSubsequentTarget})
		}
		return out
	}
	out := []link{
		{initrdTarget, completeTarget},
		{parseEtc, "ignition-files.service"},
		{parseEtc, "ignition-presets.service"},
	}
	if !live {
		out = append(out, link{completeTarget, diskfulTarget}, link{completeTarget, quenchUnit}, link{parseEtc, quenchUnit})
	}
	return out
}

// Generate writes links and drop-ins for systemd into dir, and the environment
// file of the units. An error while a first boot is asked for makes a boot that
// fails with the reason, since a generator that fails is not noticed.
func (e *Env) Generate(ctx context.Context, dir string) error {
	cmdline, err := e.CommandLine()
	if err != nil {
		return failClosed(dir, e, fmt.Errorf("reading the kernel command line: %w", err))
	}
	r := ParseRequest(cmdline)
	id, idErr := platformID(cmdline, func() string { return e.virt(ctx) })
	if idErr != nil && r.First {
		return failClosed(dir, e, idErr)
	}
	if err := e.writeEnvironment(id); err != nil {
		// ignition-setup writes it again, where generators may write to their own folders only.
		e.Log.Info("generator: %v", err)
	}
	all := links(r, e.IsLive(ctx))
	if err := e.wantNetwork(dir, words(cmdline)); err != nil {
		e.Log.Warning("generator: %v", err)
	}
	if err := writeLinks(dir, all); err != nil {
		if r.First {
			return failClosed(dir, e, err)
		}
		return err
	}
	if r.First && id == "aws" {
		// A machine whose provisioning failed must fail the instance status check too.
		text := "[Unit]\nConflicts=emergency.target emergency.service dracut-emergency.service\n"
		return replace(filepath.Join(dir, "systemd-networkd.service.d", "10-conflict-emergency.conf"), []byte(text), 0o644)
	}
	return nil
}

// wantNetwork starts networkd at once where the root needs it; the module keeps
// it from being started otherwise.
func (e *Env) wantNetwork(dir string, w map[string]string) error {
	if !netRoot(w) && !isTrue(w["rd.neednet"]) {
		return nil
	}
	name := filepath.Join(dir, initrdTarget+".wants", "systemd-networkd.service")
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	err := os.Symlink("/usr/lib/systemd/system/systemd-networkd.service", name)
	if errors.Is(err, os.ErrExist) {
		return nil
	}
	return err
}

func (e *Env) writeEnvironment(id string) error {
	return replace(e.at(envFile), fmt.Appendf(nil, "OEM_ID=%s\nPLATFORM_ID=%s\n", id, id), 0o644)
}

func writeLinks(dir string, all []link) error {
	for _, l := range all {
		name := filepath.Join(dir, l.from+".requires", l.to)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("../"+l.to, name); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}

// failClosed makes the boot fail at a unit that says why.
func failClosed(dir string, e *Env, cause error) error {
	e.Log.Crit("generator: %v", cause)
	return errors.Join(
		writeLinks(dir, []link{{initrdTarget, failedUnit}, {parseEtc, failedUnit}}),
		replace(e.run(generatorError), []byte(cause.Error()+"\n"), 0o644),
	)
}

// GeneratorFailed is the error of a generator that could not do its work.
func (e *Env) GeneratorFailed() error {
	raw, err := os.ReadFile(e.run(generatorError))
	if err != nil {
		return errors.New("the first-boot generator failed; its own lines are in the kernel's log (dmesg)")
	}
	reasons := lines(raw)
	if len(reasons) == 0 {
		return errors.New("the first-boot generator failed")
	}
	return errors.New(reasons[0])
}
