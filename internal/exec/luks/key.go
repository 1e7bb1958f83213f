// SPDX-License-Identifier: Apache-2.0

package luks

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"

	"firstboot.dev/ignition/internal/config"
)

// keyBytes is the randomness in a generated key.
const keyBytes = 4096

// GenerateKey makes a key: 8192 lower-case hex characters without a newline,
// since clevis cannot handle raw bytes. It waits for the kernel's generator.
func GenerateKey() ([]byte, error) {
	raw := make([]byte, keyBytes)
	if _, err := rand.Read(raw); err != nil {
		return nil, err
	}
	return hex.AppendEncode(nil, raw), nil
}

// EntryDigest names a config entry in a mark. What can be secret is not part
// of it: everybody who sees the disk could test guesses of a weak passphrase
// against the digest. So entries that differ in their keys only have the same.
func EntryDigest(l *config.LUKS) string {
	e := struct {
		config.LUKS
		HasKeyFile bool `json:"hasKeyFile"`
	}{LUKS: *l, HasKeyFile: value(l.KeyFile.Source) != ""}
	e.KeyFile = config.Resource{}
	e.Clevis.Custom.Config = nil
	e.Clevis.Tang = slices.Clone(e.Clevis.Tang)
	for i := range e.Clevis.Tang {
		e.Clevis.Tang[i].URL = config.RedactURL(e.Clevis.Tang[i].URL)
	}
	h := sha256.New()
	// Strings, numbers and switches can always be encoded, and a hash takes everything.
	_ = json.NewEncoder(h).Encode(e)
	return hex.EncodeToString(h.Sum(nil))
}
