// SPDX-License-Identifier: Apache-2.0

// Package guest holds the tests that run inside a guest of package vm, as root,
// on disks that are nobody's: cases for the stages of the built binary, and a
// look at the tools that they stand on. Elsewhere all of it is skipped; nothing
// here touches a disk whose serial number is not one that package vm gives.
package guest

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// marker is made by the first program of a guest and by nothing else.
const marker = "/run/ignition-test-guest"

// ignition is the program under test; the harness built it.
var ignition = os.Getenv("IGNITION_BINARY")

func inGuest() bool {
	_, err := os.Stat(marker)
	vendor, _ := os.ReadFile("/sys/class/dmi/id/sys_vendor")
	return err == nil && strings.TrimSpace(string(vendor)) == "QEMU"
}

func TestMain(m *testing.M) {
	flag.Parse()
	if !inGuest() {
		// Whatever -run says: no other test may start on this machine.
		for name, value := range map[string]string{"run": "^TestInsideGuest$", "bench": "", "fuzz": "", "skip": ""} {
			if err := flag.Set("test."+name, value); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
	}
	os.Exit(m.Run())
}

// TestInsideGuest checks the machine that the other tests take for granted.
func TestInsideGuest(t *testing.T) {
	if !inGuest() {
		t.Skip("this machine is no test guest; `make test-vm` boots one and runs these tests in it")
	}
	if comm := strings.TrimSpace(mustRead(t, "/proc/1/comm")); comm != "systemd" {
		t.Errorf("PID 1 is %s, want systemd", comm)
	}
	if out, err := exec.Command(ignition, "--version").CombinedOutput(); err != nil {
		t.Errorf("the binary under test does not run: %v\n%s", err, out)
	}
	if len(guestDisks(t)) != len(wantDisks) {
		t.Fatalf("disks %v, want %d", guestDisks(t), len(wantDisks))
	}
	for i, d := range guestDisks(t) {
		want := wantDisks[i]
		sectors, _ := strconv.Atoi(readSys(t, d, "size"))
		if got := readSys(t, d, "queue/logical_block_size"); got != strconv.Itoa(want.sector) || sectors/2048 != want.mib {
			t.Errorf("%s has sectors of %s bytes and %d MiB, want %d and %d", d, got, sectors/2048, want.sector, want.mib)
		}
		link, err := os.Readlink("/dev/disk/by-id/virtio-" + serial(i))
		if err != nil || "/dev/"+link[strings.LastIndex(link, "/")+1:] != d {
			t.Errorf("link of disk %d by its serial number: %q, %v; want %s", i, link, err, d)
		}
	}
}
