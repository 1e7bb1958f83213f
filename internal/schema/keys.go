// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"compress/gzip"
	_ "embed"
	"encoding/json"
	"io"
	"strings"
)

// keysPacked is keys.txt in gzip, which is a quarter of it. `go test -update` writes it.
//
//go:embed keys.txt.gz
var keysPacked string

func keysText() string {
	z, err := gzip.NewReader(strings.NewReader(keysPacked))
	if err != nil {
		panic(err) // it is part of the program
	}
	text, _ := io.ReadAll(z)
	return string(text)
}

// table is keys.txt, read.
type table map[string]map[string]*entry // by section and name

// entry is a key with its description and rules, or a kind, whose text is its schema.
type entry struct {
	text  string
	rules []rule
}

// rule is a schema with the words that have to hold for it.
type rule struct {
	when   []string
	schema string
}

func readKeys(text string) table {
	t := table{}
	section := ""
	var last *entry
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
			if t[section] == nil {
				t[section] = map[string]*entry{}
			}
		case line[0] == '\t':
			last.rules = append(last.rules, readRule(line[1:]))
		default:
			name, text, _ := strings.Cut(line, "  ")
			last = &entry{text: text}
			t[section][name] = last
		}
	}
	return t
}

func readRule(text string) rule {
	when, schema, ok := strings.Cut(text, " | ")
	if !ok {
		return rule{schema: text}
	}
	return rule{when: strings.Fields(when), schema: schema}
}

// holds tells whether a rule is one of the language.
func (r rule) holds(l *Language) bool {
	for _, word := range r.when {
		if !l.knows(word) {
			return false
		}
	}
	return true
}

// parse reads a schema of the table: names become those of the language, kinds are put in.
func (b *builder) parse(schema string) node {
	if !strings.HasPrefix(schema, "{") {
		return b.kind(schema)
	}
	var v any
	if err := json.Unmarshal([]byte(schema), &v); err != nil {
		panic("schema: keys.txt: " + err.Error() + ": " + schema)
	}
	return b.expand(v, false).(node)
}

// expand walks a schema; names is true for the object below "properties".
func (b *builder) expand(v any, names bool) any {
	switch v := v.(type) {
	case map[string]any:
		out := node{}
		for k, member := range v {
			switch {
			case names:
				out[b.l.key(k)] = b.expand(member, false)
			case k == "required":
				out[k] = b.keyList(member.([]any))
			case k == "enum":
				out[k] = b.texts(member.([]any))
			case k == "const" || k == "type":
				out[k] = member
			default:
				out[k] = b.expand(member, k == "properties")
			}
		}
		if out["required"] != nil && out["type"] == nil && !names {
			out["type"] = "object" // null has no keys, and so lacks none
		}
		return out
	case []any:
		for i := range v {
			v[i] = b.expand(v[i], false)
		}
		return v
	case string:
		switch v[0] {
		case '@':
			return b.kind(v)
		case '#':
			return json.Number(v[1:])
		}
	}
	return v
}

func (b *builder) keyList(names []any) []any {
	for i := range names {
		names[i] = b.l.key(names[i].(string))
	}
	return names
}

// texts adds to the texts that are digits the number: YAML needs no quotes around them.
func (b *builder) texts(list []any) []any {
	if b.l.butane == nil {
		return list
	}
	for _, v := range list {
		if s, ok := v.(string); ok && s != "" && strings.Trim(s, "0123456789") == "" {
			list = append(list, json.Number(s))
		}
	}
	return list
}

// kind gives the schema of "@name" in its place: where it says a type, a reference to $defs.
func (b *builder) kind(name string) node {
	n := b.inline(name[1:])
	if n["type"] == nil {
		return n
	}
	b.defs[name[1:]] = n
	return reference(name[1:])
}

// inline gives the schema of a kind itself.
func (b *builder) inline(name string) node {
	e := b.table["Kinds"][name]
	if e == nil {
		panic("schema: keys.txt: no kind " + name)
	}
	schema := e.text
	for _, r := range e.rules {
		if r.holds(b.l) {
			schema = r.schema
		}
	}
	return b.parse(schema)
}

func reference(name string) node { return node{"$ref": "#/$defs/" + name} }
