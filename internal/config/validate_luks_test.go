// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"slices"
	"testing"
)

func luksOf(l LUKS) Config {
	if l.Name == "" {
		l.Name = "l"
	}
	if l.Device == nil {
		l.Device = new("/d")
	}
	return storageOf(Storage{LUKS: []LUKS{l}})
}

func TestRulesLUKS(t *testing.T) {
	const at = "error at $.storage.luks.0."
	custom := func(c ClevisCustom) Config { return luksOf(LUKS{Clevis: Clevis{Custom: c}}) }
	tang := func(x Tang) Config { return luksOf(LUKS{Clevis: Clevis{Tang: []Tang{x}}}) }
	pin := ClevisCustom{Pin: new("sss"), Config: new("{}")}
	mixed := []string{at + "clevis: cannot use custom clevis config with tpm2, tang, or threshold"}
	noPin, noConfig := at+"clevis.custom.pin: missing required custom clevis pin", at+"clevis.custom.config: missing required custom clevis config"
	badPin := at + "clevis.custom.pin: unsupported clevis pin"
	cex := CEX{Enabled: new(true)}
	withClevis := []string{at + "cex: cannot use cex with clevis"}
	runRules(t, []ruleCase{
		{"slash", V3_2, luksOf(LUKS{Name: "a/b"}), []string{at + "name: device names cannot contain slashes"}},
		{"empty", V3_2, storageOf(Storage{LUKS: []LUKS{{}}}),
			[]string{"warning at $.storage.luks.0.name: luks name is empty", at + "device: disk device is required"}},
		{"relative device", V3_2, luksOf(LUKS{Device: new("d")}), []string{at + "device: path not absolute"}},
		{"label of 47", V3_2, luksOf(LUKS{Label: labelled(47)}), nil},
		{"label of 48", V3_2, luksOf(LUKS{Label: labelled(48)}), []string{at + "label: luks device labels cannot be longer than 47 characters"}},
		{"custom with tpm2", V3_3, luksOf(LUKS{Clevis: Clevis{Custom: pin, TPM2: new(true)}}), mixed},
		{"custom with threshold", V3_3, luksOf(LUKS{Clevis: Clevis{Custom: pin, Threshold: new(1)}}), mixed},
		{"custom with tang", V3_3, luksOf(LUKS{Clevis: Clevis{Custom: pin, Tang: []Tang{{URL: "http://a", Thumbprint: new("t")}}}}), mixed},
		{"custom with nothing set", V3_3, luksOf(LUKS{Clevis: Clevis{Custom: pin, TPM2: new(false), Threshold: new(0)}}), nil},
		{"bad key file", V3_2, luksOf(LUKS{KeyFile: Resource{Source: new("x:")}}),
			[]string{at + "keys: invalid key-file source", at + "keyFile.source: invalid url scheme"}},
		{"cex with tang", V3_5, luksOf(LUKS{CEX: cex, Clevis: Clevis{Tang: []Tang{{URL: "http://a", Thumbprint: new("t")}}}}), withClevis},
		{"cex with tpm2", V3_5, luksOf(LUKS{CEX: cex, Clevis: Clevis{TPM2: new(true)}}), withClevis},
		{"cex with threshold", V3_5, luksOf(LUKS{CEX: cex, Clevis: Clevis{Threshold: new(2)}}), withClevis},
		{"cex with custom", V3_5, luksOf(LUKS{CEX: cex, Clevis: Clevis{Custom: pin}}), withClevis},
		{"cex with custom config alone", V3_5, luksOf(LUKS{CEX: cex, Clevis: Clevis{Custom: ClevisCustom{Config: new("{}")}}}), []string{noPin}},
		{"cex with key", V3_5, luksOf(LUKS{CEX: cex, KeyFile: Resource{Source: new("data:,")}}), []string{at + "cex: cannot use key file with cex"}},
		{"cex with empty key", V3_5, luksOf(LUKS{CEX: cex, KeyFile: Resource{Source: new("")}}), nil},
		{"custom config alone", V3_3, custom(ClevisCustom{Config: new("{}")}), []string{noPin}},
		{"custom pin alone", V3_3, custom(ClevisCustom{Pin: new("tpm2")}), []string{noConfig}},
		{"custom network alone", V3_3, custom(ClevisCustom{NeedsNetwork: new(true)}), []string{noPin, noConfig}},
		{"custom no network", V3_3, custom(ClevisCustom{NeedsNetwork: new(false)}), nil},
		{"other pin before", V3_5, custom(ClevisCustom{Pin: new("pkcs11"), Config: new("{}")}), []string{badPin}},
		{"other pin", V3_6, custom(ClevisCustom{Pin: new("pkcs11"), Config: new("{}")}), nil},
		{"3.2.0 network alone", V3_2, custom(ClevisCustom{NeedsNetwork: new(true)}), nil},
		{"3.2.0 config alone", V3_2, custom(ClevisCustom{Config: new("{}")}), []string{badPin}},
		{"3.2.0 pin alone", V3_2, custom(ClevisCustom{Pin: new("tang")}), []string{noConfig}},
		{"tang", V3_2, tang(Tang{URL: "HTTPS://a", Thumbprint: new("t")}), nil},
		{"tang empty", V3_2, tang(Tang{}), []string{at + "clevis.tang.0.url: invalid url scheme", at + "clevis.tang.0.thumbprint: thumbprint is required"}},
		{"tang unparsable", V3_2, tang(Tang{URL: ":", Thumbprint: new("t")}), []string{at + "clevis.tang.0.url: unable to parse url"}},
		{"advertisement", V3_4, tang(Tang{URL: "http://a", Thumbprint: new("t"), Advertisement: new("1e308")}), nil},
		{"empty advertisement", V3_4, tang(Tang{URL: "http://a", Thumbprint: new("t"), Advertisement: new("")}), nil},
		{"bad advertisement", V3_4, tang(Tang{URL: "http://a", Thumbprint: new("t"), Advertisement: new("{")}),
			[]string{at + "clevis.tang.0.advertisement: advertisement is not valid JSON"}},
		{"huge number", V3_4, tang(Tang{URL: "http://a", Thumbprint: new("t"), Advertisement: new("1e999")}),
			[]string{at + "clevis.tang.0.advertisement: advertisement is not valid JSON"}},
	})
}

// In 3.2.0 the mere presence of the custom object counts as its use.
func TestRulesCustomPresence(t *testing.T) {
	c := luksOf(LUKS{Clevis: Clevis{TPM2: new(true)}})
	for _, tt := range []struct {
		v       Version
		present bool
		want    string
	}{
		{V3_2, true, "error at $.storage.luks.0.clevis: cannot use custom clevis config with tpm2, tang, or threshold\n"},
		{V3_2, false, ""},
		{V3_3, true, ""},
	} {
		t.Run(fmt.Sprint(tt.v, tt.present), func(t *testing.T) {
			has := func(path ...any) bool {
				return tt.present && slices.Equal(path, []any{"storage", "luks", 0, "clevis", "custom"})
			}
			if got := validateRules(&c, tt.v, has).String(); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
