// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/cookbook.md from the examples")

// recipe is one example of the cookbook: a title, a text, what to test and what
// has to be there afterwards stand in the comment that it begins with.
type recipe struct {
	name, title, text, body string
	kind                    string // "" for one that provisions a tree; disks, kargs, network
	after                   []string
}

func recipes(t *testing.T) (list []recipe) {
	t.Helper()
	files, err := filepath.Glob("../../examples/cookbook/*.bu")
	if err != nil || len(files) != 25 {
		t.Fatalf("%d examples, %v", len(files), err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		r := recipe{name: filepath.Base(file)}
		head, body, _ := strings.Cut(string(raw), "\nvariant:")
		r.body = "variant:" + body
		var text []string
		for i, line := range strings.Split(head, "\n") {
			line = strings.TrimPrefix(strings.TrimPrefix(line, "#"), " ")
			switch key, value, _ := strings.Cut(line, ": "); {
			case i == 0:
				r.title = line
			case key == "test":
				r.kind = value
			case key == "after":
				r.after = append(r.after, value)
			case line != "":
				text = append(text, line)
			}
		}
		if r.text = strings.Join(text, "\n"); r.title == "" || r.text == "" {
			t.Errorf("%s has no title or no text", file)
		}
		list = append(list, r)
	}
	return list
}

// TestCookbook provisions a tree with each example, as a boot does, or plans it
// where a tree is not enough, and looks for what the example promises.
func TestCookbook(t *testing.T) {
	for _, r := range recipes(t) {
		t.Run(r.name, func(t *testing.T) {
			m := newMachine(t)
			m.write("config.bu", r.body)
			if res := m.run("transpile", "--strict", "config.bu"); res.code != 0 || res.stderr != "" {
				t.Errorf("transpile: exit %d\n%s", res.code, res.stderr)
			}
			if res := m.run("validate", "--strict", "config.bu"); res.code != 0 || r.kind != "network" && res.stdout != "" {
				t.Errorf("validate: exit %d\n%s", res.code, res.stdout)
			}
			switch r.kind {
			case "network":
				return // of names that are kept for examples
			case "disks", "kargs":
				m.write("machine.json", `{"version":1,"devices":[`+blankDisk("vdb")+`,`+blankDisk("vdc")+`]}`)
				res := m.run("plan", "--root="+m.root, "--disks=machine.json", "config.bu")
				wantText(t, res.stdout, "stage "+r.kind+":\n")
				wantNoText(t, res.stdout, "a device that is not there now")
				if res.code != 2 {
					t.Errorf("plan: exit %d\n%s", res.code, res.stderr)
				}
				return
			}
			if strings.Contains(r.body, "\npasswd:") || strings.Contains(r.body, "user:") {
				needRoot(t)
			}
			if len(r.after) == 0 {
				t.Error("it promises nothing")
			}
			m.systemctl("")
			m.provision(r.body)
			for _, fact := range r.after {
				m.wantFact(fact)
			}
		})
	}
}

func blankDisk(name string) string {
	return fmt.Sprintf(`{"names":[],"node":{"path":"/dev/%s","name":"%s","size":10737418240,"sectorSize":512},"use":{},"tableError":"disk does not have a GPT","content":{}}`, name, name)
}

// wantFact checks one line of "after": file PATH MODE TEXT, dir PATH MODE, link
// PATH TARGET, line PATH TEXT.
func (m *machine) wantFact(fact string) {
	m.t.Helper()
	kind, rest, _ := strings.Cut(fact, " ")
	path, rest, _ := strings.Cut(rest, " ")
	full := filepath.Join(m.root, path)
	mode := func(text string) {
		want, err := strconv.ParseUint(text, 8, 32)
		m.must(err)
		info, err := os.Lstat(full)
		m.must(err)
		if uint64(info.Mode().Perm()) != want || info.IsDir() != (kind == "dir") {
			m.t.Errorf("%s is %v, want %s %s", path, info.Mode(), kind, text)
		}
	}
	switch kind {
	case "file":
		number, text, _ := strings.Cut(rest, " ")
		mode(number)
		wantText(m.t, m.read("sysroot"+path), text)
	case "dir":
		mode(rest)
	case "line":
		wantText(m.t, "\n"+m.read("sysroot"+path), "\n"+rest)
	case "link":
		if target, err := os.Readlink(full); err != nil || target != rest {
			m.t.Errorf("%s leads to %q (%v), want %q", path, target, err, rest)
		}
	default:
		m.t.Errorf("what is %q?", fact)
	}
}

// TestCookbookPage: docs/cookbook.md is made from the examples.
func TestCookbookPage(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Cookbook\n\nExamples to start from, in Butane YAML, from [examples/cookbook](../examples/cookbook). `butane FILE` makes Ignition JSON of one; a machine takes the YAML as well.\n" +
		"Each is translated and checked strictly by `make test`, and provisions a tree there, or is planned where it is about disks or kernel arguments. Names under `example` and addresses in 192.0.2.0/24\n" +
		"stand for your own.\n")
	for _, r := range recipes(t) {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```yaml\n%s```\n", r.title, r.text, r.body)
	}
	const page = "../../docs/cookbook.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if raw, err := os.ReadFile(page); err != nil || string(raw) != b.String() {
		t.Errorf("%s is not what the examples make (%v); `go test ./tests/blackbox -run CookbookPage -update` writes it", page, err)
	}
}
