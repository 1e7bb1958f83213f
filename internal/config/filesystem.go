// SPDX-License-Identifier: Apache-2.0

package config

// MountPath is where a filesystem is mounted, or "" for one that is not: no
// path, no format, or a format that cannot be mounted.
func (f Filesystem) MountPath() string {
	if f.Path == nil || f.Format == nil {
		return ""
	}
	switch *f.Format {
	case "", "none", "swap":
		return ""
	}
	return *f.Path
}
