// SPDX-License-Identifier: Apache-2.0

package distro

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const importPath = "firstboot.dev/ignition/internal/distro"

// declared are the package's variables, as the source has them.
func declared(t *testing.T) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "distro.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.VAR {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			if v.Doc == nil && v.Comment == nil && (g.Lparen.IsValid() || g.Doc == nil) {
				t.Errorf("%s has no comment that gives its reason", v.Names[0].Name)
			}
			if lit, ok := v.Values[0].(*ast.BasicLit); !ok || lit.Kind != token.STRING {
				t.Errorf("%s: the linker can only set a variable that starts as a string literal", v.Names[0].Name)
			}
			names = append(names, v.Names[0].Name)
		}
	}
	return names
}

func TestSettingsListsEveryVariable(t *testing.T) {
	var listed []string
	for _, s := range Settings() {
		listed = append(listed, s.Name)
	}
	if want := declared(t); !slices.Equal(listed, want) {
		t.Errorf("Settings lists\n%v\ndistro.go declares\n%v", listed, want)
	}
}

func TestDefaults(t *testing.T) {
	for _, row := range []struct{ name, got, want string }{
		{"version", Version, "was not built properly"},
		{"result file", ResultFilePath, "/etc/.ignition-result.json"},
		{"luks key dir", LuksRealRootKeyFilePath, "/etc/luks/"},
		{"cex repository", LuksCexRealRootRepository, "/etc/zkey/repository/"},
		{"kargs helper", KargsHelper, "ignition-kargs-helper"},
		{"boot id", BootIDPath, "/proc/sys/kernel/random/boot_id"},
		{"by label", DiskByLabelDir, "/dev/disk/by-label"},
		{"config cache", ConfigCache, "/run/ignition.json"},
		{"neednet", NeednetFile, "/run/ignition/neednet"},
		{"state", StateFile, "/run/ignition/state"},
		{"ops", OpsFile, "/run/ignition/ops.jsonl"},
		{"oem", OEMLookasideDir, "/oem"},
	} {
		if row.got != row.want {
			t.Errorf("%s: got %q, want %q", row.name, row.got, row.want)
		}
	}
	if SELinuxRelabel() || BlackboxTesting() || !WriteAuthorizedKeysFragment() {
		t.Errorf("switches: relabel %v, blackbox %v, fragment %v; want false, false, true",
			SELinuxRelabel(), BlackboxTesting(), WriteAuthorizedKeysFragment())
	}
	if err := Check(); err != nil {
		t.Errorf("the defaults do not pass their own check: %v", err)
	}
}

func TestSwitches(t *testing.T) {
	relabel, blackbox := selinuxRelabel, blackboxTesting
	t.Cleanup(func() { selinuxRelabel, blackboxTesting = relabel, blackbox })
	for _, row := range []struct {
		name, relabel, blackbox string
		want, valid             bool
	}{
		{"on", "true", "false", true, true},
		{"on by number", "1", "0", true, true},
		{"off", "false", "false", false, true},
		{"off in a blackbox build", "true", "true", false, true},
		{"mistaken value is off and reported", "yes", "false", false, false},
		{"empty value is off and reported", "", "false", false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			selinuxRelabel, blackboxTesting = row.relabel, row.blackbox
			if got := SELinuxRelabel(); got != row.want {
				t.Errorf("SELinuxRelabel() = %v, want %v", got, row.want)
			}
			if err := Check(); (err == nil) != row.valid {
				t.Errorf("Check() = %v, want valid %v", err, row.valid)
			}
		})
	}
}

// TestLinkTimeOverride builds a program in which every setting was overridden
// and reads them back.
func TestLinkTimeOverride(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go tool to build a program")
	}
	// An overlay puts the program below this package, as the rule for internal
	// packages wants it, without a file in the source tree.
	work, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	source := "package main\n\nimport \"" + importPath + "\"\n\n" +
		"func main() {\n\tfor _, s := range distro.Settings() {\n\t\tprintln(s.Name + \"=\" + s.Value)\n\t}\n}\n"
	real, virtual := filepath.Join(tmp, "main.go"), filepath.Join(work, "printsettings", "main.go")
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{virtual: real}})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{real: []byte(source), filepath.Join(tmp, "overlay.json"): overlay} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var flags, want []string
	for _, name := range declared(t) {
		flags = append(flags, "-X "+importPath+"."+name+"=set-"+name)
		want = append(want, name+"=set-"+name)
	}
	program := filepath.Join(tmp, "prog")
	build := exec.Command(goTool, "build", "-overlay", filepath.Join(tmp, "overlay.json"),
		"-ldflags", strings.Join(flags, " "), "-o", program, importPath+"/printsettings")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(program).CombinedOutput() // println writes to stderr
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out)); !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}
