// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// everything has one of each: partitions, an array, a volume with a key of the
// config, one with a key of its own, filesystems, and no wish to wipe.
const everything = spec34 + `"storage":{
	"disks":[{"device":"$D0","partitions":[{"label":"cut-a","sizeMiB":100},{"number":2,"label":"cut-k","sizeMiB":100},{"label":"cut-v"}]},
		{"device":"$D1","partitions":[{"label":"cut-b","sizeMiB":100},{"label":"cut-o"}]}],
	"raid":[{"name":"cut","level":"raid1","devices":["/dev/disk/by-partlabel/cut-a","/dev/disk/by-partlabel/cut-b"]}],
	"luks":[{"name":"keyed","device":"/dev/disk/by-partlabel/cut-k","keyFile":{"source":"data:,k"},` + quick + `},
		{"name":"own","device":"/dev/disk/by-partlabel/cut-o",` + quick + `}],
	"filesystems":[{"device":"/dev/md/cut","format":"ext4","label":"on-md"},{"device":"/dev/mapper/keyed","format":"ext4","label":"on-luks"},
		{"device":"/dev/mapper/own","format":"btrfs"},{"device":"/dev/disk/by-partlabel/cut-v","format":"vfat","label":"V"}]}}`

// layout prints all that everything makes, without what is different each time.
const layout = `for d in $D0 $D1; do sgdisk -p "$d" | awk '$1 ~ /^[0-9]+$/ {print $1, $2, $3, $7}'; lsblk -nro NAME,START,SIZE "$d" | grep "^${d#/dev/}[0-9]"; done
mdadm --detail --export /dev/md/cut | grep -E '^MD_(LEVEL|DEVICES|NAME)='
for d in /dev/md/cut /dev/mapper/keyed /dev/mapper/own "${D0}3"; do blkid -p -o value -s TYPE -s LABEL "$d"; done
echo -n k | cryptsetup open --test-passphrase --key-file - "${D0}2"; cryptsetup open --test-passphrase --key-file "$CASE/sysroot/etc/luks/own" "${D1}2"
for d in "${D0}2" "${D1}2"; do cryptsetup luksDump --dump-json-metadata "$d" | grep -c '"type":"ignition"' || true; done
fsck.ext4 -fn /dev/md/cut >/dev/null 2>&1; fsck.ext4 -fn /dev/mapper/keyed >/dev/null 2>&1; fsck.vfat -n "${D0}3" >/dev/null; btrfs check /dev/mapper/own >/dev/null 2>&1; cut -d' ' -f 1,3- "$CASE/sysroot/etc/crypttab"
compgen -G '/tmp/ignition-luks-*' || true # find would stumble over what comes and goes on the host`

// TestCut kills the disks stage after each of its operations in turn, with all
// that it started, and runs it again with the same config.
func TestCut(t *testing.T) {
	disks := []int{0, 1}
	e := newEnv(t, disks)
	want, ops := uncut(t, e, disks)
	t.Logf("%d operations; they make\n%s", ops, want)
	moments := []int{ops / 3, ops - 2}
	if os.Getenv("VM_ALL") != "" {
		moments = nil
		for n := 1; n < ops; n++ {
			moments = append(moments, n)
		}
	}
	for _, n := range moments {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			begin(t, e, disks)
			first := cutStage(t, e, n)
			var log string
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("the run that was cut:\n%s\nthe run after it:\n%s%s", first, log, lookAround(e))
				}
			})
			again := e.stage(t, "disks")
			log = again.Output
			if again.Code != 0 {
				if !strings.Contains(log, "the failing config entry is $.storage.") {
					t.Fatal("the second run fails and does not say what to do")
				}
				t.Logf("refused: %s", log[strings.LastIndex(log, "CRITICAL"):])
				return
			}
			files := e.stage(t, "files")
			if log += files.Output; files.Code != 0 {
				t.Fatal("the files stage fails after the second run")
			}
			if got := e.must(t, "looking at the layout", layout); got != want {
				t.Errorf("the end is another one:\n%s", differences(want, got))
			}
		})
	}
	reset(t, e, disks)
}

// begin makes blank disks and a fetched config.
func begin(t *testing.T, e *env, disks []int) {
	t.Helper()
	blank(t, e, disks)
	e.must(t, "dropping state", `rm -rf /run/ignition /run/ignition.json "$CASE/sysroot"; mkdir -p "$CASE/sysroot/etc"`)
	if err := os.WriteFile(e.path("config.ign"), []byte(e.expand(everything)), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := e.stage(t, "fetch"); s.Code != 0 {
		t.Fatalf("fetch failed:\n%s", s.Output)
	}
}

// blank makes disks blank and notes that they will not stay so.
func blank(t *testing.T, e *env, disks []int) {
	t.Helper()
	for _, i := range disks {
		dirty[i] = true
	}
	reset(t, e, disks)
	for _, i := range disks {
		dirty[i] = true
	}
}

// uncut is a run that nothing disturbs: what it makes, and of how many operations.
func uncut(t *testing.T, e *env, disks []int) (made string, ops int) {
	t.Helper()
	begin(t, e, disks)
	for _, name := range []string{"disks", "files"} {
		s := e.stage(t, name)
		if s.Code != 0 {
			t.Fatalf("stage %s failed:\n%s", name, s.Output)
		}
		if name == "disks" {
			ops = strings.Count(s.Output, "[finished]")
		}
	}
	return e.must(t, "looking at the layout", layout), ops
}

// cutStage runs the disks stage and kills it when it has said n times that an
// operation is finished.
func cutStage(t *testing.T, e *env, n int) (log string) {
	t.Helper()
	cmd := exec.Command(ignition, "--platform=file", "--stage=disks", "--root="+e.path("sysroot"), "--log-to-stdout")
	cmd.Env = append(e.environ(), "IGNITION_CONFIG_FILE="+e.path("config.ign"))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	finished := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		b.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "[finished]") {
			finished++
		}
		if finished == n {
			killTree(t, cmd.Process.Pid)
			break
		}
	}
	err = cmd.Wait()
	if finished < n {
		t.Fatalf("the stage ended by itself after %d operations: %v\n%s", finished, err, b.String())
	}
	return b.String()
}

// killTree kills a process and what it started: first it is stopped, so that it
// starts nothing more.
func killTree(t *testing.T, pid int) {
	t.Helper()
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		raw, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			killTree(t, child)
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// soakStack is what could race with udev and systemd, made while both
// processors have other things to do.
var soakStack = []Case{{
	Name:   "everything under load",
	Disks:  []int{0, 1},
	Before: `for i in 1 2; do (trap 'exit 0' TERM; while :; do :; done) </dev/null >/dev/null 2>&1 & echo $! >>"$CASE/load"; done`,
	Config: spec34 + `"storage":{
	"disks":[{"device":"$D0","wipeTable":true,"partitions":[{"label":"soak-a","sizeMiB":100},{"label":"soak-k","sizeMiB":200},{"label":"soak-v"}]},
		{"device":"$D1","wipeTable":true,"partitions":[{"label":"soak-b","sizeMiB":100},{"label":"soak-x"}]}],
	"raid":[{"name":"soak","level":"raid1","devices":["/dev/disk/by-partlabel/soak-a","/dev/disk/by-partlabel/soak-b"]}],
	"luks":[{"name":"soak","device":"/dev/disk/by-partlabel/soak-k","wipeVolume":true,` + quick + `}],
	"filesystems":[{"device":"/dev/md/soak","format":"ext4","wipeFilesystem":true},{"device":"/dev/mapper/soak","format":"btrfs","wipeFilesystem":true,"label":"soak"},
		{"device":"/dev/disk/by-partlabel/soak-v","format":"vfat","wipeFilesystem":true},{"device":"/dev/disk/by-partlabel/soak-x","format":"xfs","wipeFilesystem":true}]}}`,
	Stages: disksOnly,
	After: `kill $(cat "$CASE/load"); for d in /dev/md/soak /dev/mapper/soak "${D0}3" "${D1}2"; do blkid -p -o value -s TYPE "$d"; done
test "$(readlink -f /dev/disk/by-label/soak)" = "$(readlink -f /dev/mapper/soak)"`,
	Want: "ext4\nbtrfs\nvfat\nxfs",
}}
