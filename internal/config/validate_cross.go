// SPDX-License-Identifier: Apache-2.0

package config

import "path"

const systemdUnitDir = "/etc/systemd/system/"

type pathSet map[string]struct{}

func (s pathSet) has(p string) bool {
	_, ok := s[p]
	return ok
}

// hasAncestor tells whether some directory above p is in the set. It costs one look-up per slash, however
// many paths the set holds.
func (s pathSet) hasAncestor(p string) bool {
	if len(s) == 0 {
		return false
	}
	for i := 1; i < len(p); i++ {
		if p[i] == '/' && s.has(p[:i]) {
			return true
		}
	}
	return false
}

// checkUnitFileConflicts finds nodes that stand where a unit or drop-in will be written.
func (k *rules) checkUnitFileConflicts(p *place, c *Config) {
	taken := make(pathSet)
	for i := range c.Systemd.Units {
		u := &c.Systemd.Units[i]
		if text(u.Contents) != "" {
			taken[systemdUnitDir+u.Name] = struct{}{}
		}
		for j := range u.Dropins {
			if text(u.Dropins[j].Contents) != "" {
				taken[systemdUnitDir+u.Name+".d/"+u.Dropins[j].Name] = struct{}{}
			}
		}
	}
	if len(taken) == 0 {
		return
	}
	storage := p.field("storage")
	check := func(list string, i int, n *Node) {
		if taken.has(n.Path) {
			k.fail(storage.field(list).at(i).field("path"), "path conflicts with systemd unit or dropin")
		}
	}
	for i := range c.Storage.Directories {
		check("directories", i, &c.Storage.Directories[i].Node)
	}
	for i := range c.Storage.Files {
		check("files", i, &c.Storage.Files[i].Node)
	}
	for i := range c.Storage.Links {
		check("links", i, &c.Storage.Links[i].Node)
	}
}

func (k *rules) checkStorage(p *place, c *Storage) {
	k.checkLinkConflicts(p, c)
	k.checkFilesystemsOnDisks(p, c)
	for i := range c.Directories {
		k.checkDirectory(p.field("directories").at(i), &c.Directories[i])
	}
	for i := range c.Disks {
		k.checkDisk(p.field("disks").at(i), &c.Disks[i])
	}
	for i := range c.Files {
		k.checkFile(p.field("files").at(i), &c.Files[i])
	}
	for i := range c.Filesystems {
		k.checkFilesystem(p.field("filesystems").at(i), &c.Filesystems[i])
	}
	for i := range c.Links {
		k.checkLink(p.field("links").at(i), &c.Links[i])
	}
	for i := range c.LUKS {
		k.checkLUKS(p.field("luks").at(i), &c.LUKS[i])
	}
	for i := range c.RAID {
		k.checkRAID(p.field("raid").at(i), &c.RAID[i])
	}
}

// checkLinkConflicts finds nodes below a link: where they would end up depends on the link's target.
func (k *rules) checkLinkConflicts(p *place, c *Storage) {
	if len(c.Links) == 0 {
		return
	}
	links := make(pathSet, len(c.Links))
	for i := range c.Links {
		links[c.Links[i].Path] = struct{}{}
	}
	directories := make(pathSet, len(c.Directories))
	for i := range c.Directories {
		directories[c.Directories[i].Path] = struct{}{}
		if links.hasAncestor(c.Directories[i].Path) {
			k.fail(p.field("directories").at(i), "directory path includes link in config")
		}
	}
	for i := range c.Files {
		if links.hasAncestor(c.Files[i].Path) {
			k.fail(p.field("files").at(i), "file path includes link in config")
		}
	}
	for i := range c.Links {
		link := p.field("links").at(i)
		if links.hasAncestor(c.Links[i].Path) {
			k.fail(link, "link path includes link in config")
		}
		if isTrue(c.Links[i].Hard) {
			k.checkHardLink(link, &c.Links[i], directories)
		}
	}
}

func (k *rules) checkHardLink(p *place, c *Link, directories pathSet) {
	if target := text(c.Target); target != "" {
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(c.Path), target)
		}
		if directories.has(path.Clean(target)) {
			k.fail(p, "hard link target is a directory")
		}
	}
	for _, owner := range [...]struct {
		name  string
		given *NodeOwner
	}{{"user", &c.User}, {"group", &c.Group}} {
		if owner.given.ID != nil {
			k.warn(p.field(owner.name).field("id"), "user/group ignored for hard link")
		}
		if owner.given.Name != nil {
			k.warn(p.field(owner.name).field("name"), "user/group ignored for hard link")
		}
	}
}

// checkFilesystemsOnDisks warns of a filesystem on a whole disk that is partitioned or wiped.
func (k *rules) checkFilesystemsOnDisks(p *place, c *Storage) {
	if len(c.Disks) == 0 || len(c.Filesystems) == 0 {
		return
	}
	disks := make(map[string]*Disk, len(c.Disks))
	for i := range c.Disks {
		disks[c.Disks[i].Device] = &c.Disks[i]
	}
	for i := range c.Filesystems {
		disk := disks[c.Filesystems[i].Device]
		device := p.field("filesystems").at(i).field("device")
		switch {
		case disk == nil || k.isVirtioFS(text(c.Filesystems[i].Format)): // a share's tag is no device
		case len(disk.Partitions) > 0:
			k.warn(device, "filesystem overwrites partitioned device")
		case isTrue(disk.WipeTable) && !isTrue(c.Filesystems[i].WipeFilesystem):
			k.warn(device, "device matches disk with wipeTable enabled; filesystem will be wiped")
		}
	}
}
