// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bufio"
	"cmp"
	"context"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// bootFiles are what makes the shared root of the host a guest: the first
// program, and files that are laid over the root.
//
//go:embed init skel
var bootFiles embed.FS

// bootModules are needed to reach the shared root, the disks and the output
// port. Everything else is loaded by its user from the shared root.
var bootModules = []string{"virtio_pci", "virtiofs", "overlay", "virtio_blk", "virtio_console"}

const commandFile = "/usr/lib/ignition-test/command"

// writeInitramfs makes the file that QEMU hands to the kernel beside it.
func writeInitramfs(ctx context.Context, name string, h host, files map[string]string) error {
	modules, err := modulePaths(ctx, h)
	if err != nil {
		return err
	}
	a := newArchive()
	for _, dir := range []string{"bin", "lib", "proc", "sys", "dev", "ro", "rw", "new", "skel"} {
		a.dir(dir)
	}
	var order strings.Builder
	for _, m := range modules {
		fmt.Fprintln(&order, path.Base(m))
		if err := a.copy("lib/"+path.Base(m), m); err != nil {
			return err
		}
	}
	a.file("lib/order", []byte(order.String()))
	if err := a.copy("bin/busybox", h.busybox); err != nil {
		return err
	}
	if err := a.embedded(); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		a.file("skel"+name, []byte(files[name]))
	}
	return os.WriteFile(name, a.bytes(), 0o600)
}

// modulePaths asks modprobe for files in the order in which they can be loaded.
func modulePaths(ctx context.Context, h host) ([]string, error) {
	var out []string
	for _, m := range bootModules {
		cmd := exec.CommandContext(ctx, h.modprobe, "-S", h.release, "--show-depends", m)
		text, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("module %s of kernel %s: %w", m, h.release, err)
		}
		lines := bufio.NewScanner(strings.NewReader(string(text)))
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			if len(f) >= 2 && f[0] == "insmod" && !slices.Contains(out, f[1]) {
				out = append(out, f[1])
			}
		}
	}
	return out, nil
}

// archive is a cpio in the "newc" form that the kernel reads.
type archive struct {
	buf  strings.Builder
	seen map[string]bool
}

func newArchive() *archive { return &archive{seen: map[string]bool{}} }

func (a *archive) entry(name string, mode uint32, data []byte) {
	fmt.Fprintf(&a.buf, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X",
		len(a.seen)+1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	a.buf.WriteString(name)
	a.buf.WriteByte(0)
	a.pad()
	a.buf.Write(data)
	a.pad()
	a.seen[name] = true
}

// pad fills up to a multiple of four.
func (a *archive) pad() {
	for a.buf.Len()%4 != 0 {
		a.buf.WriteByte(0)
	}
}

// dir adds a directory with its parents, once.
func (a *archive) dir(name string) {
	if name == "." || a.seen[name] {
		return
	}
	a.dir(path.Dir(name))
	a.entry(name, 0o040755, nil)
}

func (a *archive) file(name string, data []byte) {
	a.dir(path.Dir(name))
	mode := uint32(0o100644)
	if s := string(data[:min(4, len(data))]); strings.HasPrefix(s, "#!") || s == "\x7fELF" {
		mode = 0o100755
	}
	a.entry(name, mode, data)
}

func (a *archive) copy(name, from string) error {
	data, err := os.ReadFile(filepath.Clean(from))
	if err == nil {
		a.file(name, data)
	}
	return err
}

func (a *archive) embedded() error {
	return fs.WalkDir(bootFiles, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := bootFiles.ReadFile(name)
		if err == nil {
			a.file(name, data)
		}
		return err
	})
}

func (a *archive) bytes() []byte {
	a.entry("TRAILER!!!", 0, nil)
	return []byte(a.buf.String())
}

// script is the shell line that runs a command.
func (c Command) script() string {
	var b strings.Builder
	fmt.Fprintf(&b, "cd %s || exit 125\n", quote(cmp.Or(c.Dir, "/")))
	io.WriteString(&b, "exec env")
	for _, word := range slices.Concat(c.Env, c.Args) {
		b.WriteByte(' ')
		b.WriteString(quote(word))
	}
	b.WriteByte('\n')
	return b.String()
}

func quote(word string) string {
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
