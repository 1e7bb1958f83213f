// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"

	"github.com/coreos/vcontext/path"
)

const redacted = "redacted"

// MarshalRedacted gives 2-space indented JSON with password hashes, key files, data URL bodies, header
// values, unit contents and URL credentials replaced, for error output.
func MarshalRedacted(c Config) ([]byte, error) {
	c, err := Redacted(c)
	if err != nil {
		return nil, err
	}
	raw, err := MarshalCache(c)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = json.Indent(&out, raw, "", "  ")
	return out.Bytes(), err
}

func redactConfig(c *Config) {
	_ = EachResource(c, func(_ path.ContextPath, r *Resource) error {
		if r.Source != nil {
			*r.Source = RedactURL(*r.Source)
		}
		for i := range r.HTTPHeaders {
			hide(r.HTTPHeaders[i].Value)
		}
		return nil
	})
	for _, u := range []*string{c.Ignition.Proxy.HTTPProxy, c.Ignition.Proxy.HTTPSProxy} {
		if u != nil {
			*u = RedactURL(*u)
		}
	}
	for i := range c.Passwd.Users {
		hide(c.Passwd.Users[i].PasswordHash)
	}
	for i := range c.Passwd.Groups {
		hide(c.Passwd.Groups[i].PasswordHash)
	}
	for i := range c.Storage.LUKS {
		l := &c.Storage.LUKS[i]
		hide(l.KeyFile.Source)
		hide(l.Clevis.Custom.Config)
		for n := range l.Clevis.Tang {
			l.Clevis.Tang[n].URL = RedactURL(l.Clevis.Tang[n].URL)
		}
	}
	for i := range c.Systemd.Units {
		u := &c.Systemd.Units[i]
		hideContents(u.Contents)
		for n := range u.Dropins {
			hideContents(u.Dropins[n].Contents)
		}
	}
}

func hide(s *string) {
	if s != nil && *s != "" {
		*s = redacted
	}
}

func hideContents(s *string) {
	if s != nil && *s != "" {
		*s = fmt.Sprintf("<redacted %d bytes>", len(*s))
	}
}

// RedactURL hides the password and query values that are named like credentials; a data URL's body is dropped.
// All other bytes stay as they are, so that log lines can be found by the URL. It also works on text that is no
// valid URL, and then rather hides too much.
func RedactURL(u string) string {
	if len(u) >= 5 && strings.EqualFold(u[:5], "data:") {
		return redactData(u)
	}
	u = redactUser(u)
	q := strings.IndexAny(u, "?#")
	if q < 0 {
		return u
	}
	return u[:q] + redactPairs(u[q:])
}

func redactData(u string) string {
	head, _, ok := strings.Cut(u[5:], ",")
	kind, _, _ := strings.Cut(head, ";")
	if !ok || strings.Trim(kind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/+.-") != "" {
		kind = ""
	}
	return u[:5] + kind + ",..."
}

func redactUser(u string) string {
	scheme, rest, ok := strings.Cut(u, "://")
	if !ok {
		if strings.HasPrefix(strings.ToLower(u), "arn:") {
			return u
		}
		return redactPassword(u, strings.LastIndexByte(u, '@'))
	}
	authority := rest
	if _, err := url.Parse(u); err == nil {
		if end := strings.IndexAny(rest, "/?#"); end >= 0 {
			authority = rest[:end]
		}
	}
	return scheme + "://" + redactPassword(rest, strings.LastIndexByte(authority, '@'))
}

// redactPassword hides what is between the first colon and the at sign.
func redactPassword(s string, at int) string {
	colon := strings.IndexByte(s, ':')
	if at < 0 || colon < 0 || colon > at {
		return s
	}
	return s[:colon+1] + "xxxxx" + s[at:]
}

// redactPairs hides values in a query or fragment of name=value pairs.
func redactPairs(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		end := 1 + strings.IndexAny(s[1:], "?&;#")
		if end == 0 {
			end = len(s)
		}
		name, value, ok := strings.Cut(s[1:end], "=")
		out.WriteString(s[:1] + name)
		if ok {
			if value != "" && secretName(name) {
				value = redacted
			}
			out.WriteString("=" + value)
		}
		s = s[end:]
	}
	return out.String()
}

// HasSecretWord tells whether a text has a word that stands beside secrets: of a name, or of a line of text.
func HasSecretWord(text string) bool { return secretName(text) }

func secretName(name string) bool {
	if plain, err := url.QueryUnescape(name); err == nil {
		name = plain
	}
	name = strings.ToLower(name)
	for _, word := range []string{"sig", "token", "key", "secret", "passw", "pwd", "credential", "x-amz-", "auth"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}
