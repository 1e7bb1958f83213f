// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"io/fs"
	"path"
	"strings"

	"firstboot.dev/ignition/internal/config"
)

const nameSlash = "name cannot contain slashes"

const conflict = "matching filesystem node has existing contents or different type"

// nodeIndex finds an entry of storage by its path: which list it is in, and where.
type nodeIndex map[string]nodePlace

type nodePlace struct {
	list  string
	index int
}

func indexNodes(s *config.Storage) nodeIndex {
	nodes := nodeIndex{}
	for i := range s.Directories {
		nodes[s.Directories[i].Path] = nodePlace{"directories", i}
	}
	for i := range s.Files {
		nodes[s.Files[i].Path] = nodePlace{"files", i}
	}
	for i := range s.Links {
		nodes[s.Links[i].Path] = nodePlace{"links", i}
	}
	return nodes
}

// place gives the entry of a path in a list, a new one if there is none. ok is false if another list has it.
func (t *translation) place(list, node string, length int) (index int, isNew, ok bool) {
	at, exists := t.nodes[node]
	if exists {
		return at.index, false, at.list == list
	}
	t.nodes[node] = nodePlace{list, length}
	return length, true, true
}

// newFile appends a file that no key of the document describes.
func (t *translation) newFile(f config.File, contents []byte, from where) bool {
	list := &t.user.Storage.Files
	i, isNew, _ := t.place("files", f.Path, len(*list))
	if !isNew {
		t.fail(conflict, from)
		return false
	}
	t.setContents(&f.Contents, contents)
	*list = append(*list, f)
	t.renames.add(item("storage.files", i), from)
	return true
}

// newLink appends a link that no key of the document describes.
func (t *translation) newLink(l config.Link, from where) {
	list := &t.user.Storage.Links
	i, isNew, _ := t.place("links", l.Path, len(*list))
	if !isNew {
		t.fail(conflict, from)
		return
	}
	*list = append(*list, l)
	t.renames.add(item("storage.links", i), from)
}

// addTrees adds what is in local directories.
func (t *translation) addTrees() {
	for i := range own[storageKeys](t.sugar, &t.user.Storage).Trees {
		w := &treeWalk{translation: t, tree: &own[storageKeys](t.sugar, &t.user.Storage).Trees[i], at: item("storage.trees", i)}
		name, ok := t.localName(w.tree.Local, w.at)
		if !ok && t.options.Files == nil {
			return
		}
		if ok {
			w.start(name)
		}
	}
}

// treeWalk adds one tree.
type treeWalk struct {
	*translation
	tree *localTree
	at   where
}

func (w *treeWalk) start(name string) {
	info, err := fs.Stat(w.options.Files, name)
	switch {
	case err != nil:
		w.complain("stat", name, err, w.at)
		return
	case !info.IsDir():
		w.fail("root of tree must be a directory", w.at)
		return
	}
	base := w.tree.Path
	if base == "" {
		base = "/"
	}
	w.visit(name, path.Clean(base), info)
}

func (w *treeWalk) visit(name, destination string, info fs.FileInfo) {
	switch info.Mode().Type() {
	case fs.ModeDir:
		w.directory(destination)
		entries, err := fs.ReadDir(w.options.Files, name)
		if err != nil {
			w.complain("open", name, err, w.at)
			return
		}
		for _, e := range entries {
			child := path.Join(name, e.Name())
			info, err := w.options.Files.Lstat(child)
			if err != nil {
				w.complain("lstat", child, err, w.at)
				continue
			}
			w.visit(child, path.Join(destination, e.Name()), info)
		}
	case 0:
		w.file(name, destination, info)
	case fs.ModeSymlink:
		w.link(name, destination)
	default:
		w.fail("trees may only contain files, directories, and symlinks", w.at)
	}
}

// directory adds one if something is said about directories. The root is the image's.
func (w *treeWalk) directory(destination string) {
	if destination == "/" || w.tree.DirMode == nil && config.IsEmpty(&w.tree.User) && config.IsEmpty(&w.tree.Group) {
		return
	}
	list := &w.user.Storage.Directories
	i, isNew, _ := w.place("directories", destination, len(*list))
	if !isNew {
		w.fail(conflict, w.at)
		return
	}
	d := config.Directory{Node: w.node(destination), Mode: w.tree.DirMode}
	if d.Mode == nil {
		d.Mode = ptr(0o755)
	}
	*list = append(*list, d)
	w.renames.add(item("storage.directories", i), w.at)
}

func (w *treeWalk) node(destination string) config.Node {
	return config.Node{Path: destination, User: w.tree.User, Group: w.tree.Group}
}

func (w *treeWalk) file(name, destination string, info fs.FileInfo) {
	list := &w.user.Storage.Files
	i, isNew, ok := w.place("files", destination, len(*list))
	if !ok || !isNew && value((*list)[i].Contents.Source) != "" {
		w.fail(conflict, w.at)
		return
	}
	at := item("storage.files", i)
	if isNew {
		*list = append(*list, config.File{Node: w.node(destination)})
		w.renames.add(at, w.at)
	} else {
		w.renames.add(at+".contents.source", w.at)
	}
	f := &(*list)[i]
	if contents, ok := w.readFile(name, w.at); ok {
		w.setContents(&f.Contents, contents)
	}
	if f.Mode != nil {
		return
	}
	w.renames.add(at+".mode", w.at)
	switch {
	case w.tree.FileMode != nil:
		f.Mode = w.tree.FileMode
	case info.Mode()&0o111 != 0:
		f.Mode = ptr(0o755)
	default:
		f.Mode = ptr(0o644)
	}
}

func (w *treeWalk) link(name, destination string) {
	list := &w.user.Storage.Links
	i, isNew, ok := w.place("links", destination, len(*list))
	if !ok || !isNew && value((*list)[i].Target) != "" {
		w.fail(conflict, w.at)
		return
	}
	target, err := w.options.Files.ReadLink(name)
	if err != nil {
		w.complain("readlink", name, err, w.at)
		return
	}
	at := item("storage.links", i)
	if isNew {
		*list = append(*list, config.Link{Node: w.node(destination)})
		w.renames.add(at, w.at)
	} else {
		w.renames.add(at+".target", w.at)
	}
	(*list)[i].Target = &target
}

var quadletExtensions = []string{".container", ".volume", ".network", ".kube", ".image", ".build", ".pod", ".artifact"}

// instance gives the template that a quadlet's name is an instance of.
func instance(name string) (template string, ok bool) {
	ext := path.Ext(name)
	base, inst, hasAt := strings.Cut(strings.TrimSuffix(name, ext), "@")
	return base + "@" + ext, hasAt && inst != ""
}

func (t *translation) checkQuadlet(q *quadlet, at where) {
	known := false
	for _, ext := range quadletExtensions {
		known = known || path.Ext(q.Name) == ext
	}
	if !known {
		t.fail("unsupported file extension for quadlet: must be one of .container, .volume, .network, .kube, .image, .build, .pod, or .artifact",
			at+".name")
	}
	if strings.Contains(q.Name, "/") {
		t.fail(nameSlash, at+".name")
	}
	if _, ok := instance(q.Name); ok {
		const none = "template instances cannot have contents or contents_local"
		if q.Contents != nil {
			t.fail(none, at+".contents")
		}
		if q.ContentsLocal != nil {
			t.fail(none, at+".contents_local")
		}
	} else {
		t.checkContents(q.Contents, q.ContentsLocal, at)
	}
	for i, d := range q.Dropins {
		if name := item(at+".dropins", i) + ".name"; strings.Contains(d.Name, "/") {
			t.fail(nameSlash, name)
		} else if d.Name == "" || d.Name == "." || d.Name == ".." {
			t.fail("name is not a file name", name)
		}
		t.checkContents(d.Contents, d.ContentsLocal, item(at+".dropins", i))
	}
}

// addQuadlets adds the files of quadlets and their drop-ins.
func (t *translation) addQuadlets() {
	for i, q := range own[systemdKeys](t.sugar, &t.user.Systemd).Quadlets {
		at := item("systemd.quadlets", i)
		dir := "/etc/containers/systemd/users"
		if value(q.Rootful) {
			dir = "/etc/containers/systemd"
		}
		node := path.Join(dir, q.Name)
		if template, ok := instance(q.Name); ok {
			t.newLink(config.Link{Node: config.Node{Path: node}, Target: &template}, at)
		} else {
			t.addQuadletFile(node, q.Contents, q.ContentsLocal, at)
		}
		for j, d := range q.Dropins {
			t.addQuadletFile(node+".d/"+d.Name, d.Contents, d.ContentsLocal, item(at+".dropins", j))
		}
	}
}

func (t *translation) addQuadletFile(node string, text, local *string, at where) {
	contents, key := []byte(value(text)), "contents"
	if value(local) != "" {
		var ok bool
		key = "contents_local"
		if contents, ok = t.readLocal(*local, at+"."+key); !ok {
			return
		}
	}
	n := len(t.user.Storage.Files)
	if t.newFile(config.File{Node: config.Node{Path: node}, Mode: ptr(0o644)}, contents, at) && (text != nil || local != nil) {
		t.renames.add(item("storage.files", n)+".contents.source", at+"."+key)
	}
}
