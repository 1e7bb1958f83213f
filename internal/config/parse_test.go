// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/coreos/vcontext/path"
)

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func doc(version, rest string) string {
	return `{"ignition":{"version":"` + version + `"}` + rest + `}`
}

func TestParseErrors(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     error
		report   string // a part of it
	}{
		{"no bytes", "", ErrEmpty, ""},
		{"cloud-config", "#cloud-config\nx: y\n", ErrEmpty, ""},
		{"cloud-config with CR and blanks", "#cloud-config \r\nx: y", ErrEmpty, ""},
		{"cloud-config compressed", gz("#cloud-config\n"), ErrEmpty, ""},
		{"cloud-config after blank line", "\n#cloud-config\n", ErrInvalid, "line 2 col 2"},
		{"cloud-config archive", "#cloud-config-archive\n", ErrInvalid, "line 1 col 2"},
		{"script", "#!/bin/sh\n", ErrEmpty, ""},
		{"mime", "content-type: multipart/mixed; b=x\nMIME-Version: 1.0\n\n--x", ErrEmpty, ""},
		{"mime without end of header", "Content-Type: multipart/mixed\n", ErrInvalid, "line 1 col 2"},
		{"gzip of json", gz(doc("3.0.0", "")), ErrInvalid, "line 1 col 2"},
		{"blank", " \n", ErrInvalid, "line 2 col 1: invalid JSON: expected a value, but the document ends"},
		{"byte order mark", "\ufeff{}", ErrInvalid, "line 1 col 2"},
		{"trailing text", doc("3.0.0", "") + "x", ErrInvalid, "the end of the document"},
		{"trailing comma", `{"a":1,}`, ErrInvalid, "line 1 col 9"},
		{"foo", "foo", ErrInvalid, "error at line 1 col 3: "},
		{"list", "[]", ErrInvalid, "error at line 1 col 2: the document must be an object, not a list"},
		{"open object", "{\n", ErrInvalid, "error at line 2 col 1"},
		{"null", "null", ErrInvalidVersion, ""},
		{"empty object", "{}", ErrInvalidVersion, ""},
		{"no version", `{"ignition":{}}`, ErrInvalidVersion, ""},
		{"two parts", doc("3.0", ""), ErrInvalidVersion, ""},
		{"letter v", doc("v3.0.0", ""), ErrInvalidVersion, ""},
		{"sign", doc("+3.0.0", ""), ErrInvalidVersion, ""},
		{"past experimental", doc("3.6.0-experimental", ""), ErrUnknownVersion, ""},
		{"metadata", doc("3.0.0+x", ""), ErrUnknownVersion, ""},
		{"empty metadata", doc("03.0.0-+", ""), nil, ""},
		{"future", doc("3.7.0", ""), ErrUnknownVersion, ""},
		{"spec 1", `{"ignitionVersion":1}`, ErrUnknownVersion, ""},
		{"version number", `{"ignition":{"version":3}}`, ErrInvalid, "$.ignition.version must be a string, not a number"},
		{"string for integer", doc("3.0.0", `,"storage":{"files":[{"path":"/a","mode":"420"}]}`), ErrInvalid, "$.storage.files.0.mode must be an integer, not a string"},
		{"object for list", doc("3.0.0", `,"storage":{"files":{}}`), ErrInvalid, "must be a list of objects, not an object"},
		{"fraction", doc("3.0.0", `,"storage":{"files":[{"path":"/a","mode":420.0}]}`), ErrInvalid, "not 420.0"},
		{"too deep", strings.Repeat("[", 10001) + strings.Repeat("]", 10001), ErrInvalid, "col 10002: invalid JSON: nested deeper"},
		{"deep unknown key", doc("3.0.0", `,"x":`+strings.Repeat("[", 9999)+strings.Repeat("]", 9999)), nil, "unused key x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, r, err := Parse([]byte(c.in))
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if c.want != nil && !strings.HasPrefix(err.Error(), c.want.Error()) {
				t.Errorf("text %q does not begin with %q", err, c.want)
			}
			if !strings.Contains(r.String(), c.report) || c.report == "" && r.String() != "" {
				t.Errorf("report %q, want %q", r.String(), c.report)
			}
		})
	}
}

func TestGate(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"unknown keys", "{\"ignition\":{\"version\":\"3.0.0\"},\n \"foo\": {}, \"storage\":{\"bar\":1}}",
			"warning at $.foo, line 2 col 2: unused key foo\nwarning at $.storage.bar, line 2 col 24: unused key bar\n"},
		{"wrong type under a gated key", doc("3.1.0", `,"storage":{"luks":7}`), "warning at $.storage.luks, line 1 col 44: unused key luks\n"},
		{"narrowed", `{"ignition":{"version":"3.0.0","config":{"replace":{"compression":5}}}}`,
			"warning at $.ignition.config.replace.compression, line 1 col 53: unused key compression\n"},
		{"letter case", doc("3.0.0", `,"Storage":{"x":1}`), "warning at $.Storage, line 1 col 33: unused key Storage\n"},
		{"null object", doc("3.0.0", `,"storage":null`), "warning at $.storage, line 1 col 43: " + fmt.Sprintf(nullObject, "$.storage") + "\n"},
		{"null list", doc("3.0.0", `,"storage":{"files":null}`), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, r, err := Parse([]byte(c.in))
			if err != nil || r.String() != c.want {
				t.Errorf("got %q, %v; want %q", r.String(), err, c.want)
			}
		})
	}
}

func mustParse(t testing.TB, in string) Config {
	t.Helper()
	c, r, err := Parse([]byte(in))
	if err != nil {
		t.Fatalf("%v\n%s", err, r)
	}
	return c
}

func TestDecode(t *testing.T) {
	c := mustParse(t, doc("3.4.0", `,"Storage":{"files":[{"path":"/old"}],"files":[{"path":"/a","PATH":"/b","mode":2541,"contents":{"source":"data:,x"}}],`+
		`"luks":[{"name":"x","device":"/d","clevis":{"tang":[{"url":"http://a","thumbprint":"t","advertisement":"{}"}]}}]},"storage":{"raid":[]},"passwd":{"users":[{"name":"u","gecos":"\u00e9\ud800\n\ud83d\ude00"}]}`))
	if g := *c.Passwd.Users[0].Gecos; g != "é\ufffd\n😀" {
		t.Errorf("escapes read as %q", g)
	}
	f := c.Storage.Files
	if len(f) != 1 || f[0].Path != "/b" || *f[0].Mode != 0o755 || *f[0].Contents.Source != "data:,x" {
		t.Errorf("files %+v", f)
	}
	if *c.Storage.LUKS[0].Clevis.Tang[0].Advertisement != "{}" {
		t.Error("advertisement lost")
	}
	if c.Storage.RAID == nil || c.Storage.Disks != nil {
		t.Error("null and empty lists are not kept apart")
	}
	if c.Ignition.Version != MaxVersion() {
		t.Error("version", c.Ignition.Version)
	}
}

func TestMerge(t *testing.T) {
	for _, c := range []struct{ name, parent, child, want string }{
		{"child empty string wins", `"systemd":{"units":[{"name":"a.service","contents":"x","mask":true}]}`, `"systemd":{"units":[{"name":"a.service","contents":""}]}`,
			`"systemd":{"units":[{"contents":"","mask":true,"name":"a.service"}]}`},
		{"node changes type", `"storage":{"files":[{"path":"/a"},{"path":"/b"}]}`, `"storage":{"links":[{"path":"/a","target":"t"}]}`,
			`"storage":{"files":[{"path":"/b"}],"links":[{"path":"/a","target":"t"}]}`},
		{"argument moves", `"kernelArguments":{"shouldExist":["a","b"]}`, `"kernelArguments":{"shouldNotExist":["a"],"shouldExist":["c"]}`,
			`"kernelArguments":{"shouldExist":["b","c"],"shouldNotExist":["a"]}`},
		{"append", `"storage":{"filesystems":[{"device":"/d","options":["a"]}]}`, `"storage":{"filesystems":[{"device":"/d","options":["a"]}]}`,
			`"storage":{"filesystems":[{"device":"/d","options":["a","a"]}]}`},
		{"header removed, or kept if there is none", `"storage":{"files":[{"path":"/a","contents":{"httpHeaders":[{"name":"A","value":"1"},{"name":"B","value":"2"}]}}]}`,
			`"storage":{"files":[{"path":"/a","contents":{"httpHeaders":[{"name":"A"},{"name":"b"}]}}]}`,
			`"storage":{"files":[{"path":"/a","contents":{"httpHeaders":[{"name":"B","value":"2"},{"name":"b"}]}}]}`},
		{"partition keys", `"storage":{"disks":[{"device":"/d","partitions":[{"number":1,"label":"x"},{"label":"y"}]}]}`,
			`"storage":{"disks":[{"device":"/d","partitions":[{"label":"x"},{"label":"y","sizeMiB":1}]}]}`,
			`"storage":{"disks":[{"device":"/d","partitions":[{"number":1,"label":"x"},{"label":"y","sizeMiB":1},{"label":"x"}]}]}`},
		{"set", `"passwd":{"users":[{"name":"u","groups":["a","b"]}]}`, `"passwd":{"users":[{"name":"u","groups":["c","a"]}]}`,
			`"passwd":{"users":[{"name":"u","groups":["a","b","c"]}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			read := func(s string) []byte {
				v, err := UnmarshalCache([]byte(`{"ignition":{"version":"3.7.0-experimental"},` + s + `}`))
				if err != nil {
					t.Fatal(err)
				}
				out, _ := MarshalCache(v)
				return out
			}
			p, _ := UnmarshalCache(read(c.parent))
			ch, _ := UnmarshalCache(read(c.child))
			got, _ := MarshalCache(Merge(p, ch))
			if want := read(c.want); !bytes.Equal(got, want) {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestFieldsAgreeWithTable(t *testing.T) {
	raw, err := os.ReadFile("testdata/fields/since.tsv")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, line := range strings.Split(strings.TrimSpace(string(raw)), "\n")[1:] {
		p, since, _ := strings.Cut(line, "\t")
		want[p] = since
	}
	got := map[string]string{}
	var walk func(o *object, at string, since Version, narrow map[string]Version)
	walk = func(o *object, at string, since Version, narrow map[string]Version) {
		for _, f := range o.fields {
			s := since
			for _, v := range []Version{f.since, narrow[f.name]} {
				if s.Before(v) {
					s = v
				}
			}
			p := at + f.name
			got[p] = s.String()
			if f.elem != nil {
				if f.list {
					p += "[]"
				}
				walk(f.elem, p+".", s, f.narrow)
			}
		}
	}
	walk(describeConfig(), "", V3_0, nil)
	for p := range want {
		if got[p] != want[p] {
			t.Errorf("%s: since %q, want %q", p, got[p], want[p])
		}
	}
	for p := range got {
		if want[p] == "" {
			t.Errorf("%s is not in the table", p)
		}
	}
}

func TestRedactURL(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "https://h:80/a@b?versionId=%20", "https://h:80/a@b?versionId=%20"},
		{"password", "https://u:p@h/", "https://u:xxxxx@h/"},
		{"unparsable", "https://u:p/q@h/%zz", "https://u:xxxxx@h/%zz"},
		{"query", "https://h/?a=1&X-Amz-Date=2&Sig=3#access_token=4", "https://h/?a=1&X-Amz-Date=redacted&Sig=redacted#access_token=redacted"},
		{"data", "data:text/plain;base64,c2VjcmV0", "data:text/plain,..."},
		{"data without comma", "data:secret", "data:,..."},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := RedactURL(c.in); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestMarshalRedacted(t *testing.T) {
	c := mustParse(t, doc("3.4.0", `,"passwd":{"users":[{"name":"u","passwordHash":"HUSH"}]},"systemd":{"units":[{"name":"a.service","contents":"HUSH"}]},`+
		`"storage":{"files":[{"path":"/a","contents":{"source":"data:,HUSH"}},{"path":"/b","contents":{"source":"http://u:HUSH@h","httpHeaders":[{"name":"A","value":"HUSH"}]}}],`+
		`"luks":[{"name":"l","device":"/d","keyFile":{"source":"http://HUSH"}}]}`))
	out, err := MarshalRedacted(c)
	if err != nil || bytes.Contains(out, []byte("HUSH")) || !json.Valid(out) {
		t.Errorf("%v %s", err, out)
	}
	if *c.Passwd.Users[0].PasswordHash != "HUSH" {
		t.Error("the config itself was changed")
	}
}

func TestLocate(t *testing.T) {
	in := []byte("{\"a\":\n [1, {\"b\": 2}]}")
	if l, c, ok := Locate(in, path.New("json", "a", 1, "b")); l != 2 || c != 12 || !ok {
		t.Error(l, c, ok)
	}
	if l, c, ok := Locate(in, path.New("json", "a", 5)); l != 2 || c != 2 || ok {
		t.Error(l, c, ok)
	}
}

func manyFiles(n, size int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"ignition":{"version":"3.6.0"},"storage":{"files":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"path":"/f/%d","mode":420,"contents":{"source":"data:,%s"}}`, i, strings.Repeat("x", size))
	}
	b.WriteString("]}}")
	return b.Bytes()
}

func benchParse(b *testing.B, raw []byte) {
	b.ReportAllocs()
	b.SetBytes(int64(len(raw)))
	for b.Loop() {
		if _, _, err := Parse(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse10MB(b *testing.B)      { benchParse(b, manyFiles(100, 100<<10)) }
func BenchmarkParse5000Files(b *testing.B) { benchParse(b, manyFiles(5000, 20)) }

func BenchmarkMerge(b *testing.B) {
	c := mustParse(b, string(manyFiles(5000, 20)))
	b.ReportAllocs()
	for b.Loop() {
		Merge(c, c)
	}
}

func BenchmarkMarshalCache(b *testing.B) {
	c := mustParse(b, string(manyFiles(100, 100<<10)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := MarshalCache(c); err != nil {
			b.Fatal(err)
		}
	}
}
