// SPDX-License-Identifier: Apache-2.0

package block

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// Part is a partition in the kernel's view. Start and Size are in 512-byte
// sectors, whatever the disk's own are. Start is -1 for a partition map of the
// device mapper, whose table only dmsetup tells.
type Part struct {
	Node
	Start   int64 `json:"start,omitempty"`
	Sectors int64 `json:"sectors,omitempty"`
}

// partsByNumber is for sort.Sort, which, unlike slices.SortFunc, is not compiled anew for each type: 20 KiB.
type partsByNumber []Part

func (p partsByNumber) Len() int           { return len(p) }
func (p partsByNumber) Less(i, j int) bool { return p[i].Number < p[j].Number }
func (p partsByNumber) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }

// Parts lists the partitions of a disk that the kernel knows, by number.
func (h *Host) Parts(disk Node) ([]Part, error) {
	dir := h.class(disk.Name)
	if disk.DMName != "" {
		dir = filepath.Join(dir, "holders")
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing the partitions of %q: %w", disk.Path, err)
	}
	var parts []Part
	for _, e := range entries {
		p, ok, err := h.part(disk, e.Name())
		if err != nil {
			return nil, fmt.Errorf("listing the partitions of %q: %w", disk.Path, err)
		}
		if ok {
			parts = append(parts, p)
		}
	}
	sort.Sort(partsByNumber(parts))
	return parts, nil
}

// part describes an entry of a disk's directory in sysfs, if it is a partition.
func (h *Host) part(disk Node, name string) (Part, bool, error) {
	p := Part{Node: Node{Path: "/dev/" + strings.ReplaceAll(name, "!", "/"), Name: name, SectorSize: disk.SectorSize, Parent: disk.Name}, Start: -1}
	if disk.DMName != "" {
		p.Number = h.mapNumber(disk, name)
		p.DMName = readText(filepath.Join(h.class(name), "dm", "name"))
		p.DMUUID = readText(filepath.Join(h.class(name), "dm", "uuid"))
	} else {
		if !strings.HasPrefix(name, disk.Name) {
			return Part{}, false, nil
		}
		number, err := readInt(filepath.Join(h.class(disk.Name), name, "partition"))
		if err != nil {
			return Part{}, false, nil // queue, slaves and the like have no number
		}
		p.Number = int(number)
		if p.Start, err = readInt(filepath.Join(h.class(disk.Name), name, "start")); err != nil {
			return Part{}, false, err
		}
	}
	if p.Number == 0 {
		return Part{}, false, nil
	}
	var err error
	if p.Sectors, err = readInt(filepath.Join(h.class(name), "size")); err != nil {
		return Part{}, false, err
	}
	p.Size = p.Sectors * 512
	return p, true, nil
}

// PartPath is the node of a partition: /dev/vda1, /dev/nvme0n1p1, or the link
// of a device mapper disk's partition map.
func (h *Host) PartPath(disk Node, number int) string {
	if disk.DMName == "" {
		infix := ""
		if last := disk.Path[len(disk.Path)-1]; last >= '0' && last <= '9' {
			infix = "p"
		}
		return disk.Path + infix + strconv.Itoa(number)
	}
	parts, _ := h.Parts(disk)
	for _, p := range parts {
		if p.Number == number {
			return p.Path
		}
	}
	return fmt.Sprintf("/dev/disk/by-id/dm-name-%sp%d", disk.DMName, number)
}

// Kernel tells the kernel of one change of a disk's partitions, by partx:
// action is delete, update or add. It does not fail: udev or the kernel may
// have been faster, and what counts is verified afterwards.
func (h *Host) Kernel(ctx context.Context, log *oplog.Logger, disk Node, alias, action string, number int) {
	log.Info("triggering partition %d %s on %q", number, action, alias)
	_, err := h.Runner.RunIn(ctx, log, exec.Cmd{
		Name: h.Programs.Partx,
		Args: []string{"--" + action, "--nr", strconv.Itoa(number), disk.Path},
	})
	if err != nil && !errors.Is(err, exec.ErrNotFound) {
		log.Notice("%v", err)
	}
}

// CheckGone verifies that the kernel has no partition of that number.
func (h *Host) CheckGone(disk Node, number int) error {
	path := h.PartPath(disk, number)
	_, err := os.Stat(h.root + path)
	switch {
	case err == nil:
		return fmt.Errorf("%q unexpectedly exists after partitioning", path)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("failed to stat %q after partitioning: %w", path, err)
}

// CheckPart verifies that the kernel has a partition where the table has it.
// start and size are in the disk's own sectors.
func (h *Host) CheckPart(ctx context.Context, log *oplog.Logger, disk Node, number int, start, size int64) error {
	path := h.PartPath(disk, number)
	gotStart, gotSize, err := h.kernelGeometry(ctx, log, disk, path)
	if err != nil {
		return err
	}
	unit := disk.SectorSize / 512
	for _, c := range []struct {
		what      string
		got, want int64
	}{{"start", gotStart, start * unit}, {"size", gotSize, size * unit}} {
		if c.got != c.want {
			return fmt.Errorf("kernel partition %s for %q does not match expected (%d != %d 512-byte sectors)", c.what, path, c.got, c.want)
		}
	}
	return nil
}

// kernelGeometry gives start and size of a partition in 512-byte sectors.
func (h *Host) kernelGeometry(ctx context.Context, log *oplog.Logger, disk Node, path string) (start, size int64, err error) {
	real, err := h.Resolve(path)
	if err != nil {
		return 0, 0, fmt.Errorf("failed to resolve %q: %w", path, err)
	}
	if disk.DMName != "" {
		return h.mapGeometry(ctx, log, path)
	}
	dir := h.class(filepath.Base(real))
	if start, err = readInt(filepath.Join(dir, "start")); err != nil {
		return 0, 0, fmt.Errorf("failed to read start of %q from sysfs: %w", path, err)
	}
	if size, err = readInt(filepath.Join(dir, "size")); err != nil {
		return 0, 0, fmt.Errorf("failed to read size of %q from sysfs: %w", path, err)
	}
	return start, size, nil
}

// mapGeometry reads the table of a partition map: `0 SIZE linear MAJ:MIN START`.
func (h *Host) mapGeometry(ctx context.Context, log *oplog.Logger, path string) (start, size int64, err error) {
	res, err := h.Runner.RunIn(ctx, log, exec.Cmd{Name: h.Programs.Dmsetup, Args: []string{"table", path}})
	if err != nil {
		return 0, 0, fmt.Errorf("failed to get DM table for %q: %w", path, err)
	}
	out := strings.TrimSpace(string(res.Stdout))
	line, _, _ := strings.Cut(out, "\n")
	f := strings.Fields(line)
	if len(f) == 5 && f[0] == "0" && f[2] == "linear" {
		var err1, err2 error
		size, err1 = strconv.ParseInt(f[1], 10, 64)
		start, err2 = strconv.ParseInt(f[4], 10, 64)
		if err1 == nil && err2 == nil {
			return start, size, nil
		}
	}
	return 0, 0, fmt.Errorf("failed to get DM table for %q: unexpected dmsetup table output for %q: %q", path, path, out)
}
