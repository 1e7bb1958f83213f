// SPDX-License-Identifier: Apache-2.0

// Package system reads the configs that the image and its administrator keep
// in three directories: user.ign, which takes the place of the platform's user
// data, and the base fragments that stand under every user config.
package system

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

// Fetch gives user.ign of the first directory that has one.
func Fetch(_ context.Context, env *providers.Env) (providers.Result, error) {
	for _, dir := range env.SystemDirs {
		path := filepath.Join(dir, "user.ign")
		env.Log.Info("reading system config file %q", path)
		raw, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			env.Log.Info("no config at %q", path)
			continue
		}
		if err != nil {
			env.Log.Err("couldn't read config %q: %v", path, err)
			return providers.Result{}, err
		}
		return providers.Result{Raw: raw}, nil
	}
	return providers.Result{}, providers.ErrNoProvider
}

// Fragment is one base config.
type Fragment struct {
	Path string
	Raw  []byte
}

// BaseFragments calls f with each fragment of base.d and then of the platform's
// folder, in the order in which they are merged, and gives their number. A name
// in a directory of higher priority hides the same name below.
func BaseFragments(log resource.Log, dirs []string, platform string, f func(Fragment) error) (int, error) {
	n := 0
	subs := []string{"base.d"}
	if platform != "" {
		subs = append(subs, filepath.Join("base.platform.d", platform))
	}
	for _, sub := range subs {
		paths, err := fragmentPaths(log, dirs, sub)
		if err != nil {
			return n, err
		}
		for _, path := range paths {
			log.Info("reading system config file %q", path)
			raw, err := os.ReadFile(path)
			if err != nil {
				log.Err("couldn't read config %q: %v", path, err)
				return n, fmt.Errorf("couldn't read config %q: %w", path, err)
			}
			if err := f(Fragment{path, raw}); err != nil {
				return n, err
			}
			n++
		}
		if len(paths) == 0 {
			log.Info("no configs found in %q across system config directories", sub)
		}
	}
	return n, nil
}

// fragmentPaths unites the names of a folder in all directories, sorted bytewise.
func fragmentPaths(log resource.Log, dirs []string, sub string) ([]string, error) {
	at := map[string]string{}
	var names []string
	for _, dir := range dirs {
		dir = filepath.Join(dir, sub)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			log.Info("no config dir at %q", dir)
			continue
		}
		if err != nil {
			log.Err("couldn't read config dir %q: %v", dir, err)
			return nil, fmt.Errorf("couldn't read config dir %q: %w", dir, err)
		}
		for _, e := range entries {
			if _, hidden := at[e.Name()]; !hidden {
				at[e.Name()] = filepath.Join(dir, e.Name())
				names = append(names, e.Name())
			}
		}
	}
	slices.Sort(names)
	var paths []string
	for _, name := range names {
		paths = append(paths, at[name])
	}
	return paths, nil
}
