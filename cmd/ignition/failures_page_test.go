// SPDX-License-Identifier: Apache-2.0

package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

var (
	adviceName = regexp.MustCompile(`(?i)hints?$`)
	verb       = regexp.MustCompile(`%[-+# 0-9.]*[a-z]`)
	inTicks    = regexp.MustCompile("`([^`]+)`")
)

// advices are the functions whose second argument is what a person is told to do.
var advices = map[string]bool{"fail": true, "refuse": true, "entryOr": true}

// sources gives all texts of the program's own code, and which of them tell what to do.
func sources(t *testing.T) (texts, advice []string) {
	t.Helper()
	files := token.NewFileSet()
	err := filepath.WalkDir("../../internal", func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			return err
		}
		texts = append(texts, literals(f)...)
		if !strings.Contains(name, "/butane/") { // whose advice is about YAML, at the desk
			advice = append(advice, adviceIn(f)...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts, advice
}

func literals(n ast.Node) (list []string) {
	ast.Inspect(n, func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if text, err := strconv.Unquote(l.Value); err == nil {
				list = append(list, text)
			}
		}
		return true
	})
	return list
}

// adviceIn finds the texts of variables, fields and results that are called a hint.
func adviceIn(f *ast.File) (list []string) {
	ast.Inspect(f, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.KeyValueExpr:
			if k, ok := n.Key.(*ast.Ident); ok && k.Name == "Hint" {
				list = append(list, literals(n.Value)...)
			}
		case *ast.ValueSpec:
			for i, name := range n.Names {
				if adviceName.MatchString(name.Name) && i < len(n.Values) {
					list = append(list, literals(n.Values[i])...)
				}
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if named(left) && i < len(n.Rhs) {
					list = append(list, literals(n.Rhs[i])...)
				}
			}
		case *ast.CallExpr:
			called, ok := n.Fun.(*ast.Ident)
			switch {
			case ok && len(n.Args) > 1 && advices[called.Name]:
				list = append(list, literals(n.Args[1])...)
			case ok && called.Name == "entryError":
				for _, arg := range n.Args {
					if l, ok := arg.(*ast.BasicLit); ok {
						list = append(list, literals(l)...)
					}
				}
			}
		case *ast.FuncDecl:
			if adviceName.MatchString(n.Name.Name) {
				list = append(list, results(n)...)
			}
		}
		return true
	})
	return slices.DeleteFunc(list, func(s string) bool { return strings.HasPrefix(s, ".") || !strings.Contains(s, " ") })
}

func named(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return adviceName.MatchString(e.Name)
	case *ast.SelectorExpr:
		return adviceName.MatchString(e.Sel.Name)
	}
	return false
}

func results(f *ast.FuncDecl) (list []string) {
	ast.Inspect(f.Body, func(n ast.Node) bool {
		if r, ok := n.(*ast.ReturnStmt); ok {
			for _, e := range r.Results {
				list = append(list, literals(e)...)
			}
		}
		return true
	})
	return list
}

// TestFailuresPage: each message on the page is one of the program's, and all advice
// that the program gives is on the page.
func TestFailuresPage(t *testing.T) {
	raw, err := os.ReadFile("../../docs/failures.md")
	if err != nil {
		t.Fatal(err)
	}
	texts, advice := sources(t)
	for _, e := range []syscall.Errno{
		syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.ENOTDIR, syscall.ENOENT,
	} {
		texts = append(texts, e.Error())
	}
	messages := 0
	for line := range strings.Lines(string(raw)) {
		cells := strings.Split(line, " | ")
		if len(cells) != 3 || !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, m := range inTicks.FindAllStringSubmatch(cells[0], -1) {
			messages++
			for _, part := range strings.Split(m[1], "…") {
				part = strings.TrimSpace(part)
				if !slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, part) }) {
					t.Errorf("the page has %q, and no message of the program has %q", m[1], part)
				}
			}
		}
	}
	if messages < 80 || len(advice) < 60 {
		t.Errorf("%d messages and %d advices", messages, len(advice))
	}
	page := string(raw)
	for _, a := range advice {
		for _, part := range verb.Split(a, -1) {
			if part = strings.Trim(part, " ,;:"); !strings.Contains(page, part) {
				t.Errorf("the page does not have the advice %q: %q is missing", a, part)
			}
		}
	}
}
