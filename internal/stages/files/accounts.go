// SPDX-License-Identifier: Apache-2.0

package files

import (
	"fmt"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/users"
)

// checkAccounts refuses names that no tool may see, before anything is changed.
func (s *stage) checkAccounts() error {
	if s.Live && !s.Accounts {
		return nil
	}
	for i, g := range s.Config.Passwd.Groups {
		if err := users.CheckName("group", g.Name); err != nil {
			err = fmt.Errorf("failed to configure groups: failed to create group %q: %w", g.Name, err)
			return entryError(fmt.Sprintf("$.passwd.groups.%d", i), err)
		}
	}
	for i, u := range s.Config.Passwd.Users {
		if err := users.CheckName("user", u.Name); err != nil {
			err = fmt.Errorf("failed to configure users: failed to create user %q: %w", u.Name, err)
			return entryError(fmt.Sprintf("$.passwd.users.%d", i), err)
		}
	}
	return nil
}

// createAccounts makes groups, then users, in config order.
func (s *stage) createAccounts() error {
	accounts := s.Config.Passwd
	if len(accounts.Groups)+len(accounts.Users) == 0 {
		return nil
	}
	m := &users.Manager{
		Root: s.Root, Runner: s.Runner, Fragments: s.Fragments,
		OnKeys: s.Log.WroteKeys, Interrupted: s.mark.again, Finished: s.finished,
	}
	if len(accounts.Groups) > 0 {
		log := s.Log.With("ensureGroups")
		for i, g := range accounts.Groups {
			entry := fmt.Sprintf("$.passwd.groups.%d", i)
			if err := m.EnsureGroup(s.ctx, log, entry, g); err != nil {
				return entryError(entry, fmt.Errorf("failed to configure groups: %w", err))
			}
		}
	}
	if len(accounts.Users) > 0 {
		log := s.Log.With("ensureUsers")
		for i, u := range accounts.Users {
			entry := fmt.Sprintf("$.passwd.users.%d", i)
			if err := m.EnsureUser(s.ctx, log, entry, u, s.NotatedDirs); err != nil {
				return entryError(entry, fmt.Errorf("failed to configure users: %w", err))
			}
		}
	}
	if s.labels != nil {
		homes, err := s.homes(accounts.Users)
		if err == nil {
			err = s.labels.AddAccounts(homes)
		}
		if err != nil {
			return err
		}
	}
	_, err := s.openDir("/etc") // so that its filesystem is synced
	return err
}

// homes lists the homes of the users that have one of their own.
func (s *stage) homes(list []config.User) ([]string, error) {
	var homes []string
	for _, u := range list {
		if u.ShouldExist != nil && !*u.ShouldExist || u.NoCreateHome != nil && *u.NoCreateHome {
			continue
		}
		account, err := s.names.User(u.Name)
		if err != nil {
			return nil, err
		}
		if account.Home != "" {
			homes = append(homes, account.Home)
		}
	}
	return homes, nil
}
