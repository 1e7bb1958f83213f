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
// field, until the last. What has no since is in spec 1.

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
	Networkd        networkd `json:"networkd"`
	Passwd          passwd   `json:"passwd"`
	Storage         storage  `json:"storage"`
	Systemd         systemd  `json:"systemd"`
}

type ignition struct {
	Config struct {
		Append  []reference `json:"append"`
		Replace *reference  `json:"replace"`
	} `json:"config"`
	Proxy struct {
		HTTPProxy  *string  `json:"httpProxy"`
		HTTPSProxy *string  `json:"httpsProxy"`
		NoProxy    []string `json:"noProxy"`
	} `json:"proxy" since:"2.4"`
	Security struct {
		TLS struct {
			CertificateAuthorities []reference `json:"certificateAuthorities"`
		} `json:"tls"`
	} `json:"security" since:"2.2"`
	Timeouts struct {
		HTTPResponseHeaders *int `json:"httpResponseHeaders"`
		HTTPTotal           *int `json:"httpTotal"`
	} `json:"timeouts" since:"2.1"`
	Version string `json:"version"`
}

type reference struct {
	HTTPHeaders  []httpHeader `json:"httpHeaders" since:"2.4"`
	Source       string       `json:"source"`
	Verification struct {
		Hash *string `json:"hash"`
	} `json:"verification"`
}

type httpHeader struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type fileContents struct {
	Compression *string `json:"compression"`
	reference
}

type storage struct {
	Directories []directory  `json:"directories" since:"2.1"`
	Disks       []disk       `json:"disks"`
	Files       []file       `json:"files" since:"2.0"`
	Filesystems []filesystem `json:"filesystems"`
	Links       []link       `json:"links" since:"2.1"`
	RAID        []raid       `json:"raid"`
}

type disk struct {
	Device     string      `json:"device"`
	Partitions []partition `json:"partitions"`
	WipeTable  *bool       `json:"wipeTable"`
}

type partition struct {
	GUID               *string `json:"guid" since:"2.1"`
	Label              *string `json:"label"`
	Number             int     `json:"number"`
	ShouldExist        *bool   `json:"shouldExist" since:"2.3"`
	Size               *int    `json:"size"` // in sectors of 512 bytes, like Start
	SizeMiB            *int    `json:"sizeMiB" since:"2.3"`
	Start              *int    `json:"start"`
	StartMiB           *int    `json:"startMiB" since:"2.3"`
	TypeGUID           *string `json:"typeGuid"`
	WipePartitionEntry *bool   `json:"wipePartitionEntry" since:"2.3"`
}

type raid struct {
	Devices []string `json:"devices"`
	Level   string   `json:"level"`
	Name    string   `json:"name"`
	Options []string `json:"options" since:"2.2"`
	Spares  *int     `json:"spares"`
}

// filesystem has in spec 1 the fields of its mount, and files.
type filesystem struct {
	Create *create   `json:"create" until:"1.0"`
	Device string    `json:"device" until:"1.0"`
	Files  []oldFile `json:"files" until:"1.0"`
	Format string    `json:"format" until:"1.0"`
	Mount  *mount    `json:"mount" since:"2.0"`
	Name   string    `json:"name" since:"2.0"`
	Path   *string   `json:"path" since:"2.0"`

	mountAt *place // of what Mount holds
}

type mount struct {
	Create         *create  `json:"create"`
	Device         string   `json:"device"`
	Format         string   `json:"format"`
	Label          *string  `json:"label" since:"2.1"`
	Options        []string `json:"options" since:"2.1"`
	UUID           *string  `json:"uuid" since:"2.1"`
	WipeFilesystem *bool    `json:"wipeFilesystem" since:"2.1"`
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

type node struct {
	Filesystem string `json:"filesystem"`
	Group      owner  `json:"group"`
	Overwrite  *bool  `json:"overwrite" since:"2.2"`
	Path       string `json:"path"`
	User       owner  `json:"user"`

	at *place
}

type owner struct {
	ID   *int    `json:"id"`
	Name *string `json:"name" since:"2.1"`
}

type file struct {
	node
	Append   *bool        `json:"append" since:"2.2"`
	Contents fileContents `json:"contents"`
	Mode     *int         `json:"mode"`
}

type directory struct {
	node
	Mode *int `json:"mode"`
}

type link struct {
	node
	Hard   *bool  `json:"hard"`
	Target string `json:"target"`
}

type systemd struct {
	Units []unit `json:"units"`
}

type unit struct {
	Contents string   `json:"contents"`
	Dropins  []dropin `json:"dropins"`
	Enable   *bool    `json:"enable"`
	Enabled  *bool    `json:"enabled" since:"2.1"`
	Mask     *bool    `json:"mask"`
	Name     string   `json:"name"`
}

type dropin struct {
	Contents string `json:"contents"`
	Name     string `json:"name"`
}

type networkd struct {
	Units []networkdUnit `json:"units"`
}

type networkdUnit struct {
	Contents string   `json:"contents"`
	Dropins  []dropin `json:"dropins" since:"2.2"`
	Name     string   `json:"name"`
}

type passwd struct {
	Groups []group `json:"groups"`
	Users  []user  `json:"users"`
}

type group struct {
	GID          *int    `json:"gid"`
	Name         string  `json:"name"`
	PasswordHash *string `json:"passwordHash"`
	System       *bool   `json:"system"`
}

// account is what a user may have at its own level and in create.
type account struct {
	Gecos        *string  `json:"gecos"`
	Groups       []string `json:"groups"`
	HomeDir      *string  `json:"homeDir"`
	NoCreateHome *bool    `json:"noCreateHome"`
	NoLogInit    *bool    `json:"noLogInit"`
	NoUserGroup  *bool    `json:"noUserGroup"`
	PrimaryGroup *string  `json:"primaryGroup"`
	Shell        *string  `json:"shell"`
	System       *bool    `json:"system"`
	UID          *int     `json:"uid"`
}

type user struct {
	account           `since:"2.1"`
	Create            *account `json:"create"`
	Name              string   `json:"name"`
	PasswordHash      *string  `json:"passwordHash"`
	SSHAuthorizedKeys []string `json:"sshAuthorizedKeys"`
}
