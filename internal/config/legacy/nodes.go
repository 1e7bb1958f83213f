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
	var all []placed
	out := &t.out.Storage
	for i := range s.Files {
		if n, ok := t.node(&s.Files[i].node, at("storage", "files").at(len(out.Files))); ok {
			out.Files = append(out.Files, t.file(&s.Files[i], n))
			all = append(all, placed{"File", n.Path, s.Files[i].at})
		}
	}
	for i := range s.Directories {
		if n, ok := t.node(&s.Directories[i].node, at("storage", "directories").at(len(out.Directories))); ok {
			out.Directories = append(out.Directories, config.Directory{Node: n, Mode: t.mode(s.Directories[i].Mode, n.Path, "0755", s.Directories[i].at)})
			all = append(all, placed{"Directory", n.Path, s.Directories[i].at})
		}
	}
	links := map[string]bool{}
	for i := range s.Links {
		l := &s.Links[i]
		if n, ok := t.node(&l.node, at("storage", "links").at(len(out.Links))); ok {
			if l.Overwrite == nil {
				t.warn(l.at, "overwrite is not given: a link replaced what was at its path, and now it is an error if something is there")
			}
			out.Links = append(out.Links, config.Link{Node: n, Hard: ifTrue(l.Hard), Target: &l.Target})
			all = append(all, placed{"Link", n.Path, l.at})
			links[n.Path] = true
		}
	}
	t.clashes(all, links)
}

// clashes finds nodes that 3.x does not allow together.
func (t *translation) clashes(all []placed, links map[string]bool) {
	t.conflicts = map[string]bool{}
	seen := map[string]*placed{}
	for i := range all {
		n := &all[i]
		if first := seen[n.path]; first != nil {
			t.conflicts[n.path] = true
			t.failf(n.at, "Config has conflicting inodes: \"%s: %s\" and \"%s: %s\".  All files, directories and links must specify a unique `path`.",
				first.kind, first.path, n.kind, n.path)
		} else {
			seen[n.path] = n
		}
		for end := 1; end < len(n.path); end++ {
			if n.path[end] == '/' && links[n.path[:end]] {
				t.failf(n.at, "%s: %s uses link defined in config %q. Please use a link not defined in Storage:Links", n.kind, n.path, n.path[:end])
				break
			}
		}
	}
}

func (t *translation) node(n *node, to *place) (config.Node, bool) {
	full, ok := t.place(n)
	if !ok {
		return config.Node{}, false
	}
	t.comes(to, n.at)
	return config.Node{Path: full, Overwrite: n.Overwrite, User: n.User.translate(t.v), Group: n.Group.translate(t.v)}, true
}

// translate makes the numbers explicit that are never absent below 2.1.0.
func (o owner) translate(v config.Version) config.NodeOwner {
	out := config.NodeOwner{ID: o.ID, Name: filled(o.Name)}
	if v.Before(v2_1) && out.ID == nil {
		out.ID = new(int)
	}
	return out
}

func (t *translation) file(f *file, n config.Node) config.File {
	to := at("storage", "files").at(len(t.out.Storage.Files))
	from := f.at.field("contents")
	out := config.File{Node: n, Mode: t.mode(f.Mode, n.Path, "0644", f.at)}
	overwrite := !isTrue(f.Append)
	if overwrite && f.Overwrite != nil {
		overwrite = *f.Overwrite
	}
	out.Overwrite = &overwrite
	if isTrue(f.Append) {
		t.comes(to.field("append").at(0), from)
		out.Append = []config.Resource{t.contents(f, to.field("append").at(0), from)}
	} else {
		out.Contents = t.contents(f, to.field("contents"), from)
	}
	return out
}

func (t *translation) contents(f *file, to, from *place) config.Resource {
	r := t.reference(&f.Contents.reference, to, from)
	r.Compression = filled(f.Contents.Compression)
	return r
}

// mode keeps an absent mode below 2.2.0 what it was: no permission for anyone.
func (t *translation) mode(mode *int, name, def string, here *place) *int {
	switch {
	case mode == nil && t.v.Before(v2_2):
		t.warnf(here, "mode is not given, so that of %s is 0000, which this version means by it: give it in decimal, %s is %s", name, def, decimalOf[def])
		return new(int)
	case mode == nil:
		t.warnf(here, "mode is not given, so that of %s is %s; spec 2.x meant 0000: give it in decimal", name, def)
	case *mode >= 0 && *mode <= 0o7777 && *mode&0o7000 != 0:
		t.warnf(here.field("mode"), "the setuid, setgid or sticky bit of %s is set, as this says; older engines for spec 3.x cleared it", name)
	}
	return mode
}

var decimalOf = map[string]string{"0644": "420", "0755": "493"}

// lift gives a document of spec 1 the shape of 2.0.0, and notes where everything stands.
func (d *document) lift(v config.Version) {
	s := &d.Storage
	for i := range s.Filesystems {
		f := &s.Filesystems[i]
		f.mountAt = at("storage", "filesystems").at(i)
		if v != v1 {
			f.mountAt = f.mountAt.field("mount")
			continue
		}
		f.Name = "_translate-filesystem-" + strconv.Itoa(i)
		f.Mount = &mount{Create: f.Create, Device: f.Device, Format: f.Format}
		for j, old := range f.Files {
			s.Files = append(s.Files, old.lift(f.Name, f.mountAt.field("files").at(j)))
		}
	}
	if v == v1 {
		return
	}
	for i := range s.Files {
		s.Files[i].at = at("storage", "files").at(i)
	}
	for i := range s.Directories {
		s.Directories[i].at = at("storage", "directories").at(i)
	}
	for i := range s.Links {
		s.Links[i].at = at("storage", "links").at(i)
	}
}

func (f oldFile) lift(filesystem string, here *place) file {
	out := file{node: node{Filesystem: filesystem, Path: f.Path, User: owner{ID: f.UID}, Group: owner{ID: f.GID}, at: here}, Mode: f.Mode}
	out.Contents.Source = escape(f.Contents, "-_.!~*'()")
	return out
}
