// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"errors"
	"fmt"

	"firstboot.dev/ignition/internal/butane/yaml"
	"firstboot.dev/ignition/internal/config"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// dialect is one variant at one version. The schema's level is that of the spec version that comes out: a key
// that a spec brought exists here from the first dialect on that translates to it. What else differs is asked
// of the methods below, so a new version is a row.
type dialect struct {
	variant, version string
	minor            int8 // of the spec version 3.minor
	bootDevice       bool // has boot_device and the checks that came with it
	release          int8 // of OpenShift, 4.release; 5.0 counts as 4.23 and so on
}

// dialects lists all that can be read.
var dialects = []dialect{
	{variant: "fcos", version: "1.0.0", minor: 0},
	{variant: "fcos", version: "1.1.0", minor: 1},
	{variant: "fcos", version: "1.2.0", minor: 2},
	{variant: "fcos", version: "1.3.0", minor: 2, bootDevice: true},
	{variant: "fcos", version: "1.4.0", minor: 3, bootDevice: true},
	{variant: "fcos", version: "1.5.0", minor: 4, bootDevice: true},
	{variant: "fcos", version: "1.6.0", minor: 5, bootDevice: true},
	{variant: "fcos", version: "1.7.0", minor: 6, bootDevice: true},
	{variant: "fcos", version: "1.8.0-experimental", minor: 7, bootDevice: true},
	{variant: "flatcar", version: "1.0.0", minor: 3},
	{variant: "flatcar", version: "1.1.0", minor: 4},
	{variant: "flatcar", version: "1.2.0-experimental", minor: 7},
	{variant: "openshift", version: "4.8.0", minor: 2, bootDevice: true, release: 8},
	{variant: "openshift", version: "4.9.0", minor: 2, bootDevice: true, release: 9},
	{variant: "openshift", version: "4.10.0", minor: 2, bootDevice: true, release: 10},
	{variant: "openshift", version: "4.11.0", minor: 2, bootDevice: true, release: 11},
	{variant: "openshift", version: "4.12.0", minor: 2, bootDevice: true, release: 12},
	{variant: "openshift", version: "4.13.0", minor: 2, bootDevice: true, release: 13},
	{variant: "openshift", version: "4.14.0", minor: 4, bootDevice: true, release: 14},
	{variant: "openshift", version: "4.15.0", minor: 4, bootDevice: true, release: 15},
	{variant: "openshift", version: "4.16.0", minor: 4, bootDevice: true, release: 16},
	{variant: "openshift", version: "4.17.0", minor: 4, bootDevice: true, release: 17},
	{variant: "openshift", version: "4.18.0", minor: 4, bootDevice: true, release: 18},
	{variant: "openshift", version: "4.19.0", minor: 5, bootDevice: true, release: 19},
	{variant: "openshift", version: "4.20.0", minor: 5, bootDevice: true, release: 20},
	{variant: "openshift", version: "4.21.0", minor: 5, bootDevice: true, release: 21},
	{variant: "openshift", version: "4.22.0", minor: 5, bootDevice: true, release: 22},
	{variant: "openshift", version: "5.0.0", minor: 5, bootDevice: true, release: 23},
	{variant: "openshift", version: "5.1.0-experimental", minor: 7, bootDevice: true, release: 24},
	{variant: "r4e", version: "1.0.0", minor: 3},
	{variant: "r4e", version: "1.1.0", minor: 4},
	{variant: "r4e", version: "1.2.0-experimental", minor: 7},
	{variant: "fiot", version: "1.0.0", minor: 4},
	{variant: "fiot", version: "1.1.0-experimental", minor: 7},
}

func (d *dialect) spec() config.Version { return config.Versions[d.minor] }

func (d *dialect) machineConfig() bool { return d.release > 0 }

// coreos tells whether the image has Fedora CoreOS's partitions.
func (d *dialect) coreos() bool { return d.variant == "fcos" || d.machineConfig() }

func (d *dialect) grub() bool { return d.coreos() && d.minor >= 4 }

var (
	errVariant = errors.New("error parsing variant; must be specified")
	errVersion = errors.New("error parsing version; must be a valid semver")
	errRHCOS   = errors.New("rhcos variant has been removed; use openshift variant instead: https://coreos.github.io/butane/upgrading-openshift/")
)

// chooseDialect reads variant and version of a document.
func chooseDialect(doc *yaml.Document) (*dialect, error) {
	variant, version, err := header(doc)
	if err != nil {
		return nil, err
	}
	fail := func(err error, key string) (*dialect, error) {
		at, n := path.New("yaml", key), doc.Root.Get(key)
		if n == nil {
			n = doc.Root
		}
		return nil, &formError{err: err, text: err.Error(), entries: []report.Entry{entry(report.Error, err.Error(), n, at)}}
	}
	if variant == "" {
		return fail(errVariant, "variant")
	}
	v, metadata, ok := config.ParseVersion(version)
	if !ok {
		return fail(errVersion, "version")
	}
	name := v.String()
	if metadata != "" {
		name += "+" + metadata
	}
	for i := range dialects {
		if d := &dialects[i]; d.variant == variant && d.version == name {
			return d, nil
		}
	}
	if variant == "rhcos" && name == "0.1.0" {
		return fail(errRHCOS, "variant")
	}
	//lint:ignore ST1005 the text is known
	return fail(fmt.Errorf("No translator exists for variant %s with version %s", variant, name), "version")
}

// header gives the texts of the two keys that decide about the language.
func header(doc *yaml.Document) (variant, version string, err error) {
	fail := func(n *yaml.Node, message string, at ...any) error {
		return &formError{text: fmt.Sprintf("Error unmarshaling yaml: yaml: unmarshal errors:\n  line %d: %s", n.Line, message),
			entries: []report.Entry{entry(report.Error, message, n, path.New("yaml", at...))}}
	}
	root := doc.Root
	if root.IsNull() {
		return "", "", nil
	}
	if root.Kind != yaml.Mapping {
		return "", "", fail(root, "cannot unmarshal "+quoted(root)+" into a mapping")
	}
	for _, r := range doc.Repeated {
		if r.In == root {
			return "", "", fail(r.Key, repeatedKey(r), r.Key.Value)
		}
	}
	for _, key := range []struct {
		name string
		to   *string
	}{{"variant", &variant}, {"version", &version}} {
		n := root.Get(key.name)
		if n == nil || n.IsNull() {
			continue
		}
		text, ok := n.Text()
		if !ok {
			return "", "", fail(n, "cannot unmarshal "+quoted(n)+" into a string", key.name)
		}
		*key.to = text
	}
	return variant, version, nil
}

func repeatedKey(r yaml.Repeated) string {
	return fmt.Sprintf("mapping key %q already defined at line %d", r.Key.Value, r.First.Line)
}

// quoted describes a node for a message: its type and the start of its text.
func quoted(n *yaml.Node) string {
	const longest = 40
	s := n.Type
	if n.Kind != yaml.Scalar {
		return s
	}
	text := n.Value
	if len(text) > longest {
		text = text[:longest] + "..."
	}
	return s + " `" + text + "`"
}
