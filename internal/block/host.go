// SPDX-License-Identifier: Apache-2.0

package block

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/exec"
	"golang.org/x/sys/unix"
)

// Host is the machine whose devices are looked at.
type Host struct {
	Runner   *exec.Runner
	AliasDir string   // where Alias makes its links
	Programs Programs // names of the helper programs
	ReadOnly bool     // devices go by their own names, and no links are made

	root string // tests put trees of their own in the place of /sys, /proc and /dev
}

// Programs names the helper programs.
type Programs struct {
	Partx, Dmsetup, Udevadm, Blkid, Wipefs string
}

// Node is one block device as the kernel knows it.
type Node struct {
	Path       string `json:"path,omitempty"`       // /dev/vda1
	Name       string `json:"name,omitempty"`       // vda1
	Size       int64  `json:"size,omitempty"`       // bytes
	SectorSize int64  `json:"sectorSize,omitempty"` // logical, bytes
	Parent     string `json:"parent,omitempty"`     // name of the disk that this is a partition of; "" for a disk
	Number     int    `json:"number,omitempty"`     // of the partition
	DMName     string `json:"dmName,omitempty"`     // of the device mapper; "" for other devices
	DMUUID     string `json:"dmUuid,omitempty"`
}

// Resolve follows a path, as it is in a config or among the aliases, to the
// kernel's node.
func (h *Host) Resolve(device string) (string, error) {
	p, err := filepath.EvalSymlinks(h.root + device)
	if err != nil {
		return "", err
	}
	return strings.TrimPrefix(p, h.root), nil
}

// Exists tells whether there is something at a device path.
func (h *Host) Exists(device string) bool {
	_, err := os.Stat(h.root + device)
	return err == nil
}

var errNotBlock = errors.New("not a block device")

// Look describes the device at a path.
func (h *Host) Look(device string) (Node, error) {
	p, err := h.Resolve(device)
	if err != nil {
		return Node{}, err
	}
	n := Node{Path: p, Name: filepath.Base(p)}
	dir := h.class(n.Name)
	sectors, err := readInt(filepath.Join(dir, "size"))
	if errors.Is(err, fs.ErrNotExist) {
		return Node{}, fmt.Errorf("%s: %w", p, errNotBlock)
	}
	if err != nil {
		return Node{}, err
	}
	n.Size = sectors * 512
	if number, err := readInt(filepath.Join(dir, "partition")); err == nil {
		n.Number = int(number)
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			n.Parent = filepath.Base(filepath.Dir(real))
		}
	}
	queue := dir
	if n.Parent != "" {
		queue = h.class(n.Parent)
	}
	if n.SectorSize, err = readInt(filepath.Join(queue, "queue", "logical_block_size")); err != nil {
		return Node{}, fmt.Errorf("getting sector size of %q: %w", p, err)
	}
	if n.SectorSize <= 0 || n.SectorSize%512 != 0 {
		return Node{}, fmt.Errorf("getting sector size of %q: logical sector size is not a multiple of 512", p)
	}
	n.DMName = readText(filepath.Join(dir, "dm", "name"))
	n.DMUUID = readText(filepath.Join(dir, "dm", "uuid"))
	return n, nil
}

// Crypt tells whether a device is an open LUKS volume, and on which device it is.
func (h *Host) Crypt(n Node) (luks bool, on string) {
	slaves, _ := os.ReadDir(filepath.Join(h.class(n.Name), "slaves"))
	if len(slaves) > 0 {
		on = slaves[0].Name()
	}
	return strings.HasPrefix(n.DMUUID, "CRYPT-LUKS"), on
}

// class is a device's directory in sysfs.
func (h *Host) class(name string) string {
	return filepath.Join(h.root, "/sys/class/block", strings.ReplaceAll(name, "/", "!"))
}

// number gives major and minor number of a device node, as "254:16"; "" if there is none.
func (h *Host) number(path string) string {
	if h.root != "" { // trees of tests hold plain files; the number is what they say
		return readText(filepath.Join(h.class(filepath.Base(path)), "dev"))
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return ""
	}
	return fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
}

// ReadTable reads the partition table of a disk.
func (h *Host) ReadTable(n Node) (Table, error) {
	f, err := os.Open(h.root + n.Path)
	if err != nil {
		return Table{}, err
	}
	defer f.Close()
	return ReadTable(f, n.Size, n.SectorSize)
}

// RereadTable reads the table of a disk as it is on the medium, past what the
// kernel remembers: sgdisk takes no notice of writes that did not arrive there.
func (h *Host) RereadTable(n Node) (Table, error) {
	f, err := os.Open(h.root + n.Path)
	if err != nil {
		return Table{}, err
	}
	defer f.Close()
	if err := unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0); err != nil && !errors.Is(err, unix.ENOTTY) { // ENOTTY: a plain file
		return Table{}, fmt.Errorf("flushing %q: %w", n.Path, err)
	}
	return ReadTable(f, n.Size, n.SectorSize)
}

func readText(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

func readInt(path string) (int64, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(raw)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}
