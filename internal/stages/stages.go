// SPDX-License-Identifier: Apache-2.0

// Package stages is the table of stages, in the order in which a boot runs
// them, and what the engine hands to each. The rooms below it hold the stages
// themselves; each takes only the parts of Env that it needs.
package stages

import (
	"context"
	"fmt"
	"time"

	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/exec/luks"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/plan"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/stages/disks"
	"firstboot.dev/ignition/internal/stages/fetch"
	"firstboot.dev/ignition/internal/stages/fetch_offline"
	"firstboot.dev/ignition/internal/stages/files"
	"firstboot.dev/ignition/internal/stages/kargs"
	"firstboot.dev/ignition/internal/stages/mount"
	"firstboot.dev/ignition/internal/stages/umount"
	"firstboot.dev/ignition/internal/sysroot"
)

// Env is what a stage runs with.
type Env struct {
	Config    *config.Config
	Root      string        // path of the sysroot
	Log       *oplog.Logger // has the stage's prefix
	Fetcher   *resource.Fetcher
	Runner    *exec.Runner
	State     *State
	Fragments bool // write ssh keys to authorized_keys.d/ignition
	Live      bool // ignition-apply: only what can be done to a running system
	Accounts  bool // and users and groups

	CommandLine func() (string, error) // of the kernel

	Ahead bool   // a preview of all stages, where none has run
	Plan  string // hash of the plan that the run is held to, or ""
	// Agreed refuses what a stage is about to do if a plan was given and this is
	// not in it. nil agrees.
	Agreed func(stage string, ops []plan.Operation) error

	// Disks is what a preview takes for the machine's; nil leaves the disks out.
	Disks func(ctx context.Context, in disks.Input) (*disks.Facts, error)
}

// Stage is one row of the table.
type Stage struct {
	Name    string
	Fetches bool // acquires the config anew instead of from the cache
	Run     func(ctx context.Context, env *Env) error
}

// All lists the stages in the order of a boot.
var All = []Stage{
	{"fetch-offline", true, func(_ context.Context, e *Env) error { return fetch_offline.Run(e.Config) }},
	{"fetch", true, func(_ context.Context, e *Env) error { return fetch.Run(e.Log) }},
	{"kargs", false, func(ctx context.Context, e *Env) error {
		return kargs.Run(ctx, e.Log, e.Runner, distro.KargsHelper, e.Config.KernelArguments)
	}},
	{"disks", false, runDisks},
	{"mount", false, runMount},
	{"files", false, runFiles},
	{"umount", false, func(ctx context.Context, e *Env) error {
		return umount.Run(ctx, umount.Input{Config: e.Config, Root: e.Root, Log: e.Log, FlatcarOEM: distro.ReuseOEM()})
	}},
}

// Lookup finds a stage by its name.
func Lookup(name string) (Stage, bool) {
	for _, s := range All {
		if s.Name == name {
			return s, true
		}
	}
	return Stage{}, false
}

// runDisks runs the disks stage and keeps the keys that it made for the files stage.
func runDisks(ctx context.Context, e *Env) error {
	var cmdline string
	if e.CommandLine != nil {
		// It only helps to find the keys of an earlier run.
		cmdline, _ = e.CommandLine()
	}
	in := disksInput(e, cmdline)
	if e.Agreed != nil {
		in.Agreed = func(ops []plan.Operation) error { return e.Agreed("disks", ops) }
	}
	out, err := disks.Run(ctx, in)
	if err == nil && out.KeyFiles != nil {
		e.State.LUKSPersistKeyFiles, e.State.LUKSPersistVolumeKeyFiles = out.KeyFiles, out.VolumeKeyFiles
	}
	return err
}

func disksInput(e *Env, cmdline string) disks.Input {
	return disks.Input{
		Config: e.Config, Root: e.Root, Log: e.Log, Fetcher: e.Fetcher, Runner: e.Runner,
		Live: e.Live, CommandLine: cmdline,
		Host: &block.Host{Runner: e.Runner, AliasDir: distro.DeviceAliasDir, Programs: block.Programs{
			Partx: distro.Partx, Dmsetup: distro.Dmsetup, Udevadm: distro.Udevadm, Blkid: distro.Blkid, Wipefs: distro.Wipefs,
		}},
		LUKS:       luks.Manager{Runner: e.Runner, Repository: distro.LuksCexRepository},
		Rules:      disks.Rules{ReuseOEM: distro.ReuseOEM()},
		Sgdisk:     distro.Sgdisk,
		LUKSKeyDir: distro.LuksRealRootKeyFilePath,
		CEXKey:     distro.LuksCexKeyFile,
	}
}

// runMount runs the mount stage and keeps what it made for the files stage.
func runMount(ctx context.Context, e *Env) (err error) {
	e.State.NotatedDirectories, err = mount.Run(ctx, mount.Input{
		Config: e.Config, Root: e.Root, Log: e.Log, Runner: e.Runner,
		Relabel:     distro.SELinuxRelabel(),
		Mount:       distro.Mount,
		Blkid:       distro.Blkid,
		FlatcarOEM:  distro.ReuseOEM(),
		NotatedDirs: e.State.NotatedDirectories,
	})
	return err
}

// runFiles runs the files stage and takes out of the state what is on disk now.
func runFiles(ctx context.Context, e *Env) error {
	root, err := sysroot.Open(e.Root)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := agreeFiles(ctx, e, root); err != nil {
		return err
	}
	err = files.Run(ctx, filesInput(e, root))
	if err == nil {
		// The key files are in the real root; /run must not keep them.
		e.State.LUKSPersistKeyFiles, e.State.LUKSPersistVolumeKeyFiles = nil, nil
	}
	return err
}

// agreeFiles compares with the plan that the run is held to.
func agreeFiles(ctx context.Context, e *Env, root *sysroot.Root) error {
	if e.Agreed == nil {
		return nil
	}
	if again, err := files.Resumes(filesInput(e, root)); again || err != nil {
		return err
	}
	offline := *e
	offline.Fetcher = e.Fetcher.Offline()
	ops, err := previewFiles(ctx, &offline)
	if err != nil {
		return err
	}
	return e.Agreed("files", ops)
}

func filesInput(e *Env, root *sysroot.Root) files.Input {
	return files.Input{
		Config: e.Config, Root: root, Log: e.Log, Fetcher: e.Fetcher, Runner: e.Runner,
		Live:               e.Live,
		Accounts:           e.Accounts,
		Fragments:          e.Fragments,
		Relabel:            distro.SELinuxRelabel(),
		ResultFile:         distro.ResultFilePath,
		BootIDPath:         distro.BootIDPath,
		LUKSKeyDir:         distro.LuksRealRootKeyFilePath,
		CEXRepository:      distro.LuksCexRealRootRepository,
		DeviceAliasDir:     distro.DeviceAliasDir,
		Systemctl:          distro.Systemctl,
		Cryptsetup:         distro.Cryptsetup,
		InitrdAttach:       distro.InitrdAttach(),
		Now:                time.Now,
		Ahead:              e.Ahead,
		Plan:               e.Plan,
		NotatedDirs:        e.State.NotatedDirectories,
		ProviderFiles:      e.State.ProviderOutputFiles,
		LUKSKeyFiles:       e.State.LUKSPersistKeyFiles,
		VolumeKeyFiles:     e.State.LUKSPersistVolumeKeyFiles,
		UserConfigProvided: e.State.UserConfigProvided(),
	}
}

// Preview tells what the stages would do on a machine, in the order of a boot.
func Preview(ctx context.Context, e *Env) (*plan.Plan, error) {
	out := &plan.Plan{}
	for _, one := range []struct {
		stage   string
		preview func(context.Context, *Env) (plan.Stage, error)
	}{
		{"kargs", previewKargs},
		{"disks", previewDisks},
		{"files", func(ctx context.Context, e *Env) (plan.Stage, error) {
			ops, err := previewFiles(ctx, e)
			return plan.Stage{Operations: ops}, err
		}},
	} {
		s, err := one.preview(ctx, e)
		for i := range s.Operations {
			s.Operations[i].Stage = one.stage
		}
		out.Operations = append(out.Operations, s.Operations...)
		out.Disks = append(out.Disks, s.Disks...)
		if err != nil {
			return out, fmt.Errorf("stage %s: %w", one.stage, err)
		}
	}
	return out, nil
}

// previewKargs compares with the running kernel's command line, where that is the machine's.
func previewKargs(_ context.Context, e *Env) (s plan.Stage, err error) {
	args := e.Config.KernelArguments
	if len(args.ShouldExist)+len(args.ShouldNotExist) == 0 {
		return s, nil
	}
	op := plan.Of(kargs.Op(), plan.Change)
	op.Depends = "the arguments in the boot loader's configuration; if one changes, the machine boots again"
	if e.CommandLine != nil {
		text, err := e.CommandLine()
		if err == nil && kargs.Fulfilled(args, text) {
			op.Effect, op.Depends = plan.Keep, ""
		}
	}
	return plan.Stage{Operations: []plan.Operation{op}}, nil
}

// LookAtDisks describes all disks of this machine.
func LookAtDisks(ctx context.Context, e *Env) (*disks.Machine, error) {
	return disks.LookAtAll(ctx, disksInput(e, ""))
}

func previewDisks(ctx context.Context, e *Env) (plan.Stage, error) {
	st := &e.Config.Storage
	if e.Disks == nil || len(st.Disks)+len(st.RAID)+len(st.LUKS)+len(st.Filesystems) == 0 {
		return plan.Stage{}, nil
	}
	in := disksInput(e, "")
	facts, err := e.Disks(ctx, in)
	if err != nil {
		return plan.Stage{}, err
	}
	return disks.Preview(in, facts)
}

func previewFiles(ctx context.Context, e *Env) ([]plan.Operation, error) {
	root, err := sysroot.Open(e.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	ops, err := files.Preview(ctx, filesInput(e, root))
	if err != nil {
		return ops, err
	}
	before, err := root.Lstat("/")
	if err != nil {
		return ops, err
	}
	now, err := sysroot.Open(e.Root)
	if err != nil {
		return ops, fmt.Errorf("%w: %s: %w", plan.ErrChanged, e.Root, err)
	}
	defer now.Close()
	if st, err := now.Lstat("/"); err != nil || st.Dev != before.Dev || st.Ino != before.Ino {
		return ops, fmt.Errorf("%w: %s is another directory now", plan.ErrChanged, e.Root)
	}
	return ops, nil
}
