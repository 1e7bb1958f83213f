// SPDX-License-Identifier: Apache-2.0

package mount

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/exec/mounts"
)

const labelHint = "the SELinux labels could not be set: see the output of setfiles, and whether the image's /etc/selinux/config names its policy"

// targetHint says what to do about a mount point that cannot be made.
func targetHint(err error) string {
	var not *mounts.NotDirectoryError
	switch {
	case errors.As(err, &not):
		what := "something that is not a directory"
		if to, err := os.Readlink(not.Component); err == nil {
			what = fmt.Sprintf("a link to %q", to)
		}
		return fmt.Sprintf("%s is %s: choose a path that has only directories in it, such as the one that the link leads to", not.Component, what)
	case errors.Is(err, unix.EROFS):
		return "the directory is missing and the filesystem that it belongs on is read-only: mount at a directory that the image has"
	}
	return "the directory to mount at could not be made: choose another path"
}

// mountHint says which field of the entry is to blame for a mount that failed,
// and what to do about it. The program has one text for nearly all causes, so
// the causes are looked for one by one.
func (s *stage) mountHint(ctx context.Context, m mounts.Mount, err error) (field, hint string) {
	var exit *exec.ExitError
	if ctx.Err() != nil || !errors.As(err, &exit) {
		return ".path", "the run was stopped before the filesystem was mounted"
	}
	if exit.Code < 0 {
		return ".path", fmt.Sprintf("the program %q could not be run: add it to the initramfs", s.Mount)
	}
	if !filepath.IsAbs(m.Device) {
		return ".device", fmt.Sprintf("check that the virtual machine has a share with the tag %q", m.Device)
	}
	if _, err := os.Stat(m.Device); errors.Is(err, fs.ErrNotExist) {
		return ".device", fmt.Sprintf("%s does not exist: check its name, or make it in storage.disks, storage.raid or storage.luks", m.Device)
	}
	found, err := s.probe(ctx, m.Device)
	switch {
	case err != nil: // there is nothing to tell the causes apart by
	case found == "":
		return ".device", fmt.Sprintf("%s holds no filesystem: see what the disks stage said about it", m.Device)
	case found != m.Format:
		return ".format", fmt.Sprintf("%s holds %s: set that as the format, or set wipeFilesystem to have it formatted anew", m.Device, found)
	case m.Options != "":
		return ".mountOptions", fmt.Sprintf("check that %q are options of %s: the kernel's log tells which one it refuses", m.Options, m.Format)
	}
	return ".path", fmt.Sprintf("check that this kernel has %s and that nothing else uses %s: the kernel's log tells the reason", m.Format, m.Device)
}
