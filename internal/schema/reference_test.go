// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/butane"
	"firstboot.dev/ignition/internal/config"
)

const referenceDir = "../../docs/reference"

// TestReference keeps docs/reference current.
func TestReference(t *testing.T) {
	pages := referencePages(t)
	if *update {
		if err := os.MkdirAll(referenceDir, 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range pages {
			if err := os.WriteFile(filepath.Join(referenceDir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	files, err := os.ReadDir(referenceDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if pages[f.Name()] == "" {
			t.Errorf("docs/reference/%s is no page of the reference", f.Name())
		}
	}
	for name, text := range pages {
		got, err := os.ReadFile(filepath.Join(referenceDir, name))
		if err != nil || string(got) != text {
			t.Errorf("docs/reference/%s is not current (%v): run the test with -update and read the diff", name, err)
		}
	}
}

// page is about several versions of one language.
type page struct {
	title     string
	languages []*Language
	required  []map[string]bool // by language: "Section.key", and "Section" where it exists
	keys      table
	more      table
	places    map[string][]string
	sections  []section
	out       strings.Builder
}

// section is about an object type.
type section struct {
	name   string
	shapes *config.Shape
	narrow map[string]config.Version
}

const introduction = "Made from the types and rules of the program by `make golden`; do not edit. `ignition schema` prints the same for editors " +
	"([how](../editors.md)).\nA key without a version in the second column is there from the first one on. Keys that are not listed are ignored, with a warning.\n"

func referencePages(t *testing.T) map[string]string {
	more, err := os.ReadFile("testdata/reference.txt")
	if err != nil {
		t.Fatal(err)
	}
	used := map[*entry]bool{}
	keys, extra := readKeys(keysText()), readKeys(string(more))
	groups := map[string]*page{}
	var order []string
	for _, l := range Languages() {
		name, title := "ignition-3", "Config, spec 3"
		if l.old {
			name, title = "ignition-2", "Config, spec 1 and 2"
		} else if l.butane != nil {
			name, title = "butane-"+l.butane.Variant(), "Butane, variant "+l.butane.Variant()
		}
		if groups[name] == nil {
			groups[name] = &page{title: title, keys: keys, more: extra, places: map[string][]string{}}
			order = append(order, name)
		}
		groups[name].languages = append(groups[name].languages, l)
	}
	index := "# Reference\n\nEvery key of every language: its type, since when it exists, what it means unless it is set, and what is checked.\n\n" +
		"| page | versions |\n|---|---|\n"
	pages := map[string]string{}
	for _, name := range order {
		p := groups[name]
		pages[name+".md"] = p.write(used)
		var versions []string
		for _, l := range p.languages {
			versions = append(versions, shortName(l))
		}
		index += fmt.Sprintf("| [%s](%s.md) | %s |\n", p.title, name, strings.Join(versions, ", "))
	}
	pages["README.md"] = index + "\n" + strings.SplitAfter(introduction, "\n")[0]
	for section, entries := range extra {
		for key, e := range entries {
			if !used[e] {
				t.Errorf("testdata/reference.txt: no page shows %s.%s", section, key)
			}
		}
	}
	return pages
}

func shortName(l *Language) string {
	_, version, ok := strings.Cut(l.Name, "/")
	if !ok {
		return l.Name
	}
	return version
}

func (p *page) newest() *Language { return p.languages[len(p.languages)-1] }

func (p *page) write(used map[*entry]bool) string {
	for _, l := range p.languages {
		b := newBuilder(l)
		root := b.root()
		required := map[string]bool{}
		b.defs["Config"] = root
		for name, def := range b.defs {
			required[name] = true
			list, _ := def.(node)["required"].([]any)
			for _, key := range list {
				required[name+"."+key.(string)] = true
			}
		}
		p.required = append(p.required, required)
	}
	p.walk("Config", p.newest().root(), nil, "")
	fmt.Fprintf(&p.out, "# %s\n\n%s", p.title, introduction)
	for _, s := range p.sections {
		p.writeSection(s, used)
	}
	p.out.WriteString(p.urls())
	return p.out.String()
}

// walk notes where each object type stands.
func (p *page) walk(name string, o *config.Shape, narrow map[string]config.Version, at string) {
	if p.places[name] == nil {
		p.sections = append(p.sections, section{name, o, narrow})
	}
	p.places[name] = append(p.places[name], at)
	for _, f := range p.fields(o, narrow) {
		if f.Elem() == nil {
			continue
		}
		place := strings.TrimPrefix(at+"."+p.newest().key(f.Name()), ".")
		if f.IsList() {
			place += "[]"
		}
		p.walk(sectionOf(f.Elem(), f.Name()), f.Elem(), f.Narrow(), place)
	}
}

// fields are those that any of the page's languages has.
func (p *page) fields(o *config.Shape, narrow map[string]config.Version) (list []*config.Field) {
	for i := len(p.languages) - 1; i >= 0; i-- {
		for _, f := range p.languages[i].keys(o, narrow) {
			if !slices.ContainsFunc(list, func(g *config.Field) bool { return g.Name() == f.Name() }) {
				list = append(list, f)
			}
		}
	}
	return list
}

// having tells in which of the languages an object has a key.
func (p *page) having(o *config.Shape, narrow map[string]config.Version, key string) []bool {
	var list []bool
	for _, l := range p.languages {
		list = append(list, slices.ContainsFunc(l.keys(o, narrow), func(f *config.Field) bool { return f.Name() == key }))
	}
	return list
}

func (p *page) writeSection(s section, used map[*entry]bool) {
	places := p.places[s.name]
	var quoted []string
	for _, place := range places {
		if place != "" {
			quoted = append(quoted, "`"+place+"`")
		}
	}
	title := strings.Join(quoted, ", ")
	if title == "" {
		title = "The document"
	}
	const most = 3
	if len(quoted) > most {
		title = s.name + ": " + strings.Join(quoted[:most], ", ") + " and others"
	}
	fmt.Fprintf(&p.out, "\n<a id=%q></a>\n\n## %s\n\n| key | since | type | default | |\n|---|---|---|---|---|\n", s.name, title)
	b := newBuilder(p.newest())
	for _, f := range p.fields(s.shapes, nil) {
		var text, otherwise string
		e := b.find(s.name, f.Name())
		text = e.text
		base, exists := p.having(s.shapes, nil, f.Name()), p.all()
		for i := range base {
			exists[i] = p.required[i][s.name]
			base[i] = base[i] && exists[i]
		}
		since := ""
		if !slices.Equal(base, exists) {
			since = p.span(base, nil)
		}
		var checks []string
		required := slices.Clone(base)
		for i := range required {
			required[i] = base[i] && p.required[i][s.name+"."+p.newest().key(f.Name())]
		}
		if slices.Contains(required, true) {
			checks = append(checks, strings.TrimPrefix(p.span(required, base)+": required", ": "))
		}
		if !p.newest().old {
			checks = append(checks, p.checks(e.rules, base, ruleText)...)
		}
		if m := p.more[s.name][f.Name()]; m != nil && !p.newest().old {
			used[m] = true
			if m.text != "-" {
				otherwise = m.text
			}
			checks = append(checks, p.checks(m.rules, base, func(r rule) string { return r.schema })...)
		}
		if f.Elem() != nil {
			checks = append(checks, p.differences(f)...)
		}
		slices.SortStableFunc(checks, func(a, b string) int { return strings.Compare(first(a), first(b)) })
		checks = slices.Compact(checks)
		if len(checks) > 0 {
			text += " " + upperFirst(strings.Join(checks, "; ")) + "."
		}
		fmt.Fprintf(&p.out, "| `%s` | %s | %s | %s | %s |\n", p.newest().key(f.Name()), since, p.typeOf(f), p.spelled(otherwise), p.spelled(text))
	}
	if m := p.more[s.name]["."]; m != nil && !p.newest().old {
		used[m] = true
		exists := p.all()
		for i := range exists {
			exists[i] = p.required[i][s.name]
		}
		if list := p.checks(m.rules, exists, func(r rule) string { return r.schema }); len(list) > 0 {
			p.out.WriteString("\n")
			for _, check := range list {
				fmt.Fprintf(&p.out, "- %s.\n", p.spelled(upperFirst(check)))
			}
		}
	}
}

// first sorts "required" before all else.
func first(check string) string {
	if check == "required" {
		return ""
	}
	return "x"
}

func upperFirst(s string) string {
	if s == "" || s[0] < 'a' || s[0] > 'z' {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (p *page) all() []bool {
	list := make([]bool, len(p.languages))
	for i := range list {
		list[i] = true
	}
	return list
}

// checks renders rules, each with the versions that it holds for.
func (p *page) checks(rules []rule, base []bool, text func(rule) string) (list []string) {
	for _, r := range rules {
		said := text(r)
		holding := slices.Clone(base)
		any := false
		for i, l := range p.languages {
			holding[i] = base[i] && r.holds(l)
			any = any || holding[i]
		}
		if said == "" || !any {
			continue
		}
		if span := p.span(holding, base); span != "" {
			said = span + ": " + said
		}
		list = append(list, said)
	}
	return list
}

// span says for which of the versions in base something holds; "" is for all.
func (p *page) span(holding, base []bool) string {
	var names, without []string
	for i, l := range p.languages {
		if base == nil || base[i] {
			if holding[i] {
				names = append(names, shortName(l))
			} else {
				without = append(without, shortName(l))
			}
		}
	}
	from := slices.Index(holding, true)
	to := len(holding) - 1
	for to >= 0 && !holding[to] {
		to--
	}
	last := len(p.languages) - 1
	for base != nil && last >= 0 && !base[last] {
		last--
	}
	switch {
	case len(without) == 0:
		return ""
	case base == nil && to == last:
		return names[0]
	case base == nil && from == to:
		return names[0] + " only"
	case base == nil:
		return names[0] + " to " + names[len(names)-1]
	case to == last:
		return "from " + names[0] + " on"
	case base == nil || slices.Index(base, true) == from:
		return "up to " + names[len(names)-1]
	case len(names) == 1:
		return names[0]
	}
	return names[0] + " to " + names[len(names)-1]
}

// differences tells of the keys of an object that came later in this place than elsewhere.
func (p *page) differences(f *config.Field) (list []string) {
	if len(f.Narrow()) == 0 {
		return nil
	}
	for _, member := range p.fields(f.Elem(), nil) {
		here, elsewhere := p.having(f.Elem(), f.Narrow(), member.Name()), p.having(f.Elem(), nil, member.Name())
		if reflect.DeepEqual(here, elsewhere) {
			continue
		}
		key := "`" + p.newest().key(member.Name()) + "`"
		if !slices.Contains(here, true) {
			list = append(list, "without "+key)
		} else if span := p.span(here, nil); span != "" {
			list = append(list, key+" since "+span)
		}
	}
	return list
}

func (p *page) typeOf(f *config.Field) string {
	if f.Elem() != nil {
		name := sectionOf(f.Elem(), f.Name())
		if f.IsList() {
			return fmt.Sprintf("list of [%s](#%s)", name, name)
		}
		return fmt.Sprintf("[%s](#%s)", name, name)
	}
	t := f.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Slice:
		return "list of strings"
	case reflect.Map:
		return "strings by name"
	case reflect.Int:
		return "integer"
	case reflect.Bool:
		return "boolean"
	}
	return "string"
}

var keyInText = regexp.MustCompile("`[a-z][A-Za-z.]*`")

// spelled gives a text the language's spelling of keys.
func (p *page) spelled(text string) string {
	if p.newest().butane == nil {
		return text
	}
	return keyInText.ReplaceAllStringFunc(text, butane.Key)
}

// ruleText says a rule of keys.txt in words, "" if reference.txt does.
func ruleText(r rule) string {
	const absolute = "absolute, without `.`, `..` and needless slashes"
	words := map[string]string{
		"@path": absolute, "@pathOrNone": absolute, "@paths": absolute + "; no two equal",
		"@guid": "a GUID", "@url": "a [URL](#urls)", "@http": "a URL of http or https", "@notNegative": "not negative", "@mode": "0 to 07777 (4095)",
		"@null": "not supported by the target", "@noList": "not supported by the target", "@noArguments": "not supported by the target",
	}
	if strings.HasPrefix(r.schema, "@") {
		return words[r.schema]
	}
	var n node
	if json.Unmarshal([]byte(r.schema), &n) != nil {
		return "a rule that cannot be read"
	}
	switch {
	case n["deprecated"] == true:
		return "not supported by the target"
	case n["enum"] != nil:
		var list []string
		for _, v := range n["enum"].([]any) {
			if v != nil && v != "" {
				list = append(list, fmt.Sprint(v))
			}
		}
		return "one of " + strings.Join(list, ", ")
	case n["const"] != nil:
		return fmt.Sprintf("`%v`", n["const"])
	case n["maximum"] != nil && n["minimum"] == nil:
		return fmt.Sprintf("at most 0%v", n["maximum"])
	}
	if list, ok := n["anyOf"].([]any); ok && slices.Contains(list, any("@http")) {
		return words["@http"]
	}
	if not, ok := n["not"].(node); ok && not["const"] != "" && not["const"] != nil {
		return fmt.Sprintf("not %v", not["const"])
	}
	return ""
}

// urls says what a source may be.
func (p *page) urls() string {
	if p.newest().old {
		return ""
	}
	text := "\n<a id=\"urls\"></a>\n\n## URLs\n\nA `source` is a URL of `http`, `https`, `tftp`, `data`, `s3`, `oem` or `oci`"
	for _, scheme := range []struct{ name, when string }{{"gs", ">=3.2"}, {"arn", ">=3.4"}} {
		list := p.checks([]rule{{when: []string{scheme.when}, schema: "`" + scheme.name + "`"}}, p.all(), func(r rule) string { return r.schema })
		for _, s := range list {
			text += "; " + s
		}
	}
	return text + ". An `s3` or `arn` URL with an empty `versionId` is refused.\n"
}
