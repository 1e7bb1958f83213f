// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const manDir = "../../docs/man/"

// manPage gives the lines of a page without the marks of groff.
func manPage(t *testing.T, name string) []string {
	t.Helper()
	raw, err := os.ReadFile(manDir + name)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`\\f[BIRP]`).ReplaceAllString(string(raw), "")
	return strings.Split(strings.NewReplacer(`\-`, "-", `"`, "").Replace(text), "\n")
}

// under gives what stands below a heading, up to the next one of its kind or of a higher one.
func under(lines []string, kind, title string) (out []string) {
	in := false
	for _, l := range lines {
		switch {
		case strings.HasPrefix(l, ".SH") || kind == ".SS" && strings.HasPrefix(l, ".SS"):
			in = l == kind+" "+title || strings.HasPrefix(l, kind+" "+title+" ")
		case in:
			out = append(out, l)
		}
	}
	return out
}

// tags are the lines that a description hangs on, without their macro.
func tags(lines []string) (out []string) {
	for i, l := range lines {
		if (l == ".TP" || l == ".TQ") && i+1 < len(lines) {
			_, text, _ := strings.Cut(lines[i+1], " ")
			out = append(out, strings.TrimSpace(text))
		}
	}
	return out
}

// manOf gives the part of the pages that is about a verb, "" being the stage runner.
func manOf(t *testing.T, verb string) (where string, lines []string) {
	t.Helper()
	if verb == "" {
		return "OPTIONS of ignition.8", under(manPage(t, "ignition.8"), ".SH", "OPTIONS")
	}
	if under(manPage(t, "ignition.8"), ".SS", verb) == nil {
		t.Errorf("ignition.8 has no part .SS %s below VERBS", verb)
	}
	for _, page := range []string{"ignition-" + verb + ".1", "ignition-" + verb + ".8", map[string]string{"transpile": "butane.1"}[verb]} {
		if info, err := os.Stat(manDir + page); err == nil && !info.IsDir() {
			return page, manPage(t, page)
		}
	}
	return ".SS " + verb + " of ignition.8", under(manPage(t, "ignition.8"), ".SS", verb)
}

var flagName = regexp.MustCompile(`(?:^|[ ,])(--?[a-zA-Z][a-z-]*)`)

// shownFlags are the flags of a help text, with their short names.
func shownFlags(t *testing.T, verb string, run command) (names []string) {
	t.Helper()
	var help bytes.Buffer
	p := process{name: "ignition", args: []string{"--help"}, stdin: strings.NewReader(""), stdout: &help, stderr: &help, getenv: func(string) string { return "" }}
	if verb != "version" { // which has no help
		run(context.Background(), p)
	}
	for line := range strings.Lines(help.String()) {
		if _, _, ok := shownIn(strings.TrimRight(line, "\n")); !ok {
			continue
		}
		head, _, _ := strings.Cut(strings.TrimLeft(line, " "), "  ")
		for _, m := range flagName.FindAllStringSubmatch(head, -1) {
			name := m[1]
			if len(name) > 2 && name[1] != '-' { // package flag prints one dash
				name = "-" + name
			}
			names = append(names, name)
		}
	}
	return names
}

// TestManFlags: the flags of each verb are those of its page, and its example is there.
func TestManFlags(t *testing.T) {
	total := 0
	check := func(verb, example string, run command) {
		where, lines := manOf(t, verb)
		documented := map[string]bool{}
		for _, tag := range tags(lines) {
			for _, m := range flagName.FindAllStringSubmatch(tag, -1) {
				documented[m[1]] = true
			}
		}
		if verb == "" { // the package adds help without showing it
			delete(documented, "-h")
			delete(documented, "--help")
		}
		want := shownFlags(t, verb, run)
		total += len(want)
		for _, name := range want {
			if !documented[name] {
				t.Errorf("%s: the flag %s of verb %q is missing", where, name, verb)
			}
			delete(documented, name)
		}
		for name := range documented {
			t.Errorf("%s: verb %q has no flag %s", where, verb, name)
		}
		page := manPage(t, "ignition.8")
		if !strings.HasSuffix(where, "ignition.8") {
			page = lines
		}
		if line := "ignition " + verb + " " + example; example != "" && !slices.Contains(under(page, ".SH", "EXAMPLES"), line) {
			t.Errorf("%s: the example of the verb is missing: %s", where, line)
		}
	}
	check("", "", stageMain)
	for _, v := range verbs {
		check(v.name, v.example, v.run)
	}
	if total < 40 {
		t.Errorf("only %d flags were found", total)
	}
	for _, l := range manPage(t, "ignition.8") {
		if name, ok := strings.CutPrefix(l, ".SS "); ok && lookup(strings.Fields(name)[0]) == nil {
			t.Errorf("ignition.8: there is no verb %s", name)
		}
	}
}

// TestManEnvironment: ignition(8) lists the variables that are read.
func TestManEnvironment(t *testing.T) {
	read := map[string]bool{}
	eachLiteral(t, ".", func(_ string, text string, in ast.Node) {
		if call, ok := in.(*ast.CallExpr); ok && slices.Contains([]string{"getenv", "or", "LookupEnv", "Getenv"}, calledName(call)) {
			read[text] = true
		}
	})
	got := map[string]bool{}
	for _, tag := range tags(under(manPage(t, "ignition.8"), ".SH", "ENVIRONMENT")) {
		got[tag] = true
	}
	compare(t, "ignition.8", "variable", read, got)
	if len(read) < 8 {
		t.Errorf("only %v were found", read)
	}
}

// TestManCmdline: ignition-cmdline(7) has the arguments that the code and the units read, and no others.
func TestManCmdline(t *testing.T) {
	read := map[string]bool{}
	for _, dir := range cmdlineReaders(t) {
		collectArguments(t, dir, read)
	}
	condition := regexp.MustCompile(`(?m)^ConditionKernelCommandLine=[|!]*([^=\s]+)`)
	dotted := regexp.MustCompile(`"[ ]?((?:ignition|flatcar|coreos)\.[a-z_.]+)`)
	err := filepath.WalkDir("../../dracut", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		found := condition.FindAllSubmatch(raw, -1)
		if d.Name() == "ignition-generator" || d.Name() == "06_ignition" {
			found = dotted.FindAllSubmatch(raw, -1)
			if found == nil {
				t.Errorf("%s names no argument", path)
			}
		}
		for _, m := range found {
			read[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, tag := range tags(manPage(t, "ignition-cmdline.7")) {
		name, _, _ := strings.Cut(tag, "=")
		got[name] = true
	}
	compare(t, "ignition-cmdline.7", "kernel argument", read, got)
	if len(read) < 12 {
		t.Errorf("only %v were found", read)
	}
}

func compare(t *testing.T, page, what string, read, documented map[string]bool) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(read)) {
		if !documented[name] {
			t.Errorf("%s: the %s %s is read and not in the page", page, what, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(documented)) {
		if !read[name] {
			t.Errorf("%s: nothing reads the %s %s", page, what, name)
		}
	}
}

// cmdlineReaders are the packages whose code has a name for a kernel command line.
func cmdlineReaders(t *testing.T) (dirs []string) {
	t.Helper()
	mention := regexp.MustCompile(`(?i)\b\w*(kernel_?cmdline|commandline|cmdline)\w*\b`)
	err := filepath.WalkDir("../../internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		raw, err := os.ReadFile(path)
		if dir := filepath.Dir(path); mention.Match(raw) && !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return dirs
}

// collectArguments finds names of kernel arguments: what looks like one of ours, and whatever the words of a command
// line are asked for.
func collectArguments(t *testing.T, dir string, read map[string]bool) {
	t.Helper()
	ours := regexp.MustCompile(`^(ignition|flatcar|coreos|rd)(\.[a-z_]+)+$`)
	// Names of files, which are not arguments.
	files := []string{"ignition.env", "ignition.json"}
	eachLiteral(t, dir, func(file, text string, in ast.Node) {
		switch n := in.(type) {
		case *ast.IndexExpr: // words(cmdline)["name"]
			call, isCall := n.X.(*ast.CallExpr)
			id, isName := n.X.(*ast.Ident)
			if isCall && calledName(call) == "words" || isName && id.Name == "w" {
				read[text] = true
				return
			}
		case *ast.RangeStmt: // for _, name := range []string{...} { ... w[name] ... }
			if indexes(n, "w") {
				read[text] = true
				return
			}
		case *ast.CallExpr: // strings.CutPrefix(word, "name=")
			if id, ok := n.Args[0].(*ast.Ident); ok && calledName(n) == "CutPrefix" && id.Name == "word" {
				read[strings.TrimSuffix(text, "=")] = true
				return
			}
		}
		if ours.MatchString(text) && !slices.Contains(files, text) {
			read[text] = true
		}
	})
}

// indexes tells whether the body of a loop looks its variable up in a map of this name.
func indexes(n *ast.RangeStmt, name string) (found bool) {
	v, ok := n.Value.(*ast.Ident)
	if !ok {
		return false
	}
	ast.Inspect(n.Body, func(in ast.Node) bool {
		if e, ok := in.(*ast.IndexExpr); ok {
			x, isX := e.X.(*ast.Ident)
			i, isI := e.Index.(*ast.Ident)
			found = found || isX && isI && x.Name == name && i.Name == v.Name
		}
		return !found
	})
	return found
}

func calledName(call *ast.CallExpr) string {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// eachLiteral visits the string literals of a package, each with the node that it stands in; for an entry of a list
// that is ranged over that is the loop.
func eachLiteral(t *testing.T, dir string, visit func(file, text string, in ast.Node)) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatal(dir, err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		var stack []ast.Node
		ast.Inspect(file, func(n ast.Node) bool {
			if n == nil {
				stack = stack[:len(stack)-1]
				return true
			}
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				in := stack[len(stack)-1]
				if _, list := in.(*ast.CompositeLit); list && len(stack) > 1 {
					in = stack[len(stack)-2]
				}
				visit(name, text, in)
			}
			stack = append(stack, n)
			return true
		})
	}
}

// TestManPages: groff has nothing to say about the pages, what they refer to is there, and all are installed.
func TestManPages(t *testing.T) {
	pages, err := filepath.Glob(manDir + "*")
	if err != nil || len(pages) < 6 {
		t.Fatal(pages, err)
	}
	reference := regexp.MustCompile(`\.BR (ignition[a-z-]*|butane) \(([1-9])\)`)
	for _, page := range pages {
		name := filepath.Base(page)
		text := strings.Join(manPage(t, name), "\n")
		title, section, _ := strings.Cut(name, ".")
		if want := ".TH " + strings.ToUpper(title) + " " + section + " "; !strings.Contains(text, want) {
			t.Errorf("%s: no line %q", name, want)
		}
		for _, part := range []string{"NAME", "DESCRIPTION", "EXAMPLES", "SEE ALSO"} {
			if under(strings.Split(text, "\n"), ".SH", part) == nil {
				t.Errorf("%s has no %s", name, part)
			}
		}
		for _, m := range reference.FindAllStringSubmatch(text, -1) {
			if _, err := os.Stat(manDir + m[1] + "." + m[2]); err != nil {
				t.Errorf("%s refers to %s(%s), which is not there", name, m[1], m[2])
			}
		}
		if _, err := exec.LookPath("groff"); err != nil {
			continue
		}
		var out, errs bytes.Buffer
		c := exec.Command("groff", "-man", "-ww", "-Tutf8", page)
		c.Stdout, c.Stderr = &out, &errs
		if err := c.Run(); err != nil || errs.Len() > 0 || out.Len() < 500 {
			t.Errorf("groff %s: %v, %d bytes\n%s", name, err, out.Len(), errs.String())
		}
	}
	dest := t.TempDir()
	if out, err := exec.Command("../../scripts/install-module", dest, "/usr").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, page := range pages {
		section := strings.TrimPrefix(filepath.Ext(page), ".")
		if _, err := os.Stat(filepath.Join(dest, "usr/share/man/man"+section, filepath.Base(page))); err != nil {
			t.Error("not installed:", err)
		}
	}
	if _, err := exec.LookPath("groff"); err != nil {
		t.Skip("groff is not installed: how it reads the pages is not checked")
	}
}
