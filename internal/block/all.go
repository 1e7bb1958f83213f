// SPDX-License-Identifier: Apache-2.0

package block

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// All lists the block devices that hold something: those without a size, such
// as loop devices that nothing is behind, are left out.
func (h *Host) All() ([]Node, error) {
	entries, err := os.ReadDir(h.root + "/sys/class/block")
	if err != nil {
		return nil, err
	}
	var list []Node
	for _, e := range entries {
		n, err := h.Look("/dev/" + strings.ReplaceAll(e.Name(), "!", "/"))
		if err != nil || n.Size == 0 {
			continue // no node, or gone by now
		}
		list = append(list, n)
	}
	return list, nil
}

// Links gives the lasting names of devices, by the kernel's node.
func (h *Host) Links() map[string][]string {
	links := map[string][]string{}
	for _, pattern := range []string{"/dev/disk/by-*/*", "/dev/mapper/*", "/dev/md/*"} {
		names, _ := filepath.Glob(h.root + pattern) // the patterns are right
		for _, name := range names {
			name = strings.TrimPrefix(name, h.root)
			if node, err := h.Resolve(name); err == nil && node != name {
				links[node] = append(links[node], name)
			}
		}
	}
	for _, names := range links {
		sort.Strings(names)
	}
	return links
}
