// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// resultFile is written by every run that ends well, and so are the times of
// the directory that it is in.
const resultFile = "etc/.ignition-result.json"

// listing tells all of a tree but what is in the result file: names, owners,
// modes, times, contents.
func (m *machine) listing() string {
	m.t.Helper()
	var b strings.Builder
	m.must(filepath.WalkDir(m.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(m.root, p)
		info, err := d.Info()
		if err != nil || name == resultFile {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		fmt.Fprintf(&b, "%s %v %d:%d links %d inode %d", name, info.Mode(), st.Uid, st.Gid, st.Nlink, st.Ino)
		if name != filepath.Dir(resultFile) {
			fmt.Fprintf(&b, " modified %d.%09d changed %d.%09d", st.Mtim.Sec, st.Mtim.Nsec, st.Ctim.Sec, st.Ctim.Nsec)
		}
		switch {
		case info.Mode().IsRegular():
			raw, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " %x", sha256.Sum256(raw))
		case info.Mode().Type() == fs.ModeSymlink:
			to, err := os.Readlink(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s", to)
		}
		b.WriteByte('\n')
		return nil
	}))
	return b.String()
}

// changes lists the operations of a record that changed something.
func (m *machine) changes(name string) (list []string) {
	m.t.Helper()
	for line := range strings.Lines(m.read(name)) {
		var r struct{ Kind, Desc, Path, Outcome string }
		m.must(json.Unmarshal([]byte(line), &r))
		switch {
		case r.Outcome != "ok", r.Path == "/"+resultFile:
		case r.Kind == "stage", r.Kind == "unit", r.Kind == "fetch", r.Kind == "program":
		default:
			list = append(list, r.Kind+" "+r.Desc)
		}
	}
	return list
}

// plan lists the operations of the plan that change something, and gives its hash.
// Making it may change nothing.
func (m *machine) plan() (list, hash string) {
	m.t.Helper()
	before := m.listing()
	env := m.env
	m.env = append(slices.Clone(env), "UNCOUNTED=1") // a plan may ask systemctl
	res := m.run("plan", "--format=json", "--root="+m.root, "--online", "--platform=file", m.path("config.ign"))
	m.env = env
	if after := m.listing(); after != before {
		m.t.Errorf("the plan changed\n%s", difference(before, after))
	}
	if res.code == 1 {
		return res.stderr, ""
	}
	var p struct {
		Operations []struct{ Kind, Description, Effect string }
		Hash       string
	}
	if err := json.Unmarshal([]byte(res.stdout), &p); err != nil {
		m.t.Errorf("plan: %v\n%s%s", err, res.stdout, res.stderr)
		return "", ""
	}
	var all []string
	for _, op := range p.Operations {
		if op.Effect != "keep" {
			all = append(all, op.Kind+" "+op.Description)
		}
	}
	if want := min(len(all), 1) * 2; res.code != want && len(p.Hash) > 0 {
		m.t.Errorf("plan exits with %d, want %d", res.code, want)
	}
	return strings.Join(all, "\n"), p.Hash
}

// wantNothingToDo runs the files stage once more on the tree that it has
// finished: nothing may change, not even a time stamp.
func (m *machine) wantNothingToDo() {
	m.t.Helper()
	before := m.listing()
	res := m.run(m.stageArgs("file", "files", "--ops-file="+m.path("run/again.jsonl"))...)
	if res.code != 0 {
		m.t.Errorf("the second run failed:\n%s", res.stdout)
		return
	}
	if after := m.listing(); after != before {
		m.t.Errorf("the second run changed\n%s%s", difference(before, after), res.stdout)
	}
	if planned, _ := m.plan(); planned != "" {
		m.t.Errorf("the plan of a finished tree has:\n%s", planned)
	}
	for _, c := range m.changes("run/again.jsonl") {
		m.t.Errorf("the second run did: %s", c)
	}
}

// difference lists the lines that are not in both texts.
func difference(a, b string) string {
	var out strings.Builder
	for _, side := range []struct{ sign, text, other string }{{"- ", a, "\n" + b}, {"+ ", b, "\n" + a}} {
		for line := range strings.Lines(side.text) {
			if !strings.Contains(side.other, "\n"+line) {
				out.WriteString(side.sign + line)
			}
		}
	}
	return out.String()
}
