// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"errors"
	"io/fs"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// watch remembers what a root was asked for and what there was to answer.
type watch struct {
	mu   sync.Mutex
	seen map[question]answer
}

// question is one that can be asked again.
type question struct {
	path string
	how  byte // one of those below
}

type answer struct {
	stat  Stat
	text  string // of what has no stat
	given bool
}

const (
	byName   = 'n' // lstat
	followed = 'f' // stat
	resolved = 'r'
	listed   = 'l'
)

// Watch makes the root remember what is looked at from now on, for Changed.
func (r *Root) Watch() { r.watch = &watch{seen: map[question]answer{}} }

// note remembers an answer; the first one counts.
func (r *Root) note(how byte, p string, a answer) {
	if r.watch == nil {
		return
	}
	r.watch.mu.Lock()
	defer r.watch.mu.Unlock()
	if q := (question{p, how}); !r.watch.seen[q].given {
		r.watch.seen[q] = a
	}
}

// look remembers what a question gives now, before more is asked about it.
func (r *Root) look(how byte, p string) {
	if r.watch != nil {
		r.note(how, p, r.ask(question{p, how}))
	}
}

// Changed gives a path at which something else is found than at first, or "".
func (r *Root) Changed() string {
	w := r.watch
	if w == nil {
		return ""
	}
	r.watch = nil // the questions are not asked for their own sake
	first := ""
	for q, a := range w.seen {
		if (first == "" || q.path < first) && r.ask(q) != a {
			first = q.path
		}
	}
	return first
}

func (r *Root) ask(q question) answer {
	if q.how == resolved {
		p, err := r.resolve(q.path)
		if err != nil {
			return failure(err)
		}
		return answer{text: p, given: true}
	}
	flags := unix.O_PATH
	if q.how == byName {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := r.openat2(q.path, flags, 0, 0)
	if err != nil {
		return identity(Stat{}, err, false)
	}
	defer unix.Close(fd)
	st, err := statFD(fd)
	return identity(st, err, q.how == listed)
}

// identity tells a node from another one, and from itself after a change. Of a
// directory what is in it does not count, unless it was listed.
func identity(st Stat, err error, contents bool) answer {
	if err != nil {
		return failure(err)
	}
	if st.Mode.IsDir() && !contents {
		st.Size, st.Changed = 0, 0
	}
	return answer{stat: st, given: true}
}

func failure(err error) answer {
	a := answer{text: "unreadable", given: true}
	var errno unix.Errno
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		a.text = "nothing"
	case errors.As(err, &errno):
		a.text = errno.Error()
	}
	return a
}

// below is the path of an entry as it has to be asked for again: ".." after a
// link would be lost in a clean one.
func (d *Dir) below(name string) string { return strings.TrimSuffix(d.path, "/") + "/" + name }
