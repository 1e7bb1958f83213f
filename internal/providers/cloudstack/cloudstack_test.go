// SPDX-License-Identifier: Apache-2.0

package cloudstack

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/tests/cloud"
	"firstboot.dev/ignition/tests/drives"
	"firstboot.dev/ignition/tests/logs"
)

const onDrive = "cloudstack/userdata/user_data.txt"

func lease(t *testing.T, run, name, text string) {
	t.Helper()
	dir := filepath.Join(run, leases)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFetch(t *testing.T) {
	const request = "GET 192.0.2.1/latest/user-data"
	const good = "# This is private data. Do not parse.\nADDRESS=192.0.2.77\nSERVER_ADDRESS=192.0.2.1\n"
	for _, row := range []struct {
		name    string
		leases  map[string]string
		late    string // a lease that comes later
		replies []cloud.Reply
		insert  map[string]map[string]string
		want    string
		err     string
		log     string
	}{
		{name: "service", leases: map[string]string{"2": good}, replies: []cloud.Reply{{Status: 200, Body: "service"}}, want: "service"},
		{name: "late lease", late: good, replies: []cloud.Reply{{Status: 200, Body: "service"}}, want: "service"},
		{name: "second lease names the server", leases: map[string]string{"2": "ADDRESS=192.0.2.9\n", "3": good}, replies: []cloud.Reply{{Status: 200, Body: "service"}}, want: "service"},
		{name: "IPv6", leases: map[string]string{"2": "SERVER_ADDRESS=fd00::1\n"}, replies: []cloud.Reply{{Status: 200, Body: "other"}}},
		{name: "no user data", leases: map[string]string{"2": good}},
		{name: "drive", insert: map[string]map[string]string{"config-2": {onDrive: "drive"}}, want: "drive"},
		{name: "drive with an upper-case label", insert: map[string]map[string]string{"CONFIG-2": {onDrive: "drive"}}, want: "drive"},
		{name: "no user data at the service, drive", leases: map[string]string{"2": good}, insert: map[string]map[string]string{"config-2": {onDrive: "drive"}}, want: "drive"},
		{name: "empty drive, service", leases: map[string]string{"2": good}, replies: []cloud.Reply{{Status: 200, Body: "service", Delay: 200 * time.Millisecond}}, insert: map[string]map[string]string{"config-2": {}}, want: "service"},
		{name: "refused", leases: map[string]string{"2": good}, replies: []cloud.Reply{{Status: 403}}, err: "metadata service: failed to fetch resource", log: "error failed to fetch config from metadata service: failed to fetch resource"},
		{name: "no server in the lease", leases: map[string]string{"2": "ADDRESS=192.0.2.9\n"}, err: "dhcp server address not found in leases"},
		{name: "no address", leases: map[string]string{"2": "SERVER_ADDRESS=nonsense/../..\n"}, err: `lease 2: SERVER_ADDRESS="nonsense/../.." is no address`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := cloud.New(t, map[string][]cloud.Reply{request: row.replies})
			r := drives.New(t)
			run := t.TempDir()
			for name, text := range row.leases {
				lease(t, run, name, text)
			}
			if row.late != "" {
				timer := time.AfterFunc(200*time.Millisecond, func() { lease(t, run, "2", row.late) })
				defer timer.Stop()
			}
			for label, files := range row.insert {
				r.Insert(label, files)
			}
			log := &logs.Lines{}
			env := &providers.Env{
				Log: log, LabelDir: r.LabelDir, RunDir: run, Mount: r.Mount, FetchTimeout: 2 * time.Second,
				Fetcher: resource.New(resource.Options{Dial: c.Dial}).WithTimeouts(10*time.Second, 2*time.Second),
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if strings.Contains(row.err, "lease") {
				raw, err := serverAddress(filepath.Join(run, leases))
				if err == nil || err.Error() != row.err {
					t.Errorf("got %v, %v", raw, err)
				}
				return
			}
			if row.err != "" {
				ctx, cancel = context.WithTimeout(ctx, time.Second)
				defer cancel()
			}
			res, err := fetch(ctx, env, 20*time.Millisecond)
			switch {
			case row.err != "":
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error %v, want %q", err, row.err)
				}
			case err != nil || string(res.Raw) != row.want:
				t.Errorf("got %q, %v; want %q\n%s", res.Raw, err, row.want, log)
			}
			if !strings.Contains(log.String(), row.log) {
				t.Errorf("the log lacks %q:\n%s", row.log, log)
			}
		})
	}
}

func TestNoLease(t *testing.T) {
	if _, err := serverAddress(filepath.Join(t.TempDir(), "none")); !errors.Is(err, errNoServer) {
		t.Errorf("error %v", err)
	}
}
