// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ownTests are the pages whose commands other tests run, with the output that the page shows.
var ownTests = map[string]string{
	"docs/validate.md": "cmd/ignition/ci_test.go TestValidatePage",
	"docs/editors.md":  "cmd/ignition/editors_test.go TestEditorsPage",
	"docs/cookbook.md": "tests/blackbox/cookbook_test.go TestCookbook",
}

// elsewhere are commands that need more than a folder: each with the file that
// runs the like of it, and a text that is in that file. Without one it says why not.
var elsewhere = []struct{ command, file, text string }{
	{"qemu-system-x86_64 ", "tests/vm/boot/more_test.go", "func TestUpstreamOnQEMU("},
	{"aws ec2 run-instances ", "", "needs a cloud; tests/vm/boot TestFlatcarOnEC2 boots with that user data"},
	{"matchbox -address", "tests/network/servers_test.go", "func TestMatchbox("},
	{"apt install ./ignition_*.deb", "scripts/boot-image", "dpkg -i --force-confnew /ignition.deb"},
	{"ignition report  ", "tests/blackbox/apply_test.go", "func TestReportCommand("},
	{"go test ./internal/config/", "Makefile", "$(GO) test $(TESTFLAGS) ./..."},
}

var (
	docFence   = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	docComment = regexp.MustCompile(`\s+#\s.*$`)
	docInline  = regexp.MustCompile("`((?:ignition|butane) [a-z-][^`]*)`")
)

// docPages gives the pages that people read, by path below the tree.
func docPages(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages := map[string]string{}
	for _, name := range append(names, "../../README.md", "../../CONTRIBUTING.md") {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		pages[strings.TrimPrefix(filepath.ToSlash(name), "../../")] = string(raw)
	}
	return pages
}

// TestDocs runs the commands in the blocks ```sh of every page, each page's in a
// folder of its own, in order: all that a reader copies works.
func TestDocs(t *testing.T) {
	needRoot(t)
	run := 0
	for name, page := range docPages(t) {
		if where, ok := ownTests[name]; ok {
			file, test, _ := strings.Cut(where, " ")
			wantInTree(t, file, "func "+test+"(")
			continue
		}
		t.Run(name, func(t *testing.T) {
			m := readerMachine(t)
			for _, block := range docFence.FindAllStringSubmatch(page, -1) {
				if block[1] != "sh" {
					if first, _, _ := strings.Cut(block[2], " "); first == "make" || first == "ignition" || first == "sudo" {
						t.Errorf("a block of commands that is not marked as sh:\n%s", block[2])
					}
					continue
				}
				run += runBlock(t, m, block[2])
			}
		})
	}
	if run < 15 {
		t.Errorf("only %d commands were run", run)
	}
}

// readerMachine has what the pages speak of.
func readerMachine(t *testing.T) *machine {
	t.Helper()
	m := newMachine(t)
	m.must(os.Rename(m.root, m.path("image")))
	tree, err := filepath.Abs("../..")
	m.must(err)
	m.must(os.Mkdir(m.path("bin"), 0o755))
	for _, as := range []string{"ignition", "butane", "ignition-validate", "ignition-apply"} {
		m.must(os.Symlink(binary, m.path("bin/"+as)))
	}
	m.must(os.Symlink(filepath.Join(tree, "examples"), m.path("examples")))
	m.must(os.Mkdir(m.path("files"), 0o755))
	config, err := os.ReadFile("../../examples/cookbook/04-hostname.bu")
	m.must(err)
	m.write("web.bu", string(config))
	m.write("config.bu", string(config))
	m.write("ops.jsonl", `{"stage":"files","op":1,"kind":"write-file","desc":"x","start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:00:01Z","seconds":1,"outcome":"failed","error":"y"}`+"\n")
	return m
}

// prelude makes a plan with something to do no failure, as a reader is root here.
const prelude = `ignition() { command ignition "$@" || { s=$?; test "$1" = plan && test $s = 2; }; }
sudo() { if test "$1" = -E; then shift; fi; "$@"; }
set -e
`

// runBlock runs what can be run of a block, and tells of how many commands that is.
func runBlock(t *testing.T, m *machine, block string) (commands int) {
	t.Helper()
	var script []string
	for line := range strings.SplitSeq(strings.TrimSuffix(strings.ReplaceAll(block, "\\\n", " "), "\n"), "\n") {
		bare := strings.TrimPrefix(docComment.ReplaceAllString(line, ""), "sudo ")
		switch {
		case strings.Contains(bare, "make "):
			for part := range strings.SplitSeq(bare, " && ") {
				if _, target, ok := strings.Cut(" "+part, " make "); ok {
					wantInTree(t, "Makefile", "\n"+strings.Fields(target)[0]+":")
				} else {
					script = append(script, part)
					commands++
				}
			}
		case isElsewhere(t, line, bare):
		default:
			script = append(script, line)
			commands++
		}
	}
	if len(script) == 0 {
		return 0
	}
	text := strings.NewReplacer("/tmp/try", m.path("try"), "/var/lib/matchbox", m.path("matchbox")).Replace(strings.Join(script, "\n"))
	c := exec.Command("bash", "-c", prelude+text)
	c.Dir = m.dir
	c.Env = append([]string{"PATH=" + m.path("bin") + ":" + os.Getenv("PATH")}, m.env[1:]...)
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%s\n%v\n%s", text, err, out)
	}
	return commands
}

// TestHashOnPage: the hash in docs/plan.md has the form of one.
func TestHashOnPage(t *testing.T) {
	m := readerMachine(t)
	_, shown, _ := strings.Cut(docPages(t)["docs/plan.md"], "$ ignition plan --root image --hash config.bu\n")
	shown, _, _ = strings.Cut(shown, "\n")
	shape := regexp.MustCompile(`[0-9a-f]{4}\\\.\\\.\\\.`).ReplaceAllString(regexp.QuoteMeta(shown), "[0-9a-f]+")
	shape = regexp.MustCompile(`-[0-9a-f]{6}$`).ReplaceAllString(shape, "-[0-9a-f]{6}")
	out, _ := m.command(t.Context(), "plan", "--root", "image", "--hash", "config.bu").Output()
	if !regexp.MustCompile("^"+shape+"\n$").Match(out) || shape == "" {
		t.Errorf("the page shows %q and the program prints %q", shown, out)
	}
}

func isElsewhere(t *testing.T, line, bare string) bool {
	t.Helper()
	for _, e := range elsewhere {
		if strings.HasPrefix(strings.TrimPrefix(line, "sudo "), e.command) || strings.HasPrefix(bare, e.command) {
			if e.file != "" {
				wantInTree(t, e.file, e.text)
			}
			return true
		}
	}
	return false
}

func wantInTree(t *testing.T, file, text string) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../..", file))
	if err != nil || !strings.Contains("\n"+string(raw), text) {
		t.Errorf("%s does not have %q (%v)", file, text, err)
	}
}

// TestDocsNameVerbs: what is in the text as a command has a verb and flags that exist.
func TestDocsNameVerbs(t *testing.T) {
	helps := map[string]string{}
	help := func(args ...string) string {
		key := strings.Join(args, " ")
		if _, ok := helps[key]; !ok {
			out, err := exec.Command(binary, append(args, "--help")...).CombinedOutput()
			if err != nil {
				out = nil
			}
			helps[key] = string(out)
		}
		return helps[key]
	}
	seen := 0
	for name, page := range docPages(t) {
		for _, m := range docInline.FindAllStringSubmatch(docFence.ReplaceAllString(page, ""), -1) {
			words := strings.Fields(m[1])
			text := ""
			switch {
			case words[0] == "butane":
				text = help("transpile")
			case strings.HasPrefix(words[1], "-"):
				text = help()
			case words[1] == "boot" || words[1] == "help" || words[1] == "version":
				continue // the boot's own verbs are tested where units are
			default:
				text = help(words[1])
			}
			if seen++; text == "" {
				t.Errorf("%s: %q: there is no such verb", name, m[1])
				continue
			}
			for _, word := range words[1:] {
				flag, _, _ := strings.Cut(word, "=")
				if strings.HasPrefix(flag, "--") && flag != "--help" && !strings.Contains(text, flag[1:]) {
					t.Errorf("%s: %q: the help does not have %s", name, m[1], flag)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d commands are in the text", seen)
	}
}
