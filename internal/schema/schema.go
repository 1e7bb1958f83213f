// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"

	"firstboot.dev/ignition/internal/config"
)

// node is an object of a schema.
type node = map[string]any

// Make gives the schema of a language, indented.
func Make(l *Language) []byte { return newBuilder(l).make() }

func (b *builder) make() []byte {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	_ = e.Encode(b.root()) // it holds nothing that JSON cannot
	return out.Bytes()
}

// builder makes one schema.
type builder struct {
	l     *Language
	table table
	defs  node
	found func(section, name string, e *entry) // for tests: called with each entry that is looked up
}

func newBuilder(l *Language) *builder {
	return &builder{l: l, table: readKeys(keysText()), defs: node{}}
}

func (b *builder) root() node {
	s := b.object("Config", b.l.root(), nil)
	for k, v := range b.inline("document") {
		s[k] = v
	}
	s["title"] = b.l.Title()
	s["$id"] = "urn:ignition:schema:" + strings.ReplaceAll(b.l.Name, "/", ":")
	properties := s["properties"].(node)
	switch {
	case b.l.butane != nil:
		properties["variant"].(node)["const"] = b.l.butane.Variant()
		setVersion(properties["version"].(node), b.l.butane.Version())
		require(s, "variant", "version")
	case b.l.isFirst():
		properties["ignitionVersion"].(node)["const"] = 1
		require(s, "ignitionVersion")
	default:
		ignition := b.defs["Ignition"].(node)
		setVersion(ignition["properties"].(node)["version"].(node), b.l.spec.String())
		require(ignition, "version")
		require(s, "ignition")
	}
	s["$defs"] = b.defs
	return s
}

// setVersion allows one version in all spellings that the readers take: leading zeros, an empty last part.
func setVersion(n node, version string) {
	pattern := "^0*" + strings.ReplaceAll(version, ".", `\.0*`)
	if strings.IndexByte(version, '-') < 0 {
		pattern += "-?"
	}
	n["type"] = "string"
	n["pattern"] = pattern + `\+?$`
	n["default"] = version
}

func require(n node, names ...string) {
	list, _ := n["required"].([]any)
	for _, name := range names {
		has := false
		for _, old := range list {
			has = has || old == name
		}
		if !has {
			list = append(list, name)
		}
	}
	n["required"] = list
}

func appendTo(n node, key string, v any) {
	list, _ := n[key].([]any)
	n[key] = append(list, v)
}

// sectionOf names the section of keys.txt about an object type; field is where it stands.
func sectionOf(o *config.Shape, field string) string {
	name := o.Type().Name()
	if name == "" {
		name = field
	}
	switch name {
	case "config":
		return "Sources"
	case "tls":
		return "TLS"
	}
	return strings.ToUpper(name[:1]) + name[1:]
}

// find gives what keys.txt says about a key.
func (b *builder) find(section, name string) *entry {
	var e *entry
	if b.l.old {
		e = b.table["2."+section][name]
		if e == nil && section == "Mount" && b.table[section][name] == nil {
			section = "Filesystem"
		}
	}
	if e == nil {
		e = b.table[section][name]
	}
	if e == nil {
		e = &entry{}
	}
	if b.found != nil {
		b.found(section, name, e)
	}
	return e
}

// object describes an object type.
func (b *builder) object(section string, o *config.Shape, narrow map[string]config.Version) node {
	properties := node{}
	n := b.inline("object")
	n["properties"] = properties
	for _, f := range b.l.keys(o, narrow) {
		key := b.l.key(f.Name())
		properties[key] = b.property(section, f)
		if f.Required() && !b.l.old {
			require(n, key)
		}
	}
	if !b.l.old {
		b.addRules(n, b.find(section, ".").rules)
	}
	if b.l.butane != nil && n["required"] == nil && n["anyOf"] == nil {
		n["type"] = []any{n["type"], "null"}
	}
	return n
}

func (b *builder) addRules(n node, rules []rule) {
	for _, r := range rules {
		if !r.holds(b.l) {
			continue
		}
		var schema node
		if name, ok := strings.CutPrefix(r.schema, "@"); ok {
			schema = b.inline(name)
		} else {
			schema = b.parse(r.schema)
		}
		if names, ok := schema["required"].([]any); ok {
			for _, name := range names {
				require(n, name.(string))
			}
			delete(schema, "required")
			delete(schema, "type")
		}
		if list, ok := schema["anyOf"]; ok && n["anyOf"] == nil {
			n["anyOf"] = list
			delete(schema, "anyOf")
		}
		if len(schema) > 0 {
			appendTo(n, "allOf", schema)
		}
	}
}

// property describes the value of a key.
func (b *builder) property(section string, f *config.Field) node {
	e := b.find(section, f.Name())
	n := b.value(f)
	if !b.l.old {
		for _, r := range e.rules {
			if r.holds(b.l) {
				n = combine(n, b.parse(r.schema))
			}
		}
	}
	if e.text != "" {
		n["description"] = e.text
	}
	return n
}

// value describes the type of a value.
func (b *builder) value(f *config.Field) node {
	t := f.Type()
	pointer := t.Kind() == reflect.Pointer
	if pointer {
		t = t.Elem()
	}
	switch kind := t.Kind(); {
	case f.IsList() && f.Elem() == nil:
		return combine(b.inline("list"), b.inline("ofTexts"))
	case f.IsList():
		n := b.inline("list")
		n["items"] = b.define(f)
		return n
	case kind == reflect.Struct && pointer:
		return node{"anyOf": []any{b.define(f), node{"type": "null"}}}
	case kind == reflect.Struct:
		return b.define(f)
	case kind == reflect.Map:
		return b.inline("ofKeys")
	case kind == reflect.Bool:
		return b.inline("boolean")
	case kind == reflect.Int:
		return b.inline("integer")
	case f.Required() && !b.l.old:
		return b.inline("text")
	}
	return b.inline("textOrNull")
}

// define puts the object type of a field into $defs. A place where the type has other keys gets one of its own.
func (b *builder) define(f *config.Field) node {
	section := sectionOf(f.Elem(), f.Name())
	n := b.object(section, f.Elem(), f.Narrow())
	if old, ok := b.defs[section]; ok && !reflect.DeepEqual(old, n) {
		section += "In" + strings.ToUpper(f.Name()[:1]) + f.Name()[1:]
	}
	b.defs[section] = n
	return reference(section)
}

// combine adds a rule to the description of a value.
func combine(n, rule node) node {
	if n["$ref"] != nil {
		return node{"allOf": []any{n, rule}}
	}
	if rule["$ref"] != nil {
		delete(n, "type")
		if len(n) == 0 {
			return rule
		}
		appendTo(n, "allOf", rule)
		return n
	}
	for k, v := range rule {
		switch {
		case k == "items" && n["items"] != nil:
			n["items"] = combine(n["items"].(node), v.(node))
		case k == "allOf" && n[k] != nil:
			n[k] = append(n[k].([]any), v.([]any)...)
		case n[k] == nil || k == "type" || k == "minimum" || k == "maximum":
			n[k] = v
		default:
			appendTo(n, "allOf", node{k: v})
		}
	}
	return n
}
