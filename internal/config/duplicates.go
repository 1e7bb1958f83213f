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
	checkKeys(arguments, kargs.field("shouldExist"), len(c.KernelArguments.ShouldExist), func(i int) string { return c.KernelArguments.ShouldExist[i] })
	checkKeys(arguments, kargs.field("shouldNotExist"), len(c.KernelArguments.ShouldNotExist), func(i int) string { return c.KernelArguments.ShouldNotExist[i] })

	d.passwd(root.field("passwd"), &c.Passwd)
	d.storage(root.field("storage"), &c.Storage)

	list := root.field("systemd").field("units")
	checkKeys(newKeys[string](d), list, len(c.Systemd.Units), func(i int) string { return c.Systemd.Units[i].Name })
	for i := range c.Systemd.Units {
		checkKeys(newKeys[string](d), list.at(i).field("dropins"), len(c.Systemd.Units[i].Dropins),
			func(j int) string { return c.Systemd.Units[i].Dropins[j].Name })
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

// checkKeys reports the entries of a list of n whose keys came before. It is generic in the keys only: one copy of
// it for each type of entries would be much code.
func checkKeys[K comparable](k *keys[K], p *place, n int, key func(i int) K) {
	k.expected += n
	for i := range n {
		if k.add(key(i)) {
			k.owner.report.Entries = append(k.owner.report.Entries, report.Entry{
				Kind: report.Error, Message: "duplicate entry defined", Context: p.at(i).context(),
			})
		}
	}
}

func (d *duplicates) strings(p *place, list []string) {
	checkKeys(newKeys[string](d), p, len(list), func(i int) string { return list[i] })
}

func (d *duplicates) resource(p *place, r *Resource) {
	if len(r.HTTPHeaders) > 1 {
		checkKeys(newKeys[string](d), p.field("httpHeaders"), len(r.HTTPHeaders), func(i int) string { return r.HTTPHeaders[i].Name })
	}
}

func (d *duplicates) ignition(p *place, c *Ignition) {
	list := p.field("config").field("merge")
	checkKeys(newKeys[string](d), list, len(c.Config.Merge), func(i int) string { return text(c.Config.Merge[i].Source) })
	for i := range c.Config.Merge {
		d.resource(list.at(i), &c.Config.Merge[i])
	}
	d.resource(p.field("config").field("replace"), &c.Config.Replace)
	d.strings(p.field("proxy").field("noProxy"), c.Proxy.NoProxy)
	list = p.field("security").field("tls").field("certificateAuthorities")
	checkKeys(newKeys[string](d), list, len(c.Security.TLS.CertificateAuthorities), func(i int) string { return text(c.Security.TLS.CertificateAuthorities[i].Source) })
	for i := range c.Security.TLS.CertificateAuthorities {
		d.resource(list.at(i), &c.Security.TLS.CertificateAuthorities[i])
	}
}

func (d *duplicates) passwd(p *place, c *Passwd) {
	checkKeys(newKeys[string](d), p.field("groups"), len(c.Groups), func(i int) string { return c.Groups[i].Name })
	users := p.field("users")
	checkKeys(newKeys[string](d), users, len(c.Users), func(i int) string { return c.Users[i].Name })
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
	checkKeys(nodes, p.field("directories"), len(c.Directories), func(i int) string { return c.Directories[i].Path })
	checkKeys(nodes, p.field("files"), len(c.Files), func(i int) string { return c.Files[i].Path })
	checkKeys(nodes, p.field("links"), len(c.Links), func(i int) string { return c.Links[i].Path })
	checkKeys(newKeys[string](d), p.field("disks"), len(c.Disks), func(i int) string { return c.Disks[i].Device })
	checkKeys(newKeys[string](d), p.field("filesystems"), len(c.Filesystems), func(i int) string { return c.Filesystems[i].Device })
	checkKeys(newKeys[string](d), p.field("luks"), len(c.LUKS), func(i int) string { return c.LUKS[i].Name })
	checkKeys(newKeys[string](d), p.field("raid"), len(c.RAID), func(i int) string { return c.RAID[i].Name })

	for i := range c.Disks {
		checkKeys(newKeys[partitionKey](d), p.field("disks").at(i).field("partitions"), len(c.Disks[i].Partitions),
			func(j int) partitionKey { return keyOfPartition(&c.Disks[i].Partitions[j]) })
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
		checkKeys(newKeys[string](d), luks.field("clevis").field("tang"), len(c.LUKS[i].Clevis.Tang),
			func(j int) string { return c.LUKS[i].Clevis.Tang[j].URL })
		d.resource(luks.field("keyFile"), &c.LUKS[i].KeyFile)
		d.strings(luks.field("openOptions"), c.LUKS[i].OpenOptions)
	}
	for i := range c.RAID {
		d.strings(p.field("raid").at(i).field("devices"), c.RAID[i].Devices)
	}
}
