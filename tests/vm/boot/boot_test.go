// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/tests/imds"
)

// A boot takes a minute on an idle machine and several on one with other work.
const bootTime = 8 * time.Minute

// needGate keeps what boots machines to `make test-vm`; slow tests run with
// `make test-vm-all` only.
func needGate(t *testing.T, slow bool) {
	t.Helper()
	if os.Getenv("VM") == "" {
		t.Skip("boots a machine in software emulation; `make test-vm` does (VM=1)")
	}
	if slow && os.Getenv("VM_ALL") == "" {
		t.Skip("slow: runs with `make test-vm-all`")
	}
}

// rig is a machine and the folder for its logs.
type rig struct {
	Machine
	t *testing.T
}

// newRig takes a copy of the image.
func newRig(t *testing.T) *rig {
	t.Helper()
	parent, err := filepath.Abs("../../../bin/vm")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	image := Build(t)
	dir, err := os.MkdirTemp(parent, "boot-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("VM_KEEP") != "" {
			t.Logf("disk and console logs are in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	return &rig{Machine{Disk: image.Clone(t, dir), Dir: dir}, t}
}

// boot starts the machine; name is that of the logs.
func (r *rig) boot(name string) *Guest {
	r.t.Helper()
	r.Name = name
	start := time.Now()
	g := r.Start(r.t)
	r.t.Cleanup(func() { r.t.Logf("%s: %.0f s", name, time.Since(start).Seconds()) })
	return g
}

// flag makes the next boot a first boot, in Flatcar's way, on a platform.
func (r *rig) flag(oem string) {
	r.t.Helper()
	r.Disk.Put(r.t, ESP, "flatcar/first_boot", "")
	r.Disk.Put(r.t, OEM, "grub.cfg", "set oem_id=\""+oem+"\"\n")
}

// kernelopts adds kernel arguments for GRUB.
func (r *rig) kernelopts(more string) {
	r.t.Helper()
	text, ok := r.Disk.Get(r.t, Boot, "grub/grub.cfg")
	if !ok {
		r.t.Fatal("the image has no grub.cfg")
	}
	head, rest, _ := strings.Cut(text, "\"\n")
	r.Disk.Put(r.t, Boot, "grub/grub.cfg", head+" "+more+"\"\n"+rest)
}

// serve runs a service on the loopback and gives its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	return l.Addr().String()
}

// newKey makes an SSH key and gives the file and the public key.
func newKey(t *testing.T) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", file).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen: %v\n%s", err, out)
	}
	raw, err := os.ReadFile(file + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	return file, strings.TrimSpace(string(raw))
}

// quote is a JSON string.
func quote(t *testing.T, s string) string {
	t.Helper()
	raw, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// want compares what a command on the console prints.
func want(t *testing.T, g *Guest, lines, text string) {
	t.Helper()
	if got, code := g.Try(lines); got != text {
		t.Errorf("%s\nprinted %q (exit status %d), want %q", lines, got, code, text)
	}
}

// nginx is a unit that proves that it was started.
const nginx = "[Unit]\nDescription=NGINX example\n[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'echo started >/run/nginx-proof'\n[Install]\nWantedBy=multi-user.target\n"

// TestFlatcarOnEC2: user data of the metadata service, a kernel argument that
// needs a reboot, a user whose key logs in, a host name, a unit.
func TestFlatcarOnEC2(t *testing.T) {
	needGate(t, false)
	r := newRig(t)
	r.MemoryMiB = 512
	r.flag("ec2")
	key, public := newKey(t)
	service := imds.New(imds.Options{UserData: []byte(`{"ignition":{"version":"3.3.0"},"kernelArguments":{"shouldExist":["selinux=0"]},
 "passwd":{"users":[{"name":"test","sshAuthorizedKeys":[` + quote(t, public) + `]}]},
 "storage":{"files":[{"path":"/etc/hostname","contents":{"compression":"","source":"data:,chhanz-coreos"},"mode":420}]},
 "systemd":{"units":[{"contents":` + quote(t, nginx) + `,"enabled":true,"name":"nginx.service"}]}}`)})
	r.Metadata = serve(t, service)

	g := r.boot("first")
	g.Wait(`Ignition \(kargs\)`, bootTime)
	g.Wait(`Welcome to GRUB`, bootTime) // the reboot for selinux=0
	g.Login(bootTime)
	if n := strings.Count(g.Console(), "Welcome to GRUB"); n != 2 {
		t.Errorf("GRUB started %d times, want 2", n)
	}
	want(t, g, "hostname", "chhanz-coreos")
	want(t, g, "grep -cw selinux=0 /proc/cmdline; grep -o 'flatcar.first_boot[^ ]*' /proc/cmdline", "1\nflatcar.first_boot=detected")
	want(t, g, "id test", "uid=1000(test) gid=1000(test) groups=1000(test)")
	want(t, g, "cat ~test/.ssh/authorized_keys; stat -c '%a %U' ~test/.ssh ~test/.ssh/authorized_keys", public+"\n700 test\n600 test")
	want(t, g, "systemctl is-enabled nginx.service; cat /run/nginx-proof", "enabled\nstarted")
	want(t, g, "systemctl list-units --failed --plain --no-legend", "")
	want(t, g, `. /etc/os-release; mount -o ro /dev/disk/by-label/EFI-SYSTEM /mnt; ls /mnt/flatcar; umount /mnt`, "")
	want(t, g, `grep -c '"userConfigProvided": *true' /etc/.ignition-result.json; stat -c %a /etc/.ignition-result.json
grep -c "$(cat /proc/sys/kernel/random/boot_id)" /etc/.ignition-result.json; grep -c previousReport /etc/.ignition-result.json`, "1\n600\n1\n0")
	log := g.Run("journalctl -b -t ignition -o cat --no-pager")
	for _, line := range []string{"Stage: fetch-offline", "Stage: fetch", "Stage: kargs", "Stage: disks", "Stage: mount", "Stage: files", "Stage: umount", `created user "test"`,
		`[finished] writing file "/sysroot/etc/hostname"`, "Ignition finished successfully"} {
		if line == `created user "test"` {
			line = `[finished] creating or modifying user "test"`
		}
		if !strings.Contains(log, line) {
			t.Errorf("the journal of the first boot lacks %q\n%s", line, log)
		}
	}
	if out, err := g.SSH("test", key, "id -un"); err != nil || out != "test" {
		t.Errorf("login with the key: %q, %v", out, err)
	}
	requests := service.Requests()
	if requests == 0 {
		t.Error("the metadata service was not asked")
	}
	g.Type("systemctl poweroff\n")
	g.Off(2 * time.Minute)

	g = r.boot("second")
	g.Login(bootTime)
	want(t, g, "hostname; grep -c first_boot /proc/cmdline; cat /run/nginx-proof", "chhanz-coreos\n0\nstarted")
	want(t, g, "journalctl -b -t ignition -o cat --no-pager | grep -c Stage; ls /run/ignition.json", "0\nls: cannot access '/run/ignition.json': No such file or directory")
	if service.Requests() != requests {
		t.Errorf("the second boot asked the metadata service: %q", service.Paths()[requests:])
	}
}
