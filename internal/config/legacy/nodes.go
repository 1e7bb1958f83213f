// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"strconv"

	"firstboot.dev/ignition/internal/config"
)

// placed is a node of the result, for the search for clashes.
type placed struct {
	kind, path string
	to, at     *place
}

// String is free of control characters, which would forge lines of the log.
func (n *placed) String() string {
	q := strconv.Quote(n.kind + ": " + n.path)
	return q[1 : len(q)-1]
}

func (t *translation) nodes(s *storage) {
	out, here := &t.out.Storage, at("storage", "files")
	for i := range s.Files {
		f := &s.Files[i]
		if to := here.at(len(out.Files)); t.node("File", &f.Node, f.Filesystem, to, f.at) {
			t.file(f, to)
			out.Files = append(out.Files, f.File)
		}
	}
	here = at("storage", "directories")
	for i := range s.Directories {
		d, at := &s.Directories[i], here.at(i)
		if t.node("Directory", &d.Node, d.Filesystem, here.at(len(out.Directories)), at) {
			t.mode(&d.Mode, d.Path, "0755 (493)", at)
			out.Directories = append(out.Directories, d.Directory)
		}
	}
	here = at("storage", "links")
	links := map[string]bool{}
	for i := range s.Links {
		l, at := &s.Links[i], here.at(i)
		if t.node("Link", &l.Node, l.Filesystem, here.at(len(out.Links)), at) {
			if l.Overwrite == nil {
				t.warn(at, "overwrite is not given: a link replaced what was at its path, and now it is an error if something is there")
			}
			l.Hard = ifTrue(l.Hard)
			out.Links = append(out.Links, l.Link)
			links[l.Path] = true
		}
	}
	t.clashes(links)
}

// clashes finds nodes that 3.x does not allow together.
func (t *translation) clashes(links map[string]bool) {
	t.conflicts = map[string]bool{}
	seen := map[string]*placed{}
	for i := range t.placed {
		n := &t.placed[i]
		if first := seen[n.path]; first != nil {
			t.conflicts[first.to.key()] = true
			t.conflicts[n.to.key()] = true
			t.failf(n.at, `Config has conflicting inodes: "%s" and "%s".  All files, directories and links must specify a unique %s.`,
				first, n, "`path`")
		} else {
			seen[n.path] = n
		}
		for end := 1; end < len(n.path) && len(links) > 0; end++ {
			if n.path[end] == '/' && links[n.path[:end]] {
				t.failf(n.at, "%s uses link defined in config %q. Please use a link not defined in Storage:Links", n, n.path[:end])
				break
			}
		}
	}
}

// node gives what nodes have in common its new form. It tells whether there is one.
func (t *translation) node(kind string, n *config.Node, filesystem string, to, from *place) bool {
	full := t.place(n.Path, filesystem, from)
	if full == "" {
		return false
	}
	t.comes(to, from)
	t.placed = append(t.placed, placed{kind, full, to, from})
	n.Path = full
	for _, o := range []*config.NodeOwner{&n.User, &n.Group} {
		prune(o)
		if t.v.Before(v2_1) && o.ID == nil {
			o.ID = new(int) // which could not be absent
		}
	}
	return true
}

func (t *translation) file(f *file, to *place) {
	t.mode(&f.Mode, f.Path, "0644 (420)", f.at)
	appends := isTrue(f.Append)
	if overwrite := !appends; appends || f.Overwrite == nil {
		f.Overwrite = &overwrite
	}
	from := f.at.field("contents")
	if appends {
		to = to.field("append").at(0)
		t.comes(to, from)
		t.resource(&f.Contents, to, from)
		f.File.Append = []config.Resource{f.Contents}
	} else {
		t.resource(&f.Contents, to.field("contents"), from)
		f.File.Contents = f.Contents
	}
}

// mode keeps an absent mode below 2.2.0 what it was: no permission for anyone.
func (t *translation) mode(mode **int, name, def string, here *place) {
	switch m := *mode; {
	case m == nil && t.v.Before(v2_2):
		*mode = new(int)
		t.warnf(here, "mode is not given, so that of %q is 0000, which this version means by it: mostly %s is meant", name, def)
	case m == nil:
		t.warnf(here, "mode is not given, so that of %q is %s; spec 2.x meant 0000 by it", name, def)
	case *m >= 0 && *m <= 0o7777 && *m > 0o777:
		t.warnf(here.field("mode"), "the setuid, setgid or sticky bit of %q is set, as this says; older engines for spec 3.x cleared it", name)
	}
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
			s.Files = append(s.Files, file{})
			n := &s.Files[len(s.Files)-1]
			n.at = at("storage", "filesystems").at(i).field("files").at(j)
			n.Filesystem, n.Path, n.Mode, n.User.ID, n.Group.ID = f.Name, old.Path, old.Mode, old.UID, old.GID
			n.Contents.Source = escape(old.Contents, "-_.!~*'()")
		}
	}
}
