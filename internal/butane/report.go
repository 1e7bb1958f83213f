// SPDX-License-Identifier: Apache-2.0

package butane

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"

	"firstboot.dev/ignition/internal/butane/yaml"
	"firstboot.dev/ignition/internal/config"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
	"github.com/coreos/vcontext/tree"
)

// where is a path of the document or of a config without its "$.": keys and indices with dots between them.
type where = string

// item is the path of a list's element.
//
//go:noinline
func item(list where, i int) where { return list + "." + strconv.Itoa(i) }

// context is the form of a path in reports.
func context(at where) path.ContextPath {
	p := path.New("yaml")
	for element := range strings.SplitSeq(at, ".") {
		if i, err := strconv.Atoi(element); err == nil {
			p.Path = append(p.Path, i)
		} else {
			p.Path = append(p.Path, element)
		}
	}
	return p
}

func whereOf(p path.ContextPath) where {
	return strings.TrimPrefix(strings.TrimPrefix(p.String(), "$"), ".")
}

// entry is a report entry at a node.
func entry(kind report.Kind, message string, n *yaml.Node, at path.ContextPath) report.Entry {
	return report.Entry{Kind: kind, Message: message, Context: at, Marker: marker(n.Line, n.Column)}
}

func marker(line, column int) tree.Marker {
	return tree.Marker{StartP: &tree.Pos{Line: int64(line), Column: int64(column)}}
}

// add reports at a path of the document, at the deepest node on the way that exists.
func (t *translation) add(kind report.Kind, message string, at where) {
	n, p := t.root, context(at)
	for _, e := range p.Path {
		var next *yaml.Node
		switch e := e.(type) {
		case string:
			next = n.Get(e)
		case int:
			if n.Kind == yaml.Sequence && e < len(n.Content) {
				next = n.Content[e]
			}
		}
		if next == nil {
			break
		}
		n = next
	}
	t.report.Entries = append(t.report.Entries, entry(kind, message, n, p))
}

func (t *translation) fail(message string, at where) { t.add(report.Error, message, at) }
func (t *translation) warn(message string, at where) { t.add(report.Warn, message, at) }

// failIn reports at a path of the finished config.
func (t *translation) failIn(message string, at where) { t.fail(message, t.source(at)) }
func (t *translation) warnIn(message string, at where) { t.warn(message, t.source(at)) }

// rename says that what stands at one path of a config, and all below it, comes from a path of the document.
type rename struct{ from, to where }

// renames are the paths of a config that do not come from the same place of the document, in other letters.
type renames []rename

//go:noinline
func (r *renames) add(from, to where) { *r = append(*r, rename{from, to}) }

// apply gives the path in the document. Below what was made by another key there is nothing of the document.
func (r renames) apply(p where) where {
	best := -1
	for i := range r {
		rest, ok := strings.CutPrefix(p, r[i].from)
		if ok && (rest == "" || rest[0] == '.') && (best < 0 || len(r[i].from) > len(r[best].from)) {
			best = i
		}
	}
	if best >= 0 {
		return r[best].to
	}
	return snake(p)
}

// generated is a config made by sugar, into which the rest is merged.
type generated struct {
	config  config.Config
	renames renames
}

// source finds the path in the document for one in the finished config: through the part that knows most of it,
// the user's own if two know as much.
func (t *translation) source(at where) where {
	p := context(at)
	there, known := config.Counterpart(&t.out, &t.user, true, p)
	from := t.renames
	for i := range t.made {
		if in, k := config.Counterpart(&t.out, &t.made[i].config, false, p); k > known {
			there, known, from = in, k, t.made[i].renames
		}
	}
	return from.apply(whereOf(there))
}

// writeTranslations lists, for people who debug, what of the output comes from elsewhere than the same key.
func writeTranslations(b *strings.Builder, list renames) {
	for _, r := range list {
		b.WriteString("$." + r.from + " <- $." + r.to + "\n")
	}
}

// colors of the terminal.
const (
	red, yellow, cyan, blue = "\x1b[1;31m", "\x1b[1;33m", "\x1b[1;36m", "\x1b[1;34m"
	plain                   = "\x1b[0m"
)

// Excerpts prints a report for people: each entry with the lines of the source that it is about.
func Excerpts(r report.Report, name string, source []byte, color bool) string {
	x := excerpts{name: name, color: color}
	text := bytes.TrimPrefix(source, []byte("\ufeff"))
	x.lines = strings.Split(strings.TrimSuffix(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), "\n")
	for i, e := range r.Entries {
		if i > 0 {
			x.put("", "\n")
		}
		x.entry(e)
	}
	return x.String()
}

type excerpts struct {
	strings.Builder
	name  string
	color bool
	lines []string
	width int // of the line numbers
}

//go:noinline
func (x *excerpts) put(color, text string) {
	if x.color && color != "" {
		text = color + text + plain
	}
	x.WriteString(text)
}

// line writes a line behind the number, "" for none.
func (x *excerpts) line(number, text string) {
	x.put(blue, " "+strings.Repeat(" ", x.width-len(number))+number+" |")
	if text != "" {
		x.put("", " "+text)
	}
	x.put("", "\n")
}

func (x *excerpts) entry(e report.Entry) {
	const around = 2
	line, column := e.Marker.Start()
	at, col := int(line), int(column)-1
	if at < 1 || at > len(x.lines) || col < 0 || col > len([]rune(x.lines[at-1])) {
		x.put("", e.String()+"\n")
		return
	}
	color, kind := cyan, e.Kind.String()
	switch kind {
	case "error":
		color = red
	case "warning":
		color = yellow
	}
	if e.Context.Len() > 0 {
		kind += "[" + e.Context.String() + "]"
	}
	first, last := max(at-around, 1), min(at+around, len(x.lines))
	x.width = len(strconv.Itoa(last))
	x.put(color, kind+":")
	x.put("", "\n")
	x.put(blue, " "+strings.Repeat(" ", x.width)+"-->")
	x.put("", " "+x.name+":"+strconv.Itoa(at)+":"+strconv.Itoa(col+1)+"\n")
	x.line("", "")
	for n := first; n <= last; n++ {
		x.line(strconv.Itoa(n), strings.TrimRight(x.lines[n-1], " \t"))
		if n == at {
			indent, marks := underline(x.lines[n-1], col)
			x.put(blue, " "+strings.Repeat(" ", x.width)+" |")
			x.put("", " "+indent)
			x.put(color, marks+" "+e.Message)
			x.put("", "\n")
		}
	}
	x.line("", "")
}

// underline marks the word at a column. Tabs before it are kept, so that it stands below the word.
func underline(line string, column int) (indent, marks string) {
	runes := []rune(line)
	before := make([]rune, column)
	for i, r := range runes[:column] {
		before[i] = ' '
		if r == '\t' {
			before[i] = r
		}
	}
	end := column
	for end < len(runes) && !unicode.IsSpace(runes[end]) {
		end++
	}
	return string(before), strings.Repeat("^", max(end-column, 1))
}
