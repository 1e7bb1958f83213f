// SPDX-License-Identifier: Apache-2.0

package openstack

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/tests/cloud"
	"firstboot.dev/ignition/tests/drives"
	"firstboot.dev/ignition/tests/logs"
)

const (
	onDrive = "openstack/latest/user_data"
	overV4  = "GET 169.254.169.254/openstack/latest/user_data"
	overV6  = "GET [fe80::a9fe:a9fe]/openstack/latest/user_data"
)

type setup struct {
	service *cloud.Service
	rack    *drives.Rack
	log     *logs.Lines
	s       service
}

func newSetup(t *testing.T, replies map[string][]cloud.Reply, interfaces ...string) setup {
	t.Helper()
	c := cloud.New(t, replies)
	r := drives.New(t)
	log := &logs.Lines{}
	env := &providers.Env{
		Log: log, LabelDir: r.LabelDir, Mount: r.Mount, FetchTimeout: 2 * time.Second,
		Fetcher: resource.New(resource.Options{Dial: c.Dial}).WithTimeouts(10*time.Second, 2*time.Second),
	}
	return setup{c, r, log, service{env: env, interfaces: func() ([]string, error) { return interfaces, nil }, round: 50 * time.Millisecond, patience: 500 * time.Millisecond}}
}

func TestFetch(t *testing.T) {
	good := []cloud.Reply{{Status: 200, Body: "service"}}
	drive := map[string]string{onDrive: "drive"}
	for _, row := range []struct {
		name    string
		replies map[string][]cloud.Reply
		links   []string
		insert  map[string]map[string]string
		breaks  string
		silent  string // part of an address
		want    string
		err     string
		log     string
	}{
		{name: "service", replies: map[string][]cloud.Reply{overV4: good}, want: "service", log: "debug got configuration from: http://169.254.169.254/openstack/latest/user_data"},
		{name: "no IPv6", replies: map[string][]cloud.Reply{overV4: good}, want: "service", log: "info No active IPv6 network interface found: "},
		{name: "drive", insert: map[string]map[string]string{"config-2": drive}, silent: "169.254", want: "drive"},
		{name: "drive with an upper-case label", insert: map[string]map[string]string{"CONFIG-2": drive}, silent: "169.254", want: "drive"},
		{name: "empty drive, good service", insert: map[string]map[string]string{"config-2": {}}, replies: map[string][]cloud.Reply{overV4: {{Status: 200, Body: "service", Delay: 300 * time.Millisecond}}}, want: "service"},
		{name: "good drive, no user data at the service", insert: map[string]map[string]string{"config-2": drive}, want: "drive"},
		{name: "broken drive, good service", breaks: "config-2", replies: map[string][]cloud.Reply{overV4: {{Status: 200, Body: "service", Delay: 300 * time.Millisecond}}}, want: "service", log: "error failed to fetch config from config drive (config-2): bad superblock"},
		{name: "broken drive, silent service", breaks: "config-2", silent: "169.254", err: "bad superblock"},
		{name: "no user data", log: "debug metadata service has no config"},
		{name: "IPv6 only", links: []string{"eth0"}, silent: "169.254", replies: map[string][]cloud.Reply{overV6: good}, want: "service"},
		{name: "IPv4 refuses, IPv6 has it", links: []string{"eth0"}, replies: map[string][]cloud.Reply{overV4: {{Status: 403}}, overV6: {{Status: 200, Body: "service", Delay: 200 * time.Millisecond}}}, want: "service"},
		{name: "IPv4 has none, IPv6 has it", links: []string{"eth0"}, replies: map[string][]cloud.Reply{overV6: {{Status: 200, Body: "service", Delay: 200 * time.Millisecond}}}, want: "service"},
		{name: "IPv4 has none, IPv6 is silent", links: []string{"eth0"}, silent: "fe80"},
		{name: "all refuse", links: []string{"eth0", "eth1"}, replies: map[string][]cloud.Reply{overV4: {{Status: 403}}, overV6: {{Status: 403}}}, err: "no address of the metadata service: failed to fetch resource"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			x := newSetup(t, row.replies, row.links...)
			if row.silent != "" {
				x.service.Silent = func(addr string) bool { return strings.Contains(addr, row.silent) }
			}
			for label, files := range row.insert {
				x.rack.Insert(label, files)
			}
			if row.breaks != "" {
				x.rack.Break(row.breaks, errors.New("bad superblock"))
			}
			ctx := t.Context()
			if row.err != "" {
				// A drive that never comes is waited for, but not in this test.
				x.s.env.LabelDir = x.rack.LabelDir
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 4*time.Second)
				defer cancel()
			}
			res, err := fetch(ctx, x.s)
			switch {
			case row.err != "":
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error %v, want %q", err, row.err)
				}
			case err != nil || string(res.Raw) != row.want:
				t.Errorf("got %q, %v; want %q\n%s", res.Raw, err, row.want, x.log)
			}
			if !strings.Contains(x.log.String(), row.log) {
				t.Errorf("the log lacks %q:\n%s", row.log, x.log)
			}
		})
	}
}

// TestLateLink: an interface that comes up later is asked, too, and each once.
func TestLateLink(t *testing.T) {
	x := newSetup(t, map[string][]cloud.Reply{overV6: {{Status: 200, Body: "late"}}})
	x.service.Silent = func(addr string) bool { return strings.Contains(addr, "169.254") }
	start := time.Now()
	x.s.interfaces = func() ([]string, error) {
		if time.Since(start) < 300*time.Millisecond {
			return nil, nil
		}
		return []string{"eth7"}, nil
	}
	res, err := fetch(t.Context(), x.s)
	if err != nil || string(res.Raw) != "late" {
		t.Errorf("got %q, %v", res.Raw, err)
	}
	if lines := x.service.Lines(); !slices.Equal(lines, []string{overV6}) {
		t.Errorf("requests %q", lines)
	}
}

func TestOffline(t *testing.T) {
	x := newSetup(t, nil, "eth0")
	x.rack.Insert("config-2", map[string]string{onDrive: "drive"})
	x.s.env.Fetcher = x.s.env.Fetcher.Offline()
	if _, err := fetch(t.Context(), x.s); !errors.Is(err, resource.ErrNeedNet) {
		t.Errorf("error %v", err)
	}
	if len(x.rack.Mounts()) != 0 || len(x.service.Dialers()) != 0 {
		t.Errorf("mounts %q, %d connections", x.rack.Mounts(), len(x.service.Dialers()))
	}
}

// TestInterfaces reads this machine's: loopback alone has no link to ask on.
func TestInterfaces(t *testing.T) {
	names, err := withIPv6()
	if err != nil || slices.Contains(names, "lo") {
		t.Errorf("got %q, %v", names, err)
	}
}
