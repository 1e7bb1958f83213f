// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"ignition":          main,
		"ignition-apply":    main,
		"ignition-rmcfg":    main,
		"ignition-validate": main,
		"butane":            main,
	})
}

// TestScripts runs the command lines of testdata/script: exit codes, stdout and
// stderr are an interface.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			// Nothing of the machine that runs the tests may leak in.
			for _, name := range []string{"RUNTIME", "LOCAL"} {
				e.Setenv("IGNITION_SYSTEM_"+name+"_CONFIG_DIR", e.WorkDir+"/"+name)
			}
			e.Setenv("IGNITION_SYSTEM_CONFIG_DIR", e.WorkDir+"/vendor")
			e.Setenv("IGNITION_KERNEL_CMDLINE_PATH", e.WorkDir+"/cmdline")
			e.Setenv("RUN", "--config-cache="+e.WorkDir+"/run/ignition.json --state-file="+e.WorkDir+"/run/state")
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){"code": exitCode},
	})
}

// exitCode is the script command "code N program args...": the program must exit with N.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N program [args...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%s: %v", args[1], err)
	}
	if got != want {
		ts.Fatalf("%s exited with %d, want %d", args[1], got, want)
	}
}
