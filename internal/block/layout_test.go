// SPDX-License-Identifier: Apache-2.0

package block

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
)

// sgdisk runs the real program on a plain file, for which it takes sectors of 512 bytes.
func sgdisk(t *testing.T, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command("sgdisk", args...).CombinedOutput()
	return string(out), err
}

func needSgdisk(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("sgdisk"); err != nil {
		t.Skip("sgdisk is not installed")
	}
}

func diskFile(t *testing.T, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(path, nil, 0o600))
	must(t, os.Truncate(path, size))
	return path
}

func readFile(t *testing.T, path string) (Table, error) {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	info, err := f.Stat()
	must(t, err)
	return ReadTable(f, info.Size(), 512)
}

// change is one argument of sgdisk.
type change struct {
	delete      bool
	number      int
	start, size int64
}

func (c change) arg() string {
	if c.delete {
		return fmt.Sprintf("--delete=%d", c.number)
	}
	return fmt.Sprintf("--new=%d:%d:+%d", c.number, c.start, c.size)
}

// TestLayoutAgainstSgdisk lets sgdisk and Layout do the same changes and
// compares what comes out: a table that is written, then many rehearsals on it.
func TestLayoutAgainstSgdisk(t *testing.T) {
	needSgdisk(t)
	rounds := 30 // of about a second: sgdisk sleeps after it has written
	if testing.Short() {
		rounds = 4
	}
	var placed, refused atomic.Int64
	t.Run("rounds", func(t *testing.T) {
		for seed := range rounds {
			t.Run(strconv.Itoa(seed), func(t *testing.T) {
				t.Parallel()
				rnd := rand.New(rand.NewPCG(uint64(seed), 7))
				path := diskFile(t, diskSize(rnd))
				rehearse(t, rnd, path, false)
				if seed%3 == 0 { // the disk grows; its backup header is not at the end any more
					info, err := os.Stat(path)
					must(t, err)
					must(t, os.Truncate(path, info.Size()+int64(1+rnd.IntN(64))<<20))
				}
				for range 40 {
					if rehearse(t, rnd, path, true) {
						placed.Add(1)
					} else {
						refused.Add(1)
					}
				}
			})
		}
	})
	t.Logf("%d series of changes placed, %d refused, by both alike", placed.Load(), refused.Load())
	if placed.Load() < int64(rounds) || refused.Load() < int64(rounds) {
		t.Error("the series are too easy or too hard to say anything")
	}
}

// diskSize gives small disks, and some on which sgdisk expects 4096-byte sectors below.
func diskSize(rnd *rand.Rand) int64 {
	switch rnd.IntN(5) {
	case 0:
		return 586072368*512 + int64(rnd.IntN(1000))*512
	case 1:
		return int64(20+rnd.IntN(100)) * 512 * 64
	}
	return int64(8+rnd.IntN(500)) << 20
}

var printed = regexp.MustCompile(`(?m)^ +(\d+) +(\d+) +(\d+) `)

// rehearse does one series of changes both ways; pretend leaves the disk as it is.
func rehearse(t *testing.T, rnd *rand.Rand, path string, pretend bool) (placed bool) {
	t.Helper()
	table, err := readFile(t, path)
	must(t, err)
	var args []string
	layout := table.Layout()
	add := layout.Add
	if !pretend && rnd.IntN(3) == 0 {
		args, add = append(args, "--set-alignment=1"), layout.AddExact // gives tables with starts like 63
	}
	if pretend {
		args = append(args, "--pretend")
	}
	if table.Misplaced {
		args = append(args, "--move-second-header")
	}
	var failed error
	for _, c := range someChanges(rnd, table) {
		args = append(args, c.arg())
		switch {
		case failed != nil:
		case c.delete:
			layout.Delete(c.number)
		default:
			_, failed = add(c.number, c.start, c.size)
		}
	}
	out, err := sgdisk(t, append(args, "--print", path)...)
	if (err != nil) != (failed != nil) {
		t.Fatalf("sgdisk %v\n%s: %v\nours: %v\ntable %+v", args, out, err, failed, table)
	}
	if err != nil {
		return false
	}
	var got []Partition
	for _, m := range printed.FindAllStringSubmatch(out, -1) {
		var n [3]int64
		for i := range n {
			n[i], err = strconv.ParseInt(m[i+1], 10, 64)
			must(t, err)
		}
		got = append(got, Partition{Number: int(n[0]), Start: n[1], Size: n[2] - n[1] + 1})
	}
	comparePlaces(t, fmt.Sprintf("sgdisk %v\n%stable before %+v", args, out, table), got, layout.parts)
	if !pretend {
		after, err := readFile(t, path)
		must(t, err)
		comparePlaces(t, "read back", after.Partitions, layout.parts)
	}
	return true
}

func comparePlaces(t *testing.T, what string, got, want []Partition) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s\nsgdisk has %v\nwe have %v", what, got, want)
	}
	for _, w := range want {
		i := slices.IndexFunc(got, func(p Partition) bool { return p.Number == w.Number })
		if i < 0 || got[i].Start != w.Start || got[i].Size != w.Size {
			t.Fatalf("%s\nsgdisk has %+v\nwe have %+v", what, got, want)
		}
	}
}

// someChanges deletes some partitions and adds some, in places good and bad.
func someChanges(rnd *rand.Rand, table Table) []change {
	var changes []change
	for _, p := range table.Partitions {
		if rnd.IntN(3) == 0 {
			changes = append(changes, change{delete: true, number: p.Number})
		}
	}
	sectors := int64(1 << 17)
	sectors = min(sectors, table.Sectors)
	for range 1 + rnd.IntN(4) {
		c := change{number: rnd.IntN(6)}
		switch rnd.IntN(5) {
		case 4:
			c.start = 1 + rnd.Int64N(70)
		case 0:
			c.start = 2048 * (1 + rnd.Int64N(max(1, sectors/2048)))
		case 1:
			c.start = 34 + rnd.Int64N(sectors)
		}
		switch rnd.IntN(4) {
		case 0:
			c.size = 2048 * (1 + rnd.Int64N(max(1, sectors/8192)))
		case 1, 2:
			c.size = 1 + rnd.Int64N(sectors/4)
		}
		changes = append(changes, c)
	}
	return changes
}
