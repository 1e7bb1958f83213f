// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// ruleCase is one config and the report's lines without the final newline.
type ruleCase struct {
	name string
	v    Version
	c    Config
	want []string
}

func runRules(t *testing.T, tests []ruleCase) {
	t.Helper()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := validateRules(&tt.c, tt.v, func(path ...any) bool { return false })
			var got []string
			for _, e := range r.Entries {
				got = append(got, e.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
}

func storageOf(s Storage) Config { return Config{Storage: s} }

func fileOf(f File) Config { return storageOf(Storage{Files: []File{f}}) }

func contentsOf(r Resource) Config { return fileOf(File{Node: Node{Path: "/f"}, Contents: r}) }

func TestRulesNodes(t *testing.T) {
	const specialBits = "warning at $.storage.files.0.mode: setuid/setgid/sticky bits are not supported or functional in spec versions older than 3.6.0"
	const badMode = "error at $.storage.files.0.mode: illegal file mode"
	path := func(p string) Config { return fileOf(File{Node: Node{Path: p}}) }
	mode := func(m int) Config { return fileOf(File{Node: Node{Path: "/f"}, Mode: &m}) }
	pathError := func(m string) []string { return []string{"error at $.storage.files.0.path: " + m} }
	runRules(t, []ruleCase{
		{"root", V3_0, path("/"), nil},
		{"dots in names", V3_0, path("/..a/.b/c..."), nil},
		{"empty path", V3_0, path(""), pathError("path not specified")},
		{"relative path", V3_0, path("a"), pathError("path not absolute")},
		{"trailing slash", V3_0, path("/a/"), pathError("path is not fully simplified")},
		{"two slashes", V3_0, path("//"), pathError("path is not fully simplified")},
		{"dot", V3_0, path("/a/./b"), pathError("path is not fully simplified")},
		{"dot dot", V3_0, path("/a/.."), pathError("path is not fully simplified")},
		{"newline", V3_0, path("/a\nb"), pathError("path contains a control character")},
		{"delete", V3_0, path("/a\x7f"), pathError("path contains a control character")},
		{"non-ASCII", V3_0, path("/\u00e4"), nil},
		{"mode 0", V3_0, mode(0), nil},
		{"mode 4095", V3_6, mode(4095), nil},
		{"mode 4095 before", V3_5, mode(4095), []string{specialBits}},
		{"mode 0777 before", V3_5, mode(0o777), nil},
		{"mode 4096", V3_5, mode(4096), []string{badMode}},
		{"mode -1", V3_6, mode(-1), []string{badMode}},
		{"mode -1 before", V3_5, mode(-1), []string{badMode, specialBits}},
		{"directory mode", V3_7, storageOf(Storage{Directories: []Directory{{Node: Node{Path: "/d", Overwrite: new(true)}, Mode: new(4096)}}}),
			[]string{"error at $.storage.directories.0.mode: illegal file mode"}},
		{"overwrite without source", V3_0, fileOf(File{Node: Node{Path: "/f", Overwrite: new(true)}, Append: []Resource{{Source: new("data:,a")}}}),
			[]string{"error at $.storage.files.0.overwrite: overwrite must be false if source is unspecified"}},
		{"overwrite with empty source", V3_0, fileOf(File{Node: Node{Path: "/f", Overwrite: new(true)}, Contents: Resource{Source: new("")}}), nil},
		{"owner twice", V3_0, fileOf(File{Node: Node{Path: "/f", User: NodeOwner{new(0), new("u")}, Group: NodeOwner{new(0), new("g")}}}),
			[]string{"error at $.storage.files.0.group: cannot set both id and name", "error at $.storage.files.0.user: cannot set both id and name"}},
		{"owner with empty name", V3_0, fileOf(File{Node: Node{Path: "/f", User: NodeOwner{new(0), new("")}}}), nil},
		{"empty target", V3_2, storageOf(Storage{Links: []Link{{Node: Node{Path: "/l"}, Target: new("")}}}), nil},
		{"empty target refused", V3_3, storageOf(Storage{Links: []Link{{Node: Node{Path: "/l"}, Target: new("")}}}),
			[]string{"error at $.storage.links.0.target: link target is required"}},
	})
}

func TestRulesResources(t *testing.T) {
	const at = "error at $.storage.files.0.contents"
	sum := "sha512-" + strings.Repeat("0", 128)
	headers := []HTTPHeader{{Name: "a", Value: new("b")}}
	merge := func(r Resource) Config { return Config{Ignition: Ignition{Config: Sources{Merge: []Resource{r}}}} }
	ca := func(r Resource) Config {
		return Config{Ignition: Ignition{Security: Security{TLS{[]Resource{r}}}}}
	}
	runRules(t, []ruleCase{
		{"gzip", V3_0, contentsOf(Resource{Source: new("data:,"), Compression: new("gzip")}), nil},
		{"empty compression", V3_0, contentsOf(Resource{Compression: new("")}), nil},
		{"unknown compression", V3_0, contentsOf(Resource{Compression: new("xz")}), []string{at + ".compression: invalid compression method"}},
		{"hash without source", V3_0, contentsOf(Resource{Verification: Verification{&sum}}),
			[]string{at + ".verification.hash: source must be specified if verification is specified"}},
		{"hash with empty source", V3_0, contentsOf(Resource{Source: new(""), Verification: Verification{&sum}}), nil},
		{"bad hash", V3_0, contentsOf(Resource{Source: new(""), Verification: Verification{new("x")}}),
			[]string{at + ".verification.hash: malformed hash specifier"}},
		{"bad source", V3_0, contentsOf(Resource{Source: new("ftp://a")}), []string{at + ".source: invalid url scheme"}},
		{"headers", V3_1, contentsOf(Resource{Source: new("HTTP://a"), HTTPHeaders: headers}), nil},
		{"headers without source", V3_1, contentsOf(Resource{HTTPHeaders: headers}), []string{at + ".httpHeaders: unable to parse url"}},
		{"headers with empty source", V3_1, contentsOf(Resource{Source: new(""), HTTPHeaders: headers}), []string{at + ".httpHeaders: unable to parse url"}},
		{"headers with unparsable source", V3_1, contentsOf(Resource{Source: new("http://%zz"), HTTPHeaders: headers}),
			[]string{at + ".source: unable to parse url", at + ".httpHeaders: unable to parse url"}},
		{"headers with data", V3_1, contentsOf(Resource{Source: new("data:,"), HTTPHeaders: headers}),
			[]string{at + ".httpHeaders: cannot use HTTP headers with this source scheme"}},
		{"header fields", V3_1, contentsOf(Resource{Source: new("http://a"), HTTPHeaders: []HTTPHeader{{}, {Name: "b", Value: new("")}}}),
			[]string{at + ".httpHeaders.0.name: HTTP header name can't be empty", at + ".httpHeaders.1.value: unable to parse HTTP header"}},
		{"append", V3_1, fileOf(File{Node: Node{Path: "/f"}, Append: []Resource{{}, {Source: new(":")}}}),
			[]string{"error at $.storage.files.0.append.1.source: unable to parse url"}},
		{"merge without source in 3.0.0", V3_0, merge(Resource{Verification: Verification{&sum}}), nil},
		{"merge without source", V3_1, merge(Resource{}), []string{"error at $.ignition.config.merge.0: source is required"}},
		{"merge with empty source", V3_1, merge(Resource{Source: new("")}), []string{"error at $.ignition.config.merge.0: source is required"}},
		{"merge with bad source", V3_1, merge(Resource{Source: new("x:")}),
			[]string{"error at $.ignition.config.merge.0: invalid url scheme", "error at $.ignition.config.merge.0.source: invalid url scheme"}},
		{"CA without source in 3.0.0", V3_0, ca(Resource{Source: new("")}),
			[]string{"error at $.ignition.security.tls.certificateAuthorities.0.source: invalid url scheme"}},
		{"CA without source", V3_1, ca(Resource{}), []string{"error at $.ignition.security.tls.certificateAuthorities.0: source is required"}},
		{"replace", V3_1, Config{Ignition: Ignition{Config: Sources{Replace: Resource{Source: new("")}}}}, nil},
		{"replace with hash alone", V3_1, Config{Ignition: Ignition{Config: Sources{Replace: Resource{Verification: Verification{&sum}}}}},
			[]string{"error at $.ignition.config.replace.verification.hash: source must be specified if verification is specified"}},
		{"proxies", V3_1, Config{Ignition: Ignition{Proxy: Proxy{HTTPProxy: new(""), HTTPSProxy: new("http://a")}}},
			[]string{"error at $.ignition.proxy.httpProxy: proxies must be http(s)",
				"warning at $.ignition.proxy.httpsProxy: insecure plaintext HTTP proxy specified for HTTPS resources"}},
		{"bad proxies", V3_1, Config{Ignition: Ignition{Proxy: Proxy{HTTPProxy: new(":"), HTTPSProxy: new("socks5://a")}}},
			[]string{"error at $.ignition.proxy.httpProxy: unable to parse url", "error at $.ignition.proxy.httpsProxy: proxies must be http(s)"}},
		{"good proxies", V3_1, Config{Ignition: Ignition{Proxy: Proxy{HTTPProxy: new("http://a"), HTTPSProxy: new("https://a")}}}, nil},
		{"negative timeout before", V3_6, Config{Ignition: Ignition{Timeouts: Timeouts{HTTPTotal: new(-1)}}}, nil},
		{"negative timeout", V3_7, Config{Ignition: Ignition{Timeouts: Timeouts{HTTPTotal: new(-1)}}},
			[]string{"error at $.ignition.timeouts.httpTotal: httpTotal must not be negative, but is -1"}},
		{"account names", V3_0, Config{Passwd: Passwd{Groups: []Group{{Name: "-g"}}, Users: []User{{}, {Name: "u"}}}},
			[]string{`warning at $.passwd.groups.0.name: group name "-g" begins with a dash and will be refused`,
				"warning at $.passwd.users.0.name: user name is empty"}},
	})
}

// A merged config is judged without the rules that are newer than the stable versions: parts of it may
// come from documents that these rules do not apply to. Warnings of the spec are repeated, our own advice is not.
func TestRulesAfterMerge(t *testing.T) {
	c := Config{
		Ignition: Ignition{Timeouts: Timeouts{HTTPTotal: new(-1)}, Proxy: Proxy{HTTPSProxy: new("http://p")}},
		Passwd:   Passwd{Users: []User{{}, {Name: "-x"}}},
		Storage:  Storage{Links: []Link{{Node: Node{Path: "/l"}, Target: new("")}}},
		Systemd:  Systemd{Units: []Unit{{Name: "../a.service"}}},
	}
	const want = "warning at $.ignition.proxy.httpsProxy: insecure plaintext HTTP proxy specified for HTTPS resources\n" +
		"error at $.storage.links.0.target: link target is required\n"
	if got := validateRules(&c, V3_7, nil).String(); got != want {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
}

func BenchmarkRules(b *testing.B) {
	var c Config
	for i := range 5000 {
		f := File{Node: Node{Path: fmt.Sprintf("/opt/some/directory/file%d", i)}, Mode: new(0o644)}
		f.Contents.Source = new("data:," + strings.Repeat("payload%20", 200))
		c.Storage.Files = append(c.Storage.Files, f)
	}
	for i := range 1000 {
		c.Storage.Links = append(c.Storage.Links, Link{Node: Node{Path: fmt.Sprintf("/usr/lib/link%d", i)}, Target: new("x")})
	}
	b.ReportAllocs()
	for b.Loop() {
		if r := validateRules(&c, V3_7, nil); len(r.Entries) != 0 {
			b.Fatal(r.String())
		}
		if r := validateDuplicates(&c); len(r.Entries) != 0 {
			b.Fatal(r.String())
		}
	}
}
