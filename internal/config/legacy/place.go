// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"fmt"
	"slices"

	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// place is where in a document a value stands. The path is put together only for an entry of the report. None of
// the small functions here is inlined: they are called in some two hundred spots, and the program is part of every
// initramfs.
type place struct {
	parent *place
	name   string // of a field; "" for a list element
	index  int
}

// at is the place of a field below the root of the document.
//
//go:noinline
func at(names ...string) *place {
	p := &place{}
	for _, n := range names {
		p = p.field(n)
	}
	return p
}

//go:noinline
func (p *place) field(name string) *place { return &place{parent: p, name: name} }

//go:noinline
func (p *place) at(index int) *place { return &place{parent: p, index: index} }

func (p *place) context() path.ContextPath {
	if p.parent == nil {
		return path.New("json")
	}
	var e any = p.name
	if p.name == "" {
		e = p.index
	}
	return p.parent.context().Append(e)
}

//go:noinline
func (t *translation) fail(p *place, message string) {
	t.errors = true
	t.failed[p.key()] = true
	t.add(report.Error, p.context(), message)
}

//go:noinline
func (t *translation) warn(p *place, message string) { t.add(report.Warn, p.context(), message) }

//go:noinline
func (t *translation) failOn(p *place, err error) {
	if err != nil {
		t.fail(p, err.Error())
	}
}

func (t *translation) failf(p *place, format string, args ...any) {
	t.fail(p, fmt.Sprintf(format, args...))
}

func (t *translation) warnf(p *place, format string, args ...any) {
	t.warn(p, fmt.Sprintf(format, args...))
}

//go:noinline
func (t *translation) add(kind report.EntryKind, p path.ContextPath, message string) {
	t.report.Entries = append(t.report.Entries, report.Entry{Kind: kind, Message: message, Context: p})
}

// key is a path as the origins have it.
//
//go:noinline
func key(elements []any) string { return path.New("json", elements...).String() }

//go:noinline
func (p *place) key() string { return key(p.context().Path) }

// comes notes that what stands at one place of the result was written at another.
//
//go:noinline
func (t *translation) comes(to, from *place) {
	if s := to.key(); s != from.key() {
		t.origins[s] = from.context()
	}
}

// source leads a path of the result back to the document.
func (t *translation) source(p path.ContextPath) path.ContextPath {
	for n := len(p.Path); n > 0; n-- {
		if from, ok := t.origins[key(p.Path[:n])]; ok {
			return path.New("json", append(slices.Clip(from.Path), p.Path[n:]...)...)
		}
	}
	return p
}

// filled, ifTrue: what says nothing becomes absent.
//
//go:noinline
func filled(s *string) *string {
	if s == nil || *s == "" {
		return nil
	}
	return s
}

//go:noinline
func ifTrue(b *bool) *bool {
	if b == nil || !*b {
		return nil
	}
	return b
}

func isTrue(b *bool) bool { return ifTrue(b) != nil }

//go:noinline
func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
