// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"firstboot.dev/ignition/internal/config"
)

const (
	chunkSize = 256 << 10
	chunks    = 6         // between the reader and the hash
	inline    = chunkSize // bytes that are hashed without a goroutine
	readAhead = 64 << 10  // of what is decompressed
)

var buffers = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}

// unzipper is a decompressor with its buffers, which are worth keeping: a config
// may hold thousands of small compressed files.
type unzipper struct {
	gzip.Reader
	in *bufio.Reader
}

var unzippers = sync.Pool{New: func() any { return &unzipper{in: bufio.NewReaderSize(nil, readAhead)} }}

// pipeline takes the raw bytes of a fetch: it undoes compression, writes to the
// sink and hashes. It goes on where it stood when a broken download is resumed,
// and begins anew after restart. What a fetch does not need is not started.
type pipeline struct {
	dst      Sink
	gzip     bool
	function string
	want     []byte
	long     func() // called from longFrom bytes on, once

	raw    int64 // bytes taken in
	out    counter
	hasher *hasher
	pulled bool           // decompressed by pull, not by feed
	feed   *io.PipeWriter // to the decompressor
	done   chan error     // its end
	failed error          // of the sink or the decompressor: not worth a retry
}

func newPipeline(r Request, dst Sink) (*pipeline, error) {
	p := &pipeline{dst: dst, long: r.long}
	switch r.Compression {
	case "":
	case "gzip":
		p.gzip = true
	default:
		return nil, errors.New("invalid compression method")
	}
	if r.Hash != "" {
		var err error
		if p.function, p.want, err = config.ParseHash(r.Hash); err != nil {
			return nil, fmt.Errorf("Error parsing verification string %q: %w", r.Hash, err)
		}
	}
	p.begin()
	return p, nil
}

func (p *pipeline) begin() {
	p.raw, p.out, p.failed, p.pulled = 0, counter{w: p.dst}, nil, false
	if p.want != nil {
		p.hasher = newHasher(p.function)
	}
}

// startFeed begins to decompress beside the reading.
func (p *pipeline) startFeed() {
	r, w := io.Pipe()
	p.feed, p.done = w, make(chan error, 1)
	go func() {
		err := p.unzip(r)
		r.CloseWithError(err)
		p.done <- err
	}()
}

// unzip decompresses all of a reader.
func (p *pipeline) unzip(r io.Reader) error {
	z := unzippers.Get().(*unzipper)
	defer func() {
		z.in.Reset(nil) // what was read may be large
		unzippers.Put(z)
	}()
	z.in.Reset(r)
	if err := z.Reader.Reset(z.in); err != nil {
		return decompressError(err)
	}
	return drain(z, decompressError, p.emit)
}

// pull takes all of a local body, which comes as fast as it is read and is not
// resumed: decompression needs no goroutine of its own then.
func (p *pipeline) pull(r io.Reader) error {
	if !p.gzip {
		return drain(r, func(err error) error { return err }, func(b []byte) error {
			_, err := p.Write(b)
			return err
		})
	}
	p.pulled = true
	p.failed = p.unzip(r)
	return p.failed
}

// drain hands on what it reads in large pieces, however small those of the reader are.
func drain(r io.Reader, readError func(error) error, take func([]byte) error) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := fill(r, *buf)
		if n > 0 {
			if err := take((*buf)[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return readError(err)
		}
	}
}

// fill reads until the buffer is full or there is an error. It differs from
// io.ReadFull in that it keeps the reader's error.
func fill(r io.Reader, b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var k int
		k, err = r.Read(b[n:])
		n += k
	}
	return n, err
}

func decompressError(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("decompressing: %w", err)
}

// expect tells a sink in memory how much will come; -1 is not known.
func (p *pipeline) expect(n int64) error {
	m, ok := p.dst.(*memory)
	if !ok || p.gzip || n < 0 {
		return nil
	}
	return m.expect(n)
}

// emit takes bytes as they are at the end: decompressed.
func (p *pipeline) emit(b []byte) error {
	if _, err := p.out.Write(b); err != nil {
		return err
	}
	if p.hasher != nil {
		p.hasher.write(b)
	}
	return nil
}

// Write takes raw bytes. Its error is final: a retry would meet it again.
func (p *pipeline) Write(b []byte) (int, error) {
	p.raw += int64(len(b))
	if p.long != nil && p.raw >= longFrom {
		p.long()
		p.long = nil
	}
	var err error
	if p.gzip {
		if p.feed == nil {
			p.startFeed()
		}
		_, err = p.feed.Write(b)
	} else {
		err = p.emit(b)
	}
	if err != nil {
		p.failed = err
		return 0, err
	}
	return len(b), nil
}

// copy takes all of a reader, each piece as soon as it is there.
func (p *pipeline) copy(r io.Reader) error {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := r.Read(*buf)
		if n > 0 {
			if _, err := p.Write((*buf)[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// restart throws away what was taken so far.
func (p *pipeline) restart() error {
	p.abort()
	if err := p.dst.Reset(); err != nil {
		return err
	}
	p.begin()
	return nil
}

// abort ends the helpers of a fetch that is given up, or does nothing after finish.
func (p *pipeline) abort() {
	if p.feed != nil {
		p.feed.CloseWithError(errors.New("given up"))
		<-p.done
		p.feed = nil
	}
	if p.hasher != nil {
		p.hasher.sum()
		p.hasher = nil
	}
}

// finish ends the fetch and verifies what came out.
func (p *pipeline) finish(log Log) (Info, error) {
	switch {
	case p.feed != nil:
		p.feed.Close()
		err := <-p.done
		p.feed = nil
		if err != nil {
			return Info{}, err
		}
	case p.gzip && !p.pulled:
		return Info{}, decompressError(io.EOF) // not one byte came
	}
	info := Info{Bytes: p.out.n, Raw: p.raw}
	if p.hasher == nil {
		return info, nil
	}
	sum := p.hasher.sum()
	p.hasher = nil
	if p.function == "sha512" {
		info.SHA512 = sum
	}
	if !bytes.Equal(sum, p.want) {
		return info, fmt.Errorf("%w (calculated %x but expected %x)", ErrVerify, sum, p.want)
	}
	log.Debug("file matches expected sum of: %s", hex.EncodeToString(sum))
	return info, nil
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// hasher hashes beside the reading and writing, so that none waits for the
// other. Short bodies are hashed at once.
type hasher struct {
	h     hash.Hash
	short int         // bytes hashed at once
	work  chan []byte // nil until the body is a long one
	free  chan []byte
	made  int
	done  chan struct{}
}

func newHasher(function string) *hasher {
	if function == "sha256" {
		return &hasher{h: sha256.New()}
	}
	return &hasher{h: sha512.New()}
}

func (s *hasher) start() {
	s.work, s.free, s.done = make(chan []byte, chunks), make(chan []byte, chunks), make(chan struct{})
	go func() {
		defer close(s.done)
		for b := range s.work {
			s.h.Write(b)
			s.free <- b[:0]
		}
	}()
}

func (s *hasher) write(b []byte) {
	if s.work == nil {
		if s.short+len(b) <= inline {
			s.short += len(b)
			s.h.Write(b)
			return
		}
		s.start()
	}
	var own []byte
	select {
	case own = <-s.free:
	default:
		if s.made < chunks {
			s.made++
		} else {
			own = <-s.free
		}
	}
	s.work <- append(own, b...)
}

// sum ends the hasher and gives the result.
func (s *hasher) sum() []byte {
	if s.work != nil {
		close(s.work)
		<-s.done
	}
	return s.h.Sum(nil)
}
