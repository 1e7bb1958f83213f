// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"net/url"
	"testing"

	"golang.org/x/net/http/httpproxy"
)

// TestProxiesLikeTheLibrary holds our choice of a proxy to that of the widespread library.
func TestProxiesLikeTheLibrary(t *testing.T) {
	urls := []string{
		"http://example.com/", "https://example.com/", "http://EXAMPLE.com:8080/", "http://a.example.com/", "http://b.a.example.com:80/",
		"http://badexample.com/", "http://localhost/", "http://localhost:80/", "http://127.0.0.1/", "http://127.5.5.5:8080/", "http://[::1]/",
		"http://10.1.2.3/", "https://10.1.2.3:8443/", "http://192.168.1.1/", "http://[fd00::1]/", "https://[fd00::1]:443/", "http://[2001:db8::5]/",
		"tftp://example.com/", "http://host/", "https://host:443/", "http://xn--bcher-kva.example/", "http://1.2.3.4.example/",
	}
	lists := []string{
		"", "*", "example.com", ".example.com", "*.example.com", "example.com:80", "example.com:443", "a.example.com,10.1.2.3", "10.0.0.0/8",
		"10.1.2.3:8443", "[fd00::1]:443", "fd00::1", "[fd00::1]", "2001:db8::/32", " host , EXAMPLE.COM ", ",,", ":80", "example", "192.168.1.1:80",
		"xn--bcher-kva.example", "a,*,b", "com", ".com:8080",
	}
	for _, proxy := range []string{"", "http://proxy:3128", "proxy:3128", "https://u:p@proxy", "socks5://proxy", "http://", "::", "10.0.0.1", "http://[::1"} {
		for _, list := range lists {
			c := httpproxy.Config{HTTPProxy: proxy, HTTPSProxy: "http://secure:1", NoProxy: list}
			theirs, ours := c.ProxyFunc(), newProxies(proxy, "http://secure:1", list)
			for _, s := range urls {
				u, err := url.Parse(s)
				if err != nil {
					t.Fatal(err)
				}
				want, err := theirs(u)
				if err != nil {
					t.Fatal(err)
				}
				got := ours.pick(u)
				if (got == nil) != (want == nil) || got != nil && got.String() != want.String() {
					t.Errorf("proxy %q, not for %q, %s: %v, want %v", proxy, list, s, got, want)
				}
			}
		}
	}
}

func TestHeaderNamesAndValues(t *testing.T) {
	for name, want := range map[string]bool{"Accept": true, "X-a_b.c!": true, "": false, "a b": false, "a:": false, "é": false, "a\n": false} {
		if got := validHeaderName(name); got != want {
			t.Errorf("name %q: %t", name, got)
		}
	}
	for value, want := range map[string]bool{"": true, "a\tb c": true, "é": true, "a\nb": false, "a\rb": false, "\x00": false, "\x7f": false} {
		if got := validHeaderValue(value); got != want {
			t.Errorf("value %q: %t", value, got)
		}
	}
}
