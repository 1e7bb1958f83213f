// SPDX-License-Identifier: Apache-2.0

// Package exec starts host programs. It is the one place of the project that
// may use os/exec. A command is logged once, as
// `executing: "prog" "arg"`, with its secret arguments redacted; a failed
// one gives an error with its exit status and output, from which the secrets
// are removed as well. A cancelled context ends the program and all that it
// started. What the programs mean is for the callers to know.
package exec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"firstboot.dev/ignition/internal/oplog"
)

// Grace is how long a program that was asked to end (SIGTERM, on
// cancellation) may take before it is killed, and how long a program's
// children may hold its output open after it has ended.
const Grace = 2 * time.Second

// ErrNotFound is what a run wraps whose program is not there.
var ErrNotFound = osexec.ErrNotFound

// Cmd is one program run. Name is looked up in PATH.
type Cmd struct {
	Name   string
	Args   []string
	Stdin  io.Reader // nil reads as empty
	Env    []string  // added to the process's environment
	Secret []int     // indices of Args that are shown as "<redacted>"
	Hide   []string  // further values to keep out of error texts, e.g. a passphrase given on stdin
}

// Result is what a program left. Of a long output the last part is kept, and
// the command's secrets are replaced in it.
type Result struct {
	ExitCode  int // -1 if it did not start or was ended by a signal
	Stdout    []byte
	Stderr    []byte
	Truncated bool // the beginning of Stdout or Stderr was dropped
}

// Runner starts programs. The zero value uses this process's PATH and environment.
type Runner struct {
	Path string   // where programs are looked up instead, and what they get as PATH
	Env  []string // environment instead of this process's
}

// ExitError is a command that could not be started or did not exit 0. Its text is
// `exit status 1: Cmd: "prog" "arg1" Stdout: "<quoted>" Stderr: "<quoted>"`.
type ExitError struct {
	Code  int // -1 if it did not start or was ended by a signal
	cause error
	text  string
}

func (e *ExitError) Error() string { return e.text }

// Unwrap gives the reason, e.g. os/exec's ErrNotFound or the context's error.
func (e *ExitError) Unwrap() error { return e.cause }

// Run runs a command without log lines. A non-zero exit is an error (*ExitError) beside the Result.
func (r *Runner) Run(ctx context.Context, c Cmd) (Result, error) {
	secrets := c.secrets()
	stdout, stderr := newTail(stdoutLimit, secrets), newTail(stderrLimit, secrets)
	code, cause := r.start(ctx, c, stdout, stderr)
	out, outDropped := stdout.result()
	errOut, errDropped := stderr.result()
	res := Result{ExitCode: code, Stdout: out, Stderr: errOut, Truncated: outDropped > 0 || errDropped > 0}
	if cause == nil {
		return res, nil
	}
	text := fmt.Sprintf("%v: Cmd: %s Stdout: %q Stderr: %q",
		cause, c.quoted(), excerpt(out, outDropped), excerpt(errOut, errDropped))
	return res, &ExitError{Code: code, cause: cause, text: text}
}

// Stream runs a command without log lines and sends its output to out as it comes.
func (r *Runner) Stream(ctx context.Context, c Cmd, out io.Writer) error {
	stderr := newTail(stderrLimit, c.secrets())
	code, cause := r.start(ctx, c, out, stderr)
	if cause == nil {
		return nil
	}
	errOut, dropped := stderr.result()
	return &ExitError{Code: code, cause: cause, text: fmt.Sprintf("%v: Cmd: %s Stderr: %q", cause, c.quoted(), excerpt(errOut, dropped))}
}

// start runs the program to its end and gives the reason if it did not exit 0.
func (r *Runner) start(ctx context.Context, c Cmd, stdout, stderr io.Writer) (code int, err error) {
	if err := ctx.Err(); err != nil {
		return -1, err
	}
	path, err := r.lookPath(c.Name)
	if err != nil {
		return -1, err
	}
	cmd := osexec.CommandContext(ctx, path, c.Args...)
	cmd.Args[0] = c.Name
	r.setEnvironment(cmd, c.Env)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Stdin, stdout, stderr
	// A group of its own, so that cancellation reaches what the program started too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return terminate(cmd.Process.Pid) }
	cmd.WaitDelay = Grace
	if err := cmd.Start(); err != nil {
		return -1, err
	}
	err = cmd.Wait()
	code = cmd.ProcessState.ExitCode()
	if ctx.Err() != nil && err != nil {
		// The program is gone; whatever of its group ignored SIGTERM goes as well.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		return code, interrupted(ctx, err)
	}
	if errors.Is(err, osexec.ErrWaitDelay) && code == 0 {
		// It did its work and left a child with the output open, as mount helpers do.
		return 0, nil
	}
	return code, err
}

// terminate asks a process group to end.
func terminate(group int) error {
	err := syscall.Kill(-group, syscall.SIGTERM)
	if errors.Is(err, syscall.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// interrupted joins the context's reason with what became of the program.
func interrupted(ctx context.Context, err error) error {
	if errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w: %w", ctx.Err(), err)
}

// Logged runs a command as an operation.
func (r *Runner) Logged(ctx context.Context, l *oplog.Logger, op oplog.Op, c Cmd) (Result, error) {
	if op.Kind == "" {
		op.Kind = "exec"
	}
	var res Result
	err := l.Do(op, func(l *oplog.Logger) error {
		var err error
		res, err = r.RunIn(ctx, l, c)
		return err
	})
	return res, err
}

// RunIn runs a command inside an operation that the caller has started: it
// writes the `executing:` line and leaves the verdict on failure to the
// caller, for commands whose non-zero exit is an answer.
func (r *Runner) RunIn(ctx context.Context, l *oplog.Logger, c Cmd) (Result, error) {
	l.Debug("executing: %s", c.quoted())
	act := l.Activity(oplog.Op{Kind: oplog.KindProgram, Desc: c.Name})
	res, err := r.Run(ctx, c)
	_ = act.End(nil) // whether a status is a failure is for the caller to say
	return res, err
}

// setEnvironment adds to what the process has, or to the Runner's own; of two
// values for a name the later one counts.
func (r *Runner) setEnvironment(cmd *osexec.Cmd, add []string) {
	if r.Env != nil {
		cmd.Env = slices.Clone(r.Env)
	}
	env := cmd.Environ()
	if r.Path != "" {
		env = append(env, "PATH="+r.Path)
	}
	cmd.Env = append(env, add...)
}

// lookPath finds a program as os/exec does, in the Runner's own PATH if it has one.
func (r *Runner) lookPath(name string) (string, error) {
	if r.Path == "" || strings.Contains(name, "/") {
		return osexec.LookPath(name)
	}
	for _, dir := range filepath.SplitList(r.Path) {
		if dir == "" {
			continue // the current directory is no place to find programs in
		}
		if path, err := osexec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", &osexec.Error{Name: name, Err: osexec.ErrNotFound}
}
