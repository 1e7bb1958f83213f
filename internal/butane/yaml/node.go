// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"encoding/base64"
	"fmt"
	"math"
	"strconv"
	"strings"
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
	Plain        bool   // a scalar without quotes, whose text decides about its type
	Tag          string // as written, such as "!!int", mostly none
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

// Type is the short tag of a node, the one that it has by its text if none is written.
func (n *Node) Type() string {
	switch {
	case n.Kind == Mapping:
		return "!!map"
	case n.Kind == Sequence:
		return "!!seq"
	case n.Tag == "!":
		return "!!str"
	case n.Tag != "":
		return n.Tag
	case !n.Plain:
		return "!!str"
	}
	switch n.Value {
	case "", "~", "null", "Null", "NULL":
		return "!!null"
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return "!!bool"
	}
	if _, isInt, ok := number(n.Value); ok {
		if isInt {
			return "!!int"
		}
		return "!!float"
	}
	return "!!str"
}

// IsNull tells whether a node is null, or nothing at all.
func (n *Node) IsNull() bool { return n.Type() == "!!null" }

// number reads a plain scalar as YAML's numbers. isInt is true if it is written as one.
func number(s string) (value float64, isInt, ok bool) {
	if s == "" || strings.IndexByte("+-.0123456789", s[0]) < 0 {
		return 0, false, false
	}
	s = strings.ReplaceAll(s, "_", "")
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return float64(n), true, true
	}
	if n, err := strconv.ParseUint(s, 0, 64); err == nil {
		return float64(n), true, true
	}
	unsigned := strings.TrimLeft(s, "+-")
	switch unsigned {
	case ".inf", ".Inf", ".INF":
		return math.Inf(1), false, true
	case ".nan", ".NaN", ".NAN":
		return math.NaN(), false, true
	}
	// What is left of ParseFloat's forms once hexadecimal and words are out is YAML's.
	if len(s)-len(unsigned) > 1 || unsigned == "" || strings.Trim(unsigned, "0123456789.eE+-") != "" || strings.IndexByte("eE", unsigned[0]) >= 0 {
		return 0, false, false
	}
	value, err := strconv.ParseFloat(s, 64)
	return value, false, err == nil
}

// Int reads an integer: decimal, octal with 0 or 0o, hexadecimal, binary, with "_", or a float without fraction.
func (n *Node) Int() (int, bool) {
	if t := n.Type(); n.Kind != Scalar || t != "!!int" && t != "!!float" {
		return 0, false
	}
	if i, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, strconv.IntSize); err == nil {
		return int(i), true
	}
	f, _, ok := number(n.Value)
	if !ok || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, false
	}
	return int(f), true
}

// Bool reads a truth value. The words of YAML 1.1 count, in quotes too; true and false count without.
func (n *Node) Bool() (value, ok bool) {
	if n.Kind != Scalar {
		return false, false
	}
	switch n.Value {
	case "true", "True", "TRUE", "false", "False", "FALSE":
		return n.Value[0]|0x20 == 't', n.Type() == "!!bool"
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
	if n.Tag != "!!binary" {
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

// Error is an error of the text, with its place.
type Error struct {
	Line, Column int
	Message      string
}

func (e *Error) Error() string {
	return fmt.Sprintf("yaml: line %d col %d: %s", e.Line, e.Column, e.Message)
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
