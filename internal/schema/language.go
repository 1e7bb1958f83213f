// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"reflect"
	"strings"

	"firstboot.dev/ignition/internal/butane"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/config/legacy"
)

// Language is what a document can be written in: one version of a config, or a variant of Butane at one version.
type Language struct {
	// Name is as in "3.4.0" and "flatcar/1.1.0".
	Name string

	spec   config.Version // of Butane that of its output
	butane *butane.Dialect
	old    bool // 1 and 2.x
}

// Languages lists them, those of configs first, oldest first.
func Languages() []*Language {
	list := addVersions(addVersions(nil, legacy.Versions(), true), config.Versions, false)
	dialects := butane.Dialects()
	for i := range dialects {
		d := &dialects[i]
		list = append(list, &Language{Name: d.Variant() + "/" + d.Version(), spec: d.Spec(), butane: d})
	}
	return list
}

func addVersions(list []*Language, versions []config.Version, old bool) []*Language {
	for _, v := range versions {
		list = append(list, &Language{Name: v.String(), spec: v, old: old})
	}
	return list
}

// Find gives the language of a name, nil if there is none. Without "-experimental" it is found too: "3.7.0".
func Find(name string) *Language {
	for _, l := range Languages() {
		if l.Name == name || l.Name == name+"-experimental" || l.isFirst() && name == "1" {
			return l
		}
	}
	return nil
}

func (l *Language) isFirst() bool { return l.old && l.spec.Major == 1 }

// Title says what the language is.
func (l *Language) Title() string {
	if l.butane != nil {
		return "Butane config, variant " + l.butane.Variant() + ", version " + l.butane.Version()
	}
	return "Ignition config, version " + l.spec.String()
}

func (l *Language) root() *config.Shape {
	if l.old {
		return legacy.Shape()
	}
	return config.ShapeOf(reflect.TypeFor[config.Config]())
}

// keys lists the keys that an object has in this language.
func (l *Language) keys(o *config.Shape, narrow map[string]config.Version) []*config.Field {
	if l.butane != nil {
		return l.butane.Keys(o, narrow)
	}
	return o.Keys(l.spec, narrow)
}

// key is the spelling of a config's key.
func (l *Language) key(name string) string {
	if l.butane != nil {
		return butane.Key(name)
	}
	return name
}

// knows tells whether a word of a rule's condition holds.
func (l *Language) knows(word string) bool {
	variant, release := "", config.Version{}
	if l.butane != nil {
		variant, release = l.butane.Variant(), l.butane.Release()
	}
	if text, ok := strings.CutPrefix(word, ">="); ok {
		return !l.older(text, release)
	}
	if text, ok := strings.CutPrefix(word, "<"); ok {
		return l.older(text, release)
	}
	switch word {
	case "json":
		return l.butane == nil
	case "butane":
		return l.butane != nil
	case "coreos":
		return variant == "fcos" || variant == "openshift"
	}
	return word == variant
}

// older compares with a spec version 3.N, or with a release 4.N.
func (l *Language) older(text string, release config.Version) bool {
	v, _, ok := config.ParseVersion(text + ".0")
	if !ok {
		panic("schema: bad version in keys.txt: " + text)
	}
	if v.Major == 4 {
		return release.Before(v)
	}
	return l.spec.Before(v)
}
