// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	library "firstboot.dev/ignition/third_party/yaml"
)

const (
	maxDepth = 1000
	// maxAliased bounds what aliases may add to a document, in nodes; 64 bytes of text count as one.
	maxAliased = 1 << 20
	textUnit   = 64
)

// Parse reads the first document of a text. An empty document is null.
func Parse(src []byte) (*Document, error) {
	stream := library.NewDecoder(bytes.NewReader(src))
	root, err := next(stream)
	if err == io.EOF {
		return &Document{Root: &Node{Type: "!!null", Line: 1, Column: 1}}, nil
	}
	if err != nil {
		return nil, explain(src, err)
	}
	r := resolver{known: map[*library.Node]*Node{}}
	d := &Document{Root: r.node(root)}
	if r.err != nil {
		return nil, r.err
	}
	d.Repeated = r.repeated
	for {
		second, err := next(stream)
		switch {
		case err == io.EOF:
			return d, nil
		case err == nil && isNothing(second):
			continue
		case err == nil:
			d.NextLine, d.NextColumn = second.Line, second.Column
		default:
			if strings.HasSuffix(err.Error(), "<document start>") {
				return nil, explain(src, err) // more text, and no document of its own
			}
			e := explain(src, err)
			d.NextLine, d.NextColumn = e.Line, e.Column
		}
		return d, nil
	}
}

// next gives the root of the next document, and io.EOF after the last.
func next(stream *library.Decoder) (root *library.Node, err error) {
	defer func() {
		if recover() != nil { // the library says "please report"
			root, err = nil, errInternal
		}
	}()
	var n library.Node
	if err := stream.Decode(&n); err != nil {
		return nil, err
	}
	if len(n.Content) == 0 {
		return nil, io.EOF
	}
	return n.Content[0], nil
}

var errInternal = errors.New("yaml: the reader cannot read this text")

// isNothing tells whether a document has no text.
func isNothing(n *library.Node) bool {
	return n.Kind == library.ScalarNode && n.Value == "" && n.Style == 0
}

// resolver turns the library's nodes into ours. The first error is kept.
type resolver struct {
	known    map[*library.Node]*Node // anchored nodes; nil while one is not complete
	aliased  int
	depth    int
	repeated []Repeated
	err      *Error
}

func (r *resolver) fail(n *library.Node, format string, args ...any) {
	if r.err == nil {
		message := fmt.Sprintf(format, args...)
		r.err = &Error{n.Line, n.Column, fmt.Sprintf("yaml: line %d: %s; look at line %d col %d", n.Line, message, n.Line, n.Column)}
	}
}

func (r *resolver) node(from *library.Node) *Node {
	if from.Kind == library.AliasNode {
		return r.alias(from)
	}
	n := &Node{Type: from.Tag, Value: from.Value, Line: from.Line, Column: from.Column, weight: 1 + len(from.Value)/textUnit}
	if from.Anchor != "" {
		r.known[from] = nil
	}
	if r.depth++; r.depth > maxDepth {
		r.fail(from, "nested deeper than %d levels", maxDepth)
	} else if r.err == nil && len(from.Content) > 0 {
		n.Content = make([]*Node, 0, len(from.Content))
		for _, c := range from.Content {
			child := r.node(c)
			n.Content = append(n.Content, child)
			n.weight += child.weight
		}
	}
	r.depth--
	switch from.Kind {
	case library.MappingNode:
		n.Kind = Mapping
		r.mapping(n, from)
	case library.SequenceNode:
		n.Kind = Sequence
	}
	if from.Anchor != "" {
		r.known[from] = n
	}
	from.Content = nil // a large document is not kept twice
	return n
}

// alias gives what an anchor stands for.
func (r *resolver) alias(from *library.Node) *Node {
	target := r.known[from.Alias]
	n := &Node{Line: from.Line, Column: from.Column}
	if target == nil {
		r.fail(from, "anchor '%s' value contains itself", from.Value)
		return n
	}
	r.aliased += target.weight
	if r.aliased > maxAliased {
		r.fail(from, "the aliases of this document stand for too much (more than %d values)", maxAliased)
		return n
	}
	*n = *target
	n.Line, n.Column = from.Line, from.Column
	return n
}

// mapping finds repeated keys and puts what merge keys bring behind a mapping's own.
func (r *resolver) mapping(n *Node, from *library.Node) {
	if r.err != nil {
		return
	}
	seen := make(map[string]*Node, len(n.Content)/2)
	var merged []*Node
	kept := n.Content[:0]
	for i := 0; i < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != Scalar {
			r.fail(from.Content[i], "a key must be a scalar, not a list or a mapping")
			return
		}
		if key.Type == "!!merge" {
			merged = r.sources(merged, value, from.Content[i+1])
			continue
		}
		if first := seen[key.Value]; first != nil {
			r.repeated = append(r.repeated, Repeated{key, first, n})
		} else {
			seen[key.Value] = key
		}
		kept = append(kept, key, value)
	}
	for _, m := range merged {
		for i := 0; i < len(m.Content); i += 2 {
			if key := m.Content[i]; seen[key.Value] == nil {
				seen[key.Value] = key
				kept = append(kept, key, m.Content[i+1])
			}
		}
	}
	n.Content = kept
}

// sources lists the mappings of a merge key.
func (r *resolver) sources(list []*Node, value *Node, at *library.Node) []*Node {
	from := []*Node{value}
	if value.Kind == Sequence {
		from = value.Content
	}
	for _, m := range from {
		if m.Kind != Mapping {
			r.fail(at, "the value of the merge key << must be a mapping or a list of mappings")
			return list
		}
	}
	return append(list, from...)
}
