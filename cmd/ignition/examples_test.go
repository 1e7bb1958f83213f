// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"
)

// does is a sentence in a help that says what a verb does.
var does = regexp.MustCompile(`(?m)^[A-Z][a-z]+s [^:]*\.`)

// TestExamples: each verb's help ends with an example, and that works, in a
// folder with the files that it names.
func TestExamples(t *testing.T) {
	t.Chdir(t.TempDir())
	const config = "variant: flatcar\nversion: 1.1.0\nstorage:\n  files:\n    - path: /etc/motd\n      mode: 0644\n      contents: {inline: hello}\n"
	for name, text := range map[string]string{
		"config.bu": config, "machine.json": `{"version":1,"devices":[]}`, "ops.jsonl": `{"stage":"files","op":1,"kind":"write-file","desc":"x","start":"2026-01-01T00:00:00Z","end":"2026-01-01T00:00:01Z","seconds":1,"outcome":"ok"}` + "\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, dir := range []string{"image", "files"} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (int, string, string) {
		var out, errs bytes.Buffer
		code := dispatch(t.Context(), process{
			name: "ignition", args: args, stdin: strings.NewReader(""), stdout: &out, stderr: &errs,
			getenv: func(string) string { return "" },
		})
		return code, out.String(), errs.String()
	}
	if code, out, errs := run("transpile", "-o", "config.ign", "config.bu"); code != 0 {
		t.Fatalf("%d %s%s", code, out, errs)
	}
	wants := map[string]int{"plan": exitChanges, "rmcfg": 1} // there is something to do; this is no such machine
	for _, v := range verbs {
		if v.name == "version" {
			continue
		}
		code, out, errs := run(v.name, "--help")
		if help := out + errs; code != 0 || !strings.HasPrefix(help, "Usage:") || !strings.HasSuffix(help, "\nExample:\n  ignition "+v.name+" "+v.example+"\n") || v.example == "" {
			t.Errorf("%s --help: exit %d\n%s", v.name, code, help)
		}
		if !does.MatchString(out + errs) {
			t.Errorf("%s --help does not say what it does:\n%s", v.name, out+errs)
		}
		if _, again, more := run("help", v.name); again+more != out+errs {
			t.Errorf("help %s says something else:\n%s", v.name, again+more)
		}
		args, _, _ := strings.Cut(v.example, " >") // the shell's part
		args = strings.Replace(args, "/run/ignition/", "", 1)
		if v.name == "facts" && os.Geteuid() != 0 {
			continue // needs root
		}
		if v.name == "plan" { // a boot refuses to write over what is there
			if err := os.Rename("image/etc", "applied"); err != nil {
				t.Fatal(err)
			}
		}
		code, out, errs = run(append([]string{v.name}, strings.Fields(args)...)...)
		if code != wants[v.name] || v.name != "apply" && v.name != "rmcfg" && v.name != "plan" && errs != "" {
			t.Errorf("ignition %s %s: exit %d, want %d\n%s%s", v.name, args, code, wants[v.name], out, errs)
		}
	}
	if _, err := os.Stat("applied/motd"); err != nil {
		t.Error("the example of apply wrote nothing:", err)
	}
}
