// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/butane/yaml"
	"firstboot.dev/ignition/internal/config"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

var errMachineConfig = errors.New("this is a Butane config of variant openshift, which becomes a MachineConfig: hand it to the machine-config operator, not to a machine")

// Document is a Butane config as a machine reads it.
type Document struct {
	Config      config.Config
	translation *translation
}

// Looks is what a text is.
type Looks int

// What a text may be.
const (
	NotYAML      Looks = iota
	Text               // YAML, and a single text or number
	OtherYAML          // a mapping or list without the key that makes it Butane
	BrokenButane       // not YAML, with a line that says which variant it is
	Butane
)

// Read reads a Butane config as a machine gets it: without local files. For another text it tells what that is.
func Read(raw []byte) (d Document, looks Looks, r report.Report, err error) {
	doc, failed := yaml.Parse(raw)
	if failed != nil {
		looks = NotYAML
		if hasVariantLine(raw) {
			looks = BrokenButane
		}
		r, err = machineError(Result{}, syntaxError(failed))
		var named *yaml.Error
		if errors.As(failed, &named) {
			r.Entries[0].Message = named.Unnamed()
		}
		return Document{}, looks, r, err
	}
	switch {
	case doc.Root.Get("variant") != nil:
	case doc.Root.Kind == yaml.Scalar:
		return Document{}, Text, r, ErrSource
	default:
		return Document{}, OtherYAML, r, ErrSource
	}
	// What is compressed would be unpacked in the next stage.
	result, err := transpile(doc, Options{Machine: true, NoResourceAutoCompression: true})
	if err == nil && result.MachineConfig {
		result.translation.fail(errMachineConfig.Error(), "variant")
		result.Report, err = result.translation.report, ErrSource
	}
	if err != nil {
		r, err = machineError(result, err)
		return Document{}, Butane, r, err
	}
	c, r, err := config.Parse(result.Output)
	if err != nil {
		return Document{}, Butane, r, err
	}
	// What the second reading could warn of is in the first report, with better places.
	return Document{c, result.translation}, Butane, result.Report, nil
}

// machineError puts what is wrong with a document's form into the report too.
func machineError(result Result, err error) (report.Report, error) {
	var form *formError
	if errors.As(err, &form) {
		result.Report.Entries = append(result.Report.Entries, form.entries...)
		err = ErrSource
	}
	return result.Report, err
}

// hasVariantLine tells whether a line of a text says which variant it is.
func hasVariantLine(raw []byte) bool {
	for line := range bytes.Lines(raw) {
		if rest, ok := bytes.CutPrefix(line, []byte("variant")); ok && bytes.HasPrefix(bytes.TrimLeft(rest, " \t"), []byte(":")) {
			return true
		}
	}
	return false
}

// Places is config.Places for a Butane config: where in the YAML the entries of Config stand, those made by sugar
// at the key that makes them.
func (d Document) Places() map[string]config.Place {
	t := d.translation
	out := t.places(&t.user, t.renames)
	for i := range t.made {
		for name, p := range t.places(&t.made[i].config, t.made[i].renames) {
			if _, known := out[name]; !known {
				out[name] = p
			}
		}
	}
	return out
}

func (t *translation) places(c *config.Config, list renames) map[string]config.Place {
	from := make(map[where]where, len(list))
	for _, r := range list {
		from[r.from] = r.to
	}
	return config.PlacesBy(*c, func(p path.ContextPath) (config.Place, bool) {
		at := whereOf(p)
		there := snake(at)
		for part := at; part != ""; {
			if to, ok := from[part]; ok {
				there = to
				break
			}
			part = part[:max(strings.LastIndexByte(part, '.'), 0)]
		}
		n := t.root
		for element := range strings.SplitSeq(there, ".") {
			if n = child(n, element); n == nil {
				return config.Place{}, false
			}
		}
		return config.Place{Line: n.Line, Column: n.Column}, true
	})
}

// Find gives for a path of Config, without its "$.", the one in the YAML, and the place of what stands there. exact is
// false if nothing does: the place is then that of what is around it.
func (d Document) Find(p string) (there string, place config.Place, exact bool) {
	there = d.translation.source(p)
	n := d.translation.root
	exact = true
	for element := range strings.SplitSeq(there, ".") {
		next := child(n, element)
		if exact = next != nil; !exact {
			break
		}
		n = next
	}
	return there, config.Place{Line: n.Line, Column: n.Column}, exact
}

// child gives a mapping's value or a list's item.
func child(n *yaml.Node, element string) *yaml.Node {
	if n.Kind != yaml.Sequence {
		return n.Get(element)
	}
	if i, err := strconv.Atoi(element); err == nil && i >= 0 && i < len(n.Content) {
		return n.Content[i]
	}
	return nil
}
