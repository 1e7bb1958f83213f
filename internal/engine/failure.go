// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/document"
	"firstboot.dev/ignition/internal/oplog"
	"github.com/coreos/vcontext/report"
)

// origin is where an entry of the merged config was written.
type origin struct {
	Source string `json:"source"`
	config.Place
}

// origins are the origins of entries by their names. Of several documents that
// have an entry the one that was merged last counts.
type origins struct {
	mu      sync.Mutex
	entries map[string]origin
	waiting map[string]map[string]config.Place // documents that are not merged yet
}

// add takes a document that is merged now.
func (o *origins) add(source string, doc document.Document) { o.put(source, doc.Places()) }

func (o *origins) put(source string, places map[string]config.Place) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.entries == nil {
		o.entries = make(map[string]origin, len(places))
	}
	for name, p := range places {
		o.entries[name] = origin{source, p}
	}
}

// hold keeps a document until merge is called with its URL.
func (o *origins) hold(url string, doc document.Document) {
	places := doc.Places()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.waiting == nil {
		o.waiting = map[string]map[string]config.Place{}
	}
	o.waiting[url] = places
}

func (o *origins) merge(url, shown string) {
	o.mu.Lock()
	places := o.waiting[url]
	o.mu.Unlock()
	o.put(shown, places)
}

// find looks for the entry at a path of a config, or for what is around it.
func (o *origins) find(c config.Config, path string) (origin, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range config.EntryNames(c, path) {
		if at, ok := o.entries[name]; ok {
			return at, true
		}
	}
	return origin{}, false
}

// originsFile stands beside the state file. It is written by the stage that
// fetches and read when a later one fails.
func originsFile(stateFile string) string {
	return filepath.Join(filepath.Dir(stateFile), "origins.json")
}

func (o *origins) save(name string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return replaceFile(name, 0o600, func(w io.Writer) error { return json.NewEncoder(w).Encode(o.entries) })
}

// load adds what save wrote; what was added by now counts less.
func (o *origins) load(name string) error {
	raw, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	entries := map[string]origin{}
	if err := json.Unmarshal(raw, &entries); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for name, at := range o.entries {
		if _, ok := entries[name]; !ok {
			entries[name] = at
		}
	}
	o.entries = entries
	return nil
}

// invalidError is a config that is not valid, with what is wrong about it.
type invalidError struct {
	error
	report report.Report
}

func (e *invalidError) Unwrap() error { return e.error }

func withReport(err error, rep report.Report) error {
	if err == nil || !rep.IsFatal() {
		return err
	}
	return &invalidError{err, rep}
}

// problems are the errors of a report, one line each.
func problems(err error) []string {
	var e *invalidError
	if !errors.As(err, &e) {
		return nil
	}
	var out []string
	for _, entry := range e.report.Entries {
		if entry.Kind.IsFatal() {
			out = append(out, entry.String())
		}
	}
	return out
}

// recordFailure leaves what is known of a failed stage for the report at the console.
func (o Options) recordFailure(r *run, start time.Time, err error) {
	if o.FailureFile == "" {
		return
	}
	f := oplog.Failure{
		Stage: o.Stage, Version: o.Version, Platform: o.Platform.Name, Boot: o.BootID,
		Start: start.UTC().Round(0), End: time.Now().UTC().Round(0), Took: time.Since(start),
		Operations: o.Log.FailedOps(), Error: err.Error(), Problems: problems(err),
	}
	var e *config.EntryError
	if errors.As(err, &e) {
		f.Config, f.Hint = e.Path, e.Hint
	}
	if r != nil && f.Config != "" {
		if !r.stage.Fetches {
			_ = r.origins.load(originsFile(r.StateFile)) // without it there is no position
		}
		if at, ok := r.origins.find(r.config, f.Config); ok {
			f.Source, f.Line, f.Column = at.Source, at.Line, at.Column
		}
	}
	if err := oplog.WriteFailure(o.FailureFile, f); err != nil {
		o.Log.Warning("the failure cannot be kept for the report: %v", err)
	}
}
