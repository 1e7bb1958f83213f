// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is a spec version. The zero value stands before every version.
type Version struct {
	Major, Minor, Patch int64
	Pre                 string // pre-release part, "" for a stable version
}

// The supported versions, oldest first. The last one is the internal form.
var (
	V3_0 = Version{3, 0, 0, ""}
	V3_1 = Version{3, 1, 0, ""}
	V3_2 = Version{3, 2, 0, ""}
	V3_3 = Version{3, 3, 0, ""}
	V3_4 = Version{3, 4, 0, ""}
	V3_5 = Version{3, 5, 0, ""}
	V3_6 = Version{3, 6, 0, ""}
	V3_7 = Version{3, 7, 0, "experimental"}

	Versions = []Version{V3_0, V3_1, V3_2, V3_3, V3_4, V3_5, V3_6, V3_7}
)

// Before tells whether v is older than o. Only minor versions differ among supported ones.
func (v Version) Before(o Version) bool {
	if v.Major != o.Major {
		return v.Major < o.Major
	}
	return v.Minor < o.Minor
}

func (v Version) String() string {
	s := fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch)
	if v.Pre != "" {
		s += "-" + v.Pre
	}
	return s
}

// MaxVersion is the newest version string, of the internal form.
func MaxVersion() string { return Versions[len(Versions)-1].String() }

// MaxStable is the newest version string without a pre-release part.
func MaxStable() string {
	for i := len(Versions) - 1; i >= 0; i-- {
		if Versions[i].Pre == "" {
			return Versions[i].String()
		}
	}
	return ""
}

// versionPart tells whether a pre-release part or metadata is well formed:
// nothing, or identifiers of letters, digits and dashes with dots between.
func versionPart(s string) bool {
	if s == "" {
		return true
	}
	for identifier := range strings.SplitSeq(s, ".") {
		if identifier == "" || strings.Trim(identifier, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-") != "" {
			return false
		}
	}
	return true
}

// ParseVersion reads a semantic version. Metadata is part of its identity, so it is returned too.
func ParseVersion(s string) (v Version, metadata string, ok bool) {
	s, metadata, _ = strings.Cut(s, "+")
	s, v.Pre, _ = strings.Cut(s, "-")
	parts := strings.Split(s, ".")
	if len(parts) != 3 || !versionPart(v.Pre) || !versionPart(metadata) {
		return Version{}, "", false
	}
	for i, to := range []*int64{&v.Major, &v.Minor, &v.Patch} {
		n, err := strconv.ParseUint(parts[i], 10, 63) // unsigned: no sign is allowed
		if err != nil {
			return Version{}, "", false
		}
		*to = int64(n)
	}
	return v, metadata, true
}

// supportedVersion turns the text of ignition.version into a row of Versions.
func supportedVersion(text string) (Version, error) {
	if text == "" {
		return Version{}, fmt.Errorf("%w: ignition.version is missing; the newest stable version is %q", ErrInvalidVersion, MaxStable())
	}
	v, metadata, ok := ParseVersion(text)
	if !ok {
		return Version{}, fmt.Errorf("%w: ignition.version is %s", ErrInvalidVersion, quoteShort(text))
	}
	for _, s := range Versions {
		if v == s && metadata == "" {
			return s, nil
		}
	}
	return Version{}, fmt.Errorf("%w: ignition.version is %s, supported are %s up to %s", ErrUnknownVersion, quoteShort(text), V3_0, MaxVersion())
}

// quoteShort quotes what a document says, cut to what a log line can bear.
func quoteShort(s string) string {
	return strconv.Quote(shorten(s))
}

func shorten(s string) string {
	const limit = 40
	if len(s) > limit {
		s = s[:limit] + "..."
	}
	return s
}
