// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"strconv"

	"firstboot.dev/ignition/internal/config"
)

// placed is a node of the result, for the search for clashes.
type placed struct {
	kind, path string
	at         *place
}

func (t *translation) nodes(s *storage) {
	out := &t.out.Storage
	for i := range s.Files {
		f := &s.Files[i]
		if n := t.node("File", &f.node, at("storage", "files").at(len(out.Files))); n != nil {
			out.Files = append(out.Files, config.File{Node: *n, Mode: t.mode(f.Mode, n.Path, "0644 (420)", f.at)})
			t.file(&out.Files[len(out.Files)-1], f)
		}
	}
	for i := range s.Directories {
		d := &s.Directories[i]
		if n := t.node("Directory", &d.node, at("storage", "directories").at(len(out.Directories))); n != nil {
			out.Directories = append(out.Directories, config.Directory{Node: *n, Mode: t.mode(d.Mode, n.Path, "0755 (493)", d.at)})
		}
	}
	links := map[string]bool{}
	for i := range s.Links {
		l := &s.Links[i]
		if n := t.node("Link", &l.node, at("storage", "links").at(len(out.Links))); n != nil {
			if l.Overwrite == nil {
				t.warn(l.at, "overwrite is not given: a link replaced what was at its path, and now it is an error if something is there")
			}
			out.Links = append(out.Links, config.Link{Node: *n, Hard: ifTrue(l.Hard), Target: l.Target})
			links[n.Path] = true
		}
	}
	t.clashes(links)
}

// clashes finds nodes that 3.x does not allow together.
func (t *translation) clashes(links map[string]bool) {
	t.conflicts = map[string]bool{}
	seen := map[string]string{}
	for _, n := range t.placed {
		shown := n.kind + ": " + n.path
		if first := seen[n.path]; first != "" {
			t.conflicts[n.path] = true
			t.failf(n.at, `Config has conflicting inodes: "%s" and "%s".  All files, directories and links must specify a unique %s.`, first, shown, "`path`")
		} else {
			seen[n.path] = shown
		}
		for end := 1; end < len(n.path); end++ {
			if n.path[end] == '/' && links[n.path[:end]] {
				t.failf(n.at, `%s uses link defined in config "%s". Please use a link not defined in Storage:Links`, shown, n.path[:end])
				break
			}
		}
	}
}

// node gives what nodes have in common its new form, or nil if it has none.
func (t *translation) node(kind string, n *node, to *place) *config.Node {
	full := t.place(n)
	if full == "" {
		return nil
	}
	t.comes(to, n.at)
	t.placed = append(t.placed, placed{kind, full, n.at})
	out := &config.Node{Path: full, Overwrite: n.Overwrite, User: n.User, Group: n.Group}
	t.owner(&out.User)
	t.owner(&out.Group)
	return out
}

//go:noinline
func (t *translation) owner(o *config.NodeOwner) {
	prune(o)
	if t.v.Before(v2_1) && o.ID == nil {
		o.ID = new(int) // which could not be absent
	}
}

func (t *translation) file(out *config.File, f *file) {
	overwrite := !isTrue(f.Append)
	if overwrite && f.Overwrite != nil {
		overwrite = *f.Overwrite
	}
	out.Overwrite = &overwrite
	from, to := f.at.field("contents"), at("storage", "files").at(len(t.out.Storage.Files)-1)
	if isTrue(f.Append) {
		to = to.field("append").at(0)
		t.comes(to, from)
		t.resource(&f.Contents, to, from)
		out.Append = append(out.Append, f.Contents)
	} else {
		t.resource(&f.Contents, to.field("contents"), from)
		out.Contents = f.Contents
	}
}

// mode keeps an absent mode below 2.2.0 what it was: no permission for anyone.
func (t *translation) mode(mode *int, name, def string, here *place) *int {
	switch {
	case mode == nil && t.v.Before(v2_2):
		t.warnf(here, "mode is not given, so that of %s is 0000, which this version means by it: mostly %s is meant", name, def)
		return new(int)
	case mode == nil:
		t.warnf(here, "mode is not given, so that of %s is %s; spec 2.x meant 0000 by it", name, def)
	case *mode >= 0 && *mode <= 0o7777 && *mode&0o7000 != 0:
		t.warnf(here.field("mode"), "the setuid, setgid or sticky bit of %s is set, as this says; older engines for spec 3.x cleared it", name)
	}
	return mode
}

// lift gives a document of spec 1 the shape of 2.0.0.
func (d *document) lift() {
	s := &d.Storage
	for i := range s.Filesystems {
		f := &s.Filesystems[i]
		f.Name = "_translate-filesystem-" + strconv.Itoa(i)
		f.Mount = &mount{Create: f.Create}
		f.Mount.Device, f.Mount.Format = f.Device, f.Format
		for j, old := range f.Files {
			s.Files = append(s.Files, file{Mode: old.Mode})
			n := &s.Files[len(s.Files)-1]
			n.at = at("storage", "filesystems").at(i).field("files").at(j)
			n.Filesystem, n.Path, n.User.ID, n.Group.ID = f.Name, old.Path, old.UID, old.GID
			n.Contents.Source = escape(old.Contents, "-_.!~*'()")
		}
	}
}
