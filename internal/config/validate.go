// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// place is where in the document a value stands. Places are small and link to their parents; the path is put
// together only for an entry of the report, which most values never cause.
type place struct {
	parent *place
	name   string // of a field; "" for a list element
	index  int
}

func (p *place) field(name string) *place { return &place{parent: p, name: name} }
func (p *place) at(index int) *place      { return &place{parent: p, index: index} }

func (p *place) context() path.ContextPath {
	n := 0
	for q := p; q != nil && q.parent != nil; q = q.parent {
		n++
	}
	elements := make([]any, n)
	for q := p; n > 0; q = q.parent {
		n--
		if elements[n] = q.name; q.name == "" {
			elements[n] = q.index
		}
	}
	return path.New("json", elements...)
}

// rules carries what every rule check needs.
type rules struct {
	v      Version
	has    func(path ...any) bool
	report report.Report
}

// validateRules runs the rule checks of version v, not the ones for duplicates. It visits depth first, an
// object's own checks before its fields. has tells whether a path was present in the document; it is nil for
// a merged config, which is no document.
func validateRules(c *Config, v Version, has func(path ...any) bool) report.Report {
	k := &rules{v: v, has: has}
	root := &place{}
	k.checkUnitFileConflicts(root, c)
	k.checkIgnition(root.field("ignition"), &c.Ignition)
	k.checkPasswd(root.field("passwd"), &c.Passwd)
	k.checkStorage(root.field("storage"), &c.Storage)
	k.checkSystemd(root.field("systemd"), &c.Systemd)
	return k.report
}

func (k *rules) add(p *place, kind report.Kind, message string) {
	k.report.Entries = append(k.report.Entries, report.Entry{Kind: kind, Message: message, Context: p.context()})
}

func (k *rules) fail(p *place, message string) { k.add(p, report.Error, message) }
func (k *rules) warn(p *place, message string) { k.add(p, report.Warn, message) }

// advise warns of what is no matter of the spec but of this program's experience. One warning is enough: a merged
// config is made of documents that had it.
func (k *rules) advise(p *place, message string) {
	if k.has != nil {
		k.warn(p, message)
	}
}

func (k *rules) failOn(p *place, err error) {
	if err != nil {
		k.fail(p, err.Error())
	}
}

// strict tells whether rules apply that are newer than the newest stable version. A merged config is not
// judged by them: its parts came from documents of any version, each checked by its own rules.
func (k *rules) strict() bool { return k.has != nil && !k.v.Before(V3_7) }

// text and isTrue read optional fields; absent counts as the zero value.
func text(s *string) string { return valueOrZero(s) }
func isTrue(b *bool) bool   { return valueOrZero(b) }

func valueOrZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

var (
	errPathEmpty     = errors.New("path not specified")
	errPathRelative  = errors.New("path not absolute")
	errPathUncleaned = errors.New("path is not fully simplified")
	errPathControl   = errors.New("path contains a control character")
	errNameControl   = errors.New("name contains a control character")
)

// pathError checks an absolute path. Symbolic links are not consulted.
func pathError(s string) error {
	switch {
	case s == "":
		return errPathEmpty
	case s[0] != '/':
		return errPathRelative
	case !isSimplified(s):
		return errPathUncleaned
	case hasControl(s):
		return errPathControl
	}
	return nil
}

// isSimplified tells whether an absolute path is its own lexically cleaned form.
func isSimplified(s string) bool {
	if s == "/" {
		return true
	}
	for s != "" {
		s = s[1:] // the slash
		name := s
		if i := strings.IndexByte(s, '/'); i >= 0 {
			name = s[:i]
		}
		if name == "" || name == "." || name == ".." {
			return false
		}
		s = s[len(name):]
	}
	return true
}

// checkPath checks a mandatory path. Control characters are legal in the names
// of a filesystem, but nobody means them in a config, and a newline would forge
// lines of the log.
func (k *rules) checkPath(p *place, s string) { k.failOn(p, pathError(s)) }

func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < 0x20 || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// checkNotNegative refuses a negative number in new documents; older versions let it pass.
func (k *rules) checkNotNegative(p *place, field string, n int) {
	if n < 0 && k.strict() {
		k.fail(p.field(field), field+" must not be negative, but is "+strconv.Itoa(n))
	}
}

func (k *rules) checkPasswd(p *place, c *Passwd) {
	list := p.field("groups")
	for i := range c.Groups {
		k.checkAccountName(list.at(i).field("name"), "group", c.Groups[i].Name)
	}
	list = p.field("users")
	for i := range c.Users {
		k.checkAccountName(list.at(i).field("name"), "user", c.Users[i].Name)
	}
}

// checkAccountName warns of names that the account stage refuses: a leading dash would make an option of them.
func (k *rules) checkAccountName(p *place, kind, name string) {
	k.warnEmptyName(p, kind, name)
	if strings.HasPrefix(name, "-") {
		k.advise(p, fmt.Sprintf("%s name %q begins with a dash and will be refused", kind, name))
	}
}

func (k *rules) warnEmptyName(p *place, kind, name string) {
	if name == "" {
		k.advise(p, kind+" name is empty")
	}
}
