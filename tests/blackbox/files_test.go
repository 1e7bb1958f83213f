// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// storage is a config with this content of its storage section.
func storage(version, section string) string {
	return fmt.Sprintf(`{"ignition":{"version":%q},"storage":{%s}}`, version, section)
}

// TestNodes has a row for each case of what may be at a path before, and what
// the config wants there.
func TestNodes(t *testing.T) {
	needRoot(t)
	link := func(target, at string) func(*machine) {
		return func(m *machine) { m.must(os.Symlink(target, filepath.Join(m.root, at))) }
	}
	file := func(at, text string) func(*machine) {
		return func(m *machine) { m.write("sysroot/"+at, text) }
	}
	dir := func(at string) func(*machine) {
		return func(m *machine) { m.must(os.MkdirAll(filepath.Join(m.root, at), 0o700)) }
	}
	for _, row := range []struct {
		name    string
		before  func(*machine)
		version string
		section string
		fail    string            // text of the error, "" for success
		nodes   map[string]string // path: "mode uid:gid" afterwards
		files   map[string]string // path: content
	}{
		// directories
		{"directory: new, with parents", nil, "3.4.0", `"directories":[{"path":"/a/b/c","mode":448,"user":{"id":5},"group":{"id":6}}]`, "",
			map[string]string{"a": "drwxr-xr-x 0:0", "a/b": "drwxr-xr-x 0:0", "a/b/c": "drwx------ 5:6"}, nil},
		{"directory: there, only its mode changes", func(m *machine) { dir("d")(m); file("d/f", "x")(m) }, "3.4.0", `"directories":[{"path":"/d","mode":493}]`, "",
			map[string]string{"d": "drwxr-xr-x 0:0"}, map[string]string{"d/f": "x"}},
		{"directory: there, no mode", dir("d"), "3.4.0", `"directories":[{"path":"/d"}]`, "", map[string]string{"d": "drwx------ 0:0"}, nil},
		{"directory: a file in the way", file("d", "x"), "3.4.0", `"directories":[{"path":"/d"}]`, "error creating directory ROOT/d: A non-directory already exists and overwrite is false", nil, nil},
		{"directory: overwrites a file", file("d", "x"), "3.4.0", `"directories":[{"path":"/d","overwrite":true}]`, "", map[string]string{"d": "drwxr-xr-x 0:0"}, nil},
		{"directory: overwrites a full one", file("d/f", "x"), "3.4.0", `"directories":[{"path":"/d","overwrite":true}],"files":[{"path":"/d/g"}]`, "",
			map[string]string{"d": "drwxr-xr-x 0:0", "d/f": "", "d/g": "-rw-r--r-- 0:0"}, nil},
		{"directory: sticky and set-group-id", nil, "3.6.0", `"directories":[{"path":"/d","mode":2047}]`, "", map[string]string{"d": "dgtrwxrwxrwx 0:0"}, nil},
		{"directory: deep ones listed first", nil, "3.4.0", `"directories":[{"path":"/x/y","mode":448},{"path":"/x","mode":457}]`, "",
			map[string]string{"x": "drwx--x--x 0:0", "x/y": "drwx------ 0:0"}, nil},
		// files
		{"file: nothing there, no contents", nil, "3.4.0", `"files":[{"path":"/f"}]`, "", map[string]string{"f": "-rw-r--r-- 0:0"}, map[string]string{"f": ""}},
		{"file: empty contents", nil, "3.4.0", `"files":[{"path":"/f","contents":{"source":""}}]`, "", nil, map[string]string{"f": ""}},
		{"file: contents and appends", nil, "3.4.0", `"files":[{"path":"/f","contents":{"source":"data:,a"},"append":[{"source":"data:,b"},{"source":"data:,c"}]}]`, "", nil, map[string]string{"f": "abc"}},
		{"file: append to nothing", nil, "3.4.0", `"files":[{"path":"/f","append":[{"source":"data:,b"}]}]`, "", nil, map[string]string{"f": "b"}},
		{"file: append without a source", file("f", "a"), "3.4.0", `"files":[{"path":"/f","append":[{},{"source":"data:,b"}]}]`, "", nil, map[string]string{"f": "ab"}},
		{"file: kept, mode and owner change", file("f", "a"), "3.4.0", `"files":[{"path":"/f","mode":384,"user":{"name":"core"},"group":{"name":"docker"}}]`, "",
			map[string]string{"f": "-rw------- 500:233"}, map[string]string{"f": "a"}},
		{"file: append keeps owner and mode", func(m *machine) {
			file("f", "a")(m)
			m.must(os.Chmod(filepath.Join(m.root, "f"), 0o640))
			m.must(os.Chown(filepath.Join(m.root, "f"), 7, 8))
		}, "3.4.0", `"files":[{"path":"/f","append":[{"source":"data:,b"}]}]`, "", map[string]string{"f": "-rw-r----- 7:8"}, map[string]string{"f": "ab"}},
		{"file: contents, but one is there", file("f", "a"), "3.4.0", `"files":[{"path":"/f","contents":{"source":"data:,b"}}]`, `error creating file "ROOT/f": A file exists there already and overwrite is false`, nil, map[string]string{"f": "a"}},
		{"file: a directory in the way", dir("f"), "3.4.0", `"files":[{"path":"/f"}]`, `error creating file "ROOT/f": A non regular file exists there already and overwrite is false`, nil, nil},
		{"file: a link in the way", link("x", "f"), "3.4.0", `"files":[{"path":"/f","contents":{"source":"data:,b"}}]`, `A non regular file exists there already and overwrite is false`, nil, nil},
		{"file: overwrites a file", file("f", "a"), "3.4.0", `"files":[{"path":"/f","overwrite":true,"contents":{"source":"data:,b"}}]`, "", map[string]string{"f": "-rw-r--r-- 0:0"}, map[string]string{"f": "b"}},
		{"file: overwrites a directory", file("f/x", "a"), "3.4.0", `"files":[{"path":"/f","overwrite":true,"contents":{"source":"data:,b"}}]`, "", nil, map[string]string{"f": "b"}},
		{"file: overwrites a dangling link", link("/nowhere", "f"), "3.4.0", `"files":[{"path":"/f","overwrite":true,"contents":{"source":"data:,b"}}]`, "", map[string]string{"f": "-rw-r--r-- 0:0", "nowhere": ""}, map[string]string{"f": "b"}},
		{"file: set-user-id from 3.6.0 on", nil, "3.6.0", `"files":[{"path":"/f","mode":2541,"user":{"id":5}}]`, "", map[string]string{"f": "urwxr-xr-x 5:0"}, nil},
		{"file: set-user-id before", nil, "3.5.0", `"files":[{"path":"/f","mode":2541}]`, "", map[string]string{"f": "-rwxr-xr-x 0:0"}, nil},
		{"file: unknown user", nil, "3.4.0", `"files":[{"path":"/f","contents":{"source":"data:,b"},"user":{"name":"nobody-here"}}]`, `error setting file permissions for ROOT/f: failed to determine correct uid and gid for ROOT/f: no such user "nobody-here"`, map[string]string{"f": ""}, nil},
		{"file: unknown group", nil, "3.4.0", `"files":[{"path":"/f","group":{"name":"none-such"}}]`, `no such group "none-such"`, map[string]string{"f": ""}, nil},
		{"file: below a file", file("f", "a"), "3.4.0", `"files":[{"path":"/f/g"}]`, "not a directory", nil, map[string]string{"f": "a"}},
		{"file: gzip", nil, "3.4.0", `"files":[{"path":"/f","contents":{"compression":"gzip","source":"data:;base64,H4sIAAAAAAACA0vOzy0oSi0uTk0BAB5LVpcKAAAA"}}]`, "", nil, map[string]string{"f": "compressed"}},
		{"file: cut gzip", nil, "3.4.0", `"files":[{"path":"/f","contents":{"compression":"gzip","source":"data:;base64,H4sIAAAAAAAA"}}]`, "unexpected EOF", map[string]string{"f": ""}, nil},
		{"file: hash of other bytes", nil, "3.4.0", `"files":[{"path":"/f","contents":{"source":"data:,b","verification":{"hash":"sha256-` + strings.Repeat("0", 64) + `"}}}]`, "hash verification failed (calculated 3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d but expected " + strings.Repeat("0", 64) + ")", map[string]string{"f": ""}, nil},
		{"file: hash in upper case", nil, "3.4.0", `"files":[{"path":"/f","contents":{"source":"data:,b","verification":{"hash":"sha256-3E23E8160039594A33894F6564E1B1348BBD7A0088D42C4ACB73EEAED59C009D"}}}]`, "", nil, map[string]string{"f": "b"}},
		{"file: hash that is not hex", nil, "3.4.0", `"files":[{"path":"/f","contents":{"source":"data:,b","verification":{"hash":"sha256-` + strings.Repeat("z", 64) + `"}}}]`, "Error parsing verification string", map[string]string{"f": ""}, nil},
		{"file: failed overwrite loses nothing", file("f", "old"), "3.4.0", `"files":[{"path":"/f","overwrite":true,"contents":{"source":"data:,b","verification":{"hash":"sha256-` + strings.Repeat("0", 64) + `"}}}]`, "hash verification failed", nil, map[string]string{"f": "old"}},
		{"file: failed append loses nothing", file("f", "old"), "3.4.0", `"files":[{"path":"/f","append":[{"source":"data:,new","verification":{"hash":"sha256-` + strings.Repeat("0", 64) + `"}}]}]`, "hash verification failed", nil, map[string]string{"f": "old"}},
		// soft links
		{"link: new, owner of the link itself", nil, "3.4.0", `"links":[{"path":"/l/x","target":"../etc/passwd","user":{"name":"core"},"group":{"id":9}}]`, "", map[string]string{"l/x": "Lrwxrwxrwx 500:9", "etc/passwd": "-rw-r--r-- 0:0"}, nil},
		{"link: dangling, text kept", nil, "3.4.0", `"links":[{"path":"/l","target":"./no//where/"}]`, "", map[string]string{"l": "Lrwxrwxrwx 0:0"}, nil},
		{"link: the same is there", link("a/./b", "l"), "3.4.0", `"links":[{"path":"/l","target":"a/b"}]`, "", nil, nil},
		{"link: another is there", link("a", "l"), "3.4.0", `"links":[{"path":"/l","target":"b"}]`, "error creating symlink ROOT/l: a symlink exists at that path but points to a, not b and overwrite is false", nil, nil},
		{"link: a file is there", file("l", "x"), "3.4.0", `"links":[{"path":"/l","target":"b"}]`, "error creating symlink ROOT/l: a non-symlink already exists at that path and overwrite is false", nil, map[string]string{"l": "x"}},
		{"link: overwrites a directory", file("l/x", "x"), "3.4.0", `"links":[{"path":"/l","target":"b","overwrite":true}]`, "", map[string]string{"l": "Lrwxrwxrwx 0:0"}, nil},
		// hard links
		{"hard link: to a deeper, later file", nil, "3.4.0", `"links":[{"path":"/h","target":"/a/b/f","hard":true}],"files":[{"path":"/a/b/f","contents":{"source":"data:,x"}}]`, "", nil, map[string]string{"h": "x"}},
		{"hard link: a relative target is taken from the root", file("t", "x"), "3.4.0", `"links":[{"path":"/d/h","target":"t","hard":true}]`, "", nil, map[string]string{"d/h": "x"}},
		{"hard link: to a link, not what it leads to", func(m *machine) { file("t", "x")(m); link("t", "s")(m) }, "3.4.0", `"links":[{"path":"/h","target":"/s","hard":true}]`, "", map[string]string{"h": "Lrwxrwxrwx 0:0"}, nil},
		{"hard link: the same is there", func(m *machine) {
			file("t", "x")(m)
			m.must(os.Link(filepath.Join(m.root, "t"), filepath.Join(m.root, "h")))
		}, "3.4.0", `"links":[{"path":"/h","target":"/t","hard":true}]`, "", nil, map[string]string{"h": "x"}},
		{"hard link: another file is there", func(m *machine) { file("t", "x")(m); file("h", "y")(m) }, "3.4.0", `"links":[{"path":"/h","target":"/t","hard":true}]`, "error creating hard link ROOT/h: a file already exists at that path but is not the target and overwrite is false", nil, map[string]string{"h": "y"}},
		{"hard link: no target", nil, "3.4.0", `"links":[{"path":"/h","target":"/t","hard":true}]`, "no such file or directory", map[string]string{"h": ""}, nil},
		// links in parent paths
		{"parent: absolute link", func(m *machine) { dir("real")(m); link("/real", "l")(m) }, "3.4.0", `"files":[{"path":"/l/f"}]`, "", nil, map[string]string{"real/f": ""}},
		{"parent: relative link", func(m *machine) { dir("a/real")(m); link("real", "a/l")(m) }, "3.4.0", `"files":[{"path":"/a/l/f"}]`, "", nil, map[string]string{"a/real/f": ""}},
		{"parent: link to a link", func(m *machine) { dir("real")(m); link("/m", "l")(m); link("/real", "m")(m) }, "3.4.0", `"files":[{"path":"/l/f"}]`, "", nil, map[string]string{"real/f": ""}},
		{"parent: dots beyond the root", func(m *machine) { dir("real")(m); link("../../../real", "l")(m) }, "3.4.0", `"files":[{"path":"/l/f"}]`, "", nil, map[string]string{"real/f": ""}},
		{"two entries meet", func(m *machine) { dir("real")(m); link("/real", "l")(m) }, "3.4.0", `"files":[{"path":"/l/f"},{"path":"/real/f"}]`,
			"file at /real/f resolved to ROOT/real/f after symlink chasing, but another entry with path /l/f also resolves there", map[string]string{"real/f": ""}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t)
			if row.before != nil {
				row.before(m)
			}
			m.once = strings.HasPrefix(row.name, "directory: overwrites")
			cfg := storage(row.version, row.section)
			if row.fail == "" {
				m.provision(cfg)
			} else {
				res := m.refuse(cfg)
				log := strings.ReplaceAll(res.stdout, m.root, "ROOT")
				wantText(t, log, row.fail)
				wantText(t, log, "CRITICAL : Ignition failed: failed to create files: ")
				wantText(t, log, "ERROR    : the failing config entry is $.storage.")
			}
			for path, want := range row.nodes {
				if want == "" {
					if m.exists("sysroot/" + path) {
						t.Errorf("%s is there", path)
					}
					continue
				}
				var mode string
				var uid, gid uint32
				_, err := fmt.Sscanf(want, "%s %d:%d", &mode, &uid, &gid)
				m.must(err)
				m.wantNode(path, mode, uid, gid)
			}
			for path, want := range row.files {
				m.wantFile(path, want)
			}
			m.wantOnlyMark(row.fail != "")
		})
	}
}

// TestOrder: entries of one depth stand in the log in config order, shallow ones first.
func TestOrder(t *testing.T) {
	var b strings.Builder
	for i := range 20 {
		fmt.Fprintf(&b, `{"path":"/d/f%02d"},`, 19-i)
	}
	m := newMachine(t)
	res := m.provision(storage("3.4.0", `"files":[{"path":"/d/e/deep"},`+b.String()+`{"path":"/top"}]`))
	var got []string
	for line := range strings.Lines(res.stdout) {
		if _, path, ok := strings.Cut(line, `[started]  writing file "`+m.root); ok {
			got = append(got, strings.TrimSuffix(strings.TrimSpace(path), `"`))
		}
	}
	want := []string{"/top"}
	for i := range 20 {
		want = append(want, fmt.Sprintf("/d/f%02d", 19-i))
	}
	want = append(want, "/d/e/deep", "/etc/.ignition-result.json")
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("got  %v\nwant %v", got, want)
	}
	wantText(t, res.stdout, "op(a): ") // operations are counted in hexadecimal
}

// TestParallelDownloads: at most eight at a time, all of them early, each once,
// with their lines in config order.
func TestParallelDownloads(t *testing.T) {
	var inFlight, most, total atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		total.Add(1)
		n := inFlight.Add(1)
		defer inFlight.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(time.Duration(50+50*(len(r.URL.Path)%3)) * time.Millisecond)
		fmt.Fprint(w, r.URL.Path)
	}))
	defer server.Close()
	var files []string
	for i := range 40 {
		files = append(files, fmt.Sprintf(`{"path":"/srv/%d/f","contents":{"source":"%s/%s"},"append":[{"source":"data:,+"}]}`, i, server.URL, strings.Repeat("x", i)))
	}
	m := newMachine(t)
	m.once = true // the requests are counted
	m.planned = func() { total.Store(0); most.Store(0) }
	res := m.provision(storage("3.4.0", `"files":[`+strings.Join(files, ",")+`]`))
	if n := most.Load(); n < 4 || n > 16 {
		t.Errorf("%d downloads at a time, want up to 16 short ones", n)
	}
	if total.Load() != 40 {
		t.Errorf("%d requests, want 40", total.Load())
	}
	at := -1
	for i := range 40 {
		m.wantFile(fmt.Sprintf("srv/%d/f", i), "/"+strings.Repeat("x", i)+"+")
		line := fmt.Sprintf("createFiles: op(%x): GET %s/%s: attempt #1\n", 2*i+1, server.URL, strings.Repeat("x", i))
		next := strings.Index(res.stdout, line)
		if next <= at {
			t.Fatalf("%q is not in its place in:\n%s", line, res.stdout)
		}
		at = next
	}
	m.wantNoLeftovers()
	if n := strings.Count(m.read("run/ops.jsonl"), `"kind":"fetch"`); n != 40 {
		t.Errorf("the record has %d downloads, want 40", n)
	}
}

// TestFirstFailureInOrder: the failure that is reported is the first in config
// order, not in time; later downloads are given up.
func TestFirstFailureInOrder(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/slow404":
			time.Sleep(300 * time.Millisecond)
			http.NotFound(w, r)
		case "/quick403":
			w.WriteHeader(http.StatusForbidden)
		default:
			<-r.Context().Done()
		}
	}))
	defer server.CloseClientConnections()
	m := newMachine(t)
	res := m.refuse(storage("3.4.0", fmt.Sprintf(`"files":[{"path":"/a","contents":{"source":"%[1]s/slow404"}},{"path":"/b","contents":{"source":"%[1]s/quick403"}},{"path":"/c","contents":{"source":"%[1]s/never"}}]`, server.URL)))
	wantText(t, res.stdout, "resource not found")
	wantText(t, res.stdout, "the failing config entry is $.storage.files.0")
	wantNoText(t, res.stdout, "failed to fetch resource")
	for _, name := range []string{"a", "b", "c"} {
		if m.exists("sysroot/" + name) {
			t.Errorf("%s was written", name)
		}
	}
	m.wantOnlyMark(true)
}
