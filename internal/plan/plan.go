// SPDX-License-Identifier: Apache-2.0

// Package plan is what a boot is going to do, told before it is done: a list of
// operations in the order in which the record will have them. It is data with
// its text forms; the stages make it, from a config and from what they find.
package plan

import (
	"errors"

	"firstboot.dev/ignition/internal/oplog"
)

// ErrChanged means that a plan was made of something that moved.
var ErrChanged = errors.New("the root changed while the plan was made; run it again when nothing else writes to it")

// Effect is what an operation does to its object.
type Effect string

// The effects. What is kept is in no record; it is listed so that a reader sees
// that the entry of the config was thought of.
const (
	Create Effect = "create"
	Change Effect = "change"
	Delete Effect = "delete"
	Keep   Effect = "keep"
)

// Operation is one step.
type Operation struct {
	Stage  string `json:"stage"`
	Kind   string `json:"kind"`             // as in the record: "write-file"
	Path   string `json:"path,omitempty"`   // the object: a path in the sysroot, a device, a name
	Config string `json:"config,omitempty"` // the config entry: "$.storage.files.0"
	Effect Effect `json:"effect"`
	Desc   string `json:"description"` // for a person

	Loses   string    `json:"loses,omitempty"`   // what is gone for good then
	Depends string    `json:"depends,omitempty"` // on what is not known yet
	Fetches *Download `json:"fetches,omitempty"`
	Diff    string    `json:"diff,omitempty"` // unified, of a text file

	Exact string `json:"-"` // more of what is done, for the hash
}

// Download is what an operation gets from somewhere else.
type Download struct {
	URL  string `json:"url"`            // without what is secret in it
	Hash string `json:"hash,omitempty"` // that the config gives
	Size int64  `json:"size,omitempty"` // bytes, where known
}

// Plan is all operations of a boot.
type Plan struct {
	Operations []Operation `json:"operations"`
	Disks      []Disk      `json:"disks,omitempty"`   // whose partition tables the config is about
	Hash       string      `json:"hash,omitempty"`    // empty where something is not known
	Unknown    []string    `json:"unknown,omitempty"` // what could not be looked at, and what it means
}

// Changes tells whether there is something to do.
func (p *Plan) Changes() bool {
	for i := range p.Operations {
		if p.Operations[i].Effect != Keep {
			return true
		}
	}
	return false
}

// Of gives the operation of one that is recorded.
func Of(op oplog.Op, effect Effect) Operation {
	return Operation{Kind: op.Kind, Path: op.Path, Config: op.ConfigPath, Effect: effect, Desc: op.Desc}
}
