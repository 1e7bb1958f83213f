// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestReadme goes through the README's walk as a reader does: the file that it
// shows, each command, and the output that it shows for that.
func TestReadme(t *testing.T) {
	raw, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, walk, ok := strings.Cut(string(raw), "## From YAML to a machine\n")
	walk, _, ok2 := strings.Cut(walk, "\n## ")
	_, config, ok3 := strings.Cut(walk, "```yaml\n")
	config, _, ok4 := strings.Cut(config, "```\n")
	if !ok || !ok2 || !ok3 || !ok4 {
		t.Fatal("the README has no walk, or no config in it")
	}
	m := newMachine(t)
	m.write("web.bu", config)
	m.must(os.Rename(m.root, m.path("image")))
	m.must(os.MkdirAll(m.path("bin"), 0o755))
	m.must(os.Symlink(binary, m.path("bin/ignition")))
	commands := 0
	for rest := walk; ; {
		var block string
		if _, rest, ok = strings.Cut(rest, "```console\n"); !ok {
			break
		}
		block, rest, _ = strings.Cut(rest, "```\n")
		for _, one := range strings.Split("\n"+block, "\n$ ")[1:] {
			line, want, _ := strings.Cut(one, "\n")
			want = strings.TrimSuffix(want, "\n")
			c := exec.Command("sh", "-c", line)
			c.Dir = m.dir
			c.Env = append([]string{"PATH=" + m.path("bin") + ":" + os.Getenv("PATH")}, m.env[1:]...)
			out, _ := c.CombinedOutput() // a plan with something to do exits with 2
			got := strings.TrimSuffix(strings.ReplaceAll(string(out), m.dir, "/home/me"), "\n")
			if got != want {
				t.Errorf("$ %s\n%s\nthe README shows\n%s", line, got, want)
			}
			commands++
		}
	}
	if commands < 3 {
		t.Errorf("%d commands", commands)
	}
}
