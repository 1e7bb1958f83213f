// SPDX-License-Identifier: Apache-2.0

package ignition_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// file is one text file of the tree; syntax is nil for all but Go files.
type file struct {
	name   string // slash path from the root of the module
	text   []byte
	syntax *ast.File
}

func (f file) dir() string  { return path.Dir(f.name) }
func (f file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// tree is the sources that the rules look at.
type tree struct {
	files []file
	fset  *token.FileSet
}

// loadTree reads every text file beneath root but build results and git's own.
func loadTree(root string) (tree, error) {
	t := tree{fset: token.NewFileSet()}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == "bin" || name == "third_party" || d.Name() == "testdata"):
			return fs.SkipDir
		case !d.Type().IsRegular() || name == ".git": // a file where the tree is a git worktree
			return nil
		}
		text, err := os.ReadFile(path.Join(root, name))
		if err != nil {
			return err
		}
		return t.add(name, text)
	})
	return t, err
}

// add puts one file into the tree; binary files are left out.
func (t *tree) add(name string, text []byte) error {
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil
	}
	f := file{name: name, text: text}
	if strings.HasSuffix(name, ".go") {
		var err error
		if f.syntax, err = parser.ParseFile(t.fset, name, text, parser.ParseComments); err != nil {
			return err
		}
	}
	t.files = append(t.files, f)
	return nil
}

func (t tree) goFiles(keep func(file) bool) []file {
	return slices.DeleteFunc(slices.Clone(t.files), func(f file) bool {
		return f.syntax == nil || !keep(f)
	})
}

func source(f file) bool { return !f.isTest() }

// shipped files become part of the binary.
func shipped(f file) bool { return source(f) && !strings.HasPrefix(f.name, "tests/") }

func (t tree) packages() map[string][]file {
	m := map[string][]file{}
	for _, f := range t.goFiles(source) {
		m[f.dir()] = append(m[f.dir()], f)
	}
	return m
}

func (t tree) at(pos token.Pos) string {
	p := t.fset.Position(pos)
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

func (t tree) find(name string) (file, bool) {
	i := slices.IndexFunc(t.files, func(f file) bool { return f.name == name })
	if i < 0 {
		return file{}, false
	}
	return t.files[i], true
}

func imports(f file) []string {
	var out []string
	for _, spec := range f.syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			out = append(out, p)
		}
	}
	return out
}

// isStd: the first element of a path of the standard library has no dot.
func isStd(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".")
}

func checkImports(t tree) []string {
	var out []string
	for _, f := range t.goFiles(source) {
		r, ok := roomOf(f.dir())
		if !ok {
			out = append(out, fmt.Sprintf("%s: %s is in no row of the import table", f.name, f.dir()))
			continue
		}
		for _, imp := range imports(f) {
			own := strings.TrimPrefix(imp, module+"/")
			switch {
			case isStd(imp) && !slices.Contains(r.deny, imp):
			case !isStd(imp) && own != f.dir() && anyMatch(r.may, own):
			default:
				out = append(out, fmt.Sprintf("%s imports %s (%s: %s)", f.name, imp, r.path, r.reason))
			}
		}
	}
	return out
}

func checkPackageDoc(t tree) []string {
	var out []string
	for dir, files := range t.packages() {
		documented := slices.ContainsFunc(files, func(f file) bool {
			doc := f.syntax.Doc.Text()
			return strings.HasPrefix(doc, "Package ") || strings.HasPrefix(doc, "Command ")
		})
		if !documented {
			out = append(out, dir+" has no package doc")
		}
	}
	slices.Sort(out)
	return out
}

func checkInit(t tree) []string {
	var out []string
	for _, f := range t.goFiles(func(file) bool { return true }) {
		for _, d := range f.syntax.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, t.at(fn.Pos())+": init function")
			}
		}
	}
	return out
}

func checkCgo(t tree) []string {
	return t.importers("C", func(file) bool { return true })
}

func checkOSExec(t tree) []string {
	return t.importers("os/exec", func(f file) bool { return shipped(f) && f.dir() != "internal/exec" })
}

func (t tree) importers(imp string, keep func(file) bool) []string {
	var out []string
	for _, f := range t.goFiles(keep) {
		if slices.Contains(imports(f), imp) {
			out = append(out, f.name+" imports "+strconv.Quote(imp))
		}
	}
	return out
}

func checkMethodByName(t tree) []string {
	return t.selectors(shipped, func(_, name string) bool { return name == "MethodByName" })
}

func checkEnvironment(t tree) []string {
	readers := []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}
	return t.selectors(
		func(f file) bool { return shipped(f) && !strings.HasPrefix(f.name, "cmd/") },
		func(pkg, name string) bool {
			return (pkg == "os" || pkg == "syscall" || pkg == "unix") && slices.Contains(readers, name)
		})
}

// selectors lists the uses of x.name that match.
func (t tree) selectors(keep func(file) bool, match func(pkg, name string) bool) []string {
	var out []string
	for _, f := range t.goFiles(keep) {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			pkg := ""
			if id, ok := sel.X.(*ast.Ident); ok {
				pkg = id.Name
			}
			if match(pkg, sel.Sel.Name) {
				out = append(out, fmt.Sprintf("%s: %s.%s", t.at(sel.Pos()), pkg, sel.Sel.Name))
			}
			return true
		})
	}
	return out
}

func checkPackageNames(t tree) []string {
	var out []string
	for _, f := range t.goFiles(func(file) bool { return true }) {
		name := strings.TrimSuffix(f.syntax.Name.Name, "_test")
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "base", "misc"}, name) {
			out = append(out, f.name+" is in package "+name)
		}
	}
	return out
}

// checkLicence wants the SPDX line first, or second after a #! line.
func checkLicence(t tree) []string {
	var out []string
	for _, f := range t.files {
		script := bytes.HasPrefix(f.text, []byte("#!"))
		if f.syntax == nil && !script && f.name != "Makefile" {
			continue
		}
		lines := strings.SplitN(string(f.text), "\n", 3)
		if script {
			lines = lines[1:]
		}
		if len(lines) == 0 || !strings.HasSuffix(lines[0], "SPDX-License-Identifier: Apache-2.0") {
			out = append(out, f.name+" has no SPDX line at its top")
		}
	}
	return out
}

const longestFunction = 80

func checkFunctionLength(t tree) []string {
	var out []string
	for _, f := range t.goFiles(source) {
		for _, d := range f.syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			n := t.fset.Position(fn.End()).Line - t.fset.Position(fn.Pos()).Line + 1
			if n > longestFunction {
				out = append(out, fmt.Sprintf("%s: %s has %d lines, more than %d", t.at(fn.Pos()), fn.Name.Name, n, longestFunction))
			}
		}
	}
	return out
}

// The words are put together here so that this file does not hold them.
var (
	unfinished = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME)\b|(?i)not yet imple` + `mented|not imple` + `mented`)
	forbidden  = regexp.MustCompile(`proxy\.gol` + `ang\.org|sum\.gol` + `ang\.org|deb\.deb` + `ian\.org|` +
		`registry\.npm` + `js|py` + `pi\.org|(^|[\s"'=:(` + "`" + `])(/wo` + `rk/|/tmp/w` + `t/|/tmp/bri` + `ef)`)
)

func checkUnfinished(t tree) []string     { return t.grep(unfinished) }
func checkForbiddenWords(t tree) []string { return t.grep(forbidden) }

func (t tree) grep(re *regexp.Regexp) []string {
	var out []string
	for _, f := range t.files {
		for i, line := range strings.Split(string(f.text), "\n") {
			if m := re.FindString(line); m != "" {
				out = append(out, fmt.Sprintf("%s:%d: %q", f.name, i+1, m))
			}
		}
	}
	return out
}

// checkChangelog wants at least one entry under the newest heading.
func checkChangelog(t tree) []string {
	f, ok := t.find("CHANGELOG.md")
	if !ok {
		return []string{"CHANGELOG.md is missing"}
	}
	_, newest, ok := strings.Cut(string(f.text), "\n## ")
	if !ok {
		return []string{"CHANGELOG.md has no version heading"}
	}
	newest, _, _ = strings.Cut(newest, "\n## ")
	if !strings.Contains(newest, "\n- ") {
		return []string{"CHANGELOG.md has no entry under its newest heading"}
	}
	return nil
}

var makeTarget = regexp.MustCompile(`(?m)^([a-z][a-z0-9-]*):[^=\n]*$`)

// checkMakeHelp wants a help text on one line of each target; further lines may
// add what it depends on.
func checkMakeHelp(t tree) []string {
	f, ok := t.find("Makefile")
	if !ok {
		return []string{"Makefile is missing"}
	}
	helped := map[string]bool{}
	for _, m := range makeTarget.FindAllStringSubmatch(string(f.text), -1) {
		helped[m[1]] = helped[m[1]] || strings.Contains(m[0], " ## ")
	}
	var out []string
	for target, ok := range helped {
		if !ok {
			out = append(out, "Makefile: no help text after ## for "+target)
		}
	}
	slices.Sort(out)
	return out
}
