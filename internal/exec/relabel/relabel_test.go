// SPDX-License-Identifier: Apache-2.0

package relabel

import (
	"bytes"
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/sysroot"
)

// tree makes a sysroot: directories end with a slash, links hold "->".
func tree(t *testing.T, nodes ...string) *sysroot.Root {
	t.Helper()
	dir := t.TempDir()
	for _, n := range nodes {
		name, target, isLink := strings.Cut(n, "->")
		p := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch {
		case err != nil:
		case isLink:
			err = os.Symlink(target, p)
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		default:
			err = os.WriteFile(p, []byte("SELINUXTYPE=targeted\n"), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := sysroot.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func newSet(t *testing.T, nodes ...string) *Set {
	t.Helper()
	s, err := New(tree(t, append(nodes, "etc/selinux/config")...))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Set) list() []string { return slices.Sorted(maps.Keys(s.paths)) }

func TestPolicyName(t *testing.T) {
	for text, want := range map[string]string{
		"SELINUXTYPE=targeted\n":                        "targeted",
		"# c\nSELINUX=enforcing\n  SELINUXTYPE=mls  \n": "mls",
		"SELINUXTYPE=a\nSELINUXTYPE=b":                  "a",
		"SELINUXTYPE=":                                  "",
		"#SELINUXTYPE=targeted":                         "",
		"":                                              "",
	} {
		if got := policyName(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestNewFails(t *testing.T) {
	if _, err := New(tree(t, "etc/")); err == nil || !strings.Contains(err.Error(), "etc/selinux/config") {
		t.Errorf("no file: %v", err)
	}
	root := tree(t, "etc/selinux/")
	if err := os.WriteFile(filepath.Join(root.Path(), "etc/selinux/config"), []byte("SELINUX=permissive\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := New(root); err == nil || !strings.Contains(err.Error(), "names no SELINUXTYPE") {
		t.Errorf("no name: %v", err)
	}
}

func TestAdd(t *testing.T) {
	s := newSet(t, "srv/", "srv/there")
	s.Add("/srv/there", "/srv/new", "/srv/a/b/c", "/top/x/y", "/top2", "/srv/a/b/d")
	want := []string{"/srv/a", "/srv/new", "/srv/there", "/top", "/top2"}
	if got := s.list(); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAddAccounts(t *testing.T) {
	s := newSet(t, "etc/passwd", "etc/passwd-", "etc/shadow", "etc/subuid", "etc/.pwd.lock", "etc/motd", "etc/groups.d/",
		"var/home/linked/", "home->/var/home", "srv/own/", "srv/link->own")
	if err := s.AddAccounts([]string{"/home/linked", "/srv/link", "/not/there"}); err != nil {
		t.Fatal(err)
	}
	want := []string{"/etc/.pwd.lock", "/etc/groups.d", "/etc/passwd", "/etc/passwd-", "/etc/shadow", "/etc/subuid", "/not/there", "/srv/own", "/var/home/linked"}
	if got := s.list(); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestRun: setfiles gets what is there, with the root, each path ended by NUL.
func TestRun(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\necho \"$*\" >" + bin + "/args\ncat >" + bin + "/stdin\n"
	if err := os.WriteFile(filepath.Join(bin, "setfiles"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	var log bytes.Buffer
	l := oplog.New(oplog.StdoutHandler(&log), nil)

	s := newSet(t, "srv/a", "srv/b")
	if err := s.Run(context.Background(), l, &exec.Runner{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "args")); err == nil {
		t.Error("setfiles was run for nothing")
	}
	s.Add("/srv/b", "/srv/a", "/srv/gone")
	if err := s.Run(context.Background(), l, &exec.Runner{}); err != nil {
		t.Fatal(err)
	}
	r := s.root.Path()
	args, _ := os.ReadFile(filepath.Join(bin, "args"))
	if want := "-vF0 -r " + r + " " + r + "/etc/selinux/targeted/contexts/files/file_contexts -f -\n"; string(args) != want {
		t.Errorf("got  %q\nwant %q", args, want)
	}
	stdin, _ := os.ReadFile(filepath.Join(bin, "stdin"))
	if want := r + "/srv/a\x00" + r + "/srv/b\x00"; string(stdin) != want {
		t.Errorf("got  %q\nwant %q", stdin, want)
	}
	if !strings.Contains(log.String(), "[finished] relabeling 2 patterns\n") {
		t.Errorf("log:\n%s", &log)
	}
}
