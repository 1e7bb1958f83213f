// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"

	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// Errors of Parse that callers tell apart.
var (
	ErrEmpty          = errors.New("not a config (empty)")
	ErrInvalid        = errors.New("config is not valid")
	ErrInvalidVersion = errors.New("invalid config version (couldn't parse)")
	ErrUnknownVersion = errors.New("unsupported config version")
)

// Parse reads one document of any supported version into the newest form.
func Parse(raw []byte) (Config, report.Report, error) { panic("stub") }

// Empty is the config of the newest version that asks for nothing.
func Empty() Config { panic("stub") }

// MaxVersion is the newest version string ("3.7.0-experimental"), MaxStable the newest stable one ("3.6.0").
func MaxVersion() string { panic("stub") }
func MaxStable() string  { panic("stub") }

// Merge lays child over parent.
func Merge(parent, child Config) Config { panic("stub") }

// ValidateMerged runs the newest version's rule checks (no duplicates, no unused keys, no positions).
func ValidateMerged(c Config) report.Report { panic("stub") }

// MarshalCache gives the compact one-line cache form; UnmarshalCache reads it without validation.
func MarshalCache(c Config) ([]byte, error)     { panic("stub") }
func UnmarshalCache(raw []byte) (Config, error) { panic("stub") }

// MarshalRedacted gives 2-space indented JSON with password hashes, key files, data URL bodies, header
// values and URL credentials replaced, for error output.
func MarshalRedacted(c Config) ([]byte, error) { panic("stub") }

// EachResource calls f with every resource of the config and its path until f returns an error.
func EachResource(c *Config, f func(p path.ContextPath, r *Resource) error) error { panic("stub") }

// NeedsNetwork tells whether a rendered config needs the network (spec: engine-and-files.md section 3.7),
// and the path of the first entry that does.
func NeedsNetwork(c *Config) (bool, path.ContextPath, error) { panic("stub") }

// RedactURL hides the password and query values that are named like credentials; a data URL's body is dropped.
func RedactURL(u string) string { panic("stub") }

// EntryError says which config entry an error belongs to and what to do about it.
type EntryError struct {
	Path string // "$.storage.files.3.contents"
	Hint string // what the user can do, one sentence; may be empty
	Err  error
}

func (e *EntryError) Error() string { return e.Err.Error() }
func (e *EntryError) Unwrap() error { return e.Err }
