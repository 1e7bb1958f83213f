// SPDX-License-Identifier: Apache-2.0

package legacy

import "firstboot.dev/ignition/internal/config"

// units translates units in the order of first appearance. Later entries of one name go into the first.
func (t *translation) units(list []unit) {
	index := map[string]int{}
	units := at("systemd", "units")
	for i := range list {
		u := &list[i].Unit
		t.unit(&list[i], units.at(i))
		if n, again := index[u.Name]; again {
			var parent, child config.Config
			parent.Systemd.Units, child.Systemd.Units = t.out.Systemd.Units[n:n+1], []config.Unit{*u}
			t.out.Systemd.Units[n] = config.Merge(parent, child).Systemd.Units[0]
			t.mergedUnit(&t.out.Systemd.Units[n], u, units.at(n), units.at(i))
			continue
		}
		n := len(t.out.Systemd.Units)
		index[u.Name] = n
		t.comes(units.at(n), units.at(i))
		t.out.Systemd.Units = append(t.out.Systemd.Units, *u)
	}
}

// mergedUnit notes what of a unit comes from a later entry.
func (t *translation) mergedUnit(out, later *config.Unit, to, from *place) {
	if later.Contents != nil {
		t.comes(to.field("contents"), from.field("contents"))
	}
	index := map[string]int{}
	for i := range later.Dropins {
		index[later.Dropins[i].Name] = i
	}
	for i := range out.Dropins {
		if n, ok := index[out.Dropins[i].Name]; ok {
			t.comes(to.field("dropins").at(i), from.field("dropins").at(n))
		}
	}
}

// unit gives a unit its new form.
func (t *translation) unit(u *unit, here *place) {
	enabled := u.Enabled
	if enabled == nil {
		enabled = ifTrue(u.Enable)
	}
	prune(&u.Unit)
	u.Enabled = enabled
	seen := map[string]bool{}
	for i := range u.Dropins {
		d := &u.Dropins[i]
		prune(d)
		if seen[d.Name] {
			t.failf(here.field("dropins").at(i), "Config has duplicate dropin name %q in unit %q.  All dropins must specify a unique `name`.", d.Name, u.Name)
		}
		seen[d.Name] = true
	}
}

// networkd makes files of what spec 3.x has no section for. A drop-in without contents is a file, too.
func (t *translation) networkd(list []config.Unit) {
	const dir = "/etc/systemd/network/"
	units := at("networkd", "units")
	for i := range list {
		u := &list[i]
		if filled(u.Contents) != nil {
			t.networkdFile(dir+u.Name, u.Contents, units.at(i))
		}
		for j := range u.Dropins {
			t.networkdFile(dir+u.Name+".d/"+u.Dropins[j].Name, u.Dropins[j].Contents, units.at(i).field("dropins").at(j))
		}
	}
}

func (t *translation) networkdFile(name string, contents *string, here *place) {
	overwrite, mode := true, 0o644
	to := at("storage", "files").at(len(t.out.Storage.Files))
	t.comes(to, here)
	t.comes(to.field("path"), here.field("name"))
	t.out.Storage.Files = append(t.out.Storage.Files, config.File{})
	f := &t.out.Storage.Files[len(t.out.Storage.Files)-1]
	f.Path, f.Overwrite, f.Mode, f.Contents.Source = name, &overwrite, &mode, escape(text(contents), "-_.~$&+=:@")
}

// user takes all fields but three from create, if that is there.
func (t *translation) user(u *user, here *place) {
	out, hash := &u.User, u.PasswordHash
	if u.Create != nil {
		out = u.Create
		out.Name, out.SSHAuthorizedKeys = u.Name, u.SSHAuthorizedKeys
		t.comes(here.field("groups"), here.field("create").field("groups"))
	}
	prune(out)
	out.PasswordHash = hash
	if t.v.Before(v2_1) {
		out.PasswordHash = filled(hash)
	}
	t.out.Passwd.Users = append(t.out.Passwd.Users, *out)
}
