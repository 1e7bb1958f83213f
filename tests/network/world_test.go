// SPDX-License-Identifier: Apache-2.0

// Package network drives the built binary against real servers in network
// namespaces: web server, proxy, TFTP, DNS, object stores, a config server, a
// registry. `make test-net` runs it (NET=1) and installs the servers.
package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"firstboot.dev/ignition/tests/certs"
	"golang.org/x/sys/unix"
)

// Addresses of the two ends of the cable.
const (
	serverIP  = "192.0.2.1"
	machineIP = "192.0.2.2"
	linkLocal = "169.254.169.254"
)

// binary is the program under test.
var binary string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if os.Getenv("NET") == "" {
			return m.Run()
		}
		syscall.Umask(0o022)
		dir, err := os.MkdirTemp("", "ignition-network-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binary = filepath.Join(dir, "ignition")
		build := exec.Command("go", "build", "-trimpath", "-ldflags", "-X firstboot.dev/ignition/internal/distro.Version=2.28.0", "-o", binary, "../../cmd/ignition")
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the binary: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
}

var worlds atomic.Int32

// world is a server's and a machine's network, with a cable between them.
type world struct {
	t               *testing.T
	dir             string
	server, machine string // namespaces
	hosts, resolv   string // the machine's files
	ca              *certs.Authority
	begins          time.Time // of servers' certificates; zero = yesterday
}

// newWorld makes the namespaces. The cable is plugged in.
func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv("NET") == "" {
		t.Skip("needs servers and network namespaces; `make test-net` runs it (NET=1)")
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes network namespaces")
	}
	id := fmt.Sprintf("%d-%d", os.Getpid(), worlds.Add(1))
	w := &world{t: t, dir: t.TempDir(), server: "ign-s-" + id, machine: "ign-m-" + id, ca: certs.New(t, "test CA")}
	for _, dir := range []string{w.dir, filepath.Dir(w.dir)} { // for servers that do not run as root
		w.must(os.Chmod(dir, 0o755))
	}
	etc := filepath.Join("/etc/netns", w.machine)
	w.must(os.MkdirAll(etc, 0o755))
	w.hosts, w.resolv = filepath.Join(etc, "hosts"), filepath.Join(etc, "resolv.conf")
	w.must(os.WriteFile(w.hosts, []byte("127.0.0.1 localhost\n"), 0o644))
	w.must(os.WriteFile(w.resolv, nil, 0o644))
	t.Cleanup(func() {
		for _, ns := range []string{w.server, w.machine} {
			_ = exec.Command("ip", "netns", "del", ns).Run()
		}
		_ = os.RemoveAll(etc)
		_ = os.Remove("/etc/netns") // if it is empty
	})
	for _, ns := range []string{w.server, w.machine} {
		w.ip("netns", "add", ns)
		w.ip("-n", ns, "link", "set", "lo", "up")
	}
	w.ip("-n", w.server, "link", "add", "cable", "type", "veth", "peer", "name", "eth0", "netns", w.machine)
	w.ip("-n", w.server, "address", "add", serverIP+"/24", "dev", "cable")
	w.ip("-n", w.server, "address", "add", linkLocal+"/32", "dev", "cable")
	w.ip("-n", w.machine, "address", "add", machineIP+"/24", "dev", "eth0")
	w.ip("-n", w.server, "link", "set", "cable", "up")
	w.plug(true)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ip(args ...string) string {
	w.t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		w.t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// plug plugs the cable in or out.
func (w *world) plug(in bool) {
	w.t.Helper()
	if !in {
		w.ip("-n", w.machine, "link", "set", "eth0", "down")
		return
	}
	w.ip("-n", w.machine, "link", "set", "eth0", "up")
	w.ip("-n", w.machine, "route", "replace", "default", "via", serverIP)
}

// packets tells how many packets the machine has sent over the cable and over its loopback.
func (w *world) packets() (n int64) {
	w.t.Helper()
	out, err := exec.Command("ip", "netns", "exec", w.machine, "cat", "/proc/net/dev").Output()
	w.must(err)
	for line := range strings.Lines(string(out)) {
		name, rest, ok := strings.Cut(line, ":")
		f := strings.Fields(rest)
		if !ok || len(f) < 10 {
			continue
		}
		if strings.TrimSpace(name) == "eth0" || strings.TrimSpace(name) == "lo" {
			var sent int64
			_, err := fmt.Sscan(f[9], &sent)
			w.must(err)
			n += sent
		}
	}
	return n
}

// name lets the machine find a host at the server.
func (w *world) name(hosts ...string) {
	w.t.Helper()
	f, err := os.OpenFile(w.hosts, os.O_APPEND|os.O_WRONLY, 0)
	w.must(err)
	_, err = fmt.Fprintf(f, "%s %s\n", serverIP, strings.Join(hosts, " "))
	w.must(errors.Join(err, f.Close()))
}

// inside runs a function on a thread that is in a namespace.
func inside(namespace string, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		ns, err := os.Open(filepath.Join("/run/netns", namespace))
		if err != nil {
			done <- err
			return
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// listen opens a port of the server.
func (w *world) listen(addr string) net.Listener {
	w.t.Helper()
	var l net.Listener
	w.must(inside(w.server, func() (err error) {
		l, err = net.Listen("tcp", addr)
		return err
	}))
	w.t.Cleanup(func() { l.Close() })
	return l
}

// serve runs a handler at an address of the server.
func (w *world) serve(addr string, h http.Handler) {
	w.t.Helper()
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	l := w.listen(addr)
	go func() { _ = s.Serve(l) }()
	w.t.Cleanup(func() { _ = s.Close() })
}

// daemon starts a program at the server and waits until a port answers ("" = it does not wait).
func (w *world) daemon(port string, env []string, args ...string) {
	w.t.Helper()
	cmd := exec.Command("ip", append([]string{"netns", "exec", w.server}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	w.must(cmd.Start())
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	w.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if w.t.Failed() {
			w.t.Logf("%s said:\n%s", args[0], out.String())
		}
	})
	if port == "" {
		return
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := inside(w.server, func() error {
			c, err := net.DialTimeout("tcp", net.JoinHostPort(serverIP, port), time.Second)
			if err == nil {
				c.Close()
			}
			return err
		})
		if err == nil {
			return
		}
		select {
		case <-ended:
			w.t.Fatalf("%s ended:\n%s", args[0], out.String())
		default:
		}
		if time.Now().After(end) {
			w.t.Fatalf("%s does not answer at port %s: %v\n%s", args[0], port, err, out.String())
		}
	}
}

// write makes a file below the world's folder.
func (w *world) write(name, text string) string {
	w.t.Helper()
	p := filepath.Join(w.dir, name)
	w.must(os.MkdirAll(filepath.Dir(p), 0o755))
	w.must(os.WriteFile(p, []byte(text), 0o644))
	return p
}

// result is what a run left.
type result struct {
	code int
	log  string
	wall time.Duration
	rss  int64 // bytes at most in memory
}

// stage runs one stage of the program in the machine's network.
func (w *world) stage(platform, stage string, env ...string) result {
	w.t.Helper()
	root := filepath.Join(w.dir, "sysroot")
	w.must(os.MkdirAll(filepath.Join(root, "etc"), 0o755))
	w.must(os.MkdirAll(filepath.Join(w.dir, "run"), 0o755))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ip", "netns", "exec", w.machine, binary,
		"--platform="+platform, "--stage="+stage, "--root="+root, "--log-to-stdout",
		"--config-cache="+filepath.Join(w.dir, "run/ignition.json"), "--state-file="+filepath.Join(w.dir, "run/state"), "--neednet="+filepath.Join(w.dir, "run/neednet"))
	cmd.Env = append([]string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "IGNITION_CONFIG_FILE=" + filepath.Join(w.dir, "config.ign"),
		"IGNITION_KERNEL_CMDLINE_PATH=" + filepath.Join(w.dir, "cmdline"), "IGNITION_SYSTEM_CONFIG_DIR=" + filepath.Join(w.dir, "none"),
		"IGNITION_SYSTEM_LOCAL_CONFIG_DIR=" + filepath.Join(w.dir, "none"), "IGNITION_SYSTEM_RUNTIME_CONFIG_DIR=" + filepath.Join(w.dir, "none"),
		"SSL_CERT_FILE=" + w.write("ca.pem", w.ca.PEM),
	}, env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	start := time.Now()
	w.must(cmd.Start())
	stop := make(chan struct{})
	peak := make(chan int64, 1)
	go func() { peak <- watchMemory(cmd.Process.Pid, stop) }()
	err := cmd.Wait()
	close(stop)
	r := result{log: out.String(), wall: time.Since(start), rss: <-peak}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		r.code = exit.ExitCode()
	case err != nil:
		w.t.Fatal(err)
	}
	return r
}

// watchMemory gives the most memory that a process has had until stop. What
// wait tells of a child counts this process's memory before the exec.
func watchMemory(pid int, stop chan struct{}) (peak int64) {
	for {
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if _, rest, ok := strings.Cut(string(raw), "VmHWM:"); ok && exe == binary {
			var kib int64
			if _, err := fmt.Sscan(rest, &kib); err == nil {
				peak = max(peak, kib<<10)
			}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-stop:
			return peak
		}
	}
}

// provision runs a config of platform file to the end, with fetch and files.
func (w *world) provision(config string) result {
	w.t.Helper()
	w.write("config.ign", config)
	if _, err := os.Stat(filepath.Join(w.dir, "cmdline")); err != nil {
		w.write("cmdline", "")
	}
	first := w.stage("file", "fetch")
	if first.code != 0 {
		return first
	}
	second := w.stage("file", "files")
	second.log = first.log + second.log
	second.wall += first.wall
	return second
}

// want fails the test unless a run ended well.
func (r result) want(t *testing.T) {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("exit code %d\n%s", r.code, r.log)
	}
}

// wantFailure fails the test unless a run ended with this in its log.
func (r result) wantFailure(t *testing.T, text string) {
	t.Helper()
	if r.code != 1 || !strings.Contains(r.log, text) {
		t.Fatalf("exit code %d, want 1 and %q in the log\n%s", r.code, text, r.log)
	}
}

// file reads what was provisioned.
func (w *world) file(name string) string {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.dir, "sysroot", name))
	w.must(err)
	return string(raw)
}
