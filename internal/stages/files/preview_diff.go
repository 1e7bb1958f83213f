// SPDX-License-Identifier: Apache-2.0

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"firstboot.dev/ignition/internal/plan"
	"firstboot.dev/ignition/internal/resource"
)

// text is a sink that keeps the beginning, counts all, and compares it with
// what a file has from an offset on.
type text struct {
	kept    []byte
	n       int64
	file    *os.File // nil: it differs
	from    int64
	differs bool
}

func (t *text) Write(b []byte) (int, error) {
	if t.file == nil {
		t.differs = true
	}
	if !t.differs {
		c := comparing{file: t.file, at: t.from + t.n}
		_, err := c.Write(b)
		t.differs = err != nil
	}
	t.n += int64(len(b))
	if room := plan.MaxDiff + 1 - len(t.kept); room > 0 {
		t.kept = append(t.kept, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

func (t *text) Reset() error { *t = text{file: t.file, from: t.from}; return nil }

// get fetches what an operation writes, where a plan may: nothing is kept of
// what is large.
func (p *preview) get(f *fetch, op *plan.Operation, t *text) bool {
	_, err := p.Fetcher.To(p.ctx, p.quiet(), f.request, t)
	switch {
	case err == nil:
		if op.Fetches != nil {
			op.Fetches.Size = t.n
		}
		return true
	case errors.Is(err, resource.ErrNeedNet):
		op.Depends = "what the server sends, which a plan fetches with --online"
	default:
		op.Depends = fmt.Sprintf("what the server sends, which could not be fetched: %v", err)
	}
	return false
}

// contents looks at what the operations of one file write, and shows the
// difference. It tells whether that is what the file has already.
func (p *preview) contents(n *node, fetches []*fetch, ops []plan.Operation, appends bool) (same bool) {
	mode := fs.FileMode(fileMode)
	switch {
	case n.file.Mode != nil:
		mode = toFileMode(*n.file.Mode)
	case appends:
		mode = n.stat.Mode
	}
	var old []byte
	now := []byte{}
	var file *os.File
	if n.present && n.stat.Mode.IsRegular() {
		old = p.oldText(n.path)
		if f, err := p.Root.OpenFile(n.path, os.O_RDONLY|syscall.O_NOFOLLOW, 0); err == nil {
			defer f.Close()
			file = f
		}
	}
	if appends {
		now = append(now, old...)
	}
	whole, differs, size := true, file == nil, int64(0)
	for i, f := range fetches {
		t := &text{file: file, from: size}
		whole = p.get(f, &ops[min(i, len(ops)-1)], t) && whole
		now = append(now, t.kept...)
		size += t.n
		differs = differs || t.differs
	}
	switch {
	case !whole:
	case private(n.path, mode) || old != nil && private(n.path, n.stat.Mode):
		ops[0].Diff = fmt.Sprintf("not shown: only its owner may read %s\n", n.path)
	default:
		ops[0].Diff = plan.Diff(n.path, old, now)
	}
	return whole && !differs && size == n.stat.Size && mode == n.stat.Mode
}

// oldText is the text of a file as far as it is compared; it is never nil.
func (p *preview) oldText(at string) []byte {
	old := []byte{}
	f, err := p.Root.OpenFile(at, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return old // whoever writes it will say why
	}
	defer f.Close()
	buf := make([]byte, plan.MaxDiff+1)
	n, _ := f.ReadAt(buf, 0)
	return append(old, buf[:n]...)
}

// private tells whether the text of a file is no one else's business.
func private(at string, mode fs.FileMode) bool {
	return mode&0o004 == 0 || strings.HasPrefix(at, "/etc/shadow") || strings.HasPrefix(at, "/etc/gshadow")
}
