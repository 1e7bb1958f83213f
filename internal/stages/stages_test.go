// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
)

func ptr[T any](v T) *T { return &v }

// TestUnsupported: what this build cannot do is refused by name, and only that.
func TestUnsupported(t *testing.T) {
	fs := func(format, path *string) config.Config {
		return config.Config{Storage: config.Storage{Filesystems: []config.Filesystem{{Device: "/dev/x", Format: format, Path: path}}}}
	}
	for _, row := range []struct {
		name, stage string
		cfg         config.Config
		want        string // config path of the error, "" if the stage passes
	}{
		{"empty", "disks", config.Config{}, ""},
		{"disks", "disks", config.Config{Storage: config.Storage{Disks: []config.Disk{{Device: "/dev/x"}}}}, "$.storage.disks"},
		{"raid", "disks", config.Config{Storage: config.Storage{RAID: []config.RAID{{Name: "x"}}}}, "$.storage.raid"},
		{"luks", "disks", config.Config{Storage: config.Storage{LUKS: []config.LUKS{{Name: "x"}}}}, "$.storage.luks"},
		{"filesystem", "disks", fs(ptr("ext4"), nil), "$.storage.filesystems"},
		{"inert filesystem", "disks", fs(nil, nil), ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			stage, ok := Lookup(row.stage)
			if !ok {
				t.Fatalf("no stage %s", row.stage)
			}
			err := stage.Run(context.Background(), &Env{Config: &row.cfg, Log: oplog.Deferred()})
			if row.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var entry *config.EntryError
			if !errors.As(err, &entry) || entry.Path != row.want || entry.Hint == "" {
				t.Errorf("got %#v, want an error at %s", err, row.want)
			}
		})
	}
}

func TestLookup(t *testing.T) {
	order := []string{"fetch-offline", "fetch", "kargs", "disks", "mount", "files", "umount"}
	for i, name := range order {
		if s, ok := Lookup(name); !ok || s.Name != name || All[i].Name != name || s.Fetches != (i < 2) {
			t.Errorf("stage %d is %+v, want %s", i, All[i].Name, name)
		}
	}
	if _, ok := Lookup("fetch_offline"); ok {
		t.Error("a folder name is no stage name")
	}
}

// TestStateForm: the keys of the state file are read by images.
func TestStateForm(t *testing.T) {
	var s State
	raw, err := json.Marshal(&s)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"fetchedConfigs":null,"luksPersistKeyFiles":null,"luksPersistVolumeKeyFiles":null,"notatedDirectories":null,"providerOutputFiles":null}`
	if string(raw) != want {
		t.Errorf("got  %s\nwant %s", raw, want)
	}
}

func TestAddFetched(t *testing.T) {
	var s State
	base := FetchedConfig{Kind: "base", Source: "system"}
	s.AddFetched(base)
	s.AddFetched(base)
	if len(s.FetchedConfigs) != 1 || s.UserConfigProvided() {
		t.Errorf("got %+v", s)
	}
	s.AddFetched(FetchedConfig{Kind: "user", Source: "http://x/y", Referenced: true})
	if len(s.FetchedConfigs) != 2 || !s.UserConfigProvided() {
		t.Errorf("got %+v", s)
	}
}
