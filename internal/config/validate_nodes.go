// SPDX-License-Identifier: Apache-2.0

package config

func (k *rules) checkDirectory(p *place, c *Directory) {
	k.checkPath(p.field("path"), c.Path)
	k.checkMode(p, c.Mode)
	k.checkOwners(p, &c.Node)
}

func (k *rules) checkFile(p *place, c *File) {
	k.checkPath(p.field("path"), c.Path)
	k.checkMode(p, c.Mode)
	if isTrue(c.Overwrite) && c.Contents.Source == nil {
		k.fail(p.field("overwrite"), "overwrite must be false if source is unspecified")
	}
	k.checkOwners(p, &c.Node)
	for i := range c.Append {
		k.checkResource(p.field("append").at(i), &c.Append[i])
	}
	k.checkResource(p.field("contents"), &c.Contents)
}

func (k *rules) checkLink(p *place, c *Link) {
	k.checkPath(p.field("path"), c.Path)
	if text(c.Target) == "" && !k.v.Before(V3_3) {
		k.fail(p.field("target"), "link target is required")
	}
	k.checkOwners(p, &c.Node)
}

func (k *rules) checkOwners(p *place, c *Node) {
	k.checkOwner(p.field("group"), &c.Group)
	k.checkOwner(p.field("user"), &c.User)
}

func (k *rules) checkOwner(p *place, c *NodeOwner) {
	if c.ID != nil && text(c.Name) != "" {
		k.fail(p, "cannot set both id and name")
	}
}

func (k *rules) checkMode(p *place, mode *int) {
	if mode == nil {
		return
	}
	if *mode < 0 || *mode > 0o7777 {
		k.fail(p.field("mode"), "illegal file mode")
	}
	if k.v.Before(V3_6) && *mode&0o7000 != 0 {
		k.warn(p.field("mode"),
			"setuid/setgid/sticky bits are not supported or functional in spec versions older than 3.6.0")
	}
}
