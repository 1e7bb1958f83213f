// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"firstboot.dev/ignition/internal/exec"
)

// Kargs are the wishes of a config about kernel arguments.
type Kargs struct {
	Should    []string `json:"shouldExist,omitempty"`
	ShouldNot []string `json:"shouldNotExist,omitempty"`
}

// holds tells whether arguments are as wished.
func (k Kargs) holds(args []string) bool {
	for _, a := range k.Should {
		if !slices.Contains(args, a) {
			return false
		}
	}
	return !slices.ContainsFunc(k.ShouldNot, func(a string) bool { return slices.Contains(args, a) })
}

// apply appends what is missing and removes what is not wanted. The others keep
// their order.
func (k Kargs) apply(args []string) []string {
	out := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return slices.Contains(k.ShouldNot, a) })
	for _, a := range k.Should {
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// stamp lies beside the boot loader's configuration that was changed.
type stamp struct {
	Kargs
	Boot string `json:"boot"`
}

const stampFile = "ignition-kargs.stamp"

// Texts of what stops a boot here.
var (
	errLiveKargs = errors.New("need to modify kernel arguments, but cannot affect live system")
	errNoEntries = errors.New("found no boot configuration that can be changed: there is no OEM partition with grub.cfg, and neither the filesystem labelled \"boot\" " +
		"nor /boot of the root has loader/entries, grub.cfg or grubenv with kernelopts, or ignition-kargs; set the arguments in the image, or remove kernelArguments from the config")
)

// ChangeKargs makes kernel arguments what the config wishes, and reboots when
// the running kernel has others. It does not return then.
func (e *Env) ChangeKargs(ctx context.Context, k Kargs) error {
	cmdline, err := e.CommandLine()
	if err != nil {
		return fmt.Errorf("reading the kernel command line: %w", err)
	}
	active := k.holds(splitArgs(cmdline))
	if e.IsLive(ctx) {
		if !active {
			return errLiveKargs
		}
		return nil
	}
	r := ParseRequest(cmdline)
	found, changed := false, false
	for _, place := range e.places(r, cmdline) {
		found, changed, err = e.changeAt(ctx, place, k, active)
		if err != nil {
			return fmt.Errorf("boot configuration on %s: %w", place.name, err)
		}
		if found {
			break
		}
	}
	switch {
	case active:
		return nil
	case !found:
		return errNoEntries
	case !changed:
		return fmt.Errorf("the kernel arguments are in the boot configuration but not active, so a reboot would not help: wanted %s, unwanted %s; "+
			"the boot loader may not apply them (Secure Boot, another configuration, arguments set elsewhere)", quotedList(k.Should), quotedList(k.ShouldNot))
	}
	if r.Flatcar {
		if err := e.keepFlag(ctx); err != nil {
			return fmt.Errorf("keeping the first-boot flag for the next boot: %w", err)
		}
	}
	return e.reboot(ctx)
}

// place is a filesystem that may hold boot configuration.
type place struct {
	name, device string
	dir          string // below the top of the filesystem
	oem          bool   // Flatcar's partition: only its grub.cfg counts
}

func (e *Env) places(r Request, cmdline string) []place {
	var out []place
	if oem := e.labelled("OEM"); oem != "" && (r.Flatcar || words(cmdline)["flatcar.oem.id"] != "") {
		out = append(out, place{`the filesystem labelled "OEM"`, oem, "", true})
	}
	if boot := e.labelled("boot"); boot != "" {
		out = append(out, place{`the filesystem labelled "boot"`, boot, "", false})
	}
	if root := rootDevice(words(cmdline)); root != "" {
		if _, err := os.Stat(e.at(root)); err == nil {
			out = append(out, place{"the root filesystem", e.at(root), "boot", false})
		}
	}
	return out
}

// changeAt changes the configuration of one place, if it has any.
func (e *Env) changeAt(ctx context.Context, p place, k Kargs, active bool) (found, changed bool, err error) {
	dir, unmount, err := e.mount(ctx, "changing kernel arguments on "+p.name, p.device, true)
	if err != nil {
		return false, false, err
	}
	defer func() { err = errors.Join(err, unmount()) }()
	base := filepath.Join(dir, p.dir)
	var edits []edit
	for _, b := range backEnds {
		if b.oem != p.oem {
			continue
		}
		if edits, err = b.edits(base, k); err != nil || len(edits) > 0 {
			break
		}
	}
	if err != nil || len(edits) == 0 {
		return false, false, err
	}
	mark := filepath.Join(base, stampFile)
	changed = slices.ContainsFunc(edits, func(d edit) bool { return d.changed })
	if changed && !active {
		if err := e.checkStamp(mark, k); err != nil {
			return true, false, err
		}
	}
	for _, d := range edits {
		if d.changed {
			e.Log.Info("kernel arguments: changing %s on %s", d.name, p.name)
			if err := rewrite(filepath.Join(base, d.name), d.content); err != nil {
				return true, false, err
			}
		}
	}
	if active {
		err = os.Remove(mark)
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		return true, changed, err
	}
	if changed { // after the entries: a stamp says that they were written
		raw, err := json.Marshal(stamp{k, e.BootID})
		if err == nil {
			err = rewrite(mark, append(raw, '\n'))
		}
		if err != nil {
			return true, false, err
		}
	}
	return true, changed, nil
}

// checkStamp refuses to change again what an earlier boot changed in the same way.
func (e *Env) checkStamp(name string, k Kargs) error {
	raw, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var s stamp
	if err == nil {
		err = json.Unmarshal(raw, &s)
	}
	if err != nil {
		e.Log.Warning("%s cannot be read and is taken for none: %v", stampFile, err)
		return nil
	}
	if slices.Equal(s.Should, k.Should) && slices.Equal(s.ShouldNot, k.ShouldNot) && s.Boot != e.BootID {
		return fmt.Errorf("these kernel arguments were written before a reboot and are gone again: something else writes the boot configuration; remove %s to try again", stampFile)
	}
	return nil
}

// keepFlag makes sure that the next boot is a first boot too, also when this
// one was forced by hand.
func (e *Env) keepFlag(ctx context.Context) (err error) {
	esp := e.labelled("EFI-SYSTEM")
	if esp == "" {
		e.Log.Warning("no filesystem is labelled EFI-SYSTEM: whether the next boot is a first boot again is for the boot loader to say")
		return nil
	}
	dir, unmount, err := e.mount(ctx, "keeping the first-boot flag", esp, true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmount()) }()
	if len(flags(dir)) > 0 {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(dir, "flatcar"), 0o755); err != nil {
		return err
	}
	return rewrite(filepath.Join(dir, flatcarFlag), []byte("boot again after a change of kernel arguments\n"))
}

// reboot does so at once: an orderly one would let the stages that follow run
// beside the shutdown.
func (e *Env) reboot(ctx context.Context) error {
	e.Log.Notice("rebooting to make changed kernel arguments active")
	if _, err := e.runner().Run(ctx, exec.Cmd{Name: "systemctl", Args: []string{"reboot", "--force"}}); err != nil {
		return fmt.Errorf("rebooting: %w", err)
	}
	select {
	case <-ctx.Done():
		return errors.New("the machine is rebooting")
	case <-time.After(rebootTime):
		return fmt.Errorf("the machine did not reboot in %v", rebootTime)
	}
}

// rebootTime is how long a forced reboot may take. It is a variable for tests.
var rebootTime = 2 * time.Minute
