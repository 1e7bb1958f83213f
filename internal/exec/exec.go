// SPDX-License-Identifier: Apache-2.0

// Package exec starts host programs. It is the one place of the project that
// may use os/exec. A command is logged once, as
// `executing: "prog" "arg"`, with its secret arguments redacted; a failed
// one gives an error with its exit status and output.
package exec

import (
	"context"
	"io"

	"firstboot.dev/ignition/internal/oplog"
)

// Cmd is one program run. Name is looked up in PATH.
type Cmd struct {
	Name   string
	Args   []string
	Stdin  io.Reader
	Env    []string // added to the process's environment
	Secret []int    // indices of Args that are shown as "<redacted>"
}

// Result is what a program left.
type Result struct {
	ExitCode int
	Stdout   []byte
	Stderr   []byte
}

// Runner starts programs.
type Runner struct{}

// Run runs a command without log lines. A non-zero exit is an error (*ExitError) beside the Result.
func (r *Runner) Run(ctx context.Context, c Cmd) (Result, error) { panic("stub") }

// Logged runs a command as an operation.
func (r *Runner) Logged(ctx context.Context, l *oplog.Logger, op oplog.Op, c Cmd) (Result, error) {
	panic("stub")
}

// ExitError is a command that could not be started or did not exit 0. Its text is
// `exit status 1: Cmd: "prog" "arg1" Stdout: "<quoted>" Stderr: "<quoted>"`.
type ExitError struct {
	Code int // -1 if it did not start
	text string
}

func (e *ExitError) Error() string { return e.text }
