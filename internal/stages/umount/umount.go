// SPDX-License-Identifier: Apache-2.0

// Package umount is the stage that undoes the mount stage before the real root
// is entered: it goes backwards through the same plan (mounts.Plan).
package umount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/mounts"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/sysroot"
)

// Input is what the stage works with.
type Input struct {
	Config     *config.Config
	Root       string // path of the sysroot; a handle on it would keep a filesystem mounted over it busy
	Log        *oplog.Logger
	FlatcarOEM bool // what Flatcar has of its own for its OEM partition

	mounter mounts.Mounter // tests have one of their own
}

// state is what is found at a mount's place before anything is done.
type state struct {
	mounted bool
	empty   bool // not mounted, and the directory is empty or missing
}

// Run unmounts everything, in the reverse of the order of mounting, and stops at
// the first error.
func Run(ctx context.Context, in Input) error {
	plan := mounts.Plan(in.Config.Storage.Filesystems, in.FlatcarOEM)
	found := make([]state, len(plan))
	for i := range plan {
		var err error
		if found[i], err = in.look(plan, i); err != nil {
			return entryError(plan[i], "", err)
		}
	}
	slices.Reverse(plan)
	slices.Reverse(found)
	skip := cut(found)
	for i, m := range plan {
		if i < skip {
			in.Log.Info("%q is unmounted already, by an earlier run that was cut", in.display(m))
			continue
		}
		if m.Path == "/" && !found[i].mounted {
			return entryError(m, "see whether the mount stage has run: nothing of this filesystem is mounted over the root",
				fmt.Errorf("unmounting %q: %q is not mounted there", in.display(m), m.Device))
		}
		if err := in.unmount(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// cut tells how many mounts, counted from the one that is unmounted first, an
// earlier run of this stage has taken away before it was cut. Something that is
// not mounted is a failure otherwise: what the files stage wrote for it would be
// below the mount point, out of sight once the system runs. A run that was cut
// leaves a picture that can be told from that: the first so many are gone, at
// least one of the rest is mounted, and the directories are empty, so that
// nothing can have gone astray. After a run that was complete all are gone, as
// they are if nothing was ever mounted; that stays a failure.
func cut(found []state) int {
	n := slices.IndexFunc(found, func(s state) bool { return s.mounted })
	if n < 0 || slices.ContainsFunc(found[:n], func(s state) bool { return !s.empty }) {
		return 0
	}
	return n
}

// look sees what is at the place of plan[i].
func (in *Input) look(plan []mounts.Mount, i int) (state, error) {
	m := plan[i]
	target, err := in.resolve(m)
	if err != nil {
		return state{}, err
	}
	at, err := mounts.Stack(target)
	if errors.Is(err, os.ErrNotExist) {
		// Its mount point is on another one that is gone. Nothing can be astray in it.
		return state{empty: true}, nil
	}
	if err != nil {
		return state{}, err
	}
	group, index := mounts.At(plan, i)
	if m.Path == "/" {
		return state{mounted: index < in.overRoot(group, at)}, nil
	}
	if index < len(at) {
		return state{mounted: true}, nil
	}
	return state{empty: isEmpty(target)}, nil
}

// overRoot tells how many of the filesystems that belong over the sysroot are
// mounted there. The sysroot is a mount itself, which one unmount too many would
// take away, so they are told by their devices; devices that are gone, which can
// not be compared, are trusted to be the ones that were mounted.
func (in *Input) overRoot(group []mounts.Mount, at []mounts.Mounted) int {
	for _, m := range group {
		if filepath.IsAbs(m.Device) {
			if _, err := os.Stat(m.Device); err != nil {
				return len(at)
			}
		}
	}
	return mounts.Done(group, at)
}

// isEmpty tells whether a directory has nothing that somebody wrote there. What
// is mounted beneath, of two filesystems at one path, may have lost+found.
func isEmpty(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() != "lost+found" })
}

// unmount takes one away.
func (in *Input) unmount(ctx context.Context, m mounts.Mount) error {
	op := oplog.Op{
		Desc:       fmt.Sprintf("umounting %q", in.display(m)),
		Kind:       "unmount",
		Path:       m.Path,
		ConfigPath: m.Entry,
	}
	err := in.Log.Do(op, func(l *oplog.Logger) error {
		target, err := in.resolve(m)
		if err != nil {
			return err
		}
		return in.mounter.Unmount(ctx, l, target)
	})
	if err == nil {
		return nil
	}
	hint := ""
	switch {
	case errors.Is(err, unix.EBUSY):
		hint = "end what uses the filesystem, or have it started after the real root is entered"
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		hint = "it is not mounted: files meant for it may have been written below its mount point, so look there, and see the log of the mount stage"
	}
	return entryError(m, hint, fmt.Errorf("unmounting %q: %w", in.display(m), err))
}

func (in *Input) display(m mounts.Mount) string { return filepath.Join(in.Root, m.Path) }

// resolve gives the host's path of a mount point, links inside of the sysroot
// followed but for the last component. The handle is closed before anything is
// unmounted: it would keep what is mounted over the sysroot busy.
func (in *Input) resolve(m mounts.Mount) (string, error) {
	root, err := sysroot.Open(in.Root)
	if err != nil {
		return "", err
	}
	defer root.Close()
	p, err := root.Resolve(m.Path)
	if err != nil {
		return "", err
	}
	return filepath.Join(root.Path(), p), nil
}

// entryError ties an error to the entry's path.
func entryError(m mounts.Mount, hint string, err error) error {
	return &config.EntryError{Path: m.Entry + ".path", Hint: hint, Err: err}
}
