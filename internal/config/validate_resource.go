// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/url"
)

func (k *rules) checkIgnition(p *place, c *Ignition) {
	sources := p.field("config")
	list := sources.field("merge")
	for i := range c.Config.Merge {
		k.checkRequiredSource(list.at(i), &c.Config.Merge[i])
		k.checkReference(list.at(i), &c.Config.Merge[i])
	}
	k.checkReference(sources.field("replace"), &c.Config.Replace)
	k.checkProxy(p.field("proxy"), &c.Proxy)
	list = p.field("security").field("tls").field("certificateAuthorities")
	for i := range c.Security.TLS.CertificateAuthorities {
		ca := &c.Security.TLS.CertificateAuthorities[i]
		k.checkRequiredSource(list.at(i), ca)
		k.checkReference(list.at(i), ca)
		if k.v.Before(V3_1) && text(ca.Source) == "" {
			k.failOn(list.at(i).field("source"), errURLScheme)
		}
	}
	timeouts := p.field("timeouts")
	k.checkNotNegative(timeouts, "httpResponseHeaders", valueOrZero(c.Timeouts.HTTPResponseHeaders))
	k.checkNotNegative(timeouts, "httpTotal", valueOrZero(c.Timeouts.HTTPTotal))
}

func (k *rules) checkProxy(p *place, c *Proxy) {
	if c.HTTPProxy != nil {
		_, err := checkProxyURL(*c.HTTPProxy)
		k.failOn(p.field("httpProxy"), err)
	}
	if c.HTTPSProxy != nil {
		scheme, err := checkProxyURL(*c.HTTPSProxy)
		k.failOn(p.field("httpsProxy"), err)
		if scheme == "http" {
			k.warn(p.field("httpsProxy"), "insecure plaintext HTTP proxy specified for HTTPS resources")
		}
	}
}

// checkRequiredSource reports at the entry itself, a bad URL too, which is therefore reported twice.
func (k *rules) checkRequiredSource(p *place, r *Resource) {
	switch {
	case k.v.Before(V3_1):
	case text(r.Source) == "":
		k.fail(p, "source is required")
	default:
		k.failOn(p, checkURL(*r.Source, k.v))
	}
}

// checkReference checks a config or a certificate authority. In 3.0.0 these were a type of their own, which
// did not compare verification and source.
func (k *rules) checkReference(p *place, r *Resource) {
	if !k.v.Before(V3_1) {
		k.checkVerifiable(p, r)
	}
	k.checkSource(p, r)
}

func (k *rules) checkResource(p *place, r *Resource) {
	k.checkVerifiable(p, r)
	k.checkSource(p, r)
}

func (k *rules) checkVerifiable(p *place, r *Resource) {
	if r.Verification.Hash != nil && r.Source == nil {
		k.fail(p.field("verification").field("hash"), "source must be specified if verification is specified")
	}
}

func (k *rules) checkSource(p *place, r *Resource) {
	if c := text(r.Compression); c != "" && c != "gzip" {
		k.fail(p.field("compression"), "invalid compression method")
	}
	if text(r.Source) != "" {
		k.failOn(p.field("source"), checkURL(*r.Source, k.v))
	}
	k.checkHeaders(p.field("httpHeaders"), r)
	if r.Verification.Hash != nil {
		_, _, err := splitHash(*r.Verification.Hash, k.v)
		k.failOn(p.field("verification").field("hash"), err)
	}
}

func (k *rules) checkHeaders(p *place, r *Resource) {
	if len(r.HTTPHeaders) == 0 {
		return
	}
	u, err := url.Parse(text(r.Source))
	switch {
	case err != nil || text(r.Source) == "":
		k.failOn(p, errURLUnparsable)
	case u.Scheme != "http" && u.Scheme != "https":
		k.fail(p, "cannot use HTTP headers with this source scheme")
	}
	for i := range r.HTTPHeaders {
		if r.HTTPHeaders[i].Name == "" {
			k.fail(p.at(i).field("name"), "HTTP header name can't be empty")
		}
		if value := r.HTTPHeaders[i].Value; value != nil && *value == "" {
			k.fail(p.at(i).field("value"), "unable to parse HTTP header")
		}
	}
}
