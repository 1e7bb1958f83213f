// SPDX-License-Identifier: Apache-2.0

package block

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// machine makes a tree that looks like a machine's /sys, /proc and /dev. Each
// line is `path = content`, `path -> target` for a link.
func machine(t *testing.T, lines string) *Host {
	t.Helper()
	root := t.TempDir()
	for line := range strings.Lines(lines) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if name, target, ok := strings.Cut(line, " -> "); ok {
			name = filepath.Join(root, name)
			must(t, os.MkdirAll(filepath.Dir(name), 0o755))
			if filepath.IsAbs(target) {
				target = filepath.Join(root, target)
			}
			must(t, os.Symlink(target, name))
			continue
		}
		name, content, _ := strings.Cut(line, " =")
		name, content = filepath.Join(root, name), strings.TrimPrefix(content, " ")
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, []byte(strings.ReplaceAll(content, `\n`, "\n")+"\n"), 0o644))
	}
	return &Host{root: root, Runner: &exec.Runner{}, AliasDir: "/run/aliases", Programs: Programs{
		Partx: "partx", Dmsetup: "dmsetup", Udevadm: "udevadm", Blkid: "blkid", Wipefs: "wipefs",
	}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// twoDisks is a machine with a disk of two partitions, the second one mounted,
// an NVMe disk, and a multipath disk with a partition map and LVM on top.
const twoDisks = `
	/sys/class/block/vda -> /sys/devices/vda
	/sys/class/block/vda1 -> /sys/devices/vda/vda1
	/sys/class/block/vda2 -> /sys/devices/vda/vda2
	/sys/devices/vda/size = 8192
	/sys/devices/vda/dev = 254:0
	/sys/devices/vda/queue/logical_block_size = 512
	/sys/devices/vda/vda1/partition = 1
	/sys/devices/vda/vda1/start = 2048
	/sys/devices/vda/vda1/size = 1024
	/sys/devices/vda/vda1/dev = 254:1
	/sys/devices/vda/vda1/holders/md127 =
	/sys/devices/vda/vda2/partition = 2
	/sys/devices/vda/vda2/start = 4096
	/sys/devices/vda/vda2/size = 1024
	/sys/devices/vda/vda2/dev = 254:2
	/sys/class/block/nvme0n1/size = 8192
	/sys/class/block/nvme0n1/dev = 259:0
	/sys/class/block/nvme0n1/queue/logical_block_size = 4096
	/sys/class/block/dm-0/size = 8192
	/sys/class/block/dm-0/dev = 253:0
	/sys/class/block/dm-0/dm/name = mpatha
	/sys/class/block/dm-0/dm/uuid = mpath-3600
	/sys/class/block/dm-0/queue/logical_block_size = 512
	/sys/class/block/dm-0/holders/dm-1 =
	/sys/class/block/dm-0/holders/dm-2 =
	/sys/class/block/dm-1/size = 512
	/sys/class/block/dm-1/dev = 253:1
	/sys/class/block/dm-1/dm/name = mpatha-part3
	/sys/class/block/dm-1/dm/uuid = part3-mpath-3600
	/sys/class/block/dm-1/queue/logical_block_size = 512
	/sys/class/block/dm-2/dev = 253:2
	/sys/class/block/dm-2/size = 512
	/sys/class/block/dm-2/dm/name = vg-lv
	/sys/class/block/dm-2/dm/uuid = LVM-abc
	/sys/class/block/dm-3/size = 512
	/sys/class/block/dm-3/dev = 253:3
	/sys/class/block/dm-3/dm/name = secret
	/sys/class/block/dm-3/dm/uuid = CRYPT-LUKS2-0123-secret
	/sys/class/block/dm-3/slaves/vda1 =
	/sys/class/block/dm-3/queue/logical_block_size = 512
	/dev/vda =
	/dev/vda1 =
	/dev/vda2 =
	/dev/dm-0 =
	/dev/dm-1 =
	/dev/dm-3 =
	/dev/mapper/mpatha -> /dev/dm-0
	/dev/mapper/secret -> /dev/dm-3
	/dev/nvme0n1 =
	/dev/disk/by-label/a\040b = x
	/dev/disk/by-partlabel/data -> /dev/vda2
	/proc/swaps = Filename Type Size Used Priority\n/dev/nvme0n1 partition 1 0 -2
	/proc/self/mountinfo = 22 1 254:2 / /mnt/a\040b rw - ext4 /dev/vda2 rw\n23 1 0:5 / /gone rw - ext4 /dev/root rw\n24 1 0:6 / /b rw - btrfs /dev/mapper/mpatha rw\n25 1 0:7 / /proc rw - proc proc rw
`

func TestLook(t *testing.T) {
	h := machine(t, twoDisks)
	rows := []struct {
		device string
		want   Node
	}{
		{"/dev/vda", Node{Path: "/dev/vda", Name: "vda", Size: 8192 * 512, SectorSize: 512}},
		{"/dev/disk/by-partlabel/data", Node{Path: "/dev/vda2", Name: "vda2", Size: 1024 * 512, SectorSize: 512, Parent: "vda", Number: 2}},
		{"/dev/nvme0n1", Node{Path: "/dev/nvme0n1", Name: "nvme0n1", Size: 8192 * 512, SectorSize: 4096}},
		{"/dev/mapper/mpatha", Node{Path: "/dev/dm-0", Name: "dm-0", Size: 8192 * 512, SectorSize: 512, DMName: "mpatha", DMUUID: "mpath-3600"}},
	}
	for _, row := range rows {
		t.Run(row.device, func(t *testing.T) {
			got, err := h.Look(row.device)
			if err != nil || got != row.want {
				t.Errorf("got %+v, %v\nwant %+v", got, err, row.want)
			}
		})
	}
	if _, err := h.Look("/dev/none"); !os.IsNotExist(err) {
		t.Errorf("a device that is not there: %v", err)
	}
	if _, err := h.Look("/proc/swaps"); err == nil || !strings.Contains(err.Error(), "not a block device") {
		t.Errorf("a plain file: %v", err)
	}
}

func TestUse(t *testing.T) {
	h := machine(t, twoDisks)
	users, err := h.Users()
	must(t, err)
	rows := []struct{ device, want string }{
		{"/dev/vda", ""},
		{"/dev/vda1", "held by md127"},
		{"/dev/vda2", `mounted at "/mnt/a b"`},
		{"/dev/nvme0n1", "used as swap"},
		{"/dev/mapper/mpatha", `mounted at "/b" and held by dm-2`}, // not by its partition map
	}
	for _, row := range rows {
		t.Run(row.device, func(t *testing.T) {
			n, err := h.Look(row.device)
			must(t, err)
			if got := users.Of(n).String(); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

func TestParts(t *testing.T) {
	h := machine(t, twoDisks)
	rows := []struct {
		disk    string
		numbers []int
		starts  []int64
		paths   []string
	}{
		{"/dev/vda", []int{1, 2}, []int64{2048, 4096}, []string{"/dev/vda1", "/dev/vda2"}},
		{"/dev/nvme0n1", nil, nil, nil},
		{"/dev/mapper/mpatha", []int{3}, []int64{-1}, []string{"/dev/dm-1"}},
	}
	for _, row := range rows {
		t.Run(row.disk, func(t *testing.T) {
			n, err := h.Look(row.disk)
			must(t, err)
			parts, err := h.Parts(n)
			must(t, err)
			var numbers []int
			var starts []int64
			var paths []string
			for _, p := range parts {
				numbers, starts, paths = append(numbers, p.Number), append(starts, p.Start), append(paths, p.Path)
			}
			if !reflect.DeepEqual(numbers, row.numbers) || !reflect.DeepEqual(starts, row.starts) || !reflect.DeepEqual(paths, row.paths) {
				t.Errorf("got %v %v %v, want %v %v %v", numbers, starts, paths, row.numbers, row.starts, row.paths)
			}
		})
	}
}

func TestPartPath(t *testing.T) {
	h := machine(t, twoDisks)
	for _, row := range []struct {
		disk   string
		number int
		want   string
	}{
		{"/dev/vda", 3, "/dev/vda3"},
		{"/dev/nvme0n1", 3, "/dev/nvme0n1p3"},
		{"/dev/mapper/mpatha", 3, "/dev/dm-1"},
		{"/dev/mapper/mpatha", 4, "/dev/disk/by-id/dm-name-mpathap4"},
	} {
		n, err := h.Look(row.disk)
		must(t, err)
		if got := h.PartPath(n, row.number); got != row.want {
			t.Errorf("%s, %d: got %q, want %q", row.disk, row.number, got, row.want)
		}
	}
}

func TestCrypt(t *testing.T) {
	h := machine(t, twoDisks)
	for _, row := range []struct {
		device string
		luks   bool
		on     string
	}{{"/dev/mapper/secret", true, "vda1"}, {"/dev/mapper/mpatha", false, ""}} {
		n, err := h.Look(row.device)
		must(t, err)
		if luks, on := h.Crypt(n); luks != row.luks || on != row.on {
			t.Errorf("%s: got %t, %q", row.device, luks, on)
		}
	}
}

// quiet is a logger that keeps its lines to itself.
func quiet(t *testing.T) (*oplog.Logger, *strings.Builder) {
	t.Helper()
	var b strings.Builder
	return oplog.New(oplog.StdoutHandler(&b), nil), &b
}

func TestKernelView(t *testing.T) {
	h := machine(t, twoDisks)
	disk, err := h.Look("/dev/vda")
	must(t, err)
	log, _ := quiet(t)
	ctx := context.Background()
	rows := []struct {
		name string
		err  error
		want string
	}{
		{"as expected", h.CheckPart(ctx, log, disk, 1, 2048, 1024), ""},
		{"wrong start", h.CheckPart(ctx, log, disk, 1, 2049, 1024), `kernel partition start for "/dev/vda1" does not match expected (2048 != 2049 512-byte sectors)`},
		{"wrong size", h.CheckPart(ctx, log, disk, 2, 4096, 1025), `kernel partition size for "/dev/vda2" does not match expected (1024 != 1025 512-byte sectors)`},
		{"absent", h.CheckPart(ctx, log, disk, 3, 1, 1), `failed to resolve "/dev/vda3"`},
		{"gone", h.CheckGone(disk, 3), ""},
		{"not gone", h.CheckGone(disk, 2), `"/dev/vda2" unexpectedly exists after partitioning`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.want == "" && row.err != nil || row.want != "" && (row.err == nil || !strings.Contains(row.err.Error(), row.want)) {
				t.Errorf("got %v, want %q", row.err, row.want)
			}
		})
	}
	// Sectors of 4096 bytes are compared in units of 512.
	disk.SectorSize = 4096
	if err := h.CheckPart(ctx, log, disk, 1, 256, 128); err != nil {
		t.Error(err)
	}
}

// programs puts scripts on the Runner's PATH.
func programs(t *testing.T, h *Host, scripts map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, body := range scripts {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+body+"\n"), 0o755))
	}
	h.Runner = &exec.Runner{Path: dir + ":/usr/bin:/bin"}
}

func TestMapGeometry(t *testing.T) {
	for _, row := range []struct{ name, out, want string }{
		{"linear", "0 2048 linear 8:16 4096", ""},
		{"other target", "0 2048 crypt aes 0 8:16 4096", "unexpected dmsetup table output"},
		{"nothing", "", "unexpected dmsetup table output"},
		{"other start", "0 2048 linear 8:16 4097", "kernel partition start"},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := machine(t, twoDisks)
			programs(t, h, map[string]string{"dmsetup": "echo " + row.out})
			disk, err := h.Look("/dev/mapper/mpatha")
			must(t, err)
			log, _ := quiet(t)
			err = h.CheckPart(context.Background(), log, disk, 3, 4096, 2048)
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}

func TestKernel(t *testing.T) {
	for _, row := range []struct {
		name    string
		scripts map[string]string
		want    string
	}{
		{"done", map[string]string{"partx": "exit 0"}, ""},
		{"fails", map[string]string{"partx": "echo busy >&2; exit 1"}, "NOTICE"},
		{"no partx", nil, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := machine(t, twoDisks)
			programs(t, h, row.scripts)
			if row.scripts == nil {
				h.Runner = &exec.Runner{Path: t.TempDir()}
			}
			disk, err := h.Look("/dev/vda")
			must(t, err)
			log, out := quiet(t)
			h.Kernel(context.Background(), log, disk, "/run/aliases/dev/vda", "add", 3)
			if !strings.Contains(out.String(), `triggering partition 3 add on "/run/aliases/dev/vda"`) {
				t.Errorf("log: %s", out)
			}
			if strings.Contains(out.String(), "NOTICE") != (row.want != "") || strings.Contains(out.String(), "CRITICAL") {
				t.Errorf("log: %s", out)
			}
		})
	}
}

func TestAlias(t *testing.T) {
	h := machine(t, twoDisks)
	log, out := quiet(t)
	alias, err := h.MakeAlias(context.Background(), log, "/dev/disk/by-partlabel/data")
	must(t, err)
	if alias != "/run/aliases/dev/disk/by-partlabel/data" {
		t.Errorf("alias %q", alias)
	}
	target, err := os.Readlink(h.root + alias)
	must(t, err)
	if target != "/dev/vda2" {
		t.Errorf("the alias leads to %q", target)
	}
	if want := `created device alias for "/dev/disk/by-partlabel/data": "` + alias + `" -> "/dev/vda2"`; !strings.Contains(out.String(), want) {
		t.Errorf("log %s, want %s", out, want)
	}
	// The link means another device now: the alias follows when it is made again.
	link := h.root + "/dev/disk/by-partlabel/data"
	must(t, os.Remove(link))
	must(t, os.Symlink(h.root+"/dev/vda1", link))
	if _, err := h.MakeAlias(context.Background(), log, "/dev/disk/by-partlabel/data"); err != nil {
		t.Fatal(err)
	}
	if target, _ = os.Readlink(h.root + alias); target != "/dev/vda1" {
		t.Errorf("the alias leads to %q still", target)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.MakeAlias(ctx, log, "/dev/none"); err == nil || !strings.Contains(err.Error(), `failed to create device alias for "/dev/none"`) {
		t.Errorf("a device that does not come: %v", err)
	}
}

// TestAliasRetry: udev has the link away for a moment.
func TestAliasRetry(t *testing.T) {
	h := machine(t, twoDisks)
	log, _ := quiet(t)
	link := h.root + "/dev/disk/by-partlabel/data"
	must(t, os.Remove(link))
	back := make(chan error, 1)
	go func() { back <- os.Symlink(h.root+"/dev/vda2", link) }()
	_, err := h.MakeAlias(context.Background(), log, "/dev/disk/by-partlabel/data")
	must(t, <-back)
	must(t, err)
}

func TestProbe(t *testing.T) {
	for _, row := range []struct {
		name    string
		scripts map[string]string
		want    Content
		err     string
		warning bool
	}{
		{"found", map[string]string{"blkid": `printf 'ID_FS_LABEL=a_b\nID_FS_LABEL_ENC=a\\x20b\nID_FS_UUID_ENC=1234-ABCD\nID_FS_TYPE=vfat\n'`}, Content{Type: "vfat", UUID: "1234-ABCD", Label: "a b"}, "", false},
		{"a table only", map[string]string{"blkid": "echo ID_PART_TABLE_TYPE=gpt"}, Content{Table: "gpt"}, "", false},
		{"nothing", map[string]string{"blkid": "exit 2"}, Content{}, "", false},
		{"several", map[string]string{"blkid": "exit 8", "wipefs": `printf '# offset,uuid,label,type\n0x438,u1,l1,ext4\n0x10040,u2,l2,zfs_member\n'`}, Content{Type: "ext4", UUID: "u1", Label: "l1"}, "", true},
		{"several, RAID first", map[string]string{"blkid": "exit 8", "wipefs": `printf '0x438,u1,l1,ext4\n0x1fe,,,PMBR\n0x1000,u2,l2,linux_raid_member\n'`}, Content{Type: "linux_raid_member", UUID: "u2", Label: "l2", Table: "PMBR"}, "", true},
		{"several, wipefs fails", map[string]string{"blkid": "exit 8", "wipefs": "exit 1"}, Content{}, "failed to probe", false},
		{"usage error", map[string]string{"blkid": "exit 4"}, Content{}, "failed to probe", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := machine(t, twoDisks)
			programs(t, h, row.scripts)
			log, out := quiet(t)
			got, err := h.Probe(context.Background(), log, "/dev/vda1")
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Fatalf("got error %v, want %q", err, row.err)
			}
			if got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
			if strings.Contains(out.String(), "WARNING") != row.warning {
				t.Errorf("log: %s", out)
			}
		})
	}
	t.Run("no blkid", func(t *testing.T) {
		h := machine(t, twoDisks)
		programs(t, h, map[string]string{"wipefs": `printf '0x0,u,l,xfs\n'`})
		h.Programs.Blkid = "blkid-that-is-not-there"
		log, _ := quiet(t)
		got, err := h.Probe(context.Background(), log, "/dev/vda1")
		if err != nil || got.Type != "xfs" {
			t.Errorf("got %+v, %v", got, err)
		}
	})
	t.Run("unreadable", func(t *testing.T) {
		h := machine(t, twoDisks)
		programs(t, h, map[string]string{"blkid": "exit 2"})
		log, _ := quiet(t)
		if _, err := h.Probe(context.Background(), log, "/dev/gone"); err == nil || !strings.Contains(err.Error(), `querying filesystem field "TYPE" of "/dev/gone": failed to open`) {
			t.Errorf("got %v", err)
		}
	})
}

func TestDecode(t *testing.T) {
	for in, want := range map[string]string{"plain": "plain", `a\x20b`: "a b", `\x5cx`: `\x`, `\x2`: `\x2`, `\xzz`: `\xzz`, "": ""} {
		if got := decode(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

// TestRereadTable: a table is read the same way past the cache.
func TestRereadTable(t *testing.T) {
	root := t.TempDir()
	g := image(512, 8192, Partition{Number: 1, Start: 2048, Size: 1024}).write()
	must(t, os.WriteFile(filepath.Join(root, "disk"), g.raw, 0o600))
	h := &Host{root: root}
	got, err := h.RereadTable(Node{Path: "/disk", Size: int64(len(g.raw)), SectorSize: 512})
	if p, ok := got.Partition(1); err != nil || !ok || p.Start != 2048 || p.Size != 1024 {
		t.Errorf("read %+v, %v", got, err)
	}
	if _, err := h.RereadTable(Node{Path: "/gone"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a disk that is gone gives %v", err)
	}
}
