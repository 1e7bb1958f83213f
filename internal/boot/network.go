// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/exec"
)

const (
	resolvFile   = "/etc/resolv.conf"
	networkState = "/run/systemd/netif/state"
	resolvHead   = "# Written by ignition from what systemd-networkd learned.\n"
)

// WriteResolver writes the resolver file from the name servers that
// systemd-networkd learned. A file of somebody else's stays.
func (e *Env) WriteResolver() error {
	info, err := os.Lstat(e.at(resolvFile))
	if err == nil {
		old, err := os.ReadFile(e.at(resolvFile))
		if !info.Mode().IsRegular() || err != nil || !strings.HasPrefix(string(old), resolvHead) && len(old) > 0 {
			return nil
		}
	}
	raw, err := os.ReadFile(e.at(networkState))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	servers, domains := resolvers(raw)
	if len(servers) == 0 {
		return nil
	}
	text := resolvHead
	if len(domains) > 0 {
		text += "search " + strings.Join(domains, " ") + "\n"
	}
	for _, s := range servers {
		text += "nameserver " + s + "\n"
	}
	return replace(e.at(resolvFile), []byte(text), 0o644)
}

// resolvers reads the state file of systemd-networkd.
func resolvers(raw []byte) (servers, domains []string) {
	for _, l := range lines(raw) {
		name, value, _ := strings.Cut(l, "=")
		switch name {
		case "DNS":
			for _, s := range strings.Fields(value) {
				s, _, _ = strings.Cut(s, "#") // the name for DNS over TLS
				servers = append(servers, s)
			}
		case "DOMAINS":
			for _, d := range strings.Fields(value) {
				domains = append(domains, strings.TrimPrefix(d, "~"))
			}
		}
	}
	return servers, domains
}

// CleanNetwork takes addresses and routes away before the real root brings the
// network up in its own way. A root on the network keeps them.
func (e *Env) CleanNetwork(ctx context.Context) error {
	cmdline, err := e.CommandLine()
	if err != nil {
		return fmt.Errorf("reading the kernel command line: %w", err)
	}
	if netRoot(words(cmdline)) {
		e.Log.Info("the root is on the network, which stays up")
		return nil
	}
	links, err := filepath.Glob(e.at("/sys/class/net/*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, l := range links {
		name := filepath.Base(l)
		if state, _ := os.ReadFile(filepath.Join(l, "flags")); name == "lo" || !isUp(state) {
			continue
		}
		for _, args := range [][]string{{"address", "flush", "dev", name}, {"link", "set", "dev", name, "down"}} {
			_, err := e.runner().Run(ctx, exec.Cmd{Name: "ip", Args: args})
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// isUp reads the flags of an interface, 0x1 being IFF_UP.
func isUp(flags []byte) bool {
	n, err := strconv.ParseUint(strings.TrimSpace(string(flags)), 0, 32)
	return err == nil && n&1 != 0
}

// netRoot tells whether the root comes over the network.
func netRoot(w map[string]string) bool {
	if w["netroot"] != "" {
		return true
	}
	for _, prefix := range []string{"nfs", "nfs4:", "nbd:", "iscsi:", "fcoe:", "nvmf:", "http:", "https:", "live:http", "/dev/nfs"} {
		if strings.HasPrefix(w["root"], prefix) {
			return true
		}
	}
	return false
}
