// SPDX-License-Identifier: Apache-2.0

package block

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"unicode/utf16"
)

// gptImage is a disk in memory with a GPT that the test writes by itself.
type gptImage struct {
	sector  int64
	sectors int64
	slots   int
	entry   int // bytes
	parts   []Partition
	raw     []byte
}

func image(sector, sectors int64, parts ...Partition) *gptImage {
	return &gptImage{sector: sector, sectors: sectors, slots: 128, entry: 128, parts: parts}
}

// write makes the bytes of the disk: protective MBR, both headers, both arrays.
func (g *gptImage) write() *gptImage {
	g.raw = make([]byte, g.sector*g.sectors)
	g.raw[510], g.raw[511] = 0x55, 0xAA
	g.raw[446+4] = 0xEE
	le := binary.LittleEndian
	array := make([]byte, g.slots*g.entry)
	for _, p := range g.parts {
		e := array[(p.Number-1)*g.entry:]
		copy(e, bytes.Repeat([]byte{1}, 16))
		copy(e[16:], []byte{0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff})
		le.PutUint64(e[32:], uint64(p.Start))
		le.PutUint64(e[40:], uint64(p.Start+p.Size-1))
		le.PutUint64(e[48:], p.Attributes)
		for i, u := range utf16.Encode([]rune(p.Label)) {
			le.PutUint16(e[56+2*i:], u)
		}
	}
	arraySectors := (int64(len(array)) + g.sector - 1) / g.sector
	for _, h := range []struct{ at, other, array int64 }{{1, g.sectors - 1, 2}, {g.sectors - 1, 1, g.sectors - 1 - arraySectors}} {
		copy(g.raw[h.array*g.sector:], array)
		s := g.raw[h.at*g.sector:]
		copy(s, headerMagic)
		le.PutUint32(s[8:], 0x10000)
		le.PutUint32(s[12:], headerMinSize)
		le.PutUint64(s[24:], uint64(h.at))
		le.PutUint64(s[32:], uint64(h.other))
		le.PutUint64(s[40:], uint64(2+arraySectors))
		le.PutUint64(s[48:], uint64(g.sectors-2-arraySectors))
		le.PutUint64(s[72:], uint64(h.array))
		le.PutUint32(s[80:], uint32(g.slots))
		le.PutUint32(s[84:], uint32(g.entry))
		le.PutUint32(s[88:], crc32.ChecksumIEEE(array))
		le.PutUint32(s[16:], crc32.ChecksumIEEE(s[:headerMinSize]))
	}
	return g
}

func (g *gptImage) read() (Table, error) {
	return ReadTable(bytes.NewReader(g.raw), int64(len(g.raw)), g.sector)
}

func TestReadTable(t *testing.T) {
	parts := []Partition{{Number: 1, Start: 64, Size: 10, Label: "ROOT-ä𝄞"}, {Number: 128, Start: 80, Size: 5, Attributes: 1 << 56}}
	for _, sector := range []int64{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			table, err := image(sector, 1000, parts...).write().read()
			must(t, err)
			if !table.Present || table.Misplaced || table.Damaged != "" || table.Slots != 128 || len(table.Partitions) != 2 {
				t.Fatalf("got %+v", table)
			}
			p, ok := table.Partition(1)
			want := Partition{Number: 1, Start: 64, Size: 10, Label: "ROOT-ä𝄞", TypeGUID: "01010101-0101-0101-0101-010101010101", GUID: "00112233-4455-6677-8899-AABBCCDDEEFF"}
			if !ok || p != want {
				t.Errorf("got %+v\nwant %+v", p, want)
			}
			if p, _ := table.Partition(128); p.Attributes != 1<<56 {
				t.Errorf("got %+v", p)
			}
			if _, ok := table.Partition(2); ok {
				t.Error("there is a partition 2")
			}
		})
	}
}

func TestReadTableClasses(t *testing.T) {
	good := func() *gptImage { return image(512, 1000, Partition{Number: 1, Start: 64, Size: 10}).write() }
	zero := func(from, n int) func(*gptImage) { return func(g *gptImage) { clear(g.raw[from*512 : (from+n)*512]) } }
	text := func(at int, s string) func(*gptImage) { return func(g *gptImage) { copy(g.raw[at:], s) } }
	blank := func(g *gptImage) { clear(g.raw) }
	boot := func(g *gptImage) { clear(g.raw); g.raw[510], g.raw[511] = 0x55, 0xAA }
	rows := []struct {
		name    string
		change  []func(*gptImage)
		present bool
		damaged string
		err     error
	}{
		{"good", nil, true, "", nil},
		{"blank", []func(*gptImage){blank}, false, "", nil},
		{"no protective MBR", []func(*gptImage){zero(0, 1)}, false, "", nil},
		{"primary header gone", []func(*gptImage){zero(1, 1)}, true, "primary", nil},
		{"primary entries changed", []func(*gptImage){text(2*512, "x")}, true, "primary", nil},
		{"backup gone", []func(*gptImage){zero(999, 1)}, true, "backup", nil},
		{"both gone", []func(*gptImage){zero(1, 1), zero(999, 1)}, false, "", ErrNoTable},
		{"MBR", []func(*gptImage){boot, func(g *gptImage) { g.raw[446] = 0x80; g.raw[450] = 0x83; g.raw[454] = 1; g.raw[458] = 9 }}, false, "", ErrNotGPT},
		{"empty MBR", []func(*gptImage){boot}, false, "", ErrNotGPT},
		{"no boot indicator of an MBR", []func(*gptImage){boot, text(446, "code")}, false, "", nil},
		{"FAT16", []func(*gptImage){boot, text(0x36, "FAT16   ")}, false, "", nil},
		{"FAT32", []func(*gptImage){boot, text(0x52, "FAT32   ")}, false, "", nil},
		{"NTFS", []func(*gptImage){boot, text(3, "NTFS    ")}, false, "", nil},
		{"exFAT", []func(*gptImage){boot, text(3, "EXFAT   ")}, false, "", nil},
		{"ext4", []func(*gptImage){blank, text(0x438, "\x53\xef")}, false, "", nil},
		{"Apple", []func(*gptImage){blank, text(0, "ER"), text(512, "PM")}, false, "", ErrNotGPT},
		{"Sun", []func(*gptImage){blank, text(508, "\xda\xbe")}, false, "", ErrNotGPT},
		{"SGI", []func(*gptImage){blank, text(0, "\x0b\xe5\xa9\x41")}, false, "", ErrNotGPT},
		{"Amiga", []func(*gptImage){blank, text(1024, "RDSK")}, false, "", ErrNotGPT},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			g := good()
			for _, c := range row.change {
				c(g)
			}
			table, err := g.read()
			if !errors.Is(err, row.err) || row.err == nil && err != nil {
				t.Fatalf("got error %v, want %v", err, row.err)
			}
			if table.Present != row.present || table.Damaged != row.damaged || row.present && len(table.Partitions) != 1 {
				t.Errorf("got %+v", table)
			}
		})
	}
}

func TestReadTableGrown(t *testing.T) {
	g := image(512, 1000, Partition{Number: 1, Start: 64, Size: 10}).write()
	g.raw = append(g.raw, make([]byte, 512*500)...)
	table, err := g.read()
	if err != nil || !table.Misplaced || table.Damaged != "" || table.LastUsable != 966 {
		t.Errorf("got %+v, %v", table, err)
	}
	if l := table.Layout(); l.last != 1466 {
		t.Errorf("a layout goes up to sector %d", l.last)
	}
}

func TestReadTableManyEntries(t *testing.T) {
	g := image(512, 4000, Partition{Number: 200, Start: 164, Size: 10})
	g.slots, g.entry = 256, 256
	table, err := g.write().read()
	if err != nil || table.Slots != 256 || len(table.Partitions) != 1 || table.Partitions[0].Number != 200 {
		t.Errorf("got %+v, %v", table, err)
	}
}

func TestReadTableOutside(t *testing.T) {
	_, err := image(512, 1000, Partition{Number: 3, Start: 990, Size: 20}).write().read()
	if err == nil || !strings.Contains(err.Error(), "partition 3 is outside of the disk") {
		t.Errorf("got %v", err)
	}
}

// badDisk fails to read one sector.
type badDisk struct {
	io.ReaderAt
	at int64
}

func (b badDisk) ReadAt(p []byte, at int64) (int, error) {
	if at <= b.at && b.at < at+int64(len(p)) {
		return 0, errors.New("input/output error")
	}
	return b.ReaderAt.ReadAt(p, at)
}

func TestReadTableErrors(t *testing.T) {
	g := image(512, 1000, Partition{Number: 1, Start: 64, Size: 10}).write()
	for _, row := range []struct {
		name string
		at   int64
		want string
	}{
		{"first sector", 0, "reading the first sector:"},
		{"primary header", 512, "reading the first sectors"},
		{"primary entries", 20 * 512, "reading the entries of the GPT header"},
		{"backup header", 999 * 512, "reading the backup GPT header"},
		{"the middle", 512 * 500, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := ReadTable(badDisk{bytes.NewReader(g.raw), row.at}, int64(len(g.raw)), 512)
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("got %v, want %q", err, row.want)
			}
		})
	}
	if _, err := ReadTable(bytes.NewReader(nil), 0, 100); err == nil {
		t.Error("sectors of 100 bytes pass")
	}
}

// TestReadTableOfSgdisk reads what the real program writes.
func TestReadTableOfSgdisk(t *testing.T) {
	needSgdisk(t)
	path := diskFile(t, 64<<20)
	if out, err := sgdisk(t, "--new=2:2048:+4096", "--change-name=2:ein Name", "--typecode=2:8200", "--partition-guid=2:00112233-4455-6677-8899-AABBCCDDEEFF",
		"--attributes=2:=:8000000000000005", path); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	table, err := readFile(t, path)
	must(t, err)
	want := Partition{Number: 2, Start: 2048, Size: 4096, Label: "ein Name", TypeGUID: "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
		GUID: "00112233-4455-6677-8899-AABBCCDDEEFF", Attributes: 0x8000000000000005}
	if len(table.Partitions) != 1 || table.Partitions[0] != want || table.FirstUsable != 34 || table.LastUsable != 131038 {
		t.Errorf("got %+v", table)
	}
}

// FuzzReadTable tries headers and entries whose checksums are right, so that
// what they say is believed, and boot sectors.
func FuzzReadTable(f *testing.F) {
	for _, sector := range []int64{512, 4096} {
		g := image(sector, 100, Partition{Number: 1, Start: 40, Size: 10, Label: "x"}).write()
		f.Add(g.raw[:512], g.raw[sector:sector+headerMinSize], g.raw[2*sector:2*sector+256], sector == 4096)
	}
	f.Add(make([]byte, 512), []byte(headerMagic), []byte{}, false)
	f.Fuzz(func(t *testing.T, boot, head, entries []byte, big bool) {
		sector := int64(512)
		if big {
			sector = 4096
		}
		raw := make([]byte, 100*sector)
		copy(raw[:sector], boot)
		copy(raw[2*sector:], entries[:min(len(entries), 4096)])
		h := raw[sector : 2*sector]
		copy(h[:headerMinSize], head)
		le := binary.LittleEndian
		if at, n := int64(le.Uint64(h[72:])), int64(le.Uint32(h[80:]))*int64(le.Uint32(h[84:])); at > 1 && at < 100 && n > 0 && n <= (100-at)*sector {
			le.PutUint32(h[88:], crc32.ChecksumIEEE(raw[at*sector:at*sector+n]))
		}
		if size := int64(le.Uint32(h[12:])); size >= headerMinSize && size <= sector {
			clear(h[16:20])
			le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:size]))
		}
		table, err := ReadTable(bytes.NewReader(raw), int64(len(raw)), sector)
		if err != nil {
			return
		}
		for _, p := range table.Partitions {
			if p.Start < 1 || p.Size < 1 || p.Start+p.Size > table.Sectors {
				t.Errorf("partition outside of the disk: %+v", p)
			}
		}
		l := table.Layout()
		if p, err := l.Add(0, 0, 0); err == nil && (p.Start < l.first || p.Start+p.Size-1 > l.last) {
			t.Errorf("placed outside of what is usable: %+v", p)
		}
	})
}
