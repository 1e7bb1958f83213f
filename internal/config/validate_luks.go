// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"strings"
)

const maxLUKSLabel = 47 // bytes

func (k *rules) checkLUKS(p *place, c *LUKS) {
	if strings.Contains(c.Name, "/") {
		k.fail(p.field("name"), "device names cannot contain slashes")
	}
	k.warnEmptyName(p.field("name"), "luks", c.Name)
	if len(text(c.Label)) > maxLUKSLabel {
		k.fail(p.field("label"), "luks device labels cannot be longer than 47 characters")
	}
	if text(c.Device) == "" {
		k.fail(p.field("device"), "disk device is required")
	} else {
		k.checkPath(p.field("device"), *c.Device)
	}
	clevis := p.field("clevis")
	if k.usesCustomPin(clevis, &c.Clevis) && usesBuiltInPins(&c.Clevis) {
		k.fail(clevis, "cannot use custom clevis config with tpm2, tang, or threshold")
	}
	// The older path of this error names no field; the URL's own error stands at .keyFile.source.
	if text(c.KeyFile.Source) != "" && checkURL(*c.KeyFile.Source, k.v) != nil {
		k.fail(p.field("keys"), "invalid key-file source")
	}
	if isTrue(c.CEX.Enabled) {
		if usesBuiltInPins(&c.Clevis) || text(c.Clevis.Custom.Pin) != "" {
			k.fail(p.field("cex"), "cannot use cex with clevis")
		}
		if text(c.KeyFile.Source) != "" {
			k.fail(p.field("cex"), "cannot use key file with cex")
		}
	}
	k.checkClevisCustom(clevis.field("custom"), &c.Clevis.Custom)
	for i := range c.Clevis.Tang {
		k.checkTang(clevis.field("tang").at(i), &c.Clevis.Tang[i])
	}
	k.checkResource(p.field("keyFile"), &c.KeyFile)
}

func usesBuiltInPins(c *Clevis) bool {
	return len(c.Tang) > 0 || isTrue(c.TPM2) || valueOrZero(c.Threshold) != 0
}

// usesCustomPin tells whether a custom pin is in use: in 3.2.0 by an object of any content.
func (k *rules) usesCustomPin(clevis *place, c *Clevis) bool {
	if k.v.Before(V3_3) && k.has != nil {
		return k.has(clevis.field("custom").context().Path...)
	}
	return text(c.Custom.Pin) != ""
}

func (k *rules) checkClevisCustom(p *place, c *ClevisCustom) {
	pin, config := text(c.Pin), text(c.Config)
	supported := pin == "tpm2" || pin == "tang" || pin == "sss"
	if pin == "" && config == "" && (k.v.Before(V3_3) || !isTrue(c.NeedsNetwork)) {
		return
	}
	switch {
	case pin == "" && !k.v.Before(V3_3):
		k.fail(p.field("pin"), "missing required custom clevis pin")
	case !supported && k.v.Before(V3_6):
		k.fail(p.field("pin"), "unsupported clevis pin")
	}
	if config == "" {
		k.fail(p.field("config"), "missing required custom clevis config")
	}
}

func (k *rules) checkTang(p *place, c *Tang) {
	k.failOn(p.field("url"), checkHTTPURL(c.URL))
	if text(c.Thumbprint) == "" {
		k.fail(p.field("thumbprint"), "thumbprint is required")
	}
	if text(c.Advertisement) != "" {
		var value any // json.Valid would let numbers pass that no double holds
		if json.Unmarshal([]byte(*c.Advertisement), &value) != nil {
			k.fail(p.field("advertisement"), "advertisement is not valid JSON")
		}
	}
}
