// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestBench measures the disks stage. Its figures are ratios: emulation and
// machines are slow each in their own way.
func TestBench(t *testing.T) {
	if os.Getenv("VM_BENCH") == "" {
		t.Skip("measures only when told to: make bench")
	}
	t.Run("filesystems", benchFilesystems)
	t.Run("helpers", benchHelpers)
}

// benchConfig has a filesystem on each disk; two of them are ext4 with a
// journal and inode tables that are written out, which takes a while.
func benchConfig(disks ...int) string {
	formats := []string{
		`"format":"ext4","options":["-E","lazy_itable_init=0,lazy_journal_init=0"]`, `"format":"xfs"`,
		`"format":"ext4","options":["-E","lazy_itable_init=0,lazy_journal_init=0"]`, `"format":"btrfs"`,
	}
	var list []string
	for _, d := range disks {
		list = append(list, fmt.Sprintf(`{"device":"$D%d","wipeFilesystem":true,%s}`, d, formats[d]))
	}
	return spec34 + `"storage":{"filesystems":[` + strings.Join(list, ",") + `]}}`
}

// disksStage runs the stage and gives the time that it took.
func disksStage(t *testing.T, e *env, config string) time.Duration {
	t.Helper()
	e.must(t, "dropping state", `rm -rf /run/ignition /run/ignition.json "$CASE/sysroot"; mkdir -p "$CASE/sysroot/etc"`)
	if err := os.WriteFile(e.path("config.ign"), []byte(e.expand(config)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range disksOnly {
		s := e.stage(t, name)
		if s.Code != 0 {
			t.Fatalf("stage %s failed:\n%s", name, s.Output)
		}
		if name == "disks" {
			return s.Wall
		}
	}
	return 0
}

// benchFilesystems compares four filesystems at once with one after the other.
func benchFilesystems(t *testing.T) {
	disks := []int{0, 1, 2, 3}
	e := newEnv(t, disks)
	blank(t, e, disks)
	t.Cleanup(func() { reset(t, e, disks) })
	disksStage(t, e, benchConfig(disks...)) // the programs are in the page cache from here on
	var together, apart time.Duration
	for range 3 {
		together += disksStage(t, e, benchConfig(disks...))
		for _, d := range disks {
			apart += disksStage(t, e, benchConfig(d))
		}
	}
	t.Logf("BENCH four filesystems on four disks: one by one takes %.2f times as long as all at once", apart.Seconds()/together.Seconds())
	if together >= apart {
		t.Errorf("all at once took %v, one by one %v", together, apart)
	}
}

// benchHelpers compares the stage with the host programs that it ran, aside
// from the time that it waited for udev. Bar: 1.25.
func benchHelpers(t *testing.T) {
	disks := []int{0, 1}
	e := newEnv(t, disks)
	blank(t, e, disks)
	t.Cleanup(func() { reset(t, e, disks) })
	config := spec34 + `"storage":{"disks":[
		{"device":"$D0","wipeTable":true,"partitions":[{"label":"a","sizeMiB":200},{"label":"b","sizeMiB":200},{"label":"c"}]},
		{"device":"$D1","wipeTable":true,"partitions":[{"label":"d","sizeMiB":200},{"label":"e"}]}],
		"raid":[{"name":"bench","level":"raid1","devices":["/dev/disk/by-partlabel/a","/dev/disk/by-partlabel/d"]}],
		"luks":[{"name":"bench","device":"/dev/disk/by-partlabel/b","wipeVolume":true,` + quick + `}],
		"filesystems":[{"device":"/dev/md/bench","format":"ext4","wipeFilesystem":true},{"device":"/dev/mapper/bench","format":"ext4","wipeFilesystem":true},
		{"device":"/dev/disk/by-partlabel/c","format":"btrfs","wipeFilesystem":true},{"device":"/dev/disk/by-partlabel/e","format":"vfat","wipeFilesystem":true}]}}`
	disksStage(t, e, config)
	blank(t, e, disks)
	disksStage(t, e, config)
	stage, programs, waits := recorded(t)
	ratio := (stage - waits).Seconds() / programs.Seconds()
	t.Logf("BENCH the stage takes %.2f times as long as the programs that it runs (stage %.1f s, of that waiting for udev %.1f s, programs %.1f s)",
		ratio, stage.Seconds(), waits.Seconds(), programs.Seconds())
	if ratio > 1.25 {
		t.Errorf("ratio %.2f, want at most 1.25", ratio)
	}
}

// recorded reads the record of operations: how long the disks stage took, how
// long its programs did together, and how long it waited for devices and udev.
func recorded(t *testing.T) (stage, programs, waits time.Duration) {
	t.Helper()
	f, err := os.Open("/run/ignition/ops.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var r struct {
			Stage, Kind, Desc string
			Start, End        time.Time
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		took := r.End.Sub(r.Start)
		switch {
		case r.Stage != "disks":
		case r.Kind == "stage":
			stage = took
		case r.Kind == "wait-devices" || r.Kind == "udev":
			waits += took
		case r.Kind == "program" && r.Desc != "udevadm":
			programs += took
		}
	}
	if stage == 0 || programs == 0 {
		t.Fatal("the record has no stage or no programs")
	}
	return stage, programs, waits
}
