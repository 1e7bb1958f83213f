// SPDX-License-Identifier: Apache-2.0

// Package users makes users, groups and ssh key files in the sysroot, through
// the host's useradd and its kin with --root, and looks names up in the
// sysroot's own files. It never consults the host's accounts.
package users

import (
	"context"
	"errors"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/sysroot"
)

// ErrNotFound is wrapped by look-ups of names that are not in the sysroot.
var ErrNotFound = errors.New("not found")

// Account is a passwd entry, GroupEntry a group one.
type Account struct {
	Name     string
	UID, GID int
	Home     string
	Shell    string
}
type GroupEntry struct {
	Name string
	GID  int
}

// DB looks names up in the sysroot. It reads files anew on each call, since useradd changes them.
type DB struct{}

func NewDB(root *sysroot.Root) *DB                  { panic("stub") }
func (d *DB) User(name string) (Account, error)     { panic("stub") } // `no such user "x"` wraps ErrNotFound
func (d *DB) Group(name string) (GroupEntry, error) { panic("stub") } // `no such group "x"`

// Manager changes accounts.
type Manager struct {
	Root      *sysroot.Root
	Runner    *exec.Runner
	Fragments bool // write authorized_keys.d/ignition instead of authorized_keys
}

// EnsureGroup and EnsureUser make one entry true; configPath ("$.passwd.users.0") goes into the op record.
// homes are directories that the mount stage made (paths without the root).
func (m *Manager) EnsureGroup(ctx context.Context, l *oplog.Logger, configPath string, g config.Group) error {
	panic("stub")
}
func (m *Manager) EnsureUser(ctx context.Context, l *oplog.Logger, configPath string, u config.User, homes []string) error {
	panic("stub")
}
