// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"reflect"

	"firstboot.dev/ignition/internal/butane/yaml"
	"firstboot.dev/ignition/internal/config"
)

// Dialect is one variant at one version, for those who describe the language.
type Dialect = dialect

// Dialects lists all that can be read.
func Dialects() []Dialect { return dialects }

// DialectOf is the dialect that a document says it is written in, nil if that is none.
func DialectOf(raw []byte) *Dialect {
	doc, err := yaml.Parse(raw)
	if err != nil {
		return nil
	}
	d, _ := chooseDialect(doc)
	return d
}

// Variant is the first half of the name.
func (d *dialect) Variant() string { return d.variant }

// Version is the second half of the name.
func (d *dialect) Version() string { return d.version }

// Spec is the version of the config that comes out.
func (d *dialect) Spec() config.Version { return d.spec() }

// Release is that of OpenShift, where 5.0 counts as 4.23; of other variants it is older than all.
func (d *dialect) Release() config.Version {
	if d.release == 0 {
		return config.Version{}
	}
	return config.Version{Major: 4, Minor: int64(d.release)}
}

// Key is a document's spelling of a config's key.
func Key(name string) string { return snake(name) }

// Keys lists the keys that objects of a config's type have in documents, those of Butane's own last.
func (d *dialect) Keys(o *config.Shape, narrow map[string]config.Version) (list []*config.Field) {
	for _, f := range o.Keys(d.spec(), narrow) {
		if o.Type() != reflect.TypeFor[config.Ignition]() || f.Name() != "version" {
			list = append(list, f)
		}
	}
	if t := ownKeys[o.Type()]; t != nil && !d.wasReference(narrow) {
		for _, f := range config.ShapeOf(t).Keys(d.spec(), nil) {
			if d.owns(f.Name()) {
				list = append(list, f)
			}
		}
	}
	return list
}
