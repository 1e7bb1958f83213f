// SPDX-License-Identifier: Apache-2.0

// Package relabel sets SELinux labels in the sysroot through setfiles, once,
// for all that a stage has written. Distributions without SELinux leave it out
// at link time.
package relabel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/sysroot"
)

const policyConfig = "/etc/selinux/config"

// Set is the set of paths to label.
type Set struct {
	root   *sysroot.Root
	policy string
	paths  map[string]bool
}

// New reads the name of the policy from the tree.
func New(root *sysroot.Root) (*Set, error) {
	raw, err := root.ReadFile(policyConfig)
	if err != nil {
		return nil, err
	}
	policy := policyName(string(raw))
	if policy == "" {
		return nil, fmt.Errorf("%s names no SELINUXTYPE", root.Display(policyConfig))
	}
	return &Set{root: root, policy: policy, paths: map[string]bool{}}, nil
}

// policyName gives the value of the first SELINUXTYPE line.
func policyName(text string) string {
	for line := range strings.Lines(text) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "SELINUXTYPE="); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

// Add notes paths before they are made: of each, the topmost part that is
// missing, since setfiles goes down from there.
func (s *Set) Add(paths ...string) {
	for _, p := range paths {
		for p != "/" {
			parent := path.Dir(p)
			if _, err := s.root.Stat(parent); !errors.Is(err, fs.ErrNotExist) {
				break
			}
			p = parent
		}
		s.paths[p] = true
	}
}

// accountFiles are what the account tools change, with backups beside them.
var accountFiles = []string{"passwd", "group", "shadow", "gshadow", "subuid", "subgid"}

// AddAccounts notes the account files, and these homes: what each leads to,
// never a link itself. A home that is not there needs no label.
func (s *Set) AddAccounts(homes []string) error {
	entries, err := s.root.ReadDir("/etc")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		known := e.Name() == ".pwd.lock"
		for _, name := range accountFiles {
			known = known || strings.HasPrefix(e.Name(), name)
		}
		if known {
			s.paths["/etc/"+e.Name()] = true
		}
	}
	for _, home := range homes {
		if at, err := s.resolve(home); err == nil {
			s.paths[at] = true
		}
	}
	return nil
}

// resolve follows every link of a path, the last component too.
func (s *Set) resolve(p string) (string, error) {
	for range 40 {
		at, err := s.root.Resolve(p)
		if err != nil {
			return "", err
		}
		target, err := s.root.Readlink(at)
		if err != nil {
			return at, nil // not a link
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(at), target)
		}
		p = path.Clean(target)
	}
	return "", fmt.Errorf("%s: too many links", s.root.Display(p))
}

// Run labels what is there of the set.
func (s *Set) Run(ctx context.Context, log *oplog.Logger, run *exec.Runner) error {
	var stdin bytes.Buffer
	n := 0
	for _, p := range slices.Sorted(maps.Keys(s.paths)) {
		if _, err := s.root.Lstat(p); err != nil {
			continue
		}
		stdin.WriteString(s.root.Display(p))
		stdin.WriteByte(0)
		n++
	}
	if n == 0 {
		return nil
	}
	root := s.root.Path()
	contexts := s.root.Display("/etc/selinux/" + s.policy + "/contexts/files/file_contexts")
	op := oplog.Op{Desc: fmt.Sprintf("relabeling %d patterns", n), Kind: "relabel"}
	_, err := run.Logged(ctx, log, op, exec.Cmd{
		Name:  distro.Setfiles,
		Args:  []string{"-vF0", "-r", root, contexts, "-f", "-"},
		Stdin: &stdin,
	})
	return err
}
