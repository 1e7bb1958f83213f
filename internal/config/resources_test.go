// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/coreos/vcontext/path"
)

// manyResources has a resource in every place that takes one.
const manyResources = `"storage":{"luks":[{"name":"l","device":"/d","keyFile":{"source":"data:,k"}}],"files":[
	{"path":"/a","append":[{"source":"data:,1"},{"source":"data:,2"}],"contents":{"source":"data:,3"}},{"path":"/b"}]}`

const manyReferences = `"config":{"merge":[{"source":"data:,m"},{"source":"data:,n"}],"replace":{"source":"data:,r"}},
	"security":{"tls":{"certificateAuthorities":[{"source":"data:,c"}]}}`

func resourceConfig(t testing.TB) Config {
	return mustParse(t, `{"ignition":{"version":"3.6.0",`+manyReferences+`},`+manyResources+`}`)
}

func TestEachResource(t *testing.T) {
	c := resourceConfig(t)
	want := strings.Fields(`$.ignition.config.merge.0=data:,m $.ignition.config.merge.1=data:,n
		$.ignition.config.replace=data:,r $.ignition.security.tls.certificateAuthorities.0=data:,c
		$.storage.files.0.append.0=data:,1 $.storage.files.0.append.1=data:,2 $.storage.files.0.contents=data:,3
		$.storage.files.1.contents= $.storage.luks.0.keyFile=data:,k`)
	var got []string
	var paths []path.ContextPath
	err := EachResource(&c, func(p path.ContextPath, r *Resource) error {
		got = append(got, p.String()+"="+text(r.Source))
		paths = append(paths, p) // kept: a later call must not change it
		r.Source = new("changed")
		return nil
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v:\n%s\nwant:\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for i, p := range paths {
		if name, _, _ := strings.Cut(want[i], "="); p.String() != name {
			t.Errorf("path %d became %s", i, p)
		}
	}
	if text(c.Storage.LUKS[0].KeyFile.Source) != "changed" || text(c.Ignition.Config.Merge[1].Source) != "changed" {
		t.Error("the resources are copies")
	}
}

func TestEachResourceStops(t *testing.T) {
	c := resourceConfig(t)
	stop, calls := errors.New("stop"), 0
	err := EachResource(&c, func(p path.ContextPath, _ *Resource) error {
		calls++
		if p.String() == "$.storage.files.0.append.1" {
			return stop
		}
		return nil
	})
	if err != stop || calls != 6 {
		t.Errorf("%v after %d calls", err, calls)
	}
}

func TestNeedsNetwork(t *testing.T) {
	file := func(source string) string {
		return `"storage":{"files":[{"path":"/a"},{"path":"/b","contents":{"source":"` + source + `"}}]}`
	}
	luks := func(clevis string) string {
		return `"storage":{"luks":[{"name":"k"},{"name":"l","clevis":{` + clevis + `}}]}`
	}
	const source, clevis = "$.storage.files.1.contents.source", "$.storage.luks.1.clevis"
	for _, c := range []struct{ name, in, want string }{
		{"nothing", ``, ""},
		{"no source", `"storage":{"files":[{"path":"/a"}]}`, ""},
		{"empty", file(""), ""},
		{"data", file("data:,x"), ""},
		{"data in capitals", file("DATA:,x"), ""},
		{"oem", file("oem:///x"), ""},
		{"http", file("http://h"), source},
		{"capitals", file("HTTPS://h"), source},
		{"tftp", file("tftp://h"), source},
		{"s3", file("s3://b/o"), source},
		{"gs", file("gs://b/o"), source},
		{"arn", file("arn:aws:s3:::b/o"), source},
		{"append", `"storage":{"files":[{"path":"/a","append":[{"source":"data:,x"},{"source":"http://h"}]}]}`, "$.storage.files.0.append.1.source"},
		{"key file", `"storage":{"luks":[{"name":"l","keyFile":{"source":"http://h"}}]}`, "$.storage.luks.0.keyFile.source"},
		{"tang", luks(`"tang":[{"url":"http://a","advertisement":"{}"},{"url":"http://b"}]`), clevis + ".tang.1"},
		{"tang with empty advertisement", luks(`"tang":[{"url":"http://b","advertisement":""}]`), clevis + ".tang.0"},
		{"tang offline", luks(`"tang":[{"url":"http://a","advertisement":"{}"}]`), ""},
		{"custom pin", luks(`"custom":{"pin":"x","config":"{}","needsNetwork":true}`), clevis + ".custom"},
		{"custom pin offline", luks(`"custom":{"pin":"x","config":"{}","needsNetwork":false}`), ""},
		{"tpm2", luks(`"tpm2":true`), ""},
		{"first of two", `"ignition":{"config":{"replace":{"source":"http://r"}}},` + file("http://h"), "$.ignition.config.replace.source"},
	} {
		t.Run(c.name, func(t *testing.T) {
			config, err := UnmarshalCache([]byte("{" + c.in + "}"))
			if err != nil {
				t.Fatal(err)
			}
			needed, at, err := NeedsNetwork(&config)
			if err != nil || needed != (c.want != "") || needed && at.String() != c.want {
				t.Errorf("%v at %s, %v; want %s", needed, at, err, c.want)
			}
		})
	}
}

// TestNeedsNetworkError: a source that is no URL, which no checked config has, is an error that does not quote it.
func TestNeedsNetworkError(t *testing.T) {
	c := Config{Storage: Storage{Files: []File{{Contents: Resource{Source: new("http://user:secret@h/%zz")}}}}}
	needed, _, err := NeedsNetwork(&c)
	var entry *EntryError
	if needed || !errors.As(err, &entry) || entry.Path != "$.storage.files.0.contents" ||
		err.Error() != "$.storage.files.0.contents: unable to parse url" {
		t.Errorf("%v, %v, %+v", needed, err, entry)
	}
}
