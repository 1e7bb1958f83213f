// SPDX-License-Identifier: Apache-2.0

package config

import "github.com/coreos/vcontext/report"

// validateDuplicates reports each later entry of a list whose key an earlier one has. Lists that merge by
// appending may repeat themselves.
func validateDuplicates(c *Config) report.Report {
	d := &duplicates{}
	root := &place{}
	d.ignition(root.field("ignition"), &c.Ignition)

	arguments := newKeys[string](d)
	kargs := root.field("kernelArguments")
	checkKeys(arguments, kargs.field("shouldExist"), c.KernelArguments.ShouldExist, stringKey)
	checkKeys(arguments, kargs.field("shouldNotExist"), c.KernelArguments.ShouldNotExist, stringKey)

	d.passwd(root.field("passwd"), &c.Passwd)
	d.storage(root.field("storage"), &c.Storage)

	list := root.field("systemd").field("units")
	checkKeys(newKeys[string](d), list, c.Systemd.Units, func(u *Unit) string { return u.Name })
	for i := range c.Systemd.Units {
		checkKeys(newKeys[string](d), list.at(i).field("dropins"), c.Systemd.Units[i].Dropins,
			func(x *Dropin) string { return x.Name })
	}
	return d.report
}

type duplicates struct{ report report.Report }

// keys is one key space; several lists may share it.
type keys[K comparable] struct {
	owner *duplicates
	seen  map[K]struct{}
	first K // stands in for the map while there is one key only, as in most lists
	count int

	expected int // how many keys may come
}

func newKeys[K comparable](d *duplicates) *keys[K] { return &keys[K]{owner: d} }

// add tells whether the key was there before.
func (k *keys[K]) add(key K) bool {
	k.count++
	if k.count == 1 {
		k.first = key
		return false
	}
	if k.seen == nil {
		k.seen = make(map[K]struct{}, k.expected)
		k.seen[k.first] = struct{}{}
	}
	_, repeated := k.seen[key]
	k.seen[key] = struct{}{}
	return repeated
}

func checkKeys[E any, K comparable](k *keys[K], p *place, list []E, key func(*E) K) {
	k.expected += len(list)
	for i := range list {
		if k.add(key(&list[i])) {
			k.owner.report.Entries = append(k.owner.report.Entries, report.Entry{
				Kind: report.Error, Message: "duplicate entry defined", Context: p.at(i).context(),
			})
		}
	}
}

func stringKey(s *string) string { return *s }

func sourceKey(r *Resource) string { return text(r.Source) }

func (d *duplicates) strings(p *place, list []string) {
	checkKeys(newKeys[string](d), p, list, stringKey)
}

func (d *duplicates) resource(p *place, r *Resource) {
	if len(r.HTTPHeaders) > 1 {
		checkKeys(newKeys[string](d), p.field("httpHeaders"), r.HTTPHeaders, func(h *HTTPHeader) string { return h.Name })
	}
}

func (d *duplicates) ignition(p *place, c *Ignition) {
	list := p.field("config").field("merge")
	checkKeys(newKeys[string](d), list, c.Config.Merge, sourceKey)
	for i := range c.Config.Merge {
		d.resource(list.at(i), &c.Config.Merge[i])
	}
	d.resource(p.field("config").field("replace"), &c.Config.Replace)
	d.strings(p.field("proxy").field("noProxy"), c.Proxy.NoProxy)
	list = p.field("security").field("tls").field("certificateAuthorities")
	checkKeys(newKeys[string](d), list, c.Security.TLS.CertificateAuthorities, sourceKey)
	for i := range c.Security.TLS.CertificateAuthorities {
		d.resource(list.at(i), &c.Security.TLS.CertificateAuthorities[i])
	}
}

func (d *duplicates) passwd(p *place, c *Passwd) {
	checkKeys(newKeys[string](d), p.field("groups"), c.Groups, func(g *Group) string { return g.Name })
	users := p.field("users")
	checkKeys(newKeys[string](d), users, c.Users, func(u *User) string { return u.Name })
	for i := range c.Users {
		d.strings(users.at(i).field("groups"), c.Users[i].Groups)
		d.strings(users.at(i).field("sshAuthorizedKeys"), c.Users[i].SSHAuthorizedKeys)
	}
}

// partitionKey identifies a partition by number, else by label; all others share the zero key.
type partitionKey struct {
	number  int
	label   string
	byLabel bool
}

func keyOfPartition(c *Partition) partitionKey {
	switch {
	case c.Number != 0:
		return partitionKey{number: c.Number}
	case c.Label != nil:
		return partitionKey{label: *c.Label, byLabel: true}
	}
	return partitionKey{}
}

func (d *duplicates) storage(p *place, c *Storage) {
	nodes := newKeys[string](d)
	checkKeys(nodes, p.field("directories"), c.Directories, func(n *Directory) string { return n.Path })
	checkKeys(nodes, p.field("files"), c.Files, func(n *File) string { return n.Path })
	checkKeys(nodes, p.field("links"), c.Links, func(n *Link) string { return n.Path })
	checkKeys(newKeys[string](d), p.field("disks"), c.Disks, func(x *Disk) string { return x.Device })
	checkKeys(newKeys[string](d), p.field("filesystems"), c.Filesystems, func(x *Filesystem) string { return x.Device })
	checkKeys(newKeys[string](d), p.field("luks"), c.LUKS, func(x *LUKS) string { return x.Name })
	checkKeys(newKeys[string](d), p.field("raid"), c.RAID, func(x *RAID) string { return x.Name })

	for i := range c.Disks {
		checkKeys(newKeys[partitionKey](d), p.field("disks").at(i).field("partitions"), c.Disks[i].Partitions, keyOfPartition)
	}
	for i := range c.Files {
		if len(c.Files[i].Append) == 0 && len(c.Files[i].Contents.HTTPHeaders) < 2 {
			continue
		}
		file := p.field("files").at(i)
		for j := range c.Files[i].Append {
			d.resource(file.field("append").at(j), &c.Files[i].Append[j])
		}
		d.resource(file.field("contents"), &c.Files[i].Contents)
	}
	for i := range c.LUKS {
		luks := p.field("luks").at(i)
		checkKeys(newKeys[string](d), luks.field("clevis").field("tang"), c.LUKS[i].Clevis.Tang, func(t *Tang) string { return t.URL })
		d.resource(luks.field("keyFile"), &c.LUKS[i].KeyFile)
		d.strings(luks.field("openOptions"), c.LUKS[i].OpenOptions)
	}
	for i := range c.RAID {
		d.strings(p.field("raid").at(i).field("devices"), c.RAID[i].Devices)
	}
}
