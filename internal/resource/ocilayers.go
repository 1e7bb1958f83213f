// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

// fromLayers finds a file in the layers of an image. The last layer that says
// something of it counts: has it, or says that a lower layer's is gone.
func (o *ociFetch) fromLayers(ctx context.Context, layers []descriptor, out *pipeline) error {
	for i := len(layers) - 1; i >= 0; i-- {
		l := layers[i]
		switch {
		case !strings.Contains(l.MediaType, "tar"), l.Annotations[titleAnnotation] != "" && l.Annotations[unpackAnnotation] != "true":
			continue // a file of its own, with another title
		case strings.Contains(l.MediaType, "zstd"):
			return fmt.Errorf("%w: layer %s is compressed with zstd, which this program does not read; push it with gzip", ErrFailed, l.Digest)
		}
		p := &picker{path: o.ref.path, zipped: strings.HasSuffix(l.MediaType, "gzip"), out: out}
		err := o.blob(ctx, l, p)
		found, readErr := p.end()
		switch {
		case err != nil:
			return err
		case readErr != nil:
			return fmt.Errorf("layer %s: %w", l.Digest, readErr)
		case found == isThere:
			return nil
		case found == isGone:
			i = 0
		}
	}
	return fmt.Errorf("%w: %s has no file %q", ErrNotFound, o.shown, o.ref.path)
}

// What a layer says of a file.
type verdict int

const (
	saysNothing verdict = iota
	isThere
	isGone
)

// picker is a sink for a layer: it writes one file of it to out, and passes
// over the rest.
type picker struct {
	path   string
	zipped bool
	out    *pipeline

	feed  *io.PipeWriter
	done  chan struct{}
	found verdict
	err   error
}

func (p *picker) Reset() error {
	p.stop(errors.New("again"))
	p.found, p.err = saysNothing, nil
	if p.out.raw == 0 {
		return nil
	}
	return p.out.restart()
}

func (p *picker) Write(b []byte) (int, error) {
	if p.feed == nil {
		r, w := io.Pipe()
		p.feed, p.done = w, make(chan struct{})
		go func() {
			defer close(p.done)
			p.found, p.err = p.read(bufio.NewReaderSize(r, readAhead))
			// The digest is of the whole layer.
			_, _ = io.Copy(io.Discard, r)
		}()
	}
	return p.feed.Write(b)
}

func (p *picker) stop(err error) {
	if p.feed != nil {
		p.feed.CloseWithError(err)
		<-p.done
		p.feed = nil
	}
}

func (p *picker) end() (verdict, error) {
	p.stop(io.EOF)
	return p.found, p.err
}

// read goes through the archive to its end: of two entries of one name the last
// counts, but the first is what is written, so a second one is an error.
func (p *picker) read(in *bufio.Reader) (verdict, error) {
	var archive io.Reader = in
	if p.zipped {
		z, err := gzip.NewReader(in)
		if err != nil {
			return saysNothing, decompressError(err)
		}
		archive = z
	}
	found := saysNothing
	for t := tar.NewReader(archive); ; {
		h, err := t.Next()
		if err == io.EOF {
			return found, nil
		}
		if err != nil {
			return found, fmt.Errorf("reading the archive: %w", err)
		}
		name := strings.Trim(path.Clean("/"+h.Name), "/")
		switch {
		case name == p.path:
			if found == isThere {
				return found, fmt.Errorf("%q is there twice", p.path)
			}
			if h.Typeflag != tar.TypeReg {
				return found, fmt.Errorf("%q is not a regular file", p.path)
			}
			if _, err := io.Copy(p.out, t); err != nil {
				return found, err
			}
			found = isThere
		case found == saysNothing && p.removes(name):
			found = isGone
		}
	}
}

// removes tells whether an entry says that the file, or a folder that it is in,
// is not the one of lower layers.
func (p *picker) removes(name string) bool {
	dir, base := path.Split(name)
	if base == opaque {
		return strings.HasPrefix(p.path, dir)
	}
	gone, ok := strings.CutPrefix(base, whiteout)
	return ok && (p.path == dir+gone || strings.HasPrefix(p.path, dir+gone+"/"))
}
