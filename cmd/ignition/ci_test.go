// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// installed puts the program under its name into a folder, and gives an environment that finds it there.
func installed(t *testing.T) (dir string, env []string) {
	t.Helper()
	dir = t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(dir, "ignition")); err != nil {
		t.Fatal(err)
	}
	return dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
}

func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err == nil {
		err = yaml.Unmarshal(raw, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// configs writes a good config, one with a warning and a bad one, and gives their folder.
func configs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"good.ign":    `{"ignition":{"version":"3.3.0"}}`,
		"sub/good.bu": "variant: flatcar\nversion: 1.0.0\n",
		"sub/warn.bu": "variant: flatcar\nversion: 1.0.0\nstorag: {}\n",
		"bad/bad.ign": `{"ignition":{"version":"3.3.0"},"storage":{"files":[{"path":"a"}]}}`,
	} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestPreCommitHook runs the hook's command as pre-commit does: entry, args, and the files that its pattern takes.
func TestPreCommitHook(t *testing.T) {
	var hooks []struct {
		ID       string   `yaml:"id"`
		Name     string   `yaml:"name"`
		Entry    string   `yaml:"entry"`
		Args     []string `yaml:"args"`
		Language string   `yaml:"language"`
		Files    string   `yaml:"files"`
	}
	readYAML(t, "../../.pre-commit-hooks.yaml", &hooks)
	if len(hooks) != 1 || hooks[0].ID != "ignition-validate" || hooks[0].Name == "" || hooks[0].Language != "golang" {
		t.Fatalf("hooks %+v", hooks)
	}
	h := hooks[0]
	files := regexp.MustCompile(h.Files)
	for name, want := range map[string]bool{"a.ign": true, "x/b.bu": true, "a.ign.txt": false, "bu": false, "a.yaml": false} {
		if files.MatchString(name) != want {
			t.Errorf("%s: the pattern %s says %v", name, h.Files, !want)
		}
	}
	_, env := installed(t)
	for name, want := range map[string]bool{"good.ign": true, "sub/good.bu": true, "sub/warn.bu": false, "bad/bad.ign": false} {
		cmd := exec.Command("bash", "-c", h.Entry+` "$@"`, "-")
		cmd.Args = append(append(cmd.Args, h.Args...), name)
		cmd.Dir, cmd.Env = configs(t), env
		out, err := cmd.CombinedOutput()
		if (err == nil) != want {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

type action struct {
	Inputs map[string]struct {
		Default string `yaml:"default"`
	} `yaml:"inputs"`
	Outputs map[string]struct {
		Value string `yaml:"value"`
	} `yaml:"outputs"`
	Runs struct {
		Using string `yaml:"using"`
		Steps []step `yaml:"steps"`
	} `yaml:"runs"`
}

type step struct {
	ID    string            `yaml:"id"`
	Name  string            `yaml:"name"`
	Shell string            `yaml:"shell"`
	Env   map[string]string `yaml:"env"`
	Run   string            `yaml:"run"`
}

// run runs a step with values for the expressions in its environment.
func (s *step) run(t *testing.T, dir string, expressions map[string]string) (string, error) {
	t.Helper()
	// Expressions stand in env alone: in a script what users write would be run.
	if s.Shell != "bash" || strings.Contains(s.Run, "${{") {
		t.Fatalf("step %q: shell %q, script\n%s", s.Name, s.Shell, s.Run)
	}
	cmd := exec.Command("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", s.Run)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GITHUB_OUTPUT="+filepath.Join(dir, "output"))
	expression := regexp.MustCompile(`\$\{\{ (.*?) \}\}`)
	for name, value := range s.Env {
		value = expression.ReplaceAllStringFunc(value, func(found string) string {
			is, ok := expressions[expression.FindStringSubmatch(found)[1]]
			if !ok {
				t.Fatalf("step %q: no value for %s", s.Name, found)
			}
			return is
		})
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestAction(t *testing.T) {
	var a action
	readYAML(t, "../../.github/actions/validate/action.yml", &a)
	if a.Runs.Using != "composite" || len(a.Runs.Steps) != 2 || a.Runs.Steps[1].ID != "check" || a.Outputs["sarif"].Value != "${{ steps.check.outputs.sarif }}" {
		t.Fatalf("action %+v", a)
	}
	bin, _ := installed(t)
	check := func(dir, files, flags string) (string, error) {
		return a.Runs.Steps[1].run(t, dir, map[string]string{
			"inputs.files": files, "inputs.flags": flags, "inputs.sarif": a.Inputs["sarif"].Default,
			"inputs.binary || format('{0}/ignition', runner.temp)": filepath.Join(bin, "ignition"),
		})
	}
	for _, tt := range []struct {
		name, files, flags string
		good               bool
		results            int
		log                string
	}{
		{"the defaults", a.Inputs["files"].Default, a.Inputs["flags"].Default, false, 2, "error at $.storage.files.0.path"},
		{"good files", "good.ign sub/g*", "--strict", true, 0, ""},
		{"a warning", "sub/*.bu", "", true, 1, ""},
		{"a warning that fails", "sub/*.bu", "--strict", false, 1, "did you mean storage?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := configs(t)
			out, err := check(dir, tt.files, tt.flags)
			if (err == nil) != tt.good || !strings.Contains(out, tt.log) {
				t.Errorf("%v\n%s", err, out)
			}
			if output, err := os.ReadFile(filepath.Join(dir, "output")); err != nil || string(output) != "sarif=ignition.sarif\n" {
				t.Errorf("output %q, %v", output, err)
			}
			raw, err := os.ReadFile(filepath.Join(dir, "ignition.sarif"))
			if err != nil {
				t.Fatal(err)
			}
			var log sarifDocument
			if err := json.Unmarshal(raw, &log); err != nil || len(log.Runs) != 1 || len(log.Runs[0].Results) != tt.results {
				t.Errorf("report %s, %v", raw, err)
			}
		})
	}
	if out, err := check(configs(t), "*.none", ""); err == nil || !strings.Contains(out, "there is no file for: *.none") {
		t.Errorf("without files: %v\n%s", err, out)
	}
}

// TestActionBuilds runs the step that builds the program.
func TestActionBuilds(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	var a action
	readYAML(t, "../../.github/actions/validate/action.yml", &a)
	here, err := filepath.Abs("../../.github/actions/validate")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if out, err := a.Runs.Steps[0].run(t, dir, map[string]string{"github.action_path": here, "runner.temp": dir}); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(filepath.Join(dir, "ignition"), "version").Output(); err != nil || !strings.HasPrefix(string(out), "Ignition ") {
		t.Errorf("%q, %v", out, err)
	}
}

// TestValidatePage runs every command of docs/validate.md on its examples: what follows a command is what it prints.
func TestValidatePage(t *testing.T) {
	page, err := os.ReadFile("../../docs/validate.md")
	if err != nil {
		t.Fatal(err)
	}
	_, env := installed(t)
	dir := t.TempDir()
	for _, file := range regexp.MustCompile("(?s)`([a-z.]+)`:\n\n```[a-z]+\n(.*?)```").FindAllStringSubmatch(string(page), -1) {
		if err := os.WriteFile(filepath.Join(dir, file[1]), []byte(file[2]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	examples := regexp.MustCompile("(?s)```sh\n(.*?)\n```\n\n```text\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(examples) < 5 || strings.Count(string(page), "```sh\n") != len(examples) {
		t.Fatalf("%d examples with output", len(examples))
	}
	for _, example := range examples {
		cmd := exec.Command("sh", "-c", strings.ReplaceAll(example[1], "$", `\$`))
		cmd.Dir, cmd.Env = dir, env
		out, _ := cmd.CombinedOutput() // exit codes are tested by scripts
		if string(out) != example[2] {
			t.Errorf("%s\nprints\n%swant\n%s", example[1], out, example[2])
		}
	}
	for i := range sarifRules {
		if !strings.Contains(string(page), "`"+sarifRules[i].id+"`") {
			t.Errorf("the page does not name the rule %s", sarifRules[i].id)
		}
	}
}
