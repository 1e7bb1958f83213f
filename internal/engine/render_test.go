// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/config/legacy"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/stages"
)

// rendered renders one document. It gives the content of /from in the result,
// and the sources in the order in which they were recorded.
func rendered(t *testing.T, root string) (from string, cfg config.Config, sources []string, log string, err error) {
	t.Helper()
	b := &buffer{}
	rd := &renderer{
		origins: new(origins),
		log:     oplog.New(oplog.StdoutHandler(b), nil),
		fetcher: resource.New(resource.Options{Version: "1", Stable: "3.6.0"}),
		record:  func(f stages.FetchedConfig) { sources = append(sources, f.Source) },
	}
	parsed, rep, err := legacy.Parse([]byte(root))
	if err != nil {
		t.Fatalf("%v\n%s", err, rep)
	}
	cfg, err = rd.render(t.Context(), parsed)
	for _, f := range cfg.Storage.Files {
		if f.Path == "/from" {
			from = strings.TrimPrefix(*f.Contents.Source, "data:,")
		}
	}
	return from, cfg, sources, b.String(), err
}

// oldFile is file in spec 2.x.
func oldFile(content string) string {
	return `"storage":{"files":[{"filesystem":"root","path":"/from","mode":420,"contents":{"source":"data:,` + content + `"}}]}`
}

func TestRenderOrder(t *testing.T) {
	for _, row := range []struct {
		name    string
		root    string
		docs    map[string]string
		from    string
		sources []string
		kargs   []string // of shouldExist, in order
	}{
		{name: "no references", root: doc("3.3.0", "", file("root")), from: "root"},
		{name: "a child overrides", root: doc("3.3.0", merges("SITE/a"), file("root")), docs: map[string]string{"/a": doc("3.3.0", "", file("a"))}, from: "a", sources: []string{"SITE/a"}},
		{name: "the later one overrides", root: doc("3.3.0", merges("SITE/a", "SITE/b"), ""), docs: map[string]string{"/a": doc("3.3.0", "", file("a")), "/b": doc("3.3.0", "", file("b"))},
			from: "b", sources: []string{"SITE/a", "SITE/b"}},
		{name: "depth first", root: doc("3.3.0", merges("SITE/a", "SITE/b"), `"kernelArguments":{"shouldExist":["root"]}`),
			docs: map[string]string{
				"/a":  doc("3.3.0", merges("SITE/a1", "SITE/a2"), `"kernelArguments":{"shouldExist":["a"]},`+file("a")),
				"/a1": doc("3.3.0", "", `"kernelArguments":{"shouldExist":["a1"]},`+file("a1")),
				"/a2": doc("3.3.0", "", `"kernelArguments":{"shouldExist":["a2"]},`+file("a2")),
				"/b":  doc("3.3.0", "", `"kernelArguments":{"shouldExist":["b"]}`),
			},
			from: "a2", sources: []string{"SITE/a", "SITE/a1", "SITE/a2", "SITE/b"}, kargs: []string{"root", "a", "a1", "a2", "b"}},
		{name: "replace drops all else", root: doc("3.3.0", `"config":{"replace":{"source":"SITE/a"},"merge":[{"source":"SITE/never"}]}`, file("root")+`,"kernelArguments":{"shouldExist":["root"]}`),
			docs: map[string]string{"/a": doc("3.3.0", "", file("a"))}, from: "a", sources: []string{"SITE/a"}},
		{name: "replace and then merge", root: doc("3.3.0", replaces("SITE/a"), file("root")),
			docs: map[string]string{"/a": doc("3.3.0", merges("SITE/b"), file("a")), "/b": doc("3.3.0", "", file("b"))}, from: "b", sources: []string{"SITE/a", "SITE/b"}},
		{name: "replace below merge drops only its parent", root: doc("3.3.0", merges("SITE/a"), `"kernelArguments":{"shouldExist":["root"]}`),
			docs: map[string]string{"/a": doc("3.3.0", replaces("SITE/b"), `"kernelArguments":{"shouldExist":["a"]}`), "/b": doc("3.3.0", "", `"kernelArguments":{"shouldExist":["b"]},`+file("b"))},
			from: "b", sources: []string{"SITE/a", "SITE/b"}, kargs: []string{"root", "b"}},
		{name: "versions mixed", root: doc("3.0.0", merges("SITE/a"), ""), docs: map[string]string{"/a": doc("3.5.0", "", file("a"))}, from: "a", sources: []string{"SITE/a"}},
		{name: "an old child", root: doc("3.3.0", merges("SITE/a"), file("root")), docs: map[string]string{"/a": doc("2.2.0", "", oldFile("a"))}, from: "a", sources: []string{"SITE/a"}},
		{name: "an old parent of a new and an old child", root: doc("2.0.0", `"config":{"append":[{"source":"SITE/a"},{"source":"SITE/b"}]}`, oldFile("root")),
			docs: map[string]string{"/a": doc("3.3.0", "", file("a")+`,"kernelArguments":{"shouldExist":["a"]}`), "/b": doc("2.4.0", "", oldFile("b"))},
			from: "b", sources: []string{"SITE/a", "SITE/b"}, kargs: []string{"a"}},
		{name: "one source on two levels", root: doc("3.3.0", merges("SITE/a", "SITE/b"), ""),
			docs: map[string]string{"/a": doc("3.3.0", merges("SITE/b"), file("a")), "/b": doc("3.3.0", "", file("b"))}, from: "b", sources: []string{"SITE/a", "SITE/b", "SITE/b"}},
		{name: "data URL", root: doc("3.3.0", merges("data:;base64,"+base64.StdEncoding.EncodeToString([]byte(doc("3.3.0", "", file("data"))))), ""), from: "data", sources: []string{"data:"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t)
			for path, text := range row.docs {
				s.docs[path] = strings.ReplaceAll(text, "SITE", s.URL)
			}
			from, cfg, sources, log, err := rendered(t, strings.ReplaceAll(row.root, "SITE", s.URL))
			if err != nil || from != row.from {
				t.Errorf("got %q, %v; want %q", from, err, row.from)
			}
			for i := range sources {
				sources[i] = strings.ReplaceAll(sources[i], s.URL, "SITE")
			}
			if !slices.Equal(sources, row.sources) {
				t.Errorf("recorded %q, want %q", sources, row.sources)
			}
			var kargs []string
			for _, k := range cfg.KernelArguments.ShouldExist {
				kargs = append(kargs, string(k))
			}
			if !slices.Equal(kargs, row.kargs) {
				t.Errorf("kernel arguments %q, want %q", kargs, row.kargs)
			}
			// The log tells of them in the same order, however the downloads overlapped.
			at := 0
			for _, src := range row.sources {
				want := "fetched referenced config at " + strings.ReplaceAll(src, "SITE", s.URL) + " with SHA512: "
				if src == "data:" {
					want = "fetched referenced config from data url with SHA512: "
				}
				i := strings.Index(log[at:], want)
				if i < 0 {
					t.Fatalf("log lacks %q after byte %d:\n%s", want, at, log)
				}
				at += i
			}
		})
	}
}

// A host that only a proxy can find shows whose settings a fetch had.
const hidden = "http://hidden.invalid"

func proxied(s *site) string { return fmt.Sprintf(`"proxy":{"httpProxy":%q}`, s.URL) }

func TestRenderSettings(t *testing.T) {
	for _, row := range []struct {
		name string
		root string // PROXY and SITE are replaced
		docs map[string]string
		want string
	}{
		{name: "the root's own", root: doc("3.3.0", `PROXY,`+merges(hidden+"/leaf"), ""), want: "leaf"},
		{name: "the root's, in a child's subtree", root: doc("3.3.0", `PROXY,`+merges("SITE/a"), ""), docs: map[string]string{"/a": doc("3.3.0", merges(hidden+"/leaf"), "")}, want: "leaf"},
		{name: "a child's, for its subtree", root: doc("3.3.0", merges("SITE/a"), ""), docs: map[string]string{"/a": doc("3.3.0", `PROXY,`+merges(hidden+"/leaf"), "")}, want: "leaf"},
		{name: "an earlier sibling's", root: doc("3.3.0", merges("SITE/a", hidden+"/leaf"), ""), docs: map[string]string{"/a": doc("3.3.0", `PROXY`, "")}, want: "leaf"},
		{name: "a grandchild's, for the next sibling", root: doc("3.3.0", merges("SITE/a", hidden+"/leaf"), ""),
			docs: map[string]string{"/a": doc("3.3.0", merges("SITE/b"), ""), "/b": doc("3.3.0", `PROXY`, "")}, want: "leaf"},
		{name: "one before the last of many", root: doc("3.3.0", merges("SITE/x", "SITE/y", "SITE/a", "SITE/z", hidden+"/leaf"), ""),
			docs: map[string]string{"/x": doc("3.3.0", "", file("x")), "/y": doc("3.3.0", "", file("y")), "/z": doc("3.3.0", "", file("z")), "/a": doc("3.3.0", `PROXY`, "")}, want: "leaf"},
		{name: "the replacing config's", root: doc("3.3.0", replaces("SITE/a"), ""), docs: map[string]string{"/a": doc("3.3.0", `PROXY,`+merges(hidden+"/leaf"), "")}, want: "leaf"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t)
			fill := func(text string) string { return strings.NewReplacer("PROXY", proxied(s), "SITE", s.URL).Replace(text) }
			for path, text := range row.docs {
				s.docs[path] = fill(text)
			}
			s.docs["/leaf"] = doc("3.3.0", "", file("leaf"))
			from, _, _, log, err := rendered(t, fill(row.root))
			if err != nil || from != row.want {
				t.Fatalf("got %q, %v; want %q\n%s", from, err, row.want, log)
			}
			if !slices.Contains(s.proxied, "/leaf") {
				t.Errorf("the leaf did not come by the proxy: %q", s.proxied)
			}
			if n := strings.Count(log, "fetched referenced config at "+hidden+"/leaf"); n != 1 {
				t.Errorf("the leaf is told of %d times:\n%s", n, log)
			}
		})
	}
}

// TestRenderReplaceSettings checks that a replaced config's settings do not outlive it.
func TestRenderReplaceSettings(t *testing.T) {
	s := newSite(t)
	s.docs["/a"] = doc("3.3.0", `"timeouts":{"httpTotal":1},`+merges(hidden+"/leaf"), "")
	s.docs["/leaf"] = doc("3.3.0", "", file("leaf"))
	_, _, _, _, err := rendered(t, doc("3.3.0", proxied(s)+","+replaces(s.URL+"/a"), ""))
	if !errors.Is(err, resource.ErrTimeout) || slices.Contains(s.proxied, "/leaf") {
		t.Errorf("error %v, by the proxy: %q", err, s.proxied)
	}
}

func TestRenderLoops(t *testing.T) {
	for _, row := range []struct {
		name string
		root string
		docs map[string]string
		want string // in the error; "" = none
	}{
		{"merges itself", doc("3.3.0", merges("SITE/a"), ""), map[string]string{"/a": doc("3.3.0", merges("SITE/a"), "")}, "$.ignition.config.merge.0: config refers to itself: SITE/a -> SITE/a"},
		{"replaces itself", doc("3.3.0", replaces("SITE/a"), ""), map[string]string{"/a": doc("3.3.0", replaces("SITE/a"), "")}, "$.ignition.config.replace: config refers to itself: SITE/a -> SITE/a"},
		{"by way of another", doc("3.3.0", merges("SITE/a"), ""), map[string]string{"/a": doc("3.3.0", merges("SITE/x", "SITE/b"), ""), "/x": doc("3.3.0", "", ""), "/b": doc("3.3.0", replaces("SITE/a"), "")},
			"config refers to itself: SITE/a -> SITE/b -> SITE/a"},
		{"a diamond is no loop", doc("3.3.0", merges("SITE/a", "SITE/b"), ""), map[string]string{"/a": doc("3.3.0", merges("SITE/c"), ""), "/b": doc("3.3.0", merges("SITE/c"), ""), "/c": doc("3.3.0", "", "")}, ""},
		{"64 levels", doc("3.3.0", merges("SITE/1"), ""), ladder(64), ""},
		{"65 levels", doc("3.3.0", merges("SITE/1"), ""), ladder(65), "configs refer to one another more than 64 levels deep: SITE/1 -> SITE/2 -> SITE/3 -> SITE/4 -> ... -> SITE/62"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t)
			for path, text := range row.docs {
				s.docs[path] = strings.ReplaceAll(text, "SITE", s.URL)
			}
			_, _, _, _, err := rendered(t, strings.ReplaceAll(row.root, "SITE", s.URL))
			if row.want == "" {
				if err != nil {
					t.Errorf("error %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(row.want, "SITE", s.URL)) {
				t.Errorf("error %v, want %q", err, row.want)
			}
		})
	}
}

// ladder gives documents /1 to /n, each of which merges the next.
func ladder(n int) map[string]string {
	docs := map[string]string{}
	for i := 1; i < n; i++ {
		docs[fmt.Sprintf("/%d", i)] = doc("3.3.0", merges(fmt.Sprintf("SITE/%d", i+1)), "")
	}
	docs[fmt.Sprintf("/%d", n)] = doc("3.3.0", "", "")
	return docs
}

func TestRenderFaults(t *testing.T) {
	good := doc("3.3.0", "", "")
	for _, row := range []struct {
		name, ignition string
		is             error
		want           []string
	}{
		{"not found", merges("SITE/none"), resource.ErrNotFound, []string{"$.ignition.config.merge.0 (SITE/none): resource not found"}},
		{"second not found", merges("SITE/good", "SITE/none"), resource.ErrNotFound, []string{"$.ignition.config.merge.1 (SITE/none)"}},
		{"replace not found", replaces("SITE/none"), resource.ErrNotFound, []string{"$.ignition.config.replace (SITE/none)"}},
		{"empty", merges("SITE/empty"), nil, []string{"$.ignition.config.merge.0 (SITE/empty): the referenced config is empty"}},
		{"cloud-config", merges("SITE/cloud"), nil, []string{"the referenced config is empty"}},
		{"empty replace", replaces("SITE/empty"), nil, []string{"$.ignition.config.replace (SITE/empty): the referenced config is empty"}},
		{"invalid", merges("SITE/invalid"), config.ErrInvalid, []string{"$.ignition.config.merge.0 (SITE/invalid): config is not valid"}},
		{"wrong hash", `"config":{"merge":[{"source":"SITE/good","verification":{"hash":"sha256-` + strings.Repeat("0", 64) + `"}}]}`, resource.ErrVerify, []string{"$.ignition.config.merge.0"}},
		{"secret in the query", merges("SITE/none?sig=SECRET"), resource.ErrNotFound, []string{"sig="}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newSite(t)
			s.docs = map[string]string{"/good": good, "/empty": "", "/cloud": "#cloud-config\n", "/invalid": doc("3.3.0", "", `"storage":{"files":[{"path":"a"}]}`)}
			_, _, _, log, err := rendered(t, doc("3.3.0", strings.ReplaceAll(row.ignition, "SITE", s.URL), ""))
			if err == nil || row.is != nil && !errors.Is(err, row.is) || errors.Is(err, config.ErrEmpty) {
				t.Fatalf("error %v, want %v", err, row.is)
			}
			var entry *config.EntryError
			if !errors.As(err, &entry) || !strings.HasPrefix(entry.Path, "$.ignition.config.") || entry.Hint == "" {
				t.Errorf("error %#v names no entry or gives no advice", err)
			}
			for _, want := range row.want {
				if !strings.Contains(err.Error(), strings.ReplaceAll(want, "SITE", s.URL)) {
					t.Errorf("error %q lacks %q", err, want)
				}
			}
			if strings.Contains(log+err.Error()+fmt.Sprint(entry), "SECRET") {
				t.Errorf("a secret in the log or the error:\n%s\n%v", log, err)
			}
		})
	}
}

// TestRenderParallel checks that the references of a level are fetched side by
// side, at most eight at a time.
func TestRenderParallel(t *testing.T) {
	var now, most atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(50 * time.Millisecond)
		now.Add(-1)
		fmt.Fprint(w, doc("3.3.0", "", ""))
	}))
	defer server.Close()
	var urls []string
	for i := range 20 {
		urls = append(urls, fmt.Sprintf("%s/%d", server.URL, i))
	}
	if _, _, sources, _, err := rendered(t, doc("3.3.0", merges(urls...), "")); err != nil || !slices.Equal(sources, urls) {
		t.Errorf("recorded %q, %v", sources, err)
	}
	if got := most.Load(); got < 2 || got > 8 {
		t.Errorf("%d requests at a time", got)
	}
}

func TestRecordedSource(t *testing.T) {
	for _, row := range []struct{ in, want string }{
		{"https://user:SECRET@example.com/a/b.ign?token=SECRET#frag", "https://example.com/a/b.ign"},
		{"https://example.com/a?", "https://example.com/a"},
		{"data:,SECRET", "data:"},
		{"oem:///base.ign", "oem:///base.ign"},
		{"https://example.com/%zz", ""},
		{"", ""},
	} {
		t.Run(row.in, func(t *testing.T) {
			if got := recordedSource(config.Resource{Source: &row.in}); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// TestCertificatesInCache goes through a run whose config needs a CA that has
// headers and is packed: in the cache it stands inline, and later stages ask nobody.
func TestCertificatesInCache(t *testing.T) {
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, doc("3.4.0", "", file("secure"))) }))
	defer secure.Close()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	var asked atomic.Int32
	ca := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Header.Get("X-Key") != "SECRET" {
			http.Error(w, "", http.StatusForbidden)
			return
		}
		z := gzip.NewWriter(w)
		_, _ = z.Write(bundle)
		_ = z.Close()
	}))
	defer ca.Close()
	security := fmt.Sprintf(`"security":{"tls":{"certificateAuthorities":[{"source":%q,"compression":"gzip","httpHeaders":[{"name":"X-Key","value":"SECRET"}]}]}}`, ca.URL+"/ca.pem")
	m := newMachine(t, "fetch", gives(doc("3.4.0", security+","+merges(secure.URL+"/c"), "")))
	m.run(ExitOK)
	if n := asked.Load(); n != 1 {
		t.Errorf("the CA was fetched %d times", n)
	}
	cfg, err := config.UnmarshalCache([]byte(m.read("run/ignition.json")))
	if err != nil || len(cfg.Ignition.Security.TLS.CertificateAuthorities) != 1 || len(cfg.Storage.Files) != 1 {
		t.Fatalf("%v: %s", err, m.read("run/ignition.json"))
	}
	got := cfg.Ignition.Security.TLS.CertificateAuthorities[0]
	want := "data:text/plain;charset=utf-8;base64," + base64.StdEncoding.EncodeToString(bundle)
	if *got.Source != want || got.HTTPHeaders != nil || got.Compression != nil {
		t.Errorf("CA in the cache: %q, %v, %v", *got.Source, got.HTTPHeaders, got.Compression)
	}
	if text := m.read("run/ignition.json") + m.log.String(); strings.Contains(text, "SECRET") {
		t.Errorf("a header's value in the cache or the log:\n%s", text)
	}
	ca.Close()
	m.Stage = "kargs"
	m.run(ExitOK)
}

func TestCertificateFaults(t *testing.T) {
	s := newSite(t)
	s.docs["/text"] = "no certificate"
	for _, row := range []struct{ name, url, want string }{
		{"not found", s.URL + "/none", "resource not found"},
		{"no certificate", s.URL + "/text", "unable to decode PEM block"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t, "fetch", gives(doc("3.3.0", fmt.Sprintf(`"security":{"tls":{"certificateAuthorities":[{"source":%q}]}}`, row.url), "")))
			m.run(ExitFailed)
			m.wantLog(row.want)
			if m.has("run/ignition.json") {
				t.Error("a cache was written")
			}
		})
	}
}

// TestInvalidTogether merges two documents that are valid one by one.
func TestInvalidTogether(t *testing.T) {
	s := newSite(t)
	s.docs["/child"] = doc("3.3.0", "", `"storage":{"links":[{"path":"/a","target":"/b"}]}`)
	m := newMachine(t, "fetch", gives(doc("3.3.0", merges(s.URL+"/child"), `"storage":{"files":[{"path":"/a/b"}]}`)))
	m.run(ExitFailed)
	m.wantLog("CRITICAL : merging configs resulted in an invalid config", "CRITICAL : Ignition failed: config is not valid")
	if m.has("run/ignition.json") {
		t.Error("a cache was written")
	}
}
