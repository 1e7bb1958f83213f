// SPDX-License-Identifier: Apache-2.0

// Package mount is the stage that mounts the config's filesystems below the
// sysroot, so that the files stage writes to where the booted system will look.
// Devices are taken as they are named in the config; the disks stage has made
// them and has waited for them. What is to be mounted, where and in what order
// is decided by mounts.Plan, by which the umount stage goes too.
package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/exec/mounts"
	"firstboot.dev/ignition/internal/exec/relabel"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/sysroot"
)

// Input is what the stage works with.
type Input struct {
	Config *config.Config
	Root   string // path of the sysroot; not a handle, since a filesystem may be mounted over it
	Log    *oplog.Logger
	Runner *exec.Runner

	Relabel    bool   // set SELinux labels on what is made
	FlatcarOEM bool   // what Flatcar has of its own for its OEM partition
	Mount      string // program
	Blkid      string // program

	// NotatedDirs are directories that an earlier run has made.
	NotatedDirs []string
}

// stage is one run.
type stage struct {
	Input
	plan []mounts.Mount
	made []string
}

// Run mounts everything and stops at the first error; what is mounted by then
// stays so. It gives in.NotatedDirs with the directories that it made, as paths
// in the sysroot, also beside an error.
func Run(ctx context.Context, in Input) (notated []string, err error) {
	s := &stage{Input: in, plan: mounts.Plan(in.Config.Storage.Filesystems, in.FlatcarOEM)}
	for i := range s.plan {
		if err = s.mount(ctx, i); err != nil {
			break
		}
	}
	notated = in.NotatedDirs
	for _, dir := range s.made {
		if !slices.Contains(notated, dir) {
			notated = append(notated, dir)
		}
	}
	return notated, err
}

// mount takes one filesystem through all steps. After a run that was cut, the
// steps that it had done are found done.
func (s *stage) mount(ctx context.Context, i int) error {
	m := s.plan[i]
	target := s.target(m)
	if err := s.makeTarget(ctx, m, target); err != nil {
		return err
	}
	done, err := s.isMounted(i, target)
	if err != nil {
		return entryError(m, ".path", "", err)
	}
	if done {
		s.Log.Info("%q is mounted at %q already, from an earlier run: left as it is", m.Device, target)
	} else if err := s.runMount(ctx, m, target); err != nil {
		return err
	}
	if err := s.labelNew(ctx, m); err != nil {
		return entryError(m, ".path", labelHint, err)
	}
	return nil
}

// target is where a filesystem is mounted on the host. It is lexical: makeTarget
// makes sure that no component is a link.
func (s *stage) target(m mounts.Mount) string { return filepath.Join(s.Root, m.Path) }

// makeTarget makes the mount point, notes its directories and labels them.
func (s *stage) makeTarget(ctx context.Context, m mounts.Mount, target string) error {
	made, err := mounts.MakeTarget(target)
	for _, dir := range made {
		if in, ok := s.inRoot(dir); ok {
			s.made = append(s.made, in)
		}
	}
	if err != nil {
		return entryError(m, ".path", targetHint(err), err)
	}
	if len(made) == 0 || !s.Relabel {
		return nil
	}
	first, ok := s.inRoot(made[0])
	if !ok {
		first = "/" // the sysroot itself was missing
	}
	if err := s.label(ctx, first); err != nil {
		return entryError(m, ".path", labelHint, err)
	}
	return nil
}

// inRoot gives the path that a directory has in the sysroot, if it is below it.
func (s *stage) inRoot(dir string) (string, bool) {
	rel, err := filepath.Rel(s.Root, dir)
	if err != nil || rel == "." || rel == ".." || strings.HasPrefix(rel, "../") {
		return "", false
	}
	return "/" + rel, true
}

// isMounted tells whether a run that was cut has mounted plan[i] already.
func (s *stage) isMounted(i int, target string) (bool, error) {
	at, err := mounts.Stack(target)
	if err != nil {
		return false, err
	}
	if s.plan[i].Path == "/" && len(at) > 0 {
		// The lowest one is the sysroot's own, which is not to be unmounted later on.
		at = at[1:]
	}
	group, index := mounts.At(s.plan, i)
	return index < mounts.Done(group, at), nil
}

// runMount runs the program.
func (s *stage) runMount(ctx context.Context, m mounts.Mount, target string) error {
	if m.FoundType {
		m.Format = s.foundType(ctx, m)
	}
	op := oplog.Op{
		Desc:       fmt.Sprintf("mounting %q at %q with type %q and options %q", m.Device, target, m.Format, m.Options),
		Kind:       "mount",
		Path:       m.Path,
		ConfigPath: m.Entry,
	}
	args := []string{"-o", m.Options, "-t", m.Format}
	if strings.HasPrefix(m.Device, "-") {
		args = append(args, "--") // the tag of a share, which is not to be read as a flag
	}
	_, err := s.Runner.Logged(ctx, s.Log, op, exec.Cmd{Name: s.Mount, Args: append(args, m.Device, target)})
	if err != nil {
		field, hint := s.mountHint(ctx, m, err)
		return entryError(m, field, hint, err)
	}
	return nil
}

// foundType is the type that the OEM filesystem has, for the disks stage keeps
// one of another type than the config's.
func (s *stage) foundType(ctx context.Context, m mounts.Mount) string {
	found, err := s.probe(ctx, m.Device)
	switch {
	case err != nil:
		s.Log.Warning("the type of the OEM filesystem at %q is not known, %q of the config is tried: %v", m.Device, m.Format, err)
	case found != "" && found != m.Format:
		s.Log.Info("the OEM filesystem at %q is %s and is mounted as such; the config says %s", m.Device, found, m.Format)
		return found
	}
	return m.Format
}

// nothingFound is blkid's exit code for a device without anything it knows.
const nothingFound = 2

// probe asks what is on a device; "" means nothing that is known.
func (s *stage) probe(ctx context.Context, device string) (string, error) {
	res, err := s.Runner.RunIn(ctx, s.Log, exec.Cmd{Name: s.Blkid, Args: []string{"-p", "-o", "value", "-s", "TYPE", device}})
	if err != nil && res.ExitCode == nothingFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(res.Stdout)), nil
}

// labelNew labels the root of a filesystem that nothing has been written to yet.
func (s *stage) labelNew(ctx context.Context, m mounts.Mount) error {
	if !s.Relabel {
		return nil
	}
	root, err := sysroot.Open(s.Root)
	if err != nil {
		return err
	}
	entries, err := root.ReadDir(m.Path)
	root.Close()
	if err != nil {
		return err
	}
	if slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() != "lost+found" }) {
		return nil
	}
	return s.label(ctx, m.Path)
}

// label runs setfiles on a path. The sysroot is opened anew each time, for what
// was mounted over it is not seen through an older handle.
func (s *stage) label(ctx context.Context, p string) error {
	root, err := sysroot.Open(s.Root)
	if err != nil {
		return err
	}
	defer root.Close()
	set, err := relabel.New(root)
	if err != nil {
		return err
	}
	set.Add(p)
	return set.Run(ctx, s.Log, s.Runner)
}

// entryError ties an error to a field of the filesystem's entry.
func entryError(m mounts.Mount, field, hint string, err error) error {
	var have *config.EntryError
	if errors.As(err, &have) {
		return err
	}
	return &config.EntryError{Path: m.Entry + field, Hint: hint, Err: err}
}
