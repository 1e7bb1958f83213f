// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/resource"
	"github.com/coreos/vcontext/path"
)

// DiffOptions is what the comparison of two configs depends on.
type DiffOptions struct {
	Options
	Names [2]string // of the documents, in messages
	Raw   [2][]byte
}

// meaning is a config in the form in which it is compared.
type meaning struct {
	desk
	list   []*meant
	by     map[string]*meant
	orders map[string]string // of lists whose order has a meaning: the keys of their entries
	bodies map[string]string // what is in data: URLs, by what stands for them as the source
	closed map[string]bool   // indices of files that not everybody may read on the machine
}

// meant is a value with what is shown of it.
type meant struct {
	config.Leaf
	shown, name string
	body        *string // of contents
	closed      bool
}

// Diff compares configs by what they mean and gives a line for each difference. References that need the network
// are compared as references.
func Diff(ctx context.Context, o *DiffOptions) (lines []string, err error) {
	var both [2]meaning
	for i := range both {
		if err := both[i].read(ctx, o, i); err != nil {
			return nil, err
		}
	}
	a, b := &both[0], &both[1]
	say := func(sign, name, what string) { lines = append(lines, sign+name+": "+what) }
	for _, was := range a.list {
		if is := b.by[was.Name]; is == nil {
			say("- ", was.name, was.shown)
		} else if was.String() != is.String() {
			say("~ ", was.name, change(was, is))
		}
	}
	for _, is := range b.list {
		if a.by[is.Name] == nil {
			say("+ ", is.name, is.shown)
		}
	}
	for _, is := range b.list {
		list, _ := cutKey(is.name)
		if is.Ordered && a.orders[list] != b.orders[list] && sorted(a.orders[list]) == sorted(b.orders[list]) {
			a.orders[list] = b.orders[list] // said once
			say("~ ", list, "the order of entries")
		}
	}
	return lines, nil
}

// sorted sorts the keys of a list.
func sorted(keys string) string {
	list := strings.Split(keys, "[")
	sort.Strings(list)
	return strings.Join(list, "[")
}

// cutKey splits a name before the key of its last entry.
func cutKey(name string) (list, key string) {
	i := max(strings.LastIndexByte(name, '['), 0)
	key, _, _ = strings.Cut(name[i:], "]")
	return name[:i], key
}

func (m *meaning) read(ctx context.Context, o *DiffOptions, i int) error {
	if err := m.whole(ctx, &o.Options, o.Names[i], o.Raw[i], true); err != nil {
		return err
	}
	replaced := false
	for j := range m.faults {
		replaced = replaced || m.faults[j].top == "$.ignition.config.replace"
	}
	refs := &m.config.Ignition.Config
	if *refs = m.remote(refs); replaced {
		refs.Replace = m.givers[0].doc.Config.Ignition.Config.Replace
	}
	m.open(ctx)
	return m.index()
}

// remote drops the references that were followed.
func (m *meaning) remote(s *config.Sources) (left config.Sources) {
	for _, r := range s.Merge {
		if !strings.HasPrefix(sourceOf(r), "data:") {
			left.Merge = append(left.Merge, r)
		}
	}
	return left
}

// open puts what is in data: URLs aside, so that it is the same in whichever form it is written.
func (m *meaning) open(ctx context.Context) {
	m.bodies = map[string]string{}
	_ = config.EachResource(&m.config, func(_ path.ContextPath, r *config.Resource) error {
		if r.Compression != nil && *r.Compression == "" {
			r.Compression = nil
		}
		req, err := resource.RequestFor(*r)
		if err != nil || !strings.HasPrefix(req.URL, "data:") {
			return nil
		}
		if body, _, err := m.fetcher.Bytes(ctx, oplog.Deferred(), req); err == nil { // else it stays as it is
			source := fmt.Sprintf("data:%x", sha256.Sum256(body))
			m.bodies[source] = string(body)
			*r = config.Resource{Source: &source, HTTPHeaders: r.HTTPHeaders}
		}
		return nil
	})
	m.closed = map[string]bool{}
	for i := range m.config.Storage.Files {
		f := &m.config.Storage.Files[i]
		if f.Mode == nil {
			continue
		}
		const others = 0o4
		m.closed[strconv.Itoa(i)] = *f.Mode&others == 0
		if *f.Mode == 0o644 && f.Contents.Source != nil {
			f.Mode = nil
		}
	}
}

// index lists the values that are not defaults.
func (m *meaning) index() error {
	shown, err := config.Redacted(m.config)
	if err != nil {
		return err
	}
	m.by, m.orders = map[string]*meant{}, map[string]string{}
	redacted := config.Leaves(&shown, nil)
	for i, l := range config.Leaves(&m.config, nil) {
		if isDefault(&l) || l.Path == "$.ignition.version" {
			continue
		}
		v := &meant{Leaf: l, shown: quote(&redacted[i]), name: redacted[i].Name}
		if body, ok := m.bodies[l.String()]; ok {
			v.setBody(body)
			v.name = strings.TrimSuffix(v.name, ".source")
		} else if strings.HasSuffix(l.Path, ".contents") {
			v.setBody(l.String())
		}
		v.closed = strings.HasPrefix(l.Path, "$.storage.luks.")
		if rest, ok := strings.CutPrefix(l.Path, "$.storage.files."); ok {
			file, _, _ := strings.Cut(rest, ".")
			v.closed = m.closed[file]
		}
		if list, key := cutKey(v.name); l.Ordered && !strings.HasSuffix(m.orders[list], key) {
			m.orders[list] += key
		}
		m.list = append(m.list, v)
		m.by[l.Name] = v
	}
	return nil
}

func (v *meant) setBody(s string) { v.body, v.shown = &s, strconv.Itoa(len(s))+" bytes" }

// isDefault tells whether a value says what is so without it.
func isDefault(l *config.Leaf) bool {
	switch key := l.Path[strings.LastIndexByte(l.Path, '.')+1:]; key {
	case "enabled", "mask": // of units: false is not the same as none
		return strings.HasSuffix(l.Path, "cex.enabled") && l.String() == "false"
	case "shouldExist":
		return l.String() == "true"
	case "httpTotal":
		return l.String() == "0"
	case "httpResponseHeaders":
		return l.String() == "10"
	}
	return !l.IsText() && l.String() == "false"
}

// change describes two values that differ, and does not show secrets.
func change(was, is *meant) string {
	if was.shown != is.shown && (was.body == nil || is.body == nil) {
		return was.shown + " -> " + is.shown
	}
	if was.body == nil {
		return "differs"
	}
	text := was.shown + " -> " + is.shown
	a, b := strings.Split(*was.body, "\n"), strings.Split(*is.body, "\n")
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	text += ", different from line " + strconv.Itoa(n+1)
	if was.closed || is.closed || n == len(a) || n == len(b) || !showable(a[:n+1]) || !showable(b[:n+1]) {
		return text
	}
	return text + ": " + strconv.Quote(a[n]) + " -> " + strconv.Quote(b[n])
}

// showable tells whether the last of some lines is short text and does not look as if it held a secret. What stands
// in PEM blocks does.
func showable(lines []string) bool {
	const longest = 100
	last := lines[len(lines)-1]
	for _, line := range lines {
		if strings.HasPrefix(line, "-----BEGIN ") {
			return false
		}
	}
	return len(last) <= longest && utf8.ValidString(last) && !config.HasSecretWord(last)
}
