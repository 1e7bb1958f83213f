// SPDX-License-Identifier: Apache-2.0

package kargs

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
)

type fakeRunner struct {
	calls []exec.Cmd
	ops   []oplog.Op
	err   error
}

func (f *fakeRunner) Logged(_ context.Context, _ *oplog.Logger, op oplog.Op, c exec.Cmd) (exec.Result, error) {
	f.calls, f.ops = append(f.calls, c), append(f.ops, op)
	return exec.Result{}, f.err
}

func TestRun(t *testing.T) {
	for _, row := range []struct {
		name string
		args config.KernelArguments
		want []string // nil: the helper is not run
	}{
		{"nothing to do", config.KernelArguments{}, nil},
		{"empty lists", config.KernelArguments{ShouldExist: []string{}, ShouldNotExist: []string{}}, nil},
		{"both lists, in order", config.KernelArguments{ShouldExist: []string{"b=1 2", "a"}, ShouldNotExist: []string{"z", "y"}},
			[]string{"--should-exist", "b=1 2", "--should-exist", "a", "--should-not-exist", "z", "--should-not-exist", "y"}},
		{"only removals", config.KernelArguments{ShouldNotExist: []string{"quiet"}}, []string{"--should-not-exist", "quiet"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := &fakeRunner{}
			if err := Run(context.Background(), oplog.Deferred(), f, "helper", row.args); err != nil {
				t.Fatal(err)
			}
			if row.want == nil {
				if len(f.calls) != 0 {
					t.Fatalf("the helper was run: %v", f.calls)
				}
				return
			}
			if len(f.calls) != 1 || f.calls[0].Name != "helper" || !reflect.DeepEqual(f.calls[0].Args, row.want) {
				t.Errorf("got %v, want one call with %q", f.calls, row.want)
			}
			if f.ops[0].Desc != "updating kernel arguments" {
				t.Errorf("operation %q", f.ops[0].Desc)
			}
		})
	}
}

func TestRunFails(t *testing.T) {
	cause := errors.New("exit status 1")
	err := Run(context.Background(), oplog.Deferred(), &fakeRunner{err: cause}, "helper", config.KernelArguments{ShouldExist: []string{"a"}})
	var entry *config.EntryError
	if !errors.Is(err, cause) || !errors.As(err, &entry) || entry.Path != "$.kernelArguments" {
		t.Errorf("got %v", err)
	}
	if want := "failed adding kernel arguments: exit status 1"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}
