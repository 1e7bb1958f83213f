// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/config"
)

var quiet = log.New(io.Discard, "", 0)

// proxy answers requests for any host itself and joins CONNECTs to one address.
type proxy struct {
	*httptest.Server
	to string

	mu   sync.Mutex
	seen []string
	auth string
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	p := &proxy{to: to}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.seen = append(p.seen, r.Method+" "+r.RequestURI)
	p.auth = r.Header.Get("Proxy-Authorization")
	p.mu.Unlock()
	if r.Method != http.MethodConnect {
		io.WriteString(w, "proxied")
		return
	}
	up, err := net.Dial("tcp", p.to)
	if err != nil {
		w.WriteHeader(502)
		return
	}
	w.WriteHeader(200)
	down, early, err := w.(http.Hijacker).Hijack()
	if err != nil {
		up.Close()
		return
	}
	go func() { _, _ = io.Copy(up, early); up.Close() }() // the server may have read a first byte already
	_, _ = io.Copy(down, up)
	down.Close()
}

func (p *proxy) took() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := strings.Join(p.seen, ", ")
	p.seen = nil
	return s
}

// resolveTo sends every direct connection but those to loopback to one address.
func resolveTo(f *Fetcher, addr string) {
	dial := f.transport.DialContext
	f.transport.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		if !strings.HasPrefix(to, "127.") {
			to = addr
		}
		return dial(ctx, network, to)
	}
}

func TestProxy(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, "http://127.0.0.1:1") // never counts
	}
	a := newAuthority(t, "a")
	secure := a.serve(t, nil, numbered(hello))
	plain := serve(t, hello)
	p := newProxy(t, strings.TrimPrefix(secure.URL, "https://"))
	proxyURL := strings.Replace(p.URL, "http://", "http://user:hunter2@", 1)
	tests := []struct {
		name  string
		proxy config.Proxy
		url   string
		took  string // what the proxy saw
		want  string
	}{
		{"http", config.Proxy{HTTPProxy: &proxyURL}, "http://plain.example/x", "GET http://plain.example/x", "proxied"},
		{"https", config.Proxy{HTTPSProxy: &proxyURL}, "https://secure.example/x", "CONNECT secure.example:443", "hello"},
		{"http only, https URL", config.Proxy{HTTPProxy: &proxyURL}, "https://secure.example/", "", "hello"},
		{"https only, http URL", config.Proxy{HTTPSProxy: &proxyURL}, "http://plain.example/", "", "hello"},
		{"exempt", config.Proxy{HTTPProxy: &proxyURL, NoProxy: []string{"other", "plain.example"}}, "http://plain.example/", "", "hello"},
		{"loopback", config.Proxy{HTTPProxy: &proxyURL}, plain.URL, "", "hello"},
		{"link-local", config.Proxy{HTTPProxy: &proxyURL}, "http://169.254.169.254/latest", "", "hello"},
		{"none", config.Proxy{}, "http://plain.example/", "", "hello"},
	}
	f, _ := testFetcher(t)
	f, err := f.Using(t.Context(), &lines{}, config.Ignition{Proxy: config.Proxy{HTTPProxy: ptr("http://127.0.0.1:1")}}) // is replaced
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ign := withCAs(dataURL(a.pem))
			ign.Proxy = tt.proxy
			g, err := f.Using(t.Context(), &lines{}, ign)
			if err != nil {
				t.Fatal(err)
			}
			direct := plain.URL
			if strings.HasPrefix(tt.url, "https:") {
				direct = secure.URL
			}
			_, addr, _ := strings.Cut(direct, "://")
			resolveTo(g, addr)
			l := &lines{}
			got, _, err := g.impatient(5*time.Second).Bytes(t.Context(), l, Request{URL: tt.url})
			wantBody(t, got, err, tt.want)
			if took := p.took(); took != tt.took {
				t.Errorf("the proxy saw %q, want %q", took, tt.took)
			}
			if tt.took != "" && p.auth != "Basic dXNlcjpodW50ZXIy" {
				t.Errorf("proxy authorization %q", p.auth)
			}
			if l.count("hunter2") != 0 {
				t.Errorf("log:\n%s", l.all())
			}
		})
	}
}

func TestProxyOutOfOrder(t *testing.T) {
	f, _ := testFetcher(t)
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := gone.Addr().String()
	gone.Close()
	f, err = f.Using(t.Context(), &lines{}, config.Ignition{Proxy: config.Proxy{HTTPProxy: ptr("http://user:hunter2@" + addr)}})
	if err != nil {
		t.Fatal(err)
	}
	l := &lines{}
	if _, _, err := f.impatient(300*time.Millisecond).Bytes(t.Context(), l, Request{URL: "http://plain.example/"}); err == nil || l.count("connection refused") == 0 || l.count("hunter2") != 0 {
		t.Errorf("error %v, log:\n%s", err, l.all())
	}
}

func TestNoProxy(t *testing.T) {
	tests := []struct {
		no      string
		direct  []string
		proxied []string
	}{
		{"", []string{"localhost", "LocalHost:8080", "127.0.0.1", "127.5.5.5:80", "[::1]", "169.254.169.254", "169.254.0.1:8080", "[fe80::1]", "[fe80::1%25eth0]"},
			[]string{"example.com", "10.0.0.1", "[fd00::1]", "169.255.0.1", "localhost.example.com"}},
		{"*", []string{"example.com", "10.0.0.1"}, nil},
		{"10.0.0.1", []string{"10.0.0.1", "10.0.0.1:8080"}, []string{"10.0.0.2"}},
		{"10.0.0.1:8080", []string{"10.0.0.1:8080"}, []string{"10.0.0.1"}},
		{"10.1.0.0/16,fd00::/8", []string{"10.1.2.3", "[fd12::1]"}, []string{"10.2.0.1", "[fe00::1]"}},
		{"example.com", []string{"example.com", "a.example.com", "A.EXAMPLE.com:81"}, []string{"notexample.com", "example.com.org"}},
		{".example.com", []string{"a.example.com"}, []string{"example.com"}},
		{"example.com:80", []string{"example.com", "example.com:80"}, []string{"example.com:81"}},
		{" a.example , b.example", []string{"a.example", "b.example"}, []string{"c.example"}},
	}
	for _, tt := range tests {
		t.Run(tt.no, func(t *testing.T) {
			find := settings{httpProxy: "http://proxy.example:3128", noProxy: tt.no}.proxy()
			check := func(host string, want bool) {
				u, err := url.Parse("http://" + host + "/x")
				if err != nil {
					t.Fatal(err)
				}
				got, err := find(u)
				if err != nil || (got != nil) != want {
					t.Errorf("%s: proxy %v, %v", host, got, err)
				}
			}
			for _, h := range tt.direct {
				check(h, false)
			}
			for _, h := range tt.proxied {
				check(h, true)
			}
		})
	}
}

// TestProxyRules: who is asked through the proxy, by the list of exceptions.
func TestProxyRules(t *testing.T) {
	for _, row := range []struct{ except, url, want string }{
		{"", "http://example.com/", "http://plain:3128"},
		{"", "https://example.com/", "http://tls:3128"},
		{"*", "http://example.com/", ""},
		{"a.example, * ", "https://example.com/", ""},
		{"example.com", "http://example.com/", ""},
		{"example.com", "http://EXAMPLE.com./", ""},
		{"Example.COM", "http://example.com/", ""},
		{"example.com", "http://sub.example.com/", ""},
		{"example.com", "http://notexample.com/", "http://plain:3128"},
		{".example.com", "http://example.com/", "http://plain:3128"},
		{".example.com", "http://sub.example.com/", ""},
		{"*.example.com", "http://sub.example.com/", ""},
		{"*.example.com", "http://example.com/", "http://plain:3128"},
		{"example.com:80", "http://example.com/", ""},
		{"example.com:80", "https://example.com/", "http://tls:3128"},
		{"example.com:443", "https://example.com/", ""},
		{"example.com:8080", "http://example.com:8080/", ""},
		{"example.com:8080", "http://example.com:8081/", "http://plain:3128"},
		{"192.0.2.7", "http://192.0.2.7/", ""},
		{"192.0.2.7", "http://192.0.2.77/", "http://plain:3128"},
		{"192.0.2.7:81", "http://192.0.2.7/", "http://plain:3128"},
		{"192.0.2.7:81", "http://192.0.2.7:81/", ""},
		{"192.0.2.9/24", "http://192.0.2.7/", ""},
		{"192.0.2.0/24", "http://192.0.3.7/", "http://plain:3128"},
		{"2001:db8::/32", "http://[2001:db8::1]/", ""},
		{"2001:db8::1", "http://[2001:db8::1]/", ""},
		{"[2001:db8::1]:80", "http://[2001:db8::1]/", ""},
		{"[2001:db8::1]:81", "http://[2001:db8::1]/", "http://plain:3128"},
		{"192.0.2.0/24", "http://[::ffff:192.0.2.7]/", ""},
		{" , ,.,*.", "http://example.com/", "http://plain:3128"},
		{"", "http://localhost/", ""},
		{"", "http://127.3.2.1/", ""},
		{"", "http://[::1]:8080/", ""},
		{"", "http://169.254.169.254/", ""},
		{"", "http://[fe80::1%25eth0]/", ""},
		{"", "http://[fd00:ec2::254]/", "http://plain:3128"},
	} {
		u, err := url.Parse(row.url)
		if err != nil {
			t.Fatal(err)
		}
		got, err := settings{httpProxy: "http://plain:3128", httpsProxy: "http://tls:3128", noProxy: row.except}.proxy()(u)
		text := ""
		if got != nil {
			text = got.String()
		}
		if err != nil || text != row.want {
			t.Errorf("%q: %s goes through %q, %v; want %q", row.except, row.url, text, err, row.want)
		}
	}
	u, _ := url.Parse("http://example.com/")
	if _, err := (settings{httpProxy: "http://user:SECRET%zz@x"}).proxy()(u); err == nil || strings.Contains(err.Error(), "SECRET") {
		t.Errorf("error %v", err)
	}
}

func TestValidHeader(t *testing.T) {
	for _, row := range []struct {
		name, value string
		want        bool
	}{
		{"X-Key", "value", true},
		{"x_0!#$%&'*+-.^`|~", "tab\there, and ünï", true},
		{"X-Key", "", true},
		{"", "v", false},
		{"X Key", "v", false},
		{"X:Key", "v", false},
		{"Ünï", "v", false},
		{"X-Key", "line\nbreak", false},
		{"X-Key", "carriage\rreturn", false},
		{"X-Key", "nul\x00", false},
		{"X-Key", "\x7f", false},
	} {
		if got := validHeader(row.name, []string{"ok", row.value}); got != row.want {
			t.Errorf("%q: %q is valid: %t, want %t", row.name, row.value, got, row.want)
		}
	}
}
