// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func dataURL(document string) string {
	return "data:," + strings.NewReplacer("%", "%25", "\"", "%22", "{", "%7B", "}", "%7D", "[", "%5B", "]", "%5D", "\n", "%0A", " ", "%20").Replace(document)
}

func TestCheck(t *testing.T) {
	const (
		link  = `"storage":{"links":[{"path":"/a","target":"/b"}]}`
		below = `"storage":{"files":[{"path":"/a/c"}]}`
		typo  = `"storage":{"file":[]}`
	)
	s := newSite(t)
	s.docs["/below"] = doc("3.3.0", "", below)
	s.docs["/typo"] = doc("3.3.0", "", typo)
	s.docs["/text"] = "text"
	s.docs["/remote"] = doc("3.3.0", merges(s.URL+"/none?token=geheim"), "")
	sum := func(text string) string {
		return fmt.Sprintf(`,"verification":{"hash":"sha256-%x"}`, sha256.Sum256([]byte(text)))
	}
	contents := func(path, more string) string {
		return `"storage":{"files":[{"path":"/f","contents":{"source":"` + s.URL + path + `"` + more + `}}]}`
	}
	for _, tt := range []struct {
		name           string
		raw            string
		online, strict bool
		want           []string // begins of lines
	}{
		{name: "no references", raw: doc("3.3.0", "", link)},
		{name: "a remote reference", raw: doc("3.3.0", merges(s.URL+"/below"), link)},
		{name: "a remote reference, strict", raw: doc("3.3.0", merges(s.URL+"/below"), link), strict: true,
			want: []string{"info at $.ignition.config.merge.0, line 1 col 51: not read without --online"}},
		{name: "a remote replacement, strict", raw: doc("3.3.0", replaces(s.URL+"/below"), link), strict: true,
			want: []string{"info at $.ignition.config.replace, line 1 col 52: not read without --online"}},
		{name: "merged into what is invalid", raw: doc("3.3.0", merges(dataURL(doc("3.3.0", "", below))), link),
			want: []string{"warning at $.ignition.config.merge.0, line 1 col 51: once merged: "}},
		{name: "the same, strict", raw: doc("3.3.0", merges(dataURL(doc("3.3.0", "", below))), link), strict: true,
			want: []string{"error at $.ignition.config.merge.0, line 1 col 51: once merged: "}},
		{name: "the same, online", raw: doc("3.3.0", merges(s.URL+"/below"), link), online: true,
			want: []string{"error at $.ignition.config.merge.0, line 1 col 51: once merged: "}},
		{name: "the own entry is the wrong one", raw: doc("3.3.0", merges(dataURL(doc("3.3.0", "", link))), below),
			want: []string{"warning at $.storage.files.0"}},
		{name: "valid at its version, not at the newest", raw: doc("3.0.0", "", `"storage":{"links":[{"path":"/a","target":""}]}`),
			want: []string{"warning at $.storage.links.0.target, line 1 col 75: once converted to the newest spec: link target is required"}},
		{name: "an invalid child", raw: doc("3.3.0", merges(dataURL(doc("3.3.0", "", `"storage":{"files":[{"path":"a"}]}`))), ""),
			want: []string{"warning at $.ignition.config.merge.0, line 1 col 51: cannot be read: error at $.storage.files.0.path, line 1 col 61: path not absolute"}},
		{name: "no config at all", raw: doc("3.3.0", merges("data:,"), ""), strict: true,
			want: []string{"error at $.ignition.config.merge.0, line 1 col 51: cannot be read: the referenced config is empty"}},
		{name: "a child with warnings", raw: doc("3.3.0", merges(dataURL(doc("3.3.0", "", typo))), "")},
		{name: "a child with warnings, strict", raw: doc("3.3.0", merges(dataURL(doc("3.3.0", "", typo))), ""), strict: true,
			want: []string{"warning at $.ignition.config.merge.0, line 1 col 51: in the config that is merged here: warning at $.storage.file, line 1 col 44: unused key file"}},
		{name: "all missing ones", raw: doc("3.3.0", merges(s.URL+"/none", s.URL+"/typo", s.URL+"/remote"), ""), online: true,
			want: []string{
				"error at $.ignition.config.merge.0, line 1 col 51: cannot be read: resource not found",
				"warning at $.ignition.config.merge.1, ",
				"error at $.ignition.config.merge.2, line 1 col " + // nested, and without the query's secret
					fmt.Sprint(51+len(fmt.Sprintf("{\"source\":%q},{\"source\":%q},", s.URL+"/none", s.URL+"/typo"))) +
					": cannot be read (" + s.URL + "/none?token=redacted): resource not found",
			}},
		{name: "a source", raw: doc("3.3.0", "", contents("/text", sum("text"))), online: true},
		{name: "a source offline", raw: doc("3.3.0", "", contents("/none", "")), strict: true},
		{name: "a missing source", raw: doc("3.3.0", "", contents("/none?sig=geheim", "")), online: true,
			want: []string{"error at $.storage.files.0.contents.source, line 1 col 87: cannot be fetched: " + s.URL + "/none?sig=redacted: resource not found"}},
		{name: "a wrong hash", raw: doc("3.3.0", "", contents("/text", sum("other"))), online: true,
			want: []string{"error at $.storage.files.0.contents.source, line 1 col 87: cannot be fetched: " + s.URL + "/text: hash verification failed (calculated "}},
		{name: "a source of a child", raw: doc("3.3.0", merges(dataURL(doc("3.3.0", "", contents("/none", "")))), ""), online: true,
			want: []string{"error at $.ignition.config.merge.0, line 1 col 51: cannot be fetched: " + s.URL + "/none: resource not found ($.storage.files.0.contents.source, line 1 col 87 of the data URL at $.ignition.config.merge.0)"}},
		{name: "Butane", raw: "variant: flatcar\nversion: 1.1.0\nignition:\n  config:\n    merge:\n      - inline: |\n          variant: flatcar\n          version: 1.1.0\n          storage: {links: [{path: a, target: b}]}\n",
			want: []string{"error at $.ignition.config.merge.0.inline"}},
		{name: "Butane, a missing source", raw: "variant: flatcar\nversion: 1.1.0\nstorage:\n  files:\n    - path: /f\n      contents:\n        source: " + s.URL + "/none\n", online: true,
			want: []string{"error at $.storage.files.0.contents.source, line 7 col 17: cannot be fetched: "}},
		{name: "a config of the OEM partition", raw: doc("3.3.0", merges("oem:///x"), "")},
		{name: "a config of the OEM partition, strict", raw: doc("3.3.0", merges("oem:///x"), ""), strict: true,
			want: []string{"info at $.ignition.config.merge.0, line 1 col 51: not read without --online"}},
		{name: "a file of the OEM partition", raw: doc("3.3.0", "", `"storage":{"files":[{"path":"/f","contents":{"source":"oem:///x"}}]}`), online: true,
			want: []string{"info at $.storage.files.0.contents.source, "}},
		{name: "spec 2", raw: `{"ignition":{"version":"2.3.0","config":{"append":[{"source":"` + s.URL + `/none"}]}}}`, online: true,
			want: []string{"warning at $.ignition.config.append, line 1 col 51: append is read as merge: ", "error at $.ignition.config.append.0, line 1 col 52: cannot be read: resource not found"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			rep, err := Check(ctx, &CheckOptions{Options: newMachine(t, "", nil).Options, Raw: []byte(tt.raw), Online: tt.online, Strict: tt.strict})
			if err != nil && !rep.IsFatal() {
				t.Fatal(err)
			}
			got := strings.Split(strings.TrimSuffix(rep.String(), "\n"), "\n")
			if len(rep.Entries) != len(tt.want) {
				t.Fatalf("got\n%s\nwant %d lines %q", rep.String(), len(tt.want), tt.want)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(got[i], want) {
					t.Errorf("got  %s\nwant %s", got[i], want)
				}
			}
			if strings.Contains(rep.String(), "geheim") {
				t.Error("a secret is shown")
			}
		})
	}
}

// TestCheckUnits: units without systemd-analyze are said not to be judged, and that is no failure.
func TestCheckUnits(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	raw := doc("3.3.0", "", `"systemd":{"units":[{"name":"a.service","contents":"[Service]\nFoo=1\n"}]}`)
	for units, want := range map[bool]string{
		false: "",
		true:  "info at $.systemd.units, line 1 col 52: units are not judged: there is no systemd-analyze on this machine\n",
	} {
		rep, err := Check(t.Context(), &CheckOptions{Options: newMachine(t, "", nil).Options, Raw: []byte(raw), Units: units, Strict: true})
		if err != nil || rep.String() != want {
			t.Errorf("units %v: got %q, %v; want %q", units, rep, err, want)
		}
	}
}

// TestCheckWaits: a server that does not answer is given up, with what was met last.
func TestCheckWaits(t *testing.T) {
	defer func(saved int) { deskLimit = saved }(deskLimit)
	deskLimit = 1
	stuck := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/busy" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		<-r.Context().Done()
	}))
	defer stuck.Close()
	storage := `"storage":{"files":[{"path":"/a","contents":{"source":"` + stuck.URL + `/stuck"}},{"path":"/b","contents":{"source":"` + stuck.URL + `/busy"}}]}`
	rep, err := Check(t.Context(), &CheckOptions{Options: newMachine(t, "", nil).Options, Raw: []byte(doc("3.3.0", merges(stuck.URL+"/stuck", stuck.URL+"/busy"), storage)), Online: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"merge.0, line 1 col 51: cannot be read: unable to fetch resource in time: ",
		"cannot be read: unable to fetch resource in time: ",
		"/stuck: nothing came for 1 seconds",
		"/busy: nothing came for 1 seconds; GET result: Service Unavailable",
	} {
		if !strings.Contains(rep.String(), want) {
			t.Errorf("no %q in\n%s", want, rep)
		}
	}
	if len(rep.Entries) != 4 {
		t.Errorf("%d entries in\n%s", len(rep.Entries), rep)
	}
}
