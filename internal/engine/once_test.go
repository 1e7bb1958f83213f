// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/stages"
)

func fileAt(path string) []config.File {
	return []config.File{{Node: config.Node{Path: path}}}
}

// TestOnce checks that what a platform gives only once outlives the wait for
// the network, and no longer than that.
func TestOnce(t *testing.T) {
	m := newMachine(t, "fetch-offline", func() (providers.Result, error) {
		raw := doc("3.3.0", merges("http://127.0.0.1:1/never"), "")
		return providers.Result{Raw: []byte(raw), Files: fileAt("/var/lib/x"), Once: true}, nil
	})
	m.run(ExitOK)
	if !m.has("run/net/neednet") || m.has("run/ignition.json") {
		t.Fatalf("the network was not asked for:\n%s", m.log)
	}
	state, err := loadState(m.StateFile)
	if err != nil || len(state.ProviderConfig) == 0 {
		t.Fatalf("the config is not kept: %+v, %v", state, err)
	}
	state.ProviderConfig = []byte(doc("3.3.0", "", file("kept")))
	if err := saveState(m.StateFile, state); err != nil {
		t.Fatal(err)
	}
	m.Stage = "fetch"
	m.run(ExitOK)
	if m.fetches != 1 {
		t.Errorf("the platform was asked %d times", m.fetches)
	}
	state, err = loadState(m.StateFile)
	if err != nil || state.ProviderConfig != nil || len(state.ProviderOutputFiles) != 1 {
		t.Errorf("state %+v, %v", state, err)
	}
}

// TestPlatformFiles checks that a platform's files are taken from it where the
// config comes from elsewhere, once, and that no boot fails for them.
func TestPlatformFiles(t *testing.T) {
	for _, row := range []struct {
		name         string
		before, want string
		err          error
		calls        int
		log          string
	}{
		{name: "files", want: "/var/lib/x", calls: 1},
		{name: "of an earlier stage", before: "/var/lib/old", want: "/var/lib/old"},
		{name: "failure", err: errors.New("no device"), calls: 1, log: "WARNING  : failed to fetch the files of platform \"test\": no device\n"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t, "fetch", fails(errors.New("must not be asked")))
			m.write("etc-ignition/user.ign", doc("3.3.0", "", ""))
			if row.before != "" {
				if err := saveState(m.StateFile, &stages.State{ProviderOutputFiles: fileAt(row.before)}); err != nil {
					t.Fatal(err)
				}
			}
			calls := 0
			m.Platform.provider.Files = func(context.Context, *providers.Env) ([]config.File, error) {
				calls++
				if row.err != nil {
					return nil, row.err
				}
				return fileAt("/var/lib/x"), nil
			}
			m.run(ExitOK)
			m.wantLog(row.log)
			state, err := loadState(m.StateFile)
			if err != nil || calls != row.calls {
				t.Fatalf("%d calls, %v", calls, err)
			}
			got := ""
			for _, f := range state.ProviderOutputFiles {
				got += f.Path
			}
			if got != row.want || m.fetches != 0 {
				t.Errorf("files %q, want %q; %d fetches", got, row.want, m.fetches)
			}
		})
	}
}
