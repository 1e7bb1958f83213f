// SPDX-License-Identifier: Apache-2.0

package yaml

// flowNode reads a scalar that is no block scalar, an alias, or a collection in brackets. Inside of brackets
// indentation does not count.
func (p *parser) flowNode(indent int, inBrackets bool) *Node {
	switch c := p.peek(); c {
	case '"':
		return p.doubleQuoted()
	case '\'':
		return p.singleQuoted()
	case '*':
		return p.alias()
	case '[', '{':
		return p.brackets()
	case '@', '`', '%', '|', '>', '#', ',', ']', '}':
		p.fail(p.pos, "a text that starts with %q needs quotes", rune(c))
		return p.null(p.pos)
	}
	return p.plain(indent, inBrackets)
}

// brackets reads [ ] and { }.
func (p *parser) brackets() *Node {
	defer func() { p.depth-- }()
	start, kind, closing := p.pos, Sequence, byte(']')
	if p.peek() == '{' {
		kind, closing = Mapping, '}'
	}
	n := p.node(kind, start)
	if !p.enter() {
		return n
	}
	for p.pos++; ; {
		if p.nextInBrackets(); p.pos >= len(p.src) || p.atMarker() {
			p.fail(start, "the bracket that opens here is never closed")
			return n
		}
		if p.peek() == closing {
			p.pos++
			break
		}
		if p.peek() == ',' {
			p.fail(p.pos, "expected a value before the comma")
		}
		p.member(n, kind)
		if p.nextInBrackets(); p.peek() == ',' {
			p.pos++
		} else if p.peek() != closing && p.pos < len(p.src) {
			p.fail(p.pos, "expected a comma or %q", rune(closing))
		}
	}
	p.finish(n)
	return n
}

// member reads one item, or a key and its value; in a list this pair is a mapping of its own.
func (p *parser) member(n *Node, kind Kind) {
	start, explicit := p.pos, p.indicator('?')
	if explicit {
		p.pos++
		p.nextInBrackets()
	}
	quoted := p.peek() == '"' || p.peek() == '\'' || p.peek() == '[' || p.peek() == '{'
	key := p.item()
	if p.nextInBrackets(); p.err != nil {
		return
	}
	hasValue := p.peek() == ':' && (quoted || isBlank(p.peekAt(1)) || isFlowIndicator(p.peekAt(1)))
	if kind == Sequence && !hasValue && !explicit {
		n.Content = append(n.Content, key)
		return
	}
	value := p.null(p.pos)
	if hasValue {
		p.pos++
		p.nextInBrackets()
		value = p.item()
	}
	if kind == Mapping {
		n.Content = append(n.Content, key, value)
		return
	}
	pair := p.node(Mapping, start)
	pair.Content = []*Node{key, value}
	p.finish(pair)
	n.Content = append(n.Content, pair)
}

func (p *parser) item() *Node {
	var own properties
	if c := p.peek(); c == '&' || c == '!' {
		own = p.properties()
		p.nextInBrackets()
	}
	var n *Node
	switch c := p.peek(); {
	case c == ',' || c == ']' || c == '}' || c == ':' && (isBlank(p.peekAt(1)) || isFlowIndicator(p.peekAt(1))):
		n = p.null(p.pos)
	default:
		n = p.flowNode(-1, true)
	}
	own.apply(p, n)
	return n
}

// nextInBrackets is next where tabs are as good as spaces.
func (p *parser) nextInBrackets() {
	for {
		p.blanks()
		switch {
		case p.peek() == '\n':
			p.pos++
		case p.peek() == '#':
			p.endLine()
		default:
			return
		}
	}
}
