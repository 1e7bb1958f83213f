// SPDX-License-Identifier: Apache-2.0

package block

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// Content is what a probe found on a device. The zero value is "nothing".
type Content struct {
	Type  string `json:"type,omitempty"` // libblkid's name: ext4, crypto_LUKS, linux_raid_member...
	UUID  string `json:"uuid,omitempty"`
	Label string `json:"label,omitempty"`
	Table string `json:"table,omitempty"` // gpt, dos...: the device holds a partition table
}

// Exit statuses of blkid --probe.
const (
	blkidNothing    = 2 // also for a device that cannot be opened
	blkidAmbivalent = 8
)

var errAmbivalent = errors.New("found multiple filesystem types")

// Probe finds out what a device holds. Several signatures on one device are no
// error as long as one of them wins in libblkid's order: that is said in a
// warning.
func (h *Host) Probe(ctx context.Context, log *oplog.Logger, device string) (Content, error) {
	if err := h.readable(device); err != nil {
		return Content{}, probeError(device, err)
	}
	res, err := h.Runner.RunIn(ctx, log, exec.Cmd{Name: h.Programs.Blkid, Args: []string{"--probe", "-o", "udev", "--", device}})
	switch {
	case err == nil:
		return parseUdev(string(res.Stdout)), nil
	case res.ExitCode == blkidNothing:
		return Content{}, nil
	case res.ExitCode != blkidAmbivalent && !errors.Is(err, exec.ErrNotFound):
		return Content{}, probeError(device, fmt.Errorf("failed to probe: %w", err))
	}
	ambivalent := res.ExitCode == blkidAmbivalent
	content, err := h.signatures(ctx, log, device)
	if err != nil {
		return Content{}, probeError(device, err)
	}
	if ambivalent {
		log.Warning("%v; taking it for %q", probeError(device, errAmbivalent), content.Type)
	}
	return content, nil
}

func probeError(device string, err error) error {
	return fmt.Errorf(`querying filesystem field "TYPE" of %q: %w`, device, err)
}

// readable reads a device's first and last sector. blkid takes a device that
// it cannot read for an empty one, and empty devices are formatted.
func (h *Host) readable(device string) error {
	f, err := os.Open(h.root + device)
	if err != nil {
		return fmt.Errorf("failed to open: %w", err)
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("failed to probe: %w", err)
	}
	const block = 4096
	buf := make([]byte, block)
	for _, at := range []int64{0, max(0, size-block) / block * block} {
		if _, err := f.ReadAt(buf, at); err != nil && err != io.EOF {
			return fmt.Errorf("failed to probe: reading at byte %d: %w", at, err)
		}
	}
	return nil
}

// parseUdev reads the lines of `blkid -o udev`. The _ENC forms are used: the
// others have blanks and the like replaced.
func parseUdev(out string) Content {
	var c Content
	for line := range strings.Lines(out) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		switch key {
		case "ID_FS_TYPE":
			c.Type = decode(value)
		case "ID_FS_UUID_ENC":
			c.UUID = decode(value)
		case "ID_FS_LABEL_ENC":
			c.Label = decode(value)
		case "ID_PART_TABLE_TYPE":
			c.Table = value
		}
	}
	return c
}

// decode undoes udev's \xNN escapes.
func decode(s string) string {
	if !strings.Contains(s, `\x`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if strings.HasPrefix(s[i:], `\x`) && i+4 <= len(s) {
			if c, err := strconv.ParseUint(s[i+2:i+4], 16, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// signatures finds the winner among several signatures, and stands in for a
// blkid that is not there. wipefs lists all of them, by offset.
func (h *Host) signatures(ctx context.Context, log *oplog.Logger, device string) (Content, error) {
	res, err := h.Runner.RunIn(ctx, log, exec.Cmd{Name: h.Programs.Wipefs, Args: []string{"--no-act", "--parsable", device}})
	if err != nil {
		return Content{}, fmt.Errorf("failed to probe: %w", err)
	}
	return strongest(parseWipefs(string(res.Stdout))), nil
}

// parseWipefs reads lines of `offset,uuid,label,type`.
func parseWipefs(out string) []Content {
	var found []Content
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSpace(line), ",")
		if len(f) != 4 || strings.HasPrefix(f[0], "#") {
			continue
		}
		if kind := f[3]; slices.Contains(tableTypes, kind) {
			found = append(found, Content{Table: kind})
		} else {
			found = append(found, Content{Type: kind, UUID: decode(f[1]), Label: decode(f[2])})
		}
	}
	return found
}

var tableTypes = []string{"gpt", "PMBR", "dos", "atari", "bsd", "mac", "minix", "sgi", "solaris_x86", "sun", "ultrix", "unixware"}

// probeOrder is libblkid's order of superblocks: the first match is what a
// lenient probe reports. Types not listed come in the place of "".
var probeOrder = []string{
	"linux_raid_member", "ddf_raid_member", "isw_raid_member", "lsi_mega_raid_member", "via_raid_member",
	"silicon_medley_raid_member", "nvidia_raid_member", "promise_fasttrack_raid_member", "highpoint_raid_member",
	"adaptec_raid_member", "jmicron_raid_member", "bcache", "bcachefs", "drbd", "drbdmanage_control_volume", "drbdproxy_datalog",
	"LVM2_member", "LVM1_member", "DM_snapshot_cow", "DM_verity_hash", "DM_integrity", "crypto_LUKS", "vdo", "stratis", "BitLocker",
	"vfat", "swsuspend", "swap", "xfs", "xfs_external_log", "exfs", "ext4dev", "ext4", "ext3", "ext2", "jbd", "reiserfs", "reiser4", "jfs",
	"udf", "iso9660", "zfs_member", "hfsplus", "hfs", "ufs", "hpfs", "sysv", "xenix", "ntfs", "ReFS", "cramfs", "romfs", "minix", "gfs", "gfs2",
	"ocfs", "ocfs2", "oracleasm", "vxfs", "squashfs", "squashfs3", "nss", "btrfs", "", "ubifs", "bfs", "VMFS", "befs", "nilfs2", "exfat", "f2fs", "mpool", "apfs", "zonefs", "erofs",
}

// strongest picks what counts among several signatures.
func strongest(found []Content) Content {
	var table string
	var kinds []Content
	for _, c := range found {
		if c.Table != "" {
			if table == "" {
				table = c.Table
			}
			continue
		}
		kinds = append(kinds, c)
	}
	rank := func(c Content) int {
		if i := slices.Index(probeOrder, c.Type); i >= 0 {
			return i
		}
		return slices.Index(probeOrder, "")
	}
	if len(kinds) == 0 {
		return Content{Table: table}
	}
	best := slices.MinFunc(kinds, func(a, b Content) int { return cmp.Compare(rank(a), rank(b)) })
	best.Table = table
	return best
}
