// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

const watchEvery = 200 * time.Millisecond

// meter adds up the downloads that are under way, for somebody who watches.
type meter struct {
	tell func(string) // nil if nobody does
	mu   sync.Mutex
	open []*watchedBody
	last time.Time
}

func (m *meter) begin(w *watchedBody) {
	if m.tell == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.open) == 0 { // what is over at once need not be seen
		m.last = w.start
	}
	m.open = append(m.open, w)
}

func (m *meter) end(w *watchedBody) {
	if m.tell == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(m.open, w); i >= 0 {
		m.open = slices.Delete(m.open, i, i+1)
	}
	if len(m.open) == 0 {
		m.tell("")
	}
}

// count adds bytes of a download.
func (m *meter) count(w *watchedBody, n int, now time.Time) {
	if m.tell == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	w.got += int64(n)
	if now.Sub(m.last) >= watchEvery {
		m.last = now
		m.tell(m.text(now))
	}
}

// text is about all together. How much there is in all is not known if it is not of one.
func (m *meter) text(now time.Time) string {
	first := m.open[0]
	name := first.fetch.method + " " + first.fetch.shown
	if len(m.open) > 1 {
		name = fmt.Sprintf("%d downloads", len(m.open))
	}
	var got, from, length int64
	start := first.start
	for _, w := range m.open {
		got += w.got
		from += w.from
		if w.start.Before(start) {
			start = w.start
		}
		if w.fetch.length < 0 || length < 0 {
			length = -1
			continue
		}
		length += w.fetch.length
	}
	return name + ": " + Progress(got, from, length, now.Sub(start))
}
