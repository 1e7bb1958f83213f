// SPDX-License-Identifier: Apache-2.0

package vmware

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The OVF environment is a small XML document. Of XML this reads what such a
// document may use: elements, attributes, namespaces, the entities that need
// no declaration, comments, CDATA, processing instructions. A document type is
// refused, so no entity can be declared, and nothing expands.

const (
	ovfNamespace = "http://schemas.dmtf.org/ovf/environment/1"
	deepest      = 64
	widest       = 256 // attributes of a tag
)

// property is an element Property of the machine's own PropertySection, and where it stands in the text.
type property struct {
	key, value string
	start, end int
}

var (
	errXML   = errors.New("not well-formed XML")
	errDTD   = errors.New("a document type is not accepted")
	errDepth = errors.New("elements are nested too deeply")
	errWidth = errors.New("too many attributes")
)

// attribute is one of a tag's. Its name is prefix and local part.
type attribute struct{ space, name, value string }

// element is one that is open.
type element struct {
	name       string // as written
	start      int
	attributes []attribute
}

// scanner goes through a document once.
type scanner struct {
	text  string
	at    int
	open  []element
	done  bool // the root element has ended
	found []property
}

// properties lists the properties of an OVF environment, in the order of the text.
func properties(text string) ([]property, error) {
	s := &scanner{text: text, at: len(text) - len(strings.TrimPrefix(text, "\ufeff"))}
	for s.at < len(s.text) {
		if err := s.step(); err != nil {
			return nil, fmt.Errorf("byte %d: %w", s.at, err)
		}
	}
	if !s.done {
		return nil, fmt.Errorf("byte %d: %w: it ends early", s.at, errXML)
	}
	return s.found, nil
}

// step goes past one piece of markup, or past the text before it.
func (s *scanner) step() error {
	rest := s.text[s.at:]
	switch {
	case rest[0] != '<':
		return s.characters(rest)
	case strings.HasPrefix(rest, "<!--"):
		return s.skip(len("<!--"), "-->")
	case strings.HasPrefix(rest, "<?"):
		return s.skip(len("<?"), "?>")
	case strings.HasPrefix(rest, "<![CDATA[") && len(s.open) > 0:
		return s.skip(len("<![CDATA["), "]]>")
	case strings.HasPrefix(rest, "<!"):
		return errDTD
	case strings.HasPrefix(rest, "</"):
		return s.endTag()
	}
	return s.startTag()
}

// skip goes past what begins with a number of bytes and ends with a text.
func (s *scanner) skip(begin int, end string) error {
	n := strings.Index(s.text[s.at+begin:], end)
	if n < 0 {
		return errXML
	}
	s.at += begin + n + len(end)
	return nil
}

// characters goes past text. Outside of the root there is none.
func (s *scanner) characters(rest string) error {
	n := strings.IndexByte(rest, '<')
	if n < 0 {
		n = len(rest)
	}
	if len(s.open) == 0 && strings.Trim(rest[:n], space) != "" {
		return errXML
	}
	if _, err := expand(rest[:n]); err != nil {
		return err
	}
	s.at += n
	return nil
}

func (s *scanner) endTag() error {
	s.at += len("</")
	name := s.name()
	s.blanks()
	if len(s.open) == 0 || s.open[len(s.open)-1].name != name || !s.take(">") {
		return errXML
	}
	s.close()
	return nil
}

func (s *scanner) startTag() error {
	e := element{start: s.at}
	s.at += len("<")
	e.name = s.name()
	if e.name == "" || s.done {
		return errXML
	}
	if len(s.open) == deepest {
		return errDepth
	}
	for {
		blank := s.blanks()
		switch {
		case s.take("/>"):
			s.open = append(s.open, e)
			s.close()
			return nil
		case s.take(">"):
			s.open = append(s.open, e)
			return nil
		case !blank:
			return errXML
		}
		a, err := s.attribute()
		if err != nil {
			return err
		}
		for _, have := range e.attributes {
			if have.space == a.space && have.name == a.name {
				return errXML
			}
		}
		if len(e.attributes) == widest {
			return errWidth
		}
		e.attributes = append(e.attributes, a)
	}
}

// close ends the innermost element, of which everything is known by now.
func (s *scanner) close() {
	e := s.open[len(s.open)-1]
	// Root, section, property: those in an Entity are of other machines.
	if len(s.open) == 3 && local(s.open[1].name) == "PropertySection" && local(e.name) == "Property" {
		p := property{start: e.start, end: s.at}
		for _, a := range e.attributes {
			if a.space == "" || s.namespace(a.space) != ovfNamespace {
				continue
			}
			switch a.name {
			case "key":
				p.key = a.value
			case "value":
				p.value = a.value
			}
		}
		s.found = append(s.found, p)
	}
	s.open = s.open[:len(s.open)-1]
	s.done = len(s.open) == 0
}

// namespace gives what a prefix stands for in the innermost element.
func (s *scanner) namespace(prefix string) string {
	for i := len(s.open) - 1; i >= 0; i-- {
		for _, a := range s.open[i].attributes {
			if a.space == "xmlns" && a.name == prefix {
				return a.value
			}
		}
	}
	return ""
}

func (s *scanner) attribute() (attribute, error) {
	name := s.name()
	s.blanks()
	if name == "" || !s.take("=") {
		return attribute{}, errXML
	}
	s.blanks()
	if s.at == len(s.text) {
		return attribute{}, errXML
	}
	quote := s.text[s.at]
	if quote != '"' && quote != '\'' {
		return attribute{}, errXML
	}
	s.at++
	n := strings.IndexByte(s.text[s.at:], quote)
	if n < 0 {
		return attribute{}, errXML
	}
	value, err := expand(s.text[s.at : s.at+n])
	if err != nil {
		return attribute{}, err
	}
	s.at += n + 1
	a := attribute{name: name, value: value}
	if prefix, name, ok := strings.Cut(name, ":"); ok {
		a.space, a.name = prefix, name
	}
	return a, nil
}

// space is what XML takes for white space.
const space = " \t\r\n"

// blanks goes past white space and tells whether there was some.
func (s *scanner) blanks() bool {
	before := s.at
	for s.at < len(s.text) && strings.IndexByte(space, s.text[s.at]) >= 0 {
		s.at++
	}
	return s.at > before
}

// take goes past a text if it stands here.
func (s *scanner) take(text string) bool {
	if !strings.HasPrefix(s.text[s.at:], text) {
		return false
	}
	s.at += len(text)
	return true
}

// name goes past a name: everything that is not markup.
func (s *scanner) name() string {
	rest := s.text[s.at:]
	n := strings.IndexAny(rest, space+"<>/=&'\"!?")
	if n < 0 {
		n = len(rest)
	}
	s.at += n
	return rest[:n]
}

func local(name string) string {
	if _, after, ok := strings.Cut(name, ":"); ok {
		return after
	}
	return name
}

// entities are the ones that need no declaration.
var entities = []struct{ name, text string }{{"amp", "&"}, {"lt", "<"}, {"gt", ">"}, {"quot", `"`}, {"apos", "'"}}

// expand replaces the references in text, of which "<" is no part.
func expand(text string) (string, error) {
	if strings.IndexByte(text, '<') >= 0 {
		return "", errXML
	}
	before, rest, ok := strings.Cut(text, "&")
	if !ok {
		return text, nil
	}
	var out strings.Builder
	for ok {
		out.WriteString(before)
		var name string
		if name, rest, ok = strings.Cut(rest, ";"); !ok {
			return "", errXML
		}
		r, err := reference(name)
		if err != nil {
			return "", err
		}
		out.WriteString(r)
		before, rest, ok = strings.Cut(rest, "&")
	}
	out.WriteString(before)
	return out.String(), nil
}

func reference(name string) (string, error) {
	if number, ok := strings.CutPrefix(name, "#"); ok {
		base := 10
		if hex, ok := strings.CutPrefix(number, "x"); ok {
			number, base = hex, 16
		}
		n, err := strconv.ParseUint(number, base, 21)
		if err != nil || n == 0 || !utf8.ValidRune(rune(n)) {
			return "", errXML
		}
		return string(rune(n)), nil
	}
	for _, e := range entities {
		if e.name == name {
			return e.text, nil
		}
	}
	return "", fmt.Errorf("%w: an entity that is not declared", errXML)
}
