// SPDX-License-Identifier: Apache-2.0

package luks

import (
	"bytes"
	"regexp"
	"testing"

	"firstboot.dev/ignition/internal/config"
)

func TestGenerateKey(t *testing.T) {
	a, err := GenerateKey()
	must(t, err)
	b, err := GenerateKey()
	must(t, err)
	for _, k := range [][]byte{a, b} {
		if len(k) != 8192 || !regexp.MustCompile(`^[0-9a-f]+$`).Match(k) {
			t.Errorf("%d bytes, not as promised: %.80q", len(k), k)
		}
	}
	if bytes.Equal(a, b) {
		t.Error("two keys are the same")
	}
}

// entry is one with everything set.
func entry() *config.LUKS {
	return &config.LUKS{
		Name: "data", Device: ptr("/dev/d"), Label: ptr("l"), Options: []string{"--a"},
		KeyFile: config.Resource{
			Source:       ptr("data:,secret"),
			HTTPHeaders:  []config.HTTPHeader{{Name: "Authorization", Value: ptr("secret")}},
			Verification: config.Verification{Hash: ptr("sha256-abc")},
		},
		Clevis: config.Clevis{
			Tang:   []config.Tang{{URL: "http://u:secret@h/?token=secret", Thumbprint: ptr("t")}},
			Custom: config.ClevisCustom{Pin: ptr("p"), Config: ptr("secret")},
		},
	}
}

func TestEntryDigest(t *testing.T) {
	base := EntryDigest(entry())
	if !regexp.MustCompile(`^[0-9a-f]{64}$`).MatchString(base) || base != EntryDigest(entry()) {
		t.Fatalf("no stable digest: %s", base)
	}
	for _, row := range []struct {
		name   string
		same   bool
		change func(l *config.LUKS)
	}{
		{"key", true, func(l *config.LUKS) { l.KeyFile.Source = ptr("data:,other") }},
		{"key's hash", true, func(l *config.LUKS) { l.KeyFile.Verification.Hash = nil }},
		{"key's headers", true, func(l *config.LUKS) { l.KeyFile.HTTPHeaders[0].Value = ptr("other") }},
		{"custom config", true, func(l *config.LUKS) { l.Clevis.Custom.Config = ptr("other") }},
		{"tang password", true, func(l *config.LUKS) { l.Clevis.Tang[0].URL = "http://u:other@h/?token=other" }},
		{"no key", false, func(l *config.LUKS) { l.KeyFile.Source = nil }},
		{"name", false, func(l *config.LUKS) { l.Name = "x" }},
		{"device", false, func(l *config.LUKS) { l.Device = ptr("/dev/e") }},
		{"label", false, func(l *config.LUKS) { l.Label = nil }},
		{"uuid", false, func(l *config.LUKS) { l.UUID = ptr("u") }},
		{"options", false, func(l *config.LUKS) { l.Options = append(l.Options, "--b") }},
		{"discard", false, func(l *config.LUKS) { l.Discard = ptr(true) }},
		{"cex", false, func(l *config.LUKS) { l.CEX.Enabled = ptr(true) }},
		{"custom pin", false, func(l *config.LUKS) { l.Clevis.Custom.Pin = ptr("q") }},
		{"tang server", false, func(l *config.LUKS) { l.Clevis.Tang[0].URL = "http://i" }},
		{"thumbprint", false, func(l *config.LUKS) { l.Clevis.Tang[0].Thumbprint = ptr("u") }},
		{"threshold", false, func(l *config.LUKS) { l.Clevis.Threshold = ptr(1) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			l := entry()
			row.change(l)
			url, source := l.Clevis.Tang[0].URL, l.KeyFile.Source
			if got := EntryDigest(l) == base; got != row.same {
				t.Errorf("same digest: %v, want %v", got, row.same)
			}
			if l.Clevis.Tang[0].URL != url || l.KeyFile.Source != source {
				t.Error("the entry was changed")
			}
		})
	}
}
