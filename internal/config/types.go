// SPDX-License-Identifier: Apache-2.0

package config

// The one set of config types, in the shape of the newest spec version. Tags:
//
//	json:"name"            the key; omitempty on pointers and lists, never on objects (the cache form prints {})
//	since:"3.N"            first spec version that has the field; older documents report it as an unused key. What is
//	                       newer than 2.0 in an object that 2.x shares says so too.
//	narrow:"a,b=3.N;c=3.M" fields of the element type that are of another version in this place than in the type itself
//	merge:"append"         list is exempt from duplicate checks and merged by appending
//	space:"name"           lists of one object with the same name share one key space (duplicates, merge)
//	presence:"true"        object of which a rule asks whether the document has it at all
//	required:"true"        scalar that is always present in the newest form (written even when empty)
//
// Lists without merge:"append" are keyed: element types have a Key method, string lists are keyed by value.
// Fields stand in the order in which validation visits them (spec: config.md section 4.1), embedded parts first.

// Config is one config document, or several merged ones.
type Config struct {
	Ignition        Ignition        `json:"ignition"`
	KernelArguments KernelArguments `json:"kernelArguments" since:"3.3"`
	Passwd          Passwd          `json:"passwd"`
	Storage         Storage         `json:"storage"`
	Systemd         Systemd         `json:"systemd"`
}

// Ignition holds what configures the program itself.
type Ignition struct {
	Config   Sources  `json:"config"`
	Proxy    Proxy    `json:"proxy" since:"3.1"`
	Security Security `json:"security"`
	Timeouts Timeouts `json:"timeouts"`
	Version  string   `json:"version" required:"true"`
}

// Sources names the configs that this one refers to.
type Sources struct {
	Merge   []Resource `json:"merge,omitempty" narrow:"compression=3.1"`
	Replace Resource   `json:"replace" narrow:"compression=3.1"`
}

// Resource is something that is fetched. A source of nil is absent, of "" is empty content.
type Resource struct {
	Compression  *string      `json:"compression,omitempty"`
	HTTPHeaders  []HTTPHeader `json:"httpHeaders,omitempty" since:"3.1"`
	Source       *string      `json:"source,omitempty"`
	Verification Verification `json:"verification"`
}

// HTTPHeader is one request header. A nil value removes the parent's header in a merge.
type HTTPHeader struct {
	Name  string  `json:"name" required:"true"`
	Value *string `json:"value,omitempty"`
}

// Verification is the expected hash of a resource's decompressed bytes.
type Verification struct {
	Hash *string `json:"hash,omitempty"`
}

// Proxy is the HTTP proxy set-up. Environment variables never count.
type Proxy struct {
	HTTPProxy  *string  `json:"httpProxy,omitempty"`
	HTTPSProxy *string  `json:"httpsProxy,omitempty"`
	NoProxy    []string `json:"noProxy,omitempty"`
}

// Security holds the TLS trust settings.
type Security struct {
	TLS TLS `json:"tls"`
}

// TLS lists additional certificate authorities.
type TLS struct {
	CertificateAuthorities []Resource `json:"certificateAuthorities,omitempty" narrow:"compression=3.1"`
}

// Timeouts of HTTP fetches, in whole seconds; 0 means no limit.
type Timeouts struct {
	HTTPResponseHeaders *int `json:"httpResponseHeaders,omitempty"`
	HTTPTotal           *int `json:"httpTotal,omitempty"`
}

// KernelArguments lists arguments that must or must not be on the kernel command line.
type KernelArguments struct {
	ShouldExist    []string `json:"shouldExist,omitempty" space:"argument"`
	ShouldNotExist []string `json:"shouldNotExist,omitempty" space:"argument"`
}

// Passwd holds accounts.
type Passwd struct {
	Groups []Group `json:"groups,omitempty"`
	Users  []User  `json:"users,omitempty"`
}

// Group is one group account.
type Group struct {
	GID          *int    `json:"gid,omitempty"`
	Name         string  `json:"name" required:"true"`
	PasswordHash *string `json:"passwordHash,omitempty"`
	ShouldExist  *bool   `json:"shouldExist,omitempty" since:"3.2"`
	System       *bool   `json:"system,omitempty"`
}

// User is one user account.
type User struct {
	Gecos             *string  `json:"gecos,omitempty"`
	Groups            []string `json:"groups,omitempty"`
	HomeDir           *string  `json:"homeDir,omitempty"`
	Name              string   `json:"name" required:"true"`
	NoCreateHome      *bool    `json:"noCreateHome,omitempty"`
	NoLogInit         *bool    `json:"noLogInit,omitempty"`
	NoUserGroup       *bool    `json:"noUserGroup,omitempty"`
	PasswordHash      *string  `json:"passwordHash,omitempty"`
	PrimaryGroup      *string  `json:"primaryGroup,omitempty"`
	SSHAuthorizedKeys []string `json:"sshAuthorizedKeys,omitempty"`
	Shell             *string  `json:"shell,omitempty"`
	ShouldExist       *bool    `json:"shouldExist,omitempty" since:"3.2"`
	System            *bool    `json:"system,omitempty"`
	UID               *int     `json:"uid,omitempty"`
}

// Storage holds disks and what is written to them.
type Storage struct {
	Directories []Directory  `json:"directories,omitempty" space:"node"`
	Disks       []Disk       `json:"disks,omitempty"`
	Files       []File       `json:"files,omitempty" space:"node"`
	Filesystems []Filesystem `json:"filesystems,omitempty"`
	Links       []Link       `json:"links,omitempty" space:"node"`
	LUKS        []LUKS       `json:"luks,omitempty" since:"3.2"`
	RAID        []RAID       `json:"raid,omitempty"`
}

// Node is what files, directories and links have in common.
type Node struct {
	Group     NodeOwner `json:"group" narrow:"name=2.1"`
	Overwrite *bool     `json:"overwrite,omitempty" since:"2.2"`
	Path      string    `json:"path" required:"true"`
	User      NodeOwner `json:"user" narrow:"name=2.1"`
}

// NodeOwner is a user or group by number or by name.
type NodeOwner struct {
	ID   *int    `json:"id,omitempty"`
	Name *string `json:"name,omitempty"`
}

// Directory is a directory in the sysroot.
type Directory struct {
	Node
	Mode *int `json:"mode,omitempty"`
}

// File is a regular file in the sysroot.
type File struct {
	Node
	Append   []Resource `json:"append,omitempty" merge:"append"`
	Contents Resource   `json:"contents"`
	Mode     *int       `json:"mode,omitempty"`
}

// Link is a symbolic or hard link in the sysroot.
type Link struct {
	Node
	Hard   *bool   `json:"hard,omitempty"`
	Target *string `json:"target,omitempty"`
}

// Disk is a block device with a partition table.
type Disk struct {
	Device     string      `json:"device" required:"true"`
	Partitions []Partition `json:"partitions,omitempty"`
	WipeTable  *bool       `json:"wipeTable,omitempty"`
}

// Partition is one entry of a GPT. Sizes and starts are in MiB.
type Partition struct {
	GUID               *string `json:"guid,omitempty"`
	Label              *string `json:"label,omitempty"`
	Number             int     `json:"number,omitempty"`
	Resize             *bool   `json:"resize,omitempty" since:"3.2"`
	ShouldExist        *bool   `json:"shouldExist,omitempty"`
	SizeMiB            *int    `json:"sizeMiB,omitempty"`
	StartMiB           *int    `json:"startMiB,omitempty"`
	TypeGUID           *string `json:"typeGuid,omitempty"`
	WipePartitionEntry *bool   `json:"wipePartitionEntry,omitempty"`
}

// RAID is one md array.
type RAID struct {
	Devices []string `json:"devices,omitempty"`
	Level   *string  `json:"level,omitempty"`
	Name    string   `json:"name" required:"true"`
	Options []string `json:"options,omitempty" merge:"append"`
	Spares  *int     `json:"spares,omitempty"`
}

// Filesystem is one filesystem on a device.
type Filesystem struct {
	Device         string   `json:"device" required:"true"`
	Format         *string  `json:"format,omitempty"`
	Label          *string  `json:"label,omitempty"`
	MountOptions   []string `json:"mountOptions,omitempty" since:"3.1" merge:"append"`
	Options        []string `json:"options,omitempty" merge:"append"`
	Path           *string  `json:"path,omitempty"`
	UUID           *string  `json:"uuid,omitempty"`
	WipeFilesystem *bool    `json:"wipeFilesystem,omitempty"`
}

// LUKS is one encrypted volume.
type LUKS struct {
	CEX         CEX      `json:"cex" since:"3.5"`
	Clevis      Clevis   `json:"clevis" presence:"true"`
	Device      *string  `json:"device,omitempty"`
	Discard     *bool    `json:"discard,omitempty" since:"3.4"`
	KeyFile     Resource `json:"keyFile"`
	Label       *string  `json:"label,omitempty"`
	Name        string   `json:"name" required:"true"`
	OpenOptions []string `json:"openOptions,omitempty" since:"3.4"`
	Options     []string `json:"options,omitempty" merge:"append"`
	UUID        *string  `json:"uuid,omitempty"`
	WipeVolume  *bool    `json:"wipeVolume,omitempty"`
}

// CEX is the use of an IBM crypto express card.
type CEX struct {
	Enabled *bool `json:"enabled,omitempty"`
}

// Clevis is the automatic unlocking of a LUKS volume.
type Clevis struct {
	Custom    ClevisCustom `json:"custom" presence:"true"`
	Tang      []Tang       `json:"tang,omitempty"`
	Threshold *int         `json:"threshold,omitempty"`
	TPM2      *bool        `json:"tpm2,omitempty"`
}

// ClevisCustom is a pin that is handed to clevis as it is.
type ClevisCustom struct {
	Config       *string `json:"config,omitempty"`
	NeedsNetwork *bool   `json:"needsNetwork,omitempty"`
	Pin          *string `json:"pin,omitempty"`
}

// Tang is one Tang server.
type Tang struct {
	Advertisement *string `json:"advertisement,omitempty" since:"3.4"`
	Thumbprint    *string `json:"thumbprint,omitempty"`
	URL           string  `json:"url" required:"true"`
}

// Systemd holds units.
type Systemd struct {
	Units []Unit `json:"units,omitempty"`
}

// Unit is one systemd unit with its drop-ins.
type Unit struct {
	Contents *string  `json:"contents,omitempty"`
	Dropins  []Dropin `json:"dropins,omitempty"`
	Enabled  *bool    `json:"enabled,omitempty"`
	Mask     *bool    `json:"mask,omitempty"`
	Name     string   `json:"name" required:"true"`
}

// Dropin is one drop-in of a unit.
type Dropin struct {
	Contents *string `json:"contents,omitempty"`
	Name     string  `json:"name" required:"true"`
}
