// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Volatile serves a file as a disk with a write cache: what is written stays in
// memory until the guest flushes, so a power cut loses it. It speaks as much of
// the network block device protocol (fixed newstyle) as QEMU needs.
type Volatile struct {
	Socket string

	mu    sync.Mutex
	file  *os.File
	size  int64
	dirty map[int64][]byte // blocks by number
	cut   bool
	lost  int // blocks that the last cut lost
}

const blockSize = 4096

// NewVolatile serves a file until the test ends.
func NewVolatile(t *testing.T, name string) *Volatile {
	t.Helper()
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "ignition-nbd-") // a socket's path has to be short
	if err != nil {
		t.Fatal(err)
	}
	v := &Volatile{Socket: filepath.Join(dir, "nbd"), file: f, size: info.Size(), dirty: map[int64][]byte{}}
	l, err := net.Listen("unix", v.Socket)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if err := v.serve(conn); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, net.ErrClosed) {
					fmt.Fprintln(os.Stderr, "disk:", err)
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = errors.Join(l.Close(), f.Close(), os.RemoveAll(dir)) })
	return v
}

// Cut forgets what was not flushed, and takes no more until Restore.
func (v *Volatile) Cut() (lost int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.lost, v.cut = len(v.dirty), true
	v.dirty = map[int64][]byte{}
	return v.lost
}

// Restore gives the power back.
func (v *Volatile) Restore() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.cut = false
}

// block is one block to be changed.
func (v *Volatile) block(n int64) ([]byte, error) {
	if b, ok := v.dirty[n]; ok {
		return b, nil
	}
	b := make([]byte, blockSize)
	if _, err := v.file.ReadAt(b, n*blockSize); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	v.dirty[n] = b
	return b, nil
}

func (v *Volatile) write(p []byte, at int64) error {
	if at < 0 || at+int64(len(p)) > v.size {
		return errors.New("beyond the end")
	}
	for len(p) > 0 {
		b, err := v.block(at / blockSize)
		if err != nil {
			return err
		}
		n := copy(b[at%blockSize:], p)
		p, at = p[n:], at+int64(n)
	}
	return nil
}

func (v *Volatile) read(p []byte, at int64) error {
	if _, err := v.file.ReadAt(p, at); err != nil {
		return err
	}
	for n := at / blockSize; n*blockSize < at+int64(len(p)); n++ {
		if b, ok := v.dirty[n]; ok {
			from := max(at, n*blockSize)
			copy(p[from-at:], b[from-n*blockSize:])
		}
	}
	return nil
}

// flush brings blocks into the file: all, or those of a range.
func (v *Volatile) flush(from, to int64) error {
	for n, b := range v.dirty {
		if n*blockSize >= to || (n+1)*blockSize <= from {
			continue
		}
		if _, err := v.file.WriteAt(b[:min(blockSize, v.size-n*blockSize)], n*blockSize); err != nil {
			return err
		}
		delete(v.dirty, n)
	}
	return nil
}

// Numbers of the protocol.
const (
	nbdMagic, nbdOption = 0x4e42444d41474943, 0x49484156454f5054
	nbdOptionReply      = 0x3e889045565a9
	nbdRequest          = 0x25609513
	nbdReply            = 0x67446698
	nbdOptAbort         = 2
	nbdOptGo            = 7
	nbdRepAck           = 1
	nbdRepInfo          = 3
	nbdRepUnsupported   = 1<<31 + 1
	nbdFlags            = 1 | 4 | 8 | 32 | 64 // flush, FUA, trim, write zeroes
	nbdRead             = 0
	nbdWrite            = 1
	nbdDisconnect       = 2
	nbdFlush            = 3
	nbdTrim             = 4
	nbdZeroes           = 6
	nbdFUA              = 1
	maxRequest          = 64 << 20
)

// wire is the connection; numbers are big-endian.
type wire struct{ io.ReadWriter }

func (w wire) send(values ...any) error {
	for _, x := range values {
		if err := binary.Write(w, binary.BigEndian, x); err != nil {
			return err
		}
	}
	return nil
}

func (w wire) receive(values ...any) error {
	for _, x := range values {
		if err := binary.Read(w, binary.BigEndian, x); err != nil {
			return err
		}
	}
	return nil
}

var errForeign = errors.New("a client that does not speak the protocol")

func (v *Volatile) serve(conn io.ReadWriter) error {
	w := wire{conn}
	if err := w.send(uint64(nbdMagic), uint64(nbdOption), uint16(3)); err != nil {
		return err
	}
	if err := w.receive(new(uint32)); err != nil {
		return err
	}
	for {
		agreed, err := v.negotiate(w)
		if err != nil {
			return err
		}
		if agreed {
			break
		}
	}
	for {
		var magic, length uint32
		var flags, kind uint16
		var handle, offset uint64
		if err := w.receive(&magic, &flags, &kind, &handle, &offset, &length); err != nil {
			return err
		}
		if magic != nbdRequest || length > maxRequest && kind <= nbdWrite {
			return errForeign
		}
		if kind == nbdDisconnect {
			return nil
		}
		data, err := v.answer(w, kind, flags, int64(offset), int(length))
		code := uint32(0)
		if err != nil {
			code, data = 5, nil // EIO
		}
		if err := w.send(uint32(nbdReply), code, handle, data); err != nil {
			return err
		}
	}
}

// negotiate answers one option; agreed is true when requests follow.
func (v *Volatile) negotiate(w wire) (agreed bool, err error) {
	var magic uint64
	var option, length uint32
	if err := w.receive(&magic, &option, &length); err != nil {
		return false, err
	}
	if magic != nbdOption || length > 1<<16 {
		return false, errForeign
	}
	if _, err := io.CopyN(io.Discard, w, int64(length)); err != nil {
		return false, err
	}
	reply := func(kind uint32, data ...any) error {
		size := 0
		for _, d := range data {
			size += binary.Size(d)
		}
		return w.send(append([]any{uint64(nbdOptionReply), option, kind, uint32(size)}, data...)...)
	}
	switch option {
	case nbdOptGo:
		if err := reply(nbdRepInfo, uint16(0), uint64(v.size), uint16(nbdFlags)); err != nil {
			return false, err
		}
		return true, reply(nbdRepAck)
	case nbdOptAbort:
		return false, errors.Join(reply(nbdRepAck), io.EOF)
	}
	return false, reply(nbdRepUnsupported)
}

// answer does one request.
func (v *Volatile) answer(conn io.Reader, kind, flags uint16, offset int64, length int) ([]byte, error) {
	var data []byte
	if kind == nbdWrite {
		data = make([]byte, length)
		if _, err := io.ReadFull(conn, data); err != nil {
			return nil, err
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.cut {
		return nil, errors.New("the power is off")
	}
	switch kind {
	case nbdRead:
		out := make([]byte, length)
		return out, v.read(out, offset)
	case nbdZeroes:
		data = make([]byte, length)
		fallthrough
	case nbdWrite:
		err := v.write(data, offset)
		if err == nil && flags&nbdFUA != 0 {
			err = v.flush(offset, offset+int64(length))
		}
		return nil, err
	case nbdFlush:
		return nil, v.flush(0, v.size)
	case nbdTrim:
		return nil, nil
	}
	return nil, fmt.Errorf("request %d", kind)
}
