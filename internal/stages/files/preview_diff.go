// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/plan"
	"firstboot.dev/ignition/internal/resource"
)

// head keeps the beginning and counts all.
type head struct {
	kept []byte
	n    int64
}

func (h *head) take(b []byte) {
	h.n += int64(len(b))
	if room := plan.MaxDiff + 1 - len(h.kept); room > 0 {
		h.kept = append(h.kept, b[:min(room, len(b))]...)
	}
}

// text is a sink that compares with what a file has from an offset on.
type text struct {
	head
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
	t.take(b)
	return len(b), nil
}

func (t *text) Reset() error { *t = text{file: t.file, from: t.from}; return nil }

// early is the sink of what is fetched before its file is looked at.
type early struct {
	head
	sum hash.Hash
}

func (e *early) Write(b []byte) (int, error) {
	e.take(b)
	return e.sum.Write(b)
}

func (e *early) Reset() error {
	*e = early{sum: sha256.New()}
	return nil
}

// giveTo makes t what it would be had it got the bytes.
func (e *early) giveTo(t *text) {
	t.head, t.differs = e.head, t.file == nil
	if !t.differs {
		has := sha256.New()
		_, err := io.Copy(has, io.NewSectionReader(t.file, t.from, e.n))
		t.differs = err != nil || !bytes.Equal(has.Sum(nil), e.sum.Sum(nil))
	}
}

// download begins what comes from servers, as many at a time as a boot does.
func (p *preview) download() (end func()) {
	ahead := p.Fetcher.Ahead(p.ctx, oplog.Deferred(), maxDownloads)
	p.early = map[*fetch]*early{}
	for _, n := range p.plan.nodes {
		for _, f := range n.fetches {
			if n.kept || !resource.Networked(f.request.URL) || p.Fetcher.IsOffline() {
				continue
			}
			e := &early{sum: sha256.New()}
			p.early[f] = e
			f.download = ahead.Add(f.request, oplog.Op{}, func() (resource.Sink, error) { return e, nil })
		}
	}
	return ahead.Close
}

// get fetches what an operation writes, where a plan may: nothing is kept of
// what is large. Without an error and false the rest is the server's to say.
func (p *preview) get(f *fetch, op *plan.Operation, t *text) (bool, error) {
	var info resource.Info
	var err error
	if e := p.early[f]; e != nil {
		if info, err = f.download.Wait(oplog.Deferred()); err == nil {
			e.giveTo(t)
		}
	} else {
		info, err = p.Fetcher.To(p.ctx, p.quiet(), f.request, t)
	}
	switch {
	case err == nil:
		if op.Fetches != nil {
			op.Fetches.Size = info.Raw
		}
		return true, nil
	case errors.Is(err, resource.ErrNeedNet):
		op.Depends = "what the server sends, which a plan fetches with --online"
	case op.Fetches == nil || errors.Is(err, resource.ErrVerify):
		return false, entryError(f.entry, err) // a boot would not get further either
	default:
		op.Depends = "what the server sends, which could not be fetched: " + resource.Reason(err)
	}
	return false, nil
}

// contents looks at what the operations of one file write, and shows the
// difference. It tells whether that is what the file has already.
func (p *preview) contents(n *node, ops []plan.Operation, appends bool) (same bool, err error) {
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
	before := int64(-1)
	if n.present && n.stat.Mode.IsRegular() {
		old, before = p.oldText(n.path), n.stat.Size
		if f, err := p.Root.OpenFile(n.path, os.O_RDONLY|syscall.O_NOFOLLOW, 0); err == nil {
			defer f.Close()
			file = f
		}
	}
	size := int64(0)
	if appends {
		now, size = append(now, old...), before
	}
	whole, differs := true, file == nil
	for i, f := range n.fetches {
		t := &text{file: file, from: size}
		got, err := p.get(f, &ops[len(ops)-len(n.fetches)+i], t)
		if err != nil {
			return false, err
		}
		if size += t.n; len(now) <= plan.MaxDiff {
			now = append(now, t.kept...)
		}
		whole, differs = whole && got, differs || t.differs
	}
	alike := whole && !differs && size == before
	if whole {
		modes := mode
		if old != nil {
			modes &= n.stat.Mode
		}
		ops[0].Diff = p.difference(n.path, modes, old, now)
		if size > plan.MaxDiff || before > plan.MaxDiff {
			ops[0].Diff = plan.NotShown("large", before, size)
		}
		if alike {
			ops[0].Diff = ""
		}
	}
	if before > 0 && !appends && !alike && !strings.HasPrefix(ops[0].Diff, "---") {
		ops[0].Loses = "what the file has now"
	}
	return alike && mode == n.stat.Mode, nil
}

// secrets are in texts that are nobody else's business whatever their mode:
// private keys and password hashes.
var secrets = []string{"PRIVATE KEY-----", "$6$", "$5$", "$y$", "$gy$", "$7$", "$2a$", "$2b$", "$2y$", "$argon2"}

// difference shows what a file will have beside what it has, unless that is not
// for everyone. Of two modes only what both allow counts.
func (p *preview) difference(at string, mode fs.FileMode, old, now []byte) string {
	why := ""
	if mode&0o004 == 0 {
		why = fmt.Sprintf("mode %04o", mode.Perm())
	}
	for dir := path.Dir(at); why == "" && dir != "/"; dir = path.Dir(dir) {
		mode, ok := p.shut[dir]
		if st, err := p.Root.Stat(dir); !ok && err == nil {
			mode, ok = st.Mode, st.Mode&0o001 == 0
		}
		if ok {
			why = fmt.Sprintf("%s has mode %04o", dir, mode.Perm())
		}
	}
	for _, name := range []string{"/etc/shadow", "/etc/gshadow", "/etc/security/opasswd"} {
		if strings.TrimSuffix(at, "-") == name {
			why = "passwords"
		}
	}
	for _, s := range secrets {
		if strings.Contains(string(old), s) || strings.Contains(string(now), s) {
			why = "it holds a secret"
		}
	}
	switch {
	case why == "":
		return plan.Diff(at, old, now)
	case old == nil:
		return plan.NotShown(why, -1, int64(len(now)))
	}
	return plan.NotShown(why, int64(len(old)), int64(len(now)))
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
