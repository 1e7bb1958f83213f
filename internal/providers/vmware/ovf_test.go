// SPDX-License-Identifier: Apache-2.0

package vmware

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/providers"
)

var update = flag.Bool("update", false, "rewrite the files of testdata")

func testdata(t testing.TB, name string) string {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// environmentOf is an OVF environment with these elements in its PropertySection.
func environmentOf(elements string) string {
	return `<E xmlns="` + ovfNamespace + `" xmlns:oe="` + ovfNamespace + `"><PropertySection>` + elements + `</PropertySection></E>`
}

func TestProperties(t *testing.T) {
	const open = `<E xmlns:oe="` + ovfNamespace + `" xmlns:x="urn:x">`
	for _, row := range []struct{ name, text, want string }{
		{"as vSphere writes it", testdata(t, "ovfenv.xml"), `foo=42 guestinfo.ignition.config.data={"ignition": {"version": "3.3.0"}} bar=0 guestinfo.ignition.config.data.encoding=`},
		{"another prefix", `<o:E xmlns:o="` + ovfNamespace + `"><o:PropertySection><o:Property o:key="a" o:value="b"/></o:PropertySection></o:E>`, "a=b"},
		{"prefix declared at the element", `<E><PropertySection><Property xmlns:p='` + ovfNamespace + `' p:key='a' p:value='b'/></PropertySection></E>`, "a=b"},
		{"prefix declared anew", open + `<PropertySection xmlns:oe="urn:x"><Property oe:key="a" oe:value="b"/></PropertySection></E>`, "="},
		{"another namespace", open + `<PropertySection><Property x:key="a" x:value="b"/></PropertySection></E>`, "="},
		{"no namespace", open + `<PropertySection><Property key="a" value="b"/></PropertySection></E>`, "="},
		{"undeclared prefix", open + `<PropertySection><Property y:key="a" y:value="b"/></PropertySection></E>`, "="},
		{"no value", environmentOf(`<Property oe:key="a"/>`), "a="},
		{"other attributes", environmentOf(`<Property x="1" oe:key="a" oe:x="2" oe:value="b"/>`), "a=b"},
		{"two of a key", environmentOf(`<Property oe:key="a" oe:value="1"/><Property oe:key="a" oe:value="2"/>`), "a=1 a=2"},
		{"references", environmentOf(`<Property oe:key="a" oe:value="&lt;&gt;&amp;&quot;&apos;&#65;&#x42;&#128512;&amp;lt;"/>`), `a=<>&"'AB😀&lt;`},
		{"single quotes, white space", environmentOf("<Property\n\toe:key = 'a'\r\n oe:value\t=\n'\"b\"' ></Property >"), `a="b"`},
		{"line breaks in a value", environmentOf("<Property oe:key=\"a\" oe:value=\"b\n\tc>\"/>"), "a=b\n\tc>"},
		{"comment, CDATA and instruction", environmentOf(`<!-- <Property> --><![CDATA[</E>]]]>]]><?x <Property> ?><Property oe:key="a" oe:value="b"/>`), "a=b"},
		{"content", environmentOf(`<Property oe:key="a" oe:value="b"><x>&lt;</x></Property>`), "a=b"},
		{"too shallow", open + `<Property oe:key="a" oe:value="b"/></E>`, ""},
		{"too deep", open + `<x><PropertySection><Property oe:key="a" oe:value="b"/></PropertySection></x></E>`, ""},
		{"in a property", environmentOf(`<Property oe:key="a"><Property oe:key="c"/></Property>`), "a="},
		{"byte order mark", "\ufeff<E/>", ""},
		{"around the root", "<?xml version='1.0'?>\n<!-- a -->\n<E/>\n<!-- b -->\n", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			list, err := properties(row.text)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range list {
				got = append(got, p.key+"="+p.value)
				if element := row.text[p.start:p.end]; !strings.HasPrefix(element, "<") || !strings.HasSuffix(element, ">") || !strings.Contains(element, "Property") {
					t.Errorf("the element is said to be %q", element)
				}
			}
			if strings.Join(got, " ") != row.want {
				t.Errorf("got %q, want %q", strings.Join(got, " "), row.want)
			}
		})
	}
}

func TestBrokenXML(t *testing.T) {
	bomb := `<!DOCTYPE E [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>` + environmentOf(`<Property oe:key="a" oe:value="&b;"/>`)
	for _, row := range []struct {
		name, text string
		is         error
	}{
		{"nothing", "", providers.ErrXML},
		{"white space", " \n", providers.ErrXML},
		{"no XML", "SECRET", providers.ErrXML},
		{"JSON", `{"SECRET": 1}`, providers.ErrXML},
		{"cut element", "<E><", providers.ErrXML},
		{"cut tag", "<E a", providers.ErrXML},
		{"cut attribute", "<E a=", providers.ErrXML},
		{"cut value", `<E a="SECRET`, providers.ErrXML},
		{"no end", "<E><a/>", providers.ErrXML},
		{"end of another", "<E></F>", providers.ErrXML},
		{"end alone", "</E>", providers.ErrXML},
		{"two roots", "<E/><F/>", providers.ErrXML},
		{"text after the root", "<E/>SECRET", providers.ErrXML},
		{"end after the root", "<E/></E>", providers.ErrXML},
		{"CDATA after the root", "<E/><![CDATA[x]]>", providers.ErrDTD},
		{"cut comment", "<E><!-- ", providers.ErrXML},
		{"comment that ends as it begins", "<E><!-->", providers.ErrXML},
		{"cut CDATA", "<E><![CDATA[ ]]", providers.ErrXML},
		{"cut instruction", "<?xml", providers.ErrXML},
		{"no quotes", "<E a=SECRET/>", providers.ErrXML},
		{"no value", "<E a/>", providers.ErrXML},
		{"no name", `<E ="a"/>`, providers.ErrXML},
		{"no white space", `<E a="1"b="2"/>`, providers.ErrXML},
		{"attribute twice", `<E a="1" a="2"/>`, providers.ErrXML},
		{"markup in a value", `<E a="<SECRET"/>`, providers.ErrXML},
		{"nameless element", "<E>< /></E>", providers.ErrXML},
		{"slash in a tag", "<E / >", providers.ErrXML},
		{"entity of nobody", "<E>&SECRET;</E>", providers.ErrXML},
		{"entity without an end", `<E a="&amp"/>`, providers.ErrXML},
		{"empty reference", "<E>&;</E>", providers.ErrXML},
		{"reference to NUL", "<E>&#0;</E>", providers.ErrXML},
		{"reference to a surrogate", "<E>&#xD800;</E>", providers.ErrXML},
		{"reference beyond all characters", "<E>&#x110000;</E>", providers.ErrXML},
		{"reference of no number", "<E>&#+65;</E>", providers.ErrXML},
		{"document type", "<!DOCTYPE E><E/>", providers.ErrDTD},
		{"document type within", "<E><!DOCTYPE E></E>", providers.ErrDTD},
		{"entity declaration", "<E><!ENTITY a 'b'></E>", providers.ErrDTD},
		{"entity bomb", bomb, providers.ErrDTD},
		{"deep", strings.Repeat("<E>", 1<<20), providers.ErrDepth},
		{"wide", "<E" + manyAttributes(1000) + "/>", providers.ErrWidth},
	} {
		t.Run(row.name, func(t *testing.T) {
			list, err := properties(row.text)
			if !errors.Is(err, row.is) || list != nil {
				t.Fatalf("got %v, %v; want %v", list, err, row.is)
			}
			if strings.Contains(err.Error(), "SECRET") {
				t.Errorf("a secret in %v", err)
			}
		})
	}
}

func manyAttributes(n int) string {
	var all strings.Builder
	for i := range n {
		fmt.Fprintf(&all, " a%d='1'", i)
	}
	return all.String()
}

func TestWithout(t *testing.T) {
	text := testdata(t, "ovfenv.xml")
	list, err := properties(text)
	if err != nil {
		t.Fatal(err)
	}
	got := without(text, list)
	if *update {
		if err := os.WriteFile("testdata/ovfenv-deleted.xml", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want := testdata(t, "ovfenv-deleted.xml"); got != want {
		t.Errorf("got\n%s", got)
	}
	for _, row := range []struct{ name, elements, want string }{
		{"all names", `<Property oe:key="guestinfo.ignition.config.data" oe:value="1"/>-<Property oe:key="guestinfo.ignition.config.data.encoding"/>-<Property oe:key="guestinfo.coreos.config.data"/>-` +
			`<Property oe:key="guestinfo.coreos.config.data.encoding"/>-<Property oe:key="guestinfo.ignition.config.url"/>-<Property oe:key="guestinfo.coreos.config.url"/>`, "-----"},
		{"content goes too", `a<Property oe:key="guestinfo.ignition.config.data" oe:value="1">x<!-- y --></Property>b`, "ab"},
		{"both of one key", `<Property oe:key="guestinfo.ignition.config.data"/><Property oe:key="guestinfo.ignition.config.data"/>`, ""},
		{"escaped key", `<Property oe:key="guestinfo&#46;ignition.config.data"/>`, ""},
		{"others stay", `<Property oe:key="guestinfo.ignition.config.data.x"/><Property oe:key="ignition.config.data"/><Property oe:key="guestinfo.ignition.config.url.encoding"/>`,
			`<Property oe:key="guestinfo.ignition.config.data.x"/><Property oe:key="ignition.config.data"/><Property oe:key="guestinfo.ignition.config.url.encoding"/>`},
	} {
		t.Run(row.name, func(t *testing.T) {
			text := environmentOf(row.elements)
			list, err := properties(text)
			if err != nil {
				t.Fatal(err)
			}
			if got := without(text, list); got != environmentOf(row.want) {
				t.Errorf("got  %q\nwant %q", got, environmentOf(row.want))
			}
		})
	}
}

func FuzzProperties(f *testing.F) {
	f.Add(testdata(f, "ovfenv.xml"))
	f.Add(environmentOf(`<Property oe:key="guestinfo.ignition.config.data" oe:value="&#x41;&amp;"/><![CDATA[x]]><!-- -->`))
	f.Add("<E a='<'/>")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := properties(text)
		if err != nil {
			return
		}
		at, size := 0, 0
		for _, p := range list {
			if p.start < at || p.end <= p.start || p.end > len(text) {
				t.Fatalf("element from %d to %d of %d, the one before it ended at %d", p.start, p.end, len(text), at)
			}
			at, size = p.end, size+len(p.key)+len(p.value)
		}
		if size > len(text) {
			t.Fatalf("%d bytes out of %d", size, len(text))
		}
		cut := without(text, list)
		again, err := properties(cut)
		if err != nil {
			t.Fatalf("what was left cannot be read: %v", err)
		}
		for _, p := range again {
			if ours(p.key) {
				t.Fatalf("%q is still there", p.key)
			}
		}
	})
}
