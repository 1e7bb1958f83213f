// SPDX-License-Identifier: Apache-2.0

package schema

import (
	"strings"

	"firstboot.dev/ignition/internal/butane"
	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/config/legacy"
)

// Of is the language that a document says it is written in, nil if it says none.
func Of(raw []byte) *Language {
	if v, ok := config.DocumentVersion(raw); ok {
		return Find(v.String())
	}
	if v, ok := legacy.VersionOf(raw); ok {
		return Find(v.String())
	}
	if d := butane.DialectOf(raw); d != nil {
		return Find(d.Variant() + "/" + d.Version())
	}
	return nil
}

// Nearest is the key that stands at the end of a path most likely instead of the one there, "" if none is near.
func (l *Language) Nearest(path []any) string {
	o := l.root()
	var narrow map[string]config.Version
	for i, e := range path {
		name, ok := e.(string)
		if !ok {
			continue // an index
		}
		if i == len(path)-1 {
			return nearest(name, l.names(o, narrow))
		}
		f := l.field(o, narrow, name)
		if f == nil || f.Elem() == nil {
			return ""
		}
		o, narrow = f.Elem(), f.Narrow()
	}
	return ""
}

func (l *Language) field(o *config.Shape, narrow map[string]config.Version, name string) *config.Field {
	for _, f := range l.keys(o, narrow) {
		if l.key(f.Name()) == name {
			return f
		}
	}
	return nil
}

func (l *Language) names(o *config.Shape, narrow map[string]config.Version) (list []string) {
	for _, f := range l.keys(o, narrow) {
		list = append(list, l.key(f.Name()))
	}
	return list
}

// nearest is the first of the names with the fewest letters to change, of two at most; short names must be nearer.
// Letter case does not count.
func nearest(key string, names []string) string {
	const short = 3
	best, limit := "", 2
	if len(key) <= short {
		limit = 1
	}
	for _, name := range names {
		if name == key {
			return "" // it is known, and unused for another reason
		}
		if n := distance(strings.ToLower(key), strings.ToLower(name)); n <= limit && n < len(name) {
			best, limit = name, n-1
		}
	}
	return best
}

// distance counts the bytes to insert, delete or change that make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
