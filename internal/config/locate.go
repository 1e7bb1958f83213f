// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"sort"
	"strconv"

	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
	"github.com/coreos/vcontext/tree"
)

// locator finds the values at many paths in one walk. Positions are wanted only when there is something to
// report, so reading a good document does not pay for them.
type locator struct {
	children map[string]*locator
	off      int // index of the value, -1 while not found
}

func newLocator(paths []path.ContextPath) *locator {
	root := &locator{off: -1}
	for _, p := range paths {
		l := root
		for _, e := range p.Path {
			name := elementName(e)
			if l.children[name] == nil {
				if l.children == nil {
					l.children = map[string]*locator{}
				}
				l.children[name] = &locator{off: -1}
			}
			l = l.children[name]
		}
	}
	return root
}

func elementName(e any) string {
	switch e := e.(type) {
	case int:
		return strconv.Itoa(e)
	case string:
		return e
	case tree.Key:
		return string(e)
	}
	return ""
}

func (l *locator) walk(raw []byte) { l.visit(raw, skipSpace(raw, 0)) }

func (l *locator) visit(raw []byte, i int) int {
	l.off = i
	if len(l.children) == 0 {
		return skipValue(raw, i)
	}
	end := i
	switch raw[i] {
	case '{':
		end, _ = eachMember(raw, i, func(m member) (int, error) {
			return l.child(raw, unquote(raw[m.key:m.keyEnd]), m.value), nil
		})
	case '[':
		end, _ = eachElement(raw, i, func(n, at int) (int, error) {
			return l.child(raw, strconv.Itoa(n), at), nil
		})
	default:
		end = skipValue(raw, i)
	}
	return end
}

func (l *locator) child(raw []byte, name string, i int) int {
	if c := l.children[name]; c != nil {
		return c.visit(raw, i)
	}
	return skipValue(raw, i)
}

// offset gives the place of the value at p, or of the deepest value on the way to it that exists.
func (l *locator) offset(p path.ContextPath) (off int, exact bool) {
	off = l.off
	for _, e := range p.Path {
		l = l.children[elementName(e)]
		if l == nil || l.off < 0 {
			return off, false
		}
		off = l.off
	}
	return off, true
}

// placeEntries sets the positions of entries that have a path.
func placeEntries(raw []byte, entries []report.Entry) {
	if len(entries) == 0 {
		return
	}
	paths := make([]path.ContextPath, len(entries))
	for i := range entries {
		paths[i] = entries[i].Context
	}
	l := newLocator(paths)
	l.walk(raw)
	for i := range entries {
		off, _ := l.offset(entries[i].Context)
		entries[i].Marker = tree.MarkerFromIndices(int64(off), -1)
	}
	placeOffsets(raw, entries)
}

// byIndex is for sort.Sort, which, unlike slices.SortFunc, is not compiled anew for each type.
type byIndex []*tree.Pos

func (l byIndex) Len() int           { return len(l) }
func (l byIndex) Less(i, j int) bool { return l[i].Index < l[j].Index }
func (l byIndex) Swap(i, j int)      { l[i], l[j] = l[j], l[i] }

// placeOffsets turns the byte offsets of entries into lines and columns, in one walk.
func placeOffsets(raw []byte, entries []report.Entry) {
	places := make([]*tree.Pos, 0, len(entries))
	for i := range entries {
		if p := entries[i].Marker.StartP; p != nil {
			places = append(places, p)
		}
	}
	sort.Sort(byIndex(places))
	line, lineStart, at := int64(1), 0, 0
	for _, p := range places {
		part := raw[at:p.Index]
		line += int64(bytes.Count(part, []byte("\n")))
		if nl := bytes.LastIndexByte(part, '\n'); nl >= 0 {
			lineStart = at + nl + 1
		}
		at = int(p.Index)
		p.Line, p.Column = line, int64(at-lineStart)+1
	}
}

// Locate gives the position of the value at a path, or of its deepest ancestor that exists; ok tells which.
// A document that is not JSON has no positions: line and column are 0.
func Locate(raw []byte, p path.ContextPath) (line, col int, ok bool) {
	if checkSyntax(raw) != nil {
		return 0, 0, false
	}
	l := newLocator([]path.ContextPath{p})
	l.walk(raw)
	off, ok := l.offset(p)
	e := []report.Entry{{Marker: tree.MarkerFromIndices(int64(off), -1)}}
	placeOffsets(raw, e)
	return int(e[0].Marker.StartP.Line), int(e[0].Marker.StartP.Column), ok
}
