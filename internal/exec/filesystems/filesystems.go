// SPDX-License-Identifier: Apache-2.0

// Package filesystems makes filesystems and swap areas, and removes the
// signatures of what was on a device before, with the programs that each
// filesystem's authors ship. Whether a device may be formatted is for the disks
// stage to say.
package filesystems

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// format is how one format is made.
type format struct {
	program *string // in distro
	force   string  // flag to go over what is there; wipefs went before
	uuid    func(string) []string
	label   string
}

// formatNamed is the table of formats.
func formatNamed(name string) (format, bool) {
	flag := func(f string) func(string) []string {
		return func(uuid string) []string { return []string{f, uuid} }
	}
	switch name {
	case "ext4":
		return format{program: &distro.MkfsExt4, force: "-F", uuid: flag("-U"), label: "-L"}, true
	case "btrfs":
		return format{program: &distro.MkfsBtrfs, force: "--force", uuid: flag("-U"), label: "-L"}, true
	case "xfs":
		return format{program: &distro.MkfsXFS, force: "-f", label: "-L",
			uuid: func(uuid string) []string { return []string{"-m", "uuid=" + uuid} }}, true
	case "swap":
		return format{program: &distro.Mkswap, force: "-f", uuid: flag("-U"), label: "-L"}, true
	case "vfat": // has no flag to force
		return format{program: &distro.MkfsFAT, uuid: flag("-i"), label: "-n"}, true
	}
	return format{}, false
}

// Filesystem is one filesystem to make.
type Filesystem struct {
	Format  string
	Device  string // the path that the programs get
	UUID    string // "" = a random one
	Label   string // "" = none
	Options []string
}

// Command gives the command that makes a filesystem.
func (f Filesystem) Command() (exec.Cmd, error) {
	how, ok := formatNamed(f.Format)
	if !ok {
		return exec.Cmd{}, fmt.Errorf("unsupported filesystem format: %q", f.Format)
	}
	args := slices.Clone(f.Options)
	if how.force != "" {
		args = append(args, how.force)
	}
	if f.UUID != "" {
		args = append(args, how.uuid(CanonicalUUID(f.Format, f.UUID))...)
	}
	if f.Label != "" {
		args = append(args, how.label, f.Label)
	}
	return exec.Cmd{Name: *how.program, Args: append(args, f.Device)}, nil
}

// CanonicalUUID is a filesystem's UUID in lower case, and a FAT serial number
// without its dash: mkfs.fat refuses it with one.
func CanonicalUUID(format, uuid string) string {
	uuid = strings.ToLower(uuid)
	if format == "vfat" && len(uuid) > 4 && uuid[4] == '-' {
		return uuid[:4] + uuid[5:]
	}
	return uuid
}

// MakeOp is what the record has of Make.
func MakeOp(format, device, configPath string) oplog.Op {
	return oplog.Op{
		Desc: fmt.Sprintf("creating %q filesystem on %q", format, device),
		Kind: "make-filesystem", Path: device, ConfigPath: configPath,
	}
}

// WipeOp is what the record has of Wipe.
func WipeOp(device, configPath string) oplog.Op {
	return oplog.Op{
		Desc: fmt.Sprintf("wiping filesystem signatures from %q", device),
		Kind: "wipe-signatures", Path: device, ConfigPath: configPath,
	}
}

// Make makes a filesystem.
func Make(ctx context.Context, log *oplog.Logger, r *exec.Runner, f Filesystem, configPath string) error {
	cmd, err := f.Command()
	if err != nil {
		return err
	}
	if _, err := r.Logged(ctx, log, MakeOp(f.Format, f.Device, configPath), cmd); err != nil {
		return fmt.Errorf("mkfs failed: %w", err)
	}
	return nil
}

// Wipe removes every signature that wipefs knows from a device.
func Wipe(ctx context.Context, log *oplog.Logger, r *exec.Runner, device, configPath string) error {
	if _, err := r.Logged(ctx, log, WipeOp(device, configPath), exec.Cmd{Name: distro.Wipefs, Args: []string{"-a", device}}); err != nil {
		return fmt.Errorf("wipefs failed: %w", err)
	}
	return nil
}
