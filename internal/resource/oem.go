// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// fetchOEM reads a file below the OEM directory. The path is cleaned first, so
// that ".." does not lead out of it.
func fetchOEM(_ context.Context, f *Fetcher, log Log, r Request, out *pipeline) error {
	u, err := url.Parse(r.URL)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(u.Path, "/") {
		log.Err("oem path is not absolute: %q", u.Path)
		return ErrPath
	}
	file, err := os.Open(filepath.Join(f.shared.opts.OEMDir, path.Clean(u.Path)))
	if err != nil {
		log.Err("failed to read oem config: %v", err)
		return ErrFailed
	}
	defer file.Close()
	if err := out.copy(file); err != nil {
		log.Err("failed to read oem config: %v", err)
		return err
	}
	return nil
}
