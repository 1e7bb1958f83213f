// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"

	library "firstboot.dev/ignition/third_party/yaml"
)

// Kind is what a node is. Aliases are replaced by what they stand for.
type Kind uint8

// The kinds of nodes.
const (
	Scalar Kind = iota
	Mapping
	Sequence
)

// Node is a value or a key with its place; lines and columns (in characters) count from 1. An alias has the
// alias's own place, and what is below it the places of the anchored text.
type Node struct {
	Kind         Kind
	Type         string // the short tag, such as "!!int": the one that is written or the one that the text has
	Value        string // of a scalar
	Line, Column int
	Content      []*Node // keys and values by turns, or items

	weight int // what reading the node costs, all below it included
}

// Get gives the value of a mapping's key.
func (n *Node) Get(key string) *Node {
	if n.Kind == Mapping {
		for i := 0; i < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				return n.Content[i+1]
			}
		}
	}
	return nil
}

// TypeOf is the type that a text has if it stands without quotes.
func TypeOf(text string) string {
	n := library.Node{Kind: library.ScalarNode, Value: text}
	return n.ShortTag()
}

// IsNull tells whether a node is null, or nothing at all.
func (n *Node) IsNull() bool { return n.Type == "!!null" }

// Int reads an integer: decimal, octal with 0 or 0o, hexadecimal, binary, with "_", or a float without fraction.
func (n *Node) Int() (int, bool) {
	text := strings.ReplaceAll(n.Value, "_", "")
	switch n.Type {
	case "!!int":
		i, err := strconv.ParseInt(text, 0, strconv.IntSize)
		return int(i), err == nil
	case "!!float":
		f, err := strconv.ParseFloat(text, 64)
		if err == nil && f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
			return int(f), true
		}
	}
	return 0, false
}

// Bool reads a truth value. The words of YAML 1.1 count, in quotes too; true and false count without.
func (n *Node) Bool() (value, ok bool) {
	if n.Kind != Scalar {
		return false, false
	}
	switch n.Value {
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return n.Value[0]|0x20 == 't', n.Type == "!!bool"
	case "y", "Y", "yes", "Yes", "YES", "on", "On", "ON":
		return true, true
	case "n", "N", "no", "No", "NO", "off", "Off", "OFF":
		return false, true
	}
	return false, false
}

// Text is the text of any scalar; !!binary is decoded.
func (n *Node) Text() (string, bool) {
	if n.Kind != Scalar {
		return "", false
	}
	if n.Type != "!!binary" {
		return n.Value, true
	}
	b, err := base64.StdEncoding.DecodeString(strings.Map(func(r rune) rune {
		if r == ' ' || r == '\n' || r == '\t' {
			return -1
		}
		return r
	}, n.Value))
	return string(b), err == nil
}

// Repeated is a key that a mapping has twice.
type Repeated struct {
	Key, First *Node
	In         *Node // the mapping
}

// Document is the first document of a text.
type Document struct {
	Root     *Node
	Repeated []Repeated
	// Line and Column of a second document, which is not read; 0 if there is none.
	NextLine, NextColumn int
}
