// SPDX-License-Identifier: Apache-2.0

// Package ignition_test keeps the architecture: which room may import which,
// and the habits that every file shares. The rules are functions over a tree of
// source files, so that each can be shown to fail on a small wrong tree
// (arch_rules_test.go). They read the sources with go/parser and not through
// `go list`: that way the files of every architecture and build tag are seen,
// and a wrong tree needs no module around it.
package ignition_test

import (
	"os"
	"path"
	"strings"
	"testing"
)

const module = "firstboot.dev/ignition"

// room is one row of the import table. Patterns: an exact path, "x/*" for the
// direct children of x, "x/..." for x and all beneath. Paths of this module are
// written from its root; the standard library is allowed but for deny.
type room struct {
	path   string   // which packages the row is about
	may    []string // packages of this module and of others
	deny   []string // of the standard library
	reason string
}

// importTable is the layering. The first row that matches a package counts.
var importTable = []room{
	{"internal/config/legacy",
		[]string{"internal/config", "github.com/coreos/vcontext/..."},
		[]string{"os", "net/http", "os/exec", "syscall", "unsafe"},
		"old configs become the one set of types; what that can say is not decided here"},
	{"internal/config/...",
		[]string{"internal/config/...", "github.com/coreos/vcontext/...", "github.com/coreos/go-systemd/v22/unit"},
		[]string{"os", "net/http", "os/exec", "syscall", "unsafe"},
		"the config language is pure functions: editors, pipelines and the stages share it"},
	{"internal/butane/yaml",
		[]string{"third_party/yaml", "go.yaml.in/yaml/v3"}, // the latter in a test alone
		[]string{"os", "net/http", "os/exec", "syscall", "unsafe", "reflect"},
		"text to nodes: the one place that knows the library; it knows neither configs nor Go types"},
	{"internal/butane/pack",
		nil,
		[]string{"os", "net/http", "os/exec", "syscall", "unsafe", "reflect", "compress/gzip", "compress/flate"},
		"gzip in a tenth of the standard library's room; its tests read with that"},
	{"internal/butane",
		[]string{"internal/butane/pack", "internal/butane/yaml", "internal/config", "github.com/coreos/vcontext/..."},
		[]string{"os", "net/http", "os/exec", "syscall", "unsafe"},
		"a second language of the same configs, pure as the first: local files come through a seam"},
	{"internal/document",
		[]string{"internal/butane", "internal/config", "internal/config/legacy", "github.com/coreos/vcontext/..."},
		[]string{"os", "net/http", "os/exec", "syscall", "unsafe"},
		"a document in any language, pure as the languages: the one order in which they are tried"},
	{"internal/schema",
		[]string{"internal/butane", "internal/config", "internal/config/legacy"},
		[]string{"os", "net/http", "os/exec", "syscall", "unsafe"},
		"what the languages are, for editors; it judges no document and reads no file"},
	{"internal/sysroot",
		[]string{"golang.org/x/sys/unix"},
		[]string{"os/exec", "net/http"},
		"the target tree is confined by the kernel; it knows no config and starts no program"},
	{"internal/oplog",
		[]string{"golang.org/x/sys/unix", "github.com/coreos/go-systemd/v22/journal", "github.com/coreos/go-systemd/v22/daemon"},
		[]string{"os/exec", "net/http"},
		"everything logs, so the log may import nothing that logs"},
	{"internal/plan",
		[]string{"internal/oplog"},
		[]string{"os", "os/exec", "net/http"},
		"what will be done, as data and as text; who finds that out is above it"},
	{"internal/distro",
		nil,
		[]string{"os", "os/exec", "net/http"},
		"a table of names that the linker can set; it does no work"},
	{"internal/exec",
		[]string{"internal/oplog", "internal/distro", "golang.org/x/sys/unix"},
		[]string{"net/http"},
		"the one place that starts programs knows neither config nor callers"},
	{"internal/exec/*",
		[]string{"internal/exec", "internal/sysroot", "internal/config", "internal/distro", "internal/oplog", "internal/plan", "golang.org/x/sys/unix"},
		[]string{"os/exec", "net/http"},
		"a tool family knows its tools; it fetches nothing and knows no sibling"},
	{"internal/block",
		[]string{"internal/exec", "internal/exec/mounts", "internal/oplog", "internal/distro", "golang.org/x/sys/unix", "github.com/coreos/go-systemd/v22/dbus", "github.com/coreos/go-systemd/v22/unit"},
		[]string{"os/exec", "net/http"},
		"block devices: it starts helpers through exec and knows no config"},
	{"internal/resource",
		[]string{"internal/config", "internal/oplog", "golang.org/x/sys/unix", "golang.org/x/sync/...",
			"github.com/aws/aws-sdk-go-v2/aws", "github.com/aws/aws-sdk-go-v2/aws/signer/v4", "github.com/pin/tftp/v3"},
		[]string{"os/exec"},
		"turns URLs into bytes, whoever asks"},
	{"internal/providers",
		[]string{"internal/resource", "internal/config", "golang.org/x/sys/unix"},
		[]string{"os/exec", "net/http"},
		"the contract between the platforms and their callers"},
	{"internal/providers/*",
		[]string{"internal/providers", "internal/resource", "internal/config", "golang.org/x/sys/unix"},
		[]string{"os/exec"},
		"a platform hands over the user's config; what it needs of the machine arrives in its Env"},
	{"internal/platform",
		[]string{"internal/providers", "internal/providers/*", "internal/resource", "internal/config"},
		[]string{"os/exec", "net/http"},
		"the table of platforms and how one is chosen"},
	{"internal/stages",
		[]string{"internal/stages/*", "internal/block", "internal/config", "internal/resource", "internal/sysroot", "internal/exec", "internal/exec/*", "internal/oplog", "internal/plan", "internal/distro"},
		[]string{"os/exec", "net/http"},
		"the table of stages; it hands each the settings that it needs"},
	{"internal/stages/*",
		[]string{"internal/block", "internal/config", "internal/resource", "internal/sysroot", "internal/exec", "internal/exec/*", "internal/oplog", "internal/plan", "golang.org/x/sync/...", "golang.org/x/sys/unix"},
		[]string{"os/exec", "net/http"},
		"a stage knows no platform, no other stage and no build-time setting"},
	{"internal/engine",
		[]string{"internal/...", "golang.org/x/sync/...", "golang.org/x/sys/unix", "github.com/coreos/vcontext/..."},
		[]string{"os/exec"},
		"puts everything beneath cmd together"},
	{"internal/boot",
		[]string{"internal/exec", "internal/exec/mounts", "internal/oplog", "internal/platform", "internal/sysroot", "golang.org/x/sys/unix"},
		[]string{"os/exec"},
		"what stands around the stages in an initramfs; it runs none and reads no config"},
	{"cmd/ignition",
		[]string{"internal/boot", "internal/butane", "internal/document", "internal/engine", "internal/config", "internal/config/legacy", "internal/oplog", "internal/distro", "internal/plan", "internal/schema", "github.com/coreos/vcontext/report", "golang.org/x/sys/unix"},
		[]string{"os/exec", "net/http"},
		"flags, environment, exit codes and wiring only"},
	{"tests/servers/...",
		[]string{"github.com/google/go-containerregistry/..."},
		nil,
		"servers for tests, in a module of their own: nothing of theirs gets into the binary"},
	{"tests/...",
		[]string{"tests/...", "internal/config", "golang.org/x/sys/unix", "github.com/rogpeppe/go-internal/..."},
		nil,
		"tests of the built binary see what a user sees"},
}

// matches tells whether a pattern of the import table covers a path.
func matches(pattern, name string) bool {
	if base, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == base || strings.HasPrefix(name, base+"/")
	}
	if base, ok := strings.CutSuffix(pattern, "/*"); ok {
		return path.Dir(name) == base
	}
	return pattern == name
}

func roomOf(dir string) (room, bool) {
	for _, r := range importTable {
		if matches(r.path, dir) {
			return r, true
		}
	}
	return room{}, false
}

func anyMatch(patterns []string, name string) bool {
	for _, p := range patterns {
		if matches(p, name) {
			return true
		}
	}
	return false
}

// rule is one law of the tree; check returns one line per breach.
type rule struct {
	name   string
	reason string
	check  func(tree) []string
}

var rules = []rule{
	{"imports", "the rooms are a layering: an import against it makes the rooms one room", checkImports},
	{"package doc", "a reader learns from the first lines what a package is for and what it leaves to others", checkPackageDoc},
	{"no init", "work before main hides its order; lists are tables that a reader sees whole", checkInit},
	{"no cgo", "one static binary that cross-compiles and needs no library in the initramfs", checkCgo},
	{"no MethodByName", "it makes the linker keep every exported method of every type", checkMethodByName},
	{"os/exec", "one place starts programs, so each command is logged, checked and redacted", checkOSExec},
	{"environment", "what a run depends on is read once, in cmd, and handed down", checkEnvironment},
	{"package names", "a room is named after its subject, not after its role", checkPackageNames},
	{"licence line", "each file says its licence", checkLicence},
	{"function length", "a function is a screen; a longer one is a list of named steps", checkFunctionLength},
	{"unfinished", "what is unfinished is in the tracker, not in the source", checkUnfinished},
	{"forbidden words", "the tree speaks of itself only: no registry host, no path of somebody's machine", checkForbiddenWords},
	{"changelog", "operators read what changed", checkChangelog},
	{"make help", "`make help` is the list of targets, so each target carries its line", checkMakeHelp},
}

// TestArchitecture holds the tree to every rule.
func TestArchitecture(t *testing.T) {
	tr, err := loadTree(".")
	if err != nil {
		t.Fatal(err)
	}
	if len(tr.packages()) < 8 {
		t.Fatalf("only %d packages found: is this the root of the module?", len(tr.packages()))
	}
	for _, r := range rules {
		t.Run(strings.ReplaceAll(r.name, " ", "-"), func(t *testing.T) {
			for _, breach := range r.check(tr) {
				t.Errorf("%s\n\twhy the rule: %s", breach, r.reason)
			}
		})
	}
}

// TestNoForeignSources keeps the sources of other implementations out of what
// is downloaded for builds and tests.
func TestNoForeignSources(t *testing.T) {
	for _, sums := range []string{"go.sum", "tests/servers/go.sum"} {
		raw, err := os.ReadFile(sums)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(raw)) {
			for _, module := range []string{"github.com/coreos/ignition", "github.com/coreos/butane", "github.com/flatcar/ignition", "github.com/flatcar/ign-converter"} {
				if strings.HasPrefix(line, module+" ") || strings.HasPrefix(line, module+"/") {
					t.Errorf("%s: %s", sums, line)
				}
			}
		}
	}
}
