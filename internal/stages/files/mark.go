// SPDX-License-Identifier: Apache-2.0

package files

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"syscall"

	"firstboot.dev/ignition/internal/config"
)

// markPath is a file that stands in the tree while the stage is at work. A run
// that finds one of the same config knows that an earlier run was cut, and what
// the tree was like before that one began. A run that failed leaves it on
// purpose: the next boot goes through all of it again.
const markPath = "/etc/.ignition-incomplete.json"

// mark is what was there before the stage began.
type mark struct {
	Config string              `json:"config"` // digest of the config
	Plan   string              `json:"plan,omitempty"`
	Nodes  map[string]nodeMark `json:"nodes"`  // by resolved path: what was there
	Temps  []string            `json:"temps"`  // names that downloads may have left
	Result string              `json:"result"` // digest of the result file, "" for none

	again bool // the earlier run was cut
}

type nodeMark struct {
	Present bool  `json:"present"`
	Size    int64 `json:"size,omitempty"`
}

// begin looks for the mark of a run that was cut, and sets one.
func (s *stage) begin() error {
	s.mark = &mark{}
	if s.Live {
		return nil
	}
	digest, err := configDigest(s.Config)
	if err != nil {
		return err
	}
	old, err := s.readMark()
	if err != nil {
		return err
	}
	switch {
	case old == nil:
	case old.Config != digest:
		s.Log.Warning("an earlier run with another config was cut on this system; what it wrote is taken as it is")
	default:
		s.Log.Notice("an earlier run was cut on this system; going through all of it again")
		old.again = true
		s.mark = old
		return s.dropLeftovers()
	}
	return s.setMark(digest)
}

// Resumes tells whether a run that was cut has begun with the same config and
// plan: what that run has done is no reason to refuse the rest.
func Resumes(in Input) (bool, error) {
	digest, err := configDigest(in.Config)
	if err != nil {
		return false, err
	}
	old, err := (&stage{Input: in}).readMark()
	return old != nil && in.Plan != "" && old.Plan == in.Plan && old.Config == digest, err
}

func configDigest(c *config.Config) (string, error) {
	sum := sha256.New()
	if err := config.EncodeCache(sum, *c); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (s *stage) readMark() (*mark, error) {
	st, err := s.Root.Lstat(markPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	m := &mark{}
	if !st.Mode.IsRegular() {
		return m, nil
	}
	raw, err := s.Root.ReadFile(markPath)
	if err != nil {
		return nil, err
	}
	if json.Unmarshal(raw, m) != nil {
		return &mark{}, nil // not one of this program's: another config's
	}
	return m, nil
}

// setMark says on disk that the stage is at work, before it changes anything.
func (s *stage) setMark(digest string) error {
	if s.idle() {
		return nil
	}
	m := &mark{Config: digest, Plan: s.Plan, Nodes: map[string]nodeMark{}}
	for _, n := range s.plan.nodes {
		m.Nodes[n.path] = nodeMark{Present: n.present, Size: n.stat.Size}
	}
	m.Temps = s.plan.temps(s)
	raw, err := s.Root.ReadFile(s.resultPath())
	if err == nil {
		m.Result = digestOf(raw)
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if _, err := s.Root.MkdirAll(path.Dir(markPath), directoryMode); err != nil {
		return fmt.Errorf("marking the sysroot as unfinished: %w", err)
	}
	if err := s.Root.WriteFileSync(markPath, text, 0o600, s.owner, s.owner); err != nil {
		return fmt.Errorf("marking the sysroot as unfinished: %w", err)
	}
	s.mark = m
	return nil
}

// idle tells whether the config asks for nothing of this stage.
func (s *stage) idle() bool {
	c := s.Config
	return len(s.plan.nodes)+len(c.Passwd.Users)+len(c.Passwd.Groups)+len(c.Systemd.Units)+len(c.Storage.LUKS) == 0
}

func digestOf(raw []byte) string {
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:])
}

// end takes the mark away: the tree is whole.
func (s *stage) end() error {
	if s.Live {
		return nil
	}
	err := s.Root.Remove(markPath)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// apply puts into a node what was at its path before the first run began.
func (m *mark) apply(n *node) {
	if !m.again {
		return
	}
	if was, ok := m.Nodes[n.path]; ok && !was.Present && n.present {
		n.made = true
	}
}

// ours tells whether what is at the node's path was made by a run that was cut.
func (n *node) ours() bool { return n.made }

// size gives the size that a kept file had before the first run, if that run was cut.
func (m *mark) size(n *node) (int64, bool) {
	was, ok := m.Nodes[n.path]
	return was.Size, m.again && ok && was.Present
}

// dropLeftovers removes the temporary files of the run that was cut.
func (s *stage) dropLeftovers() error {
	for _, p := range s.mark.Temps {
		if err := s.Root.Remove(p); err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			return err
		}
	}
	return nil
}
