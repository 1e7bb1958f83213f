// SPDX-License-Identifier: Apache-2.0

// Package users makes users, groups and ssh key files in the sysroot, through
// the host's useradd and its kin with --root, and looks names up in the
// sysroot's own files. It never consults the host's accounts. Key files are
// written with the rights of their user, so that nothing a user could place
// in its home leads a privileged write astray.
package users

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/sysroot"
)

// Manager changes accounts. It is not safe for concurrent use: neither are the tools.
type Manager struct {
	Root      *sysroot.Root
	Runner    *exec.Runner
	Fragments bool // write authorized_keys.d/ignition instead of authorized_keys

	// OnKeys is told of each key file written; path is the host's (with the root).
	OnKeys func(user, path string)

	// Interrupted says that an earlier run on this tree was cut. What its
	// tools may have left is then put right first: see repair.go.
	Interrupted bool

	// Finished says that an earlier run on this tree went to its end. What is
	// as the config says is left alone then.
	Finished bool

	repaired    bool
	fresh       map[string]bool // accounts that the cut run's last tool had just made
	freshGroups map[string]bool // groups likewise
}

// noPassword locks the account; it is no secret.
const noPassword = "*"

// EnsureGroup makes one entry true; configPath ("$.passwd.groups.0") goes into the op record.
func (m *Manager) EnsureGroup(ctx context.Context, l *oplog.Logger, configPath string, g config.Group) error {
	if err := m.ensureGroup(ctx, l, configPath, g); err != nil {
		return fmt.Errorf("failed to create group %q: %w", g.Name, err)
	}
	return nil
}

func (m *Manager) ensureGroup(ctx context.Context, l *oplog.Logger, configPath string, g config.Group) error {
	if err := CheckName("group", g.Name); err != nil {
		return err
	}
	if err := checkID("gid", g.GID); err != nil {
		return err
	}
	if err := m.repair(ctx, l); err != nil {
		return err
	}
	_, err := NewDB(m.Root).Group(g.Name)
	exists := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	c := m.command()
	if isFalse(g.ShouldExist) {
		if !exists {
			return nil
		}
		if err := m.run(ctx, l, groupOp("delete-group", g.Name, configPath), distro.Groupdel, c, g.Name); err != nil {
			return fmt.Errorf("failed to delete group %q: %w", g.Name, err)
		}
		return nil
	}
	if exists {
		half, err := m.halfMadeGroup(g.Name)
		if err == nil && half {
			err = m.run(ctx, l, groupOp("delete-group", g.Name, configPath), distro.Groupdel, m.command(), g.Name)
		}
		if err != nil {
			return err
		}
		exists = !half
	}
	c.number("--gid", g.GID)
	if h := text(g.PasswordHash); h != "" {
		c.password(h)
	}
	if exists {
		op := groupOp("modify-group", g.Name, configPath)
		return m.unless(l, op, func() (bool, error) { return m.sameGroup(g) }, func() error { return m.run(ctx, l, op, distro.Groupmod, c, g.Name) })
	}
	c.flag("--system", g.System)
	return m.run(ctx, l, groupOp("add-group", g.Name, configPath), distro.Groupadd, c, g.Name)
}

// groupOp describes an operation on a group.
func groupOp(kind, name, configPath string) oplog.Op {
	verb := map[string]string{"delete-group": "deleting", "modify-group": "modifying", "add-group": "adding"}[kind]
	return oplog.Op{Kind: kind, Desc: fmt.Sprintf("%s group %q", verb, name), Path: name, ConfigPath: configPath}
}

// userOp completes the description of an operation on the user in Path.
func userOp(kind string, op oplog.Op) oplog.Op {
	format := map[string]string{
		"delete-user": "deleting user %q", "ensure-user": "creating or modifying user %q",
		"set-password": "setting password for %q", "add-keys": "adding ssh keys to user %q",
	}[kind]
	op.Kind, op.Desc = kind, fmt.Sprintf(format, op.Path)
	return op
}

// EnsureUser makes one entry true. homes are directories that the mount stage
// made (paths without the root); those that are the user's home or lie in it
// become the user's.
func (m *Manager) EnsureUser(ctx context.Context, l *oplog.Logger, configPath string, u config.User, homes []string) error {
	op := oplog.Op{Path: u.Name, ConfigPath: configPath}
	gone, err := m.account(ctx, l, op, u, homes)
	if err != nil {
		return fmt.Errorf("failed to create user %q: %w", u.Name, err)
	}
	if gone {
		return nil
	}
	if !isTrue(u.NoCreateHome) {
		if err := m.ownHomes(u.Name, homes); err != nil {
			return fmt.Errorf("failed to modify home directory permissions for %q: %w", u.Name, err)
		}
	}
	if u.PasswordHash != nil {
		if err := m.setPassword(ctx, l, op, u); err != nil {
			return fmt.Errorf("failed to set password for %q: %w", u.Name, err)
		}
	}
	if len(u.SSHAuthorizedKeys) > 0 {
		if err := m.addKeys(l, op, u); err != nil {
			return fmt.Errorf("failed to add keys to user %q: %w", u.Name, err)
		}
	}
	return nil
}

// account makes, changes or removes the account itself.
func (m *Manager) account(ctx context.Context, l *oplog.Logger, op oplog.Op, u config.User, homes []string) (gone bool, err error) {
	if err := CheckName("user", u.Name); err != nil {
		return false, err
	}
	if err := checkID("uid", u.UID); err != nil {
		return false, err
	}
	if err := m.repair(ctx, l); err != nil {
		return false, err
	}
	_, err = NewDB(m.Root).User(u.Name)
	exists := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return false, err
	}
	if isFalse(u.ShouldExist) {
		if !exists {
			return true, nil
		}
		return true, m.deleteUser(ctx, l, op, u.Name, "--remove")
	}
	if exists {
		half, err := m.halfMade(u.Name)
		if err == nil && half {
			err = m.deleteUser(ctx, l, op, u.Name)
			exists = false
		}
		if err != nil {
			return false, err
		}
	}
	op = userOp("ensure-user", op)
	if !exists {
		return false, m.run(ctx, l, op, distro.Useradd, m.addArgs(u), u.Name)
	}
	if err := m.finishHome(l, u, homes); err != nil {
		return false, err
	}
	return false, m.unless(l, op, func() (bool, error) { return m.sameUser(u) }, func() error { return m.run(ctx, l, op, distro.Usermod, m.modArgs(u), u.Name) })
}

// unless does an operation, or on a finished tree only notes it if all is the same already.
func (m *Manager) unless(l *oplog.Logger, op oplog.Op, same func() (bool, error), do func() error) error {
	if !m.Finished {
		return do()
	}
	ok, err := same()
	if err != nil {
		return err
	}
	if !ok {
		return do()
	}
	r := l.Start(op)
	r.Keep()
	return r.End(nil)
}

func (m *Manager) deleteUser(ctx context.Context, l *oplog.Logger, op oplog.Op, name string, options ...string) error {
	op = userOp("delete-user", op)
	c := &command{args: append(options, "--root", m.Root.Path())}
	if err := m.run(ctx, l, op, distro.Userdel, c, name); err != nil {
		return fmt.Errorf("failed to delete user %q: %w", name, err)
	}
	return nil
}

func (m *Manager) addArgs(u config.User) *command {
	c := m.command()
	c.text("--home-dir", u.HomeDir)
	if isTrue(u.NoCreateHome) {
		c.args = append(c.args, "--no-create-home")
	} else {
		c.args = append(c.args, "--create-home")
	}
	c.flag("--no-user-group", u.NoUserGroup)
	c.flag("--system", u.System)
	c.flag("--no-log-init", u.NoLogInit)
	c.password(hashOrNone(u.PasswordHash))
	c.common(u)
	return c
}

func (m *Manager) modArgs(u config.User) *command {
	c := m.command()
	if text(u.HomeDir) != "" {
		c.text("--home", u.HomeDir)
		c.args = append(c.args, "--move-home")
	}
	if u.PasswordHash != nil {
		c.password(hashOrNone(u.PasswordHash))
	}
	c.common(u)
	return c
}

// setPassword sets it once more: useradd on some systems does not take "*".
func (m *Manager) setPassword(ctx context.Context, l *oplog.Logger, op oplog.Op, u config.User) error {
	op = userOp("set-password", op)
	c := m.command()
	c.password(hashOrNone(u.PasswordHash))
	return m.unless(l, op, func() (bool, error) { return m.samePassword(u) }, func() error { return m.run(ctx, l, op, distro.Usermod, c, u.Name) })
}

// ownHomes gives directories that the mount stage made in the place of the
// user's home to the user: useradd leaves an existing home as it is. The
// paths lead into what is mounted there, so a mounted filesystem's top gets
// the owner and the mount point beneath it does not.
func (m *Manager) ownHomes(user string, homes []string) error {
	if len(homes) == 0 {
		return nil
	}
	a, err := NewDB(m.Root).User(user)
	if err != nil {
		return err
	}
	home, err := m.Root.Resolve(a.Home + "/.")
	if err != nil {
		return err
	}
	for _, dir := range homes {
		if !within(home, dir) {
			continue
		}
		if err := m.Root.Lchown(dir, a.UID, a.GID); err != nil {
			return err
		}
		if err := m.Root.Chmod(dir, 0o700); err != nil {
			return err
		}
	}
	return nil
}

// within tells whether dir is home or below it. A home that is the root is
// nobody's: all of the tree would change hands.
func within(home, dir string) bool {
	if home == "/" {
		return false
	}
	return dir == home || strings.HasPrefix(dir, home+"/")
}

func (m *Manager) run(ctx context.Context, l *oplog.Logger, op oplog.Op, tool string, c *command, name string) error {
	_, err := m.Runner.Logged(ctx, l, op, exec.Cmd{Name: tool, Args: append(c.args, name), Secret: c.secret})
	return err
}

// command gathers a tool's arguments.
type command struct {
	args   []string
	secret []int
}

func (m *Manager) command() *command {
	return &command{args: []string{"--root", m.Root.Path()}}
}

// text adds an option unless its value is unset or empty.
func (c *command) text(option string, v *string) {
	if s := text(v); s != "" {
		c.args = append(c.args, option, s)
	}
}

func (c *command) number(option string, v *int) {
	if v != nil {
		c.args = append(c.args, option, strconv.Itoa(*v))
	}
}

func (c *command) flag(option string, v *bool) {
	if isTrue(v) {
		c.args = append(c.args, option)
	}
}

func (c *command) password(p string) {
	c.args = append(c.args, "--password", p)
	if p != noPassword {
		c.secret = append(c.secret, len(c.args)-1)
	}
}

// common adds what useradd and usermod have in common, in their order.
func (c *command) common(u config.User) {
	c.number("--uid", u.UID)
	c.text("--comment", u.Gecos)
	c.text("--gid", u.PrimaryGroup)
	groups := slices.DeleteFunc(slices.Clone(u.Groups), func(g string) bool { return g == "" })
	if len(groups) > 0 {
		c.args = append(c.args, "--groups", strings.Join(groups, ","))
	}
	c.text("--shell", u.Shell)
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func hashOrNone(h *string) string {
	if text(h) == "" {
		return noPassword
	}
	return *h
}

func isTrue(b *bool) bool  { return b != nil && *b }
func isFalse(b *bool) bool { return b != nil && !*b }

// CheckName refuses names that a tool would take for an option, or that would
// break the files they are written to. kind is "user" or "group".
func CheckName(kind, name string) error {
	bad := strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f || r == ':' || r == '/' || r == ',' })
	switch {
	case name == "":
		return fmt.Errorf("the %s name is empty", kind)
	case name[0] == '-':
		return fmt.Errorf("the %s name %q begins with a dash", kind, name)
	case name[0] == '+':
		return fmt.Errorf("the %s name %q begins with a plus sign", kind, name)
	case bad:
		return fmt.Errorf("the %s name %q holds a character that no name may have", kind, name)
	}
	return nil
}

// checkID keeps numbers from being cut to 32 bits; the highest one means "unchanged" to chown.
func checkID(kind string, id *int) error {
	if id != nil && (*id < 0 || int64(*id) >= maxID) {
		return fmt.Errorf("%s %d is out of range (0 to %d)", kind, *id, maxID-1)
	}
	return nil
}

const maxID = 1<<32 - 1
