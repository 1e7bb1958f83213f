// SPDX-License-Identifier: Apache-2.0

// Package disks is the stage that partitions and formats. This build cannot do
// that: a config that asks for it is refused before anything was changed, so
// that no machine comes up with half of what was asked for.
package disks

import (
	"errors"
	"fmt"

	"firstboot.dev/ignition/internal/config"
)

// ErrUnsupported is what a config that needs disk work gets.
var ErrUnsupported = errors.New("this build cannot change disks")

// Run refuses a config with disks, RAID arrays, LUKS volumes or filesystems to make.
func Run(cfg *config.Config) error {
	s := &cfg.Storage
	for _, section := range []struct {
		name string
		n    int
	}{{"disks", len(s.Disks)}, {"raid", len(s.RAID)}, {"luks", len(s.LUKS)}, {"filesystems", formatted(s.Filesystems)}} {
		if section.n > 0 {
			path := "$.storage." + section.name
			return &config.EntryError{
				Path: path,
				Hint: "remove " + path + " from the config, or use a build that has the disks stage",
				Err:  fmt.Errorf("%s: %w", path, ErrUnsupported),
			}
		}
	}
	return nil
}

// formatted counts the filesystems that are not inert: one without a format is neither made nor checked.
func formatted(list []config.Filesystem) int {
	n := 0
	for _, f := range list {
		if f.Format != nil && *f.Format != "" {
			n++
		}
	}
	return n
}
