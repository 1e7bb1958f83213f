// SPDX-License-Identifier: Apache-2.0

// Package legacy reads configs of spec 1 and of 2.0.0 to 2.4.0 into the types of
// internal/config. What these versions mean is kept where the newest one can say
// it; what changes its meaning is a warning, and what cannot be carried over an
// error, with the place in the document as it was written. Like internal/config
// it touches no file, no network and no program. Documents of spec 3.x are handed
// to internal/config, so callers that take every version call Parse of here.
package legacy

import (
	"errors"
	"fmt"

	"firstboot.dev/ignition/internal/config"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// Parse reads one document of any version into the newest form.
func Parse(raw []byte) (c config.Config, r report.Report, err error) {
	c, r, err = config.Parse(raw)
	if !errors.Is(err, config.ErrUnknownVersion) && !errors.Is(err, config.ErrInvalidVersion) {
		return c, r, err
	}
	var h header
	if r, typeErr := config.Decode(raw, v1, &h); typeErr != nil {
		return c, r, typeErr
	}
	v, ok := h.version()
	if !ok {
		return c, r, h.explain(err)
	}
	t, err := read(raw, v)
	if err == nil {
		c = t.out
	}
	return c, t.report, err
}

// Convert writes a document of any version as one of spec 3.x, for `ignition transpile`. The report says what
// changes its meaning, and of a document that cannot be converted why. A document of spec 3.x is given back as it is.
func Convert(raw []byte) ([]byte, report.Report, error) {
	c, r, err := Parse(raw)
	if err != nil {
		return nil, r, err
	}
	if _, ok := versionOf(raw); !ok {
		return raw, r, nil
	}
	return config.MarshalDocument(c, newForm), r, nil
}

// Places is config.Places for a document of any version, from which Parse gave c.
func Places(raw []byte, c config.Config) map[string]config.Place {
	v, ok := versionOf(raw)
	if !ok {
		return config.Places(raw, c)
	}
	t, _ := read(raw, v)
	return config.PlacesFrom(raw, c, t.source)
}

// Source leads a path of the config that Parse gave back to the document.
func Source(raw []byte, p path.ContextPath) path.ContextPath {
	if v, ok := versionOf(raw); ok {
		t, _ := read(raw, v)
		return t.source(p)
	}
	return p
}

// versionOf is the version of a document that Parse accepts; ok is false for one that is not of a legacy version.
func versionOf(raw []byte) (v config.Version, ok bool) {
	h := header{IgnitionVersion: int(v1.Major)} // or there is a version string
	h.Ignition.Version = config.SpecVersion(raw)
	return h.version()
}

// version is the supported version that a header names. The version string wins over the number.
func (h *header) version() (v config.Version, ok bool) {
	if h.Ignition.Version == "" {
		return v1, h.IgnitionVersion == int(v1.Major)
	}
	v, metadata, ok := config.ParseVersion(h.Ignition.Version)
	if !ok || metadata != "" {
		return config.Version{}, false
	}
	for _, s := range stringVersions {
		if v == s {
			return v, true
		}
	}
	return config.Version{}, false
}

// explain adds to an error about the version which old ones would be right.
func (h *header) explain(err error) error {
	major := int64(h.IgnitionVersion)
	if h.Ignition.Version != "" {
		v, _, _ := config.ParseVersion(h.Ignition.Version)
		major = v.Major
	}
	if major != 1 && major != 2 {
		return err
	}
	return fmt.Errorf(`unable to parse 2.x ignition: %w; older ones that are read are 2.0.0 up to %s, and spec 1 by "ignitionVersion": 1`,
		err, v2_4)
}

// read decodes, checks and translates. The report is complete whatever the error, and has positions.
func read(raw []byte, v config.Version) (*translation, error) {
	t := &translation{v: v, origins: map[string]path.ContextPath{}, failed: map[string]bool{}}
	var d document
	unused, err := config.Decode(raw, v, &d)
	if err != nil {
		t.report = unused
		return t, fmt.Errorf("unable to parse 2.x ignition: %w", err)
	}
	if v == v1 {
		d.lift()
	}
	t.validate(&d)
	invalid := t.errors
	t.translate(&d)
	t.checkResult()
	config.SetPositions(raw, t.report.Entries)
	t.report.Entries = append(t.report.Entries, unused.Entries...)
	switch {
	case invalid:
		return t, fmt.Errorf("unable to parse 2.x ignition: %w", config.ErrInvalid)
	case t.errors:
		return t, fmt.Errorf("unable to translate 2.x ignition to 3.x: %w", config.ErrInvalid)
	}
	return t, nil
}
