// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"bytes"
	"fmt"
	"math"
)

const (
	maxDepth = 1000
	// maxAliased bounds what aliases may add to a document, in nodes; 64 bytes of text count as one.
	maxAliased = 1 << 20
	textUnit   = 64
)

// parser reads by recursive descent, guided by columns. The first error is kept, and sends the parser to the end
// of the text, where every loop ends.
type parser struct {
	places
	pos      int
	err      *Error
	anchors  map[string]*Node
	aliased  int
	depth    int
	repeated []Repeated
}

// Parse reads the first document of a text. An empty document is null.
func Parse(src []byte) (*Document, error) {
	text, at, complaint := utf8Text(src)
	p := &parser{places: places{src: text}, anchors: map[string]*Node{}}
	if complaint != "" {
		p.fail(at, "%s", complaint)
		return nil, p.err
	}
	inline := p.header()
	d := &Document{Root: p.block(-1, inline, false)}
	if p.next(); !p.atEnd() {
		p.fail(p.pos, "the document should end here; is this line indented too little, or are quotes missing?")
	}
	if p.err != nil {
		return nil, p.err
	}
	d.Repeated = p.repeated
	for p.atMarker() {
		p.pos += len("---")
		p.next()
	}
	if p.pos < len(p.src) {
		d.NextLine, d.NextColumn = p.at(p.pos)
	}
	return d, nil
}

// header passes directives and the marker of the document's start. It tells whether content may follow on its line.
func (p *parser) header() bool {
	for p.next(); p.peek() == '%' && p.firstOnLine(); p.next() {
		p.endLine()
	}
	if p.atMarker() && p.peek() == '-' {
		p.pos += len("---")
		return true
	}
	return false
}

func (p *parser) fail(off int, format string, args ...any) {
	if p.err == nil {
		line, column := p.at(off)
		p.err = &Error{line, column, fmt.Sprintf(format, args...)}
	}
	p.pos = len(p.src)
}

func (p *parser) node(kind Kind, off int) *Node {
	line, column := p.at(off)
	return &Node{Kind: kind, Line: line, Column: column, weight: 1}
}

// null is the node where a value would begin but does not.
func (p *parser) null(off int) *Node {
	n := p.node(Scalar, off)
	n.Plain = true
	return n
}

// peekAt gives the byte at an offset from here, 0 behind the end.
func (p *parser) peekAt(n int) byte {
	if p.pos+n < len(p.src) {
		return p.src[p.pos+n]
	}
	return 0
}

func (p *parser) peek() byte { return p.peekAt(0) }

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == 0 }

func isFlowIndicator(c byte) bool { return c == ',' || c == '[' || c == ']' || c == '{' || c == '}' }

// indicator tells whether a character that is also an indicator stands here as one: alone.
func (p *parser) indicator(c byte) bool {
	return p.peek() == c && isBlank(p.peekAt(1)) && p.pos < len(p.src)
}

func (p *parser) lineStart() int { return bytes.LastIndexByte(p.src[:p.pos], '\n') + 1 }

// column is the indentation of what stands here, from 0.
func (p *parser) column() int { return p.pos - p.lineStart() }

func (p *parser) firstOnLine() bool {
	return len(bytes.TrimLeft(p.src[p.lineStart():p.pos], " ")) == 0
}

func (p *parser) endLine() {
	if n := bytes.IndexByte(p.src[p.pos:], '\n'); n >= 0 {
		p.pos += n
	} else {
		p.pos = len(p.src)
	}
}

// next moves to what comes next, over blanks, comments and line breaks. It tells whether there was a break.
func (p *parser) next() (fresh bool) {
	for {
		tab := p.blanks()
		switch {
		case p.peek() == '\n':
			p.pos++
			fresh = true
			continue
		case p.peek() == '#': // between values a comment needs no blank before it
			p.endLine()
			continue
		}
		if tab >= 0 && p.pos < len(p.src) && len(bytes.TrimLeft(p.src[p.lineStart():p.pos], " \t")) == 0 {
			p.fail(tab, "found a tab where the line is indented; YAML is indented with spaces")
		}
		return fresh
	}
}

// blanks passes spaces and tabs and returns the place of the first tab, or -1.
func (p *parser) blanks() (tab int) {
	tab = -1
	for ; p.peek() == ' ' || p.peek() == '\t'; p.pos++ {
		if tab < 0 && p.peek() == '\t' {
			tab = p.pos
		}
	}
	return tab
}

// atMarker tells whether a line "---" or "..." stands here.
func (p *parser) atMarker() bool {
	rest := p.src[p.pos:]
	return (bytes.HasPrefix(rest, []byte("---")) || bytes.HasPrefix(rest, []byte("..."))) && isBlank(p.peekAt(3)) && p.column() == 0
}

func (p *parser) atEnd() bool { return p.pos >= len(p.src) || p.atMarker() }

func (p *parser) enter() bool {
	p.depth++
	if p.depth > maxDepth {
		p.fail(p.pos, "nested deeper than %d levels", maxDepth)
		return false
	}
	return true
}

// block reads the node that follows. It stands further right than indent, the column of the collection around it.
// inline: it follows a key on the key's line, where no block collection may start. A list that is the value
// of a key may stand in the key's column.
func (p *parser) block(indent int, inline, listInColumn bool) *Node {
	defer func() { p.depth-- }()
	after := p.pos
	if !p.enter() {
		return p.null(after)
	}
	if p.next() {
		inline = false
	}
	if p.atEnd() {
		return p.null(after)
	}
	column := p.column()
	if isItem := p.indicator('-'); !inline && column <= indent && !(listInColumn && isItem && column == indent) {
		return p.null(after)
	}
	var own properties
	if c := p.peek(); c == '&' || c == '!' {
		own = p.properties()
		if breaks := p.next(); breaks || p.atEnd() {
			n := p.block(indent, false, listInColumn)
			own.apply(p, n)
			return n
		}
	}
	return p.content(indent, column, inline, own)
}

func (p *parser) content(indent, column int, inline bool, own properties) *Node {
	start := p.pos
	var n *Node
	switch c := p.peek(); {
	case p.indicator('-'):
		if inline || own.given {
			p.fail(p.pos, "a list may not start on this line; put its items on lines of their own")
			return p.null(start)
		}
		return p.sequence(column)
	case p.indicator('?'):
		if inline || own.given {
			p.fail(p.pos, "a mapping may not start on this line")
			return p.null(start)
		}
		return p.mapping(column, nil)
	case c == '|' || c == '>':
		n = p.blockScalar(indent)
		own.apply(p, n)
		return n
	default:
		n = p.flowNode(indent, false)
	}
	stop := p.pos
	if p.blanks(); p.peek() != ':' || !isBlank(p.peekAt(1)) {
		p.pos = stop
		own.apply(p, n)
		return n
	}
	switch {
	case bytes.IndexByte(p.src[start:stop], '\n') >= 0:
		p.fail(p.pos, "found a \": \" that is no key's; a key and its colon stand on one line, and a text with \": \" in it needs quotes")
	case inline:
		p.fail(p.pos, "a mapping may not start on this line; a text with \": \" in it needs quotes")
	}
	own.apply(p, n)
	return p.mapping(column, n)
}

// mapping reads a block mapping whose keys stand in one column. With a first key the parser is at its colon.
func (p *parser) mapping(column int, key *Node) *Node {
	n := p.node(Mapping, p.pos)
	if key != nil {
		n.Line, n.Column = key.Line, key.Column
	}
	for p.err == nil {
		explicit := key == nil && p.indicator('?')
		if key == nil {
			key = p.key(column)
		}
		value := p.null(p.pos)
		if p.indicator(':') && p.err == nil {
			p.pos++
			value = p.block(column, !explicit, true)
		}
		n.Content = append(n.Content, key, value)
		key = nil
		p.next()
		if p.atEnd() {
			break
		}
		at := p.column()
		if first := p.firstOnLine(); first && at < column {
			break
		} else if !first {
			p.fail(p.pos, "unexpected text after a value; it may need quotes around all of it")
		} else if at > column {
			p.fail(p.pos, "this line is indented more than the keys before it (%d columns instead of %d)", at, column)
		}
	}
	p.finish(n)
	return n
}

// key reads a key up to its colon, which after a "? " need not be there.
func (p *parser) key(column int) *Node {
	if p.indicator('?') {
		p.pos++
		key := p.block(column, false, false)
		p.next()
		return key
	}
	if p.indicator('-') {
		p.fail(p.pos, "expected a key, but found an item of a list; is it indented too little?")
		return p.null(p.pos)
	}
	var own properties
	if c := p.peek(); c == '&' || c == '!' {
		own = p.properties()
		p.blanks()
	}
	start := p.pos
	n := p.flowNode(math.MaxInt, false)
	own.apply(p, n)
	stop := p.pos
	if p.blanks(); p.err == nil && !p.indicator(':') || bytes.IndexByte(p.src[start:stop], '\n') >= 0 {
		p.fail(start, "expected a key with a colon and a space behind it")
	}
	return n
}

func (p *parser) sequence(column int) *Node {
	n := p.node(Sequence, p.pos)
	for p.err == nil {
		p.pos++ // the dash
		n.Content = append(n.Content, p.block(column, false, false))
		p.next()
		if p.atEnd() {
			break
		}
		at, first := p.column(), p.firstOnLine()
		if first && (at < column || at == column && !p.indicator('-')) {
			break
		}
		switch {
		case !first:
			p.fail(p.pos, "unexpected text after an item of a list; it may need quotes around all of it")
		case at > column:
			p.fail(p.pos, "this line is indented more than the items before it (%d columns instead of %d)", at, column)
		}
	}
	p.finish(n)
	return n
}

// finish checks and weighs a collection when all of it is there.
func (p *parser) finish(n *Node) {
	for _, c := range n.Content {
		n.weight += c.weight
	}
	if n.Kind != Mapping {
		return
	}
	seen := make(map[string]*Node, len(n.Content)/2)
	var merged []*Node
	kept := n.Content[:0]
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != Scalar {
			p.failAt(key, "a key must be a scalar, not a list or a mapping")
			return
		}
		if key.Plain && key.Value == "<<" && (key.Tag == "" || key.Tag == "!!merge") {
			merged = p.mergeSources(merged, value)
			continue
		}
		if first := seen[key.Value]; first != nil {
			p.repeated = append(p.repeated, Repeated{key, first, n})
		} else {
			seen[key.Value] = key
		}
		kept = append(kept, key, value)
	}
	for _, from := range merged {
		for i := 0; i < len(from.Content); i += 2 {
			if key := from.Content[i]; seen[key.Value] == nil {
				seen[key.Value] = key
				kept = append(kept, key, from.Content[i+1])
			}
		}
	}
	n.Content = kept
}

// mergeSources lists the mappings of a merge key.
func (p *parser) mergeSources(list []*Node, value *Node) []*Node {
	from := []*Node{value}
	if value.Kind == Sequence {
		from = value.Content
	}
	for _, m := range from {
		if m.Kind != Mapping {
			p.failAt(value, "the value of the merge key << must be a mapping or a list of mappings")
			return list
		}
	}
	return append(list, from...)
}

func (p *parser) failAt(n *Node, message string) {
	p.fail(p.pos, "%s", message)
	p.err.Line, p.err.Column = n.Line, n.Column
}

// properties are an anchor and a tag before a node.
type properties struct {
	given        bool
	anchor, tag  string
	line, column int
}

func (p *parser) properties() (own properties) {
	own.given = true
	own.line, own.column = p.at(p.pos)
	for p.peek() == '&' || p.peek() == '!' {
		start := p.pos
		if p.peek() == '!' && p.peekAt(1) == '<' {
			for !isBlank(p.peek()) && p.peek() != '>' {
				p.pos++
			}
		}
		for !isBlank(p.peek()) && !isFlowIndicator(p.peek()) {
			p.pos++
		}
		text := string(p.src[start:p.pos])
		if text[0] == '!' {
			own.tag = shortTag(text)
		} else {
			own.anchor = text[1:]
			if own.anchor == "" {
				p.fail(start, "an anchor needs a name")
			}
		}
		if p.blanks(); p.err != nil {
			break
		}
	}
	return own
}

func shortTag(s string) string {
	const long = "tag:yaml.org,2002:"
	if rest, ok := bytes.CutPrefix([]byte(s), []byte("!<"+long)); ok {
		return "!!" + string(bytes.TrimSuffix(rest, []byte(">")))
	}
	return s
}

func (own properties) apply(p *parser, n *Node) {
	if !own.given {
		return
	}
	n.Line, n.Column = own.line, own.column
	if own.tag != "" {
		n.Tag = own.tag
	}
	if own.anchor != "" {
		p.anchors[own.anchor] = n
	}
}

// alias gives what an anchor stands for. An anchor exists only when its node is complete, so no node can
// contain itself.
func (p *parser) alias() *Node {
	start := p.pos
	p.pos++
	for !isBlank(p.peek()) && !isFlowIndicator(p.peek()) && p.peek() != ':' {
		p.pos++
	}
	name := string(p.src[start+1 : p.pos])
	target := p.anchors[name]
	if target == nil {
		p.fail(start, "unknown anchor %q: an anchor must stand, complete, before its alias", name)
		return p.null(start)
	}
	p.aliased += target.weight
	if p.aliased > maxAliased {
		p.fail(start, "the aliases of this document stand for too much (more than %d values)", maxAliased)
		return p.null(start)
	}
	n := p.node(target.Kind, start)
	line, column := n.Line, n.Column
	*n = *target
	n.Line, n.Column = line, column
	return n
}
