// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"fmt"
	"hash/crc32"
	"path"
	"strings"
)

// In 2.x files name a filesystem and a path on it; in 3.x filesystems have a mount point, and files a path in the
// target. A name becomes a mount point here.

const (
	targetRoot = "/sysroot" // where the older engine had the target mounted
	oemPath    = "/oem"
)

// mountPoint is where what is on a filesystem ends up.
type mountPoint struct {
	path  string
	holds bool // files can be on it
}

// mountPath gives a filesystem without a place of its own one that depends on name and device alone: of several
// documents which are merged those that mean one filesystem agree, and those that use one name for two do not.
func mountPath(name, device string) string {
	return fmt.Sprintf("/tmp/%s-ign%d", name, crc32.ChecksumIEEE([]byte(device)))
}

func (t *translation) filesystems(list []filesystem) {
	t.mounts = map[string]*mountPoint{"root": {path: "/", holds: true}}
	for i := range list {
		f := &list[i]
		switch {
		case f.Mount != nil:
			t.mounted(f, at("storage", "filesystems").at(i))
		case f.Path != nil:
			t.filesystemByPath(f, at("storage", "filesystems").at(i))
		}
	}
}

// filesystemByPath is one that something else has mounted.
func (t *translation) filesystemByPath(f *filesystem, here *place) {
	p := path.Clean(*f.Path)
	rest, ok := strings.CutPrefix(p, targetRoot)
	if !path.IsAbs(p) {
		return // reported by the rules of the old version
	} else if !ok || rest != "" && rest[0] != '/' {
		t.failf(here.field("path"), "a filesystem by path cannot be carried over unless it is in %s: give device and format in mount", targetRoot)
	} else {
		p = path.Join("/", rest)
	}
	if f.Name != "" {
		t.mounts[f.Name] = &mountPoint{p, true}
	}
}

func (t *translation) mounted(f *filesystem, here *place) {
	m, inside := f.Mount, t.inMount(here)
	format := text(m.Format)
	m.WipeFilesystem = ifTrue(m.WipeFilesystem)
	if m.Create != nil {
		yes := true
		m.WipeFilesystem = &yes
		m.Options = append(m.Options, m.Create.Options...)
		if !isTrue(m.Create.Force) {
			t.fail(inside.field("create"), "Config must force filesystem creation in case `mount.create` object is defined.")
		}
	}
	if f.Name == "root" {
		// The system mounts it, so it has no path. To only say where it is has no meaning any more.
		if m.WipeFilesystem == nil {
			t.warn(here, "this entry of the root filesystem is dropped: it does not wipe, and the system itself knows where its root is")
			return
		}
		t.warn(here, "the root filesystem is made anew, as this says; older engines for spec 3.x dropped the entry")
	} else if f.Name != "" {
		t.mountNamed(f, here.field("name"))
	}
	if strings.EqualFold(f.Name, "oem") && m.WipeFilesystem == nil {
		btrfs := "btrfs"
		if format != btrfs {
			t.warn(inside.field("format"), "the OEM filesystem is btrfs, whatever is written here, unless it is wiped")
		}
		m.Format = &btrfs
	}
	to := at("storage", "filesystems").at(len(t.out.Storage.Filesystems))
	t.comes(to, inside)
	t.comes(to.field("path"), here.field("name"))
	t.out.Storage.Filesystems = append(t.out.Storage.Filesystems, m.Filesystem)
}

// inMount is the place of what mount holds. In spec 1 the filesystem itself does.
func (t *translation) inMount(filesystem *place) *place {
	if t.v == v1 {
		return filesystem
	}
	return filesystem.field("mount")
}

// mountNamed finds the mount point of a filesystem that is not root. All of one name have the first one's.
func (t *translation) mountNamed(f *filesystem, here *place) {
	m := t.mounts[f.Name]
	switch {
	case m != nil:
		t.warnf(here, "another filesystem has the name %q too; both are mounted at one place, and files go to the later one", f.Name)
	case strings.Contains(f.Name, "/") || strings.Contains(f.Name, ".."):
		t.fail(here, `a filesystem name with "/" or ".." cannot be carried over: it is part of a path`)
		m = &mountPoint{"/", true}
	case f.Name == "oem":
		m = &mountPoint{oemPath, true}
	default:
		m = &mountPoint{mountPath(f.Name, f.Mount.Device), text(f.Mount.Format) != "swap"}
	}
	t.mounts[f.Name] = m
	if m.holds {
		f.Mount.Path = &m.path
	}
}

// place gives the path in the target of a node. It is empty for one whose filesystem is not known, of which
// nothing more can be said.
func (t *translation) place(p, filesystem string, here *place) string {
	m := t.mounts[filesystem]
	switch where := here.field("filesystem"); {
	case filesystem == "" || !path.IsAbs(p):
		return "" // reported by the rules of the old version
	case m == nil && filesystem == "oem":
		t.warnf(where, "filesystem \"oem\" is not defined in this config; %s is taken for it", oemPath)
		m = &mountPoint{oemPath, true}
		t.mounts[filesystem] = m
	case m == nil:
		t.failf(where, "filesystem %q is not defined in this config, and one that another config defines cannot be used: "+
			"define it here, or use \"root\"", filesystem)
		return ""
	case !m.holds:
		t.failf(where, "filesystem %q is a swap area, which holds no files", filesystem)
		return ""
	}
	return path.Join("/", m.path, p)
}
