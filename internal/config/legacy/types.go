// SPDX-License-Identifier: Apache-2.0

package legacy

import (
	"firstboot.dev/ignition/internal/config"
)

// The versions that are read, oldest first. Spec 1 has no version string, but a number in ignitionVersion.
var (
	v1   = config.Version{Major: 1}
	v2_0 = config.Version{Major: 2}
	v2_1 = config.Version{Major: 2, Minor: 1}
	v2_2 = config.Version{Major: 2, Minor: 2}
	v2_3 = config.Version{Major: 2, Minor: 3}
	v2_4 = config.Version{Major: 2, Minor: 4}

	stringVersions = []config.Version{v2_0, v2_1, v2_2, v2_3, v2_4}
)

// newForm is the version by whose rules the result is checked, and in whose form Convert writes it. It has to be a
// stable one.
var newForm = config.V3_6

// One set of types for all versions, with the tags of internal/config: since is the first version that has a
// field, until the last. What has no since is in spec 1. Where an old object has the keys of the new one, it is the
// new one's type; narrow says then what is newer than spec 1, and that what no old version has is of "3.0".

// header is what decides about the language of a document.
type header struct {
	Ignition struct {
		Version string `json:"version"`
	} `json:"ignition"`
	IgnitionVersion int `json:"ignitionVersion"`
}

type document struct {
	Ignition        ignition `json:"ignition" since:"2.0"`
	IgnitionVersion int      `json:"ignitionVersion" until:"1.0"`
	Networkd        struct {
		Units []config.Unit `json:"units" narrow:"dropins=2.2;enabled,mask=3.0"`
	} `json:"networkd"`
	Passwd struct {
		Groups []config.Group `json:"groups"`
		Users  []user         `json:"users" narrow:"gecos,groups,homeDir,noCreateHome,noLogInit,noUserGroup,primaryGroup,shell,system,uid=2.1"`
	} `json:"passwd"`
	Storage storage `json:"storage"`
	Systemd struct {
		Units []unit `json:"units" narrow:"enabled=2.1"`
	} `json:"systemd"`
}

type ignition struct {
	Config struct {
		Append  []config.Resource `json:"append" narrow:"compression=3.0;httpHeaders=2.4"`
		Replace *config.Resource  `json:"replace" narrow:"compression=3.0;httpHeaders=2.4"`
	} `json:"config"`
	Proxy    config.Proxy `json:"proxy" since:"2.4"`
	Security struct {
		TLS struct {
			CertificateAuthorities []config.Resource `json:"certificateAuthorities" narrow:"compression=3.0;httpHeaders=2.4"`
		} `json:"tls"`
	} `json:"security" since:"2.2"`
	Timeouts config.Timeouts `json:"timeouts" since:"2.1"`
	Version  string          `json:"version"`
}

type storage struct {
	Directories []directory   `json:"directories" since:"2.1"`
	Disks       []disk        `json:"disks"`
	Files       []file        `json:"files" since:"2.0"`
	Filesystems []filesystem  `json:"filesystems"`
	Links       []link        `json:"links" since:"2.1"`
	RAID        []config.RAID `json:"raid" narrow:"options=2.2"`
}

type disk struct {
	Device     string      `json:"device"`
	Partitions []partition `json:"partitions" narrow:"guid=2.1;shouldExist,sizeMiB,startMiB,wipePartitionEntry=2.3"`
	WipeTable  *bool       `json:"wipeTable"`
}

// partition may be measured in sectors of 512 bytes.
type partition struct {
	config.Partition
	Size  *int `json:"size"`
	Start *int `json:"start"`
}

// filesystem has in spec 1 the fields of its mount, and files.
type filesystem struct {
	Create *create   `json:"create" until:"1.0"`
	Device string    `json:"device" until:"1.0"`
	Files  []oldFile `json:"files" until:"1.0"`
	Format *string   `json:"format" until:"1.0"`
	Mount  *mount    `json:"mount" since:"2.0" narrow:"label,options,uuid,wipeFilesystem=2.1;path=3.0"`
	Name   string    `json:"name" since:"2.0"`
	Path   *string   `json:"path" since:"2.0"`
}

type mount struct {
	config.Filesystem
	Create *create `json:"create"`
}

type create struct {
	Force   *bool    `json:"force"`
	Options []string `json:"options"`
}

// oldFile is a file of spec 1. Its contents are literal text.
type oldFile struct {
	Contents string `json:"contents"`
	GID      *int   `json:"gid"`
	Mode     *int   `json:"mode"`
	Path     string `json:"path"`
	UID      *int   `json:"uid"`
}

// file, directory and link are on a filesystem, and have their path there.
type file struct {
	config.File
	Append     *bool           `json:"append" since:"2.2"`
	Contents   config.Resource `json:"contents" narrow:"httpHeaders=2.4"`
	Filesystem string          `json:"filesystem"`

	at *place // where the document has it
}

type directory struct {
	config.Directory
	Filesystem string `json:"filesystem"`
}

type link struct {
	config.Link
	Filesystem string `json:"filesystem"`
}

type unit struct {
	config.Unit
	Enable *bool `json:"enable"`
}

type user struct {
	config.User
	Create *config.User `json:"create" narrow:"name,passwordHash,sshAuthorizedKeys=3.0"`
}
