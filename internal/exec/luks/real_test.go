// SPDX-License-Identifier: Apache-2.0

package luks

import (
	"context"
	"net"
	"os"
	osexec "os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
)

// quick makes key derivation cheap.
var quick = []string{"--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"}

// realVolume gives a Manager of the real tools and a volume on a plain file:
// cryptsetup needs neither root nor the device mapper to write a header.
func realVolume(t *testing.T) (bench, Volume) {
	t.Helper()
	path := os.Getenv("PATH") + ":/usr/sbin:/sbin"
	t.Setenv("PATH", path) // for LookPath
	need(t, "cryptsetup")
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

func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := osexec.LookPath(p); err != nil {
			t.Skip(p + " is missing")
		}
	}
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
			if !reflect.DeepEqual(got, row.want) {
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

// tangServer runs a Tang server with keys of its own, and gives its URL and thumbprint.
func tangServer(t *testing.T) (server, thumbprint string, stop func()) {
	t.Helper()
	const tangd, keygen = "/usr/libexec/tangd", "/usr/libexec/tangd-keygen"
	need(t, tangd, keygen, "clevis", "jose", "curl", "pwmake")
	dir := t.TempDir()
	must(t, osexec.Command(keygen, dir, "sig", "exc").Run())
	out, err := osexec.Command("jose", "jwk", "thp", "-i", filepath.Join(dir, "sig.jwk")).Output()
	must(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	stop = func() { cancel(); l.Close() }
	t.Cleanup(stop)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// One process a connection, as its socket unit does. It outlives its
			// first answer as long as the client likes.
			f, err := conn.(*net.TCPConn).File()
			conn.Close()
			if err != nil {
				return
			}
			c := osexec.CommandContext(ctx, tangd, dir)
			c.Stdin, c.Stdout = f, f
			if c.Start() == nil {
				go func() { _ = c.Wait() }()
			}
			f.Close()
		}
	}()
	return "http://" + l.Addr().String(), strings.TrimSpace(string(out)), stop
}

// TestRealClevis binds to a real Tang server. That the slot unlocks is asked
// of clevis; to open the volume would take the device mapper.
func TestRealClevis(t *testing.T) {
	b, v := realVolume(t)
	server, thumbprint, stop := tangServer(t)
	v.Clevis = &config.Clevis{Tang: []config.Tang{{URL: server, Thumbprint: &thumbprint}}}
	must(t, b.Format(t.Context(), v))
	must(t, b.SetMark(t.Context(), v, Mark{Volume: "data"}))
	must(t, b.BindClevis(t.Context(), v))
	f := inspect(t, b, v)
	if f.Mark == nil || f.Keyslots != 2 || f.ClevisSlots != 1 || !opens(t, b, v) {
		t.Errorf("after the binding: %+v", f)
	}
	must(t, b.RemoveKey(t.Context(), v))
	must(t, b.ClearMark(t.Context(), v))
	f = inspect(t, b, v)
	if f.Mark != nil || f.Keyslots != 1 || f.ClevisSlots != 1 || opens(t, b, v) {
		t.Errorf("in the end: %+v", f)
	}
	checkLog(t, b, false, "[finished] Clevis bind")

	unlock := exec.Cmd{Name: "clevis", Args: []string{"luks", "unlock", "-d", v.Alias, "-t", "1"}}
	if _, err := b.Runner.Run(t.Context(), unlock); err != nil {
		t.Errorf("clevis cannot unlock the volume: %v", err)
	}
	stop()
	err := b.clevis(t.Context(), v.op("", "unlocking"), unlock)
	checkError(t, err, "the tang server does not answer: exit status 1: ")
}

// TestRealClevisFails checks that the reasons are found in what the installed clevis says.
func TestRealClevisFails(t *testing.T) {
	b, v := realVolume(t)
	server, thumbprint, _ := tangServer(t)
	must(t, b.Format(t.Context(), v))
	adv, err := osexec.Command("curl", "-s", server+"/adv").Output()
	must(t, err)
	const nobody = "the tang server does not answer, or has no key with the configured thumbprint"
	for _, row := range []struct {
		name   string
		clevis config.Clevis
		want   string
	}{
		{"no server", config.Clevis{Tang: []config.Tang{tang("http://127.0.0.1:1", thumbprint, "")}}, nobody},
		{"another thumbprint", config.Clevis{Tang: []config.Tang{tang(server, "nonsense", "")}}, nobody},
		{"an advertisement of another thumbprint", config.Clevis{Tang: []config.Tang{tang(server, "nonsense", string(adv))}},
			"the tang server's keys do not match the configured thumbprint"},
		{"an advertisement of another kind", config.Clevis{Tang: []config.Tang{tang(server, thumbprint, "{}")}},
			"the tang server's advertisement is not valid"},
		{"no such pin", custom("nosuch", "{}"), "clevis has no such pin here"},
		{"config is no JSON", custom("sss", "{"), "clevis does not understand the pin's config"},
	} {
		t.Run(row.name, func(t *testing.T) {
			v.Clevis = &row.clevis
			checkError(t, b.BindClevis(t.Context(), v), "binding clevis device: "+row.want+": exit status ")
		})
	}
	v.Clevis = &config.Clevis{Tang: []config.Tang{tang(server, thumbprint, "")}}
	v.KeyFile = filepath.Join(t.TempDir(), "other")
	must(t, os.WriteFile(v.KeyFile, []byte("other"), 0o600))
	checkError(t, b.BindClevis(t.Context(), v), "binding clevis device: the key does not open the volume: exit status 1: ")
	if f := inspect(t, b, v); f.Keyslots != 1 || f.ClevisSlots != 0 {
		t.Errorf("failures left something: %+v", f)
	}
}
