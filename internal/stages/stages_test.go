// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"encoding/json"
	"testing"
)

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
