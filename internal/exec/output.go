// SPDX-License-Identifier: Apache-2.0

package exec

import (
	"fmt"
	"sync"
)

// Limits of what is kept of a program's output, and of what an error shows of
// each stream. Programs with more to say than this are broken, and a broken
// program must not fill the memory of an initramfs.
const (
	stdoutLimit  = 4 << 20
	stderrLimit  = 64 << 10
	excerptLimit = 16 << 10
)

// tail is a writer that keeps the end of what is written to it.
type tail struct {
	mu      sync.Mutex
	buf     []byte
	limit   int
	secrets []string // longest first
	dropped int
}

func newTail(limit int, secrets []string) *tail {
	return &tail{limit: limit, secrets: secrets}
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	// Cut rarely, at twice the limit, so that a byte is seldom moved.
	if len(t.buf) > 2*(t.limit+t.margin()) {
		t.cut(t.limit + t.margin())
	}
	return len(p), nil
}

// margin is what is kept beyond limit: the beginning of what is left may be the
// end of a secret whose head was dropped, and is dropped too in the end.
func (t *tail) margin() int {
	if len(t.secrets) == 0 {
		return 0
	}
	return len(t.secrets[0])
}

// cut drops all but the last n bytes.
func (t *tail) cut(n int) {
	excess := len(t.buf) - n
	if excess <= 0 {
		return
	}
	t.dropped += excess
	t.buf = append([]byte(nil), t.buf[excess:]...)
}

// result is what was kept, without secrets, and how many bytes are missing before it.
func (t *tail) result() (text []byte, dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cut(t.limit + t.margin())
	text, dropped = scrub(t.buf, t.secrets), t.dropped
	if dropped > 0 {
		n := min(t.margin(), len(text))
		text, dropped = text[n:], dropped+n
	}
	return text, dropped
}

// excerpt is the end of a result as an error text shows it.
func excerpt(text []byte, dropped int) string {
	if n := len(text) - excerptLimit; n > 0 {
		text, dropped = text[n:], dropped+n
	}
	if dropped > 0 {
		return fmt.Sprintf("<%d bytes cut>%s", dropped, text)
	}
	return string(text)
}
