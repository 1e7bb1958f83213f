// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"net"
	"net/url"
	"strings"
)

// proxies decides which proxy a request takes. It follows the rules that users
// know from HTTP_PROXY, HTTPS_PROXY and NO_PROXY. The library for these brings
// a second copy of the tables for international names, 200 KiB; here such names
// are compared as they are written.
type proxies struct {
	http, https *url.URL
	direct      []exemption
	all         bool // every host is exempt
}

// exemption is one entry of noProxy: a host with all below it, or addresses.
type exemption struct {
	below string // ".example.com"
	self  bool   // example.com itself too
	ip    net.IP
	block *net.IPNet
	port  string // "" is any
}

func newProxies(http, https, noProxy string) proxies {
	p := proxies{http: proxyURL(http), https: proxyURL(https)}
	for entry := range strings.SplitSeq(noProxy, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "*" {
			p.all = true
		}
		if e, ok := newExemption(entry); ok {
			p.direct = append(p.direct, e)
		}
	}
	return p
}

// proxyURL reads a proxy's address, which may lack the scheme.
func proxyURL(s string) *url.URL {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme == "" || u.Host == "" {
		if full, err := url.Parse("http://" + s); err == nil {
			return full
		}
	}
	if err != nil {
		return nil
	}
	return u
}

func newExemption(entry string) (e exemption, ok bool) {
	if _, block, err := net.ParseCIDR(entry); err == nil {
		return exemption{block: block}, true
	}
	host, port, err := net.SplitHostPort(entry)
	if err != nil {
		host = entry
	}
	e.port = port
	if e.ip = net.ParseIP(host); e.ip != nil {
		return e, true
	}
	host = strings.TrimPrefix(host, "*")
	e.self = !strings.HasPrefix(host, ".")
	if e.self {
		host = "." + host
	}
	e.below = host
	return e, host != "."
}

// pick gives the proxy of a URL, nil for none. The machine itself is never proxied.
func (p *proxies) pick(u *url.URL) *url.URL {
	proxy, port := p.http, "80"
	switch u.Scheme {
	case "http":
	case "https":
		proxy, port = p.https, "443"
	default:
		return nil
	}
	host := strings.ToLower(u.Hostname())
	ip := net.ParseIP(host)
	if proxy == nil || p.all || host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	if given := u.Port(); given != "" {
		port = given
	}
	for i := range p.direct {
		if p.direct[i].covers(host, port, ip) {
			return nil
		}
	}
	return proxy
}

func (e *exemption) covers(host, port string, ip net.IP) bool {
	switch {
	case e.block != nil:
		return ip != nil && e.block.Contains(ip)
	case e.port != "" && e.port != port:
		return false
	case e.ip != nil:
		return ip != nil && e.ip.Equal(ip)
	}
	return ip == nil && (strings.HasSuffix(host, e.below) || e.self && host == e.below[1:])
}
