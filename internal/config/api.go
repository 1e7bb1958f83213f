// SPDX-License-Identifier: Apache-2.0

package config

import "errors"

// Errors of Parse that callers tell apart.
var (
	ErrEmpty          = errors.New("not a config (empty)")
	ErrInvalid        = errors.New("config is not valid")
	ErrInvalidVersion = errors.New("invalid config version (couldn't parse)")
	ErrUnknownVersion = errors.New("unsupported config version")
)

// EntryError says which config entry an error belongs to and what to do about it.
type EntryError struct {
	Path string // "$.storage.files.3.contents"
	Hint string // what the user can do, one sentence; may be empty
	Err  error
}

func (e *EntryError) Error() string { return e.Err.Error() }
func (e *EntryError) Unwrap() error { return e.Err }
