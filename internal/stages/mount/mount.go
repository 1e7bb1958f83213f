// SPDX-License-Identifier: Apache-2.0

// Package mount is the stage that mounts the config's filesystems below the
// sysroot. This build cannot do that: a config that asks for a mount is refused.
package mount

import (
	"errors"
	"fmt"

	"firstboot.dev/ignition/internal/config"
)

// ErrUnsupported is what a config that needs mounts gets.
var ErrUnsupported = errors.New("this build cannot mount filesystems")

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
			Hint: "remove the path from this filesystem, or use a build that has the mount stage",
			Err:  fmt.Errorf("%s: mounting %q at %q: %w", path, f.Device, target, ErrUnsupported),
		}
	}
	return nil
}
