// SPDX-License-Identifier: Apache-2.0

package config

import (
	"flag"
	"os"
	"strconv"
	"strings"
	"testing"
)

var thaw = flag.Bool("thaw", false, "let -update write the field lists of stable versions, too")

// fieldPaths lists every field that version v has, with its JSON type, in traversal order.
func fieldPaths(v Version) string {
	var b strings.Builder
	var walk func(o *object, at string, narrow map[string]Version)
	walk = func(o *object, at string, narrow map[string]Version) {
		for i := range o.fields {
			f := &o.fields[i]
			if !f.known(v, narrow) {
				continue
			}
			path := at + f.name
			if f.list {
				path += "[]"
			}
			b.WriteString(path + " " + jsonType(f) + "\n")
			if f.elem != nil {
				walk(f.elem, path+".", f.narrow)
			}
		}
	}
	walk(describeConfig(), "", nil)
	return b.String()
}

// jsonType is the type of a field, or of the elements of its list.
func jsonType(f *field) string {
	if f.elem != nil {
		return "object"
	}
	t := strings.TrimLeft(f.typ.String(), "*[]")
	return map[string]string{"string": "string", "int": "integer", "bool": "boolean"}[t]
}

// TestFields keeps the fields of each version as they are. A stable version's list never changes: a field that
// has to be added to it by -update lacks its since tag.
func TestFields(t *testing.T) {
	for _, v := range Versions {
		t.Run(v.String(), func(t *testing.T) {
			name := "testdata/fields/3." + strconv.FormatInt(v.Minor, 10) + ".txt"
			raw, err := os.ReadFile(name)
			if err != nil && !*update {
				t.Fatal(err)
			}
			got, want := fieldPaths(v), string(raw)
			switch {
			case got == want:
			case *update && (v.Pre != "" || *thaw):
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			case *update:
				t.Errorf("the fields of %s are frozen; -thaw writes them all the same:\n%s", v, differences(want, got))
			default:
				t.Errorf("the fields changed:\n%s", differences(want, got))
			}
		})
	}
}

// differences names the lines that only one of two texts has.
func differences(want, got string) string {
	var b strings.Builder
	for line := range strings.Lines(want) {
		if !strings.Contains("\n"+got, "\n"+line) {
			b.WriteString("- " + line)
		}
	}
	for line := range strings.Lines(got) {
		if !strings.Contains("\n"+want, "\n"+line) {
			b.WriteString("+ " + line)
		}
	}
	if b.Len() == 0 {
		return "only the order"
	}
	return b.String()
}

// TestFieldsOnlyGrow: nothing was ever removed.
func TestFieldsOnlyGrow(t *testing.T) {
	for i, v := range Versions[1:] {
		if d := differences(fieldPaths(Versions[i]), fieldPaths(v)); strings.HasPrefix(d, "- ") || strings.Contains(d, "\n- ") {
			t.Errorf("%s has less than %s:\n%s", v, Versions[i], d)
		}
	}
}
