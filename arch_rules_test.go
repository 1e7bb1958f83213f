// SPDX-License-Identifier: Apache-2.0

package ignition_test

import (
	"fmt"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// spdx starts the files of the wrong trees.
const spdx = "// SPDX-License-Identifier: Apache-2.0\n\n"

// goodTree keeps every rule; the rows of TestRulesBite break one each.
func goodTree() map[string]string {
	return map[string]string{
		"cmd/ignition/main.go": spdx + "// Command ignition is a sample.\npackage main\n\nimport (\n\t\"os\"\n\n\t\"" + module +
			"/internal/engine\"\n)\n\nfunc main() { engine.Run(os.Getenv(\"A\")) }\n",
		"internal/engine/engine.go": spdx + "// Package engine is a sample.\npackage engine\n\nfunc Run(string) {}\n",
		"internal/exec/exec.go":     spdx + "// Package exec is a sample.\npackage exec\n\nimport _ \"os/exec\"\n",
		"CHANGELOG.md":              "# Changes\n\n## Next\n\n- A line.\n",
		"Makefile":                  "# SPDX-License-Identifier: Apache-2.0\nall: dep ## Builds.\n\ttrue\n",
		"scripts/run":               "#!/bin/bash\n# SPDX-License-Identifier: Apache-2.0\n",
	}
}

func load(t *testing.T, files map[string]string) tree {
	t.Helper()
	tr := tree{fset: token.NewFileSet()}
	for name, text := range files {
		if err := tr.add(name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func TestGoodTreeKeepsEveryRule(t *testing.T) {
	tr := load(t, goodTree())
	for _, r := range rules {
		if got := r.check(tr); len(got) != 0 {
			t.Errorf("%s: %q on a tree that keeps it", r.name, got)
		}
	}
}

// goFile is a Go source of a sample package with a doc.
func goFile(pkg, body string) string {
	return spdx + "// Package " + pkg + " is a sample.\npackage " + pkg + "\n\n" + body + "\n"
}

func importing(pkg, path string) string { return goFile(pkg, fmt.Sprintf("import _ %q", path)) }

func TestRulesBite(t *testing.T) {
	long := "func long() {\n" + strings.Repeat("\tprintln()\n", longestFunction) + "}"
	rows := []struct {
		name, rule string
		file, text string
		want       string // part of the breach
	}{
		{"stage imports a platform's provider", "imports", "internal/stages/files/files.go", importing("files", module+"/internal/providers/aws"), "internal/providers/aws"},
		{"stage imports another stage", "imports", "internal/stages/files/files.go", importing("files", module+"/internal/stages/mount"), "internal/stages/mount"},
		{"stage imports the build-time settings", "imports", "internal/stages/files/files.go", importing("files", module+"/internal/distro"), "internal/distro"},
		{"stage imports the engine", "imports", "internal/stages/files/files.go", importing("files", module+"/internal/engine"), "internal/engine"},
		{"provider imports a stage", "imports", "internal/providers/aws/aws.go", importing("aws", module+"/internal/stages/files"), "internal/stages/files"},
		{"provider imports another", "imports", "internal/providers/file/file.go", importing("file", module+"/internal/providers/aws"), "internal/providers/aws"},
		{"provider imports the platform table", "imports", "internal/providers/file/file.go", importing("file", module+"/internal/platform"), "internal/platform"},
		{"provider without need imports the SDK", "imports", "internal/providers/file/file.go", importing("file", "github.com/aws/aws-sdk-go-v2/feature/ec2/imds"), "imds"},
		{"config imports os", "imports", "internal/config/config.go", importing("config", "os"), "imports os"},
		{"config imports net/http", "imports", "internal/config/config.go", importing("config", "net/http"), "net/http"},
		{"config imports the log", "imports", "internal/config/config.go", importing("config", module+"/internal/oplog"), "internal/oplog"},
		{"sysroot imports config", "imports", "internal/sysroot/root.go", importing("sysroot", module+"/internal/config"), "internal/config"},
		{"log imports the build-time settings", "imports", "internal/oplog/log.go", importing("oplog", module+"/internal/distro"), "internal/distro"},
		{"exec imports config", "imports", "internal/exec/config.go", importing("exec", module+"/internal/config"), "internal/config"},
		{"tool family imports its sibling", "imports", "internal/exec/users/users.go", importing("users", module+"/internal/exec/mounts"), "internal/exec/mounts"},
		{"resource imports a provider", "imports", "internal/resource/fetch.go", importing("resource", module+"/internal/providers/aws"), "internal/providers/aws"},
		{"command reaches beneath the engine", "imports", "cmd/ignition/deep.go", importing("main", module+"/internal/stages"), "internal/stages"},
		{"blackbox test imports a stage", "imports", "tests/blackbox/run.go", importing("blackbox", module+"/internal/stages/files"), "internal/stages/files"},
		{"unknown module", "imports", "internal/engine/dep.go", importing("engine", "example.com/x"), "example.com/x"},
		{"room without a row", "imports", "internal/novel/novel.go", goFile("novel", ""), "no row"},
		{"no doc", "package doc", "internal/oplog/log.go", spdx + "package oplog\n", "internal/oplog"},
		{"init", "no init", "internal/engine/a.go", goFile("engine", "func init() {}"), "a.go:6"},
		{"init in a test", "no init", "internal/engine/a_test.go", goFile("engine", "func init() {}"), "a_test.go:6"},
		{"cgo", "no cgo", "internal/engine/a.go", importing("engine", "C"), `"C"`},
		{"method by name", "no MethodByName", "internal/engine/a.go", goFile("engine", `import "reflect"

var m = reflect.ValueOf(1).MethodByName("x")`), "MethodByName"},
		{"starts programs elsewhere", "os/exec", "internal/stages/kargs/kargs.go", importing("kargs", "os/exec"), "kargs.go"},
		{"starts programs in a tool family", "os/exec", "internal/exec/users/users.go", importing("users", "os/exec"), "users.go"},
		{"reads the environment", "environment", "internal/engine/a.go", goFile("engine", "import \"os\"\n\nvar a = os.Getenv(\"A\")"), "os.Getenv"},
		{"lists the environment", "environment", "internal/engine/a.go", goFile("engine", "import \"os\"\n\nvar a = os.Environ()"), "os.Environ"},
		{"looks up the environment", "environment", "internal/engine/a.go", goFile("engine", "import \"os\"\n\nvar a, b = os.LookupEnv(\"A\")"), "os.LookupEnv"},
		{"util", "package names", "internal/util/a.go", goFile("util", ""), "package util"},
		{"helpers of a test", "package names", "internal/x/a_test.go", goFile("helpers_test", ""), "package helpers"},
		{"Go file without licence", "licence line", "internal/engine/a.go", "package engine\n", "a.go"},
		{"script without licence", "licence line", "scripts/run", "#!/bin/bash\ntrue\n", "scripts/run"},
		{"long function", "function length", "internal/engine/a.go", goFile("engine", long), "82 lines"},
		{"to do", "unfinished", "internal/engine/a.go", goFile("engine", "// TO"+"DO: the rest"), "a.go:6"},
		{"to be fixed, in a script", "unfinished", "scripts/run", "# FIX" + "ME\n", "scripts/run:1"},
		{"stub", "unfinished", "internal/engine/a.go", goFile("engine", `var s = "not imple`+`mented"`), "a.go:6"},
		{"registry host", "forbidden words", "scripts/run", "GOPROXY=https://proxy.gol" + "ang.org\n", "scripts/run:1"},
		{"path of a machine", "forbidden words", "README.md", "see /wo" + "rk/main\n", "README.md:1"},
		{"no changelog", "changelog", "CHANGELOG.md", "# Changes\n", "no version heading"},
		{"empty changelog", "changelog", "CHANGELOG.md", "# Changes\n\n## Next\n\n## 1.0\n\n- Old.\n", "no entry"},
		{"target without help", "make help", "Makefile", "build: dep\n\ttrue\n", "for build"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			files := goodTree()
			files[row.file] = row.text
			i := slices.IndexFunc(rules, func(r rule) bool { return r.name == row.rule })
			if i < 0 {
				t.Fatalf("no rule %q", row.rule)
			}
			got := rules[i].check(load(t, files))
			if len(got) != 1 || !strings.Contains(got[0], row.want) {
				t.Errorf("breaches %q, want one that holds %q", got, row.want)
			}
		})
	}
}

// TestEveryRuleIsShownToBite keeps a rule without a wrong tree out.
func TestEveryRuleIsShownToBite(t *testing.T) {
	f, err := loadTree(".")
	if err != nil {
		t.Fatal(err)
	}
	self, ok := f.find("arch_rules_test.go")
	if !ok {
		t.Fatal("arch_rules_test.go not found")
	}
	for _, r := range rules {
		if !strings.Contains(string(self.text), fmt.Sprintf(", %q, ", r.name)) {
			t.Errorf("rule %q has no row in TestRulesBite", r.name)
		}
	}
}
