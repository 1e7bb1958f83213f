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
	chunks    = 6 // between the reader and the hash
)

var buffers = sync.Pool{New: func() any { b := make([]byte, chunkSize); return &b }}

// pipeline takes the raw bytes of a fetch: it undoes compression, writes to the
// sink and hashes. It goes on where it stood when a broken download is resumed,
// and begins anew after restart.
type pipeline struct {
	dst      Sink
	gzip     bool
	function string
	want     []byte

	raw    int64 // bytes taken in
	out    counter
	hasher *hasher
	feed   *io.PipeWriter // to the decompressor
	done   chan error     // its end
	failed error          // of the sink or the decompressor: not worth a retry
}

func newPipeline(r Request, dst Sink) (*pipeline, error) {
	p := &pipeline{dst: dst}
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
	p.raw, p.out, p.failed = 0, counter{w: p.dst}, nil
	if p.want != nil {
		p.hasher = newHasher(p.function)
	}
	if !p.gzip {
		return
	}
	r, w := io.Pipe()
	p.feed, p.done = w, make(chan error, 1)
	go func() {
		err := p.unzip(r)
		r.CloseWithError(err)
		p.done <- err
	}()
}

func (p *pipeline) unzip(r io.Reader) error {
	z, err := gzip.NewReader(bufio.NewReaderSize(r, chunkSize))
	if err != nil {
		return decompressError(err)
	}
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	for {
		n, err := z.Read(*buf)
		if n > 0 {
			if err := p.emit((*buf)[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return decompressError(err)
		}
	}
}

func decompressError(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("decompressing: %w", err)
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
	var err error
	if p.gzip {
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

// copy takes all of a reader.
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
	if p.feed != nil {
		p.feed.Close()
		err := <-p.done
		p.feed = nil
		if err != nil {
			return Info{}, err
		}
	}
	info := Info{Bytes: p.out.n}
	if p.hasher == nil {
		return info, nil
	}
	sum := p.hasher.sum()
	p.hasher = nil
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

// hasher hashes beside the reading and writing, so that none waits for the other.
type hasher struct {
	h    hash.Hash
	work chan []byte
	free chan []byte
	made int
	done chan struct{}
}

func newHasher(function string) *hasher {
	s := &hasher{work: make(chan []byte, chunks), free: make(chan []byte, chunks), done: make(chan struct{})}
	s.h = sha512.New()
	if function == "sha256" {
		s.h = sha256.New()
	}
	go func() {
		defer close(s.done)
		for b := range s.work {
			s.h.Write(b)
			s.free <- b[:0]
		}
	}()
	return s
}

func (s *hasher) write(b []byte) {
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
	close(s.work)
	<-s.done
	return s.h.Sum(nil)
}
