// SPDX-License-Identifier: Apache-2.0

// Package virtualbox is the provider of VirtualBox guests: the config is a
// guest property, which the host's property service hands over through the
// driver's device, /dev/vboxguest. The config can be deleted there.
package virtualbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"firstboot.dev/ignition/internal/providers"
)

const (
	configName   = "/Ignition/Config"
	encodingName = "/Ignition/Config/Encoding" // reserved for a future format
)

// propertyService is the host's service. An absent property is no error for either.
type propertyService interface {
	// get gives what the host stores of a property: value, NUL, flags, NUL.
	get(name string) (stored []byte, ok bool, err error)
	delete(name string) error
	close() error
}

// Fetch gives the config property.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return fetch(ctx, env, connect)
}

// Delete deletes the config property, after the one that would say how to read it.
func Delete(ctx context.Context, env *providers.Env) error {
	return remove(ctx, env, connect)
}

// connector opens the service of a device.
type connector func(ctx context.Context, device string) (propertyService, error)

func fetch(ctx context.Context, env *providers.Env, connect connector) (providers.Result, error) {
	s, err := connect(ctx, filepath.Join(env.DevDir, "vboxguest"))
	if err != nil {
		return providers.Result{}, err
	}
	defer hangUp(env, s)
	encoding, _, err := property(s, encodingName)
	if err != nil {
		return providers.Result{}, err
	}
	if len(encoding) > 0 {
		return providers.Result{}, fmt.Errorf("unsupported %q value %q", encodingName, encoding)
	}
	if err := ctx.Err(); err != nil {
		return providers.Result{}, err
	}
	raw, ok, err := property(s, configName)
	if err != nil {
		return providers.Result{}, err
	}
	if !ok {
		env.Log.Info("VirtualBox guest property %q was not found. Continuing without a config...", configName)
	}
	return providers.Result{Raw: raw}, nil
}

func property(s propertyService, name string) ([]byte, bool, error) {
	stored, ok, err := s.get(name)
	if err == nil && ok {
		stored, err = parse(stored)
	}
	if err != nil {
		return nil, false, fmt.Errorf("fetching VirtualBox guest property %q: %w", name, err)
	}
	return stored, ok, nil
}

// parse gives the value out of a stored property.
func parse(stored []byte) ([]byte, error) {
	value, _, ok := bytes.Cut(stored, []byte{0})
	if !ok {
		return nil, errors.New("the value has no end")
	}
	return value, nil
}

func remove(ctx context.Context, env *providers.Env, connect connector) error {
	s, err := connect(ctx, filepath.Join(env.DevDir, "vboxguest"))
	if err != nil {
		return err
	}
	defer hangUp(env, s)
	for _, name := range []string{encodingName, configName} {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.delete(name); err != nil {
			return fmt.Errorf("deleting VirtualBox guest property %q: %w", name, err)
		}
	}
	return nil
}

func hangUp(env *providers.Env, s propertyService) {
	if err := s.close(); err != nil {
		env.Log.Warning("disconnecting from the VirtualBox property service: %v", err)
	}
}
