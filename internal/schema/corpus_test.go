// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"bytes"
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/coreos/vcontext/report"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// beyond lists what a JSON Schema cannot say, by texts of the errors about it. A document that is refused for
// anything else must fail its schema.
var beyond = []struct{ reason, message string }{
	{"looks at other entries", "duplicate entry defined"},
	{"looks at other entries", "path includes link in config"},
	{"looks at other entries", "path conflicts with systemd unit or dropin"},
	{"looks at other entries", "cannot use the same partition label twice"},
	{"looks at other entries", "partition numbers collide"},
	{"looks at other entries", "partitions overlap"},
	{"looks at other entries", "hard link target is a directory"},
	{"looks at other entries", "matching filesystem node has existing contents or different type"},
	{"a grammar of its own", "advertisement is not valid JSON"},
	{"a grammar of its own", "invalid unit content"},
	{"a grammar of its own", "unable to parse url"},
	{"a grammar of its own", "(in the embedded config at"},
	{"a grammar of its own", "inline, line"}, // of an embedded config as a whole
	{"a grammar of its own", "config is not valid"},
	{"a grammar of its own", "an embedded config is JSON"},
	{"counts bytes, a schema characters", "characters when using"},
	{"counts bytes, a schema characters", "labels cannot be longer than 47 characters"},
	{"counts bytes, a schema characters", "labels may not exceed 36 characters"},
	{"420.0 and 4.2e2 are integers to a schema", "without fraction or exponent"},
	{"depends on local files", "file does not exist"},
	{"depends on local files", "is a directory"},
	{"depends on local files", "local file path traverses outside the files directory"},
	{"depends on local files", "that must be specified with -d/--files-dir"},
	{"depends on local files", "error at $.storage.trees."},
	{filledIn, "overwrite must be false if source is unspecified"},
	{filledIn, "link target is required"},
	{filledIn, "format cannot be empty when path"},
	{filledIn, "filesystem must specify format if label is specified"},
	{filledIn, "raid level is required"},
	{filledIn, "unrecognized raid level"}, // what older versions say of none
	{filledIn, "raid devices required"},
	{filledIn, "disk device is required"},
	{filledIn, "cannot use custom clevis config with"},
	{leadingZero, "illegal file mode"},
}

// Reasons that hold for some documents only.
const (
	filledIn    = "trees, boot_device or grub may give what is missing, or more"
	leadingZero = "an editor may read 07777 as 7777"
)

func compiled(t testing.TB, languages []*Language, table table) map[string]*jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	out := map[string]*jsonschema.Schema{}
	for _, l := range languages {
		b := newBuilder(l)
		b.table = table
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b.make()))
		if err != nil {
			t.Fatal(err)
		}
		id := v.(map[string]any)["$id"].(string)
		if err := c.AddResource(id, v); err != nil {
			t.Fatal(err)
		}
		if out[l.Name], err = c.Compile(id); err != nil {
			t.Fatalf("%s: %v", l.Name, err)
		}
	}
	return out
}

// verdict compares what schema and reader say about a document. It gives "" if they agree.
func verdict(d document, s *jsonschema.Schema, used map[string]bool) string {
	value, err := d.value()
	if err != nil {
		return ""
	}
	says := s.Validate(value)
	r, err := d.judge()
	var fatal, unused, other []string
	for _, e := range r.Entries {
		switch {
		case e.Kind == report.Error:
			fatal = append(fatal, e.String())
		case strings.HasPrefix(e.Message, "unused key") && !strings.Contains(e.Message, "embedded"), strings.HasPrefix(e.Message, "context tree"):
			unused = append(unused, e.String())
		case strings.HasSuffix(e.Message, "name is empty"):
			return ""
		default:
			other = append(other, e.String())
		}
	}
	if err != nil && len(fatal) == 0 {
		fatal = []string{err.Error()}
	}
	switch {
	case len(fatal)+len(unused) == 0 && says != nil && d.hasSugar() && strings.Contains(says.Error(), "are equal"):
		// Equal entries go unnoticed where both are merged into a generated one.
	case len(fatal)+len(unused) == 0 && says != nil && d.hasSugar() && strings.Contains(says.Error(), "missing property 'local'"):
		// Nobody writes the hash of a file whose contents a tree gives.
	case len(fatal)+len(unused) == 0 && says != nil:
		return fmt.Sprintf("refused by the schema, but the reader takes it %s:\n%v", other, says)
	case len(fatal) == 0 && len(unused) > 0 && says == nil:
		return fmt.Sprintf("passes the schema in spite of %s", unused)
	case len(fatal) > 0 && says == nil && d.language() >= "3":
		for _, f := range fatal {
			if !d.isBeyond(f, used) {
				return "passes the schema in spite of " + f
			}
		}
	}
	return ""
}

// hasSugar tells whether entries of the document may be merged with generated ones.
func (d document) hasSugar() bool {
	return d.yaml && (bytes.Contains(d.raw, []byte("trees")) || bytes.Contains(d.raw, []byte("boot_device")) || bytes.Contains(d.raw, []byte("grub")))
}

func (d document) isBeyond(message string, used map[string]bool) bool {
	for _, b := range beyond {
		switch {
		case b.reason == leadingZero && !d.yaml:
			continue
		case b.reason == filledIn && !d.hasSugar():
			continue
		}
		if strings.Contains(message, b.message) {
			used[b.message] = true
			return true
		}
	}
	return false
}

func TestCorpus(t *testing.T) {
	schemas := compiled(t, Languages(), readKeys(keysText()))
	used, seen := map[string]bool{}, map[string]int{}
	for _, d := range documents(t) {
		name := d.language()
		seen[name]++
		if name == "" {
			continue
		}
		if problem := verdict(d, schemas[name], used); problem != "" {
			t.Errorf("%s: %s", d.name, problem)
		}
	}
	var counts []string
	for name, n := range seen {
		counts = append(counts, fmt.Sprintf("%s: %d", name, n))
	}
	sort.Strings(counts)
	t.Logf("documents %s", counts)
	for _, b := range beyond {
		if !used[b.message] {
			t.Errorf("%q is no reason of any document", b.message)
		}
	}
}

// TestRefused wants documents with one mistake refused by both.
func TestRefused(t *testing.T) {
	schemas := compiled(t, Languages(), readKeys(keysText()))
	list, languages := refused(t)
	for i, d := range list {
		v, err := d.value()
		if err != nil {
			t.Fatal(err)
		}
		if schemas[languages[i]].Validate(v) == nil {
			t.Errorf("%s %s: passes the schema", languages[i], d.name)
		}
		if r, err := d.judge(); err == nil {
			t.Errorf("%s %s: passes the reader %s", languages[i], d.name, r.String())
		}
	}
	for _, l := range Languages() {
		if schemas[l.Name].Validate(map[string]any{}) == nil {
			t.Errorf("%s: a document without a version passes", l.Name)
		}
	}
}
