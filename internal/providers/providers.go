// SPDX-License-Identifier: Apache-2.0

// Package providers is the contract between the engine and the rooms below
// it, one per platform: what a provider is given, and what it gives back. A
// provider is a pure parse and a thin fetch; it never decides what is done
// with a config.
package providers

import (
	"context"
	"errors"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/resource"
)

// ErrNoProvider means that a source is not configured at all: the next one is asked.
var ErrNoProvider = errors.New("config provider was not online")

// Arg is one key=value of the kernel command line.
type Arg struct{ Key, Value string }

// Env is what a provider works with. Nothing in it is global, so tests fill it freely.
type Env struct {
	Log          resource.Log
	Fetcher      *resource.Fetcher // time-outs of the first fetch are set; may be offline
	CommandLine  func() ([]Arg, error)
	LabelDir     string   // /dev/disk/by-label
	DevDir       string   // /dev
	RunDir       string   // /run
	SysDir       string   // /sys
	ConfigFile   string   // IGNITION_CONFIG_FILE; "" = unset
	SystemDirs   []string // highest priority first
	Arch         string   // GOARCH
	FetchTimeout time.Duration
	IMDSEndpoint string // AWS_EC2_METADATA_SERVICE_ENDPOINT; "" = built in
	IMDSMode     string // AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE: "", "IPv4", "IPv6"

	// Mount mounts a device read-only on a private directory, as an operation
	// described by desc; fstype "auto" finds out what it is.
	Mount func(ctx context.Context, desc, device, fstype string) (dir string, unmount func(), err error)
	// Run runs a program as an operation described by desc and gives what it printed.
	Run func(ctx context.Context, desc, name string, args ...string) (stdout, stderr []byte, err error)
	// Modprobe loads a kernel module.
	Modprobe func(ctx context.Context, module string) error
}

// Result is what a provider found. An empty Raw means that the source answered but holds no config.
type Result struct {
	Raw   []byte
	Files []config.File // written by the files stage
	Once  bool          // the platform gives it once per boot: a later stage that fetches again gets this one
}

// Provider is one row of the platform table.
type Provider struct {
	Name         string
	NeedsNetwork bool
	Fetch        func(ctx context.Context, env *Env) (Result, error)
	Files        func(ctx context.Context, env *Env) ([]config.File, error)         // for the files stage, where another source has the config; nil: none
	Cloud        func(env *Env) resource.Cloud                                      // what object stores need; nil: anonymous
	Delete       func(ctx context.Context, env *Env) error                          // nil: cannot delete config on this platform
	Status       func(ctx context.Context, env *Env, stage string, err error) error // nil: no report
}
