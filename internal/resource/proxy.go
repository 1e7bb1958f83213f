// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// The rules are those of golang.org/x/net/http/httpproxy. That package brings
// the tables of internationalised names into the binary a second time, a
// quarter of a mebibyte for what an initramfs does not have: host names of
// configs are written as DNS has them.

var errProxy = errors.New("unable to parse proxy url")

// bypass is one entry of noProxy: what is asked directly.
type bypass struct {
	prefix netip.Prefix // an address or a network; zero for names
	name   string       // lower case, without a dot in front
	below  bool         // only hosts below the name
	port   string       // "" = any
}

// parseBypass reads one entry; ok is false of one that matches nothing.
func parseBypass(entry string) (b bypass, ok bool) {
	entry = strings.ToLower(strings.TrimSpace(entry))
	if p, err := netip.ParsePrefix(entry); err == nil {
		return bypass{prefix: p.Masked()}, true
	}
	host := entry
	if h, port, found := cutPort(entry); found {
		host, b.port = h, port
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if a, err := netip.ParseAddr(host); err == nil {
		b.prefix = netip.PrefixFrom(a, a.BitLen())
		return b, true
	}
	host = strings.TrimPrefix(host, "*") // "*.example.com" is ".example.com"
	b.below = strings.HasPrefix(host, ".")
	b.name = strings.TrimPrefix(host, ".")
	return b, b.name != ""
}

// cutPort splits host:port. The colons of an IPv6 address without brackets are none of a port.
func cutPort(s string) (host, port string, ok bool) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.Count(s[:i], ":") > 0 && !strings.HasSuffix(s[:i], "]") {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// matches tells whether a host (lower case, without brackets) is asked directly.
func (b bypass) matches(host, port string) bool {
	if b.port != "" && b.port != port {
		return false
	}
	if b.name == "" {
		a, err := netip.ParseAddr(host)
		return err == nil && b.prefix.Contains(a.WithZone("").Unmap())
	}
	if !b.below && host == b.name {
		return true
	}
	return strings.HasSuffix(host, "."+b.name)
}

// proxy follows the config alone, never the environment. The machine itself and
// link-local addresses, where metadata services live, are never proxied.
func (set settings) proxy() func(*url.URL) (*url.URL, error) {
	var direct []bypass
	for entry := range strings.SplitSeq(set.noProxy, ",") {
		if strings.TrimSpace(entry) == "*" {
			return func(*url.URL) (*url.URL, error) { return nil, nil }
		}
		if b, ok := parseBypass(entry); ok {
			direct = append(direct, b)
		}
	}
	return func(u *url.URL) (*url.URL, error) {
		by, port := set.httpProxy, "80"
		if u.Scheme == "https" {
			by, port = set.httpsProxy, "443"
		}
		if p := u.Port(); p != "" {
			port = p
		}
		host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
		if by == "" || ownHost(host) {
			return nil, nil
		}
		for _, b := range direct {
			if b.matches(host, port) {
				return nil, nil
			}
		}
		to, err := url.Parse(by)
		if err != nil || to.Host == "" {
			return nil, errProxy // the parser's error quotes what may be a password
		}
		return to, nil
	}
}

// ownHost tells of the machine itself and of what is on its links alone.
func ownHost(host string) bool {
	a, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost"
	}
	a = a.Unmap()
	return a.IsLoopback() || a.IsLinkLocalUnicast()
}

// validHeader tells whether a header may be sent: a token, and no control
// characters (RFC 9110 §5.1, §5.5).
func validHeader(name string, values []string) bool {
	if name == "" {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	for _, v := range values {
		for i := range len(v) {
			if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
				return false
			}
		}
	}
	return true
}
