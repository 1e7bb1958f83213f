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
	"unicode/utf16"
)

// Errors of disks whose table cannot be changed.
var (
	ErrNoTable = errors.New("no partition table found") // there was one: both copies are broken
	ErrNotGPT  = errors.New("disk does not have a GPT")
)

// Table is a disk's partition table, or the blank disk that one can be written on.
type Table struct {
	SectorSize  int64       `json:"sectorSize,omitempty"`  // logical, bytes
	Sectors     int64       `json:"sectors,omitempty"`     // size of the disk in logical sectors
	Present     bool        `json:"present,omitempty"`     // false: there is no GPT, and everything below is zero
	FirstUsable int64       `json:"firstUsable,omitempty"` // of the header in force
	LastUsable  int64       `json:"lastUsable,omitempty"`
	Slots       int         `json:"slots,omitempty"`      // entries that the table has room for
	Misplaced   bool        `json:"misplaced,omitempty"`  // the backup header is not in the disk's last sector: the disk grew
	Damaged     string      `json:"damaged,omitempty"`    // "", "primary" or "backup": the copy that cannot be used
	GUID        string      `json:"guid,omitempty"`       // of the disk, upper case
	Partitions  []Partition `json:"partitions,omitempty"` // used entries, by number
}

// Partition is one entry of a table.
type Partition struct {
	Number     int    `json:"number,omitempty"` // from 1
	Start      int64  `json:"start,omitempty"`  // logical sectors
	Size       int64  `json:"size,omitempty"`
	GUID       string `json:"guid,omitempty"` // upper case
	TypeGUID   string `json:"typeGuid,omitempty"`
	Label      string `json:"label,omitempty"`
	Attributes uint64 `json:"attributes,omitempty"`
}

// Partition gives the entry of a number.
func (t Table) Partition(number int) (Partition, bool) {
	for _, p := range t.Partitions {
		if p.Number == number {
			return p, true
		}
	}
	return Partition{}, false
}

// ReadTable reads the table of a disk of size bytes. A disk with neither a GPT
// nor another table gives a Table that is not Present; so does one whose whole
// is a filesystem, and a GPT without a protective MBR, as libblkid has it.
func ReadTable(r io.ReaderAt, size, sectorSize int64) (Table, error) {
	if sectorSize < 512 || sectorSize%512 != 0 {
		return Table{}, fmt.Errorf("logical sector size %d is not a multiple of 512", sectorSize)
	}
	blank := Table{SectorSize: sectorSize, Sectors: size / sectorSize}
	d := &diskReader{r: r, sectorSize: sectorSize, sectors: blank.Sectors}
	if d.sectors < 3 {
		return blank, nil
	}
	first, err := d.read(0, sectorSize, "the first sector")
	if err != nil {
		return Table{}, err
	}
	switch kind, err := d.classify(first); {
	case err != nil:
		return Table{}, err
	case kind == otherTable:
		return Table{}, ErrNotGPT
	case kind == noTable:
		return blank, nil
	}
	return d.table(blank)
}

// diskReader reads sectors of one disk.
type diskReader struct {
	r                   io.ReaderAt
	sectorSize, sectors int64
}

// read gives size bytes from a byte offset on; what is past the end reads as zeros.
func (d *diskReader) read(at, size int64, what string) ([]byte, error) {
	buf := make([]byte, size)
	if n, err := d.r.ReadAt(buf, at); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("reading %s: %d bytes at byte %d: %w", what, size, at, err)
	} else if n == 0 && err != nil && size > 0 {
		return nil, fmt.Errorf("reading %s: byte %d is past the end", what, at)
	}
	return buf, nil
}

// What the first sectors of a disk say.
type tableKind int

const (
	noTable tableKind = iota
	protective
	otherTable
)

const (
	mbrEntries   = 446
	mbrEntrySize = 16
	typeGPT      = 0xEE
)

// classify decides as libblkid does: a protective MBR announces a GPT; a boot
// sector of a filesystem looks like an MBR and is none.
func (d *diskReader) classify(first []byte) (tableKind, error) {
	if other, err := d.otherLabel(first); err != nil || other {
		return otherTable, err
	}
	if first[510] != 0x55 || first[511] != 0xAA {
		return noTable, nil
	}
	if isBootSector(first) {
		return noTable, nil
	}
	valid := true
	for i := range 4 {
		e := first[mbrEntries+i*mbrEntrySize:]
		if e[4] == typeGPT {
			return protective, nil
		}
		valid = valid && (e[0] == 0 || e[0] == 0x80)
	}
	if !valid {
		return noTable, nil
	}
	return otherTable, nil
}

// isBootSector recognises the boot sectors of FAT, NTFS and exFAT, and of
// whatever else libblkid tells from an MBR.
func isBootSector(s []byte) bool {
	for _, m := range []struct {
		at    int
		magic string
	}{
		{0x36, "MSDOS"}, {0x36, "FAT12   "}, {0x36, "FAT16   "}, {0x36, "FAT     "}, {0x52, "MSWIN"}, {0x52, "FAT32   "},
		{3, "NTFS    "}, {3, "EXFAT   "}, {3, "-FVE-FS-"},
	} {
		if bytes.HasPrefix(s[m.at:], []byte(m.magic)) {
			return true
		}
	}
	return false
}

// otherLabel recognises tables that are neither MBR nor GPT.
func (d *diskReader) otherLabel(first []byte) (bool, error) {
	more, err := d.read(0, max(16*512, 2*d.sectorSize), "the first sectors")
	if err != nil {
		return false, err
	}
	_ = first
	switch {
	case binary.BigEndian.Uint16(more[508:]) == 0xDABE: // Sun
		return true, nil
	case binary.BigEndian.Uint32(more) == 0x0BE5A941: // SGI
		return true, nil
	case string(more[:2]) == "ER" && string(more[512:514]) == "PM": // Apple
		return true, nil
	case binary.LittleEndian.Uint32(more[512:]) == 0x82564557 && binary.LittleEndian.Uint32(more[512+132:]) == 0x82564557: // BSD
		return true, nil
	}
	for at := 0; at+512 <= len(more); at += 512 { // Amiga, in one of the first sectors
		if string(more[at:at+4]) == "RDSK" {
			return true, nil
		}
	}
	return false, nil
}

// header is one copy of the GPT's header with its entries.
type header struct {
	at, alternate           int64
	firstUsable, lastUsable int64
	guid                    string
	entryCount, entrySize   int
	entries                 []byte
}

const (
	headerMagic   = "EFI PART"
	headerMinSize = 92
	entryMinSize  = 128
	maxEntryBytes = 16 << 20 // what a header may make us read
)

var errHeader = errors.New("no valid GPT header")

// header reads and checks the header in a sector.
func (d *diskReader) header(at int64, what string) (header, error) {
	if at < 1 || at >= d.sectors {
		return header{}, errHeader
	}
	s, err := d.read(at*d.sectorSize, d.sectorSize, what)
	if err != nil {
		return header{}, err
	}
	le := binary.LittleEndian
	size := int64(le.Uint32(s[12:]))
	if string(s[:8]) != headerMagic || size < headerMinSize || size > d.sectorSize {
		return header{}, errHeader
	}
	sum := le.Uint32(s[16:])
	clear(s[16:20])
	if crc32.ChecksumIEEE(s[:size]) != sum || int64(le.Uint64(s[24:])) != at {
		return header{}, errHeader
	}
	h := header{
		at: at, alternate: int64(le.Uint64(s[32:])), firstUsable: int64(le.Uint64(s[40:])), lastUsable: int64(le.Uint64(s[48:])),
		guid: guidText(s[56:72]), entryCount: int(le.Uint32(s[80:])), entrySize: int(le.Uint32(s[84:])),
	}
	table := int64(le.Uint64(s[72:]))
	bytesOfTable := int64(h.entryCount) * int64(h.entrySize)
	switch {
	case h.entrySize < entryMinSize || h.entrySize%8 != 0 || h.entryCount < 1 || bytesOfTable > maxEntryBytes:
		return header{}, errHeader
	case table < 1 || table >= d.sectors || bytesOfTable > (d.sectors-table)*d.sectorSize:
		return header{}, errHeader
	case h.firstUsable < 1 || h.firstUsable > h.lastUsable || h.lastUsable >= d.sectors:
		return header{}, errHeader
	}
	if h.entries, err = d.read(table*d.sectorSize, bytesOfTable, "the entries of "+what); err != nil {
		return header{}, err
	}
	if crc32.ChecksumIEEE(h.entries) != le.Uint32(s[88:]) {
		return header{}, errHeader
	}
	return h, nil
}

// table reads both copies; the primary one counts if it is valid.
func (d *diskReader) table(t Table) (Table, error) {
	primary, err1 := d.header(1, "the GPT header")
	backupAt := d.sectors - 1
	if err1 == nil && primary.alternate != backupAt {
		t.Misplaced = true
		backupAt = primary.alternate
	}
	backup, err2 := d.header(backupAt, "the backup GPT header")
	for _, err := range []error{err1, err2} {
		// A copy that cannot be read could not be written either.
		if err != nil && !errors.Is(err, errHeader) {
			return Table{}, err
		}
	}
	h := primary
	switch {
	case err1 != nil && err2 != nil:
		return Table{}, ErrNoTable
	case err1 != nil:
		h, t.Damaged = backup, "primary"
	case err2 != nil:
		t.Damaged = "backup"
	}
	t.Present, t.FirstUsable, t.LastUsable, t.Slots, t.GUID = true, h.firstUsable, h.lastUsable, h.entryCount, h.guid
	for i := range h.entryCount {
		e := h.entries[i*h.entrySize : (i+1)*h.entrySize]
		if bytes.Equal(e[:16], make([]byte, 16)) {
			continue
		}
		p := parseEntry(i+1, e)
		if p.Start < 1 || p.Size < 1 || p.Start+p.Size > t.Sectors || p.Start+p.Size < 0 {
			return Table{}, fmt.Errorf("partition %d is outside of the disk: %d sectors at %d of %d", p.Number, p.Size, p.Start, t.Sectors)
		}
		t.Partitions = append(t.Partitions, p)
	}
	return t, nil
}

func parseEntry(number int, e []byte) Partition {
	le := binary.LittleEndian
	first, last := int64(le.Uint64(e[32:])), int64(le.Uint64(e[40:]))
	return Partition{
		Number: number, Start: first, Size: last - first + 1,
		TypeGUID: guidText(e[:16]), GUID: guidText(e[16:32]), Attributes: le.Uint64(e[48:]), Label: utf16Text(e[56:128]),
	}
}

// guidText writes a GUID in the field's mixed byte order.
func guidText(b []byte) string {
	le := binary.LittleEndian
	return strings.ToUpper(fmt.Sprintf("%08x-%04x-%04x-%x-%x", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16]))
}

// utf16Text reads UTF-16 up to the first NUL.
func utf16Text(b []byte) string {
	var units []uint16
	for i := 0; i+1 < len(b); i += 2 {
		u := binary.LittleEndian.Uint16(b[i:])
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
