// SPDX-License-Identifier: Apache-2.0

package luks

import (
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/exec"
)

// quick makes key derivation cheap.
var quick = []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}

// realVolume gives a Manager of the real tools and a volume on a plain file:
// cryptsetup needs neither root nor the device mapper to write a header.
func realVolume(t *testing.T) (bench, Volume) {
	t.Helper()
	path := os.Getenv("PATH") + ":/usr/sbin:/sbin"
	t.Setenv("PATH", path)
	if _, err := osexec.LookPath("cryptsetup"); err != nil {
		t.Skip("cryptsetup is missing")
	}
	dir := t.TempDir()
	v := Volume{Name: "data", Device: "/dev/configured", Alias: filepath.Join(dir, "disk"), KeyFile: filepath.Join(dir, "key"), Options: quick}
	must(t, os.WriteFile(v.Alias, nil, 0o600))
	must(t, os.Truncate(v.Alias, 20<<20))
	key, err := GenerateKey()
	must(t, err)
	must(t, os.WriteFile(v.KeyFile, key, 0o600))
	b := newBench(&exec.Runner{Path: path})
	t.Cleanup(func() {
		if strings.Contains(b.log.String(), string(key[:64])) {
			t.Error("the key is in the log")
		}
	})
	return b, v
}

func inspect(t *testing.T, b bench, v Volume) Facts {
	t.Helper()
	f, err := b.Inspect(t.Context(), v)
	must(t, err)
	return f
}

func opens(t *testing.T, b bench, v Volume) bool {
	t.Helper()
	yes, err := b.Test(t.Context(), v)
	must(t, err)
	return yes
}

func TestRealInspect(t *testing.T) {
	const uuid = "c0ffee00-1111-4222-8333-444455556666"
	for _, row := range []struct {
		name    string
		change  func(v *Volume)
		prepare []string // cryptsetup's arguments before the device; nil: Format
		want    Facts
	}{
		{"plain", func(*Volume) {}, nil, Facts{Version: 2, Keyslots: 1}},
		{"label and uuid", func(v *Volume) { v.Label, v.UUID = "a label", strings.ToUpper(uuid) }, nil,
			Facts{Version: 2, Keyslots: 1, Label: "a label", UUID: uuid}},
		{"longest label", func(v *Volume) { v.Label = strings.Repeat("x", 47) }, nil,
			Facts{Version: 2, Keyslots: 1, Label: strings.Repeat("x", 47)}},
		{"luks1", func(*Volume) {}, []string{"luksFormat", "--type", "luks1", "--uuid", uuid}, Facts{Version: 1, UUID: uuid}},
		{"something else", func(*Volume) {}, []string{"--version"}, Facts{}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b, v := realVolume(t)
			row.change(&v)
			if row.prepare == nil {
				must(t, b.Format(t.Context(), v))
			} else {
				args := append(row.prepare, "--key-file", v.KeyFile, "--pbkdf-force-iterations", "1000", "-q", v.Alias)
				_, err := b.Runner.Run(t.Context(), cryptsetup(args...))
				must(t, err)
			}
			got := inspect(t, b, v)
			if row.want.UUID == "" && len(got.UUID) == len(uuid) {
				got.UUID = ""
			}
			if got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
			checkLog(t, b, false)
		})
	}
}

func TestRealMarks(t *testing.T) {
	b, v := realVolume(t)
	must(t, b.Format(t.Context(), v))
	must(t, b.ClearMark(t.Context(), v))
	foreign := cryptsetup("token", "import", "--json-file", "-", v.Alias)
	foreign.Stdin = strings.NewReader(`{"type":"clevis","keyslots":["0"],"jwe":{}}`)
	_, err := b.Runner.Run(t.Context(), foreign)
	must(t, err)

	want := Mark{Volume: `da"ta é`, Entry: "0123"}
	must(t, b.SetMark(t.Context(), v, Mark{Volume: "old", Entry: "1"}))
	must(t, b.SetMark(t.Context(), v, want))
	f := inspect(t, b, v)
	if f.Mark == nil || f.Mark.Volume != want.Volume || f.Mark.Entry != want.Entry {
		t.Fatalf("got mark %+v, want %+v", f.Mark, want)
	}
	if f.Keyslots != 1 || f.ClevisSlots != 1 || !opens(t, b, v) {
		t.Errorf("the mark harmed the volume: %+v", f)
	}

	must(t, b.ClearMark(t.Context(), v))
	f = inspect(t, b, v)
	if f.Mark != nil || f.Keyslots != 1 || f.ClevisSlots != 1 || !opens(t, b, v) {
		t.Errorf("after clearing: %+v", f)
	}
	checkLog(t, b, false)
}

func TestRealKeys(t *testing.T) {
	b, v := realVolume(t)
	must(t, b.Format(t.Context(), v))
	if !opens(t, b, v) {
		t.Error("the key does not open the volume")
	}
	other := v
	other.KeyFile = filepath.Join(t.TempDir(), "other")
	must(t, os.WriteFile(other.KeyFile, []byte("other"), 0o600))
	if opens(t, b, other) {
		t.Error("another key opens the volume")
	}
	checkLog(t, b, false)

	_, err := b.Runner.Run(t.Context(), cryptsetup(append(append([]string{"luksAddKey", "--key-file", v.KeyFile}, quick...), v.Alias, other.KeyFile)...))
	must(t, err)
	must(t, b.RemoveKey(t.Context(), v))
	if opens(t, b, v) || !opens(t, b, other) {
		t.Error("the wrong key was removed")
	}
	checkLog(t, b, false)
	if err := b.RemoveKey(t.Context(), v); err == nil {
		t.Error("a key was removed twice")
	}
	gone := v
	gone.Alias += ".gone"
	if _, err := b.Test(t.Context(), gone); err == nil {
		t.Error("a device that is not there has an answer")
	}
}
