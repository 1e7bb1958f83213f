// SPDX-License-Identifier: Apache-2.0

package raid

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

func TestCreateCommand(t *testing.T) {
	rows := []struct {
		name string
		a    Array
		want string
	}{
		{"plain", Array{Name: "data", Level: "raid1", Devices: []string{"/a", "/b"}},
			"--create data --force --run --homehost any --level raid1 --raid-devices 2 /a /b"},
		{"spares and options", Array{Name: "/dev/md/x", Level: "5", Spares: 1, Options: []string{"--metadata=1.0", "--chunk=64"}, Devices: []string{"/a", "/b", "/c", "/d"}},
			"--create /dev/md/x --force --run --homehost any --level 5 --raid-devices 3 --spare-devices 1 --metadata=1.0 --chunk=64 /a /b /c /d"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := strings.Join(row.a.CreateCommand().Args, " "); got != row.want {
				t.Errorf("got  %s\nwant %s", got, row.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for _, row := range []struct{ name, node, short string }{
		{"data", "/dev/md/data", "data"}, {"/dev/md/x", "/dev/md/x", "x"}, {"/dev/md0", "/dev/md0", "md0"},
	} {
		if Node(row.name) != row.node || ShortName(row.name) != row.short {
			t.Errorf("%s: got %s and %s", row.name, Node(row.name), ShortName(row.name))
		}
	}
	for _, row := range []struct {
		a, b string
		same bool
	}{{"1", "raid1", true}, {"mirror", "raid1", true}, {"stripe", "0", true}, {"raid10", "10", true}, {"linear", "linear", true}, {"raid4", "5", false}} {
		if SameLevel(row.a, row.b) != row.same {
			t.Errorf("%s and %s: same is not %t", row.a, row.b, row.same)
		}
	}
	for _, row := range []struct{ options, want string }{
		{"", "1.2"}, {"--metadata=1.0", "1.0"}, {"--metadata 0.90", "0.90"}, {"-e 1.1", "1.1"}, {"-e1.0", "1.0"}, {"-e 0", "0.90"}, {"--metadata=default", "1.2"}, {"--chunk 64", "1.2"},
	} {
		if got := (Array{Options: strings.Fields(row.options)}).Metadata(); got != row.want {
			t.Errorf("%q: got %s, want %s", row.options, got, row.want)
		}
	}
}

const examined = `/dev/vda1:
          Magic : a92b4efc
        Version : 1.2
    Feature Map : 0x0
     Array UUID : fd8a3b1b:cde72940:657c3a0a:a5ab141b
           Name : any:data
  Creation Time : Mon Nov 23 04:02:21 2026
     Raid Level : raid1
   Raid Devices : 2
         Events : 17
   Device Role : Active device 0
`

const examined090 = `/dev/vda1:
          Magic : a92b4efc
        Version : 0.90.00
           UUID : fd8a3b1b:cde72940:657c3a0a:a5ab141b (local to host h)
  Creation Time : Mon Nov 23 04:02:21 2026
     Raid Level : raid5
   Raid Devices : 3
         Events : 0.17
`

func TestParseExamine(t *testing.T) {
	rows := []struct {
		name, out string
		want      *Member
	}{
		{"1.2", examined, &Member{UUID: "fd8a3b1b:cde72940:657c3a0a:a5ab141b", Name: "data", Level: "raid1", Metadata: "1.2", Devices: 2, Events: 17}},
		{"local name", strings.Replace(examined, "any:data", "host:data  (local to host host)", 1), &Member{UUID: "fd8a3b1b:cde72940:657c3a0a:a5ab141b", Name: "data", Level: "raid1", Metadata: "1.2", Devices: 2, Events: 17}},
		{"spare", strings.Replace(examined, "Active device 0", "spare", 1), &Member{UUID: "fd8a3b1b:cde72940:657c3a0a:a5ab141b", Name: "data", Level: "raid1", Metadata: "1.2", Devices: 2, Events: 17, Spare: true}},
		{"0.90", examined090, &Member{UUID: "fd8a3b1b:cde72940:657c3a0a:a5ab141b", Level: "raid5", Metadata: "0.90", Devices: 3, Events: 17}},
		{"a partition table", "/dev/vda:\n   MBR Magic : aa55\nPartition[0] :      2097151 sectors at            1 (type ee)\n", nil},
		{"nothing", "", nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := parseExamine([]byte(row.out)); !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}

// mdadm is a stand-in that answers with a file's text.
func mdadm(t *testing.T, body string) *exec.Runner {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mdadm"), []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return &exec.Runner{Path: dir + ":/usr/bin:/bin"}
}

func TestRun(t *testing.T) {
	var b strings.Builder
	log := oplog.New(oplog.StdoutHandler(&b), nil)
	ctx := context.Background()
	if m, err := Examine(ctx, log, mdadm(t, "exit 1"), "/d"); m != nil || err != nil {
		t.Errorf("no superblock: %v, %v", m, err)
	}
	if _, err := Examine(ctx, log, mdadm(t, "exit 2"), "/d"); err == nil || !strings.Contains(err.Error(), `examining "/d"`) {
		t.Errorf("unreadable: %v", err)
	}
	if a, err := Detail(ctx, log, mdadm(t, "exit 1"), "/dev/md/x"); a != nil || err != nil {
		t.Errorf("no array: %v, %v", a, err)
	}
	a, err := Detail(ctx, log, mdadm(t, "printf 'MD_LEVEL=raid1\\nMD_DEVICES=2\\nMD_METADATA=1.0\\nMD_UUID=u\\nMD_NAME=any:sp\\nMD_DEVICE_dev_vdb_DEV=/dev/vdb\\nMD_DEVICE_dev_vda_DEV=/dev/vda\\n'"), "/dev/md/sp")
	want := &Running{Member: Member{UUID: "u", Name: "sp", Level: "raid1", Metadata: "1.0", Devices: 2}, Nodes: []string{"vda", "vdb"}}
	if err != nil || !reflect.DeepEqual(a, want) {
		t.Errorf("got %+v, %v", a, err)
	}
	if strings.Contains(b.String(), "CRITICAL") {
		t.Errorf("an answer is no failure: %s", b.String())
	}
	if err := Create(ctx, log, mdadm(t, "exit 2"), Array{Name: "data", Level: "raid1", Devices: []string{"/d"}}, "$.x"); err == nil || !strings.HasPrefix(err.Error(), "mdadm failed: exit status 2: Cmd:") {
		t.Errorf("got %v", err)
	}
	if err := Assemble(ctx, log, mdadm(t, `[ "$*" = "--assemble /dev/md/data --run --homehost any /d" ]`), Array{Name: "data", Devices: []string{"/d"}}, "$.x"); err != nil {
		t.Error(err)
	}
}
