// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/block"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// createPartitions goes through the disks, one after the other.
func (s *stage) createPartitions(log *oplog.Logger) error {
	for i := range s.s.Disks {
		disk := &s.s.Disks[i]
		path := fmt.Sprintf("$.storage.disks.%d", i)
		op := oplog.Op{Desc: fmt.Sprintf("partitioning %q", s.Host.Alias(disk.Device)), Kind: "partition-disk", Path: disk.Device, ConfigPath: path}
		err := log.Do(op, func(log *oplog.Logger) error {
			g, err := s.gather(log)
			if err != nil {
				return fail(path, "", err)
			}
			d, err := g.disk(disk)
			if err != nil {
				return fail(path, "look at the device: it may be broken", err)
			}
			op, err := planDisk(disk, path, d)
			if err != nil {
				return err
			}
			return s.partition(log, d, op)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// partition carries out what was decided about a disk.
func (s *stage) partition(log *oplog.Logger, d *Device, op *Partitioning) error {
	wrap := func(err error) error {
		if err == nil {
			return nil
		}
		return fail(op.at.Path, "look at the disk and at the kernel's log", err)
	}
	if op.Wipe {
		log.Info("wiping partition table requested on %q", op.Alias)
		if err := s.zap(log, op); err != nil {
			return wrap(err)
		}
	}
	for _, note := range op.notes {
		log.Info("%s", note)
	}
	if len(op.Delete)+len(op.Create) > 0 {
		if err := s.commit(log, op); err != nil {
			return wrap(fmt.Errorf("commit failure: %w", err))
		}
	}
	if op.Changes() {
		t, err := s.Host.RereadTable(d.Node)
		if err := op.arrived(t, err); err != nil {
			return wrap(fmt.Errorf("commit failure: %w", err))
		}
	}
	s.tellKernel(log, d, op)
	if err := s.Host.Sync(s.ctx, log, op.Alias); err != nil {
		return wrap(fmt.Errorf("failed to wait for udev on %q after partitioning: %w", op.Alias, err))
	}
	return wrap(s.verify(log, d, op))
}

// zap removes the old table. sgdisk fails once if it could not make sense of
// the table, which it has removed nevertheless.
func (s *stage) zap(log *oplog.Logger, op *Partitioning) error {
	try := func() error {
		args := []string{"--zap-all", op.Alias}
		log.Info("running sgdisk with options: %v", args)
		_, err := s.Runner.Logged(s.ctx, log, op.wipeOp(), exec.Cmd{Name: s.Sgdisk, Args: args})
		return err
	}
	err := try()
	if err == nil || s.ctx.Err() != nil {
		return err
	}
	log.Info("potential error encountered while wiping table... retrying")
	return try()
}

func (o *Partitioning) wipeOp() oplog.Op {
	return oplog.Op{
		Desc: fmt.Sprintf("deleting 0 partitions and creating 0 partitions on %q", o.Alias),
		Kind: "wipe-table", Path: o.at.Device, ConfigPath: o.at.Path,
	}
}

func (o *Partitioning) writeOp() oplog.Op {
	deleted := len(o.Delete)
	for _, c := range o.Create {
		if c.Replaces {
			deleted++
		}
	}
	return oplog.Op{
		Desc: fmt.Sprintf("deleting %d partitions and creating %d partitions on %q", deleted, len(o.Create), o.Alias),
		Kind: "write-table", Path: o.at.Device, ConfigPath: o.at.Path,
	}
}

// sgdiskArgs are the changes of a table, without the disk.
func (o *Partitioning) sgdiskArgs(pretend bool) []string {
	var args []string
	if o.MoveBackup {
		args = append(args, "--move-second-header")
	}
	if o.Exact {
		args = append(args, "--set-alignment=1")
	}
	for _, n := range o.Delete {
		args = append(args, fmt.Sprintf("--delete=%d", n))
	}
	for _, c := range o.Create {
		if c.Replaces {
			args = append(args, fmt.Sprintf("--delete=%d", c.Number))
		}
	}
	for _, c := range o.Create {
		args = append(args, fmt.Sprintf("--new=%d:%d:+%d", c.Number, c.Start, c.Size))
		if c.Label != nil && !pretend { // one with control characters would spoil the output that is read
			args = append(args, fmt.Sprintf("--change-name=%d:%s", c.Number, *c.Label))
		}
		if c.TypeGUID != "" {
			args = append(args, fmt.Sprintf("--typecode=%d:%s", c.Number, c.TypeGUID))
		}
		if c.GUID != "" {
			args = append(args, fmt.Sprintf("--partition-guid=%d:%s", c.Number, c.GUID))
		}
		if c.Attributes != 0 {
			args = append(args, fmt.Sprintf("--attributes=%d:=:%X", c.Number, c.Attributes))
		}
	}
	return args
}

// commit writes the table with one call of sgdisk, which writes all or nothing.
func (s *stage) commit(log *oplog.Logger, op *Partitioning) error {
	args := append(op.sgdiskArgs(false), op.Alias)
	log.Info("running sgdisk with options: %v", args)
	if _, err := s.Runner.Logged(s.ctx, log, op.writeOp(), exec.Cmd{Name: s.Sgdisk, Args: args}); err != nil {
		return fmt.Errorf("create partitions failed: %w", err)
	}
	return nil
}

// pretend lets sgdisk rehearse a commit and compares where it puts what.
func (s *stage) pretend(log *oplog.Logger, op *Partitioning) error {
	if op.pending || op.Wipe || len(op.Delete)+len(op.Create) == 0 {
		return nil // the table of a disk to wipe is not one that sgdisk could start from
	}
	args := append([]string{"--pretend"}, op.sgdiskArgs(true)...)
	for _, c := range op.Create {
		args = append(args, fmt.Sprintf("--info=%d", c.Number))
	}
	args = append(args, op.Alias)
	log.Info("running sgdisk with options: %v", args)
	res, err := s.Runner.RunIn(s.ctx, log, exec.Cmd{Name: s.Sgdisk, Args: args})
	hint := "look at the disk's table with `sgdisk --print`"
	if err != nil {
		return fail(op.at.Path, hint, fmt.Errorf("failed to pretend to create partitions. Err: %w", err))
	}
	placed, err := parseInfo(string(res.Stdout), len(op.Create))
	if err != nil {
		return fail(op.at.Path, hint, err)
	}
	for i, c := range op.Create {
		if placed[i] != [2]int64{c.Start, c.Size} {
			return fail(op.at.Path, hint, fmt.Errorf("sgdisk would put partition %d of %q at sector %d with %d sectors, not at %d with %d",
				c.Number, op.Alias, placed[i][0], placed[i][1], c.Start, c.Size))
		}
	}
	return nil
}

var errOutput = errors.New("sgdisk had unexpected output")

// sectorIn reads lines such as "First sector: 2048 (at 1024.0 KiB)".
func sectorIn(line, label string) (int64, bool) {
	rest, ok := strings.CutPrefix(line, label+" sector: ")
	number, rest, ok2 := strings.Cut(rest, " (")
	n, err := strconv.ParseInt(number, 10, 64)
	return n, ok && ok2 && err == nil && n >= 0 && strings.HasSuffix(rest, ")")
}

// parseInfo reads start and size from n blocks of `sgdisk --info`.
func parseInfo(out string, n int) ([][2]int64, error) {
	var placed [][2]int64
	var start int64 = -1
	for line := range strings.Lines(out) {
		line = strings.TrimSuffix(line, "\n")
		if first, ok := sectorIn(line, "First"); ok {
			if start >= 0 {
				return nil, errOutput
			}
			start = first
		} else if last, ok := sectorIn(line, "Last"); ok {
			if start < 0 {
				return nil, errOutput
			}
			placed = append(placed, [2]int64{start, last - start + 1})
			start = -1
		}
	}
	if len(placed) != n || start >= 0 {
		return nil, errOutput
	}
	return placed, nil
}

// arrived compares the table that was read from the medium with what was
// written. A disk that loses writes does not make sgdisk fail.
func (o *Partitioning) arrived(t block.Table, err error) error {
	lost := func(what string) error {
		return fmt.Errorf("%q lost what was written to it: %s", o.Alias, what)
	}
	created := len(o.Create) > 0
	switch {
	case err != nil:
		return fmt.Errorf("reading the partition table of %q again: %w", o.Alias, err)
	case t.Damaged != "":
		return lost("the " + t.Damaged + " copy of the partition table is not valid")
	case t.Present != created && (o.Wipe || created):
		return lost("it has another partition table than it should")
	}
	for _, n := range o.Delete {
		if _, ok := t.Partition(n); ok {
			return lost(fmt.Sprintf("partition %d is still there", n))
		}
	}
	for _, c := range o.Create {
		if p, ok := t.Partition(c.Number); !ok || p.Start != c.Start || p.Size != c.Size {
			return lost(fmt.Sprintf("partition %d is not in its place", c.Number))
		}
	}
	return nil
}

// tellKernel tells the kernel of each partition that changed: sgdisk only asks
// it to read the table again, which fails as soon as one partition is in use.
func (s *stage) tellKernel(log *oplog.Logger, d *Device, op *Partitioning) {
	known := func(n int) bool {
		return slices.ContainsFunc(d.Parts, func(p Part) bool { return p.Number == n })
	}
	var update, add []int
	for _, c := range op.Create {
		if c.Replaces || op.Wipe && known(c.Number) {
			update = append(update, c.Number)
		} else {
			add = append(add, c.Number)
		}
	}
	for _, step := range []struct {
		action  string
		numbers []int
	}{{"delete", slices.Concat(op.Delete, op.Vanished)}, {"update", append(update, op.Stale...)}, {"add", add}} {
		for _, n := range step.numbers {
			s.Host.Kernel(s.ctx, log, d.Node, op.Alias, step.action, n)
		}
	}
}

// verify compares the kernel's view with the table as it was decided.
func (s *stage) verify(log *oplog.Logger, d *Device, op *Partitioning) error {
	for _, n := range slices.Concat(op.Delete, op.Vanished) {
		if err := s.Host.CheckGone(d.Node, n); err != nil {
			return err
		}
	}
	for _, c := range op.Create {
		if err := s.Host.CheckPart(s.ctx, log, d.Node, c.Number, c.Start, c.Size); err != nil {
			return err
		}
		if node, err := s.Host.Look(s.Host.PartPath(d.Node, c.Number)); err == nil && !c.Resizes {
			s.fresh[node.Name] = true
		}
	}
	for _, k := range op.Kept {
		if slices.Contains(op.Stale, k.Number) {
			if err := s.Host.CheckPart(s.ctx, log, d.Node, k.Number, k.Start, k.Size); err != nil {
				return err
			}
		}
	}
	return nil
}
