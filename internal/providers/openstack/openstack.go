// SPDX-License-Identifier: Apache-2.0

// Package openstack is the provider of OpenStack servers, and of Brightbox,
// which is one: the config is the user data, on a config drive or from the
// metadata service, whichever has it.
package openstack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const (
	userDataPath = "/openstack/latest/user_data"
	endpointIPv4 = "http://169.254.169.254"

	usualRound    = time.Second     // between looks at the network interfaces
	usualPatience = 5 * time.Second // for other addresses, after one has answered
)

// service is the metadata service, at its IPv4 address and on each link with IPv6.
type service struct {
	env             *providers.Env
	interfaces      func() ([]string, error)
	round, patience time.Duration
}

// Fetch gives the user data. None is an empty result.
func Fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	return fetch(ctx, service{env: env, interfaces: withIPv6, round: usualRound, patience: usualPatience})
}

func fetch(ctx context.Context, s service) (providers.Result, error) {
	if s.env.Fetcher.IsOffline() {
		// A late network would lose the race against "no drive".
		return providers.Result{}, resource.ErrNeedNet
	}
	raw, err := providers.FirstConfig(ctx, s.env, []providers.Candidate{
		providers.Drive{Label: "config-2", Files: []string{userDataPath}}.Candidate(s.env),
		providers.Drive{Label: "CONFIG-2", Files: []string{userDataPath}}.Candidate(s.env),
		{Name: "metadata service", Fetch: func(ctx context.Context, _ func()) ([]byte, error) { return s.userData(ctx) }},
	})
	return providers.Result{Raw: raw}, err
}

// withIPv6 lists the interfaces that are up and have an IPv6 address.
func withIPv6() ([]string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range all {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 {
			continue
		}
		addrs, err := i.Addrs()
		if err != nil {
			return nil, err
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.To4() == nil {
				names = append(names, i.Name)
				break
			}
		}
	}
	return names, nil
}

type reply struct {
	url string
	raw []byte
	err error
}

// userData asks at all addresses. The first config counts; an error only when
// none has answered better.
func (s service) userData(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	replies := make(chan reply)
	asked := map[string]bool{}
	ended := 0
	defer func() {
		cancel()
		for ; ended < len(asked); ended++ {
			<-replies
		}
	}()
	ask := func(url string) {
		if asked[url] {
			return
		}
		asked[url] = true
		go func() {
			raw, err := providers.Metadata(ctx, s.env, s.env.Log, url, nil)
			replies <- reply{url, raw, err}
		}()
	}
	ask(endpointIPv4 + userDataPath)
	s.askLinks(ask, true)
	round := time.NewTicker(s.round)
	defer round.Stop()
	var patience <-chan time.Time
	var empty bool
	var errs []error
	for {
		if ended == len(asked) {
			return nil, unlessEmpty(empty, errs)
		}
		select {
		case r := <-replies:
			ended++
			switch {
			case r.err != nil:
				errs = append(errs, r.err)
			case len(r.raw) > 0:
				s.env.Log.Debug("got configuration from: %s", r.url)
				return r.raw, nil
			default:
				empty = true
			}
			if patience == nil {
				patience = time.After(s.patience)
			}
		case <-round.C:
			s.askLinks(ask, false)
		case <-patience:
			if empty {
				return nil, nil
			}
		}
	}
}

// askLinks asks on each link that can be asked by now.
func (s service) askLinks(ask func(url string), first bool) {
	names, err := s.interfaces()
	if err == nil && len(names) == 0 {
		err = errors.New("there is none yet")
	}
	if err != nil {
		if first {
			s.env.Log.Info("No active IPv6 network interface found: %v", err)
		}
		return
	}
	for _, n := range names {
		ask("http://[fe80::a9fe:a9fe%25" + n + "]" + userDataPath)
	}
}

func unlessEmpty(empty bool, errs []error) error {
	if empty {
		return nil
	}
	return fmt.Errorf("no address of the metadata service: %w", errors.Join(errs...))
}
