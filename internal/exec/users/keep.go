// SPDX-License-Identifier: Apache-2.0

package users

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/config"
)

// What an earlier run has finished is compared with the config, so that a tool
// is started for what differs only.

// sameGroup tells whether a group that exists is as the config says.
func (m *Manager) sameGroup(g config.Group) (bool, error) {
	have, err := NewDB(m.Root).Group(g.Name)
	if err != nil || g.GID != nil && *g.GID != have.GID {
		return false, err
	}
	if text(g.PasswordHash) == "" {
		return true, nil
	}
	return m.sameSecret("/etc/gshadow", g.Name, *g.PasswordHash)
}

// sameUser tells whether an account that exists is as the config says.
func (m *Manager) sameUser(u config.User) (bool, error) {
	have, err := NewDB(m.Root).User(u.Name)
	switch {
	case err != nil:
		return false, err
	case u.UID != nil && *u.UID != have.UID,
		text(u.Gecos) != "" && *u.Gecos != have.Comment,
		text(u.HomeDir) != "" && *u.HomeDir != have.Home,
		text(u.Shell) != "" && *u.Shell != have.Shell:
		return false, nil
	}
	if same, err := m.sameGroups(u, have); !same || err != nil {
		return false, err
	}
	return m.samePassword(u)
}

// samePassword tells whether the account has the password of the config, if that has one.
func (m *Manager) samePassword(u config.User) (bool, error) {
	if u.PasswordHash == nil {
		return true, nil
	}
	return m.sameSecret("/etc/shadow", u.Name, hashOrNone(u.PasswordHash))
}

// sameGroups compares the primary group and the list of the others.
func (m *Manager) sameGroups(u config.User, have Account) (bool, error) {
	if g := text(u.PrimaryGroup); g != "" {
		gid, err := strconv.Atoi(g)
		if entry, lookErr := NewDB(m.Root).Group(g); lookErr == nil {
			gid, err = entry.GID, nil
		}
		if err != nil || gid != have.GID {
			return false, nil
		}
	}
	var want []string
	for _, g := range u.Groups {
		if g != "" && !slices.Contains(want, g) {
			want = append(want, g)
		}
	}
	if len(want) == 0 {
		return true, nil
	}
	var in []string
	_, err := NewDB(m.Root).find("group", 4, func(f []string) (bool, error) {
		if slices.Contains(strings.Split(f[3], ","), u.Name) && !slices.Contains(in, f[0]) {
			in = append(in, f[0])
		}
		return false, nil
	})
	slices.Sort(want)
	slices.Sort(in)
	return slices.Equal(want, in), err
}

// sameSecret compares the second field of the name's line.
func (m *Manager) sameSecret(file, name, want string) (bool, error) {
	raw, err := m.Root.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	for line := range strings.Lines(string(raw)) {
		if f := splitLine(line); len(f) > 1 && f[0] == name {
			return f[1] == want, nil
		}
	}
	return false, err
}

// sameKeys tells whether the key file is as it would be written.
func (m *Manager) sameKeys(file string, keys []string) bool {
	have, err := m.Root.ReadFile(file)
	return err == nil && bytes.Equal(have, keyText(keys))
}
