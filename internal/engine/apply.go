// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/document"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/stages"
	"firstboot.dev/ignition/internal/sysroot"
)

// ApplyOptions is what ignition-apply depends on.
type ApplyOptions struct {
	Options
	Raw               []byte
	Offline           bool
	IgnoreUnsupported bool
	Container         string // value of the environment's "container"
	WithPasswd        bool   // users and groups too
	OnHost            bool   // also outside of a container, but not to the host's own root
}

// containerMarks are files that container runtimes leave.
var containerMarks = []string{"/run/.containerenv", "/.dockerenv"}

// Apply applies a config to the running root of a container and returns the exit code.
func Apply(ctx context.Context, o ApplyOptions) int {
	o.Log.Info("Ignition %s", o.Version)
	doc, rep, err := document.Parse(o.Raw)
	logReport(o.Log, rep)
	if err != nil {
		o.Log.Crit("couldn't parse config: %v", err)
		return ExitFailed
	}
	if err := apply(ctx, o, doc.Config); err != nil {
		o.Log.Crit("failed to apply: %v", err)
		explain(o.Log, err)
		return ExitFailed
	}
	return ExitOK
}

func apply(ctx context.Context, o ApplyOptions, cfg config.Config) error {
	root, err := absolute(o.Root)
	if err != nil {
		return err
	}
	switch {
	case inContainer(o.Container):
	case !o.OnHost:
		return errors.New("this tool is not designed to run on a host system; reprovision the machine instead")
	case isRoot(root):
		return fmt.Errorf("root %q is this machine's own: --on-host is for the root of an image, given by --root", o.Root)
	}
	base := newFetcher(o.Options, 0)
	if o.Offline {
		base = base.Offline()
	}
	state := &stages.State{}
	rd := &renderer{log: o.Log, fetcher: base, record: state.AddFetched, origins: new(origins)}
	if cfg, err = rd.render(ctx, cfg); err != nil {
		return err
	}
	fetcher, err := base.Using(ctx, o.Log, cfg.Ignition)
	if err != nil {
		return err
	}
	if rep := config.ValidateMerged(cfg); rep.IsFatal() {
		logReport(o.Log, rep)
		return config.ErrInvalid
	}
	env := &stages.Env{
		Config: &cfg, Root: root, Log: o.Log, Fetcher: fetcher, Runner: &exec.Runner{}, State: state,
		Fragments: o.Fragments, Live: true, Accounts: o.WithPasswd,
	}
	if err := checkLive(env, o.IgnoreUnsupported, o.Offline); err != nil {
		return err
	}
	if o.WithPasswd && len(cfg.Passwd.Users)+len(cfg.Passwd.Groups) > 0 {
		if err := hasAccounts(root); err != nil {
			return err
		}
	}
	files, _ := stages.Lookup("files")
	if err := files.Run(ctx, env); err != nil {
		return fmt.Errorf("running stage 'files': %w", err)
	}
	return nil
}

// checkLive refuses, before anything is changed, what cannot be done to a running system.
func checkLive(env *stages.Env, ignore, offline bool) error {
	c := env.Config
	if offline {
		needed, at, err := config.NeedsNetwork(c)
		if err != nil {
			return fmt.Errorf("running stage 'fetch-offline': %w", err)
		}
		if needed {
			return fmt.Errorf("running stage 'fetch-offline': %s: %w", at, resource.ErrNeedNet)
		}
	}
	if ignore {
		return nil
	}
	s := &c.Storage
	for _, check := range []struct {
		stage, what string
		n           int
	}{
		{"kargs", "kargs modifications", len(c.KernelArguments.ShouldExist) + len(c.KernelArguments.ShouldNotExist)},
		{"disks", "disk modifications", len(s.Disks) + len(s.RAID) + len(s.Filesystems) + len(s.LUKS)},
		{"mount", "filesystems modifications", len(s.Filesystems)},
		{"files", "passwd", len(c.Passwd.Users) + len(c.Passwd.Groups)},
	} {
		if check.n > 0 && !(env.Accounts && check.stage == "files") {
			return fmt.Errorf("running stage '%s': cannot apply %s live", check.stage, check.what)
		}
	}
	return nil
}

// hasAccounts tells whether a root has account files, which useradd would half make.
func hasAccounts(path string) error {
	root, err := sysroot.Open(path)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range []string{"/etc/passwd", "/etc/group"} {
		if _, err := root.Stat(name); err != nil {
			return fmt.Errorf("the config has users or groups, for which the root must hold a system with account files: %w", err)
		}
	}
	return nil
}

// isRoot tells whether a path leads to the root of this process.
func isRoot(path string) bool {
	a, err := os.Stat(path)
	b, err2 := os.Stat("/")
	return err == nil && err2 == nil && os.SameFile(a, b)
}

func inContainer(env string) bool {
	if env != "" {
		return true
	}
	for _, p := range containerMarks {
		if _, err := os.Stat(p); err == nil {
			return true
		}
	}
	return false
}

// RemoveConfig deletes the user config from the platform's metadata and returns the exit code.
func RemoveConfig(ctx context.Context, o Options) int {
	o.Log.Info("Ignition %s", o.Version)
	if o.Platform.note != "" {
		o.Log.Info("%s", o.Platform.note)
	}
	err := removeConfig(ctx, o)
	if err != nil {
		o.Log.Crit("couldn't delete config: %v", err)
		return ExitFailed
	}
	o.Log.Info("Successfully deleted config")
	return ExitOK
}

func removeConfig(ctx context.Context, o Options) error {
	del := o.Platform.provider.Delete
	if del == nil {
		return errors.New("cannot delete config on this platform")
	}
	r := &run{Options: o, runner: &exec.Runner{}}
	r.root = newFetcher(o, 0)
	return del(ctx, r.providerEnv())
}
