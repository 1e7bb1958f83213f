// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// fullDocument is a config that has every field of version v but Tang's servers, which no custom pin bears beside it.
func fullDocument(v Version) []byte {
	var b bytes.Buffer
	var write func(o *object, narrow map[string]Version)
	write = func(o *object, narrow map[string]Version) {
		b.WriteByte('{')
		first := true
		for i := range o.fields {
			f := &o.fields[i]
			if !f.known(v, narrow) || f.name == "tang" {
				continue
			}
			if !first {
				b.WriteByte(',')
			}
			first = false
			b.WriteString(`"` + f.name + `":`)
			if f.list {
				b.WriteByte('[')
			}
			switch {
			case f.elem != nil:
				write(f.elem, f.narrow)
			case f.name == "version":
				b.WriteString(`"` + v.String() + `"`)
			default:
				b.WriteString(sampleValue(o, f))
			}
			if f.list {
				b.WriteByte(']')
			}
		}
		b.WriteByte('}')
	}
	write(describeConfig(), nil)
	return b.Bytes()
}

// sampleValue is a value that the rules allow beside all others.
func sampleValue(o *object, f *field) string {
	switch jsonType(f) {
	case "integer":
		if o.typ == reflect.TypeFor[NodeOwner]() {
			return "null" // not beside a name
		}
		if o.typ == reflect.TypeFor[Clevis]() {
			return "0" // not beside a custom pin
		}
		if f.name == "spares" {
			return "2"
		}
		return "1"
	case "boolean":
		switch f.name {
		case "tpm2", "enabled", "hard":
			return "false"
		}
		return "true"
	}
	name := o.typ.Name() + "." + f.name
	if s, ok := map[string]string{
		"Resource.source": "http://h/x", "Resource.compression": "gzip", "Verification.hash": "sha512-" + strings.Repeat("0", 128),
		"Proxy.httpProxy": "http://p", "Proxy.httpsProxy": "https://p", "Disk.device": "/dev/a", "Filesystem.device": "/dev/b",
		"Filesystem.format": "ext4", "Filesystem.path": "/mnt", "LUKS.device": "/dev/c", "RAID.devices": "/dev/d", "RAID.level": "1",
		"Partition.guid": guidForm, "Partition.typeGuid": guidForm, "Directory.path": "/directory", "File.path": "/file",
		"Link.path": "/link", "Unit.name": "a.service", "Dropin.name": "a.conf", "Unit.contents": "[Install]\\nWantedBy=x",
		"Dropin.contents": "[Unit]\\nA=b", "Tang.url": "http://t", "Tang.advertisement": "{}", "ClevisCustom.pin": "sss",
		"KernelArguments.shouldExist": "a=b", "KernelArguments.shouldNotExist": "c",
	}[name]; ok {
		return `"` + s + `"`
	}
	return `"` + f.name + `"`
}

// TestFullDocument: a document with every field of its version is read without a word, loses nothing on its way to
// the newest form and through the cache, and is what it was when it is merged with nothing.
func TestFullDocument(t *testing.T) {
	for _, v := range Versions {
		t.Run(v.String(), func(t *testing.T) {
			raw := fullDocument(v)
			c, r, err := Parse(raw)
			if err != nil || len(r.Entries) != 0 {
				t.Fatalf("%v\n%s\n%s", err, r, raw)
			}
			if r := ValidateMerged(c); len(r.Entries) != 0 {
				t.Errorf("after merging: %s", r)
			}
			cache, err := MarshalCache(c)
			if err != nil {
				t.Fatal(err)
			}
			old := strings.Replace(string(raw), `"version":"`+v.String(), `"version":"`+MaxVersion(), 1)
			if got, want := leaves(t, cache), leaves(t, []byte(old)); !reflect.DeepEqual(got, want) {
				t.Errorf("got  %v\nwant %v", got, want)
			}
			again, err := UnmarshalCache(cache)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range []struct {
				name          string
				parent, child Config
			}{{"over nothing", Empty(), again}, {"below nothing", again, Empty()}} {
				if got, _ := MarshalCache(Merge(m.parent, m.child)); !bytes.Equal(got, cache) {
					t.Errorf("%s:\n%s\nwant:\n%s", m.name, got, cache)
				}
			}
		})
	}
}

// leaves gives all values of a document that are not null, by path.
func leaves(t *testing.T, raw []byte) map[string]any {
	t.Helper()
	var doc any
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	var walk func(at string, v any)
	walk = func(at string, v any) {
		switch v := v.(type) {
		case nil:
		case map[string]any:
			for name, member := range v {
				walk(at+"."+name, member)
			}
		case []any:
			for _, element := range v {
				walk(at+"[]", element)
			}
		default:
			all[at] = v
		}
	}
	walk("$", doc)
	return all
}
