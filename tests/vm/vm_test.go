// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

const ruleFile = "dracut/30ignition/99-xx-ignition-systemd-cryptsetup.rules"

// disks is the set that package guest expects (wantDisks there).
func disks() []Disk {
	var out []Disk
	for i := range 8 {
		d := Disk{MiB: 1024, Serial: fmt.Sprintf("ignition-test-%d", i)}
		if i >= 6 {
			d.Sector = 4096
		}
		out = append(out, d)
	}
	return out
}

func needGate(t *testing.T) {
	t.Helper()
	if os.Getenv("VM") == "" {
		t.Skip("boots a machine in software emulation; `make test-vm` does (VM=1)")
	}
}

// TestGuest boots a machine, runs the tests of package guest in it and gives
// each of them back as a subtest.
func TestGuest(t *testing.T) {
	needGate(t)
	m := Machine{Disks: disks(), TPM: true, Dir: runDir(t), Timeout: timeLeft(t), Files: map[string]string{}}
	m.Files["/etc/udev/rules.d/"+filepath.Base(ruleFile)] = mustRead(t, filepath.Join("../..", ruleFile))
	if _, err := lookHost(m, "/"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(m.Out(), 0o755); err != nil {
		t.Fatal(err)
	}
	build(t, "test", "-c", "-o", filepath.Join(m.Out(), "guest.test"), "./guest")
	build(t, "build", "-trimpath", "-ldflags", "-X firstboot.dev/ignition/internal/distro.Version=2.27.0",
		"-o", filepath.Join(m.Out(), "ignition"), "../../cmd/ignition")

	events, wait := startGuest(t, m)
	r := newReplay()
	r.run(subtest{t}, events)
	res, err := wait()
	switch {
	case err != nil:
		t.Error(err)
	case res.Status != 0 && !t.Failed():
		t.Errorf("the tests in the guest ended with status %d", res.Status)
	}
	table := fmt.Sprintf("\n%7.2f s  boot\n%7.2f s  from power-on to power-off\n%s", res.Boot.Seconds(), res.Wall.Seconds(), r.table())
	t.Log(table)
	if err := os.WriteFile("../../bin/vm/times.txt", []byte(table), 0o644); err != nil {
		t.Error(err)
	}
}

// startGuest runs the tests in the guest; events are what they say, as it comes.
func startGuest(t *testing.T, m Machine) (events <-chan event, wait func() (Result, error)) {
	t.Helper()
	dir, err := filepath.Abs("guest")
	if err != nil {
		t.Fatal(err)
	}
	run := os.Getenv("VM_RUN")
	c := Command{
		// From the shared folder every start of a program would read it anew.
		Args: []string{"sh", "-c", `cp /out/guest.test /run/ && cp /out/ignition /run/ignition-binary && exec /run/guest.test "$@"`, "sh", "-test.v=test2json", "-test.run=" + run, "-test.timeout=" + (m.Timeout - time.Minute).String()},
		Env:  []string{"IGNITION_BINARY=/run/ignition-binary", "VM_ALL=" + os.Getenv("VM_ALL"), "VM_SOAK=" + os.Getenv("VM_SOAK"), "VM_BENCH=" + os.Getenv("VM_BENCH")},
		Dir:  dir,
	}
	convert := exec.Command("go", "tool", "test2json", "-t")
	in, err := convert.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := convert.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	convert.Stderr = os.Stderr
	if err := convert.Start(); err != nil {
		t.Fatal(err)
	}
	c.Output = in
	type outcome struct {
		res Result
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		res, err := Run(context.Background(), m, c)
		done <- outcome{res, errors.Join(err, in.Close())}
	}()
	return readEvents(out), func() (Result, error) {
		o := <-done
		return o.res, errors.Join(o.err, convert.Wait())
	}
}

// runDir is a folder below bin/vm that stays when the test fails.
func runDir(t *testing.T) string {
	t.Helper()
	parent, err := filepath.Abs("../../bin/vm")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(parent, "run-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() || os.Getenv("VM_KEEP") != "" {
			t.Logf("logs of the guest are in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	return dir
}

// timeLeft leaves go test some time to say what was wrong.
func timeLeft(t *testing.T) time.Duration {
	t.Helper()
	deadline, ok := t.Deadline()
	if !ok {
		return time.Hour
	}
	return time.Until(deadline) - 30*time.Second
}

func build(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func mustRead(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestRun checks the harness itself: status and output come back, extra files are there.
func TestRun(t *testing.T) {
	needGate(t)
	if os.Getenv("VM_ALL") == "" {
		t.Skip("slow: runs with `make test-vm-all`")
	}
	var out bytes.Buffer
	m := Machine{Dir: t.TempDir(), Timeout: time.Minute, Files: map[string]string{"/etc/extra/file": "it's here\n"}}
	res, err := Run(t.Context(), m, Command{
		Args: []string{"bash", "-c", `cat /etc/extra/file; echo "$A $1 $PWD" >&2; echo kept >/out/file; exit 3`, "bash", "it's $B"},
		Env:  []string{"A=a 'b"}, Dir: "/usr", Output: &out,
	})
	if err != nil || res.Status != 3 {
		t.Errorf("status %d, %v; want 3", res.Status, err)
	}
	if want := "it's here\na 'b it's $B /usr\n"; out.String() != want {
		t.Errorf("output %q, want %q", out.String(), want)
	}
	if got := mustRead(t, filepath.Join(m.Out(), "file")); got != "kept\n" {
		t.Errorf("the file left in /out holds %q", got)
	}
}

// TestRunHangs: a guest that does not end is ended, and the error shows its last words.
func TestRunHangs(t *testing.T) {
	needGate(t)
	m := Machine{Dir: t.TempDir(), Timeout: 4 * time.Second}
	start := time.Now()
	_, err := Run(t.Context(), m, Command{Args: []string{"sleep", "1000"}, Output: &bytes.Buffer{}})
	if err == nil || !strings.Contains(err.Error(), "not finished after 4s") || !strings.Contains(err.Error(), "console.log") {
		t.Errorf("error %v, want one that says how long and where the console log is", err)
	}
	if took := time.Since(start); took > 15*time.Second {
		t.Errorf("it took %v to end the guest", took)
	}
}

func TestLookHost(t *testing.T) {
	root := t.TempDir()
	touch := func(names ...string) {
		for _, n := range names {
			n = filepath.Join(root, n)
			if err := errors.Join(os.MkdirAll(filepath.Dir(n), 0o755), os.WriteFile(n, nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
	}
	touch("usr/bin/qemu-system-x86_64", "bin/busybox", "sbin/modprobe", "usr/lib/systemd/systemd", "usr/lib/systemd/systemd-udevd", "sbin/ip")
	var missing *MissingError
	if _, err := lookHost(Machine{TPM: true}, root); !errors.As(err, &missing) ||
		!slices.Equal(missing.Packages, []string{"qemu-system-common", "swtpm", "linux-image-cloud-amd64"}) {
		t.Errorf("error %v, want one with the three packages that are missing", err)
	}
	touch("usr/lib/qemu/virtiofsd", "boot/vmlinuz-6.1.0-9-cloud-amd64", "boot/vmlinuz-6.1.0-10-cloud-amd64", "boot/vmlinuz-6.9.0-1-amd64")
	h, err := lookHost(Machine{}, root)
	if err != nil || h.release != "6.1.0-10-cloud-amd64" || h.busybox != "/bin/busybox" {
		t.Errorf("host %+v, %v; want the newest cloud kernel", h, err)
	}
}

func TestCompareVersions(t *testing.T) {
	got := []string{"/boot/vmlinuz-6.1.0-56-cloud-amd64", "/boot/vmlinuz-6.12.9+deb13-cloud-amd64", "/boot/vmlinuz-6.1.0-9-cloud-amd64"}
	slices.SortFunc(got, compareVersions)
	want := []string{"/boot/vmlinuz-6.1.0-9-cloud-amd64", "/boot/vmlinuz-6.1.0-56-cloud-amd64", "/boot/vmlinuz-6.12.9+deb13-cloud-amd64"}
	if !slices.Equal(got, want) {
		t.Errorf("sorted as %v, want %v", got, want)
	}
}

func TestScript(t *testing.T) {
	rows := []struct {
		name string
		c    Command
		want string
	}{
		{"plain", Command{Args: []string{"true"}}, "cd '/' || exit 125\nexec env 'true'\n"},
		{"all", Command{Args: []string{"a b", "", "it's"}, Env: []string{"X=$Y"}, Dir: "/d e"},
			"cd '/d e' || exit 125\nexec env 'X=$Y' 'a b' '' 'it'\\''s'\n"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if got := row.c.script(); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// TestArchive reads the archive back with cpio.
func TestArchive(t *testing.T) {
	cpio, err := exec.LookPath("cpio")
	if err != nil {
		t.Skip("cpio is not installed")
	}
	a := newArchive()
	a.file("a/b/plain", []byte("12345"))
	a.file("a/run", []byte("#!/bin/sh\n"))
	if err := a.embedded(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(cpio, "-i", "--quiet", "--no-absolute-filenames")
	cmd.Dir = t.TempDir()
	cmd.Stdin = bytes.NewReader(a.bytes())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cpio: %v\n%s", err, out)
	}
	if got := mustRead(t, filepath.Join(cmd.Dir, "a/b/plain")); got != "12345" {
		t.Errorf("a/b/plain holds %q", got)
	}
	for name, want := range map[string]os.FileMode{"a/run": 0o755, "a/b/plain": 0o644, "init": 0o755, "skel/etc/systemd/system/ignition-test.service": 0o644} {
		info, err := os.Stat(filepath.Join(cmd.Dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want %v", name, info, err, want)
		}
	}
}
