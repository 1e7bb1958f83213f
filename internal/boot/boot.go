// SPDX-License-Identifier: Apache-2.0

// Package boot is what stands around the stages in an initramfs, one verb of
// the binary per unit: the generator that decides whether this is a first boot,
// the import of configs that the image or its partitions bring, the resolver
// file, the presets of images where PID 1 applies none, the removal of the
// first-boot flag, the clean-up of the network, the kernel arguments of boot
// loaders, and the report of a failure. What a config does is the stages' matter;
// nothing in here reads one.
package boot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// Env is what the verbs see of the machine.
type Env struct {
	Log     *oplog.Logger
	Runner  *exec.Runner // nil stands for one with this process's PATH
	Prefix  string       // of every path of the initramfs; "" but in tests
	Sysroot string       // where the root of the machine is mounted

	Version     string
	CommandLine func() (string, error)
	BootID      string        // of this boot of the kernel
	LabelDir    string        // links from filesystem labels to devices
	RunDir      string        // /run/ignition
	Wait        time.Duration // how long to wait for the device that holds the root

	// Mount mounts a device on a private directory; nil stands for the mount
	// program. unmount also brings what was written onto the medium.
	Mount func(ctx context.Context, desc, device string, write bool) (dir string, unmount func() error, err error)
}

func (e *Env) runner() *exec.Runner {
	if e.Runner == nil {
		return &exec.Runner{}
	}
	return e.Runner
}

// at is a path of the initramfs.
func (e *Env) at(name string) string { return filepath.Join(e.Prefix, name) }

// run is a file below the folder of the state of this boot.
func (e *Env) run(name string) string { return filepath.Join(e.at(e.RunDir), name) }

// labelled is the device with a filesystem label, "" if there is none now.
func (e *Env) labelled(label string) string {
	link := filepath.Join(e.at(e.LabelDir), label)
	if _, err := os.Stat(link); err != nil {
		return ""
	}
	return link
}

// IsLive tells whether the system has no root disk. The hook of the
// distribution says so; without one it has.
func (e *Env) IsLive(ctx context.Context) bool {
	_, err := e.runner().Run(ctx, exec.Cmd{Name: "is-live-image"})
	return err == nil
}

// virt is what the machine runs on, "none" for hardware.
func (e *Env) virt(ctx context.Context) string {
	res, _ := e.runner().Run(ctx, exec.Cmd{Name: "systemd-detect-virt"})
	return strings.TrimSpace(string(res.Stdout))
}

// replace writes a file whole or not at all, and makes its folders.
func replace(name string, content []byte, mode fs.FileMode) (err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".ignition-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}()
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// rewrite is replace for a file of a boot partition, whose filesystem may know
// no modes (vfat).
func rewrite(name string, content []byte) error {
	temp := name + ".new"
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(temp, name)
}

// syncDir brings the names in a folder onto the medium.
func syncDir(name string) error {
	d, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// lines are the lines of a text without blanks around them and empty ones.
func lines(text []byte) []string {
	var out []string
	for l := range bytes.Lines(text) {
		if s := strings.TrimSpace(string(l)); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// quotedList is for messages.
func quotedList(words []string) string {
	var out []string
	for _, w := range words {
		out = append(out, fmt.Sprintf("%q", w))
	}
	return strings.Join(out, " ")
}
