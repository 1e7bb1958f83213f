// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"reflect"

	"firstboot.dev/ignition/internal/config"
)

// Versions lists the versions that are read besides those of internal/config, oldest first.
func Versions() []config.Version { return append([]config.Version{v1}, stringVersions...) }

// Shape describes a document of these versions.
func Shape() *config.Shape { return config.ShapeOf(reflect.TypeFor[document]()) }

// VersionOf is the version that a document says it is of, if it is one of Versions.
func VersionOf(raw []byte) (v config.Version, ok bool) {
	var h header
	if _, err := config.Decode(raw, v1, &h); err != nil {
		return v, false
	}
	return h.version()
}
