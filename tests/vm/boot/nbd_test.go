// SPDX-License-Identifier: Apache-2.0

package boot

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestVolatile: what was not flushed is lost, what was is kept, and reading
// sees both.
func TestVolatile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "disk")
	if err := os.WriteFile(name, bytes.Repeat([]byte{'.'}, 3*blockSize), 0o600); err != nil {
		t.Fatal(err)
	}
	v := NewVolatile(t, name)
	do := func(kind, flags uint16, offset int64, data string, length int) string {
		t.Helper()
		out, err := v.answer(bytes.NewReader([]byte(data)), kind, flags, offset, length)
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	do(nbdWrite, 0, 4090, "0123456789", 10) // over the end of a block
	do(nbdFlush, 0, 0, "", 0)
	do(nbdWrite, 0, 4092, "ab", 2)
	do(nbdWrite, nbdFUA, 8200, "FUA", 3)
	do(nbdWrite, 0, 8192, "lost", 4)
	if got := do(nbdRead, 0, 4088, "", 14); got != "..01ab456789.." {
		t.Errorf("before the cut: %q", got)
	}
	if lost := v.Cut(); lost != 2 {
		t.Errorf("%d blocks lost, want 2", lost)
	}
	if _, err := v.answer(nil, nbdRead, 0, 0, 1); err == nil {
		t.Error("a disk without power answers")
	}
	v.Restore()
	if got := do(nbdRead, 0, 4088, "", 14); got != "..0123456789.." {
		t.Errorf("after the cut: %q", got)
	}
	if got := do(nbdRead, 0, 8192, "", 12); got != "........FUA." {
		t.Errorf("after the cut: %q", got)
	}
	do(nbdZeroes, 0, 0, "", 2*blockSize)
	if got := do(nbdRead, 0, 8190, "", 4); got != "\x00\x00.." {
		t.Errorf("zeroes: %q", got)
	}
	if _, err := v.answer(bytes.NewReader([]byte("xx")), nbdWrite, 0, 3*blockSize-1, 2); err == nil {
		t.Error("a write beyond the end is taken")
	}
}
