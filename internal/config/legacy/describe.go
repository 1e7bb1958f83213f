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
