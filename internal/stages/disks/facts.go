// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/exec/luks"
	"firstboot.dev/ignition/internal/exec/raid"
)

// Facts is what is known of the machine, by the path that the config has for a
// device. A device that is not in the map does not exist yet. Together with
// the config it decides what is done.
type Facts struct {
	Devices map[string]*Device
}

// Device is what is known of one block device. What it was not asked for is
// left zero.
type Device struct {
	block.Node
	Alias string // the path that programs get
	Use   block.Use
	Fresh bool // this run made it: what can be found on it is left over

	Table    block.Table // of a disk
	TableErr error
	Parts    []Part // the partitions that the kernel knows

	Content    block.Content
	ContentErr error

	Volume *luks.Facts // of a device that is to hold LUKS
	Mapper *Mapper     // the open volume of that name, if there is one
	Key    Key         // what is known of the key that the config gives

	Member *raid.Member  // the md superblock of a device
	Array  *raid.Running // of an array's own node
}

// Part is a partition that the kernel knows.
type Part struct {
	block.Part
	Use block.Use `json:"use"`
}

// Mapper is an open volume.
type Mapper struct {
	block.Node
	Use  block.Use
	On   string // kernel name of the device below
	LUKS bool
}

// Key tells whether a key opens a volume.
type Key int

// A key that was not tried is not known to be wrong.
const (
	KeyUntried Key = iota
	KeyOpens
	KeyWrong
)

// device gives the facts of a device, nil if it does not exist yet.
func (f *Facts) device(path string) *Device {
	if f == nil {
		return nil
	}
	return f.Devices[path]
}
