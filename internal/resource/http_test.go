// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/config"
)

func TestStatus(t *testing.T) {
	tests := []struct {
		name    string
		codes   []int // of one answer after the other; the last is repeated
		retry   []int
		method  string
		want    string
		wantErr error
		log     []string
	}{
		{"200", []int{200}, nil, "", "body", nil, []string{"GET #1", "GET OK"}},
		{"204", []int{204}, nil, "", "", nil, []string{"GET #1", "GET No Content"}},
		{"404", []int{404}, nil, "", "", ErrNotFound, []string{"GET #1", "GET Not Found"}},
		{"201", []int{201}, nil, "", "", ErrFailed, []string{"GET #1", "GET Created"}},
		{"202", []int{202}, nil, "", "", ErrFailed, []string{"GET #1", "GET Accepted"}},
		{"206 unasked", []int{206}, nil, "", "", ErrFailed, []string{"GET #1", "GET Partial Content"}},
		{"302 without location", []int{302}, nil, "", "", ErrFailed, []string{"GET #1", "GET Found"}},
		{"401", []int{401}, nil, "", "", ErrFailed, []string{"GET #1", "GET Unauthorized"}},
		{"403", []int{403}, nil, "", "", ErrFailed, []string{"GET #1", "GET Forbidden"}},
		{"429", []int{429}, nil, "", "", ErrFailed, []string{"GET #1", "GET Too Many Requests"}},
		{"unknown code", []int{499}, nil, "", "", ErrFailed, []string{"GET #1", "GET "}},
		{"500 then 200", []int{500, 200}, nil, "", "body", nil, []string{"GET #1", "GET Internal Server Error", "GET #2", "GET OK"}},
		{"503 twice then 404", []int{503, 503, 404}, nil, "", "", ErrNotFound,
			[]string{"GET #1", "GET Service Unavailable", "GET #2", "GET Service Unavailable", "GET #3", "GET Not Found"}},
		{"provider retries 404 and 429", []int{404, 429, 200}, []int{404, 429}, "", "body", nil,
			[]string{"GET #1", "GET Not Found", "GET #2", "GET Too Many Requests", "GET #3", "GET OK"}},
		{"PUT", []int{500, 200}, nil, "PUT", "body", nil, []string{"PUT #1", "PUT Internal Server Error", "PUT #2", "PUT OK"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if want := max(tt.method, "GET"); r.Method != want {
					t.Errorf("method %s, want %s", r.Method, want)
				}
				code := tt.codes[min(n, len(tt.codes))-1]
				w.WriteHeader(code)
				if code != 204 {
					io.WriteString(w, "body")
				}
			})
			f, _ := testFetcher(t)
			for range 2 { // the numbers begin at 1 for each resource
				l := &lines{}
				got, _, err := f.Bytes(t.Context(), l, Request{URL: s.URL + "/x?a=b", Method: tt.method, RetryStatus: tt.retry})
				if tt.wantErr == nil {
					wantBody(t, got, err, tt.want)
				} else if err == nil || err.Error() != tt.wantErr.Error() || !errors.Is(err, tt.wantErr) {
					t.Fatalf("error %v, want %v", err, tt.wantErr)
				}
				wantLog(t, l, spell(s.URL+"/x?a=b", tt.log)...)
				if tt.codes = tt.codes[len(tt.codes)-1:]; len(tt.log) > 2 {
					break // the server's list is used up
				}
			}
		})
	}
}

// spell turns "GET #1" and "GET OK" into whole lines.
func spell(url string, short []string) []string {
	var out []string
	for _, s := range short {
		method, rest, _ := strings.Cut(s, " ")
		if strings.HasPrefix(rest, "#") {
			out = append(out, fmt.Sprintf("info %s %s: attempt %s", method, url, rest))
		} else {
			out = append(out, fmt.Sprintf("info %s result: %s", method, rest))
		}
	}
	return out
}

func TestBackoff(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n <= 9 {
			w.WriteHeader(503)
		}
	})
	f, slept := testFetcher(t)
	if _, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: s.URL}); err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{200, 400, 800, 1600, 3200, 5000, 5000, 5000, 5000}
	if len(slept.d) != len(want) {
		t.Fatalf("%d pauses, want %d", len(slept.d), len(want))
	}
	for i, w := range want {
		w *= time.Millisecond
		if d := slept.d[i]; d < w || d > min(w+w/10, longestPause) {
			t.Errorf("pause %d is %v, want %v and up to a tenth more, at most 5s", i+1, d, w)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	tests := []struct {
		value    string
		min, max time.Duration
	}{
		{"2", 2 * time.Second, 2200 * time.Millisecond},
		{"0", 200 * time.Millisecond, 220 * time.Millisecond},
		{"86400", 5 * time.Second, 5 * time.Second},
		{"99999999999999999999", 200 * time.Millisecond, 220 * time.Millisecond},
		{"-3", 200 * time.Millisecond, 220 * time.Millisecond},
		{"soon", 200 * time.Millisecond, 220 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, _ *http.Request, n int) {
				if n == 1 {
					w.Header().Set("Retry-After", tt.value)
					w.WriteHeader(503)
				}
			})
			f, slept := testFetcher(t)
			if _, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: s.URL}); err != nil {
				t.Fatal(err)
			}
			if len(slept.d) != 1 || slept.d[0] < tt.min || slept.d[0] > tt.max {
				t.Errorf("pauses %v, want one of %v to %v", slept.d, tt.min, tt.max)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	defaults := http.Header{
		"User-Agent":      {"Ignition/v1.2.3"},
		"Accept":          {"application/vnd.coreos.ignition+json;version=3.6.0, */*;q=0.1"},
		"Accept-Encoding": {"identity"},
	}
	tests := []struct {
		name  string
		user  string // of the URL
		own   http.Header
		want  http.Header // besides the defaults
		host  string
		error error
	}{
		{name: "defaults"},
		{name: "user agent replaced", own: http.Header{"User-Agent": {"me"}}, want: http.Header{"User-Agent": {"me"}}},
		{name: "accept replaced", own: http.Header{"accept": {"text/plain"}}, want: http.Header{"Accept": {"text/plain"}}},
		{name: "encoding replaced", own: http.Header{"Accept-Encoding": {"gzip"}}, want: http.Header{"Accept-Encoding": {"gzip"}}},
		{name: "own", own: http.Header{"X-Own": {"a, b"}}, want: http.Header{"X-Own": {"a, b"}}},
		{name: "host", own: http.Header{"Host": {"other.example"}}, host: "other.example"},
		{name: "user info", user: "u:p@", want: http.Header{"Authorization": {"Basic dTpw"}}},
		{name: "authorization beats user info", user: "u:p@", own: http.Header{"Authorization": {"Bearer t"}}, want: http.Header{"Authorization": {"Bearer t"}}},
		{name: "name with a space", own: http.Header{"X Y": {"1"}}, error: errHeader},
		{name: "value with a line end", own: http.Header{"X-Y": {"1\r\nX-Z: 2"}}, error: errHeader},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got *http.Request
			s := serve(t, func(_ http.ResponseWriter, r *http.Request, _ int) { got = r })
			f, _ := testFetcher(t)
			url := strings.Replace(s.URL, "http://", "http://"+tt.user, 1) + "/p%20q/%2F?x=%41#frag"
			l := &lines{}
			_, _, err := f.Bytes(t.Context(), l, Request{URL: url, Headers: tt.own})
			if !errors.Is(err, tt.error) {
				t.Fatalf("error %v, want %v", err, tt.error)
			}
			if err != nil {
				if got != nil {
					t.Error("the request was sent")
				}
				return
			}
			want := defaults.Clone()
			for k, v := range tt.want {
				want[k] = v
			}
			if fmt.Sprint(got.Header) != fmt.Sprint(want) {
				t.Errorf("header %v, want %v", got.Header, want)
			}
			if host := max(tt.host, strings.TrimPrefix(s.URL, "http://")); tt.host != "" && got.Host != host {
				t.Errorf("host %q, want %q", got.Host, host)
			}
			if got.RequestURI != "/p%20q/%2F?x=%41" {
				t.Errorf("asked for %q", got.RequestURI)
			}
			if strings.Contains(l.all(), ":p@") {
				t.Errorf("password in the log: %s", l.all())
			}
		})
	}
}

func TestNoHost(t *testing.T) {
	f, slept := testFetcher(t)
	for _, url := range []string{"http:///x", "http:x", "https:?q"} {
		if _, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: url}); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %v", url, err)
		}
	}
	if len(slept.d) > 0 {
		t.Error("what can never work was retried")
	}
}

func TestSecretsStayOutOfTheLog(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		switch n {
		case 1:
			w.Header().Set("Location", "http://u:hunter2@"+addr+"/?sig=hunter2")
		case 2:
			w.Header().Set("Location", "http://h:hunter2/?sig=hunter2")
		case 3:
			w.Header().Set("Location", "ftp://u:hunter2@h/")
		}
		w.WriteHeader(302)
	})
	f, _ := testFetcher(t)
	for i, url := range []string{
		s.URL, s.URL, s.URL, "http://u:hunter2@" + addr + "/x?token=hunter2", "http://u:hunter2@" + addr + ":x/",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		slept := f.shared.opts.sleep
		f.shared.opts.sleep = func(ctx context.Context, d time.Duration) error { cancel(); return slept(ctx, d) }
		log := &lines{}
		_, _, err := f.Bytes(ctx, log, Request{URL: url})
		cancel()
		if err == nil || strings.Contains(err.Error()+log.all(), "hunter2") {
			t.Errorf("%d: error %v, log:\n%s", i, err, log.all())
		}
	}
}

func TestRedirect(t *testing.T) {
	own := http.Header{"X-Own": {"secret"}, "Authorization": {"Bearer secret"}, "Accept": {"own"}, "User-Agent": {"own"}, "Host": {"own.example"}, "Referer": {"http://own/"}}
	for _, code := range []int{301, 302, 303, 307, 308} {
		for _, method := range []string{"GET", "PUT"} {
			t.Run(fmt.Sprint(method, " ", code), func(t *testing.T) {
				var got *http.Request
				target := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) { got = r; io.WriteString(w, "x") })
				s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
					if r.Header.Get("X-Own") == "" || r.Host != "own.example" {
						t.Errorf("first request: %v %v", r.Host, r.Header)
					}
					w.Header().Set("Location", target.URL+"/there?q")
					w.WriteHeader(code)
				})
				f, _ := testFetcher(t)
				l := &lines{}
				body, _, err := f.Bytes(t.Context(), l, Request{URL: s.URL, Method: method, Headers: own})
				wantBody(t, body, err, "x")
				want := "map[Accept:[application/vnd.coreos.ignition+json;version=3.6.0, */*;q=0.1] Accept-Encoding:[identity] User-Agent:[Ignition/v1.2.3]]"
				if fmt.Sprint(got.Header) != want && fmt.Sprint(got.Header) != strings.Replace(want, " User-Agent", " Content-Length:[0] User-Agent", 1) {
					t.Errorf("header %v, want %v", got.Header, want)
				}
				wantMethod := "GET"
				if code >= 307 {
					wantMethod = method
				}
				if got.Method != wantMethod || got.RequestURI != "/there?q" || "http://"+got.Host != target.URL {
					t.Errorf("%s %s at %s", got.Method, got.RequestURI, got.Host)
				}
				wantLog(t, l, spell(s.URL, []string{method + " #1", method + " OK"})...)
			})
		}
	}
}

func TestRedirectLimit(t *testing.T) {
	for _, tt := range []struct {
		name string
		hops int
		want error
	}{{"ten are followed", 10, nil}, {"eleven are not", 11, ErrFailed}, {"a loop", 1 << 30, ErrFailed}} {
		t.Run(tt.name, func(t *testing.T) {
			var last int
			s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
				last = n
				if n <= tt.hops {
					http.Redirect(w, r, fmt.Sprintf("/%d", n), http.StatusFound)
				}
			})
			f, slept := testFetcher(t)
			l := &lines{}
			_, _, err := f.Bytes(t.Context(), l, Request{URL: s.URL})
			if !errors.Is(err, tt.want) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			if last != 11 || len(slept.d) != 0 {
				t.Errorf("%d requests, %d pauses", last, len(slept.d))
			}
			if tt.want != nil && l.count("GET error: Get ") != 1 {
				t.Errorf("log:\n%s", l.all())
			}
		})
	}
}

func TestStalledAnswers(t *testing.T) {
	for _, code := range []int{302, 404, 503} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
				if n > 1 {
					return
				}
				w.Header().Set("Location", "/next")
				w.WriteHeader(code)
				w.(http.Flusher).Flush()
				<-r.Context().Done() // the rest never comes
			})
			f, _ := testFetcher(t)
			began := time.Now()
			if _, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: s.URL}); code != 404 && err != nil || code == 404 && !errors.Is(err, ErrNotFound) {
				t.Error(err)
			}
			if took := time.Since(began); took > 5*drainTime {
				t.Errorf("waited %v for the rest of an answer", took)
			}
		})
	}
}

func TestBodyFaults(t *testing.T) {
	want := random(100_000)
	const half = 50_000
	tests := []struct {
		name   string
		etag   string
		second func(w http.ResponseWriter, r *http.Request) // the answer to the first retry, nil = whole
		ranges string                                       // the second request's
		resets int
		tries  int
	}{
		{name: "no validator", resets: 1, tries: 2},
		{name: "weak validator", etag: `W/"1"`, resets: 1, tries: 2},
		{name: "strong, resumed", etag: `"1"`, ranges: "bytes=50000-", tries: 2, second: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 50000-99999/100000")
			w.WriteHeader(206)
			io.WriteString(w, want[half:])
		}},
		{name: "strong, length unknown", etag: `"1"`, ranges: "bytes=50000-", tries: 2, second: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 50000-99999/*")
			w.WriteHeader(206)
			io.WriteString(w, want[half:])
		}},
		{name: "strong, server sends the whole", etag: `"1"`, ranges: "bytes=50000-", resets: 1, tries: 2},
		{name: "wrong range", etag: `"1"`, ranges: "bytes=50000-", resets: 1, tries: 3, second: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 0-99999/100000")
			w.WriteHeader(206)
			io.WriteString(w, want)
		}},
		{name: "no range header", etag: `"1"`, ranges: "bytes=50000-", resets: 1, tries: 3, second: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(206)
			io.WriteString(w, want[half:])
		}},
		{name: "another length", etag: `"1"`, ranges: "bytes=50000-", resets: 1, tries: 3, second: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 50000-100000/100001")
			w.WriteHeader(206)
			io.WriteString(w, want[half:]+"x")
		}},
		{name: "another validator", etag: `"1"`, ranges: "bytes=50000-", resets: 1, tries: 3, second: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 50000-99999/100000")
			w.Header().Set("ETag", `"2"`)
			w.WriteHeader(206)
			io.WriteString(w, strings.Repeat("x", half))
		}},
		{name: "range ends early", etag: `"1"`, ranges: "bytes=50000-", tries: 3, second: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Range", "bytes 50000-59999/100000")
			w.WriteHeader(206)
			io.WriteString(w, want[half:60_000])
		}},
		{name: "416", etag: `"1"`, ranges: "bytes=50000-", resets: 1, tries: 3, second: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(416)
		}},
		{name: "503 in between", etag: `"1"`, ranges: "bytes=50000-", tries: 3, second: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(503)
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ranges string
			var served atomic.Int32
			s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
				served.Store(int32(n))
				if tt.etag != "" {
					w.Header().Set("ETag", tt.etag)
				}
				switch {
				case n == 1:
					w.Header().Set("Content-Length", "100000")
					io.WriteString(w, want[:half])
					cut(w)
				case n == 2:
					ranges = r.Header.Get("Range")
					if ranges != "" && r.Header.Get("If-Range") != tt.etag {
						t.Errorf("if-range %q", r.Header.Get("If-Range"))
					}
					if tt.second != nil {
						tt.second(w, r)
						return
					}
					io.WriteString(w, want)
				default:
					http.ServeContent(w, r, "", time.Time{}, strings.NewReader(want))
				}
			})
			f, _ := testFetcher(t)
			l, dst := &lines{}, &sink{}
			info, err := f.To(t.Context(), l, Request{URL: s.URL, Hash: sha512Of(want)}, dst)
			wantBody(t, dst.Bytes(), err, want)
			if info.Bytes != int64(len(want)) {
				t.Errorf("%d bytes", info.Bytes)
			}
			if dst.resets != tt.resets || int(served.Load()) != tt.tries || ranges != tt.ranges {
				t.Errorf("%d resets, %d requests, range %q; want %d, %d, %q", dst.resets, served.Load(), ranges, tt.resets, tt.tries, tt.ranges)
			}
			if l.count("attempt #") != tt.tries || l.count("GET error: reading the body after 50000 bytes: unexpected EOF") != 1 {
				t.Errorf("log:\n%s", l.all())
			}
		})
	}
}

func TestResumeThroughRedirect(t *testing.T) {
	want := random(100_000)
	store := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		w.Header().Set("ETag", `"1"`)
		if n == 1 {
			w.Header().Set("Content-Length", "100000")
			io.WriteString(w, want[:1000])
			cut(w)
			return
		}
		if r.Header.Get("Range") != "bytes=1000-" {
			t.Errorf("range %q", r.Header.Get("Range"))
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(want))
	})
	s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) { http.Redirect(w, r, store.URL, http.StatusFound) })
	f, _ := testFetcher(t)
	dst := &sink{}
	_, err := f.To(t.Context(), &lines{}, Request{URL: s.URL}, dst)
	wantBody(t, dst.Bytes(), err, want)
	if dst.resets != 0 {
		t.Errorf("%d resets", dst.resets)
	}
}

func TestStalledBody(t *testing.T) {
	want := random(10_000)
	s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 1 {
			w.Header().Set("Content-Length", "10000")
			io.WriteString(w, want[:100])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		io.WriteString(w, want)
	})
	f, _ := testFetcher(t)
	f.shared.opts.idle = 50 * time.Millisecond
	l := &lines{}
	got, _, err := f.Bytes(t.Context(), l, Request{URL: s.URL})
	wantBody(t, got, err, want)
	if l.count("GET error: reading the body after 100 bytes: no data for 50ms") != 1 {
		t.Errorf("log:\n%s", l.all())
	}
}

// TestSlowBody has a body that takes longer than the idle limit, and than the
// header time-out, in all: both are for silence.
func TestSlowBody(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		for range 10 {
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			time.Sleep(100 * time.Millisecond)
		}
	})
	f, slept := testFetcher(t)
	f = f.WithTimeouts(700*time.Millisecond, 0)
	f.shared.opts.idle = 700 * time.Millisecond
	got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: s.URL})
	wantBody(t, got, err, strings.Repeat("x", 10))
	if len(slept.d) != 0 {
		t.Error("it was retried")
	}
}

func TestHeaderTimeout(t *testing.T) {
	late := func(w http.ResponseWriter, _ *http.Request, n int) {
		if n == 1 {
			time.Sleep(300 * time.Millisecond)
		}
		io.WriteString(w, "x")
	}
	for _, tt := range []struct {
		name    string
		headers time.Duration
		tries   int
	}{{"short", 100 * time.Millisecond, 2}, {"long", 10 * time.Second, 1}, {"none", 0, 1}} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, late)
			f, _ := testFetcher(t)
			l := &lines{}
			got, _, err := f.WithTimeouts(tt.headers, 0).Bytes(t.Context(), l, Request{URL: s.URL})
			wantBody(t, got, err, "x")
			if l.count("attempt #") != tt.tries {
				t.Errorf("log:\n%s", l.all())
			}
			if tt.tries > 1 && l.count("GET error: Get \""+s.URL+"\": net/http: timeout awaiting response headers") != 1 {
				t.Errorf("log:\n%s", l.all())
			}
		})
	}
}

func TestTimeoutsOfConfig(t *testing.T) {
	tests := []struct {
		name           string
		in             config.Timeouts
		headers, total time.Duration
	}{
		{"absent", config.Timeouts{}, 10 * time.Second, 0},
		{"set", config.Timeouts{HTTPResponseHeaders: ptr(3), HTTPTotal: ptr(7)}, 3 * time.Second, 7 * time.Second},
		{"none", config.Timeouts{HTTPResponseHeaders: ptr(0), HTTPTotal: ptr(0)}, 0, 0},
		{"negative", config.Timeouts{HTTPResponseHeaders: ptr(-1), HTTPTotal: ptr(-1)}, 0, 0},
		{"huge", config.Timeouts{HTTPResponseHeaders: ptr(1 << 62), HTTPTotal: ptr(1 << 62)}, (1<<31 - 1) * time.Second, (1<<31 - 1) * time.Second},
	}
	f, _ := testFetcher(t)
	f = f.WithTimeouts(time.Second, time.Second) // are replaced, not kept
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := f.Using(t.Context(), &lines{}, config.Ignition{Timeouts: tt.in})
			if err != nil {
				t.Fatal(err)
			}
			if got.set.headers != tt.headers || got.transport.ResponseHeaderTimeout != tt.headers || got.total != tt.total {
				t.Errorf("headers %v, total %v", got.set.headers, got.total)
			}
		})
	}
}

func TestTotalTimeout(t *testing.T) {
	tests := []struct {
		name   string
		handle func(w http.ResponseWriter, r *http.Request, n int)
		before string // what the log says before the end
	}{
		{"503 for ever", func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(503) }, "GET result: Service Unavailable"},
		{"during the wait for headers", func(_ http.ResponseWriter, r *http.Request, _ int) { <-r.Context().Done() }, "GET error: Get "},
		{"during the body", func(w http.ResponseWriter, r *http.Request, _ int) {
			w.Header().Set("Content-Length", "10")
			io.WriteString(w, "x")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "GET error: reading the body after 1 bytes: context deadline exceeded"},
		{"in a slow body", func(w http.ResponseWriter, r *http.Request, _ int) {
			for r.Context().Err() == nil {
				io.WriteString(w, "x")
				w.(http.Flusher).Flush()
				time.Sleep(5 * time.Millisecond)
			}
		}, "GET error: reading the body after"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, tt.handle)
			f, _ := testFetcher(t)
			f.shared.opts.sleep = sleep
			l := &lines{}
			began := time.Now()
			_, _, err := f.WithTimeouts(0, 300*time.Millisecond).Bytes(t.Context(), l, Request{URL: s.URL})
			if err == nil || err.Error() != "unable to fetch resource in time" || !errors.Is(err, ErrTimeout) {
				t.Errorf("error %v", err)
			}
			if took := time.Since(began); took < 250*time.Millisecond || took > 3*time.Second {
				t.Errorf("took %v", took)
			}
			if !strings.Contains(l.all(), tt.before) {
				t.Errorf("log:\n%s", l.all())
			}
		})
	}
}

func TestTotalTimeoutWhileConnecting(t *testing.T) {
	addr := fullBacklog(t)
	f, _ := testFetcher(t)
	f.shared.opts.sleep = sleep
	began := time.Now()
	_, _, err := f.WithTimeouts(0, 200*time.Millisecond).Bytes(t.Context(), &lines{}, Request{URL: "http://" + addr + "/"})
	if !errors.Is(err, ErrTimeout) || time.Since(began) > 3*time.Second {
		t.Errorf("error %v after %v", err, time.Since(began))
	}
}

func TestCancel(t *testing.T) {
	for _, at := range []string{"headers", "body", "pause"} {
		t.Run(at, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				if at == "pause" {
					w.WriteHeader(500)
					return
				}
				if at == "body" {
					w.Header().Set("Content-Length", "10")
					io.WriteString(w, "x")
					w.(http.Flusher).Flush()
				}
				cancel()
				<-r.Context().Done()
			})
			f, slept := testFetcher(t)
			slept.do = func(int) { cancel() }
			_, _, err := f.Bytes(ctx, &lines{}, Request{URL: s.URL})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestLateServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	f, slept := testFetcher(t)
	slept.do = func(n int) {
		if n != 3 {
			return
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Error(err)
			return
		}
		s := &httptest.Server{Listener: l, Config: &http.Server{Handler: numbered(func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, "up") })}}
		s.Start()
		t.Cleanup(s.Close)
	}
	log := &lines{}
	got, _, err := f.Bytes(t.Context(), log, Request{URL: "http://" + addr + "/"})
	wantBody(t, got, err, "up")
	if log.count("connection refused") != 3 || log.count("GET error: Get \"http://"+addr+"/\": dial tcp") != 3 || log.count("attempt #") != 4 {
		t.Errorf("log:\n%s", log.all())
	}
}

// TestNames has a name that is not known at first, as before DHCP.
func TestNames(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, "named") })
	f, slept := testFetcher(t)
	dial := f.transport.DialContext
	known := false
	slept.do = func(n int) { known = n == 2 }
	f.transport.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if !known {
			return nil, &net.OpError{Op: "dial", Net: network, Err: &net.DNSError{Err: "no such host", Name: addr, IsNotFound: true}}
		}
		return dial(ctx, network, strings.TrimPrefix(s.URL, "http://"))
	}
	got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "http://late.example/"})
	wantBody(t, got, err, "named")
}

func TestMalformedAnswer(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		if n == 1 {
			c, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				io.WriteString(c, "this is no HTTP\r\n\r\n")
				c.Close()
			}
			return
		}
		io.WriteString(w, "x")
	})
	f, _ := testFetcher(t)
	l := &lines{}
	got, _, err := f.Bytes(t.Context(), l, Request{URL: s.URL})
	wantBody(t, got, err, "x")
	if l.count("malformed HTTP status code") != 1 {
		t.Errorf("log:\n%s", l.all())
	}
}

func TestContentEncodingUnasked(t *testing.T) {
	packed := zipped(t, "text")
	s := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Encoding", "gzip")
		io.WriteString(w, packed)
	})
	f, _ := testFetcher(t)
	got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: s.URL})
	wantBody(t, got, err, packed)
	got, _, err = f.Bytes(t.Context(), &lines{}, Request{URL: s.URL, Compression: "gzip"})
	wantBody(t, got, err, "text")
}

func TestProgress(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Length", fmt.Sprint(3<<20))
		for range 3 {
			io.WriteString(w, random(1<<20))
			w.(http.Flusher).Flush()
			time.Sleep(30 * time.Millisecond)
		}
	})
	f, _ := testFetcher(t)
	f.shared.opts.progress = 20 * time.Millisecond
	var told []string
	f.shared.opts.Progress = func(s string) { told = append(told, s) }
	l := &lines{}
	if _, _, err := f.Bytes(t.Context(), l, Request{URL: s.URL + "/?token=hunter2"}); err != nil {
		t.Fatal(err)
	}
	if len(told) == 0 || l.count(" of 3.0 MiB so far, ") != len(told) || !strings.HasPrefix(told[0], "GET "+s.URL) || strings.Contains(l.all(), "hunter2") {
		t.Errorf("told %q, log:\n%s", told, l.all())
	}
}

func TestConnectionsAreKept(t *testing.T) {
	var conns atomic.Int32
	s := httptest.NewUnstartedServer(numbered(func(w http.ResponseWriter, r *http.Request, n int) {
		if n%3 == 0 {
			w.WriteHeader(503)
		}
		io.WriteString(w, random(5000))
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	s.Start()
	t.Cleanup(s.Close)
	f, _ := testFetcher(t)
	for range 10 {
		same, err := f.Using(t.Context(), &lines{}, config.Ignition{Timeouts: config.Timeouts{HTTPTotal: ptr(60)}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := same.Bytes(t.Context(), &lines{}, Request{URL: s.URL}); err != nil {
			t.Fatal(err)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections for downloads one after the other, want 1", n)
	}
}

func TestProgressText(t *testing.T) {
	const mib = 1 << 20
	for _, row := range []struct {
		got, from, length int64
		took              time.Duration
		want              string
	}{
		{got: 10 * mib, length: -1, took: 10 * time.Second, want: "10.0 MiB so far, 1.0 MiB/s"},
		{got: 10 * mib, length: 40 * mib, took: 10 * time.Second, want: "10.0 of 40.0 MiB so far, 1.0 MiB/s, 30s to go"},
		{got: 10 * mib, from: 5 * mib, length: 40 * mib, took: 10 * time.Second, want: "10.0 of 40.0 MiB so far, 0.5 MiB/s, 1m0s to go"},
		{got: 39 * mib, length: 40 * mib, took: 10 * time.Second, want: "39.0 of 40.0 MiB so far, 3.9 MiB/s, 1s to go"},
		{got: 40 * mib, length: 40 * mib, took: 10 * time.Second, want: "40.0 of 40.0 MiB so far, 4.0 MiB/s"},
		{got: 0, length: 40 * mib, took: 10 * time.Second, want: "0.0 of 40.0 MiB so far, 0.0 MiB/s"},
		{got: 1, length: 1 << 40, took: 1000 * time.Hour, want: "0.0 of 1048576.0 MiB so far, 0.0 MiB/s"},
	} {
		if got := Progress(row.got, row.from, row.length, row.took); got != row.want {
			t.Errorf("got %q, want %q", got, row.want)
		}
	}
}
