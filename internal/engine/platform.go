// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"runtime"
	"strings"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/exec/mounts"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/platform"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/stages"
)

const arch = runtime.GOARCH

// Platform is a platform that was looked up in the table.
type Platform struct {
	Name     string
	note     string
	provider providers.Provider
}

// ErrNoPlatform means that neither a flag nor the kernel command line names a platform.
var ErrNoPlatform = errors.New("no platform is named on the kernel command line")

// LookupPlatform finds a platform by its id or by an alias of it.
func LookupPlatform(id string) (Platform, error) {
	p, name, note, err := platform.Resolve(id)
	if err != nil {
		return Platform{}, err
	}
	return Platform{Name: name, note: note, provider: p}, nil
}

// PlatformFromCommandLine chooses the platform that the kernel command line names.
func PlatformFromCommandLine(ctx context.Context, path string) (Platform, error) {
	args, err := readCommandLine(path)
	if err != nil {
		return Platform{}, err
	}
	if !platform.Named(args) {
		return Platform{}, ErrNoPlatform
	}
	return LookupPlatform(platform.FromCommandLine(args, func() string { return detectVirt(ctx) }))
}

// detectVirt asks systemd what the machine runs on. No answer is no virtualisation.
func detectVirt(ctx context.Context) string {
	res, _ := new(exec.Runner).Run(ctx, exec.Cmd{Name: "systemd-detect-virt"})
	return strings.TrimSpace(string(res.Stdout))
}

// PlatformNames lists the platform ids, sorted.
func PlatformNames() []string { return platform.Names() }

// StageNames lists the stages, in the order of a boot.
func StageNames() []string {
	var names []string
	for _, s := range stages.All {
		names = append(names, s.Name)
	}
	return names
}

func readCommandLine(path string) ([]providers.Arg, error) {
	raw, err := readCommandLineFile(path)
	if err != nil {
		return nil, err
	}
	return platform.ParseCommandLine(raw), nil
}

func (r *run) mountReadOnly(ctx context.Context, desc, device, fstype string) (string, func(), error) {
	return mounts.MountReadOnly(ctx, r.Log, r.runner, desc, device, fstype)
}

func (r *run) program(ctx context.Context, desc, name string, args ...string) ([]byte, []byte, error) {
	res, err := r.runner.Logged(ctx, r.Log, oplog.Op{Desc: desc, Kind: "program", Path: name}, exec.Cmd{Name: name, Args: args})
	return res.Stdout, res.Stderr, err
}

func (r *run) modprobe(ctx context.Context, module string) error {
	return exec.Modprobe(ctx, r.Log, r.runner, module)
}
