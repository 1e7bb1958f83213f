// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
	"github.com/coreos/vcontext/tree"
)

// Parse reads one document of any supported version into the newest form.
func Parse(raw []byte) (Config, report.Report, error) {
	if len(raw) == 0 || notForUs(raw) {
		return Config{}, report.Report{}, ErrEmpty
	}
	if err := checkSyntax(raw); err != nil {
		return unreadable(raw, err)
	}
	h, err := readHeader(raw)
	if err != nil {
		return unreadable(raw, err)
	}
	v, err := h.supported()
	if err != nil {
		return Config{}, report.Report{}, err
	}
	var c Config
	d := decoder{b: raw, version: v}
	if _, err := d.object(skipSpace(raw, 0), reflect.ValueOf(&c).Elem(), describeConfig(), nil); err != nil {
		return unreadable(raw, err)
	}
	r := validateRules(&c, v, d.has)
	r.Merge(validateDuplicates(&c))
	placeEntries(raw, r.Entries)
	placeOffsets(raw, d.entries)
	r.Entries = append(r.Entries, d.entries...)
	if r.IsFatal() {
		return Config{}, r, ErrInvalid
	}
	normalise(&c, v, d.has)
	return c, r, nil
}

// unreadable reports a syntax or type error: its text has a position, and no path.
func unreadable(raw []byte, err error) (Config, report.Report, error) {
	e := report.Entry{Kind: report.Error, Message: err.Error()}
	var re *readError
	if errors.As(err, &re) {
		e.Marker = tree.MarkerFromIndices(int64(re.off), -1)
	}
	r := report.Report{Entries: []report.Entry{e}}
	placeOffsets(raw, r.Entries)
	return Config{}, r, ErrInvalid
}

// has tells whether the document has a value at a path. Rules ask about very few keys, which bear a tag and which
// the decoder notes.
func (d *decoder) has(p ...any) bool { return d.present[path.New("json", p...).String()] }

// header is what decides about the language of a document.
type header struct {
	version string
	legacy  string // the number in ignitionVersion, of the first spec version
}

func (h header) supported() (Version, error) {
	if h.version == "" && h.legacy != "" && h.legacy != "0" {
		return Version{}, fmt.Errorf("%w: ignitionVersion is %s, supported are %s up to %s", ErrUnknownVersion,
			shorten(h.legacy), V3_0, MaxVersion())
	}
	return supportedVersion(h.version)
}

// readHeader finds ignition.version. Like all keys, these two may have any letter case.
func readHeader(raw []byte) (h header, err error) {
	at := skipSpace(raw, 0)
	if raw[at] == 'n' {
		return h, nil
	}
	if raw[at] != '{' {
		return h, mismatchAt(raw, at, "the document", "an object")
	}
	_, err = eachMember(raw, at, func(m member) (int, error) {
		switch key := unquoteShort(raw[m.key:m.keyEnd]); {
		case strings.EqualFold(key, "ignition") && raw[m.value] != 'n':
			if raw[m.value] != '{' {
				return m.value, mismatchAt(raw, m.value, "$.ignition", "an object")
			}
			return eachMember(raw, m.value, func(m member) (int, error) { return h.member(raw, m) })
		case key == "ignitionVersion" && (raw[m.value] == '-' || isDigit(raw[m.value])):
			h.legacy = string(raw[m.value:skipValue(raw, m.value)])
		}
		return skipValue(raw, m.value), nil
	})
	return h, err
}

func (h *header) member(raw []byte, m member) (int, error) {
	end := skipValue(raw, m.value)
	if strings.EqualFold(unquoteShort(raw[m.key:m.keyEnd]), "version") && raw[m.value] != 'n' {
		if raw[m.value] != '"' {
			return m.value, mismatchAt(raw, m.value, "$.ignition.version", "a string")
		}
		h.version = unquote(raw[m.value:end])
	}
	return end, nil
}

// unquoteShort is unquote for a key that is only compared with short names.
func unquoteShort(q []byte) string {
	const longest = len(`"ignitionVersion"`) * len(`\u0000`)
	if len(q) > longest {
		return ""
	}
	return unquote(q)
}

// normalise gives a document of an older version the meaning it had, in the newest form.
func normalise(c *Config, v Version, has func(path ...any) bool) {
	c.Ignition.Version = MaxVersion()
	if v.Before(V3_1) {
		for i := range c.Ignition.Security.TLS.CertificateAuthorities {
			orEmpty(&c.Ignition.Security.TLS.CertificateAuthorities[i].Source)
		}
	}
	if v.Before(V3_3) {
		normaliseRequired(&c.Storage, has)
	}
	if v.Before(V3_6) {
		for i := range c.Storage.Directories {
			maskMode(&c.Storage.Directories[i].Mode)
		}
		for i := range c.Storage.Files {
			maskMode(&c.Storage.Files[i].Mode)
		}
	}
}

// normaliseRequired fills the strings that below 3.3 could not be absent.
func normaliseRequired(s *Storage, has func(path ...any) bool) {
	for i := range s.RAID {
		orEmpty(&s.RAID[i].Level)
	}
	for i := range s.Links {
		orEmpty(&s.Links[i].Target)
	}
	for i := range s.LUKS {
		if has("storage", "luks", i, "clevis", "custom") {
			orEmpty(&s.LUKS[i].Clevis.Custom.Pin)
			orEmpty(&s.LUKS[i].Clevis.Custom.Config)
		}
	}
}

func orEmpty(s **string) {
	if *s == nil {
		*s = new(string)
	}
}

// maskMode clears setuid, setgid and sticky, which had no effect before 3.6.
func maskMode(mode **int) {
	if *mode != nil {
		m := **mode &^ 0o7000
		*mode = &m
	}
}

// ValidateMerged runs the newest version's rule checks (no duplicates, no unused keys, no positions).
func ValidateMerged(c Config) report.Report {
	return validateRules(&c, Versions[len(Versions)-1], nil)
}

// Empty is the config of the newest version that asks for nothing.
func Empty() Config { return Config{Ignition: Ignition{Version: MaxVersion()}} }
