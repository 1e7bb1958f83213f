// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An OVF environment is a small XML document. Of XML this reads what such a
// document may use: elements, attributes, namespaces, the entities that need
// no declaration, comments, CDATA, processing instructions. A document type is
// refused, so no entity can be declared, and nothing expands. encoding/xml
// would cost 45 KiB.

const (
	deepest = 64
	widest  = 256 // attributes of a tag
)

// OVFElement is an element that has ended, and where it stands in the text.
type OVFElement struct {
	Path       []string // names from the root to here, without prefixes
	Text       string   // all that is directly in it
	Children   bool     // it has elements in it
	Start, End int

	scanner *ovfScanner
}

// What an OVF environment can be refused for.
var (
	ErrXML   = errors.New("not well-formed XML")
	ErrDTD   = errors.New("a document type is not accepted")
	ErrDepth = errors.New("elements are nested too deeply")
	ErrWidth = errors.New("too many attributes")
)

// attribute is one of a tag's. Its name is prefix and local part.
type attribute struct{ space, name, value string }

// element is one that is open.
type element struct {
	name       string // as written
	start      int
	attributes []attribute
	text       []byte
	children   bool
}

// ovfScanner goes through a document once.
type ovfScanner struct {
	text  string
	at    int
	open  []element
	done  bool // the root element has ended
	stop  bool
	ended func(OVFElement) bool
}

// ScanOVF calls ended with each element of an OVF environment, in the order in
// which they end, until it says that it has seen enough. inside names the
// elements that are open where an error is.
func ScanOVF(text string, ended func(OVFElement) (more bool)) (inside []string, err error) {
	s := &ovfScanner{text: text, at: len(text) - len(strings.TrimPrefix(text, "\ufeff")), ended: ended}
	for s.at < len(s.text) && !s.stop {
		if err := s.step(); err != nil {
			return s.path(), fmt.Errorf("byte %d: %w", s.at, err)
		}
	}
	if !s.done && !s.stop {
		return s.path(), fmt.Errorf("byte %d: %w: it ends early", s.at, ErrXML)
	}
	return nil, nil
}

// path gives the names of the open elements.
func (s *ovfScanner) path() (names []string) {
	for _, e := range s.open {
		names = append(names, local(e.name))
	}
	return names
}

// step goes past one piece of markup, or past the text before it.
func (s *ovfScanner) step() error {
	rest := s.text[s.at:]
	switch {
	case rest[0] != '<':
		return s.characters(rest)
	case strings.HasPrefix(rest, "<!--"):
		return s.skip(len("<!--"), "-->")
	case strings.HasPrefix(rest, "<?"):
		return s.skip(len("<?"), "?>")
	case strings.HasPrefix(rest, "<![CDATA[") && len(s.open) > 0:
		begin := s.at + len("<![CDATA[")
		err := s.skip(len("<![CDATA["), "]]>")
		if err == nil {
			s.collect(s.text[begin : s.at-len("]]>")])
		}
		return err
	case strings.HasPrefix(rest, "<!"):
		return ErrDTD
	case strings.HasPrefix(rest, "</"):
		return s.endTag()
	}
	return s.startTag()
}

// skip goes past what begins with a number of bytes and ends with a text.
func (s *ovfScanner) skip(begin int, end string) error {
	n := strings.Index(s.text[s.at+begin:], end)
	if n < 0 {
		return ErrXML
	}
	s.at += begin + n + len(end)
	return nil
}

// characters goes past text. Outside of the root there is none.
func (s *ovfScanner) characters(rest string) error {
	n := strings.IndexByte(rest, '<')
	if n < 0 {
		n = len(rest)
	}
	if len(s.open) == 0 && strings.Trim(rest[:n], space) != "" {
		return ErrXML
	}
	text, err := expand(rest[:n])
	if err != nil {
		return err
	}
	s.collect(text)
	s.at += n
	return nil
}

// collect keeps text for the innermost element.
func (s *ovfScanner) collect(text string) {
	if n := len(s.open); n > 0 {
		s.open[n-1].text = append(s.open[n-1].text, text...)
	}
}

func (s *ovfScanner) endTag() error {
	s.at += len("</")
	name := s.name()
	s.blanks()
	if len(s.open) == 0 || s.open[len(s.open)-1].name != name || !s.take(">") {
		return ErrXML
	}
	s.close()
	return nil
}

func (s *ovfScanner) startTag() error {
	e := element{start: s.at}
	s.at += len("<")
	e.name = s.name()
	if e.name == "" || s.done {
		return ErrXML
	}
	if len(s.open) == deepest {
		return ErrDepth
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
			return ErrXML
		}
		a, err := s.attribute()
		if err != nil {
			return err
		}
		for _, have := range e.attributes {
			if have.space == a.space && have.name == a.name {
				return ErrXML
			}
		}
		if len(e.attributes) == widest {
			return ErrWidth
		}
		e.attributes = append(e.attributes, a)
	}
}

// close ends the innermost element, of which everything is known by now.
func (s *ovfScanner) close() {
	e := s.open[len(s.open)-1]
	if !s.ended(OVFElement{s.path(), string(e.text), e.children, e.start, s.at, s}) {
		s.stop = true
	}
	s.open = s.open[:len(s.open)-1]
	s.done = len(s.open) == 0
	if !s.done {
		s.open[len(s.open)-1].children = true
	}
}

// Attribute gives the value of an attribute with a namespace, "" if there is
// none. It is to be asked for while the element is handed out.
func (e OVFElement) Attribute(namespace, name string) string {
	open := e.scanner.open
	for _, a := range open[len(open)-1].attributes {
		if a.space != "" && a.name == name && e.scanner.namespace(a.space) == namespace {
			return a.value
		}
	}
	return ""
}

// namespace gives what a prefix stands for in the innermost element.
func (s *ovfScanner) namespace(prefix string) string {
	for i := len(s.open) - 1; i >= 0; i-- {
		for _, a := range s.open[i].attributes {
			if a.space == "xmlns" && a.name == prefix {
				return a.value
			}
		}
	}
	return ""
}

func (s *ovfScanner) attribute() (attribute, error) {
	name := s.name()
	s.blanks()
	if name == "" || !s.take("=") {
		return attribute{}, ErrXML
	}
	s.blanks()
	if s.at == len(s.text) {
		return attribute{}, ErrXML
	}
	quote := s.text[s.at]
	if quote != '"' && quote != '\'' {
		return attribute{}, ErrXML
	}
	s.at++
	n := strings.IndexByte(s.text[s.at:], quote)
	if n < 0 {
		return attribute{}, ErrXML
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
func (s *ovfScanner) blanks() bool {
	before := s.at
	for s.at < len(s.text) && strings.IndexByte(space, s.text[s.at]) >= 0 {
		s.at++
	}
	return s.at > before
}

// take goes past a text if it stands here.
func (s *ovfScanner) take(text string) bool {
	if !strings.HasPrefix(s.text[s.at:], text) {
		return false
	}
	s.at += len(text)
	return true
}

// name goes past a name: everything that is not markup.
func (s *ovfScanner) name() string {
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
		return "", ErrXML
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
			return "", ErrXML
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
			return "", ErrXML
		}
		return string(rune(n)), nil
	}
	for _, e := range entities {
		if e.name == name {
			return e.text, nil
		}
	}
	return "", fmt.Errorf("%w: an entity that is not declared", ErrXML)
}
