// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/sysroot"
)

// node is one directory, file or link to make.
type node struct {
	entry   string // config entry: "$.storage.files.3"
	path    string // resolved: every link before the last component was followed
	owner   *config.Node
	dir     *config.Directory
	file    *config.File
	link    *config.Link
	present bool         // something was at the path before the stage began
	stat    sysroot.Stat // and what
	made    bool         // by an earlier run of the stage that was cut
	kept    bool         // it is as the config says
	fetches []*fetch     // of a file: contents, then appends
}

// fetch is one resource of a file.
type fetch struct {
	entry    string // "$.storage.files.3.contents"
	request  resource.Request
	appended bool
	download *resource.Download // nil: read when it is needed
	temp     *sysroot.Temp      // where the download goes
	tempDir  string
	tempName string
}

// isLastOf tells whether the file is whole with this.
func (f *fetch) isLastOf(n *node) bool {
	return len(n.fetches) == 0 || f == n.fetches[len(n.fetches)-1]
}

// tasks are what the stage will do to the tree. Accounts and units need no plan:
// their config entries say it all.
type tasks struct {
	nodes   []*node
	removes bool // some entry overwrites what is there
}

// looker finds out what is at the paths of a plan. Entries tend to share their
// directories, so each is resolved and opened once.
type looker struct {
	root    *sysroot.Root
	parents map[string]string // as in the config, to resolved
	missing map[string]bool   // directories that are not there
	at      string            // the directory that is open
	dir     *sysroot.Dir      // nil: it is not there
}

func (l *looker) close() {
	if l.dir != nil {
		l.dir.Close()
		l.dir = nil
	}
}

// resolve follows every link before the last component of a path.
func (l *looker) resolve(p string) (string, error) {
	parent, base := path.Dir(p), path.Base(p)
	if at, ok := l.parents[parent]; ok && base != "/" {
		return path.Join(at, base), nil
	}
	resolved, err := l.root.Resolve(p)
	if err == nil {
		l.parents[parent] = path.Dir(resolved)
	}
	return resolved, err
}

// lstat describes what is at a resolved path.
func (l *looker) lstat(p string) (sysroot.Stat, error) {
	parent := path.Dir(p)
	if l.missing[parent] {
		return sysroot.Stat{}, fs.ErrNotExist
	}
	if l.dir == nil || parent != l.at {
		l.close()
		dir, err := l.root.OpenDir(parent)
		if err != nil {
			st, err := l.root.Lstat(p)
			l.missing[parent] = errors.Is(err, fs.ErrNotExist)
			return st, err
		}
		l.at, l.dir = parent, dir
	}
	return l.dir.Lstat(path.Base(p))
}

func (s *stage) makePlan() (*tasks, error) {
	p := &tasks{}
	l := &looker{root: s.Root, parents: map[string]string{}, missing: map[string]bool{}}
	defer l.close()
	st := &s.Config.Storage
	var hard []*node
	add := func(list *[]*node, n *node) error {
		err := n.look(l)
		*list = append(*list, n)
		p.removes = p.removes || n.overwrite()
		return entryError(n.entry, err)
	}
	for i := range st.Directories {
		d := &st.Directories[i]
		if err := add(&p.nodes, &node{entry: fmt.Sprintf("$.storage.directories.%d", i), owner: &d.Node, dir: d}); err != nil {
			return nil, err
		}
	}
	for i := range st.Files {
		n, err := s.planFile(&st.Files[i], fmt.Sprintf("$.storage.files.%d", i))
		if err == nil {
			err = add(&p.nodes, n)
		}
		if err != nil {
			return nil, err
		}
	}
	for i := range st.Links {
		l := &st.Links[i]
		list := &p.nodes
		if l.Hard != nil && *l.Hard {
			list = &hard
		}
		if err := add(list, &node{entry: fmt.Sprintf("$.storage.links.%d", i), owner: &l.Node, link: l}); err != nil {
			return nil, err
		}
	}
	if err := s.unique(append(slices.Clone(p.nodes), hard...)); err != nil {
		return nil, err
	}
	p.nodes = byDepth(p.nodes)
	// Hard links come last, since they may point at anything.
	p.nodes = append(p.nodes, hard...)
	return p, nil
}

// look resolves a node's path and finds out what is there.
func (n *node) look(l *looker) error {
	var err error
	if n.path, err = l.resolve(n.owner.Path); err != nil {
		return err
	}
	st, err := l.lstat(n.path)
	return n.found(st, err)
}

func (n *node) found(st sysroot.Stat, err error) error {
	n.stat, n.present = st, err == nil
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// look finds out what is at the path of a node that is not in the plan.
func (s *stage) look(n *node) error {
	var err error
	if n.path, err = s.Root.Resolve(n.owner.Path); err != nil {
		return err
	}
	return s.lookAgain(n)
}

// lookAgain finds out what is at a node's path now.
func (s *stage) lookAgain(n *node) error {
	if dir, ok := s.dirs[path.Dir(n.path)]; ok {
		st, err := dir.Lstat(path.Base(n.path))
		return n.found(st, err)
	}
	st, err := s.Root.Lstat(n.path)
	return n.found(st, err)
}

// planFile checks a file's resources before anything is done.
func (s *stage) planFile(f *config.File, entry string) (*node, error) {
	n := &node{entry: entry, owner: &f.Node, file: f}
	add := func(r config.Resource, entry string, appended bool) error {
		req, err := resource.RequestFor(r)
		if err == nil && req.Hash != "" {
			if _, _, err = config.ParseHash(req.Hash); err != nil {
				s.Log.Crit("Error parsing verification string %q: %v", req.Hash, err)
			}
		}
		if err != nil {
			return &config.EntryError{Path: entry, Err: fmt.Errorf("failed to resolve file %q: %w", s.Root.Display(f.Path), err)}
		}
		n.fetches = append(n.fetches, &fetch{entry: entry, request: req, appended: appended})
		return nil
	}
	if f.Contents.Source != nil {
		if err := add(f.Contents, entry+".contents", false); err != nil {
			return nil, err
		}
	}
	for i, a := range f.Append {
		if a.Source == nil {
			continue // appends nothing
		}
		if err := add(a, fmt.Sprintf("%s.append.%d", entry, i), true); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// unique refuses entries that turn out to be one and the same node.
func (s *stage) unique(nodes []*node) error {
	seen := map[string]*node{}
	for _, n := range nodes {
		if other, ok := seen[n.path]; ok {
			return entryError(n.entry, fmt.Errorf("%s at %s resolved to %s after symlink chasing, but another entry with path %s also resolves there",
				n.kind(), n.owner.Path, s.Root.Display(n.path), other.owner.Path))
		}
		seen[n.path] = n
	}
	return nil
}

func (n *node) kind() string {
	switch {
	case n.dir != nil:
		return "directory"
	case n.file != nil:
		return "file"
	}
	return "link"
}

func (n *node) overwrite() bool { return n.owner.Overwrite != nil && *n.owner.Overwrite }

func depth(p string) int {
	if p == "/" {
		return 0
	}
	return strings.Count(p, "/")
}

// download starts what has to come over the network, in the order in which it
// is needed, each to a temporary file on the filesystem of its destination.
func (p *tasks) download(s *stage, ahead *resource.Ahead) {
	var doomed []string
	for _, n := range p.nodes {
		if n.overwrite() {
			doomed = append(doomed, n.path)
		}
	}
	for _, n := range p.nodes {
		for i, f := range n.fetches {
			if n.kept || !resource.Networked(f.request.URL) || s.Fetcher.IsOffline() {
				continue
			}
			f.tempDir, f.tempName = s.tempDir(n.path, doomed), tempName(n, i)
			op := oplog.Op{Kind: oplog.KindFetch, Desc: "GET " + config.RedactURL(f.request.URL), Path: n.path, ConfigPath: f.entry}
			f.download = ahead.Add(f.request, op, func() (resource.Sink, error) {
				var err error
				f.temp, err = s.Root.NewTemp(f.tempDir, f.tempName)
				return f.temp, err
			})
		}
	}
}

// tempDir is the nearest directory above a path that exists and that no entry
// of the config is going to remove.
func (s *stage) tempDir(p string, doomed []string) string {
	for dir := path.Dir(p); ; dir = path.Dir(dir) {
		if dir == "/" {
			return dir
		}
		gone := slices.ContainsFunc(doomed, func(d string) bool { return dir == d || strings.HasPrefix(dir, d+"/") })
		if st, err := s.Root.Stat(dir); err == nil && st.Mode.IsDir() && !gone {
			return dir
		}
	}
}

// temps lists every temporary name that the stage may leave when it is cut.
func (p *tasks) temps(s *stage) []string {
	var doomed []string
	for _, n := range p.nodes {
		if n.overwrite() {
			doomed = append(doomed, n.path)
		}
	}
	var out []string
	for _, n := range p.nodes {
		if n.file == nil {
			continue
		}
		for i, f := range n.fetches {
			if resource.Networked(f.request.URL) {
				out = append(out, path.Join(s.tempDir(n.path, doomed), tempName(n, i)))
			}
		}
		out = append(out, path.Join(path.Dir(n.path), sysroot.TempName(path.Base(n.path))))
	}
	return out
}

func tempName(n *node, i int) string { return sysroot.TempName(fmt.Sprintf("%s %d", n.path, i)) }

// dropTemps removes the temporary files that were not used.
func (p *tasks) dropTemps() {
	for _, n := range p.nodes {
		for _, f := range n.fetches {
			if f.temp != nil {
				_ = f.temp.Abort()
			}
		}
	}
}

// byDepth orders nodes by the depth of their paths, and keeps the order of those at one depth.
func byDepth(nodes []*node) []*node {
	out := make([]*node, 0, len(nodes))
	for d := 0; len(out) < len(nodes); d++ {
		for _, n := range nodes {
			if depth(n.path) == d {
				out = append(out, n)
			}
		}
	}
	return out
}
