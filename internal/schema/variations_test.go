// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

var (
	variations = flag.Int("variations", 3000, "how many variations of documents TestVariations judges")
	seed       = flag.Uint64("seed", 1, "which ones")
	rules      = flag.Bool("rules", false, "run TestEveryRuleIsNeeded")
)

// odd are values that may be wrong anywhere.
var odd = []any{
	nil, "", "x", "/", "/etc/x", "/var", "/a/../b", "a\nb", "yes", "5", "root", "http://h/p", "https://h", "data:,a", "data:,a b", "data:;base64,YQ==",
	"data:;base64,YQ=", "s3://b/k?versionId=", "arn:aws:s3:::b/k", "tpm2", "gzip", "a.service", "a@b.container", strings.Repeat("a", 13),
	strings.Repeat("a", 37), strings.Repeat("\u00e4", 10), "sha512-" + strings.Repeat("0", 128), "sha256-" + strings.Repeat("z", 64),
	"01234567-89ab-cdef-edcb-a98765432101", json.Number("0"), json.Number("-1"), json.Number("3"), json.Number("511"), json.Number("5000"), json.Number("9000"),
	json.Number("9223372036854775808"), true, false, []any{}, []any{""}, []any{"/a", "/a"}, []any{"/a", "/b"}, []any{nil}, []any{map[string]any{}}, map[string]any{},
}

// pool holds the values that documents have, by language and place.
type pool map[string]map[string][]any

const perKey = 30

func (p pool) add(place string, v any) {
	switch v := v.(type) {
	case map[string]any:
		if p[place] == nil {
			p[place] = map[string][]any{}
		}
		for key, member := range v {
			if len(p[place][key]) < perKey {
				p[place][key] = append(p[place][key], member)
			}
			p.add(place+"."+key, member)
		}
	case []any:
		for _, item := range v {
			p.add(place+"[]", item)
		}
	}
}

// placed is an object of a document and the place of it.
type placed struct {
	place  string
	object map[string]any
}

func objects(place string, v any) (list []placed) {
	switch v := v.(type) {
	case map[string]any:
		list = append(list, placed{place, v})
		for _, key := range sortedKeys(v) {
			list = append(list, objects(place+"."+key, v[key])...)
		}
	case []any:
		for _, item := range v {
			list = append(list, objects(place+"[]", item)...)
		}
	}
	return list
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// vary sets, in a copy of a document, a key of an object to a value of another document or an odd one, drops a key,
// or repeats an entry of a list.
func vary(rnd *rand.Rand, text []byte, root string, p pool) (any, bool) {
	var doc any
	dec := json.NewDecoder(strings.NewReader(string(text)))
	dec.UseNumber()
	if dec.Decode(&doc) != nil {
		return nil, false
	}
	list := objects(root, doc)
	if len(list) == 0 {
		return nil, false
	}
	at := list[rnd.IntN(len(list))]
	keys := sortedKeys(p[at.place])
	if len(keys) == 0 {
		return nil, false
	}
	key := keys[rnd.IntN(len(keys))]
	if at.place == root && (key == "variant" || key == "version") || strings.HasSuffix(at.place, ".ignition") && key == "version" {
		return nil, false
	}
	switch rnd.IntN(8) {
	case 0:
		delete(at.object, key)
	case 1, 2, 3:
		at.object[key] = odd[rnd.IntN(len(odd))]
	case 4:
		if old, ok := at.object[key].([]any); ok && len(old) > 0 {
			at.object[key] = append(slices.Clone(old), old[rnd.IntN(len(old))])
		}
	default:
		values := p[at.place][key]
		at.object[key] = values[rnd.IntN(len(values))]
	}
	return doc, true
}

// variedDocuments gives n documents that nobody wrote: those of the corpus with keys and values of one another.
func variedDocuments(t testing.TB, n int, seed uint64) (list []document) {
	t.Helper()
	pools := map[bool]pool{true: {}, false: {}}
	type source struct {
		document
		language string
		text     []byte
	}
	var sources []source
	for _, d := range documents(t) {
		name := d.language()
		v, err := d.value()
		if name == "" || err != nil || len(d.raw) > 20000 {
			continue
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if name >= "3" {
			pools[d.yaml].add("$", v)
		}
		sources = append(sources, source{d, name, text})
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	for tries := 0; len(list) < n; tries++ {
		if tries > 100*n {
			t.Fatalf("%d documents of %d", len(list), n)
		}
		s := sources[rnd.IntN(len(sources))]
		if s.language < "3" && rnd.IntN(10) > 0 {
			continue
		}
		doc, ok := vary(rnd, s.text, "$", pools[s.yaml])
		if ok && rnd.IntN(3) == 0 {
			text, _ := json.Marshal(doc)
			doc, ok = vary(rnd, text, "$", pools[s.yaml])
		}
		if !ok {
			continue
		}
		text, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		d := document{name: s.name + ", varied", raw: text, files: s.files, yaml: s.yaml}
		if d.language() == s.language {
			list = append(list, d)
		}
	}
	return list
}

// TestVariations holds the schemas to the readers on such documents.
func TestVariations(t *testing.T) {
	schemas := compiled(t, Languages(), readKeys(keysText()))
	failures := 0
	for _, d := range variedDocuments(t, *variations, *seed) {
		if problem := verdict(d, schemas[d.language()], map[string]bool{}); problem != "" {
			t.Errorf("%s: %s\n%s", d.name, problem, d.raw)
			if failures++; failures == 10 {
				return
			}
		}
	}
}

// TestEveryRuleIsNeeded takes one rule away after the other: without it a document that is refused has to pass. It
// takes minutes, and is for whoever changes keys.txt.
func TestEveryRuleIsNeeded(t *testing.T) {
	if !*rules {
		t.Skip("takes minutes; -rules runs it")
	}
	schemas := compiled(t, Languages(), readKeys(keysText()))
	refused := map[string][]any{}
	for _, d := range append(documents(t), variedDocuments(t, *variations, *seed)...) {
		v, err := d.value()
		if name := d.language(); name != "" && err == nil && schemas[name].Validate(v) != nil {
			refused[name] = append(refused[name], v)
		}
	}
	table := readKeys(keysText())
	for section, entries := range table {
		for name, e := range entries {
			for i, r := range e.rules {
				if section == "Kinds" {
					continue
				}
				e.rules = slices.Delete(slices.Clone(e.rules), i, i+1)
				if !anyPasses(t, r, table, refused) {
					t.Errorf("no document shows %s.%s %q %s", section, name, r.when, r.schema)
				}
				e.rules = slices.Insert(e.rules, i, r)
			}
		}
	}
}

// anyPasses tells whether the schemas of a table without rule r let one of the documents pass.
func anyPasses(t *testing.T, r rule, table table, refused map[string][]any) bool {
	for _, l := range Languages() {
		if l.old || !r.holds(l) {
			continue
		}
		s := compiled(t, []*Language{l}, table)[l.Name]
		for _, v := range refused[l.Name] {
			if s.Validate(v) == nil {
				return true
			}
		}
	}
	return false
}
