// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	tarLayer  = "application/vnd.oci.image.layer.v1.tar"
	gzipLayer = tarLayer + "+gzip"
	zstdLayer = tarLayer + "+zstd"
)

func digestOf(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

// registry is a registry with one repository, "team/art" at reg.example.
type registry struct {
	manifests map[string]string // by tag and digest
	blobs     map[string]string // by digest
	elsewhere string            // host that blobs are at, "" = here
	login     func(w http.ResponseWriter, r *http.Request) bool
	status    int // of all answers, 0 = as it should be
	text      string
}

func newRegistry() *registry {
	return &registry{manifests: map[string]string{}, blobs: map[string]string{}}
}

// put stores a blob and gives its descriptor.
func (r *registry) put(mediaType, body string, annotations ...string) map[string]any {
	d := digestOf(body)
	r.blobs[d] = body
	out := map[string]any{"mediaType": mediaType, "digest": d, "size": len(body)}
	notes := map[string]string{}
	for i := 0; i+1 < len(annotations); i += 2 {
		notes[annotations[i]] = annotations[i+1]
	}
	out["annotations"] = notes
	return out
}

// tag stores a manifest or an index under tags and gives its digest.
func (r *registry) tag(m map[string]any, tags ...string) string {
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	d := digestOf(string(raw))
	for _, t := range append(tags, d) {
		r.manifests[t] = string(raw)
	}
	return d
}

func image(layers ...map[string]any) map[string]any {
	return map[string]any{"schemaVersion": 2, "mediaType": ociManifest, "layers": layers}
}

func (r *registry) serve(w http.ResponseWriter, req *http.Request, _ int) {
	if r.login != nil && !r.login(w, req) {
		return
	}
	if r.status != 0 {
		w.WriteHeader(r.status)
		io.WriteString(w, r.text)
		return
	}
	body, known := "", false
	if name, ok := strings.CutPrefix(req.URL.Path, "/v2/team/art/manifests/"); ok {
		body, known = r.manifests[name]
	} else if name, ok := strings.CutPrefix(req.URL.Path, "/v2/team/art/blobs/"); ok {
		if r.elsewhere != "" && req.Host != r.elsewhere {
			http.Redirect(w, req, "https://"+r.elsewhere+req.URL.Path+"?sig=hunter2", http.StatusTemporaryRedirect)
			return
		}
		body, known = r.blobs[name]
	}
	if !known {
		w.WriteHeader(404)
		io.WriteString(w, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}`)
		return
	}
	io.WriteString(w, body)
}

// layer makes an archive: names and contents in turn; a name that ends in a
// slash is a folder, contents of "->x" are a link to x.
func layer(zipped bool, entries ...string) string {
	var b bytes.Buffer
	var to io.Writer = &b
	var z *gzip.Writer
	if zipped {
		z = gzip.NewWriter(&b)
		to = z
	}
	t := tar.NewWriter(to)
	for i := 0; i < len(entries); i += 2 {
		h := &tar.Header{Name: entries[i], Mode: 0o644, Size: int64(len(entries[i+1])), Typeflag: tar.TypeReg}
		if link, ok := strings.CutPrefix(entries[i+1], "->"); ok {
			h.Typeflag, h.Size, h.Linkname = tar.TypeSymlink, 0, link
		}
		if strings.HasSuffix(entries[i], "/") {
			h.Typeflag, h.Size = tar.TypeDir, 0
		}
		if err := t.WriteHeader(h); err != nil {
			panic(err)
		}
		if h.Size > 0 {
			io.WriteString(t, entries[i+1])
		}
	}
	t.Close()
	if z != nil {
		z.Close()
	}
	return b.String()
}

func TestParseOCI(t *testing.T) {
	digest := digestOf("x")
	tests := []struct {
		url  string
		want string // registry repository reference digest path, "" = an error
	}{
		{"oci://h/r", "h r latest  "},
		{"oci://h:5000/a/b/c", "h:5000 a/b/c latest  "},
		{"oci://h/r:v1.2", "h r v1.2  "},
		{"oci://h:5000/r", "h:5000 r latest  "},
		{"oci://h/r@" + digest, "h r " + digest + " " + digest + " "},
		{"oci://h/r:v1@" + digest + "#/etc/x%20y/", "h r " + digest + " " + digest + " etc/x y"},
		{"oci://h/r#a/b", "h r latest  a/b"},
		{"oci://u:p@h/r", "h r latest  "},
		{"oci://h", ""}, {"oci://h/", ""}, {"oci:///r", ""}, {"oci://h/r:", ""}, {"oci://h/:v1", ""}, {"oci://h/r?x", ""}, {"oci:r", ""},
		{"oci://h/r@sha512:" + strings.Repeat("0", 128), ""}, {"oci://h/r@" + digest[:70], ""}, {"oci://h/r@" + strings.ToUpper(digest), ""}, {"oci://h/r@", ""},
	}
	for _, tt := range tests {
		r, err := parseOCI(tt.url)
		got := strings.Join([]string{r.registry, r.repository, r.reference, r.digest, r.path}, " ")
		if tt.want == "" {
			wantError(t, err, ErrFailed, "")
		} else if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v, want %q", tt.url, got, err, tt.want)
		}
	}
}

// fill gives a registry what the tests of good and of bad URLs ask for.
func (r *registry) fill() (single string) {
	single = r.tag(image(r.put("text/plain", "single")), "latest", "v1")
	r.tag(image(r.put("text/plain", "one", titleAnnotation, "a.txt"), r.put(tarLayer, "two", titleAnnotation, "dir/b.txt")), "titled")
	r.tag(image(
		r.put(tarLayer, layer(false, "etc/", "", "etc/conf", "old", "etc/kept", "kept", "etc/gone", "gone", "opt/d/deep", "deep", "srv/x", "x")),
		r.put(gzipLayer, layer(true, "etc/.wh.gone", "", "opt/.wh.d", "", "srv/.wh..wh..opq", "", "srv/y", "y")),
		r.put("application/vnd.docker.image.rootfs.diff.tar.gzip", layer(true, "./etc/conf", "new", "etc/link", "->conf", "twice", "1", "twice", "2", "big", random(1<<20))),
	), "image")
	r.tag(image(r.put(gzipLayer, layer(true, "old", "old")), r.put(zstdLayer, "(zstd)"), r.put(gzipLayer, layer(true, "new", "new"))), "zstd")
	r.tag(image(r.put(gzipLayer, layer(true, "share/doc", "doc"), titleAnnotation, "share", unpackAnnotation, "true")), "folder")
	r.tag(image(r.put(gzipLayer, "no archive")), "noarchive")
	r.tag(image(r.put(tarLayer, layer(false, "f", random(2000))[:1000])), "cut")
	r.tag(image(), "nolayers")
	mine := r.tag(image(r.put("text/plain", "for this machine")))
	other := r.tag(image(r.put("text/plain", "for another machine")))
	platform := func(digest, os, arch string) map[string]any {
		return map[string]any{"mediaType": ociManifest, "digest": digest, "platform": map[string]string{"os": os, "architecture": arch}}
	}
	r.tag(map[string]any{"mediaType": ociIndex, "manifests": []any{
		platform(other, "linux", "other"), platform(other, "windows", runtime.GOARCH), platform(mine, "linux", runtime.GOARCH), platform(other, "unknown", "unknown"),
	}}, "index")
	r.tag(map[string]any{"mediaType": dockerIndex, "manifests": []any{platform(other, "linux", "other"), platform(other, "windows", runtime.GOARCH)}}, "foreign")
	r.tag(map[string]any{"mediaType": ociIndex, "manifests": []any{map[string]any{"mediaType": ociManifest, "digest": mine}}}, "single")
	r.tag(image(map[string]any{"mediaType": "text/plain", "digest": "sha256:../../evil"}), "evil")
	r.manifests["text"], r.manifests["huge"] = "<html>", `{"layers":[`+strings.Repeat(" ", largestManifest)+`]}`
	return single
}

func TestOCI(t *testing.T) {
	r := newRegistry()
	single := r.fill()
	const at = "oci://reg.example/team/art"
	tests := []struct {
		name, url, want string
		kind            error
		text            string
	}{
		{name: "latest", url: at, want: "single"},
		{name: "tag", url: at + ":v1", want: "single"},
		{name: "digest", url: at + "@" + single, want: "single"},
		{name: "tag and digest", url: at + ":moved@" + single, want: "single"},
		{name: "title", url: at + ":titled#a.txt", want: "one"},
		{name: "title with a folder", url: at + ":titled#/dir/b.txt", want: "two"},
		{name: "no such title", url: at + ":titled#c.txt", kind: ErrNotFound, text: `has no file "c.txt"`},
		{name: "which of two", url: at + ":titled", kind: ErrFailed, text: "has 2 layers; name a file in it with #PATH"},
		{name: "highest layer", url: at + ":image#etc/conf", want: "new"},
		{name: "lower layer", url: at + ":image#etc/kept", want: "kept"},
		{name: "large file", url: at + ":image#big", want: random(1 << 20)},
		{name: "beside what is hidden", url: at + ":image#srv/y", want: "y"},
		{name: "removed", url: at + ":image#etc/gone", kind: ErrNotFound, text: "has no file"},
		{name: "in a removed folder", url: at + ":image#opt/d/deep", kind: ErrNotFound, text: "has no file"},
		{name: "in a replaced folder", url: at + ":image#srv/x", kind: ErrNotFound, text: "has no file"},
		{name: "nowhere", url: at + ":image#etc/none", kind: ErrNotFound, text: "has no file"},
		{name: "folder", url: at + ":image#etc", text: `"etc" is not a regular file`},
		{name: "link", url: at + ":image#etc/link", text: `"etc/link" is not a regular file`},
		{name: "twice", url: at + ":image#twice", text: `"twice" is there twice`},
		{name: "above the zstd layer", url: at + ":zstd#new", want: "new"},
		{name: "under the zstd layer", url: at + ":zstd#old", kind: ErrFailed, text: "is compressed with zstd, which this program does not read; push it with gzip"},
		{name: "folder that was pushed", url: at + ":folder#share/doc", want: "doc"},
		{name: "not an archive", url: at + ":noarchive#f", text: "decompressing: gzip: invalid header"},
		{name: "archive that ends early", url: at + ":cut#f", kind: io.ErrUnexpectedEOF, text: ""},
		{name: "no layers", url: at + ":nolayers", kind: ErrFailed, text: "has no layers"},
		{name: "index", url: at + ":index", want: "for this machine"},
		{name: "index of one", url: at + ":single", want: "for this machine"},
		{name: "index of others", url: at + ":foreign", kind: ErrFailed, text: "not for linux/" + runtime.GOARCH + " but for linux/other, windows/" + runtime.GOARCH},
		{name: "no such tag", url: at + ":none", kind: ErrNotFound, text: `resource not found (404 "MANIFEST_UNKNOWN": "not here")`},
		{name: "no such digest", url: at + "@" + digestOf("none"), kind: ErrNotFound},
		{name: "not JSON", url: at + ":text", kind: ErrFailed, text: "is not JSON"},
		{name: "huge manifest", url: at + ":huge", kind: errTooLarge, text: "larger than 4194304 bytes"},
		{name: "digest that is a path", url: at + ":evil", kind: ErrFailed, text: `digest "sha256:../../evil", which is not SHA-256`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, slept, p := newPlace(t, r.serve)
			got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: tt.url})
			if tt.kind == nil && tt.text == "" {
				wantBody(t, got, err, tt.want)
			} else {
				wantError(t, err, tt.kind, tt.text)
			}
			if len(slept.d) > 0 || len(p.asked()) > 5 {
				t.Errorf("%d pauses, asked %q", len(slept.d), p.asked())
			}
		})
	}
}

// TestOCIContent: hash and compression of the resource are those of the file.
func TestOCIContent(t *testing.T) {
	r := newRegistry()
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, "unpacked")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	r.tag(image(r.put("application/gzip", packed.String())), "latest")
	r.tag(image(r.put(gzipLayer, layer(true, "f.gz", packed.String()))), "image")
	f, _, _ := newPlace(t, r.serve)
	for _, url := range []string{"oci://reg.example/team/art", "oci://reg.example/team/art:image#f.gz"} {
		sum := "sha256-" + strings.TrimPrefix(digestOf("unpacked"), "sha256:")
		got, info, err := f.Bytes(t.Context(), &lines{}, Request{URL: url, Compression: "gzip", Hash: sum})
		wantBody(t, got, err, "unpacked")
		if info.Bytes != 8 {
			t.Errorf("%d bytes", info.Bytes)
		}
		_, _, err = f.Bytes(t.Context(), &lines{}, Request{URL: url, Hash: sum})
		wantError(t, err, ErrVerify, "")
	}
}

// TestOCIWrongDigest: what is not what its digest says is an error, whatever holds it.
func TestOCIWrongDigest(t *testing.T) {
	r := newRegistry()
	d := r.put(gzipLayer, layer(true, "f", "good"))
	digest := r.tag(image(d), "latest")
	index := r.tag(map[string]any{"mediaType": ociIndex, "manifests": []any{map[string]any{"digest": digest}}}, "index")
	blob := d["digest"].(string)
	good := r.blobs[blob]
	const at = "oci://reg.example/team/art"
	fetch := func(url string) ([]byte, error) {
		f, slept, _ := newPlace(t, r.serve)
		got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: url})
		if len(slept.d) > 0 {
			t.Errorf("%s was tried again", url)
		}
		return got, err
	}
	r.blobs[blob] = layer(true, "f", "evil")
	for _, url := range []string{at, at + "#f", at + "@" + digest + "#f"} {
		got, err := fetch(url)
		wantError(t, err, ErrVerify, "blob "+blob+": hash verification failed")
		if got != nil {
			t.Errorf("%s: got %q", url, got)
		}
	}
	r.blobs[blob] = good
	r.manifests[digest] += " "
	for _, url := range []string{at + "@" + digest, at + ":latest@" + digest, at + ":index", at + "@" + index} {
		_, err := fetch(url)
		wantError(t, err, ErrVerify, "but "+digest+" was asked for")
	}
	if got, err := fetch(at + "#f"); string(got) != "good" {
		t.Errorf("got %q, %v", got, err)
	}
}

// tokens is a registry's login by tokens: asked for at auth.example.
type tokens struct {
	challenge string
	answer    string // of the token service
	status    int
	basic     string // that the token service wants
	good      string // authorization of requests
	requests  int    // to the token service
}

func (l *tokens) login(w http.ResponseWriter, r *http.Request) bool {
	if r.Host == "auth.example" {
		l.requests++
		if r.Header.Get("Authorization") != l.basic || r.URL.RawQuery != "account=x&scope=repository%3Ateam%2Fart%3Apull&service=reg" {
			w.WriteHeader(400)
			return false
		}
		w.WriteHeader(l.status)
		io.WriteString(w, l.answer)
		return false
	}
	if r.Header.Get("Authorization") == l.good {
		return true
	}
	w.Header().Set("WWW-Authenticate", l.challenge)
	w.WriteHeader(401)
	io.WriteString(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`)
	return false
}

func TestOCILogin(t *testing.T) {
	const (
		bearer = `Bearer realm="https://auth.example/token?account=x",service="reg",scope="repository:team/art:pull"`
		user   = "Basic dTpodW50ZXIy" // u:hunter2
		token  = `{"token":"hunter2token"}`
	)
	tests := []struct {
		name, user string
		login      tokens
		kind       error
		text       string
	}{
		{"anonymous token", "", tokens{bearer, token, 200, "", "Bearer hunter2token", 0}, nil, ""},
		{"its other name", "", tokens{bearer, `{"access_token":"hunter2token"}`, 200, "", "Bearer hunter2token", 0}, nil, ""},
		{"no scope in the challenge", "", tokens{`bearer Realm="https://auth.example/token?account=x", service=reg`, token, 200, "", "Bearer hunter2token", 0}, nil, ""},
		{"token for a user", "u:hunter2@", tokens{bearer, token, 200, user, "Bearer hunter2token", 0}, nil, ""},
		{"basic", "u:hunter2@", tokens{`Basic realm="x"`, "", 0, "", user, 0}, nil, ""},
		{"basic without a user", "", tokens{`Basic realm="x"`, "", 0, "", user, 0}, ErrFailed, "the registry wants a login"},
		{"no challenge", "", tokens{"", "", 0, "", user, 0}, ErrFailed, "the registry wants a login"},
		{"realm in clear", "u:hunter2@", tokens{`Bearer realm="http://auth.example/token"`, "", 0, "", "x", 0}, ErrFailed, "the registry wants a login"},
		{"token refused", "", tokens{bearer, token, 200, "", "Bearer other", 0}, ErrFailed, `failed to fetch resource (401 "UNAUTHORIZED": "who are you")`},
		{"no token", "", tokens{bearer, `{}`, 200, "", "x", 0}, ErrFailed, "gave no token"},
		{"garbage", "", tokens{bearer, `hunter2`, 200, "", "x", 0}, ErrFailed, "gave no token"},
		{"wrong password", "u:hunter2@", tokens{bearer, "", 403, user, "x", 0}, ErrFailed, "asking for the registry's token: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRegistry()
			r.tag(image(r.put("text/plain", "body")), "latest")
			r.login = tt.login.login
			f, _, p := newPlace(t, r.serve)
			l := &lines{}
			got, _, err := f.Bytes(t.Context(), l, Request{URL: "oci://" + tt.user + "reg.example/team/art"})
			if tt.text == "" {
				wantBody(t, got, err, "body")
			} else {
				wantError(t, err, tt.kind, tt.text)
			}
			if tt.login.requests > 1 || p.plain > 0 {
				t.Errorf("%d requests for a token, %d connections in clear", tt.login.requests, p.plain)
			}
			wantSecret(t, l, err, "hunter2", "dTpodW50ZXIy")
		})
	}
}

// TestOCITokenEnds: a token that ends between manifest and blob is replaced.
func TestOCITokenEnds(t *testing.T) {
	r := newRegistry()
	r.tag(image(r.put("text/plain", "body")), "latest")
	given := 0
	r.login = func(w http.ResponseWriter, req *http.Request) bool {
		if req.Host == "auth.example" {
			given++
			fmt.Fprintf(w, `{"token":"t%d"}`, given)
			return false
		}
		want := "Bearer t1"
		if strings.Contains(req.URL.Path, "/blobs/") {
			want = "Bearer t2"
		}
		if req.Header.Get("Authorization") == want {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="https://auth.example/token"`)
		w.WriteHeader(401)
		return false
	}
	f, _, _ := newPlace(t, r.serve)
	got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "oci://reg.example/team/art"})
	wantBody(t, got, err, "body")
	if given != 2 {
		t.Errorf("%d tokens", given)
	}
}

// TestOCIRedirect: blobs at another host are asked for without the token.
func TestOCIRedirect(t *testing.T) {
	r := newRegistry()
	r.tag(image(r.put("text/plain", "body")), "latest")
	r.elsewhere = "blobs.example"
	r.login = func(w http.ResponseWriter, req *http.Request) bool {
		auth := req.Header.Get("Authorization")
		if req.Host == "blobs.example" {
			if auth != "" {
				t.Errorf("the other host got %q", auth)
			}
			return true
		}
		if auth == "Basic dTpodW50ZXIy" {
			return true
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(401)
		return false
	}
	f, _, p := newPlace(t, r.serve)
	l := &lines{}
	got, _, err := f.Bytes(t.Context(), l, Request{URL: "oci://u:hunter2@reg.example/team/art"})
	wantBody(t, got, err, "body")
	if !slices.ContainsFunc(p.asked(), func(s string) bool { return strings.HasPrefix(s, "GET blobs.example/v2/team/art/blobs/sha256:") }) {
		t.Errorf("asked %q", p.asked())
	}
	wantSecret(t, l, nil, "hunter2", "dTpodW50ZXIy")
}

// TestOCITrouble: 5xx is waited for, a blob that is cut is asked for again from
// the start, also in the middle of a layer, and refusals say what the registry says.
func TestOCITrouble(t *testing.T) {
	r := newRegistry()
	body := random(300 << 10)
	d := r.put(gzipLayer, layer(true, "f", body, "g", "g"))
	r.tag(image(d), "latest")
	blobs := 0
	r.login = func(w http.ResponseWriter, req *http.Request) bool {
		if strings.Contains(req.URL.Path, "/blobs/") {
			blobs++
			if blobs%2 == 1 {
				w.Header().Set("Content-Length", "999999")
				io.WriteString(w, r.blobs[d["digest"].(string)][:100<<10])
				cut(w)
				return false
			}
		}
		return true
	}
	first := true
	f, slept, _ := newPlace(t, func(w http.ResponseWriter, req *http.Request, n int) {
		if first {
			first = false
			w.WriteHeader(503)
			return
		}
		r.serve(w, req, n)
	})
	for path, want := range map[string]string{"#f": body, "#g": "g", "": r.blobs[d["digest"].(string)]} {
		got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "oci://reg.example/team/art" + path})
		wantBody(t, got, err, want)
	}
	if len(slept.d) != 4 || blobs != 6 {
		t.Errorf("%d pauses, %d requests for the blob", len(slept.d), blobs)
	}
	for status, text := range map[int]string{403: `failed to fetch resource (403 "DENIED": "no \u001b[31m")`, 429: `(429 "DENIED"`} {
		r.status, r.text = status, `{"errors":[{"code":"DENIED","message":"no \u001b[31m"}]}`
		_, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "oci://reg.example/team/art"})
		wantError(t, err, ErrFailed, strings.ReplaceAll(text, `\u001b`, `\x1b`))
	}
	r.status, r.text = 403, "<html>"
	_, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "oci://reg.example/team/art"})
	wantError(t, err, ErrFailed, "failed to fetch resource (403)")
}

// TestOCICancelled: cancelled fetches leave nothing running.
func TestOCICancelled(t *testing.T) {
	r := newRegistry()
	d := r.put(gzipLayer, layer(true, "f", random(300<<10)))
	r.tag(image(d), "latest")
	var hangUp func()
	r.login = func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.Contains(req.URL.Path, "/blobs/") {
			return true
		}
		io.WriteString(w, r.blobs[d["digest"].(string)][:100<<10])
		w.(http.Flusher).Flush()
		time.AfterFunc(10*time.Millisecond, hangUp)
		<-req.Context().Done()
		return false
	}
	f, _, _ := newPlace(t, r.serve)
	before := runtime.NumGoroutine()
	const fetches = 20
	for range fetches {
		ctx, cancel := context.WithCancel(t.Context())
		hangUp = cancel
		_, _, err := f.Bytes(ctx, &lines{}, Request{URL: "oci://reg.example/team/art#f"})
		cancel()
		wantError(t, err, context.Canceled, "")
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before+fetches/2 && time.Now().Before(end); {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine(); n > before+fetches/2 { // a connection has some
		t.Errorf("%d goroutines, %d before", n, before)
	}
}
