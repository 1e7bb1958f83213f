// SPDX-License-Identifier: Apache-2.0

package config

import "fmt"

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
