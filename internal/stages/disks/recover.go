// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec/mounts"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/sysroot"
)

// recoverKey looks for the key of a volume that an earlier run generated and
// that its files stage has written to the target. The stage runs before the
// target is mounted, so that the filesystem that will be its root is looked
// into as well. nil: there is none.
func (s *stage) recoverKey(log *oplog.Logger, l *config.LUKS) []byte {
	if !recoverable(l) {
		return nil
	}
	if raw, ok := s.recovered[l.Name]; ok {
		return raw
	}
	raw := s.keyIn(s.Root, l.Name)
	for _, device := range rootDevices(s.s, s.CommandLine) {
		if raw != nil {
			break
		}
		raw = s.keyOn(log, device, l.Name)
	}
	if raw != nil {
		log.Info("found the key of %q in the target's %s", l.Name, s.LUKSKeyDir)
	}
	s.recovered[l.Name] = raw
	return raw
}

// keyIn reads a key file of the tree at root.
func (s *stage) keyIn(root, name string) []byte {
	r, err := sysroot.Open(root)
	if err != nil {
		return nil
	}
	defer r.Close()
	raw, err := r.ReadFile(path.Join(s.LUKSKeyDir, name))
	if err != nil || len(raw) == 0 || len(raw) > maxKeyFile {
		return nil
	}
	return raw
}

// keyOn reads a key file of the filesystem on a device that nobody uses.
func (s *stage) keyOn(log *oplog.Logger, device, name string) []byte {
	if !s.Host.Exists(device) {
		return nil
	}
	node, err := s.Host.Look(device)
	if err != nil {
		return nil
	}
	users, err := s.Host.Users()
	if err != nil || users.Of(node).Any() {
		return nil
	}
	found, err := s.Host.Probe(s.ctx, log, device)
	if err != nil || !slices.Contains([]string{"ext4", "xfs", "btrfs"}, found.Type) {
		return nil
	}
	dir, unmount, err := mounts.MountReadOnly(s.ctx, log, s.Runner, fmt.Sprintf("looking for the key of %q on %q", name, device), device, "auto")
	if err != nil {
		return nil
	}
	defer unmount()
	return s.keyIn(dir, name)
}

// rootDevices are the devices that may hold the target's root filesystem: the
// config's, unless it is to be wiped, and the one that the kernel command line names.
func rootDevices(s *config.Storage, cmdline string) []string {
	var devices []string
	for i := range s.Filesystems {
		if f := &s.Filesystems[i]; f.MountPath() == "/" && !isTrue(f.WipeFilesystem) {
			devices = append(devices, f.Device)
		}
	}
	for _, word := range strings.Fields(cmdline) {
		if value, ok := strings.CutPrefix(word, "root="); ok {
			if device := deviceOf(value); device != "" {
				devices = append(devices, device)
			}
		}
	}
	return devices
}

// deviceOf gives the device of a root= argument, "" if it is none.
func deviceOf(value string) string {
	for tag, dir := range map[string]string{"LABEL=": "by-label", "UUID=": "by-uuid", "PARTLABEL=": "by-partlabel", "PARTUUID=": "by-partuuid"} {
		if name, ok := strings.CutPrefix(value, tag); ok && name != "" && !strings.Contains(name, "/") {
			return "/dev/disk/" + dir + "/" + name
		}
	}
	if strings.HasPrefix(value, "/dev/") {
		return value
	}
	return ""
}
