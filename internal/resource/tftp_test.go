// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pin/tftp/v3"
)

// boot is a TFTP server with files.
type boot struct {
	files map[string]string
	mu    sync.Mutex
	asked []string
}

func (b *boot) read(name string, to io.ReaderFrom) error {
	b.mu.Lock()
	b.asked = append(b.asked, name)
	body, ok := b.files[name]
	b.mu.Unlock()
	if !ok {
		return os.ErrNotExist
	}
	if s, ok := to.(tftp.OutgoingTransfer); ok {
		s.SetSize(int64(len(body)))
	}
	_, err := to.ReadFrom(strings.NewReader(body))
	return err
}

// start serves at an address of this machine and gives it.
func (b *boot) start(t *testing.T, at string) string {
	t.Helper()
	c, err := net.ListenPacket("udp", at)
	if err != nil {
		t.Skipf("this machine has no %s: %v", at, err)
	}
	s := tftp.NewServer(b.read, nil)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = s.Serve(c) }()
	t.Cleanup(func() { s.Shutdown(); <-ended })
	return c.LocalAddr().String()
}

func TestTFTP(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, random(100<<10))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("sha512-%x", sha512.Sum512([]byte(random(100<<10))))
	b := &boot{files: map[string]string{
		"/small": "small", "/empty": "", "/block": random(512), "/blocks": random(1428 * 3), "/one more": random(1428 + 1),
		"/large": random(100 << 10), "/large.gz": packed.String(),
	}}
	addr := b.start(t, "127.0.0.1:0")
	tests := []struct {
		name, path string
		request    Request
		want       string
		kind       error
		text       string
	}{
		{name: "small", path: "/small", want: "small"},
		{name: "a query is not part of the name", path: "/small?x", want: "small"},
		{name: "empty", path: "/empty"},
		{name: "one block", path: "/block", want: random(512)},
		{name: "whole blocks", path: "/blocks", want: random(1428 * 3)},
		{name: "escaped name", path: "/one%20more", want: random(1428 + 1)},
		{name: "hash", path: "/large", request: Request{Hash: sum}, want: random(100 << 10)},
		{name: "gzip and hash", path: "/large.gz", request: Request{Hash: sum, Compression: "gzip"}, want: random(100 << 10)},
		{name: "wrong hash", path: "/small", request: Request{Hash: sum}, kind: ErrVerify},
		{name: "not compressed", path: "/large", request: Request{Compression: "gzip"}, text: "gzip: invalid header"},
		{name: "empty is not compressed", path: "/empty", request: Request{Compression: "gzip"}, kind: io.ErrUnexpectedEOF},
		{name: "too large", path: "/large", request: Request{Limit: 1000}, text: "larger than 1000 bytes"},
		{name: "missing", path: "/missing", kind: ErrNotFound, text: "code: 1, message: file does not exist"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, slept := testFetcher(t)
			url := "tftp://" + addr + tt.path
			tt.request.URL = url
			l := &lines{}
			got, info, err := f.Bytes(t.Context(), l, tt.request)
			if tt.kind == nil && tt.text == "" {
				wantBody(t, got, err, tt.want)
				if !strings.HasPrefix(l.all(), "info GET "+url+": attempt #1\ninfo GET result: OK") || info.Bytes != int64(len(tt.want)) {
					t.Errorf("%d bytes, log:\n%s", info.Bytes, l.all())
				}
			} else {
				wantError(t, err, tt.kind, tt.text)
			}
			if len(slept.d) > 0 || strings.Contains(l.all()+errText(err), "\x00") {
				t.Errorf("tried again, or an error of C's:\n%q", l.all())
			}
		})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range b.asked {
		if !strings.HasPrefix(name, "/") {
			t.Errorf("asked for %q without the slash", name)
		}
	}
}

func TestTFTPURLs(t *testing.T) {
	f, _ := testFetcher(t)
	for _, url := range []string{"tftp://h", "tftp://h/", "tftp:///f", "tftp:f"} {
		_, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: url})
		wantError(t, err, ErrFailed, "a TFTP URL is tftp://HOST[:PORT]/FILE")
	}
	b := &boot{files: map[string]string{"/f": "six"}}
	got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "tftp://" + b.start(t, "[::1]:0") + "/f"})
	wantBody(t, got, err, "six")
}

// rawTFTP is a server that does what each test says with each packet. A packet
// is answered from the port that it came to.
func rawTFTP(t *testing.T, handle func(packet []byte, n int, answer func([]byte))) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() { c.Close(); <-ended })
	go func() {
		defer close(ended)
		b := make([]byte, 2048)
		for n := 1; ; n++ {
			size, from, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			handle(b[:size], n, func(p []byte) { _, _ = c.WriteTo(p, from) })
		}
	}()
	return c.LocalAddr().String()
}

const (
	opRead  = 1
	opData  = 3
	opAck   = 4
	opError = 5
)

func op(p []byte) uint16 { return binary.BigEndian.Uint16(p) }

func dataPacket(block uint16, body string) []byte {
	return append([]byte{0, opData, byte(block >> 8), byte(block)}, body...)
}

func errorPacket(code byte, text string) []byte {
	return append([]byte{0, opError, 0, code}, text+"\x00rest"...)
}

// oldServer serves one body in blocks of 512 bytes and knows no options.
func oldServer(body string) func(packet []byte, answer func([]byte)) {
	at := 0 // of blocks sent
	return func(packet []byte, answer func([]byte)) {
		switch op(packet) {
		case opRead:
			at = 1
		case opAck:
			if uint16(at) != binary.BigEndian.Uint16(packet[2:]) || at*512 > len(body) {
				return
			}
			at++
		default:
			return
		}
		from := (at - 1) * 512
		answer(dataPacket(uint16(at), body[from:min(from+512, len(body))]))
	}
}

// TestTFTPOldServers has servers without options: one that goes on without,
// one that refuses them, one that is silent about them.
func TestTFTPOldServers(t *testing.T) {
	body := random(5*512 + 7)
	options := func(p []byte) bool { return op(p) == opRead && bytes.Contains(p, []byte("blksize")) }
	for name, tt := range map[string]struct {
		refuse   func(answer func([]byte))
		attempts int
	}{
		"ignores them": {nil, 1},
		"refuses them": {func(answer func([]byte)) { answer(errorPacket(8, "options?")) }, 2},
		"is silent":    {func(func([]byte)) {}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			serve := oldServer(body)
			addr := rawTFTP(t, func(p []byte, _ int, answer func([]byte)) {
				if options(p) && tt.refuse != nil {
					tt.refuse(answer)
					return
				}
				serve(p, answer)
			})
			f, _ := testFetcher(t)
			f.shared.opts.packet = 5 * time.Millisecond
			l := &lines{}
			got, _, err := f.Bytes(t.Context(), l, Request{URL: "tftp://" + addr + "/f"})
			wantBody(t, got, err, body)
			if n := l.count("attempt #"); n != tt.attempts {
				t.Errorf("%d attempts, want %d:\n%s", n, tt.attempts, l.all())
			}
		})
	}
}

// TestTFTPManyBlocks has more blocks than block numbers.
func TestTFTPManyBlocks(t *testing.T) {
	body := random(65600 * 512)
	serve := oldServer(body)
	addr := rawTFTP(t, func(p []byte, _ int, answer func([]byte)) { serve(p, answer) })
	f, _ := testFetcher(t)
	got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "tftp://" + addr + "/f"})
	wantBody(t, got, err, body)
}

// TestTFTPLoss: packets that are lost are sent again, and late ones are ignored.
func TestTFTPLoss(t *testing.T) {
	body := random(6*512 + 1)
	serve := oldServer(body)
	var last []byte
	addr := rawTFTP(t, func(p []byte, n int, answer func([]byte)) {
		repeated := bytes.Equal(p, last)
		last = bytes.Clone(p)
		if n%3 == 0 { // the packet is lost on its way here
			last = nil
			return
		}
		serve(p, answer)
		if repeated {
			answer(dataPacket(1, "once more")) // late
		}
	})
	f, _ := testFetcher(t)
	f.shared.opts.packet = 5 * time.Millisecond
	got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "tftp://" + addr + "/f"})
	wantBody(t, got, err, body)
}

// TestTFTPErrors: what a server says ends the fetch, without control characters.
func TestTFTPErrors(t *testing.T) {
	for code, kind := range map[byte]error{1: ErrNotFound, 2: nil, 0: nil} {
		addr := rawTFTP(t, func(_ []byte, _ int, answer func([]byte)) { answer(errorPacket(code, "no\r\n\x1b[31mway")) })
		f, slept := testFetcher(t)
		l := &lines{}
		_, _, err := f.Bytes(t.Context(), l, Request{URL: "tftp://" + addr + "/f"})
		wantError(t, err, kind, fmt.Sprintf("code: %d, message: no   [31mway", code))
		if len(slept.d) != 0 || l.count("GET error: code: ") != 1 || kind == nil && errors.Is(err, ErrNotFound) {
			t.Errorf("code %d: %v, log:\n%s", code, err, l.all())
		}
	}
}

// TestTFTPLateServer: a server that is not there yet, and a name that is not known yet, are waited for.
func TestTFTPLateServer(t *testing.T) {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := c.LocalAddr().String()
	c.Close()
	b := &boot{files: map[string]string{"/f": "late"}}
	f, slept := testFetcher(t)
	f.shared.opts.packet = time.Millisecond
	slept.do = func(n int) {
		if n == 1 {
			b.start(t, addr)
		}
	}
	l := &lines{}
	got, _, err := f.Bytes(t.Context(), l, Request{URL: "tftp://" + addr + "/f"})
	wantBody(t, got, err, "late")
	if l.count("attempt #1\n") != 1 || l.count("GET error: ") == 0 || l.count("GET result: OK") != 1 {
		t.Errorf("log:\n%s", l.all())
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	f, slept = testFetcher(t)
	slept.do = func(n int) {
		if n == 2 {
			cancel()
		}
	}
	l = &lines{}
	if _, _, err := f.Bytes(ctx, l, Request{URL: "tftp://nowhere.invalid/f"}); !errors.Is(err, context.Canceled) || l.count("GET error: resolving address: ") != 2 {
		t.Errorf("%v, log:\n%s", err, l.all())
	}
}

// TestTFTPStall: a transfer that stops begins anew, and what came is thrown away.
func TestTFTPStall(t *testing.T) {
	body := random(4 * 512)
	serve := oldServer(body)
	requests := 0
	addr := rawTFTP(t, func(p []byte, _ int, answer func([]byte)) {
		if op(p) == opRead {
			requests++
		}
		if requests == 1 && op(p) == opAck && p[3] == 2 {
			return
		}
		serve(p, answer)
	})
	f, _ := testFetcher(t)
	f.shared.opts.packet = time.Millisecond
	l := &lines{}
	got, _, err := f.Bytes(t.Context(), l, Request{URL: "tftp://" + addr + "/f"})
	wantBody(t, got, err, body)
	if l.count("attempt #2") != 1 {
		t.Errorf("log:\n%s", l.all())
	}
}

// TestTFTPTotal: neither the total time-out nor a cancelled fetch waits for the
// packets' own time-outs, and nothing is written afterwards.
func TestTFTPTotal(t *testing.T) {
	release := make(chan func([]byte), 1)
	addr := rawTFTP(t, func(p []byte, _ int, answer func([]byte)) {
		if op(p) == opRead {
			answer(dataPacket(1, random(512)))
			return
		}
		select {
		case release <- answer:
		default:
		}
	})
	for _, total := range []bool{true, false} {
		f, _ := testFetcher(t)
		ctx, cancel := context.WithCancel(t.Context())
		want := context.Canceled
		if total {
			f.total, want = 200*time.Millisecond, ErrTimeout
		} else {
			time.AfterFunc(200*time.Millisecond, cancel)
		}
		sink := &memory{limit: 1 << 20}
		start := time.Now()
		_, err := f.To(ctx, &lines{}, Request{URL: "tftp://" + addr + "/f"}, sink)
		cancel()
		if took := time.Since(start); !errors.Is(err, want) || took > 3*time.Second {
			t.Errorf("%v after %v, want %v", err, took, want)
		}
		answer := <-release
		answer(dataPacket(2, "the end"))
		time.Sleep(20 * time.Millisecond)
		if sink.Len() != 512 {
			t.Errorf("the sink has %d bytes", sink.Len())
		}
	}
}
