// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Machine is the hardware around a disk.
type Machine struct {
	Disk      *Disk
	More      []string          // further disks: files, in the order /dev/vdb, /dev/vdc, ...
	Sockets   []string          // of disks that are served (Volatile), in the place of their files
	MemoryMiB int               // default 1536
	FwCfg     map[string]string // firmware configuration: content by name
	Metadata  string            // host:port of what the guest finds at http://169.254.169.254
	NoNetwork bool              // no network card at all
	IdleCard  bool              // a second card, which comes first and never has a link
	// NetworkOptions are more options of QEMU's user network, e.g. ",ipv4=off".
	NetworkOptions string
	LinkDown       bool   // the card has no link until Link is called
	TPM            string // folder of the state of a TPM 2.0; "" = no TPM
	Append         string // kernel arguments; without firmware and boot loader then
	Dir            string // for logs
	Name           string // of this run, in the names of its logs
}

// Guest is a machine that runs.
type Guest struct {
	t       *testing.T
	cmd     *exec.Cmd
	console string // its log
	input   io.WriteCloser
	ssh     int
	monitor string // socket
	helpers []*exec.Cmd
	done    chan error

	began   time.Time
	partial []byte // the last line, as far as it is there

	mu    sync.Mutex
	text  []byte
	read  int // how far Wait has read
	more  *sync.Cond
	ended bool
}

// Start switches the machine on. It is off at the latest when the test ends.
func (m Machine) Start(t *testing.T) *Guest {
	t.Helper()
	g := &Guest{t: t, console: filepath.Join(m.Dir, m.Name+".console"), done: make(chan error, 1), began: time.Now()}
	g.more = sync.NewCond(&g.mu)
	args, err := m.args(g)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.start(args, filepath.Join(m.Dir, m.Name+".qemu")); err != nil {
		t.Fatal(err)
	}
	if m.LinkDown {
		g.Link("card", false)
	}
	if m.IdleCard {
		g.Link("idle", false)
	}
	t.Cleanup(func() {
		g.Kill()
		if t.Failed() {
			t.Logf("%s: last lines of %s:\n%s", m.Name, g.console, g.tail(40))
		}
	})
	return g
}

func (m Machine) args(g *Guest) ([]string, error) {
	memory := m.MemoryMiB
	if memory == 0 {
		memory = 1536
	}
	args := []string{
		"-accel", "tcg,thread=multi", "-cpu", "Nehalem,+aes,+pclmulqdq,+rdrand", "-smp", "2", "-M", "q35,hpet=off",
		"-nodefaults", "-display", "none", "-m", strconv.Itoa(memory),
		"-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console",
	}
	run, err := os.MkdirTemp("", "ignition-boot-") // a socket's path has to be short
	if err != nil {
		return nil, err
	}
	g.t.Cleanup(func() { _ = os.RemoveAll(run) })
	g.monitor = filepath.Join(run, "monitor")
	args = append(args, "-monitor", "unix:"+g.monitor+",server=on,wait=off")
	if m.Append == "" {
		vars := filepath.Join(m.Dir, "firmware-vars")
		if _, err := os.Stat(vars); err != nil {
			if err := copySparse("/usr/share/OVMF/OVMF_VARS_4M.fd", vars); err != nil {
				return nil, err
			}
		}
		args = append(args, "-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd", "-drive", "if=pflash,format=raw,file="+vars)
	} else {
		dir := m.Disk.image.Dir
		args = append(args, "-kernel", filepath.Join(dir, "vmlinuz"), "-initrd", filepath.Join(dir, "initrd.img"), "-append", m.Append)
	}
	for i, d := range append([]string{m.Disk.Path}, m.More...) {
		drive := fmt.Sprintf("file=%s,format=raw,if=none,id=d%d,discard=unmap,cache=unsafe", d, i)
		if i < len(m.Sockets) { // flushes have to arrive there
			drive = fmt.Sprintf("file=nbd:unix:%s,format=raw,if=none,id=d%d,cache=writeback", m.Sockets[i], i)
		}
		args = append(args, "-drive", drive, "-device", fmt.Sprintf("virtio-blk-pci,drive=d%d", i))
	}
	for _, name := range slices.Sorted(maps.Keys(m.FwCfg)) {
		file := filepath.Join(m.Dir, "fw_cfg-"+strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(file, []byte(m.FwCfg[name]), 0o600); err != nil {
			return nil, err
		}
		args = append(args, "-fw_cfg", "name="+name+",file="+file)
	}
	more, err := m.network(g)
	if err != nil {
		return nil, err
	}
	args = append(args, more...)
	if m.TPM != "" {
		more, err := m.tpm(g, filepath.Join(run, "tpm"))
		if err != nil {
			return nil, err
		}
		args = append(args, more...)
	}
	port := filepath.Join(m.Dir, m.Name+".journal")
	return append(args, "-device", "virtio-serial-pci", "-chardev", "file,id=journal,path="+port,
		"-device", "virtserialport,chardev=journal,name=com.coreos.ignition.journal"), nil
}

// network is one card with DHCP, a way in for SSH, and the metadata address.
func (m Machine) network(g *Guest) ([]string, error) {
	if m.NoNetwork {
		return []string{"-nic", "none"}, nil
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g.ssh = l.Addr().(*net.TCPAddr).Port
	l.Close()
	dev := fmt.Sprintf("user,id=n,hostfwd=tcp:127.0.0.1:%d-:22%s", g.ssh, m.NetworkOptions)
	if strings.Contains(m.NetworkOptions, "ipv4=off") {
		dev = "user,id=n" + m.NetworkOptions
	}
	if m.Metadata != "" {
		relay := filepath.Join(m.Dir, "relay")
		if out, err := exec.Command("go", "build", "-o", relay, "./relay").CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building the relay: %w\n%s", err, out)
		}
		dev += fmt.Sprintf(",net=169.254.0.0/16,guestfwd=tcp:169.254.169.254:80-cmd:%s %s", relay, m.Metadata)
	}
	var idle []string
	if m.IdleCard {
		idle = []string{"-netdev", "hubport,id=h,hubid=0", "-device", "virtio-net-pci,netdev=h,id=idle,addr=0xf,romfile="}
	}
	return append(idle, "-netdev", dev, "-device", "virtio-net-pci,netdev=n,id=card,addr=0x10,romfile="), nil
}

func (m Machine) tpm(g *Guest, socket string) ([]string, error) {
	if err := os.MkdirAll(m.TPM, 0o700); err != nil {
		return nil, err
	}
	cmd := exec.Command("/usr/bin/swtpm", "socket", "--tpm2", "--tpmstate", "dir="+m.TPM, "--ctrl", "type=unixio,path="+socket, "--terminate")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	g.helpers = append(g.helpers, cmd)
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(socket); err == nil {
			break
		}
		if time.Now().After(end) {
			return nil, errors.New("swtpm made no socket in 10 s")
		}
	}
	return []string{"-chardev", "socket,id=tpm,path=" + socket, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0"}, nil
}

// start runs QEMU from a thread that stays, since its death would end QEMU.
func (g *Guest) start(args []string, logFile string) error {
	log, err := os.Create(logFile)
	if err != nil {
		return err
	}
	g.cmd = exec.Command("/usr/bin/qemu-system-x86_64", args...)
	g.cmd.Stderr = log
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if g.input, err = g.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := g.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		g.copyConsole(out)
		err = g.cmd.Wait()
		log.Close()
		g.done <- err
	}()
	return <-started
}

func (g *Guest) copyConsole(out io.Reader) {
	file, err := os.Create(g.console)
	if err != nil {
		file = nil
	}
	buf := make([]byte, 4096)
	for {
		n, err := out.Read(buf)
		if file != nil {
			_, _ = file.Write(buf[:n])
		}
		g.progress(buf[:n])
		g.mu.Lock()
		g.text = append(g.text, buf[:n]...)
		g.ended = g.ended || err != nil
		g.more.Broadcast()
		g.mu.Unlock()
		if err != nil {
			file.Close()
			return
		}
	}
}

// progress shows the steps of the boot as they come, for who asks for it.
func (g *Guest) progress(more []byte) {
	if os.Getenv("BOOT_PROGRESS") == "" {
		return
	}
	g.partial = append(g.partial, more...)
	for {
		line, rest, ok := bytes.Cut(g.partial, []byte("\n"))
		if !ok {
			return
		}
		g.partial = rest
		text := strings.TrimSpace(escapes.ReplaceAllString(string(line), ""))
		if step.MatchString(text) {
			fmt.Fprintf(os.Stderr, "%6.1f s  %s\n", time.Since(g.began).Seconds(), text)
		}
	}
}

// step are the lines of the console that tell how far a boot is.
var step = regexp.MustCompile(`^(Welcome to|\[ *(OK|FAILED) *\] (Finished|Failed) .*[iI]gni|.* login:|\[.*reboot:)|Switch Root`)

var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]|\r`)

// Console is all that the console showed, without what steers a terminal.
func (g *Guest) Console() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return string(escapes.ReplaceAll(g.text, nil))
}

func (g *Guest) tail(n int) string {
	l := strings.Split(strings.TrimSpace(g.Console()), "\n")
	return strings.Join(l[max(0, len(l)-n):], "\n")
}

// Wait waits until the console shows a match behind what was matched before,
// and gives it.
func (g *Guest) Wait(pattern string, limit time.Duration) string {
	g.t.Helper()
	re := regexp.MustCompile(pattern)
	timer := time.AfterFunc(limit, g.more.Broadcast)
	defer timer.Stop()
	end := time.Now().Add(limit)
	g.mu.Lock()
	defer g.mu.Unlock()
	for {
		if at := re.FindIndex(g.text[g.read:]); at != nil {
			out := string(g.text[g.read+at[0] : g.read+at[1]])
			g.read += at[1]
			return out
		}
		if g.ended || !time.Now().Before(end) {
			ended := g.ended
			g.mu.Unlock()
			defer g.mu.Lock()
			g.t.Fatalf("the console did not show %q in %v (machine off: %t)", pattern, limit, ended)
		}
		g.more.Wait()
	}
}

// prompt is what the shell of the image shows when it waits.
const prompt = `root@[^\n]*# $`

// Login waits for the shell on the console.
func (g *Guest) Login(limit time.Duration) {
	g.t.Helper()
	g.Wait(`login: root \(automatic login\)`, limit)
	g.Wait(prompt, limit)
	g.Type("stty -echo; dmesg -n 1; PS1=; printf '@@%s@@\\n' ready\n")
	g.Wait(`@@ready@@`, time.Minute)
}

// Type sends keys.
func (g *Guest) Type(keys string) {
	g.t.Helper()
	if _, err := io.WriteString(g.input, keys); err != nil {
		g.t.Fatal(err)
	}
}

// Run runs shell lines on the console and gives what they printed.
func (g *Guest) Run(lines string) string {
	g.t.Helper()
	out, code := g.Try(lines)
	if code != 0 {
		g.t.Fatalf("exit status %d of\n%s\nit printed\n%s", code, lines, out)
	}
	return out
}

// Try is Run that may fail. The lines go in base64 and so does their output: a
// message of the kernel in between does no harm to it.
func (g *Guest) Try(lines string) (out string, code int) {
	g.t.Helper()
	encoded := base64.StdEncoding.EncodeToString([]byte(lines))
	g.Type("f=$(mktemp)\n")
	for part := range slices.Chunk([]byte(encoded), 512) { // a line of a terminal has an end
		g.Type("echo '" + string(part) + "' >>$f\n")
	}
	g.Type("base64 -d $f >$f.sh; bash $f.sh >$f.out 2>&1 </dev/null; c=$?; echo; echo @@begin@@; base64 -w 70 $f.out; echo @@end $c@@; rm -f $f*\n")
	text := g.Wait(`(?s)@@begin@@.*@@end \d+@@`, 5*time.Minute)
	var b strings.Builder
	line := regexp.MustCompile(`^[A-Za-z0-9+/=]+$`)
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); line.MatchString(l) {
			b.WriteString(l)
		}
	}
	raw, err := base64.StdEncoding.DecodeString(b.String())
	if err != nil {
		g.t.Fatalf("the output of %q is garbled: %v\n%s", lines, err, text)
	}
	code, err = strconv.Atoi(strings.TrimSuffix(text[strings.LastIndexByte(text, ' ')+1:], "@@"))
	if err != nil {
		g.t.Fatal(err)
	}
	return strings.TrimRight(string(raw), "\n"), code
}

// SSH runs a command as a user with a private key.
func (g *Guest) SSH(user, key, command string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ssh", "-i", key, "-p", strconv.Itoa(g.ssh), "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "IdentitiesOnly=yes", "-o", "ConnectTimeout=60", "-o", "LogLevel=ERROR", user+"@127.0.0.1", command)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("ssh: %w: %s", err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// Link plugs the network cable of a card in or out.
func (g *Guest) Link(card string, up bool) {
	g.t.Helper()
	word := map[bool]string{true: "on", false: "off"}[up]
	var conn net.Conn
	var err error
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if conn, err = net.Dial("unix", g.monitor); err == nil {
			break
		}
		if time.Now().After(end) {
			g.t.Fatal(err)
		}
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "set_link %s %s\n", card, word); err != nil {
		g.t.Fatal(err)
	}
	// The command is done when the next prompt comes.
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	for text, buf := "", make([]byte, 512); strings.Count(text, "(qemu)") < 2; {
		n, err := conn.Read(buf)
		if err != nil {
			g.t.Fatalf("QEMU's monitor: %v after %q", err, text)
		}
		text += string(buf[:n])
	}
}

// Off waits until the machine has switched itself off.
func (g *Guest) Off(limit time.Duration) {
	g.t.Helper()
	select {
	case err := <-g.done:
		g.done <- err
		if err != nil {
			g.t.Fatalf("QEMU: %v", err)
		}
	case <-time.After(limit):
		g.t.Fatalf("the machine is not off after %v", limit)
	}
	g.stopHelpers()
}

// Kill takes the power away.
func (g *Guest) Kill() {
	_ = g.cmd.Process.Kill()
	err := <-g.done
	g.done <- err
	g.stopHelpers()
}

func (g *Guest) stopHelpers() {
	for _, h := range g.helpers {
		_ = h.Process.Kill()
		_ = h.Wait()
	}
	g.helpers = nil
}
