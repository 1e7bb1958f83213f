// SPDX-License-Identifier: Apache-2.0

package config

import "strconv"

// keyed is an entry of a list in which each key occurs once.
type keyed interface{ Key() string }

// removable is an entry that can, in a child, cancel the parent's entry of the same key.
type removable interface{ removes() bool }

// Key is the source; an absent one counts as empty.
func (r Resource) Key() string {
	if r.Source == nil {
		return ""
	}
	return *r.Source
}

// Key is the header's name, in its exact spelling.
func (h HTTPHeader) Key() string { return h.Name }

func (h HTTPHeader) removes() bool { return h.Value == nil }

// Key is the group's name.
func (g Group) Key() string { return g.Name }

// Key is the user's name.
func (u User) Key() string { return u.Name }

// Key is the path. Files, directories and links share one key space.
func (n Node) Key() string { return n.Path }

// Key is the device.
func (d Disk) Key() string { return d.Device }

// Key is the number if there is one, else the label. Entries with neither share one key.
func (p Partition) Key() string {
	switch {
	case p.Number != 0:
		return "number:" + strconv.Itoa(p.Number)
	case p.Label != nil:
		return "label:" + *p.Label
	}
	return ""
}

// Key is the array's name.
func (r RAID) Key() string { return r.Name }

// Key is the device.
func (f Filesystem) Key() string { return f.Device }

// Key is the volume's name.
func (l LUKS) Key() string { return l.Name }

// Key is the server's URL.
func (t Tang) Key() string { return t.URL }

// Key is the unit's name.
func (u Unit) Key() string { return u.Name }

// Key is the drop-in's name.
func (d Dropin) Key() string { return d.Name }
