// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"firstboot.dev/ignition/internal/config"
)

// units translates units in the order of first appearance. Later entries of one name go into the first.
func (t *translation) units(list []unit) {
	index := map[string]int{}
	for i := range list {
		u := t.unit(&list[i], at("systemd", "units").at(i))
		n, merge := index[u.Name]
		if merge {
			t.out.Systemd.Units[n] = mergeUnits(t.out.Systemd.Units[n], u)
		} else {
			n = len(t.out.Systemd.Units)
			index[u.Name] = n
			t.comes(at("systemd", "units").at(n), at("systemd", "units").at(i))
			t.out.Systemd.Units = append(t.out.Systemd.Units, u)
		}
		if merge && u.Contents != nil {
			t.comes(at("systemd", "units").at(n).field("contents"), at("systemd", "units").at(i).field("contents"))
		}
		for j := range u.Dropins {
			for k, d := range t.out.Systemd.Units[n].Dropins {
				if merge && d.Name == u.Dropins[j].Name {
					t.comes(at("systemd", "units").at(n).field("dropins").at(k), at("systemd", "units").at(i).field("dropins").at(j))
				}
			}
		}
	}
}

// mergeUnits merges by the rules of 3.x.
func mergeUnits(a, b config.Unit) config.Unit {
	whole := func(u config.Unit) config.Config {
		return config.Config{Systemd: config.Systemd{Units: []config.Unit{u}}}
	}
	return config.Merge(whole(a), whole(b)).Systemd.Units[0]
}

func (t *translation) unit(u *unit, here *place) config.Unit {
	out := config.Unit{Name: u.Name, Contents: filled(&u.Contents), Mask: ifTrue(u.Mask), Enabled: u.Enabled}
	if out.Enabled == nil {
		out.Enabled = ifTrue(u.Enable)
	}
	seen := map[string]bool{}
	for i := range u.Dropins {
		d := &u.Dropins[i]
		if seen[d.Name] {
			t.failf(here.field("dropins").at(i), "Config has duplicate dropin name %q in unit %q.  All dropins must specify a unique `name`.", d.Name, u.Name)
		}
		seen[d.Name] = true
		out.Dropins = append(out.Dropins, config.Dropin{Name: d.Name, Contents: filled(&d.Contents)})
	}
	return out
}

// networkd makes files of what spec 3.x has no section for.
func (t *translation) networkd(list []networkdUnit) {
	const dir = "/etc/systemd/network/"
	for i := range list {
		u, here := &list[i], at("networkd", "units").at(i)
		if u.Contents != "" {
			t.networkdFile(dir+u.Name, u.Contents, here)
		}
		for j := range u.Dropins {
			t.networkdFile(dir+u.Name+".d/"+u.Dropins[j].Name, u.Dropins[j].Contents, here.field("dropins").at(j))
		}
	}
}

func (t *translation) networkdFile(name, contents string, here *place) {
	overwrite, mode, source := true, 0o644, escape(contents, "-_.~$&+=:@")
	to := at("storage", "files").at(len(t.out.Storage.Files))
	t.comes(to, here)
	t.comes(to.field("path"), here.field("name"))
	t.out.Storage.Files = append(t.out.Storage.Files, config.File{
		Node: config.Node{Path: name, Overwrite: &overwrite}, Mode: &mode, Contents: config.Resource{Source: &source},
	})
}

func (t *translation) passwd(p *passwd) {
	for i := range p.Groups {
		g := &p.Groups[i]
		t.out.Passwd.Groups = append(t.out.Passwd.Groups, config.Group{Name: g.Name, GID: g.GID,
			PasswordHash: filled(g.PasswordHash), System: ifTrue(g.System)})
	}
	for i := range p.Users {
		u := &p.Users[i]
		a := &u.account
		if u.Create != nil {
			a = u.Create
			t.comes(at("passwd", "users").at(i).field("groups"), at("passwd", "users").at(i).field("create").field("groups"))
		}
		hash := u.PasswordHash
		if t.v.Before(v2_1) {
			hash = filled(hash)
		}
		t.out.Passwd.Users = append(t.out.Passwd.Users, config.User{
			Name: u.Name, PasswordHash: hash, SSHAuthorizedKeys: u.SSHAuthorizedKeys,
			Gecos: filled(a.Gecos), Groups: a.Groups, HomeDir: filled(a.HomeDir), NoCreateHome: ifTrue(a.NoCreateHome),
			NoLogInit: ifTrue(a.NoLogInit), NoUserGroup: ifTrue(a.NoUserGroup), PrimaryGroup: filled(a.PrimaryGroup),
			Shell: filled(a.Shell), System: ifTrue(a.System), UID: a.UID,
		})
	}
}
