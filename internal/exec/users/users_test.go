// SPDX-License-Identifier: Apache-2.0

package users

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/sysroot"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func ptr[T any](v T) *T { return &v }

// newTree gives a tree with those files; a value "->x" makes a link. The tree
// may be entered by every user, as a real one.
func newTree(t *testing.T, files map[string]string) *sysroot.Root {
	t.Helper()
	dir := t.TempDir()
	for p := dir; p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		must(t, os.Chmod(p, 0o755))
	}
	for name, data := range files {
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		if target, ok := strings.CutPrefix(data, "->"); ok {
			must(t, os.Symlink(target, p))
		} else {
			must(t, os.WriteFile(p, []byte(data), 0o644))
		}
	}
	r, err := sysroot.Open(dir)
	must(t, err)
	t.Cleanup(func() { r.Close() })
	return r
}

// stubTools makes programs that append their arguments, one call a line, to a
// file whose lines calls gives.
func stubTools(t *testing.T, exit int) (path string, calls func() []string) {
	t.Helper()
	dir := t.TempDir()
	out := filepath.Join(dir, "calls")
	script := fmt.Sprintf("#!/bin/sh\n{ printf %%s \"${0##*/}\"; for a; do printf ' [%%s]' \"$a\"; done; echo; } >>%s\nexit %d\n", out, exit)
	for _, tool := range []string{"groupadd", "groupmod", "groupdel", "useradd", "usermod", "userdel"} {
		must(t, os.WriteFile(filepath.Join(dir, tool), []byte(script), 0o755))
	}
	return dir, func() []string {
		data, err := os.ReadFile(out)
		if err != nil {
			return nil
		}
		return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	}
}

// logTo gives a logger whose messages end up in b.
func logTo(b *bytes.Buffer) *oplog.Logger {
	return oplog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}), nil)
}

const (
	passwd = "root:x:0:0:root:/root:/bin/sh\nold:x:1001:1001::/home/old:/bin/sh\n"
	group  = "root:x:0:\nwheel:x:10:\nold:x:1001:\n"
)

func TestUserArguments(t *testing.T) {
	hash := "$6$salt$secret-hash"
	rows := []struct {
		name string
		user config.User
		want []string // ROOT stands for the tree
		desc []string
	}{
		{"add, nothing set", config.User{Name: "new"},
			[]string{"useradd [--root] [ROOT] [--create-home] [--password] [*] [new]"},
			[]string{`creating or modifying user \"new\"`}},
		{"add, everything", config.User{Name: "new", HomeDir: ptr("/srv/n"), NoCreateHome: ptr(true), NoUserGroup: ptr(true),
			System: ptr(true), NoLogInit: ptr(true), PasswordHash: &hash, UID: ptr(0), Gecos: ptr("A, b"), PrimaryGroup: ptr("wheel"),
			Groups: []string{"a", "b"}, Shell: ptr("/bin/bash")},
			[]string{
				"useradd [--root] [ROOT] [--home-dir] [/srv/n] [--no-create-home] [--no-user-group] [--system] [--no-log-init] " +
					"[--password] [" + hash + "] [--uid] [0] [--comment] [A, b] [--gid] [wheel] [--groups] [a,b] [--shell] [/bin/bash] [new]",
				"usermod [--root] [ROOT] [--password] [" + hash + "] [new]"},
			[]string{`setting password for \"new\"`}},
		{"add, empty strings", config.User{Name: "new", HomeDir: ptr(""), NoCreateHome: ptr(false), NoUserGroup: ptr(false),
			PasswordHash: ptr(""), Gecos: ptr(""), PrimaryGroup: ptr(""), Groups: []string{""}, Shell: ptr("")},
			[]string{"useradd [--root] [ROOT] [--create-home] [--password] [*] [new]", "usermod [--root] [ROOT] [--password] [*] [new]"}, nil},
		{"modify, nothing set", config.User{Name: "old"}, []string{"usermod [--root] [ROOT] [old]"},
			[]string{`creating or modifying user \"old\"`}},
		{"modify, everything", config.User{Name: "old", HomeDir: ptr("/srv/o"), NoCreateHome: ptr(true), NoUserGroup: ptr(true),
			System: ptr(true), NoLogInit: ptr(true), PasswordHash: &hash, UID: ptr(7), Gecos: ptr("c"), PrimaryGroup: ptr("wheel"),
			Groups: []string{"g"}, Shell: ptr("/s"), ShouldExist: ptr(true)},
			[]string{"usermod [--root] [ROOT] [--home] [/srv/o] [--move-home] [--password] [" + hash + "] [--uid] [7] [--comment] [c] " +
				"[--gid] [wheel] [--groups] [g] [--shell] [/s] [old]", "usermod [--root] [ROOT] [--password] [" + hash + "] [old]"}, nil},
		{"modify, empty hash", config.User{Name: "old", PasswordHash: ptr("")},
			[]string{"usermod [--root] [ROOT] [--password] [*] [old]", "usermod [--root] [ROOT] [--password] [*] [old]"}, nil},
		{"delete", config.User{Name: "old", ShouldExist: ptr(false), PasswordHash: &hash, SSHAuthorizedKeys: []string{"k"}},
			[]string{"userdel [--remove] [--root] [ROOT] [old]"}, []string{`deleting user \"old\"`}},
		{"delete an absent one", config.User{Name: "new", ShouldExist: ptr(false), SSHAuthorizedKeys: []string{"k"}}, nil, nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			root := newTree(t, map[string]string{"etc/passwd": passwd, "etc/group": group})
			tools, calls := stubTools(t, 0)
			var log bytes.Buffer
			m := &Manager{Root: root, Runner: &exec.Runner{Path: tools + ":/bin:/usr/bin"}}
			must(t, m.EnsureUser(context.Background(), logTo(&log), "$.passwd.users.0", row.user, nil))
			compare(t, root, calls(), row.want)
			for _, d := range row.desc {
				if !strings.Contains(log.String(), d) {
					t.Errorf("log lacks %s:\n%s", d, &log)
				}
			}
			if strings.Contains(log.String(), "secret-hash") {
				t.Errorf("the log shows the hash:\n%s", &log)
			}
			if strings.Contains(strings.Join(row.want, ""), "[--password] [*]") && !strings.Contains(log.String(), `\"*\"`) {
				t.Errorf("the log hides the star:\n%s", &log)
			}
		})
	}
}

func compare(t *testing.T, root *sysroot.Root, got, want []string) {
	t.Helper()
	w := strings.ReplaceAll(strings.Join(want, "\n"), "ROOT", root.Path())
	if g := strings.Join(got, "\n"); g != w {
		t.Errorf("calls:\n%s\nwant:\n%s", g, w)
	}
}

func TestGroupArguments(t *testing.T) {
	rows := []struct {
		name  string
		group config.Group
		want  []string
		desc  string
	}{
		{"add, nothing set", config.Group{Name: "new"}, []string{"groupadd [--root] [ROOT] [new]"}, `adding group \"new\"`},
		{"add, everything", config.Group{Name: "new", GID: ptr(5), PasswordHash: ptr("secret-hash"), System: ptr(true)},
			[]string{"groupadd [--root] [ROOT] [--gid] [5] [--password] [secret-hash] [--system] [new]"}, ""},
		{"add, empty hash", config.Group{Name: "new", PasswordHash: ptr(""), System: ptr(false)}, []string{"groupadd [--root] [ROOT] [new]"}, ""},
		{"modify, nothing set", config.Group{Name: "old"}, []string{"groupmod [--root] [ROOT] [old]"}, `modifying group \"old\"`},
		{"modify, everything", config.Group{Name: "old", GID: ptr(0), PasswordHash: ptr("secret-hash"), System: ptr(true)},
			[]string{"groupmod [--root] [ROOT] [--gid] [0] [--password] [secret-hash] [old]"}, ""},
		{"delete", config.Group{Name: "old", ShouldExist: ptr(false)}, []string{"groupdel [--root] [ROOT] [old]"}, `deleting group \"old\"`},
		{"delete an absent one", config.Group{Name: "new", ShouldExist: ptr(false)}, nil, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			root := newTree(t, map[string]string{"etc/passwd": passwd, "etc/group": group})
			tools, calls := stubTools(t, 0)
			var log bytes.Buffer
			m := &Manager{Root: root, Runner: &exec.Runner{Path: tools + ":/bin:/usr/bin"}}
			must(t, m.EnsureGroup(context.Background(), logTo(&log), "$.passwd.groups.0", row.group))
			compare(t, root, calls(), row.want)
			if !strings.Contains(log.String(), row.desc) || strings.Contains(log.String(), "secret") {
				t.Errorf("log:\n%s", &log)
			}
		})
	}
}

func TestRefusedBeforeAnyTool(t *testing.T) {
	rows := []struct{ name, user, want string }{
		{"option", "--help", `failed to create user "--help": the user name "--help" begins with a dash`},
		{"empty", "", `failed to create user "": the user name is empty`},
		{"colon", "a:b", "holds a character that no name may have"},
		{"slash", "a/b", "holds a character that no name may have"},
		{"newline", "a\nb", "holds a character that no name may have"},
		{"plus", "+a", "begins with a plus sign"},
	}
	root := newTree(t, map[string]string{"etc/passwd": passwd, "etc/group": group})
	tools, calls := stubTools(t, 0)
	m := &Manager{Root: root, Runner: &exec.Runner{Path: tools}}
	ctx, l := context.Background(), logTo(&bytes.Buffer{})
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if err := m.EnsureUser(ctx, l, "", config.User{Name: row.user}, nil); err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("user: %v", err)
			}
			err := m.EnsureGroup(ctx, l, "", config.Group{Name: row.user})
			if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(row.want, "user", "group")) {
				t.Errorf("group: %v", err)
			}
		})
	}
	for _, id := range []int{-1, 1<<32 - 1, 1 << 40} {
		if err := m.EnsureUser(ctx, l, "", config.User{Name: "x", UID: &id}, nil); err == nil || !strings.Contains(err.Error(), "out of range") {
			t.Errorf("uid %d: %v", id, err)
		}
		if err := m.EnsureGroup(ctx, l, "", config.Group{Name: "x", GID: &id}); err == nil || !strings.Contains(err.Error(), "out of range") {
			t.Errorf("gid %d: %v", id, err)
		}
	}
	if got := calls(); got != nil {
		t.Errorf("tools were run: %v", got)
	}
}

func TestToolFails(t *testing.T) {
	root := newTree(t, map[string]string{"etc/passwd": passwd, "etc/group": group})
	tools, _ := stubTools(t, 12)
	m := &Manager{Root: root, Runner: &exec.Runner{Path: tools + ":/bin:/usr/bin"}}
	ctx, l := context.Background(), logTo(&bytes.Buffer{})
	rows := []struct {
		name string
		err  error
		want string
	}{
		{"user", m.EnsureUser(ctx, l, "", config.User{Name: "n", PasswordHash: ptr("secret-hash")}, nil), `failed to create user "n": exit status 12: Cmd: "useradd" `},
		{"delete user", m.EnsureUser(ctx, l, "", config.User{Name: "old", ShouldExist: ptr(false)}, nil),
			`failed to create user "old": failed to delete user "old": exit status 12`},
		{"group", m.EnsureGroup(ctx, l, "", config.Group{Name: "n", PasswordHash: ptr("secret-hash")}), `failed to create group "n": exit status 12: Cmd: "groupadd" `},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if row.err == nil || !strings.HasPrefix(row.err.Error(), row.want) || strings.Contains(row.err.Error(), "secret") {
				t.Errorf("%v", row.err)
			}
		})
	}
}

func TestRepairLocks(t *testing.T) {
	files := map[string]string{"etc/passwd": passwd, "etc/group": group, "etc/passwd-": passwd, "etc/passwd.bak": "keep",
		"etc/passwd.lock": "4194300\x00", "etc/gshadow.lock": "1\x00", "etc/shadow+": "half", "etc/subuid.12": "12", "etc/group.lock": "->/x"}
	root := newTree(t, files)
	tools, _ := stubTools(t, 0)
	l := logTo(&bytes.Buffer{})
	m := &Manager{Root: root, Runner: &exec.Runner{Path: tools + ":/bin:/usr/bin"}}
	must(t, m.EnsureGroup(context.Background(), l, "", config.Group{Name: "g"}))
	if _, err := root.Lstat("/etc/passwd.lock"); err != nil {
		t.Fatalf("a run that was not cut took the lock: %v", err)
	}
	m.Interrupted = true
	must(t, m.EnsureGroup(context.Background(), l, "", config.Group{Name: "g"}))
	list, err := root.ReadDir("/etc")
	must(t, err)
	var left []string
	for _, e := range list {
		left = append(left, e.Name())
	}
	if got := strings.Join(left, " "); got != "group group.lock passwd passwd- passwd.bak" {
		t.Errorf("left: %s", got)
	}
}

func TestLookup(t *testing.T) {
	big := "big:x:5:" + strings.Repeat("member,", 10000) + "\n"
	rows := []struct {
		name        string
		files       map[string]string
		user        string
		want        string // uid gid home shell
		group, wgid string
	}{
		{"plain", map[string]string{"etc/passwd": passwd, "etc/group": group}, "old", "1001 1001 /home/old /bin/sh", "wheel", "10"},
		{"no files", nil, "old", "", "wheel", ""},
		{"no final newline", map[string]string{"etc/passwd": "a:x:1:2::/h:/s", "etc/group": "a:x:2:"}, "a", "1 2 /h /s", "a", "2"},
		{"grammar", map[string]string{"etc/passwd": "\n# c:x:1:1:::\n  a:x:1:2::/h\n", "etc/group": " a:x:7\n"}, "a", "1 2 /h ", "a", "7"},
		{"commented out", map[string]string{"etc/passwd": "#a:x:1:1::/h:/s\n"}, "a", "", "a", ""},
		{"short lines do not count", map[string]string{"etc/passwd": "a:x:1:2:\na:x:3:4::/h:\n", "etc/group": "a:x\na:x:4:\n"}, "a", "3 4 /h ", "a", "4"},
		{"first match", map[string]string{"etc/passwd": "a:x:1:1::/1:\na:x:2:2::/2:\n"}, "a", "1 1 /1 ", "a", ""},
		{"id is no number", map[string]string{"etc/passwd": "a:x:one:1::/1:\na:x:2:2::/2:\n"}, "a", "2 2 /2 ", "a", ""},
		{"plus never matches", map[string]string{"etc/passwd": "+a:x:1:1::/1:\n"}, "+a", "", "+a", ""},
		{"large record before", map[string]string{"etc/passwd": passwd, "etc/group": big + group}, "old", "1001 1001 /home/old /bin/sh", "wheel", "10"},
		{"large record itself", map[string]string{"etc/group": big}, "old", "", "big", "5"},
		{"alternative sources are not default", map[string]string{"usr/lib/passwd": passwd, "usr/lib/group": group}, "old", "", "wheel", ""},
		{"altfiles", map[string]string{"etc/nsswitch.conf": "passwd: files altfiles\ngroup:\tfiles [SUCCESS=merge] altfiles\n",
			"etc/passwd": "x:x:1:1::/:\n", "usr/lib/passwd": passwd, "usr/lib/group": group}, "old", "1001 1001 /home/old /bin/sh", "wheel", "10"},
		{"usrfiles", map[string]string{"etc/nsswitch.conf": "passwd: files usrfiles systemd # x\ngroup: usrfiles", "etc/group": "wheel:x:9:\n",
			"usr/share/baselayout/passwd": passwd, "usr/share/baselayout/group": group}, "old", "1001 1001 /home/old /bin/sh", "wheel", "10"},
		{"order", map[string]string{"etc/nsswitch.conf": "passwd: altfiles files\n", "etc/passwd": "a:x:1:1::/:\n", "usr/lib/passwd": "a:x:2:2::/:\n"},
			"a", "2 2 / ", "a", ""},
		{"network sources", map[string]string{"etc/nsswitch.conf": "passwd: sss [NOTFOUND=return] files ldap\n", "etc/passwd": "a:x:1:1::/:\n"}, "a", "1 1 / ", "a", ""},
		{"stop", map[string]string{"etc/nsswitch.conf": "passwd: files [NOTFOUND=return] altfiles\n", "etc/passwd": "b:x:1:1::/:\n", "usr/lib/passwd": "a:x:2:2::/:\n"}, "a", "", "a", ""},
		{"no stop for a missing file", map[string]string{"etc/nsswitch.conf": "passwd: files [NOTFOUND=return] altfiles\n", "usr/lib/passwd": "a:x:2:2::/:\n"}, "a", "2 2 / ", "a", ""},
		{"absolute link in the tree", map[string]string{"etc/passwd": "->/usr/passwd", "usr/passwd": passwd}, "old", "1001 1001 /home/old /bin/sh", "x", ""},
		{"link to the host's", map[string]string{"etc/passwd": "->../../../../../../etc/hosts"}, "root", "", "x", ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			db := NewDB(newTree(t, row.files))
			a, err := db.User(row.user)
			got := fmt.Sprintf("%d %d %s %s", a.UID, a.GID, a.Home, a.Shell)
			if row.want == "" {
				if want := fmt.Sprintf("no such user %q: not found", row.user); err == nil || err.Error() != want || !errors.Is(err, ErrNotFound) {
					t.Errorf("%v, want %s", err, want)
				}
			} else if err != nil || got != row.want || a.Name != row.user {
				t.Errorf("user %s, %v; want %s", got, err, row.want)
			}
			g, err := db.Group(row.group)
			if row.wgid == "" {
				if want := fmt.Sprintf("no such group %q: not found", row.group); err == nil || err.Error() != want {
					t.Errorf("%v, want %s", err, want)
				}
			} else if err != nil || fmt.Sprint(g.GID) != row.wgid || g.Name != row.group {
				t.Errorf("group %+v, %v; want %s", g, err, row.wgid)
			}
		})
	}
}

func TestLookupErrors(t *testing.T) {
	rows := []struct{ name, line, want string }{
		{"uid is minus one", "a:x:4294967295:1::/:\n", `user "a": the id "4294967295" is out of range`},
		{"negative", "a:x:-2:1::/:\n", `user "a": the id "-2" is out of range`},
		{"beyond 64 bits", "a:x:1:99999999999999999999::/:\n", `user "a": the id "99999999999999999999" is out of range`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			db := NewDB(newTree(t, map[string]string{"etc/passwd": row.line}))
			if _, err := db.User("a"); err == nil || err.Error() != row.want || errors.Is(err, ErrNotFound) {
				t.Errorf("%v, want %s", err, row.want)
			}
		})
	}
	t.Run("file is a directory", func(t *testing.T) {
		db := NewDB(newTree(t, map[string]string{"etc/passwd/x": ""}))
		if _, err := db.User("a"); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("passwd: files [!NOTFOUND=return UNAVAIL=x] altfiles[", "a:x:1:2::/h:/s")
	f.Add("[", ":::::::")
	f.Fuzz(func(t *testing.T, spec, line string) {
		for _, s := range parseSources(spec, "passwd") {
			if !strings.HasSuffix(s.path, "/passwd") {
				t.Errorf("source %q", s.path)
			}
		}
		if fields := splitLine(line); len(fields) > 5 {
			a, ok, err := account(fields)
			if ok && (err != nil || a.UID < 0 || a.GID < 0 || int64(a.UID) >= maxID || int64(a.GID) >= maxID) {
				t.Errorf("%q: %+v, %v", line, a, err)
			}
		}
	})
}
