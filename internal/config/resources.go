// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/url"
	"reflect"
	"strings"

	"github.com/coreos/vcontext/path"
)

// EachResource calls f with every resource of the config and its path until f returns an error.
func EachResource(c *Config, f func(p path.ContextPath, r *Resource) error) error {
	return eachResource(reflect.ValueOf(c).Elem(), describeConfig(), path.New("json"), f)
}

func eachResource(v reflect.Value, o *object, at path.ContextPath, f func(path.ContextPath, *Resource) error) error {
	if r, ok := v.Addr().Interface().(*Resource); ok {
		return f(at.Copy(), r)
	}
	for i := range o.fields {
		fd := &o.fields[i]
		if fd.elem == nil {
			continue
		}
		fv, p := v.FieldByIndex(fd.index), at.Append(fd.name)
		if !fd.list {
			if err := eachResource(fv, fd.elem, p, f); err != nil {
				return err
			}
			continue
		}
		for n := range fv.Len() {
			if err := eachResource(fv.Index(n), fd.elem, p.Append(n), f); err != nil {
				return err
			}
		}
	}
	return nil
}

type foundNetwork struct{ at path.ContextPath }

func (foundNetwork) Error() string { return "resource requires networking" }

// NeedsNetwork tells whether a rendered config needs the network, and the path of the first entry that does.
func NeedsNetwork(c *Config) (bool, path.ContextPath, error) {
	err := EachResource(c, func(p path.ContextPath, r *Resource) error {
		if r.Source == nil || len(*r.Source) >= 5 && strings.EqualFold((*r.Source)[:5], "data:") {
			return nil // spares the parsing of a large body
		}
		u, err := url.Parse(*r.Source)
		if err != nil {
			// The parser's error quotes the URL, which may hold a password.
			return &EntryError{Path: p.String(), Err: fmt.Errorf("%s: unable to parse url", p)}
		}
		if s := strings.ToLower(u.Scheme); s == "" || s == "oem" {
			return nil
		}
		return foundNetwork{p.Append("source")}
	})
	if found, ok := err.(foundNetwork); ok {
		return true, found.at, nil
	}
	if err != nil {
		return false, path.ContextPath{}, err
	}
	for i := range c.Storage.LUKS {
		clevis := &c.Storage.LUKS[i].Clevis
		at := path.New("json", "storage", "luks", i, "clevis")
		for n, t := range clevis.Tang {
			if t.Advertisement == nil || *t.Advertisement == "" {
				return true, at.Append("tang", n), nil
			}
		}
		if need := clevis.Custom.NeedsNetwork; need != nil && *need {
			return true, at.Append("custom"), nil
		}
	}
	return false, path.ContextPath{}, nil
}
