// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// host is what the machine that runs the guest has to offer.
type host struct {
	qemu, virtiofsd, swtpm, busybox, modprobe string
	kernel, release                           string
}

// MissingError lists the Debian packages that the host lacks.
type MissingError struct{ Packages []string }

func (e *MissingError) Error() string {
	return "not installed on this machine: " + strings.Join(e.Packages, " ") + " (names of Debian packages)"
}

// lookHost finds programs and kernel below a root, which is / but in tests.
// Nothing depends on PATH, which often lacks /usr/sbin.
func lookHost(m Machine, root string) (host, error) {
	var h host
	rows := []struct {
		to      *string
		pkg     string
		choices []string
	}{
		{&h.qemu, "qemu-system-x86", []string{"/usr/bin/qemu-system-x86_64"}},
		{&h.virtiofsd, "qemu-system-common", []string{"/usr/lib/qemu/virtiofsd"}},
		{&h.busybox, "busybox-static", []string{"/bin/busybox", "/usr/bin/busybox"}},
		{&h.modprobe, "kmod", []string{"/sbin/modprobe", "/usr/sbin/modprobe"}},
		{&h.swtpm, "swtpm", []string{"/usr/bin/swtpm"}},
		{new(string), "systemd", []string{"/usr/lib/systemd/systemd"}},
		{new(string), "udev", []string{"/usr/lib/systemd/systemd-udevd"}},
		{new(string), "iproute2", []string{"/sbin/ip", "/usr/sbin/ip"}},
	}
	var missing []string
	for _, row := range rows {
		if row.pkg == "swtpm" && !m.TPM {
			continue
		}
		i := slices.IndexFunc(row.choices, func(name string) bool { return exists(filepath.Join(root, name)) })
		if i < 0 {
			missing = append(missing, row.pkg)
			continue
		}
		*row.to = row.choices[i]
	}
	kernels, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*-cloud-amd64"))
	if len(kernels) == 0 {
		missing = append(missing, "linux-image-cloud-amd64")
	}
	if len(missing) > 0 {
		return host{}, &MissingError{missing}
	}
	h.kernel = slices.MaxFunc(kernels, compareVersions)
	h.release = strings.TrimPrefix(filepath.Base(h.kernel), "vmlinuz-")
	return h, nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// compareVersions orders names with numbers in them: 9 before 10.
func compareVersions(a, b string) int {
	digits := func(r rune) bool { return r < '0' || r > '9' }
	return cmp.Or(slices.CompareFunc(strings.FieldsFunc(a, digits), strings.FieldsFunc(b, digits), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	}), cmp.Compare(a, b))
}

// guest is one run of a machine: its helpers and its scratch files.
type guest struct {
	Machine
	host    host
	scratch string // short path: sockets stand here
	helpers []*exec.Cmd
	args    []string
}

// prepare makes everything that QEMU needs.
func (g *guest) prepare(ctx context.Context, c Command) error {
	var err error
	if g.scratch, err = os.MkdirTemp("", "ignition-vm-"); err != nil {
		return err
	}
	files := map[string]string{commandFile: c.script()}
	maps.Copy(files, g.Files)
	if err := writeInitramfs(ctx, g.file("initramfs"), g.host, files); err != nil {
		return err
	}
	g.args = []string{
		// KVM is not asked for: what works in emulation works everywhere. A newer
		// processor is slower to emulate: string moves go byte by byte, and its
		// vector instructions take the place of plain ones.
		"-accel", "tcg,thread=multi", "-cpu", "Nehalem,+aes,+pclmulqdq,+rdrand",
		"-smp", fmt.Sprint(g.CPUs), "-M", "q35,hpet=off", "-nodefaults",
		"-display", "none", "-monitor", "none", "-no-reboot", "-m", fmt.Sprint(g.MemoryMiB),
		"-object", fmt.Sprintf("memory-backend-memfd,id=mem,size=%dM,share=on", g.MemoryMiB), "-numa", "node,memdev=mem",
		"-kernel", g.host.kernel, "-initrd", g.file("initramfs"), "-append", kernelArguments,
		"-serial", "file:" + g.console(),
		"-device", "virtio-serial-pci", "-chardev", "stdio,id=result,signal=off", "-device", "virtserialport,chardev=result,name=result",
	}
	// The root does not change under the guest, the shared folder does.
	if err := g.share("root", "/", "always"); err != nil {
		return err
	}
	if err := g.share("out", g.Out(), "auto"); err != nil {
		return err
	}
	if g.TPM {
		if err := g.tpm(ctx); err != nil {
			return err
		}
	}
	if err := g.disks(); err != nil {
		return err
	}
	g.args = append(g.args, g.Extra...)
	return nil
}

// kernelArguments: what protects or tests itself costs much in emulation and is
// of no use here.
const kernelArguments = "console=ttyS0 loglevel=4 panic=-1 oops=panic rdinit=/init net.ifnames=0 " +
	"mitigations=off init_on_alloc=0 lsm=capability audit=0 cryptomgr.notests rcupdate.rcu_expedited=1 " +
	"clocksource=tsc tsc=reliable random.trust_cpu=on systemd.log_target=kmsg systemd.show_status=0"

func (g *guest) file(name string) string { return filepath.Join(g.scratch, name) }

// share exports a directory of the host under a tag.
func (g *guest) share(tag, dir, cache string) error {
	socket := g.file(tag + ".sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	defer l.Close()
	f, err := l.File()
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := exec.Command(g.host.virtiofsd, "--fd=3", "-o", "source="+dir, "-o", "cache="+cache, "-o", "sandbox=chroot", "--rlimit-nofile=0")
	cmd.ExtraFiles = []*os.File{f}
	if err := g.helper("virtiofsd-"+tag, cmd); err != nil {
		return err
	}
	g.args = append(g.args, "-chardev", "socket,id="+tag+",path="+socket, "-device", "vhost-user-fs-pci,chardev="+tag+",tag="+tag)
	return nil
}

// helper starts a program that serves the guest; it ends with this process at the latest.
func (g *guest) helper(name string, cmd *exec.Cmd) error {
	log, err := os.Create(filepath.Join(g.Dir, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	g.helpers = append(g.helpers, cmd)
	return nil
}

// tpm starts an emulated TPM and waits until it listens.
func (g *guest) tpm(ctx context.Context) error {
	state, socket := g.file("tpm"), g.file("tpm.sock")
	if err := os.Mkdir(state, 0o700); err != nil {
		return err
	}
	cmd := exec.Command(g.host.swtpm, "socket", "--tpm2", "--tpmstate", "dir="+state, "--ctrl", "type=unixio,path="+socket, "--terminate")
	if err := g.helper("swtpm", cmd); err != nil {
		return err
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(10 * time.Second); !exists(socket); {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("swtpm made no socket in 10 s, see %s", filepath.Join(g.Dir, "swtpm.log"))
		}
	}
	g.args = append(g.args, "-chardev", "socket,id=tpm,path="+socket, "-tpmdev", "emulator,id=tpm0,chardev=tpm", "-device", "tpm-tis,tpmdev=tpm0")
	return nil
}

func (g *guest) disks() error {
	for i, d := range g.Disks {
		name := g.file(fmt.Sprintf("disk%d", i))
		f, err := os.Create(name)
		if err != nil {
			return err
		}
		err = f.Truncate(int64(d.MiB) << 20)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		sector := cmp.Or(d.Sector, 512)
		g.args = append(g.args,
			"-drive", fmt.Sprintf("file=%s,format=raw,if=none,id=disk%d,discard=unmap,detect-zeroes=unmap,cache=unsafe", name, i),
			"-device", fmt.Sprintf("virtio-blk-pci,drive=disk%d,serial=%s,logical_block_size=%d,physical_block_size=%d", i, d.Serial, sector, sector))
	}
	return nil
}

// boot runs QEMU until the guest powers off.
func (g *guest) boot(ctx context.Context, output io.Writer) error {
	log, err := os.Create(filepath.Join(g.Dir, "qemu.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, g.host.qemu, g.args...)
	cmd.Stdout, cmd.Stderr = output, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	// At the end of its input QEMU takes the port for unplugged, and the guest waits for ever.
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	defer stdin.Close()
	if err := cmd.Run(); err != nil {
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("qemu: %w\n%s", err, lastLines(text, 10))
	}
	return nil
}

// stop ends the helpers, which mostly ended with QEMU, and removes the disks.
func (g *guest) stop() {
	for _, cmd := range g.helpers {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if g.scratch != "" {
		_ = os.RemoveAll(g.scratch)
	}
}
