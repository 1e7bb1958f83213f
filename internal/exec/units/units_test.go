// SPDX-License-Identifier: Apache-2.0

package units

import (
	"errors"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/distro"
	"firstboot.dev/ignition/internal/exec"
)

func ptr(s string) *string { return &s }

func unit(name, contents string, dropins ...string) config.Unit {
	u := config.Unit{Name: name}
	if contents != "" {
		u.Contents = &contents
	}
	for _, d := range dropins {
		u.Dropins = append(u.Dropins, config.Dropin{Name: "10.conf", Contents: ptr(d)})
	}
	return u
}

// TestVerify asks the real systemd.
func TestVerify(t *testing.T) {
	if _, err := osexec.LookPath(distro.SystemdAnalyze); err != nil {
		t.Skip("there is no systemd-analyze here")
	}
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	for _, tt := range []struct {
		name string
		unit config.Unit
		want []Complaint // Text is its beginning
	}{
		{"good", unit("a.service", "[Service]\nExecStart=/bin/true\n"), nil},
		{"no contents", unit("a.service", ""), nil},
		{"a program of the target", unit("a.service", "[Service]\nExecStart=/opt/nothing/here\n"), nil},
		{"a unit of the target", unit("a.service", "[Unit]\nRequires=not-here.service\nAfter=not-here.service\n[Service]\nExecStart=/bin/true\n"), nil},
		{"an unknown key", unit("a.service", "[Service]\nExecStart=/bin/true\nFoo=geheim\n"), []Complaint{{"0.contents", 3, "Unknown key"}}},
		{"a wrong value", unit("a.service", "[Service]\nExecStart=/bin/true\nRestart=geheim\n"), []Complaint{{"0.contents", 3, "Failed to parse"}}},
		{"nothing to start", unit("a.service", "[Service]\nType=simple\n"), []Complaint{{"0.contents", 0, "Service has no ExecStart="}}},
		{"a mount of another name", unit("var-x.mount", "[Mount]\nWhat=/dev/x\nWhere=/other\n"), []Complaint{{"0.contents", 0, "Where= setting doesn't match unit name"}}},
		{"a drop-in", unit("a.service", "[Service]\nExecStart=/bin/true\n", "[Service]\nFoo=1\n"), []Complaint{{"0.dropins.0.contents", 2, "Unknown key"}}},
		{"a drop-in of the target's unit", unit("etcd-member.service", "", "[Service]\nFoo=1\n"), []Complaint{{"0.dropins.0.contents", 2, "Unknown key"}}},
		{"a drop-in of a mount of the target", unit("var-x.mount", "", "[Mount]\nFoo=1\n"), nil},
		{"a template", unit("a@.service", "[Service]\nExecStart=/bin/true %i\nFoo=1\n"), []Complaint{{"0.contents", 3, "Unknown key"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Verify(t.Context(), &exec.Runner{}, []config.Unit{tt.unit})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %v, want %v", got, tt.want)
			}
			for i, want := range tt.want {
				if got[i].Path != want.Path || got[i].Line != want.Line || !strings.HasPrefix(got[i].Text, want.Text) {
					t.Errorf("got %v, want %v", got[i], want)
				}
				if strings.Contains(got[i].Text, "geheim") {
					t.Errorf("a value is shown: %v", got[i])
				}
			}
		})
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestVerifyWithout(t *testing.T) {
	_, err := Verify(t.Context(), &exec.Runner{Path: t.TempDir()}, []config.Unit{unit("a.service", "[Service]\n")})
	if !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

func TestRead(t *testing.T) {
	paths := map[string]string{"a.service": "0.contents", "a.service.d/b.conf": "0.dropins.0.contents"}
	got := read("/tmp/x/a.service:3: Unknown key 'A' in section [Service], ignoring.\n"+
		"/tmp/x/a.service.d/b.conf:2: Invalid syntax, ignoring: TOKEN=geheim\n"+
		"/usr/lib/systemd/system/other.service:7: something\n"+
		"other.service: something\n"+
		"a.service: Command /opt/x is not executable: No such file or directory\n"+
		"a.service: Failed to create a.service/start: Unit b.service not found.\n"+
		"a.service: Service has no ExecStart=. Refusing.\n"+
		"Unit a.service has a bad unit file setting.\n"+
		"no colon", "/tmp/x", paths)
	want := []Complaint{
		{"0.contents", 3, "Unknown key 'A' in section [Service]"},
		{"0.dropins.0.contents", 2, "Invalid syntax"},
		{"0.contents", 0, "Service has no ExecStart=."},
	}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %v, want %v", got[i], want[i])
		}
	}
}
