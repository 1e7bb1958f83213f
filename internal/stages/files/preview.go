// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/users"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/plan"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/sysroot"
)

// preview goes through the parts of the stage as Run does, and writes down
// instead of doing.
type preview struct {
	*stage
	list []plan.Operation
	gone []string               // what an operation so far has removed with all beneath
	made map[string]fs.FileMode // types of what one has made
	shut map[string]fs.FileMode // modes of directories that it makes and others may not enter

	early map[*fetch]*early // what is fetched ahead
}

// Preview tells what Run would do to the tree, in the order of the record. It
// opens nothing for writing. An error is one that Run would end with.
func Preview(ctx context.Context, in Input) ([]plan.Operation, error) {
	in.Root.Watch()
	list, err := makePreview(ctx, in)
	if at := in.Root.Changed(); at != "" {
		return nil, fmt.Errorf("%w: %s", plan.ErrChanged, in.Root.Display(at))
	}
	return list, err
}

func makePreview(ctx context.Context, in Input) ([]plan.Operation, error) {
	s := &stage{Input: in, ctx: ctx, names: users.NewDB(in.Root), touched: map[uint64]string{}, dirs: map[string]*openDir{}, mark: &mark{}}
	if err := s.checkAccounts(); err != nil {
		return nil, fmt.Errorf("failed to create users/groups: %w", err)
	}
	var err error
	if s.plan, err = s.makePlan(); err != nil {
		return nil, fmt.Errorf("failed to create files: %w", hint(err))
	}
	if err := s.findFinished(); err != nil {
		return nil, hint(err)
	}
	p := &preview{stage: s, made: map[string]fs.FileMode{}, shut: map[string]fs.FileMode{}}
	defer p.download()()
	for _, part := range []struct {
		wrap string
		live bool
		run  func() error
	}{
		{"", false, p.mounts},
		{accountsFailed, false, p.accounts},
		{"failed to create files: ", true, p.nodes},
		{"failed to create units: ", true, p.units},
		{"creating crypttab entries: ", false, p.crypttab},
	} {
		if s.Live && !part.live && !(s.Accounts && part.wrap == accountsFailed) {
			continue
		}
		if err := part.run(); err != nil {
			return p.list, fmt.Errorf("%s%w", part.wrap, hint(err))
		}
	}
	return p.list, nil
}

func (p *preview) add(op plan.Operation) { p.list = append(p.list, op) }

func (p *preview) accounts() error {
	m := &users.Manager{Root: p.Root, Runner: p.Runner, Fragments: p.Fragments, Finished: p.finished}
	for i, g := range p.Config.Passwd.Groups {
		entry := fmt.Sprintf("$.passwd.groups.%d", i)
		list, err := m.PreviewGroup(entry, g)
		if err != nil {
			return entryError(entry, err)
		}
		p.list = append(p.list, list...)
	}
	for i, u := range p.Config.Passwd.Users {
		entry := fmt.Sprintf("$.passwd.users.%d", i)
		list, err := m.PreviewUser(entry, u)
		if err != nil {
			return entryError(entry, err)
		}
		p.list = append(p.list, list...)
		if len(list) > 0 && list[0].Effect == plan.Create && !(u.NoCreateHome != nil && *u.NoCreateHome) {
			p.addHome(m.HomeOf(u))
		}
	}
	return nil
}

// addHome notes what useradd copies into a new home.
func (p *preview) addHome(home, skeleton string) {
	home, err := p.Root.Resolve(home)
	if err != nil {
		return
	}
	if _, err := p.Root.Lstat(home); err == nil {
		return
	}
	p.made[home], p.shut[home] = fs.ModeDir, 0o700
	entries, err := p.Root.ReadDir(skeleton)
	if err != nil {
		return
	}
	for _, e := range entries {
		p.made[path.Join(home, e.Name())] = e.Type()
	}
}

// now sets what will be at a node's path when its turn comes.
func (p *preview) now(n *node) {
	if slices.ContainsFunc(p.gone, func(g string) bool { return n.path != g && strings.HasPrefix(n.path, g+"/") }) {
		n.present, n.kept = false, false
	}
	if mode, ok := p.made[n.path]; ok {
		n.present, n.kept = true, false
		n.stat = sysroot.Stat{Mode: mode}
	}
}

// mounts notes what the tree will have when the stages before have run: mount
// points, and below them nothing where the filesystem is made anew.
func (p *preview) mounts() error {
	if !p.Ahead {
		return nil
	}
	for i := range p.Config.Storage.Filesystems {
		f := &p.Config.Storage.Filesystems[i]
		at, err := p.Root.Resolve(deref(f.Path))
		if deref(f.Path) == "" || at == "/" || err != nil {
			continue // the mount stage says why
		}
		_, missing := p.Root.Lstat(at)
		wiped := f.WipeFilesystem != nil && *f.WipeFilesystem
		if wiped {
			p.gone = append(p.gone, at)
		}
		if missing != nil || wiped {
			p.made[at] = fs.ModeDir | directoryMode
			p.parents(at)
		}
	}
	return nil
}

// parents notes the directories that are made for a path.
func (p *preview) parents(at string) {
	for dir := path.Dir(at); dir != "/"; dir = path.Dir(dir) {
		if _, ok := p.made[dir]; ok {
			break
		}
		if _, err := p.Root.Lstat(dir); err == nil {
			break
		}
		p.made[dir] = fs.ModeDir | directoryMode
	}
}

func (p *preview) nodes() error {
	for _, n := range p.plan.nodes {
		p.now(n)
		err := p.node(n)
		if err != nil {
			return entryError(n.entry, fmt.Errorf("failed to create files: error creating %s: %w", p.Root.Display(n.path), err))
		}
		kind := fs.FileMode(0)
		switch {
		case n.dir != nil:
			kind = fs.ModeDir
		case n.link != nil:
			kind = fs.ModeSymlink
		}
		if !n.present || n.overwrite() {
			p.made[n.path] = kind
		}
		p.parents(n.path)
	}
	return nil
}

// loses says what an operation does away with.
func (p *preview) loses(n *node) string {
	if !n.present || !n.overwrite() {
		return ""
	}
	switch {
	case n.stat.Mode.IsDir():
		return "the directory and all that is in it"
	case n.stat.Mode.IsRegular() && n.file != nil:
		return "" // the diff shows it
	}
	return "the " + typeName(n.stat.Mode)
}

func typeName(m fs.FileMode) string {
	switch {
	case m.IsRegular():
		return "file"
	case m.IsDir():
		return "directory"
	case m.Type() == fs.ModeSymlink:
		return "link"
	}
	return "special file"
}

func (p *preview) node(n *node) error {
	effect := plan.Create
	if n.present {
		effect = plan.Change
	}
	switch {
	case n.dir != nil:
		return p.directory(n, effect)
	case n.file != nil:
		return p.file(n, effect)
	}
	return p.link(n, effect)
}

func (p *preview) directory(n *node, effect plan.Effect) error {
	if err := p.blocked(n); err != nil {
		return err
	}
	if n.dir.Mode != nil && *n.dir.Mode&1 == 0 {
		p.shut[n.path] = toFileMode(*n.dir.Mode)
	}
	op := plan.Of(p.directoryOp(n), effect)
	op.Loses = p.loses(n)
	if n.inTheWay() {
		same, err := p.samePermissions(n, n.dir.Mode)
		if err != nil {
			return err
		}
		if same {
			op.Effect = plan.Keep
		}
	}
	if op.Loses != "" {
		p.gone = append(p.gone, n.path)
	}
	p.add(op)
	return nil
}

// samePermissions tells whether owner and mode are what the config asks for.
func (p *preview) samePermissions(n *node, mode *int) (bool, error) {
	uid, gid, err := p.ownerOf(n, n.stat.UID, n.stat.GID)
	if errors.Is(err, users.ErrNotFound) {
		return false, p.willBe(n, err)
	}
	const settable = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	return uid == n.stat.UID && gid == n.stat.GID && (mode == nil || n.stat.Mode&settable == toFileMode(*mode)), err
}

// willBe forgives an owner that the config makes.
func (p *preview) willBe(n *node, err error) error {
	u, g := deref(n.owner.User.Name), deref(n.owner.Group.Name)
	for _, have := range p.Config.Passwd.Users {
		if have.Name == u || have.Name == g {
			return nil
		}
	}
	for _, have := range p.Config.Passwd.Groups {
		if have.Name == g {
			return nil
		}
	}
	return err
}

func (p *preview) file(n *node, effect plan.Effect) error {
	if n.kept {
		p.add(plan.Of(p.writeOp(n, &fetch{entry: n.entry}, "writing file"), plan.Keep))
		return nil
	}
	if err := p.blocked(n); err != nil {
		return err
	}
	if n.inTheWay() && n.file.Contents.Source == nil {
		return p.appends(n)
	}
	if _, _, err := p.ownerOf(n, 0, 0); err != nil {
		if err = p.willBe(n, err); err != nil {
			return fmt.Errorf("error setting file permissions for %s: %w", p.Root.Display(n.path), err)
		}
	}
	first, rest := &fetch{entry: n.entry}, n.fetches
	if len(rest) > 0 && !rest[0].appended {
		first, rest = rest[0], rest[1:]
	}
	ops := []plan.Operation{plan.Of(p.writeOp(n, first, "writing file"), effect)}
	ops[0].Fetches = download(first)
	for _, f := range rest {
		op := plan.Of(p.writeOp(n, f, "appending to file"), effect)
		op.Fetches = download(f)
		ops = append(ops, op)
	}
	same, err := p.contents(n, ops, false)
	if err != nil {
		return err
	}
	if lost := p.loses(n); lost != "" {
		ops[0].Loses = lost
	}
	open := false
	for i := range ops {
		open = open || ops[i].Depends != ""
	}
	if n.present && p.mayBeSame(n) && !open {
		var err error
		if same {
			same, err = p.sameOwner(n)
		}
		if err == nil && !same && n.inTheWay() {
			err = p.exists(n)
		}
		if err != nil {
			return err
		}
		for i := range ops {
			if same {
				ops[i].Effect, ops[i].Diff = plan.Keep, ""
			}
		}
	}
	p.list = append(p.list, ops...)
	return nil
}

func (p *preview) appends(n *node) error {
	if len(n.fetches) > 0 {
		ops := make([]plan.Operation, len(n.fetches))
		for i, f := range n.fetches {
			ops[i] = plan.Of(p.appendOp(n, f), plan.Change)
			ops[i].Fetches = download(f)
		}
		_, err := p.contents(n, ops, true)
		p.list = append(p.list, ops...)
		return err
	}
	same, err := p.samePermissions(n, n.file.Mode)
	effect := plan.Change
	if same {
		effect = plan.Keep
	}
	p.add(plan.Of(p.permissionsOp(n), effect))
	return err
}

// download describes what comes from somewhere else.
func download(f *fetch) *plan.Download {
	if !resource.Networked(f.request.URL) {
		return nil
	}
	return &plan.Download{URL: config.RedactURL(f.request.URL), Hash: f.request.Hash}
}

func (p *preview) link(n *node, effect plan.Effect) error {
	target := deref(n.link.Target)
	hard := n.link.Hard != nil && *n.link.Hard
	if hard {
		resolved, err := p.Root.Resolve(path.Join("/", target))
		if err != nil {
			return fmt.Errorf("failed to create link %q: %w", p.Root.Display(n.path), err)
		}
		if _, ok := p.made[resolved]; !ok {
			if _, err := p.Root.Lstat(resolved); err != nil {
				return fmt.Errorf("failed to create link %q: %w", p.Root.Display(n.path), err)
			}
		}
		target = p.Root.Display(resolved)
	}
	op := plan.Of(p.linkOp(n, target), effect)
	if n.present && (n.kept || !n.overwrite()) {
		done := n.kept
		var err error
		switch {
		case done:
		case hard:
			done, err = p.sameHardLink(n)
			if err == nil && !done {
				err = fmt.Errorf("error creating hard link %s: a file already exists at that path but is not the target and overwrite is false", p.Root.Display(n.path))
			}
		default:
			done, err = p.sameSymlink(oplog.Deferred(), n, target)
		}
		if err != nil {
			return err
		}
		if done {
			op.Effect = plan.Keep
		}
	}
	op.Loses = p.loses(n)
	if op.Effect != plan.Keep && n.present && n.stat.Mode.IsDir() {
		p.gone = append(p.gone, n.path)
	}
	p.add(op)
	return nil
}
