// SPDX-License-Identifier: Apache-2.0

// Package vmware is the provider of VMware guests: the config is a variable of
// the virtual machine (guestinfo), which the hypervisor hands over, or a
// property of the OVF environment, which is such a variable itself. The
// variables cannot be removed by the guest, so they are overwritten once the
// config has done its work.
package vmware

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const (
	prefix   = "guestinfo."
	ovfenv   = "ovfenv"
	encoding = ".encoding"

	// marker is what stands in a deleted config's place: "{}" in base64.
	marker         = "e30K"
	markerEncoding = "base64"
	// blankURL stands in the place of a deleted URL: the URL of nothing.
	blankURL = "data:,"

	largestConfig = 256 << 20
)

// The variables, in the order in which they are asked; the ones of Flatcar's
// older name come second.
var (
	dataVariables = []string{"ignition.config.data", "coreos.config.data"}
	urlVariables  = []string{"ignition.config.url", "coreos.config.url"}
)

var errArch = errors.New("vmware provider is not supported on this architecture")

// host gives and takes variables. It is held by one goroutine.
type host interface {
	get(key string) (value string, set bool, err error)
	set(key, value string) error
	close()
}

// Fetch gives the config.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return fetch(ctx, env, openHost)
}

// Delete overwrites the config's variables and takes them out of the OVF environment.
func Delete(ctx context.Context, env *providers.Env) error {
	return remove(ctx, env, openHost)
}

// opener opens the connection to the hypervisor. ok is false where there is none of VMware's.
type opener func() (h host, ok bool)

func connect(env *providers.Env, open opener) (host, error) {
	if env.Arch != "amd64" {
		return nil, errArch
	}
	h, ok := open()
	if !ok {
		return nil, providers.ErrNoProvider
	}
	return h, nil
}

func fetch(ctx context.Context, env *providers.Env, open opener) (providers.Result, error) {
	raw, from, err := read(ctx, env, open)
	if err != nil || from == "" {
		return providers.Result{Raw: raw}, err
	}
	raw, err = fetchURL(ctx, env, from)
	return providers.Result{Raw: raw}, err
}

// read gives the config that the variables hold, or the URL where it is.
func read(ctx context.Context, env *providers.Env, open opener) (raw []byte, from string, err error) {
	h, err := connect(env, open)
	if err != nil {
		return nil, "", err
	}
	defer h.close()
	v := variables{log: env.Log, host: h}
	v.readDefaults()
	for _, name := range dataVariables {
		data := v.read(name)
		if data == "" {
			continue
		}
		if data == marker {
			env.Log.Info("the config in %q was deleted. Continuing without a config...", prefix+name)
			return nil, "", nil
		}
		raw, err := decode(data, v.read(name+encoding))
		if err != nil {
			err = fmt.Errorf("variable %q: %w", prefix+name, err)
		}
		return raw, "", err
	}
	for _, name := range urlVariables {
		if u := v.read(name); u != "" {
			return nil, u, ctx.Err()
		}
	}
	env.Log.Info("no config URL provided")
	return nil, "", ctx.Err()
}

// variables reads variables that have properties of the same name as defaults.
type variables struct {
	log      resource.Log
	host     host
	defaults map[string]string
}

// readDefaults reads the OVF environment. Without one that can be read the variables are all there is.
func (v *variables) readDefaults() {
	text, set, err := v.host.get(prefix + ovfenv)
	if err != nil {
		v.log.Warning("reading the OVF environment: %v", err)
		return
	}
	if !set || strings.TrimSpace(text) == "" {
		return
	}
	list, err := properties(text)
	if err != nil {
		v.log.Warning("the OVF environment is ignored: %v", err)
		return
	}
	v.defaults = map[string]string{}
	for _, p := range list {
		v.defaults[p.key] = p.value
	}
}

// read gives a variable, or its default where it is not set or cannot be read.
func (v *variables) read(name string) string {
	key := prefix + name
	value, _, err := v.host.get(key)
	if err != nil {
		v.log.Debug("reading variable %q: %v", key, err)
	}
	if err != nil || value == "" {
		return v.defaults[key]
	}
	return value
}

// decode undoes the encoding of a config.
func decode(data, how string) ([]byte, error) {
	raw := []byte(data)
	switch how {
	case "", "gz", "gzip":
	case "b64", "base64", "gz+b64", "gz+base64", "gzip+b64", "gzip+base64":
		var err error
		if raw, err = base64.StdEncoding.DecodeString(strings.TrimSpace(data)); err != nil {
			return nil, fmt.Errorf("decoding base64: %w", err)
		}
	default:
		return nil, fmt.Errorf("unsupported encoding %q", how)
	}
	if !strings.HasPrefix(how, "gz") {
		return raw, nil
	}
	return unzip(raw, largestConfig)
}

func unzip(raw []byte, limit int64) ([]byte, error) {
	z, err := gzip.NewReader(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("decoding gzip: %w", err)
	}
	out, err := io.ReadAll(io.LimitReader(z, limit+1))
	if err != nil {
		return nil, fmt.Errorf("decoding gzip: %w", err)
	}
	if int64(len(out)) > limit {
		return nil, fmt.Errorf("decoding gzip: more than a config may have (%d bytes)", limit)
	}
	return out, nil
}

// fetchURL gets the config from where a variable points.
func fetchURL(ctx context.Context, env *providers.Env, raw string) ([]byte, error) {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, errors.New("the config URL of the virtual machine cannot be parsed") // the parser's error quotes what may be a password
	case u.Scheme == "":
		return nil, fmt.Errorf("config URL %q of the virtual machine: %w: it has no scheme such as https://", config.RedactURL(raw), resource.ErrScheme)
	}
	env.Log.Debug("found url: %q", config.RedactURL(raw))
	body, _, err := env.Fetcher.Bytes(ctx, env.Log, resource.Request{URL: raw})
	return body, err
}
