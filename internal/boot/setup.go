// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/exec"
)

// imported is a config file that an image may bring along.
type imported struct {
	label string // of the filesystem; "" is the initramfs itself
	from  string
	to    string // below /run/ignition
}

// imports, those that are taken first first. A config of the image's own wins
// over what the platform hands out, as it always did.
var imports = []imported{
	{"", "/config.ign", "user.ign"},
	{"boot", "ignition/config.ign", "user.ign"},
	{"OEM", "config.ign", "user.ign"},
	{"OEM", "base/base.ign", "base.d/base.ign"},
}

// maxConfig bounds what is copied: a config is kept in memory.
const maxConfig = 64 << 20

// Setup writes the environment file of the units and copies configs that the
// initramfs, a boot partition or an OEM partition brings to where the stages
// look for them. No partition has to exist.
func (e *Env) Setup(ctx context.Context) error {
	cmdline, err := e.CommandLine()
	if err != nil {
		return fmt.Errorf("reading the kernel command line: %w", err)
	}
	id, err := platformID(cmdline, func() string { return e.virt(ctx) })
	if err != nil {
		return err
	}
	if err := e.writeEnvironment(id); err != nil {
		return fmt.Errorf("writing %s: %w", envFile, err)
	}
	live := e.IsLive(ctx)
	if !live {
		e.settle(ctx, cmdline)
	}
	labels := []string{""}
	if !live {
		labels = append(labels, "boot", "OEM")
		if ParseRequest(cmdline).Detected {
			labels = append(labels, "EFI-SYSTEM") // for the failure of an earlier run
		}
	}
	for _, label := range labels {
		if err := e.importFrom(ctx, label); err != nil {
			return err
		}
	}
	return nil
}

// importFrom copies what one place has and an earlier one had not.
func (e *Env) importFrom(ctx context.Context, label string) (err error) {
	dir := e.at("/")
	if label != "" {
		device := e.labelled(label)
		if device == "" {
			e.Log.Info("no filesystem is labelled %q", label)
			return nil
		}
		var unmount func() error
		dir, unmount, err = e.mount(ctx, fmt.Sprintf("looking for configs on the filesystem labelled %q", label), device, false)
		if err != nil {
			return fmt.Errorf("filesystem labelled %q: %w", label, err)
		}
		defer func() { err = errors.Join(err, unmount()) }()
		e.noteEarlier(dir, label)
	}
	for _, i := range imports {
		if i.label != label {
			continue
		}
		if err := e.copyConfig(filepath.Join(dir, i.from), e.run(i.to), label); err != nil {
			return err
		}
	}
	return nil
}

func (e *Env) copyConfig(from, to, label string) error {
	place := "the initramfs"
	if label != "" {
		place = fmt.Sprintf("the filesystem labelled %q", label)
	}
	f, err := os.Open(from)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("config on %s: %w", place, err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConfig+1))
	if err != nil {
		return fmt.Errorf("config on %s: %w", place, err)
	}
	if len(raw) > maxConfig {
		return fmt.Errorf("config on %s: %s is larger than %d MiB", place, filepath.Base(from), maxConfig>>20)
	}
	if _, err := os.Lstat(to); err == nil {
		e.Log.Info("%s is there already, so %s of %s is left alone", to, filepath.Base(from), place)
		return nil
	}
	if err := replace(to, raw, 0o600); err != nil {
		return fmt.Errorf("config of %s: %w", place, err)
	}
	e.Log.Info("took %s from %s as %s", filepath.Base(from), place, to)
	return nil
}

// settle waits until the disk that holds the root is there, since its other
// partitions are there then too. A root that the config has yet to make is
// waited for in vain, but not for long.
func (e *Env) settle(ctx context.Context, cmdline string) {
	ctx, cancel := context.WithTimeout(ctx, e.Wait)
	defer cancel()
	device := e.at(rootDevice(words(cmdline)))
	for tick := 50 * time.Millisecond; ; tick = min(2*tick, 500*time.Millisecond) {
		_, _ = e.runner().Run(ctx, exec.Cmd{Name: "udevadm", Args: []string{"settle", "--timeout=10"}})
		_, err := os.Stat(device)
		if err == nil || device == e.at("/") {
			return
		}
		select {
		case <-ctx.Done():
			e.Log.Info("%s, which the kernel command line names, is not there after %v; going on", device, e.Wait)
			return
		case <-time.After(tick):
		}
	}
}

// rootDevice is the device node that the command line names for the root or
// for /usr, "" when it names none.
func rootDevice(w map[string]string) string {
	for _, name := range []string{"root", "mount.usr", "usr"} {
		value := strings.TrimPrefix(w[name], "block:")
		if strings.HasPrefix(value, "/dev/") {
			return value
		}
		if kind, what, ok := strings.Cut(value, "="); ok {
			switch kind {
			case "LABEL", "UUID", "PARTUUID", "PARTLABEL":
				return "/dev/disk/by-" + strings.ToLower(kind) + "/" + strings.Trim(what, `"`)
			}
		}
	}
	return ""
}
