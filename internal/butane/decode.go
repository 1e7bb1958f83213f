// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"fmt"
	"reflect"
	"strings"

	"firstboot.dev/ignition/internal/butane/yaml"
	"firstboot.dev/ignition/internal/config"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// decoder reads nodes straight into the types. In the same walk it gates: keys that this dialect does not have
// are reported and passed over, whatever their value is.
type decoder struct {
	dialect  *dialect
	at       []any // path in the document
	entries  []report.Entry
	mistakes formError
	quiet    bool // no values in messages
	sugar    sugar
	present  map[string]bool // objects that are there though they may be empty, by their path in the config
	shapes   map[reflect.Type]*config.Shape
}

// snake is the spelling of a document's keys, or of a path of them, for a config's.
func snake(name string) string {
	name = strings.Replace(name, "MiB", "Mib", 1)
	var b strings.Builder
	for i, c := range []byte(name) {
		if c >= 'A' && c <= 'Z' {
			if i > 0 {
				b.WriteByte('_')
			}
			c |= 0x20
		}
		b.WriteByte(c)
	}
	return b.String()
}

// camel is the reverse; it gives "" for what is no such key.
func camel(key string) string {
	b := make([]byte, 0, len(key))
	for i := 0; i < len(key); i++ {
		c := key[i]
		if c == '_' {
			if i++; i == len(key) || key[i] < 'a' || key[i] > 'z' {
				return ""
			}
			c = key[i] &^ 0x20
		} else if c >= 'A' && c <= 'Z' {
			return ""
		}
		b = append(b, c)
	}
	if s, ok := strings.CutSuffix(string(b), "Mib"); ok {
		return s + "MiB"
	}
	return string(b)
}

func (d *decoder) shape(t reflect.Type) *config.Shape {
	s := d.shapes[t]
	if s == nil {
		s = config.ShapeOf(t)
		d.shapes[t] = s
	}
	return s
}

func (d *decoder) mismatch(n *yaml.Node, want string) {
	at := path.New("yaml", d.at...)
	what := quoted(n)
	if d.quiet {
		what = n.Type
	}
	message := "cannot unmarshal " + what + " into " + want
	d.mistakes.add(fmt.Sprintf("line %d: %s (%s, line %d col %d)", n.Line, message, at, n.Line, n.Column), entry(report.Error, message, n, at.Copy()))
}

func (d *decoder) object(n *yaml.Node, v reflect.Value, s *config.Shape, narrow map[string]config.Version) {
	if n.IsNull() {
		return
	}
	if n.Kind != yaml.Mapping {
		d.mismatch(n, "a mapping")
		return
	}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		d.at = append(d.at, key.Value)
		if f, in := d.field(key.Value, v, s, narrow); f != nil {
			d.value(n.Content[i+1], f.In(in), f)
		} else {
			d.entries = append(d.entries, entry(report.Warn, "unused key "+key.Value, key, path.New("yaml", d.at...).Copy()))
		}
		d.at = d.at[:len(d.at)-1]
	}
}

// field finds the field of a key and the value that has it: the object's or that of Butane's own keys beside it.
func (d *decoder) field(key string, v reflect.Value, s *config.Shape, narrow map[string]config.Version) (*config.Field, reflect.Value) {
	name, spec := camel(key), d.dialect.spec()
	if f := s.Field(name); f != nil {
		if _, isIgnition := v.Addr().Interface().(*config.Ignition); isIgnition && name == "version" || !f.Known(spec, narrow) {
			return nil, v // the version of the output is not the document's to choose
		}
		return f, v
	}
	t := ownKeys[v.Type()]
	if t == nil || !d.owns(name) {
		return nil, v
	}
	f := d.shape(t).Field(name)
	if f == nil || !f.Known(spec, nil) {
		return nil, v
	}
	if since, ok := narrow["compression"]; ok && spec.Before(since) {
		return nil, v // where a resource was not yet one of the common kind
	}
	address := v.Addr().Interface()
	if d.sugar[address] == nil {
		d.sugar[address] = reflect.New(t).Interface()
	}
	return f, reflect.ValueOf(d.sugar[address]).Elem()
}

// owns gates the keys of some variants only.
func (d *decoder) owns(name string) bool {
	switch name {
	case "bootDevice":
		return d.dialect.bootDevice
	case "grub":
		return d.dialect.grub()
	case "metadata", "openshift":
		return d.dialect.machineConfig()
	}
	return true
}

func (d *decoder) value(n *yaml.Node, v reflect.Value, f *config.Field) {
	switch {
	case f.Elem() != nil && f.IsList():
		d.list(n, func(length int) {
			v.Set(reflect.MakeSlice(v.Type(), length, length))
		}, func(i int, item *yaml.Node) {
			d.object(item, v.Index(i), f.Elem(), f.Narrow())
		})
		return
	case f.Elem() != nil:
		if name := f.Name(); (name == "clevis" || name == "custom") && !n.IsNull() {
			d.present[camelPath(d.at)] = true
		}
		d.object(n, v, f.Elem(), f.Narrow())
		return
	case n.IsNull():
		return
	}
	switch to := v.Addr().Interface().(type) {
	case *string:
		*to = d.text(n)
	case **string:
		*to = ptr(d.text(n))
	case **int:
		*to = ptr(d.integer(n))
	case *int:
		*to = d.integer(n)
	case **bool:
		is, ok := n.Bool()
		if !ok {
			d.mismatch(n, "a boolean")
		}
		*to = &is
	case *[]string:
		d.list(n, func(length int) { *to = make([]string, length) }, func(i int, item *yaml.Node) { (*to)[i] = d.text(item) })
	case *map[string]string:
		d.texts(n, to)
	}
}

// list reads a sequence. Null is none.
func (d *decoder) list(n *yaml.Node, make func(length int), read func(i int, item *yaml.Node)) {
	if n.IsNull() {
		return
	}
	if n.Kind != yaml.Sequence {
		d.mismatch(n, "a list")
		return
	}
	make(len(n.Content))
	for i, item := range n.Content {
		d.at = append(d.at, i)
		read(i, item)
		d.at = d.at[:len(d.at)-1]
	}
}

func (d *decoder) text(n *yaml.Node) string {
	if n.IsNull() {
		return ""
	}
	s, ok := n.Text()
	if !ok {
		d.mismatch(n, "a string")
	}
	return s
}

func (d *decoder) integer(n *yaml.Node) int {
	i, ok := n.Int()
	if !ok {
		d.mismatch(n, "an integer")
	}
	return i
}

func (d *decoder) texts(n *yaml.Node, to *map[string]string) {
	if n.Kind != yaml.Mapping {
		d.mismatch(n, "a mapping of strings")
		return
	}
	*to = map[string]string{}
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i].Value
		d.at = append(d.at, key)
		(*to)[key] = d.text(n.Content[i+1])
		d.at = d.at[:len(d.at)-1]
	}
}

// camelPath is the config's path for one of the document.
func camelPath(at []any) where {
	p := path.New("json")
	for _, e := range at {
		if s, ok := e.(string); ok {
			e = camel(s)
		}
		p.Path = append(p.Path, e)
	}
	return whereOf(p)
}
