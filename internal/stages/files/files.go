// SPDX-License-Identifier: Apache-2.0

// Package files is the stage that writes into the sysroot: groups, users, ssh
// keys, directories, files, links, systemd units and presets, crypttab and key
// files, and last the result file. It first makes a plan of all that it will
// do to the tree and refuses what cannot work; then it does it, in the order of
// the config. Downloads run ahead of the entries that need them.
package files

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/exec/relabel"
	"firstboot.dev/ignition/internal/exec/users"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/sysroot"
)

// maxDownloads is how many downloads run at a time; short ones count half.
const maxDownloads = 8

// Input is what the stage works with.
type Input struct {
	Config  *config.Config
	Root    *sysroot.Root
	Log     *oplog.Logger // has the stage's prefix
	Fetcher *resource.Fetcher
	Runner  *exec.Runner

	Live           bool   // only nodes and units: the tree is that of a running container
	Accounts       bool   // users and groups even then
	Fragments      bool   // ssh keys go to authorized_keys.d/ignition
	Relabel        bool   // SELinux labels are set at the end
	ResultFile     string // "" for none
	BootIDPath     string
	LUKSKeyDir     string
	CEXRepository  string
	DeviceAliasDir string
	Systemctl      string // program names
	Cryptsetup     string
	InitrdAttach   bool // crypttab lines get x-initrd.attach
	Now            func() time.Time
	Ahead          bool   // a preview: the stages before this one have not run either
	Plan           string // hash of the plan that the run is held to, or ""

	NotatedDirs        []string          // made by the mount stage
	ProviderFiles      []config.File     // handed over by the platform's provider
	LUKSKeyFiles       map[string]string // volume name to data URL
	VolumeKeyFiles     map[string]string // file name to data URL
	UserConfigProvided bool
}

// stage is one run of the stage.
type stage struct {
	Input
	ctx    context.Context
	names  *users.DB
	plan   *tasks
	mark   *mark
	labels *relabel.Set
	// presetLabelled says that the preset file is in the set already.
	presetLabelled bool
	touched        map[uint64]string // a path of each filesystem that was written to, by device
	dirs           map[string]*openDir
	again          bool // nodes have to be looked at once more before they are made
	finished       bool // by an earlier run: what is right is left alone

	owner int // of what is created: root, or -1 for whoever runs this
}

// openDir is a directory that is kept open, since entries tend to share theirs.
type openDir struct {
	*sysroot.Dir
	handsOn bool // its group goes to what is made in it
}

// maxOpenDirs is how many directories are kept open.
const maxOpenDirs = 128

// Run does all of the stage.
func Run(ctx context.Context, in Input) error {
	s := &stage{Input: in, ctx: ctx, names: users.NewDB(in.Root), touched: map[uint64]string{}, dirs: map[string]*openDir{}}
	if os.Geteuid() != 0 {
		s.owner = -1 // ignition-apply on a tree of one's own
	}
	defer s.closeDirs()
	if err := s.setUpRelabel(); err != nil {
		return fmt.Errorf("failed to handle relabeling: %w", err)
	}
	if err := s.checkAccounts(); err != nil {
		return fmt.Errorf("failed to create users/groups: %w", err)
	}
	var err error
	if s.plan, err = s.makePlan(); err != nil {
		return fmt.Errorf("failed to create files: %w", hint(err))
	}
	if err := s.begin(); err != nil {
		return hint(err)
	}
	if err := s.findFinished(); err != nil {
		return hint(err)
	}
	s.again = s.mark.again || s.plan.removes || len(in.Config.Passwd.Users) > 0
	ahead := in.Fetcher.Ahead(ctx, in.Log, maxDownloads)
	defer s.plan.dropTemps()
	defer ahead.Close()
	s.plan.download(s, ahead)
	for _, part := range s.parts() {
		if err := part.run(); err != nil {
			return fmt.Errorf("%s%w", part.wrap, hint(err))
		}
	}
	return s.end()
}

type part struct {
	wrap string
	run  func() error
}

const accountsFailed = "failed to create users/groups: "

// parts lists what the stage does, in order, with the words that wrap an error of each.
func (s *stage) parts() []part {
	nodesAndUnits := []part{
		{"failed to create files: ", s.createNodes},
		{"failed to create units: ", s.createUnits},
	}
	parts := append([]part{{accountsFailed, s.createAccounts}}, nodesAndUnits...)
	switch {
	case s.Live && s.Accounts:
		return parts
	case s.Live:
		return nodesAndUnits
	}
	return append(parts,
		part{"creating crypttab entries: ", s.createCrypttab},
		part{"creating cex volume key entries: ", s.createVolumeKeys},
		part{"creating provider state files: ", s.createProviderFiles},
		part{"syncing the sysroot: ", s.sync},
		part{"creating result file: ", s.createResult},
		part{"failed to handle relabeling: ", s.relabel},
		part{"ending the work on luks volumes: ", s.endVolumes},
	)
}

func (s *stage) setUpRelabel() error {
	if s.Live {
		return nil
	}
	if !s.Relabel {
		s.Log.Debug("compiled without relabeling support, skipping")
		return nil
	}
	var err error
	s.labels, err = relabel.New(s.Root)
	return err
}

func (s *stage) relabel() error {
	if s.labels == nil {
		return nil
	}
	return s.labels.Run(s.ctx, s.Log, s.Runner)
}

// label notes paths for the relabelling at the end, before they are made: what
// is missing above them gets its label with them.
func (s *stage) label(paths ...string) {
	if s.labels != nil {
		s.labels.Add(paths...)
	}
}

// sync writes out each filesystem that was written to, once. What the result
// file says to be there is on disk before it is written.
func (s *stage) sync() error {
	for _, p := range s.touched {
		if err := s.Root.SyncFS(p); err != nil {
			return err
		}
	}
	return nil
}

// openDir opens a directory to write to, or gives the one that is open already.
func (s *stage) openDir(p string) (*openDir, error) {
	if d, ok := s.dirs[p]; ok {
		return d, nil
	}
	if len(s.dirs) >= maxOpenDirs {
		s.closeDirs()
	}
	dir, err := s.Root.OpenDir(p)
	if err != nil {
		return nil, err
	}
	st, err := dir.Lstat(".")
	if err != nil {
		dir.Close()
		return nil, err
	}
	if _, ok := s.touched[st.Dev]; !ok {
		s.touched[st.Dev] = p
	}
	d := &openDir{dir, st.Mode&fs.ModeSetgid != 0}
	s.dirs[p] = d
	return d, nil
}

// closeDirs closes them all: before a directory is removed, whose handle would
// lead nowhere, and at the end.
func (s *stage) closeDirs() {
	for p, d := range s.dirs {
		d.Close()
		delete(s.dirs, p)
	}
}

// hints say what to do about errors of the target filesystem.
var hints = []struct {
	errno syscall.Errno
	hint  string
}{
	{syscall.ENOSPC, "the filesystem is full: make it larger, or write less to it"},
	{syscall.EDQUOT, "the quota of the filesystem is used up"},
	{syscall.EROFS, "the filesystem is mounted read-only: write to a path on a writable one"},
	{syscall.ELOOP, "symbolic links on the path lead round in a circle"},
	{syscall.ENAMETOOLONG, "the path is too long"},
	{syscall.ENOTDIR, "a part of the path is not a directory"},
}

// hint adds what to do to an error that names its entry but has no advice yet.
func hint(err error) error {
	var entry *config.EntryError
	if !errors.As(err, &entry) || entry.Hint != "" {
		return err
	}
	for _, h := range hints {
		if errors.Is(err, h.errno) {
			entry.Hint = h.hint
		}
	}
	switch {
	case errors.Is(err, sysroot.ErrMountpoint):
		entry.Hint = "something is mounted there, so nothing was removed: overwrite what is below the mount point instead"
	case errors.Is(err, resource.ErrNotFound):
		entry.Hint = "the server has nothing at that URL"
	case errors.Is(err, resource.ErrVerify):
		entry.Hint = "what the server sends is not what the hash in the config was made from"
	case errors.Is(err, resource.ErrTimeout):
		entry.Hint = "check that the machine can reach the server, or raise ignition.timeouts.httpTotal"
	}
	return err
}

// entryError ties an error to its config entry.
func entryError(path string, err error) error {
	var have *config.EntryError
	if err == nil || errors.As(err, &have) {
		return err
	}
	return &config.EntryError{Path: path, Err: err}
}
