// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// unitLine is a line of the journal about a unit of the first boot.
var unitLine = regexp.MustCompile(`(?m)^\[ *([0-9.]+)\] .*: (?:Starting|Finished) ignition-`)

// provisioningTime is what the units of a first boot take, from the first that
// starts to the last that is done.
func provisioningTime(t *testing.T, r *rig, name string) float64 {
	t.Helper()
	g := r.boot(name)
	g.Login(bootTime)
	defer g.Kill()
	text := g.Run("hostname; journalctl -b -o short-monotonic --no-pager _PID=1")
	if !strings.HasPrefix(text, "measured\n") {
		t.Fatalf("%s did not provision the machine: %s", name, text[:min(len(text), 200)])
	}
	all := unitLine.FindAllStringSubmatch(text, -1)
	if len(all) < 8 {
		t.Fatalf("%s: %d lines about units", name, len(all))
	}
	first, err1 := strconv.ParseFloat(all[0][1], 64)
	last, err2 := strconv.ParseFloat(all[len(all)-1][1], 64)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	return last - first
}

// TestBootBench: what provisioning adds to a boot, beside Debian's package of the
// upstream program in the same image. The two take turns.
func TestBootBench(t *testing.T) {
	if os.Getenv("VM_BENCH") == "" {
		t.Skip("measures; runs with `make bench`")
	}
	ours := newRig(t)
	theirs := newRig(t)
	theirs.Disk = debianImage(t).Clone(t, theirs.Dir)
	times := map[*rig][]float64{}
	const rounds = 3
	for i := range rounds {
		for _, r := range []*rig{ours, theirs} {
			name := map[bool]string{true: "ours", false: "debian"}[r == ours]
			if i > 0 {
				r.Disk = r.Disk.image.Clone(t, r.Dir)
			}
			r.Append = directArguments + "ignition.firstboot ignition.platform.id=qemu"
			r.FwCfg = map[string]string{"opt/com.coreos/config": strings.ReplaceAll(hostName("measured"), "3.4.0", "3.3.0")}
			times[r] = append(times[r], provisioningTime(t, r, fmt.Sprintf("%s-%d", name, i)))
		}
	}
	median := func(r *rig) float64 { return slices.Sorted(slices.Values(times[r]))[rounds/2] }
	ratio := median(ours) / median(theirs)
	t.Logf("provisioning, first unit to last: ours %.2f s, Debian's ignition 2.14 %.2f s, ratio %.2f (ours %.2f, Debian's %.2f)",
		median(ours), median(theirs), ratio, times[ours], times[theirs])
	if ratio > 1 {
		t.Errorf("slower than Debian's package: ratio %.2f", ratio)
	}
}

// debianImage is the image with Debian's own package.
func debianImage(t *testing.T) Image {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	get := exec.Command("apt-get", "download", "-qq", "-o", "APT::Sandbox::User=root", "ignition")
	get.Dir = dir
	if out, err := get.CombinedOutput(); err != nil {
		t.Fatalf("apt-get download ignition: %v\n%s", err, out)
	}
	debs, _ := filepath.Glob(filepath.Join(dir, "*.deb"))
	if len(debs) != 1 {
		t.Fatalf("packages %q", debs)
	}
	out := filepath.Join(root, "bin/boot-image-debian")
	make := exec.Command("scripts/boot-image", "--add", "ignition bash", "--relabel-nothing", debs[0], out)
	make.Dir, make.Stderr = root, os.Stderr
	if err := make.Run(); err != nil {
		t.Fatal(err)
	}
	parts, err := readLayout(filepath.Join(out, "layout"))
	if err != nil {
		t.Fatal(err)
	}
	return Image{out, parts}
}
