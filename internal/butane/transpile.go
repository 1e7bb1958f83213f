// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"strings"

	"firstboot.dev/ignition/internal/butane/yaml"
	"firstboot.dev/ignition/internal/config"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// Options of a translation.
type Options struct {
	// Files is the directory of local files, nil if there is none.
	Files Files
	// FilesDir is its name in messages.
	FilesDir string

	Pretty                    bool // indent JSON
	Raw                       bool // a config even where a MachineConfig around it is usual
	NoResourceAutoCompression bool // leave contents uncompressed
	YAMLDocSeparator          bool // a line "---" before a MachineConfig
	Debug                     bool // fill Result.Translations
}

// Files is a directory of local files. What is read is its to confine to itself. Names are clean, relative and
// have slashes; lists are sorted.
type Files interface {
	fs.ReadDirFS
	fs.ReadLinkFS
}

// Result of a translation.
type Result struct {
	Output        []byte // the document without final newline
	Config        config.Config
	MachineConfig bool // Output is a MachineConfig in YAML
	Report        report.Report
	Translations  string // what comes from another key of the source, one a line
}

// What a translation can fail with, when the report says why.
var (
	ErrSource    = errors.New("source config is invalid")
	ErrGenerated = errors.New("config generated was invalid")
)

// translation is the state of one run.
type translation struct {
	dialect *dialect
	options Options
	root    *yaml.Node
	report  report.Report

	user    config.Config // what the document says, and nodes of trees and quadlets
	sugar   sugar
	keys    *rootKeys
	present map[string]bool
	renames renames     // of user
	nodes   nodeIndex   // of user
	made    []generated // by sugar
	out     config.Config
}

// Transpile translates a Butane config.
func Transpile(raw []byte, o Options) (Result, error) {
	doc, err := yaml.Parse(raw)
	if err != nil {
		//lint:ignore ST1005 the text is known
		return Result{}, fmt.Errorf("Error unmarshaling yaml: %w", err)
	}
	d, err := chooseDialect(doc)
	if err != nil {
		return Result{}, err
	}
	t := &translation{dialect: d, options: o, root: doc.Root, sugar: sugar{}}
	if err := t.decode(doc); err != nil {
		return Result{}, err
	}
	err = t.run()
	result := Result{Report: t.report, MachineConfig: d.machineConfig() && !o.Raw}
	if o.Debug {
		var b strings.Builder
		for _, list := range append([]generated{{renames: t.renames}}, t.made...) {
			writeTranslations(&b, list.renames)
		}
		result.Translations = b.String()
	}
	if err != nil {
		return result, err
	}
	result.Config = t.out
	result.Output = t.encode()
	return result, nil
}

// decode reads the document into the types. Wrong types end it.
func (t *translation) decode(doc *yaml.Document) error {
	d := decoder{dialect: t.dialect, sugar: t.sugar, present: map[string]bool{}, shapes: map[reflect.Type]*config.Shape{}}
	d.object(doc.Root, reflect.ValueOf(&t.user).Elem(), config.ShapeOf(reflect.TypeFor[config.Config]()), nil)
	for _, r := range doc.Repeated {
		d.mistakes = append(d.mistakes, fmt.Sprintf("line %d: %s", r.Key.Line, repeatedKey(r)))
	}
	if len(d.mistakes) > 0 {
		return errors.New("yaml: unmarshal errors:\n  " + strings.Join(d.mistakes, "\n  "))
	}
	t.keys = own[rootKeys](t.sugar, &t.user)
	t.present = d.present
	t.report.Entries = d.entries
	if doc.NextLine > 0 {
		t.report.Entries = append(t.report.Entries, report.Entry{Kind: report.Warn,
			Message: "only the first document is read; the one that starts here is ignored", Marker: marker(doc.NextLine, doc.NextColumn)})
	}
	return nil
}

// run takes the steps in order; each ends the translation if it found errors.
func (t *translation) run() error {
	t.renames.add("ignition.version", "version")
	for _, step := range []struct {
		do  func()
		err error
	}{
		{t.check, ErrSource},
		{t.translate, ErrSource},
		{t.reject, ErrSource},
		{t.validate, ErrGenerated},
	} {
		step.do()
		if t.report.IsFatal() {
			return step.err
		}
	}
	return nil
}

// translate makes the finished config. Errors of one part do not hide those of another.
func (t *translation) translate() {
	_ = config.EachResource(&t.user, t.translateResource)
	t.readKeys()
	t.readUnits()
	t.addMountUnits()
	t.nodes = indexNodes(&t.user.Storage)
	t.addTrees()
	t.addQuadlets()
	t.addBootDevice()
	t.out = t.user
	for i := range t.made {
		t.out = config.Merge(t.made[i].config, t.out)
	}
	t.checkPartitions()
	t.addGrub()
	t.finishMachineConfig()
	t.out.Ignition.Version = t.dialect.spec().String()
}

func (t *translation) validate() {
	r := config.Validate(&t.out, t.dialect.spec(), t.has)
	for _, e := range r.Entries {
		kind := report.Warn
		if e.Kind.IsFatal() {
			kind = report.Error
		}
		t.add(kind, e.Message, t.source(whereOf(e.Context)))
	}
}

// has tells whether the document has an object that may be empty.
func (t *translation) has(at ...any) bool {
	there, _ := config.Counterpart(&t.out, &t.user, true, path.New("json", at...))
	return t.present[whereOf(there)]
}

func (t *translation) encode() []byte {
	raw := config.EncodeDocument(t.out, t.dialect.spec(), t.has)
	if t.dialect.machineConfig() && !t.options.Raw {
		return t.encodeMachineConfig(raw)
	}
	if t.options.Pretty {
		var b bytes.Buffer
		if json.Indent(&b, raw, "", "  ") == nil {
			return b.Bytes()
		}
	}
	return raw
}

// Detect tells whether a text is a Butane config: YAML, a mapping with a variant.
func Detect(raw []byte) bool {
	if !bytes.Contains(raw, []byte("variant")) && !bytes.Contains(raw, []byte("v\x00a\x00r")) {
		return false // spares the reading of large texts
	}
	doc, err := yaml.Parse(raw)
	if err != nil {
		return false
	}
	n := doc.Root.Get("variant")
	return n != nil && n.Kind == yaml.Scalar && !n.IsNull() && n.Value != ""
}

var errMachineConfig = errors.New("this is a Butane config of variant openshift, which becomes a MachineConfig: hand it to the machine-config operator, not to a machine")

// Parse reads a document in either language, as a machine gets it: without local files. A document that is
// Butane stays so in its errors.
func Parse(raw []byte) (config.Config, report.Report, error) {
	c, r, err := config.Parse(raw)
	if err == nil || !Detect(raw) {
		return c, r, err
	}
	result, err := Transpile(raw, Options{})
	if err == nil && result.MachineConfig {
		err = errMachineConfig
	}
	if err != nil {
		return config.Config{}, result.Report, err
	}
	c, r, err = config.Parse(result.Output)
	if err != nil {
		return config.Config{}, r, err
	}
	return c, result.Report, nil // what the second reading could warn of is in the first report, with better places
}
