// SPDX-License-Identifier: Apache-2.0

// Package cmdline gets the config that the kernel command line points at: a
// URL, or a file on a labelled device. It stands before every other source, on
// every platform.
package cmdline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

// patience is how long, and how often, a device is looked for.
type patience struct {
	timeout, interval time.Duration
}

var usual = patience{timeout: 30 * time.Second, interval: time.Second}

// options is what the arguments ask for. The last one with a value wins.
type options struct {
	url, device, path string
}

// Fetch gives the config, or ErrNoProvider where no argument asks for one.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return fetch(ctx, env, usual)
}

func fetch(ctx context.Context, env *providers.Env, wait patience) (providers.Result, error) {
	args, err := env.CommandLine()
	if err != nil {
		return providers.Result{}, err
	}
	o := parse(env.Log, args)
	env.Log.Debug("parsed url from cmdline: %q", config.RedactURL(o.url))
	if o.url != "" {
		if o.device != "" || o.path != "" {
			env.Log.Warning(`"ignition.config.url" takes precedence; ignoring "ignition.config.device" and "ignition.config.path"`)
		}
		return fetchURL(ctx, env, o.url)
	}
	env.Log.Info("no config URL provided")
	switch {
	case o.device == "" && o.path == "":
		return providers.Result{}, providers.ErrNoProvider
	case o.device == "" || o.path == "":
		return providers.Result{}, errors.New(`both "ignition.config.device" and "ignition.config.path" must be provided together`)
	}
	return fetchDevice(ctx, env, o, wait)
}

func parse(log resource.Log, args []providers.Arg) options {
	var o options
	for _, a := range args {
		var dst *string
		var empty string
		switch a.Key {
		case "ignition.config.url", "flatcar.config.url", "coreos.config.url":
			dst, empty = &o.url, "url flag found but no value provided"
		case "ignition.config.device":
			dst, empty = &o.device, "device label flag found but no value provided"
		case "ignition.config.path":
			dst, empty = &o.path, "user data path flag found but no value provided"
		default:
			continue
		}
		if a.Value == "" {
			log.Info("%s", empty)
			continue
		}
		*dst = a.Value
	}
	return o
}

// fetchURL gets the config from a URL. A typo must not silently provision
// another config, so a URL that cannot be one is fatal.
func fetchURL(ctx context.Context, env *providers.Env, raw string) (providers.Result, error) {
	u, err := url.Parse(raw)
	if err != nil {
		err = reason(err)
		env.Log.Err("failed to parse url: %v", err)
		return providers.Result{}, fmt.Errorf("config URL on the kernel command line: unable to parse url: %w", err)
	}
	if u.Scheme == "" {
		return providers.Result{}, fmt.Errorf("config URL %q on the kernel command line: %w: it has no scheme such as https://", config.RedactURL(raw), resource.ErrScheme)
	}
	body, _, err := env.Fetcher.Bytes(ctx, env.Log, resource.Request{URL: raw})
	return providers.Result{Raw: body}, err
}

// reason says why a URL cannot be parsed, without quoting from it: it may hold
// a password in a place where none is looked for.
func reason(err error) error {
	var whole *url.Error
	if errors.As(err, &whole) {
		err = whole.Err
	}
	text, _, _ := strings.Cut(err.Error(), `"`)
	return errors.New(strings.TrimRight(text, " :"))
}

// fetchDevice reads a file of a labelled filesystem that may appear late.
func fetchDevice(ctx context.Context, env *providers.Env, o options, wait patience) (providers.Result, error) {
	if o.device == "." || o.device == ".." || strings.Contains(o.device, "/") {
		return providers.Result{}, fmt.Errorf("invalid device label %q", o.device)
	}
	ctx, cancel := context.WithTimeout(ctx, wait.timeout)
	defer cancel()
	device := filepath.Join(env.LabelDir, o.device)
	if err := waitFor(ctx, env.Log, device, wait.interval); err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("device %q did not appear within timeout", o.device)
		}
		return providers.Result{}, err
	}
	dir, unmount, err := env.Mount(ctx, "mounting disk", device, "auto")
	if err != nil {
		return providers.Result{}, err
	}
	defer unmount()
	raw, err := providers.ReadInside(dir, o.path)
	if errors.Is(err, fs.ErrNotExist) {
		return providers.Result{}, fmt.Errorf("config file %q not found on device %q", o.path, o.device)
	}
	return providers.Result{Raw: raw}, err
}

func waitFor(ctx context.Context, log resource.Log, device string, interval time.Duration) error {
	for {
		if _, err := os.Stat(device); err == nil {
			return nil
		}
		log.Debug("disk (%q) not found. Waiting...", device)
		select {
		case <-time.After(interval):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
