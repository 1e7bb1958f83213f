// SPDX-License-Identifier: Apache-2.0

// Package cloudstack is the provider of CloudStack instances: the config is the
// user data, on a config drive or from the metadata service, which is the
// network's DHCP server.
package cloudstack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const (
	driveFile    = "/cloudstack/userdata/user_data.txt"
	userDataPath = "/latest/user-data"
	leases       = "systemd/netif/leases" // below /run
	serverKey    = "SERVER_ADDRESS"

	usualRound = 500 * time.Millisecond
)

var errNoServer = errors.New("dhcp server address not found in leases")

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return fetch(ctx, env, usualRound)
}

func fetch(ctx context.Context, env *providers.Env, round time.Duration) (providers.Result, error) {
	if env.Fetcher.IsOffline() {
		// A late network would lose the race against "no drive".
		return providers.Result{}, resource.ErrNeedNet
	}
	drive := func(label, name string) providers.Candidate {
		return providers.Drive{Label: label, Files: []string{driveFile}, Name: "config drive (" + name + ")"}.Candidate(env)
	}
	raw, err := providers.FirstConfig(ctx, env, []providers.Candidate{
		drive("config-2", "config"),
		drive("CONFIG-2", "CONFIG"),
		{Name: "metadata service", Fetch: func(ctx context.Context, _ func()) ([]byte, error) {
			return fromService(ctx, env, round)
		}},
	})
	return providers.Result{Raw: raw}, err
}

// fromService waits for a DHCP lease and asks the server that gave it.
func fromService(ctx context.Context, env *providers.Env, round time.Duration) ([]byte, error) {
	wait := ctx
	if limit := env.DriveWait(); limit > 0 {
		var cancel context.CancelFunc
		wait, cancel = context.WithTimeout(ctx, limit)
		defer cancel()
	}
	for {
		server, err := serverAddress(filepath.Join(env.RunDir, leases))
		if err == nil {
			return providers.Metadata(ctx, env, env.Log, "http://"+host(server)+userDataPath, nil)
		}
		select {
		case <-time.After(round):
		case <-wait.Done():
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, err
		}
	}
}

// serverAddress gives the DHCP server of the first lease that names one. The
// leases of all interfaces are looked at anew each time.
func serverAddress(dir string) (netip.Addr, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return netip.Addr{}, err
	}
	err = errNoServer
	for _, e := range entries {
		raw, readErr := os.ReadFile(filepath.Join(dir, e.Name()))
		if readErr != nil {
			err = readErr
			continue
		}
		text, ok := value(raw, serverKey)
		if !ok {
			continue
		}
		addr, parseErr := netip.ParseAddr(text)
		if parseErr == nil {
			return addr, nil
		}
		err = fmt.Errorf("lease %s: %s=%q is no address", e.Name(), serverKey, text)
	}
	return netip.Addr{}, err
}

// host gives an address as a URL has it.
func host(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return "[" + strings.ReplaceAll(a.String(), "%", "%25") + "]"
}

// value finds KEY=VALUE among lines.
func value(raw []byte, key string) (string, bool) {
	lines := bufio.NewScanner(bytes.NewReader(raw))
	for lines.Scan() {
		if v, ok := strings.CutPrefix(lines.Text(), key+"="); ok {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}
