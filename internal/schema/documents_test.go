// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"firstboot.dev/ignition/internal/butane"
	"firstboot.dev/ignition/internal/butane/yaml"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/config/legacy"
	"github.com/coreos/vcontext/report"
	"github.com/rogpeppe/go-internal/txtar"
)

// document is one text of the test data, or a variation of one.
type document struct {
	name  string
	raw   []byte
	files fstest.MapFS // local files of Butane, nil for a config
	yaml  bool
}

// extra are documents for what the corpora do not have alone.
var extra = []string{
	`{"ignition":{"version":"3.4.0"},"storage":{"disks":[{"device":"/d","partitions":[{"number":1},{"number":1,"label":"` + strings.Repeat("\u00e4", 20) + `"}]}]}}`,
	`{"ignition":{"version":"3.4.0"},"storage":{"luks":[{"name":"n","device":"/d","label":"` + strings.Repeat("\u00e4", 24) + `"}]}}`,
	"variant: fcos\nversion: 1.5.0\nboot_device: {}\nstorage:\n  raid: [{name: r}]\n  luks: [{name: n}]\n  filesystems: [{device: /d, path: /p, label: l}]\n" +
		"  links: [{path: /l}]\n  files: [{path: /f, overwrite: true}]\n",
	"variant: fcos\nversion: 1.3.0\nboot_device: {}\nstorage:\n  raid: [{name: r}]\n",
	"variant: fcos\nversion: 1.5.0\nboot_device: {luks: {tpm2: true}}\nstorage:\n  luks: [{name: root, clevis: {custom: {pin: tpm2, config: '{}'}}}]\n",
}

// long has the texts that testdata/refused.txt leaves out.
var long = strings.NewReplacer("HASH", strings.Repeat("0", 128), "BTRFS", strings.Repeat("0", 257))

// refused reads testdata/refused.txt.
func refused(t testing.TB) (list []document, languages []string) {
	t.Helper()
	text, err := os.ReadFile("testdata/refused.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, raw, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "#" {
			continue
		}
		var doc map[string]any
		if err := json.Unmarshal([]byte(long.Replace(raw)), &doc); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		variant, version, isButane := strings.Cut(name, "/")
		if isButane {
			doc["variant"], doc["version"] = variant, version
		} else {
			ignition, _ := doc["ignition"].(map[string]any)
			if ignition == nil {
				ignition = map[string]any{}
				doc["ignition"] = ignition
			}
			ignition["version"] = name
		}
		if variant == "openshift" {
			doc["metadata"] = map[string]any{"name": "x", "labels": map[string]any{"machineconfiguration.openshift.io/role": "worker"}}
		}
		whole, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		d := document{name: "refused " + raw, raw: whole, yaml: isButane}
		if isButane {
			d.files = fstest.MapFS{"f": {Data: []byte("x"), Mode: 0o644}}
		}
		list, languages = append(list, d), append(languages, name)
	}
	return list, languages
}

const internal = "../"

// documents collects every document of the test data.
func documents(t testing.TB) (list []document) {
	t.Helper()
	list = append(list, configCorpus(t)...)
	list = append(list, legacyCorpus(t)...)
	list = append(list, butaneCorpus(t)...)
	list = append(list, exampleFiles(t)...)
	list = append(list, literals(t)...)
	mistakes, _ := refused(t)
	list = append(list, mistakes...)
	for i, text := range extra {
		list = append(list, document{name: fmt.Sprintf("extra/%d", i), raw: []byte(text), yaml: text[0] != '{'})
	}
	for _, source := range []string{"config/", "legacy/", "butane/", "examples/", "tests/", "cmd/"} {
		if !slices.ContainsFunc(list, func(d document) bool { return strings.HasPrefix(d.name, source) }) {
			t.Fatalf("no document of %s", source)
		}
	}
	return list
}

func archives(t testing.TB, root string, each func(name string, a *txtar.Archive)) {
	t.Helper()
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".txtar" {
			return err
		}
		a, err := txtar.ParseFile(name)
		if err == nil {
			each(strings.TrimPrefix(strings.TrimSuffix(filepath.ToSlash(name), ".txtar"), root), a)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// configCorpus gives each config at every version that it is for.
func configCorpus(t testing.TB) (list []document) {
	archives(t, internal+"config/testdata/corpus/", func(name string, a *txtar.Archive) {
		from, to := "3.0", "3.7"
		for line := range strings.Lines(string(a.Comment)) {
			if s, ok := strings.CutPrefix(strings.TrimSpace(line), "min: "); ok {
				from = s
			} else if s, ok := strings.CutPrefix(strings.TrimSpace(line), "max: "); ok {
				to = s
			}
		}
		for _, f := range a.Files {
			kind, how, _ := strings.Cut(f.Name, " ")
			if kind != "config" && kind != "parent" && kind != "child" || how == "gzip" {
				continue
			}
			for _, v := range config.Versions {
				if minor := fmt.Sprintf("3.%d", v.Minor); minor >= from && minor <= to {
					text := strings.ReplaceAll(strings.TrimSuffix(string(f.Data), "\n"), "VERSION", v.String())
					list = append(list, document{name: "config/" + name + "/" + kind + "/" + v.String(), raw: []byte(unquoted(t, text, how == "quoted"))})
				}
			}
		}
	})
	return list
}

func unquoted(t testing.TB, text string, quoted bool) string {
	t.Helper()
	if !quoted {
		return text
	}
	plain, err := strconv.Unquote(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	return plain
}

func legacyCorpus(t testing.TB) (list []document) {
	archives(t, internal+"config/legacy/testdata/", func(name string, a *txtar.Archive) {
		for _, f := range a.Files {
			if f.Name == "input" || f.Name == "parent" || f.Name == "child" {
				list = append(list, document{name: "legacy/" + name + "/" + f.Name, raw: f.Data})
			}
		}
	})
	return list
}

// butaneCorpus gives each input in every dialect that it is for. How the case's head is written is said there.
func butaneCorpus(t testing.TB) (list []document) {
	archives(t, internal+"butane/testdata/corpus/", func(name string, a *txtar.Archive) {
		input, files, dialects := "", fstest.MapFS{}, []string{""}
		for _, f := range a.Files {
			kind, quoted := strings.CutSuffix(f.Name, " quoted")
			if local, ok := strings.CutPrefix(kind, "local/"); ok {
				files[local] = &fstest.MapFile{Data: []byte(unquoted(t, string(f.Data), quoted)), Mode: 0o644}
			} else if kind == "input" {
				input = unquoted(t, string(f.Data), quoted)
			}
		}
		for line := range strings.Lines(string(a.Comment)) {
			key, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch words := strings.Fields(rest); key {
			case "for":
				dialects = strings.Split(rest, ", ")
			case "link":
				files[words[0]] = &fstest.MapFile{Data: []byte(words[1]), Mode: 0o777 | fs.ModeSymlink}
			case "flags":
				if slices.Contains(words, "nofiles") {
					files = nil
				}
			}
		}
		for _, d := range dialects {
			variant, version, _ := strings.Cut(d, " ")
			text := input
			if d != "" {
				text = strings.NewReplacer("VARIANT", variant, "VERSION", version).Replace(text)
			}
			list = append(list, document{name: "butane/" + name + "/" + d, raw: []byte(text), files: files, yaml: true})
		}
	})
	return list
}

// exampleFiles gives the configs among the examples and in the scripts of the command's tests.
func exampleFiles(t testing.TB) (list []document) {
	add := func(name string, raw []byte) {
		switch filepath.Ext(name) {
		case ".bu":
			list = append(list, document{name: name, raw: raw, yaml: true})
		case ".ign", ".json":
			list = append(list, document{name: name, raw: raw})
		}
	}
	err := filepath.WalkDir("../../examples", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(name)
		add(strings.TrimPrefix(filepath.ToSlash(name), "../../"), raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	archives(t, "../../cmd/ignition/testdata/script/", func(name string, a *txtar.Archive) {
		for _, f := range a.Files {
			add("cmd/"+name+"/"+f.Name, f.Data)
		}
	})
	return list
}

// literals gives the configs that stand in the sources of the tests of the built binary.
func literals(t testing.TB) (list []document) {
	t.Helper()
	err := filepath.WalkDir("../../tests", func(name string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(name) != ".go" {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				text, err := strconv.Unquote(lit.Value)
				if err == nil && strings.HasPrefix(strings.TrimSpace(text), "{") && strings.Contains(text, `"ignition"`) && json.Valid([]byte(text)) {
					list = append(list, document{name: fmt.Sprint(strings.TrimPrefix(filepath.ToSlash(name), "../../"), ":", lit.Pos()), raw: []byte(text)})
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// language finds what a document is written in, "" if no schema can be chosen for it.
func (d document) language() string {
	if d.yaml {
		doc, err := yaml.Parse(d.raw)
		if err != nil || doc.Root.Kind != yaml.Mapping {
			return ""
		}
		text := func(key string) string {
			n := doc.Root.Get(key)
			if n == nil {
				return ""
			}
			return n.Value
		}
		v, _, _ := config.ParseVersion(text("version"))
		l := Find(text("variant") + "/" + v.String())
		if l == nil || strings.HasSuffix(l.Name, "-experimental") != (v.Pre != "") {
			return ""
		}
		return l.Name
	}
	if v, ok := config.DocumentVersion(d.raw); ok {
		return v.String()
	}
	var header struct {
		Ignition        struct{ Version string }
		IgnitionVersion int
	}
	if json.Unmarshal(d.raw, &header) != nil {
		return ""
	}
	if header.Ignition.Version == "" && header.IgnitionVersion == 1 {
		return "1.0.0"
	}
	v, _, _ := config.ParseVersion(header.Ignition.Version)
	if !slices.Contains(legacy.Versions(), v) {
		return ""
	}
	return v.String()
}

// value gives the document as JSON values; it fails on what an editor calls a syntax error or a repeated key.
func (d document) value() (any, error) {
	if d.yaml {
		doc, err := yaml.Parse(d.raw)
		if err != nil {
			return nil, err
		}
		if len(doc.Repeated) > 0 {
			return nil, errors.New("repeated key")
		}
		return fromYAML(doc.Root), nil
	}
	dec := json.NewDecoder(bytes.NewReader(d.raw))
	dec.UseNumber()
	v, err := fromJSON(dec)
	if err == nil && dec.More() {
		err = errors.New("trailing text")
	}
	return v, err
}

func fromJSON(dec *json.Decoder) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch tok {
	case json.Delim('{'):
		m := map[string]any{}
		for dec.More() {
			key, err := dec.Token()
			if err != nil {
				return nil, err
			}
			if _, twice := m[key.(string)]; twice {
				return nil, errors.New("repeated key")
			}
			if m[key.(string)], err = fromJSON(dec); err != nil {
				return nil, err
			}
		}
		_, err = dec.Token()
		return m, err
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := fromJSON(dec)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	}
	return tok, nil
}

func fromYAML(n *yaml.Node) any {
	switch {
	case n.Kind == yaml.Mapping:
		m := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = fromYAML(n.Content[i+1])
		}
		return m
	case n.Kind == yaml.Sequence:
		list := []any{}
		for _, item := range n.Content {
			list = append(list, fromYAML(item))
		}
		return list
	case n.IsNull():
		return nil
	}
	if b, ok := n.Bool(); ok && n.Type == "!!bool" {
		return b
	}
	if i, ok := n.Int(); ok {
		return json.Number(strconv.Itoa(i))
	}
	if n.Type == "!!float" || n.Type == "!!int" {
		if f, err := strconv.ParseFloat(strings.ReplaceAll(n.Value, "_", ""), 64); err == nil {
			return json.Number(strconv.FormatFloat(f, 'f', -1, 64))
		}
	}
	s, _ := n.Text()
	return s
}

// judge gives the report that the programs give.
func (d document) judge() (report.Report, error) {
	if !d.yaml {
		_, r, err := legacy.Parse(d.raw)
		return r, err
	}
	o := butane.Options{FilesDir: "dir"}
	if d.files != nil {
		o.Files = d.files
	}
	result, err := butane.Transpile(d.raw, o)
	return result.Report, err
}
