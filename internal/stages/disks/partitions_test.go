// SPDX-License-Identifier: Apache-2.0

package disks

import (
	"errors"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/block"
)

// TestArrived: a disk that loses writes must not pass for one that was partitioned.
func TestArrived(t *testing.T) {
	one := block.Partition{Number: 1, Start: 2048, Size: 4096}
	table := func(parts ...block.Partition) block.Table { return block.Table{Present: true, Partitions: parts} }
	created := Partitioning{Create: []NewPartition{{Number: 1, Start: 2048, Size: 4096}}}
	damaged := table(one)
	damaged.Damaged = "backup"
	for _, row := range []struct {
		name  string
		op    Partitioning
		table block.Table
		err   error
		want  string // "" if all is well
	}{
		{"created", created, table(one), nil, ""},
		{"created, not there", created, table(), nil, "partition 1 is not in its place"},
		{"created, elsewhere", created, table(block.Partition{Number: 1, Start: 4096, Size: 4096}), nil, "partition 1 is not in its place"},
		{"created, other size", created, table(block.Partition{Number: 1, Start: 2048, Size: 8}), nil, "partition 1 is not in its place"},
		{"created, no table", created, block.Table{}, nil, "it has another partition table than it should"},
		{"one copy", created, damaged, nil, "the backup copy of the partition table is not valid"},
		{"deleted", Partitioning{Delete: []int{1}}, table(), nil, ""},
		{"deleted, still there", Partitioning{Delete: []int{1}}, table(one), nil, "partition 1 is still there"},
		{"wiped", Partitioning{Wipe: true}, block.Table{}, nil, ""},
		{"wiped, still there", Partitioning{Wipe: true}, table(one), nil, "it has another partition table than it should"},
		{"wiped and created", Partitioning{Wipe: true, Create: created.Create}, table(one), nil, ""},
		{"unreadable", created, block.Table{}, errors.New("input/output error"), "again: input/output error"},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := row.op.arrived(row.table, row.err)
			if row.want == "" {
				if err != nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
}
