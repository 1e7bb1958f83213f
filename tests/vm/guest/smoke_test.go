// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// smokeCases show that the framework works, whatever the binary can do.
var smokeCases = []Case{
	{
		Name:  "partitions by sgdisk",
		Disks: []int{0, 6},
		Before: `for d in $D0 $D1; do sgdisk -n 1:0:+64M -c 1:one -n 2:0:0 -c 2:two -t 2:8200 "$d"; done
udevadm trigger --settle $D0 $D1
mkfs.ext4 -q -L smoke "${D0}1"`,
		Stages: []string{},
		Keep:   []string{"$D0", "${D1}1"},
		After:  `lsblk -nro KNAME,SIZE,PARTLABEL,LOG-SEC "$D0" "$D1"; readlink -f /dev/disk/by-partlabel/two >/dev/null`,
		Want: `vda 1G  512
vda1 64M one 512
vda2 959M two 512
vdg 1G  4096
vdg1 64M one 4096
vdg2 959M two 4096`,
		Check: func(t *testing.T, r Result) {
			if got := r.PartitionNumbers(t, "$D1"); !slices.Equal(got, []int{1, 2}) {
				t.Errorf("partitions %v, want 1 and 2", got)
			}
			p := r.Partition(t, "$D1", 2)
			if p.Label != "two" || p.Type != "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F" || p.First != 16640 {
				t.Errorf("partition 2 is %+v", p)
			}
			if got := r.Blkid(t, "${D0}1"); got["TYPE"] != "ext4" || got["LABEL"] != "smoke" {
				t.Errorf("blkid finds %v, want ext4 with label smoke", got)
			}
		},
	},
	{
		Name:   "the disks are blank again",
		Disks:  []int{0, 6},
		Stages: []string{},
		After:  `for d in $D0 $D1; do cmp -n 8388608 "$d" /dev/zero; blkid -p "$d" && exit 1; done; ls /dev/disk/by-partlabel 2>/dev/null || true`,
		Check: func(t *testing.T, r Result) {
			if r.After != "" {
				t.Errorf("links are left: %s", r.After)
			}
		},
	},
	{
		Name:  "everything stacked and busy",
		Disks: []int{0, 1, 2},
		Before: `for d in $D0 $D1; do sgdisk -n 1:0:+64M "$d"; done; udevadm trigger --settle $D0 $D1
mdadm --create /dev/md/stack --run --assume-clean --level=1 --raid-devices=2 --homehost=any "${D0}1" "${D1}1"
echo -n pass | cryptsetup luksFormat --batch-mode --pbkdf-force-iterations=1000 --pbkdf=pbkdf2 /dev/md/stack -
echo -n pass | cryptsetup open /dev/md/stack stack -
mkfs.ext4 -q /dev/mapper/stack; mkdir "$CASE/mnt"; mount /dev/mapper/stack "$CASE/mnt"; touch "$CASE/mnt/busy"
mkswap "$D2"; swapon "$D2"`,
		Stages: []string{},
		After:  `grep -q "^$D2 " /proc/swaps; findmnt -no FSTYPE "$CASE/mnt"`,
		Want:   "ext4",
	},
	{
		Name:   "nothing of the stack is left",
		Disks:  []int{0, 1, 2},
		Stages: []string{},
		After:  `[[ $(dmsetup ls) == 'No devices found' ]]; grep -c '^md' /proc/mdstat || true; wc -l </proc/swaps; lsblk -nro NAME $DISKS`,
		Want: `0
1
vda
vdb
vdc`,
	},
	{
		Name:   "stages on a config without disk work",
		Disks:  []int{3},
		Config: `{"ignition":{"version":"3.4.0"},"storage":{"files":[{"path":"/etc/hello","overwrite":true,"contents":{"source":"data:,$D0%20$NOT"}}]}}`,
		Keep:   []string{"$D0"},
		After:  `cat "$CASE/sysroot/etc/hello"`,
		Want:   "$D0 $NOT",
		Again:  true,
	},
	{
		Name:   "a config that is none",
		Disks:  []int{3},
		Config: `{"ignition":{"version":"0.1.0"}}`,
		Fails:  "fetch",
		Error:  []string{"version"},
	},
}

func TestSmoke(t *testing.T) { runCases(t, smokeCases) }

// TestSoak repeats cases in which the kernel, udev and systemd could race.
func TestSoak(t *testing.T) {
	n, _ := strconv.Atoi(os.Getenv("VM_SOAK"))
	if n == 0 {
		t.Skip("repeats cases only when told how often: make test-vm-all SOAK=100")
	}
	for i := range n {
		t.Run(strconv.Itoa(i), func(t *testing.T) { runCases(t, slices.Concat(soakCases...)) })
	}
}

var soakCases = [][]Case{soakStack}

func TestParsePartition(t *testing.T) {
	text := `Partition GUID code: 0FC63DAF-8483-4772-8E79-3D69D8477DE4 (Linux filesystem)
Partition unique GUID: 3F3B4A5C-3C43-4E5A-93A5-4E6E0B8E0A11
First sector: 2048 (at 1024.0 KiB)
Last sector: 133119 (at 65.0 MiB)
Partition size: 131072 sectors (64.0 MiB)
Attribute flags: 0000000000000004
Partition name: 'it's one'
`
	p, err := parsePartition(text)
	want := Partition{Type: "0FC63DAF-8483-4772-8E79-3D69D8477DE4", GUID: "3F3B4A5C-3C43-4E5A-93A5-4E6E0B8E0A11",
		Label: "it's one", First: 2048, Last: 133119, Size: 131072, Attributes: "0000000000000004"}
	if err != nil || p != want {
		t.Errorf("%+v, %v; want %+v", p, err, want)
	}
	if _, err := parsePartition("Partition #4 does not exist."); err == nil || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("a missing partition gives %v", err)
	}
}

func TestVerdict(t *testing.T) {
	pass := func(name, output string) StageRun { return StageRun{Name: name, Output: output} }
	fail := func(name, output string) StageRun { return StageRun{Name: name, Output: output, Code: 1} }
	rows := []struct {
		name   string
		c      Case
		stages []StageRun
		want   []string
	}{
		{"passes", Case{}, []StageRun{pass("fetch", ""), pass("disks", "fine")}, nil},
		{"fails", Case{}, []StageRun{pass("fetch", ""), fail("disks", "CRITICAL : x")}, []string{"stage disks failed"}},
		{"critical line", Case{}, []StageRun{pass("fetch", "CRITICAL : x\n"), pass("disks", "")}, []string{"critical line: CRITICAL : x"}},
		{"allowed critical line", Case{Critical: []string{"zap $D0"}}, []StageRun{pass("disks", "CRITICAL : zap DISK\n")}, nil},
		{"fails as it should", Case{Fails: "disks", Error: []string{"on $D0"}}, []StageRun{fail("disks", "CRITICAL : busy on DISK")}, nil},
		{"fails with another text", Case{Fails: "disks", Error: []string{"a", "b"}}, []StageRun{fail("disks", "CRITICAL : b")}, []string{`did not say "a"`}},
		{"fails too early", Case{Fails: "disks"}, []StageRun{fail("fetch", "")}, []string{"stage fetch was the last one"}},
		{"passes but should not", Case{Fails: "disks"}, []StageRun{pass("fetch", ""), pass("disks", "")}, []string{"stage disks passed"}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := row.c.verdict(row.stages, func(s string) string { return strings.ReplaceAll(s, "$D0", "DISK") })
			if len(got) != len(row.want) {
				t.Fatalf("problems %q, want %q", got, row.want)
			}
			for i := range got {
				if !strings.Contains(got[i], row.want[i]) {
					t.Errorf("problem %q, want %q", got[i], row.want[i])
				}
			}
		})
	}
}

func TestExpand(t *testing.T) {
	e := &env{vars: map[string]string{"D0": "/dev/vda", "CASE": "/c"}}
	if got, want := e.expand("$D0 ${D0}1 $D01 $CASE/x ${OTHER} $ $$D0"), "/dev/vda /dev/vda1 $D01 /c/x ${OTHER} $ $/dev/vda"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
