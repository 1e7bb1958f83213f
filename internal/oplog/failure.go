// SPDX-License-Identifier: Apache-2.0

package oplog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// Failure is what is known of a stage that failed, for the person at the
// console. It holds nothing that the log may not hold.
type Failure struct {
	Stage      string        `json:"stage"`
	Version    string        `json:"version,omitempty"`
	Platform   string        `json:"platform,omitempty"`
	Boot       string        `json:"boot,omitempty"` // the kernel's boot id
	Start      time.Time     `json:"start"`
	End        time.Time     `json:"end"`
	Operations []FailedOp    `json:"operations,omitempty"` // the failed operation, and before it those around it
	Config     string        `json:"config,omitempty"`     // the config entry
	Source     string        `json:"source,omitempty"`     // where that entry was written
	Line       int           `json:"line,omitempty"`       // 1 is the first; 0 is not known
	Column     int           `json:"column,omitempty"`
	Error      string        `json:"error"`
	Problems   []string      `json:"problems,omitempty"` // of a config that is not valid, with their positions
	Hint       string        `json:"hint,omitempty"`     // what to do
	Took       time.Duration `json:"tookNanoseconds"`
}

// FailedOp is an operation that failed.
type FailedOp struct {
	Desc   string  `json:"desc"`
	Config string  `json:"config,omitempty"`
	Error  string  `json:"error"`
	Second float64 `json:"seconds"`
}

// failed keeps the operations of a process that failed, to find out at the end
// which of them it failed for.
type failed struct {
	mu   sync.Mutex
	list []failedOp
}

type failedOp struct {
	FailedOp
	number, parent uint64
}

// maxFailed bounds the list: a stage that gets over failures may do so often.
const maxFailed = 256

func (f *failed) add(r *Running, took time.Duration, err error) {
	if r.number == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) == maxFailed {
		f.list = append(f.list[:0], f.list[1:]...)
	}
	f.list = append(f.list, failedOp{FailedOp{r.op.Desc, r.op.ConfigPath, err.Error(), took.Seconds()}, r.number, r.parent})
}

// FailedOps are the operations that a process that failed just now failed for:
// the outermost first, each of the others inside of the one before. Earlier
// failures, which something got over, are not among them.
func (l *Logger) FailedOps() []FailedOp {
	f := &l.shared().failed
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.list) == 0 {
		return nil
	}
	at := f.list[len(f.list)-1]
	out := []FailedOp{at.FailedOp}
	for i := len(f.list) - 1; i >= 0; i-- {
		if f.list[i].parent == at.number {
			at = f.list[i]
			out = append(out, at.FailedOp)
		}
	}
	return out
}

// WriteFailure writes the file, readable by root alone, whole or not at all.
func WriteFailure(name string, f Failure) (err error) {
	raw, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	t, err := os.CreateTemp(filepath.Dir(name), ".failure-") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(t.Name())
		}
	}()
	_, err = t.Write(append(raw, '\n'))
	if err = errors.Join(err, t.Close()); err != nil {
		return err
	}
	return os.Rename(t.Name(), name)
}

// maxFailure bounds what is read from a partition.
const maxFailure = 1 << 20

// ReadFailure reads the file.
func ReadFailure(name string) (Failure, error) {
	var f Failure
	in, err := os.Open(name)
	if err != nil {
		return f, err
	}
	defer in.Close()
	raw, err := io.ReadAll(io.LimitReader(in, maxFailure))
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return f, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}
