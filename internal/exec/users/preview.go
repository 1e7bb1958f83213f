// SPDX-License-Identifier: Apache-2.0

package users

import (
	"errors"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/plan"
)

// PreviewGroup tells what EnsureGroup would do.
func (m *Manager) PreviewGroup(configPath string, g config.Group) ([]plan.Operation, error) {
	_, err := NewDB(m.Root).Group(g.Name)
	exists := err == nil
	switch {
	case err != nil && !errors.Is(err, ErrNotFound):
		return nil, err
	case isFalse(g.ShouldExist) && !exists:
		return nil, nil
	case isFalse(g.ShouldExist):
		op := plan.Of(groupOp("delete-group", g.Name, configPath), plan.Delete)
		op.Loses = "the group"
		return []plan.Operation{op}, nil
	case !exists:
		return []plan.Operation{plan.Of(groupOp("add-group", g.Name, configPath), plan.Create)}, nil
	}
	effect, err := m.effect(func() (bool, error) { return m.sameGroup(g) })
	return []plan.Operation{plan.Of(groupOp("modify-group", g.Name, configPath), effect)}, err
}

// effect is of a change to what exists.
func (m *Manager) effect(same func() (bool, error)) (plan.Effect, error) {
	if !m.Finished {
		return plan.Change, nil
	}
	ok, err := same()
	if ok {
		return plan.Keep, err
	}
	return plan.Change, err
}

// PreviewUser tells what EnsureUser would do.
func (m *Manager) PreviewUser(configPath string, u config.User) (list []plan.Operation, err error) {
	a, err := NewDB(m.Root).User(u.Name)
	exists := err == nil
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	add := func(kind string, same func() (bool, error)) error {
		effect := plan.Create
		if exists {
			var err error
			if effect, err = m.effect(same); err != nil {
				return err
			}
		}
		list = append(list, plan.Of(userOp(kind, oplog.Op{Path: u.Name, ConfigPath: configPath}), effect))
		return nil
	}
	if isFalse(u.ShouldExist) {
		if exists {
			op := plan.Of(userOp("delete-user", oplog.Op{Path: u.Name, ConfigPath: configPath}), plan.Delete)
			op.Loses = "the account, and " + a.Home + " with all that is in it"
			list = append(list, op)
		}
		return list, nil
	}
	if err := add("ensure-user", func() (bool, error) { return m.sameUser(u) }); err != nil {
		return nil, err
	}
	if u.PasswordHash != nil {
		if err := add("set-password", func() (bool, error) { return m.samePassword(u) }); err != nil {
			return nil, err
		}
	}
	if len(u.SSHAuthorizedKeys) > 0 {
		return list, add("add-keys", func() (bool, error) {
			file, err := m.Root.Resolve(m.keyPath(a.Home))
			return err == nil && m.sameKeys(file, u.SSHAuthorizedKeys), nil
		})
	}
	return list, nil
}

// HomeOf tells where useradd will make the home of a new user, and what it
// copies there.
func (m *Manager) HomeOf(u config.User) (home, skeleton string) {
	base, skeleton := "/home", "/etc/skel"
	raw, _ := m.Root.ReadFile("/etc/default/useradd") // without it the defaults hold
	for line := range strings.Lines(string(raw)) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch key {
		case "HOME":
			base = value
		case "SKEL":
			skeleton = value
		}
	}
	if h := text(u.HomeDir); h != "" {
		return h, skeleton
	}
	return base + "/" + u.Name, skeleton
}
