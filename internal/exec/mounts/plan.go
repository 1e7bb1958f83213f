// SPDX-License-Identifier: Apache-2.0

package mounts

import (
	"fmt"
	"path"
	"sort"
	"strings"

	"firstboot.dev/ignition/internal/config"
)

// Mount is one filesystem of the config that is mounted below the sysroot.
type Mount struct {
	Entry   string // the config entry, e.g. "$.storage.filesystems.0"
	Device  string // as written in the config; the tag of a virtiofs share
	Format  string
	Path    string // in the sysroot, clean
	Options string // as for mount -o, "" for none
	// FoundType says that the filesystem may be of another type than Format,
	// since the disks stage keeps the OEM filesystem of Flatcar whatever it is.
	FoundType bool
}

// Where Flatcar has its OEM partition.
const (
	oemByLabel     = "/dev/disk/by-label/OEM"
	oemByPartLabel = "/dev/disk/by-partlabel/OEM"
	oemLabel       = "OEM"
	oemPath        = "/oem"
	oemOldPath     = "/usr/share/oem" // a link to oemPath, which is no place to mount at
)

// Plan selects the filesystems that are mounted, in the order of mounting:
// shallow paths first, and in config order where the depth is the same.
// Unmounting goes through it backwards. flatcarOEM applies what Flatcar has of
// its own for its OEM partition.
func Plan(filesystems []config.Filesystem, flatcarOEM bool) []Mount {
	var plan []Mount
	for i, f := range filesystems {
		target := f.MountPath()
		if target == "" {
			continue
		}
		m := Mount{
			Entry:   fmt.Sprintf("$.storage.filesystems.%d", i),
			Device:  f.Device,
			Format:  *f.Format,
			Path:    path.Clean("/" + target),
			Options: strings.Join(f.MountOptions, ","),
		}
		if flatcarOEM && isOEM(f) {
			m.FoundType = true
		}
		if flatcarOEM && m.Path == oemOldPath && m.Device == oemByLabel {
			m.Path = oemPath
		}
		plan = append(plan, m)
	}
	sort.SliceStable(plan, func(i, j int) bool { return depth(plan[i].Path) < depth(plan[j].Path) })
	return plan
}

// isOEM tells whether an entry is about Flatcar's OEM filesystem.
func isOEM(f config.Filesystem) bool {
	if *f.Format == virtiofs {
		return false
	}
	return f.Device == oemByLabel || f.Device == oemByPartLabel || f.Label != nil && *f.Label == oemLabel
}

// depth counts the components of a clean path; "/" has none.
func depth(p string) int {
	if p == "/" {
		return 0
	}
	return strings.Count(p, "/")
}

// At gives the mounts of a plan that share the path of plan[i], bottom first,
// and which of them that one is.
func At(plan []Mount, i int) (group []Mount, index int) {
	for j, m := range plan {
		if m.Path != plan[i].Path {
			continue
		}
		if j == i {
			index = len(group)
		}
		group = append(group, m)
	}
	return group, index
}
