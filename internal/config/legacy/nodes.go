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
	storage := at("storage")
	for i := range s.Files {
		f := &s.Files[i]
		if full, ok := t.place(&f.node); ok {
			to := storage.field("files").at(len(out.Files))
			out.Files = append(out.Files, config.File{})
			n := &out.Files[len(out.Files)-1]
			t.node(&n.Node, &f.node, full, to)
			t.file(n, f, to)
			all = append(all, placed{"File", full, f.at})
		}
	}
	for i := range s.Directories {
		d := &s.Directories[i]
		if full, ok := t.place(&d.node); ok {
			to := storage.field("directories").at(len(out.Directories))
			out.Directories = append(out.Directories, config.Directory{})
			n := &out.Directories[len(out.Directories)-1]
			t.node(&n.Node, &d.node, full, to)
			n.Mode = t.mode(d.Mode, full, "0755 (493)", d.at)
			all = append(all, placed{"Directory", full, d.at})
		}
	}
	links := map[string]bool{}
	for i := range s.Links {
		l := &s.Links[i]
		if full, ok := t.place(&l.node); ok {
			if l.Overwrite == nil {
				t.warn(l.at, "overwrite is not given: a link replaced what was at its path, and now it is an error if something is there")
			}
			to := storage.field("links").at(len(out.Links))
			out.Links = append(out.Links, config.Link{Hard: ifTrue(l.Hard), Target: l.Target})
			t.node(&out.Links[len(out.Links)-1].Node, &l.node, full, to)
			all = append(all, placed{"Link", full, l.at})
			links[full] = true
		}
	}
	t.clashes(all, links)
}

// clashes finds nodes that 3.x does not allow together.
func (t *translation) clashes(all []placed, links map[string]bool) {
	t.conflicts = map[string]bool{}
	seen := map[string]string{}
	for _, n := range all {
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

func (t *translation) node(out *config.Node, n *node, full string, to *place) {
	t.comes(to, n.at)
	out.Path, out.Overwrite, out.User, out.Group = full, n.Overwrite, n.User, n.Group
	for _, o := range []*config.NodeOwner{&out.User, &out.Group} {
		prune(o)
		if t.v.Before(v2_1) && o.ID == nil {
			o.ID = new(int) // which could not be absent
		}
	}
}

func (t *translation) file(out *config.File, f *file, to *place) {
	out.Mode = t.mode(f.Mode, out.Path, "0644 (420)", f.at)
	overwrite := !isTrue(f.Append)
	if overwrite && f.Overwrite != nil {
		overwrite = *f.Overwrite
	}
	out.Overwrite = &overwrite
	from := f.at.field("contents")
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
		f.Mount = &mount{Create: f.Create}
		f.Mount.Device, f.Mount.Format = f.Device, f.Format
		for j := range f.Files {
			s.Files = append(s.Files, file{})
			f.Files[j].lift(&s.Files[len(s.Files)-1], f.Name)
			s.Files[len(s.Files)-1].at = f.mountAt.field("files").at(j)
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

func (f *oldFile) lift(out *file, filesystem string) {
	out.Filesystem, out.Path, out.Mode, out.User.ID, out.Group.ID = filesystem, f.Path, f.Mode, f.UID, f.GID
	out.Contents.Source = escape(f.Contents, "-_.!~*'()")
}
