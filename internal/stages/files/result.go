// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

// result is the result file; the order of its keys is part of its form.
type result struct {
	ProvisioningBootID string          `json:"provisioningBootID"`
	ProvisioningDate   string          `json:"provisioningDate"`
	UserConfigProvided bool            `json:"userConfigProvided"`
	PreviousReport     json.RawMessage `json:"previousReport,omitempty"`
}

func (s *stage) resultPath() string {
	p, err := s.Root.Resolve(path.Join("/", s.ResultFile))
	if err != nil {
		return path.Join("/", s.ResultFile)
	}
	return p
}

// createResult writes the result file, the last thing of all: it says that the
// rest is there.
func (s *stage) createResult() error {
	if s.ResultFile == "" {
		return nil
	}
	log := s.Log.With("createResultFile")
	boot, err := os.ReadFile(s.BootIDPath)
	if err != nil {
		return err
	}
	r := result{
		ProvisioningBootID: strings.TrimSpace(string(boot)),
		ProvisioningDate:   s.Now().Format(time.RFC3339),
		UserConfigProvided: s.UserConfigProvided,
	}
	p := s.resultPath()
	if r.PreviousReport, err = s.previous(log, p); err != nil {
		return err
	}
	text, err := encodeResult(r)
	if err != nil {
		return err
	}
	op := oplog.Op{Desc: fmt.Sprintf("writing file %q", s.Root.Display(p)), Kind: "write-file", Path: p}
	return log.With("createFiles").Do(op, func(*oplog.Logger) error {
		s.label(p)
		if err := s.makeParents(p); err != nil {
			return err
		}
		return s.Root.WriteFileSync(p, text, 0o600, s.owner, s.owner)
	})
}

func encodeResult(r result) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(r)
	return b.Bytes(), err
}

// previous gives the result of an earlier provisioning, if this is not a live
// system, where the tree is new at each boot.
func (s *stage) previous(log *oplog.Logger, p string) (json.RawMessage, error) {
	raw, err := s.Root.ReadFile(p)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	own := s.mark.again && digestOf(raw) != s.mark.Result
	if own {
		// The cut run wrote it. What it nested, if anything, is the older one.
		var r result
		if json.Unmarshal(raw, &r) != nil {
			return nil, nil
		}
		return r.PreviousReport, nil
	}
	if _, err := s.Runner.Run(s.ctx, exec.Cmd{Name: "is-live-image"}); err == nil {
		return nil, nil
	} else if !exited(err) {
		log.Notice("failed to run is-live-image hook: %v", err)
	}
	log.Warning("Ignition has already run on this system. Unexpected behavior may occur. Ignition is not designed to run more than once per system.")
	var object map[string]json.RawMessage
	if err := json.Unmarshal(raw, &object); err != nil {
		log.Warning("the result file of the earlier run cannot be read and is left out: %v", err)
		return nil, nil
	}
	if object == nil {
		return nil, nil // null
	}
	return bytes.TrimSpace(raw), nil
}

// exited tells whether a program ran and said no.
func exited(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.Code > 0
}
