// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// refer is a config that merges these URLs.
func refer(kind string, urls ...string) string {
	var refs []string
	for _, u := range urls {
		refs = append(refs, fmt.Sprintf(`{"source":%q}`, u))
	}
	if kind == "replace" {
		return `{"ignition":{"version":"3.4.0","config":{"replace":` + refs[0] + `}}}`
	}
	return `{"ignition":{"version":"3.4.0","config":{"merge":[` + strings.Join(refs, ",") + `]}}}`
}

func TestReferences(t *testing.T) {
	var server *httptest.Server
	var inFlight, most atomic.Int32
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := inFlight.Add(1)
		defer inFlight.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		u := server.URL
		switch r.URL.Path {
		case "/a":
			time.Sleep(100 * time.Millisecond)
			fmt.Fprint(w, strings.Replace(refer("merge", u+"/a1"), `}}`, `}},"storage":{"files":[{"path":"/who","overwrite":true,"contents":{"source":"data:,a"}},{"path":"/a","contents":{"source":"data:,a"}}]}`, 1)+"")
		case "/a1":
			fmt.Fprint(w, `{"ignition":{"version":"3.0.0"},"storage":{"files":[{"path":"/who","overwrite":true,"contents":{"source":"data:,a1"}},{"path":"/a1","contents":{"source":"data:,a1"}}]}}`)
		case "/b":
			time.Sleep(100 * time.Millisecond)
			fmt.Fprint(w, hello("/who", "b"))
		case "/self":
			fmt.Fprint(w, refer("merge", u+"/self"))
		case "/replaceself":
			fmt.Fprint(w, refer("replace", u+"/replaceself"))
		case "/empty":
		case "/cloud":
			fmt.Fprint(w, "#cloud-config\n")
		case "/deep":
			n := len(r.URL.RawQuery)
			fmt.Fprint(w, refer("merge", u+"/deep?"+strings.Repeat("x", n+1)))
		case "/invalid":
			fmt.Fprint(w, `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"relative"}]}}`)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	u := server.URL
	sum := sha256.Sum256([]byte(hello("/who", "b")))
	hashed := func(hash string) string {
		return fmt.Sprintf(`{"ignition":{"version":"3.4.0","config":{"merge":[{"source":%q,"verification":{"hash":"sha256-%s"}}]}}}`, u+"/b", hash)
	}
	for _, row := range []struct {
		name, config string
		files        map[string]string
		fail         []string
	}{
		{"depth first, later wins", refer("merge", u+"/a", u+"/b"), map[string]string{"who": "b", "a": "a", "a1": "a1"}, nil},
		{"grandchild over child", refer("merge", u+"/b", u+"/a"), map[string]string{"who": "a1", "a": "a", "a1": "a1"}, nil},
		{"replace drops its siblings", strings.Replace(refer("replace", u+"/b"), `"config":{`, `"config":{"merge":[{"source":"`+u+`/a"}],`, 1), map[string]string{"who": "b"}, nil},
		{"hash", hashed(fmt.Sprintf("%x", sum)), map[string]string{"who": "b"}, nil},
		{"hash in upper case", hashed(fmt.Sprintf("%X", sum)), map[string]string{"who": "b"}, nil},
		{"wrong hash", hashed(strings.Repeat("0", 64)), nil, []string{"$.ignition.config.merge.0", "hash verification failed (calculated " + fmt.Sprintf("%x", sum)}},
		{"cycle", refer("merge", u+"/self"), nil, []string{"config refers to itself", u + "/self -> " + u + "/self"}},
		{"cycle of replace", refer("replace", u+"/replaceself"), nil, []string{"config refers to itself"}},
		{"no end", refer("merge", u+"/deep"), nil, []string{"more than 64 levels deep"}},
		{"empty child", refer("merge", u+"/a", u+"/empty"), nil, []string{"$.ignition.config.merge.1", u + "/empty", "the referenced config is empty"}},
		{"cloud-config as a child", refer("merge", u+"/cloud"), nil, []string{u + "/cloud", "the referenced config is empty"}},
		{"replace by nothing", `{"ignition":{"version":"3.4.0","config":{"replace":{"source":""}}}}`, nil, []string{"$.ignition.config.replace", "source is required"}},
		{"not there", refer("merge", u+"/nope"), nil, []string{"$.ignition.config.merge.0", "resource not found"}},
		{"invalid child", refer("merge", u+"/invalid"), nil, []string{"path not absolute", u + "/invalid", "config is not valid"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t)
			if row.fail == nil {
				m.provision(row.config)
				for path, want := range row.files {
					m.wantFile(path, want)
				}
				for _, other := range []string{"a", "a1"} {
					if _, ok := row.files[other]; !ok && m.exists("sysroot/"+other) {
						t.Errorf("%s was written", other)
					}
				}
				return
			}
			m.write("config.ign", row.config)
			res := m.stage(1, "file", "fetch")
			for _, part := range row.fail {
				wantText(t, res.stdout, part)
			}
			if m.exists("run/ignition.json") {
				t.Error("a cache was written")
			}
		})
	}
	if most.Load() < 2 {
		t.Error("configs of one level were never fetched side by side")
	}
}

// TestInvalidAfterMerge: two valid documents that contradict one another.
func TestInvalidAfterMerge(t *testing.T) {
	child := `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/a","user":{"name":"core"}}]}}`
	m := newMachine(t)
	m.write("config.ign", `{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"data:,`+strings.NewReplacer(`"`, "%22", `{`, "%7B", `}`, "%7D", `[`, "%5B", `]`, "%5D").Replace(child)+`"}]}},"storage":{"files":[{"path":"/a","user":{"id":5}}]}}`)
	res := m.stage(1, "file", "fetch")
	wantLine(t, res.stdout, "CRITICAL : error at $.storage.files.0.user: cannot set both id and name")
	wantLine(t, res.stdout, "CRITICAL : merging configs resulted in an invalid config")
}
