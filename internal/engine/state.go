// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/stages"
)

// loadState reads what earlier stages left. No file is an empty state.
func loadState(path string) (*stages.State, error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &stages.State{}, nil
	}
	if err != nil {
		return nil, err
	}
	var s stages.State
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &s, nil
}

func saveState(path string, s *stages.State) error {
	raw, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return replaceFile(path, 0o600, func(w io.Writer) error {
		_, err := w.Write(append(raw, '\n'))
		return err
	})
}

// writeCache keeps the mode of an existing cache.
func writeCache(path string, c config.Config) error {
	mode := fs.FileMode(0o640)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("writing config cache: %w", err)
	}
	write := func(w io.Writer) error { return config.EncodeCache(w, c) }
	if err := replaceFile(path, mode, write); err != nil {
		return fmt.Errorf("writing config cache: %w", err)
	}
	return nil
}

// replaceFile writes a temporary file beside path and renames it over, so that
// no reader and no power cut meets half of it.
func replaceFile(path string, mode fs.FileMode, write func(io.Writer) error) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".ignition-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if err := write(tmp); err != nil {
		return err
	}
	if err := tmp.Chmod(mode); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// signalNeedNet makes the flag file by which the image knows to bring the network up.
func (r *run) signalNeedNet() error {
	err := os.MkdirAll(filepath.Dir(r.NeedNet), 0o755)
	if err == nil {
		var f *os.File
		if f, err = os.Create(r.NeedNet); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		r.Log.Crit("failed to signal neednet: %v", err)
		return fmt.Errorf("signalling neednet: %w", err)
	}
	return nil
}

// journalFetched tells the journal which configs took part.
func (r *run) journalFetched() {
	for _, f := range r.state.FetchedConfigs {
		r.Log.FetchedConfig(f.Kind, f.Source, f.Referenced)
	}
}

func readCommandLineFile(path string) (string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("reading the kernel command line: %w", err)
	}
	return string(raw), nil
}
