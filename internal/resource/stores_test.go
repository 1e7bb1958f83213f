// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestGoogleURL(t *testing.T) {
	const at = "https://storage.googleapis.com/storage/v1/b/"
	tests := []struct{ url, want string }{
		{"gs://b/o", at + "b/o/o?alt=media"},
		{"gs://b///a/b", at + "b/o/a%2Fb?alt=media"},
		{"gs://b/a%2Fb%25c+d%20e%3Ff%23g", at + "b/o/a%2Fb%25c+d%20e%3Ff%23g?alt=media"},
		{"gs://b/%C3%A9", at + "b/o/%C3%A9?alt=media"},
		{"gs://b/o?x=y", at + "b/o/o?alt=media"},
		{"gs://b", ""}, {"gs://b/", ""}, {"gs:///o", ""}, {"gs:o", ""},
	}
	for _, tt := range tests {
		got, err := googleURL(tt.url)
		if got != tt.want || (err == nil) != (tt.want != "") || err != nil && !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %q, %v, want %q", tt.url, got, err, tt.want)
		}
	}
}

func TestGoogle(t *testing.T) {
	good := Token{Value: "hunter2"}
	none := func(context.Context, Log) (Token, error) { return Token{}, ErrNoIdentity }
	tests := []struct {
		name     string
		token    func(context.Context, Log) (Token, error)
		statuses []int
		auth     string // of the requests
		kind     error
		text     string // of the error, "" = the body came
		log      string
	}{
		{"token", func(context.Context, Log) (Token, error) { return good, nil }, []int{200}, "Bearer hunter2", nil, "", ""},
		{"another platform", nil, []int{200}, "", nil, "", "debug falling back to unauthenticated GCS access: "},
		{"no service account", none, []int{200}, "", nil, "", "debug falling back to unauthenticated GCS access: "},
		{"token fails", func(context.Context, Log) (Token, error) { return Token{}, io.ErrNoProgress }, nil, "", io.ErrNoProgress, "fetching GCS auth token: ", ""},
		{"no token that goes into a header", func(context.Context, Log) (Token, error) { return Token{Value: "hunter2\n"}, nil }, nil, "", errHeader, "", ""},
		{"401", none, []int{401}, "", ErrFailed, "failed to fetch resource", ""},
		{"403", func(context.Context, Log) (Token, error) { return good, nil }, []int{403}, "Bearer hunter2", ErrFailed, "failed to fetch resource", ""},
		{"404", nil, []int{404}, "", ErrNotFound, "resource not found", ""},
		{"5xx and then it works", func(context.Context, Log) (Token, error) { return good, nil }, []int{500, 503, 200}, "Bearer hunter2", nil, "", "attempt #3"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _, p := newPlace(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if got := r.Header.Get("Authorization"); got != tt.auth || r.Header.Get("X-Own") != "" {
					t.Errorf("headers %v, want authorization %q", r.Header, tt.auth)
				}
				w.WriteHeader(tt.statuses[n-1])
				io.WriteString(w, "body")
			})
			f.SetCloud(Cloud{Google: tt.token})
			l := &lines{}
			got, _, err := f.Bytes(t.Context(), l, Request{URL: "gs://b/a/b", Headers: http.Header{"X-Own": {"1"}}})
			if tt.kind == nil {
				wantBody(t, got, err, "body")
			} else {
				wantError(t, err, tt.kind, tt.text)
			}
			if n := len(p.asked()); n != len(tt.statuses) {
				t.Errorf("%d requests, want %d", n, len(tt.statuses))
			}
			if !strings.Contains(l.all(), tt.log) || len(tt.statuses) > 0 && l.count("GET gs://b/a/b: attempt #1") != 1 {
				t.Errorf("log:\n%s", l.all())
			}
			wantSecret(t, l, err, "hunter2")
		})
	}
}

// TestGoogleRedirect: the token does not go to another host, nor in clear.
func TestGoogleRedirect(t *testing.T) {
	f, _, p := newPlace(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			http.Redirect(w, r, "https://other.example/o", http.StatusFound)
			return
		}
		if r.Header.Get("Authorization") != "" {
			t.Error("the token was sent on")
		}
		io.WriteString(w, "body")
	})
	f.SetCloud(Cloud{Google: func(context.Context, Log) (Token, error) { return Token{Value: "hunter2"}, nil }})
	got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "gs://b/o"})
	wantBody(t, got, err, "body")
	p.wantAsked(t, "GET storage.googleapis.com/storage/v1/b/b/o/o?alt=media", "GET other.example/o")
}

func TestAzureBlobs(t *testing.T) {
	for url, want := range map[string]bool{
		"https://a.blob.core.windows.net/c/b":             true,
		"https://a.blob.core.windows.net/c/x/y":           true,
		"HTTP://A.BLOB.core.windows.net/c/b":              true,
		"https://a.blob.core.windows.net/c/b?snapshot=1":  true,
		"https://a.blob.core.windows.net/c/b?sv=1&sig=x":  false,
		"https://a.blob.core.windows.net/b":               false,
		"https://a.blob.core.windows.net.evil.example/c/": false,
		"https://blob.core.windows.net/c/b":               false,
		"https://evil.example/a.blob.core.windows.net/b":  false,
		"https://a.blob.core.windows.net@evil.example/c/": false,
	} {
		if got := azureBlob(url); got != want {
			t.Errorf("%s: %t", url, got)
		}
	}
}

// onAzure gives a fetcher this token.
func onAzure(f *Fetcher, value string, err error) {
	f.SetCloud(Cloud{Azure: func(context.Context, Log) (Token, error) { return Token{Value: value}, err }})
}

func TestAzure(t *testing.T) {
	const host = "https://a.blob.core.windows.net"
	tests := []struct {
		name          string
		url           string
		err           error // of the token
		status        int   // of the answers to requests with a token
		authenticated int   // requests
		plain         int
		fallback      bool
	}{
		{"token", host + "/c/b", nil, 200, 1, 0, false},
		{"nested name", host + "/c/x/http:/y", nil, 200, 1, 0, false},
		{"plain http", "http://a.blob.core.windows.net/c/b", nil, 200, 1, 0, false},
		{"plain HTTP in capitals", "HTTP://a.blob.core.windows.net:80/c/b", nil, 200, 1, 0, false},
		{"forbidden", host + "/c/b", nil, 403, 1, 1, true},
		{"not there for it", host + "/c/b", nil, 404, 1, 1, true},
		{"no token", host + "/c/b", errors.New("no luck"), 0, 0, 1, true},
		{"no identity", host + "/c/b", ErrNoIdentity, 0, 0, 1, false},
		{"signed URL", host + "/c/b?sv=1&sig=hunter2", nil, 200, 0, 1, false},
		{"other host", "https://other.example/c/b", nil, 200, 0, 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			authenticated, plain := 0, 0
			f, _, p := newPlace(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				switch r.Header.Get("Authorization") {
				case "Bearer hunter2":
					authenticated++
					if r.Header.Get("X-Ms-Version") == "" || r.Header.Get("X-Own") != "" {
						t.Errorf("headers %v", r.Header)
					}
					w.WriteHeader(tt.status)
				case "":
					plain++
					if r.Header.Get("X-Own") != "1" {
						t.Errorf("headers %v", r.Header)
					}
				}
				io.WriteString(w, "body")
			})
			onAzure(f, "hunter2", tt.err)
			l := &lines{}
			got, _, err := f.Bytes(t.Context(), l, Request{URL: tt.url, Headers: http.Header{"X-Own": {"1"}}})
			wantBody(t, got, err, "body")
			if authenticated != tt.authenticated || plain != tt.plain || p.plain > 0 {
				t.Errorf("%d requests with the token, %d without, %d connections in clear", authenticated, plain, p.plain)
			}
			if l.count("falling back to HTTP fetch") == 1 != tt.fallback || l.count("could not fetch "+tt.url+" via Azure credentials: ") == 1 != tt.fallback {
				t.Errorf("log:\n%s", l.all())
			}
			wantSecret(t, l, err, "hunter2")
		})
	}
}

// TestAzureLeftovers: what came before a failure is thrown away, and neither a
// wrong hash nor bad compression is a reason to ask again.
func TestAzureLeftovers(t *testing.T) {
	f, _, p := newPlace(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, "hunter2 of the first answer")
			cut(w)
			return
		}
		if r.Header.Get("Authorization") != "" {
			w.WriteHeader(401) // the token has ended
			return
		}
		io.WriteString(w, "body")
	})
	onAzure(f, "x", nil)
	got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "https://a.blob.core.windows.net/c/b"})
	wantBody(t, got, err, "body")
	if n := len(p.asked()); n != 3 {
		t.Errorf("%d requests, want a cut one, a refused one and a plain one", n)
	}
	for _, r := range []Request{{Hash: "sha256-" + strings.Repeat("0", 64)}, {Compression: "gzip"}} {
		f, _, p := newPlace(t, func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, "body, but not of gzip") })
		onAzure(f, "x", nil)
		r.URL = "https://a.blob.core.windows.net/c/b"
		if _, _, err := f.Bytes(t.Context(), &lines{}, r); err == nil {
			t.Error("no error")
		}
		if n := len(p.asked()); n != 1 {
			t.Errorf("%d requests", n)
		}
	}
}

// TestAzureTime: an identity that takes long is given up, a blob that comes slowly is not.
func TestAzureTime(t *testing.T) {
	f, _, p := newPlace(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.Header.Get("Authorization") == "" {
			io.WriteString(w, "body")
			return
		}
		if strings.HasSuffix(r.URL.Path, "silent") {
			<-r.Context().Done()
			return
		}
		for _, c := range "body" {
			io.WriteString(w, string(c))
			w.(http.Flusher).Flush()
			time.Sleep(400 * time.Millisecond)
		}
	})
	f.total = 3 * time.Second // half of it for the identity
	onAzure(f, "x", nil)
	l := &lines{}
	got, _, err := f.Bytes(t.Context(), l, Request{URL: "https://a.blob.core.windows.net/c/slow"})
	wantBody(t, got, err, "body")
	if n := len(p.asked()); n != 1 {
		t.Errorf("%d requests for a slow blob:\n%s", n, l.all())
	}
	l = &lines{}
	got, _, err = f.Bytes(t.Context(), l, Request{URL: "https://a.blob.core.windows.net/c/silent"})
	wantBody(t, got, err, "body")
	if l.count("via Azure credentials: no answer within 1.5s") != 1 {
		t.Errorf("log:\n%s", l.all())
	}
}

// TestHangUp: a body without a length that ends because we hung up is not whole.
func TestHangUp(t *testing.T) {
	f, _, _ := newPlace(t, func(w http.ResponseWriter, r *http.Request, n int) {
		io.WriteString(w, "body")
		if n%2 == 1 {
			w.(http.Flusher).Flush()
			<-r.Context().Done() // and the answer ends in good order
			return
		}
		io.WriteString(w, " and its end")
	})
	f.shared.opts.idle = 10 * time.Millisecond
	for range 30 {
		got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "https://stalls.example/"})
		wantBody(t, got, err, "body and its end")
	}
}
