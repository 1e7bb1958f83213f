// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/tests/drives"
	"firstboot.dev/ignition/tests/logs"
)

// TestDrivePlatforms runs each platform whose config is on a drive against what
// may be on it. None of them needs the network.
func TestDrivePlatforms(t *testing.T) {
	const nocloud, openstack = "user-data", "openstack/latest/user_data"
	type files = map[string]string
	for _, row := range []struct {
		id, name string
		insert   map[string]files // by label
		breaks   string           // label
		want     string
		err      string
		log      string
	}{
		{id: "kubevirt", name: "nocloud", insert: map[string]files{"cidata": {nocloud: "a"}}, want: "a"},
		{id: "kubevirt", name: "config drive", insert: map[string]files{"config-2": {openstack: "b"}}, want: "b"},
		{id: "kubevirt", name: "empty one and good one", insert: map[string]files{"cidata": {}, "config-2": {openstack: "b"}}, want: "b"},
		{id: "kubevirt", name: "no file", insert: map[string]files{"cidata": {}}},
		{id: "kubevirt", name: "broken and good", insert: map[string]files{"cidata": {nocloud: "a"}}, breaks: "config-2", want: "a"},
		{id: "nutanix", name: "good", insert: map[string]files{"config-2": {openstack: "c"}}, want: "c"},
		{id: "nutanix", name: "no file", insert: map[string]files{"config-2": {nocloud: "c"}}},
		{id: "nutanix", name: "zero bytes", insert: map[string]files{"config-2": {openstack: ""}}},
		{id: "nutanix", name: "broken", breaks: "config-2", err: "bad superblock"},
		{id: "nutanix", name: "directory", insert: map[string]files{"config-2": {openstack + "/": ""}}, err: "not a regular file"},
		{id: "nutanix", name: "never", err: "context"},
		{id: "powervs", name: "good", insert: map[string]files{"config-2": {openstack: "d"}}, want: "d"},
		{id: "powervs", name: "no file", insert: map[string]files{"config-2": {}}},
		{id: "powervs", name: "broken", breaks: "config-2", err: "bad superblock"},
		{id: "ibmcloud", name: "good", insert: map[string]files{"cidata": {nocloud: "e"}}, want: "e"},
		{id: "ibmcloud", name: "no file", insert: map[string]files{"cidata": {}}},
		{id: "ibmcloud", name: "broken", breaks: "cidata", err: "bad superblock"},
		{id: "ibmcloud", name: "directory", insert: map[string]files{"cidata": {nocloud + "/": ""}}, err: "not a regular file"},
		{id: "proxmoxve", name: "user data", insert: map[string]files{"cidata": {nocloud: "f", "vendor-data": "g"}}, want: "f", log: `debug config drive ("/user-data") contains data`},
		{id: "proxmoxve", name: "cloud-config and vendor data", insert: map[string]files{"cidata": {nocloud: "#cloud-config\nx", "vendor-data": "g"}}, want: "g",
			log: `debug config drive ("/user-data") contains a cloud-config configuration, ignoring`},
		{id: "proxmoxve", name: "cloud-config with CR LF", insert: map[string]files{"cidata": {nocloud: "#cloud-config\r\nx", "vendor-data": "g"}}, want: "g"},
		{id: "proxmoxve", name: "cloud-config with blanks", insert: map[string]files{"cidata": {nocloud: "#cloud-config \t\nx", "vendor-data": "g"}}, want: "g"},
		{id: "proxmoxve", name: "not quite a cloud-config", insert: map[string]files{"cidata": {nocloud: "#cloud-configs\nx", "vendor-data": "g"}}, want: "#cloud-configs\nx"},
		{id: "proxmoxve", name: "empty user data", insert: map[string]files{"cidata": {nocloud: "", "vendor-data": "g"}}, want: "g", log: `debug config drive ("/user-data") is empty, ignoring`},
		{id: "proxmoxve", name: "both empty", insert: map[string]files{"cidata": {nocloud: "", "vendor-data": ""}}},
		{id: "proxmoxve", name: "nothing", insert: map[string]files{"cidata": {}}},
		{id: "proxmoxve", name: "broken", breaks: "cidata", err: "bad superblock"},
	} {
		t.Run(row.id+"/"+row.name, func(t *testing.T) {
			t.Parallel()
			r := drives.New(t)
			for label, f := range row.insert {
				r.Insert(label, f)
			}
			if row.breaks != "" {
				r.Break(row.breaks, errors.New("bad superblock"))
			}
			log := &logs.Lines{}
			env := &providers.Env{Log: log, LabelDir: r.LabelDir, Mount: r.Mount, Fetcher: resource.New(resource.Options{}).Offline(), FetchTimeout: time.Minute}
			p, _ := lookup(row.id)
			limit := 10 * time.Second
			if row.name == "never" {
				limit = 200 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			res, err := p.Fetch(ctx, env)
			switch {
			case row.name == "never":
				if err == nil {
					t.Errorf("got %q without an error", res.Raw)
				}
			case row.err != "":
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error %v, want %q", err, row.err)
				}
			case err != nil || string(res.Raw) != row.want:
				t.Errorf("got %q, %v; want %q", res.Raw, err, row.want)
			}
			if !strings.Contains(log.String(), row.log) {
				t.Errorf("the log lacks %q:\n%s", row.log, log)
			}
		})
	}
}
