// SPDX-License-Identifier: Apache-2.0

package users

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/sysroot"
)

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("acting as other users needs root")
	}
}

const alice = "root:x:0:0::/root:/bin/sh\nalice:x:1500:1600::/home/alice:/bin/sh\n"

// keyTree has a user alice with a home of its own, and a canary outside.
func keyTree(t *testing.T, files map[string]string) (*sysroot.Root, *Manager) {
	t.Helper()
	all := map[string]string{"etc/passwd": alice, "etc/group": "alice:x:1600:\n", "home/x": ""}
	for k, v := range files {
		all[k] = v
	}
	root := newTree(t, all)
	must(t, os.MkdirAll(filepath.Join(root.Path(), "home/alice"), 0o755))
	must(t, filepath.WalkDir(filepath.Join(root.Path(), "home/alice"), func(p string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, 1500, 1600))
	}))
	tools, _ := stubTools(t, 0)
	return root, &Manager{Root: root, Runner: &exec.Runner{Path: tools + ":/bin:/usr/bin"}}
}

func addKeys(m *Manager, keys ...string) error {
	return m.EnsureUser(context.Background(), logTo(&bytes.Buffer{}), "", config.User{Name: "alice", SSHAuthorizedKeys: keys}, nil)
}

// describe gives owner, mode and, of a file, its content.
func describe(t *testing.T, r *sysroot.Root, p string) string {
	t.Helper()
	st, err := r.Lstat(p)
	if err != nil {
		return err.Error()
	}
	s := fmt.Sprintf("%d:%d %v", st.UID, st.GID, st.Mode)
	if st.Mode.IsRegular() {
		data, err := r.ReadFile(p)
		must(t, err)
		s += fmt.Sprintf(" %q", data)
	}
	return s
}

func TestKeys(t *testing.T) {
	needRoot(t)
	rows := []struct {
		name      string
		files     map[string]string
		fragments bool
		prepare   func(t *testing.T, host string)
		keys      []string
		want      map[string]string
	}{
		{name: "fragment", fragments: true, keys: []string{"k1", "k2"}, want: map[string]string{
			"/home/alice/.ssh":                            "1500:1600 drwx------",
			"/home/alice/.ssh/authorized_keys.d":          "1500:1600 drwx------",
			"/home/alice/.ssh/authorized_keys.d/ignition": `1500:1600 -rw------- "k1\nk2\n"`,
		}},
		{name: "plain file, final newline given", keys: []string{"k1\n"}, want: map[string]string{
			"/home/alice/.ssh/authorized_keys": `1500:1600 -rw------- "k1\n"`,
		}},
		{name: "existing file keeps its mode and is truncated",
			files: map[string]string{"home/alice/.ssh/authorized_keys": "a much longer old text"}, keys: []string{"k"}, want: map[string]string{
				"/home/alice/.ssh":                 "1500:1600 drwxr-xr-x",
				"/home/alice/.ssh/authorized_keys": `1500:1600 -rw-r--r-- "k\n"`,
			}},
		{name: "key file is a link in the home", files: map[string]string{"home/alice/.ssh/authorized_keys": "->../keys", "home/alice/keys": "old"},
			keys: []string{"k"}, want: map[string]string{"/home/alice/keys": `1500:1600 -rw-r--r-- "k\n"`}},
		{name: "key file is a dangling link", files: map[string]string{"home/alice/.ssh/authorized_keys": "->/home/alice/new"},
			keys: []string{"k"}, want: map[string]string{"/home/alice/new": `1500:1600 -rw------- "k\n"`}},
		{name: "home below an absolute link", files: map[string]string{"etc/passwd": strings.Replace(alice, "/home/alice", "/h/alice", 1), "h": "->/home"},
			keys: []string{"k"}, want: map[string]string{"/home/alice/.ssh/authorized_keys": `1500:1600 -rw------- "k\n"`}},
		{name: "root's home", files: map[string]string{"etc/passwd": strings.Replace(alice, "1500:1600", "0:0", 1)},
			prepare: func(t *testing.T, host string) { must(t, os.Lchown(filepath.Join(host, "home/alice"), 0, 0)) },
			keys:    []string{"k"}, want: map[string]string{"/home/alice/.ssh/authorized_keys": `0:0 -rw------- "k\n"`}},
		{name: "leftover of a cut run", files: map[string]string{"home/alice/.ssh/" + sysroot.TempName("authorized_keys"): "half"},
			keys: []string{"k"}, want: map[string]string{
				"/home/alice/.ssh/authorized_keys":                        `1500:1600 -rw------- "k\n"`,
				"/home/alice/.ssh/" + sysroot.TempName("authorized_keys"): "gone",
			}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			root, m := keyTree(t, row.files)
			if row.prepare != nil {
				row.prepare(t, root.Path())
			}
			m.Fragments = row.fragments
			var told string
			m.OnKeys = func(user, path string) { told = user + " " + path }
			must(t, addKeys(m, row.keys...))
			for p, want := range row.want {
				got := describe(t, root, p)
				if want == "gone" && strings.Contains(got, "no such file") {
					continue
				}
				if got != want {
					t.Errorf("%s: %s\nwant %s", p, got, want)
				}
			}
			if !strings.HasPrefix(told, "alice "+root.Path()+"/home/alice/.ssh/authorized_keys") {
				t.Errorf("OnKeys was told %q", told)
			}
		})
	}
	if uid, euid := syscall.Getuid(), os.Geteuid(); uid != 0 || euid != 0 {
		t.Errorf("this process is %d, %d now", uid, euid)
	}
}

func TestKeysRefused(t *testing.T) {
	needRoot(t)
	rows := []struct {
		name    string
		files   map[string]string
		prepare func(t *testing.T, host string)
		want    string // HOST stands for the tree
	}{
		{"no home", nil, func(t *testing.T, h string) { must(t, os.Remove(filepath.Join(h, "home/alice"))) },
			`failed to set SSH key: creating parent dirs for "HOST/home/alice/.ssh/authorized_keys": permission denied`},
		{"home of another", nil, func(t *testing.T, h string) { must(t, os.Lchown(filepath.Join(h, "home/alice"), 0, 0)) },
			`failed to set SSH key: creating parent dirs for "HOST/home/alice/.ssh/authorized_keys": permission denied`},
		{"key file of another", map[string]string{"home/alice/.ssh/authorized_keys": "x"}, func(t *testing.T, h string) {
			must(t, os.Lchown(filepath.Join(h, "home/alice/.ssh/authorized_keys"), 0, 0))
		}, `failed to set SSH key: open HOST/home/alice/.ssh/authorized_keys: permission denied`},
		{"key file links to the tree's own", map[string]string{"home/alice/.ssh/authorized_keys": "->/etc/passwd"}, nil,
			`failed to set SSH key: open HOST/home/alice/.ssh/authorized_keys: permission denied`},
		{"directory links into root's", map[string]string{"home/alice/.ssh": "->/etc"}, nil,
			`failed to set SSH key: create HOST/etc/` + sysroot.TempName("authorized_keys") + `: permission denied`},
		{"key file is a pipe", nil, func(t *testing.T, h string) {
			must(t, os.Mkdir(filepath.Join(h, "home/alice/.ssh"), 0o777))
			must(t, os.Chmod(filepath.Join(h, "home/alice/.ssh"), 0o777))
			p := filepath.Join(h, "home/alice/.ssh/authorized_keys")
			must(t, unix.Mkfifo(p, 0o666))
			must(t, os.Chmod(p, 0o666))
		}, `failed to set SSH key: open HOST/home/alice/.ssh/authorized_keys: not a regular file`},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			root, m := keyTree(t, row.files)
			if row.prepare != nil {
				row.prepare(t, root.Path())
			}
			m.OnKeys = func(string, string) { t.Error("OnKeys was called") }
			want := `failed to add keys to user "alice": ` + strings.ReplaceAll(row.want, "HOST", root.Path())
			if err := addKeys(m, "k"); err == nil || err.Error() != want {
				t.Errorf("%v\nwant %s", err, want)
			}
			if got, err := root.ReadFile("/etc/passwd"); err != nil || string(got) != alice {
				t.Errorf("/etc/passwd: %q, %v", got, err)
			}
		})
	}
}

// TestKeysStayInside puts links out of the tree into the home: the key file
// may land in the tree only.
func TestKeysStayInside(t *testing.T) {
	needRoot(t)
	outside := t.TempDir()
	for p := outside; p != os.TempDir(); p = filepath.Dir(p) {
		must(t, os.Chmod(p, 0o777))
	}
	for name, link := range map[string]string{"absolute": outside, "dots": strings.Repeat("../", 20) + outside[1:]} {
		t.Run(name, func(t *testing.T) {
			root, m := keyTree(t, map[string]string{"home/alice/.ssh": "->" + link})
			inside := filepath.Join(root.Path(), outside)
			must(t, os.MkdirAll(inside, 0o755))
			must(t, os.Lchown(inside, 1500, 1600))
			must(t, addKeys(m, "k"))
			if got := describe(t, root, outside+"/authorized_keys"); got != `1500:1600 -rw------- "k\n"` {
				t.Errorf("inside: %s", got)
			}
			if list, err := os.ReadDir(outside); err != nil || len(list) != 0 {
				t.Errorf("outside: %v, %v", list, err)
			}
		})
	}
}

func TestHomesOfMountStage(t *testing.T) {
	needRoot(t)
	root, m := keyTree(t, map[string]string{"home/alice/sub/x": ""})
	for _, p := range []string{"home/alice", "home/alice/sub"} {
		must(t, os.Lchown(filepath.Join(root.Path(), p), 0, 0))
	}
	homes := []string{"/home", "/home/alice", "/home/alice/sub", "/home/alicex"}
	must(t, os.Mkdir(filepath.Join(root.Path(), "home/alicex"), 0o755))
	ensure := func(u config.User) {
		t.Helper()
		must(t, m.EnsureUser(context.Background(), logTo(&bytes.Buffer{}), "", u, homes))
	}
	ensure(config.User{Name: "alice", NoCreateHome: ptr(true)})
	if got := describe(t, root, "/home/alice"); got != "0:0 drwxr-xr-x" {
		t.Errorf("noCreateHome: %s", got)
	}
	mnt := filepath.Join(root.Path(), "home/alice/sub")
	if err := unix.Mount("none", mnt, "tmpfs", 0, "mode=755"); err != nil {
		t.Skipf("cannot mount here: %v", err)
	}
	ensure(config.User{Name: "alice"})
	for p, want := range map[string]string{"/home": "0:0 drwxr-xr-x", "/home/alice": "1500:1600 drwx------",
		"/home/alice/sub": "1500:1600 drwx------", "/home/alicex": "0:0 drwxr-xr-x"} {
		if got := describe(t, root, p); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
	must(t, unix.Unmount(mnt, 0))
	if got := describe(t, root, "/home/alice/sub"); got != "0:0 drwxr-xr-x" {
		t.Errorf("mount point: %s", got)
	}
}

// realTree is one that the host's own tools can work on.
func realTree(t *testing.T, extra map[string]string) (*sysroot.Root, *Manager) {
	t.Helper()
	needRoot(t)
	for _, tool := range []string{"useradd", "usermod", "userdel", "groupadd", "groupmod", "groupdel"} {
		if _, err := osexec.LookPath(tool); err != nil {
			t.Skipf("no %s on this host", tool)
		}
	}
	files := map[string]string{
		"etc/passwd": "root:x:0:0::/root:/bin/sh\n", "etc/group": "root:x:0:\nwheel:x:10:\n",
		"etc/shadow": "root:*:19000:0:99999:7:::\n", "etc/gshadow": "root:*::\nwheel:!::\n",
		"etc/login.defs":    "UID_MIN 1000\nUID_MAX 60000\nGID_MIN 1000\nGID_MAX 60000\nUSERGROUPS_ENAB yes\nUMASK 022\nHOME_MODE 0750\n",
		"etc/skel/.profile": "profile", "etc/skel/.config/in": "deep", "etc/skel/link": "->.profile", "home/.keep": "", "var/mail/.keep": "",
	}
	for k, v := range extra {
		files[k] = v
	}
	root := newTree(t, files)
	must(t, os.Chmod(filepath.Join(root.Path(), "etc/shadow"), 0o600))
	return root, &Manager{Root: root, Runner: &exec.Runner{}, Fragments: true}
}

func TestRealTools(t *testing.T) {
	root, m := realTree(t, nil)
	ctx, l := context.Background(), logTo(&bytes.Buffer{})
	// Twice: the second run changes nothing.
	for range 2 {
		must(t, m.EnsureGroup(ctx, l, "", config.Group{Name: "team", GID: ptr(3000)}))
		must(t, m.EnsureUser(ctx, l, "", config.User{Name: "test", SSHAuthorizedKeys: []string{"ssh-rsa AAAA"}}, nil))
		must(t, m.EnsureUser(ctx, l, "", config.User{Name: "full", UID: ptr(2000), PasswordHash: ptr("$6$abc$def"), Groups: []string{"team", "wheel"},
			PrimaryGroup: ptr("team"), HomeDir: ptr("/srv/full"), Shell: ptr("/bin/zsh"), Gecos: ptr("Full Name")}, nil))
	}
	db := NewDB(root)
	a, err := db.User("test")
	if err != nil || a.UID != 1000 || a.GID != 1000 || a.Home != "/home/test" {
		t.Errorf("test: %+v, %v", a, err)
	}
	if got := describe(t, root, "/home/test/.ssh/authorized_keys.d/ignition"); got != `1000:1000 -rw------- "ssh-rsa AAAA\n"` {
		t.Errorf("keys: %s", got)
	}
	if a, err := db.User("full"); err != nil || a != (Account{"full", 2000, 3000, "Full Name", "/srv/full", "/bin/zsh"}) {
		t.Errorf("full: %+v, %v", a, err)
	}
	shadow, err := root.ReadFile("/etc/shadow")
	must(t, err)
	if !strings.Contains(string(shadow), "\ntest:*:") || !strings.Contains(string(shadow), "\nfull:$6$abc$def:") {
		t.Errorf("shadow:\n%s", shadow)
	}
	must(t, m.EnsureUser(ctx, l, "", config.User{Name: "test", ShouldExist: ptr(false)}, nil))
	if _, err := db.User("test"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted user: %v", err)
	}
	if _, err := root.Lstat("/home/test"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("deleted user's home: %v", err)
	}
	must(t, m.EnsureGroup(ctx, l, "", config.Group{Name: "wheel", ShouldExist: ptr(false)}))
	if _, err := db.Group("wheel"); !errors.Is(err, ErrNotFound) {
		t.Errorf("deleted group: %v", err)
	}
}

// TestInterrupted cuts a run between useradd's passwd entry and the home, and
// compares what the next run makes with what an uncut one does.
func TestInterrupted(t *testing.T) {
	user := config.User{Name: "test", SSHAuthorizedKeys: []string{"k"}}
	shape := func(root *sysroot.Root) string {
		var b strings.Builder
		for _, p := range []string{"", "/.profile", "/.config", "/.config/in", "/link", "/.ssh/authorized_keys.d/ignition"} {
			b.WriteString(p + " " + describe(t, root, "/home/test"+p) + "\n")
		}
		return b.String()
	}
	ctx, l := context.Background(), logTo(&bytes.Buffer{})
	uncut, m := realTree(t, map[string]string{"proc/.keep": ""})
	// Without it useradd leaves the skeleton's directories out, and says nothing.
	proc := filepath.Join(uncut.Path(), "proc")
	if err := unix.Mount("proc", proc, "proc", 0, ""); err != nil {
		t.Skipf("cannot mount here: %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(proc, 0)) })
	must(t, m.EnsureUser(ctx, l, "", user, nil))
	want := shape(uncut)
	rows := []struct {
		name string
		left []string // what of the home the cut run had made
		lock string   // process that holds the lock
	}{
		{"no home, lock of a living process", nil, fmt.Sprint(os.Getpid())},
		{"empty home", []string{""}, "4194300"},
		{"half of the skeleton", []string{"/.config"}, "4194300"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			root, m := realTree(t, nil)
			must(t, m.EnsureUser(ctx, l, "", config.User{Name: "test"}, nil))
			must(t, root.RemoveAll("/home/test"))
			for _, p := range row.left {
				_, err := root.MkdirAll("/home/test"+p, 0o700)
				must(t, err)
			}
			must(t, root.WriteFile("/etc/passwd.lock", []byte(row.lock), 0o600, -1, -1))
			again := &Manager{Root: root, Runner: &exec.Runner{}, Fragments: true, Interrupted: true}
			must(t, again.EnsureUser(ctx, l, "", user, nil))
			if got := shape(root); got != want {
				t.Errorf("after the cut:\n%swant:\n%s", got, want)
			}
		})
	}
	for _, file := range []string{"/etc/shadow", "/etc/group"} {
		t.Run("cut before "+file, func(t *testing.T) {
			root, m := realTree(t, nil)
			before, err := root.ReadFile(file)
			must(t, err)
			must(t, m.EnsureUser(ctx, l, "", config.User{Name: "test", NoCreateHome: ptr(true)}, nil))
			must(t, root.WriteFile(file, before, 0o600, -1, -1))
			again := &Manager{Root: root, Runner: &exec.Runner{}, Interrupted: true}
			must(t, again.EnsureUser(ctx, l, "", config.User{Name: "test"}, nil))
			for _, f := range []string{"/etc/passwd", "/etc/shadow", "/etc/group", "/etc/gshadow"} {
				got, err := root.ReadFile(f)
				must(t, err)
				want, err := uncut.ReadFile(f)
				must(t, err)
				if string(got) != string(want) {
					t.Errorf("%s:\n%swant:\n%s", f, got, want)
				}
			}
		})
	}
	t.Run("an image's account without a home stays so", func(t *testing.T) {
		root, m := realTree(t, map[string]string{"etc/passwd-": "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/none:/bin/false\n",
			"etc/passwd": "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/none:/bin/false\n"})
		m.Interrupted = true
		must(t, m.EnsureUser(ctx, l, "", config.User{Name: "nobody", Gecos: ptr("changed")}, nil))
		if _, err := root.Lstat("/none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a home was made: %v", err)
		}
	})
	t.Run("a home with other content stays as it is", func(t *testing.T) {
		root, m := realTree(t, nil)
		must(t, m.EnsureUser(ctx, l, "", config.User{Name: "test"}, nil))
		must(t, root.WriteFile("/home/test/mine", nil, 0o600, -1, -1))
		must(t, root.Remove("/home/test/.profile"))
		again := &Manager{Root: root, Runner: &exec.Runner{}, Interrupted: true}
		must(t, again.EnsureUser(ctx, l, "", config.User{Name: "test"}, nil))
		if _, err := root.Lstat("/home/test/.profile"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the skeleton came back: %v", err)
		}
	})
}
