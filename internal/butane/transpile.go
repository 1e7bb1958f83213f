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
	// Watch is told how far the packing of one text is; it may be nil.
	Watch func(done, size int)

	Pretty                    bool // indent JSON
	Raw                       bool // a config even where a MachineConfig around it is usual
	NoResourceAutoCompression bool // leave contents uncompressed
	YAMLDocSeparator          bool // a line "---" before a MachineConfig
	Debug                     bool // fill Result.Translations

	// Machine is the reader: there are no local files, and messages say so; values stay out of them.
	Machine bool
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

	translation *translation
}

// What a translation can fail with, when the report says why.
var (
	ErrSource    = errors.New("source config is invalid")
	ErrGenerated = errors.New("config generated was invalid")
)

// formError is a document that cannot be read into the types: not YAML, of no known dialect, or with values of
// wrong types. The text is known to people and scripts; entries say the same with places.
type formError struct {
	err     error
	text    string
	entries []report.Entry
}

func (e *formError) Error() string { return e.text }

func (e *formError) Unwrap() error { return e.err }

func (e *formError) add(line string, entry report.Entry) {
	if e.text == "" {
		e.text = "yaml: unmarshal errors:"
	}
	e.text += "\n  " + line
	e.entries = append(e.entries, entry)
}

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
		return Result{}, syntaxError(err)
	}
	return transpile(doc, o)
}

func syntaxError(err error) error {
	e := report.Entry{Kind: report.Error, Message: err.Error()}
	var at *yaml.Error
	if errors.As(err, &at) {
		e.Marker = marker(at.Line, at.Column)
	}
	return &formError{err: err, text: "Error unmarshaling yaml: " + err.Error(), entries: []report.Entry{e}}
}

func transpile(doc *yaml.Document, o Options) (Result, error) {
	d, err := chooseDialect(doc)
	if err != nil {
		return Result{}, err
	}
	t := &translation{dialect: d, options: o, root: doc.Root, sugar: sugar{}}
	if err := t.decode(doc); err != nil {
		return Result{}, err
	}
	err = t.run()
	result := Result{Report: t.report, MachineConfig: d.machineConfig() && !o.Raw, translation: t}
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
	d := decoder{dialect: t.dialect, sugar: t.sugar, present: map[string]bool{}, shapes: map[reflect.Type]*config.Shape{}, quiet: t.options.Machine}
	d.object(doc.Root, reflect.ValueOf(&t.user).Elem(), config.ShapeOf(reflect.TypeFor[config.Config]()), nil)
	for _, r := range doc.Repeated {
		d.mistakes.add(fmt.Sprintf("line %d: %s", r.Key.Line, repeatedKey(r)), entry(report.Error, repeatedKey(r), r.Key, path.ContextPath{}))
	}
	if len(d.mistakes.entries) > 0 {
		return &d.mistakes
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
	if len(t.made) > 0 {
		// Two entries of the document that sugar makes too became one.
		own := config.Duplicates(&t.user)
		for _, e := range own.Entries {
			if at := snake(whereOf(e.Context)); !t.reports(r, at, e.Message) {
				t.fail(e.Message, at)
			}
		}
	}
	for _, e := range r.Entries {
		kind := report.Warn
		if e.Kind.IsFatal() {
			kind = report.Error
		}
		t.add(kind, e.Message, t.source(whereOf(e.Context)))
	}
}

// reports tells whether a report has an entry about this place in the document.
func (t *translation) reports(r report.Report, at where, message string) bool {
	for _, e := range r.Entries {
		if e.Message == message && t.source(whereOf(e.Context)) == at {
			return true
		}
	}
	return false
}

// has tells whether the document has an object that may be empty.
func (t *translation) has(at ...any) bool {
	there, known := config.Counterpart(&t.out, &t.user, true, path.New("json", at...))
	for i := known; i < len(at); i++ {
		if _, isIndex := at[i].(int); isIndex {
			return false // the entry is generated
		}
	}
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
