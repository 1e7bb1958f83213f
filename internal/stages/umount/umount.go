// SPDX-License-Identifier: Apache-2.0

// Package umount is the stage that undoes the mount stage before the real root
// is entered. A build whose mount stage mounts nothing has nothing to undo; a
// config with a mount path is refused, as the mount stage does.
package umount

import (
	"errors"
	"fmt"

	"firstboot.dev/ignition/internal/config"
)

// ErrUnsupported is what a config that needs mounts gets.
var ErrUnsupported = errors.New("this build cannot unmount filesystems")

// Run refuses a config with a filesystem that has a path.
func Run(cfg *config.Config) error {
	for i, f := range cfg.Storage.Filesystems {
		target := f.MountPath()
		if target == "" {
			continue
		}
		path := fmt.Sprintf("$.storage.filesystems.%d.path", i)
		return &config.EntryError{
			Path: path,
			Hint: "remove the path from this filesystem, or use a build that has the umount stage",
			Err:  fmt.Errorf("%s: unmounting %q: %w", path, target, ErrUnsupported),
		}
	}
	return nil
}
