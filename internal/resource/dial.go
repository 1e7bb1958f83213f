// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"time"
)

const (
	lowPorts  = 1022 // 1 to 1022 are drawn from
	portDraws = 50
)

type dialFunc func(ctx context.Context, d *net.Dialer, network, addr string) (net.Conn, error)

// dialer gives what connects with these settings: a resolver that reads
// resolv.conf itself, and again when it has changed, and both address families.
func (set settings) dialer(dial dialFunc) func(ctx context.Context, network, addr string) (net.Conn, error) {
	if dial == nil {
		dial = func(ctx context.Context, d *net.Dialer, network, addr string) (net.Conn, error) {
			return d.DialContext(ctx, network, addr)
		}
	}
	base := net.Dialer{Timeout: dialTimeout, KeepAlive: 30 * time.Second, Resolver: &net.Resolver{PreferGo: true}}
	if !set.lowPort {
		return func(ctx context.Context, network, addr string) (net.Conn, error) {
			return dial(ctx, &base, network, addr)
		}
	}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		var err error
		for range portDraws {
			d := base
			d.LocalAddr = &net.TCPAddr{Port: 1 + rand.IntN(lowPorts)}
			var c net.Conn
			c, err = dial(ctx, &d, network, addr)
			if !portTaken(err) {
				return c, err
			}
		}
		return nil, fmt.Errorf("no free local port below %d after %d draws: %w", lowPorts+2, portDraws, err)
	}
}

// portTaken tells whether a connection failed for its local port alone. The
// same port to the same place again may be in its waiting time after an end.
func portTaken(err error) bool {
	return errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// fromLowPort returns a fetcher like f whose connections come from local ports
// below 1024, each from one of its own.
func (f *Fetcher) fromLowPort() *Fetcher {
	set := f.set
	set.lowPort = true
	n := f.shared.fetcher(set, f.transport.TLSClientConfig.RootCAs)
	n.offline, n.total = f.offline, f.total
	return n
}
