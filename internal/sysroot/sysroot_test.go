// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// newRoot gives an open tree and its host path. Beside it lies a directory
// "outside" with a canary that no test may touch.
func newRoot(t *testing.T) (*Root, string) {
	t.Helper()
	base := t.TempDir()
	host := filepath.Join(base, "root")
	must(t, os.Mkdir(host, 0o755))
	must(t, os.Mkdir(filepath.Join(base, "outside"), 0o755))
	canary := filepath.Join(base, "outside", "canary")
	must(t, os.WriteFile(canary, []byte("alive"), 0o644))
	r, err := Open(host)
	must(t, err)
	t.Cleanup(func() {
		r.Close()
		got, err := os.ReadFile(canary)
		if err != nil || string(got) != "alive" {
			t.Errorf("canary outside of the root: %q, %v", got, err)
		}
		fi, err := os.Stat(canary)
		if err != nil || fi.Mode() != 0o644 {
			t.Errorf("canary's mode changed: %v, %v", fi, err)
		}
		list, err := os.ReadDir(filepath.Join(base, "outside"))
		if err != nil || len(list) != 1 {
			t.Errorf("something was made outside of the root: %v, %v", list, err)
		}
	})
	return r, host
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounts need root")
	}
}

// tree makes nodes below host: "a/" a directory, "a->b" a link, "a=b" a file.
func tree(t *testing.T, host string, nodes ...string) {
	t.Helper()
	for _, n := range nodes {
		if dir, ok := strings.CutSuffix(n, "/"); ok {
			must(t, os.MkdirAll(filepath.Join(host, dir), 0o755))
		} else if name, target, ok := strings.Cut(n, "->"); ok {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(host, name)), 0o755))
			must(t, os.Symlink(target, filepath.Join(host, name)))
		} else if name, data, ok := strings.Cut(n, "="); ok {
			must(t, os.MkdirAll(filepath.Dir(filepath.Join(host, name)), 0o755))
			must(t, os.WriteFile(filepath.Join(host, name), []byte(data), 0o644))
		}
	}
}

func links(n int) []string {
	out := []string{"chain/end/"}
	for i := range n {
		target := fmt.Sprintf("l%d", i+1)
		if i == n-1 {
			target = "end"
		}
		out = append(out, fmt.Sprintf("chain/l%d->%s", i, target))
	}
	return out
}

func TestResolve(t *testing.T) {
	rows := []struct {
		name  string
		nodes []string
		in    string
		want  string
		err   error
	}{
		{"plain", []string{"etc/"}, "/etc/hostname", "/etc/hostname", nil},
		{"missing parents", nil, "/a/b/c", "/a/b/c", nil},
		{"absolute link", []string{"var/home/", "home->/var/home"}, "/home/core", "/var/home/core", nil},
		{"relative link", []string{"var/home/", "home->var/home"}, "/home/core", "/var/home/core", nil},
		{"link out by dots", []string{"a/up->../../../../outside"}, "/a/up/x", "/outside/x", nil},
		{"chain", []string{"a->/b", "b->c", "c->/d", "d/"}, "/a/x", "/d/x", nil},
		{"target holds a link", []string{"x->/y/z", "y->/real", "real/z/"}, "/x/f", "/real/z/f", nil},
		{"target holds a link to dots", []string{"x->/y/../f", "y->/p/q", "p/q/", "p/f/"}, "/x/n", "/p/f/n", nil},
		{"dots after a link", []string{"l->/p/q", "p/q/"}, "/l/../n", "/p/n", nil},
		{"dots past the top", nil, "/../../etc/x", "/etc/x", nil},
		{"dots through missing", []string{"b->/c"}, "/no/../b/x", "/c/x", nil},
		{"last component is kept", []string{"etc/l->/elsewhere"}, "/etc/l", "/etc/l", nil},
		{"dangling parent", []string{"home->/var/home"}, "/home/core/.ssh", "/var/home/core/.ssh", nil},
		{"below a file", []string{"f=x"}, "/f/a/b", "/f/a/b", nil},
		{"root", nil, "/", "/", nil},
		{"trailing slash", []string{"l->/t"}, "/l/", "/l", nil},
		{"double slashes and dots", []string{"a->/b"}, "//a/./x", "/b/x", nil},
		{"ends in dots", []string{"a->/b/c"}, "/a/..", "/b", nil},
		{"loop", []string{"a->/b", "b->/a"}, "/a/x", "", unix.ELOOP},
		{"self loop", []string{"a->a"}, "/a/x", "", unix.ELOOP},
		{"40 links", links(40), "/chain/l0/x", "/chain/end/x", nil},
		{"41 links", links(41), "/chain/l0/x", "", unix.ELOOP},
		{"newline in a name", []string{"a\nb->/c\nd"}, "/a\nb/x", "/c\nd/x", nil},
		{"name too long", nil, "/" + strings.Repeat("n", 256) + "/x", "", unix.ENAMETOOLONG},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r, host := newRoot(t)
			tree(t, host, row.nodes...)
			got, err := r.Resolve(row.in)
			if got != row.want || !errors.Is(err, row.err) {
				t.Errorf("Resolve(%q) = %q, %v; want %q, %v", row.in, got, err, row.want, row.err)
			}
		})
	}
}

// TestLinksAreConfined checks that every operation on a path with links ends
// in the tree, at the place that Resolve names.
func TestLinksAreConfined(t *testing.T) {
	rows := []struct {
		name, link, target string // link in the tree, and what its text is
		real               string // where it leads to
	}{
		{"absolute", "etc", "/usr/etc", "usr/etc"},
		{"relative", "etc", "usr/etc", "usr/etc"},
		{"dots", "etc", "../../../../../usr/etc", "usr/etc"},
		{"host's directory", "etc", "OUTSIDE", "OUTSIDE"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			r, host := newRoot(t)
			outside := filepath.Join(filepath.Dir(host), "outside")
			target := strings.ReplaceAll(row.target, "OUTSIDE", outside)
			real := filepath.Join(host, strings.ReplaceAll(row.real, "OUTSIDE", outside))
			tree(t, host, row.link+"->"+target)
			first, err := r.MkdirAll("/etc", 0o755)
			must(t, err)
			if fi, err := os.Stat(filepath.Join(host, first)); first == "" || err != nil || !fi.IsDir() {
				t.Errorf("MkdirAll made %q: %v, %v", first, fi, err)
			}
			must(t, r.WriteFile("/etc/canary", []byte("in"), 0o600, -1, -1))
			if got, err := os.ReadFile(filepath.Join(real, "canary")); string(got) != "in" {
				t.Errorf("file inside: %q, %v", got, err)
			}
			must(t, r.Chmod("/etc/canary", 0o4751))
			must(t, r.Rename("/etc/canary", "/etc/two"))
			must(t, r.Link("/etc/two", "/etc/three"))
			must(t, r.Symlink("two", "/etc/four"))
			if got, err := r.ReadFile("/etc/four"); string(got) != "in" || err != nil {
				t.Errorf("ReadFile by link: %q, %v", got, err)
			}
			if list, err := r.ReadDir("/etc"); err != nil || len(list) != 3 {
				t.Errorf("ReadDir: %v, %v", list, err)
			}
			must(t, r.SyncFS("/etc"))
			must(t, r.Remove("/etc/four"))
			must(t, r.RemoveAll("/etc/three"))
			must(t, r.Remove("/etc/two"))
		})
	}
}

// TestHostileLast runs every operation against last components that point
// out of the tree or are no plain file.
func TestHostileLast(t *testing.T) {
	type op struct {
		name string
		run  func(r *Root, p string) error
	}
	write := op{"WriteFile", func(r *Root, p string) error { return r.WriteFile(p, nil, 0o600, -1, -1) }}
	read := op{"ReadFile", func(r *Root, p string) error { _, err := r.ReadFile(p); return err }}
	open := op{"OpenFile", func(r *Root, p string) error {
		f, err := r.OpenFile(p, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
		if err == nil {
			f.Close()
		}
		return err
	}}
	nofollow := op{"OpenFile nofollow", func(r *Root, p string) error {
		f, err := r.OpenFile(p, os.O_RDWR|unix.O_NOFOLLOW, 0)
		if err == nil {
			f.Close()
		}
		return err
	}}
	mkdir := op{"MkdirAll", func(r *Root, p string) error { _, err := r.MkdirAll(p, 0o700); return err }}
	chmod := op{"Chmod", func(r *Root, p string) error { return r.Chmod(p, 0o700) }}
	lchown := op{"Lchown", func(r *Root, p string) error { return r.Lchown(p, os.Getuid(), -1) }}
	readlink := op{"Readlink", func(r *Root, p string) error { _, err := r.Readlink(p); return err }}
	stat := op{"Stat", func(r *Root, p string) error { _, err := r.Stat(p); return err }}
	lstat := op{"Lstat", func(r *Root, p string) error { _, err := r.Lstat(p); return err }}
	sync := op{"SyncFS", func(r *Root, p string) error { return r.SyncFS(p) }}
	removeAll := op{"RemoveAll", func(r *Root, p string) error { return r.RemoveAll(p) }}
	remove := op{"Remove", func(r *Root, p string) error { return r.Remove(p) }}
	temp := op{"NewTemp over it", func(r *Root, p string) error {
		tmp, err := r.NewTemp(filepath.Dir(p), filepath.Base(p))
		if err == nil {
			err = tmp.Abort()
		}
		return err
	}}
	inTemp := op{"NewTemp in it", func(r *Root, p string) error { _, err := r.NewTemp(p, "t"); return err }}
	readdir := op{"ReadDir", func(r *Root, p string) error { _, err := r.ReadDir(p); return err }}
	rows := []struct {
		kind string
		op   op
		want error // nil: works
	}{
		{"link", write, nil}, {"link", read, unix.ENOENT}, {"link", open, unix.ENOENT}, {"link", nofollow, unix.ELOOP},
		{"link", chmod, unix.EOPNOTSUPP}, {"link", lchown, nil}, {"link", readlink, nil}, {"link", stat, unix.ENOENT},
		{"link", lstat, nil}, {"link", sync, unix.ENOENT}, {"link", removeAll, nil}, {"link", remove, nil},
		{"link", temp, nil}, {"link", inTemp, unix.ENOENT}, {"link", readdir, unix.ENOENT}, {"link", mkdir, nil},
		{"fifo", write, nil}, {"fifo", read, errNotRegular}, {"fifo", open, errNotRegular}, {"fifo", nofollow, errNotRegular},
		{"fifo", chmod, nil}, {"fifo", lchown, nil}, {"fifo", readlink, unix.EINVAL}, {"fifo", stat, nil},
		{"fifo", lstat, nil}, {"fifo", sync, errNotRegular}, {"fifo", removeAll, nil}, {"fifo", remove, nil},
		{"fifo", temp, nil}, {"fifo", inTemp, unix.ENOTDIR}, {"fifo", readdir, unix.ENOTDIR}, {"fifo", mkdir, unix.ENOTDIR},
		{"dir", write, unix.EISDIR}, {"dir", read, errNotRegular}, {"dir", open, unix.EISDIR}, {"dir", nofollow, unix.EISDIR},
		{"dir", chmod, nil}, {"dir", lchown, nil}, {"dir", readlink, unix.EINVAL}, {"dir", stat, nil},
		{"dir", lstat, nil}, {"dir", sync, nil}, {"dir", removeAll, nil}, {"dir", remove, unix.ENOTEMPTY},
		{"dir", temp, unix.ENOTEMPTY}, {"dir", inTemp, nil}, {"dir", readdir, nil}, {"dir", mkdir, nil},
		{"file/below", lstat, unix.ENOTDIR}, {"file/below", mkdir, unix.ENOTDIR}, {"file/below", write, unix.ENOTDIR},
		{"missing", lstat, unix.ENOENT}, {"missing", removeAll, nil}, {"missing", remove, unix.ENOENT},
		{"missing/x", removeAll, nil}, {"missing/x", lstat, unix.ENOENT}, {"missing/x", inTemp, unix.ENOENT},
	}
	for _, row := range rows {
		t.Run(row.kind+" "+row.op.name, func(t *testing.T) {
			r, host := newRoot(t)
			canary := filepath.Join(filepath.Dir(host), "outside", "canary")
			tree(t, host, "link->"+canary, "dir/in=x", "file=y")
			must(t, unix.Mkfifo(filepath.Join(host, "fifo"), 0o644))
			err := row.op.run(r, "/"+row.kind)
			if !errors.Is(err, row.want) {
				t.Fatalf("%v, want %v", err, row.want)
			}
			if err != nil && !strings.Contains(err.Error(), host+"/") {
				t.Errorf("error does not name the host path: %v", err)
			}
		})
	}
}

func TestErrorTexts(t *testing.T) {
	r, host := newRoot(t)
	tree(t, host, "f=x")
	rows := []struct {
		name string
		err  func() error
		want string
	}{
		{"lstat below a file", func() error { _, err := r.Lstat("/f/x"); return err }, "lstat " + host + "/f/x: not a directory"},
		{"mkdir below a file", func() error { _, err := r.MkdirAll("/f/x/y", 0o755); return err }, "mkdir " + host + "/f: not a directory"},
		{"temp in a missing dir", func() error { _, err := r.NewTemp("/no", "t"); return err }, "open " + host + "/no: no such file or directory"},
		{"link", func() error { return r.Link("/no", "/new") }, "link " + host + "/no " + host + "/new: no such file or directory"},
		{"dots are shown clean", func() error { _, err := r.Lstat("/../../no"); return err }, "lstat " + host + "/no: no such file or directory"},
		{"read of a dir", func() error { _, err := r.ReadFile("/"); return err }, "read " + host + ": not a regular file"},
		{"name too long", func() error { return r.Symlink("x", "/"+strings.Repeat("n", 256)) },
			"symlink " + host + "/" + strings.Repeat("n", 256) + ": file name too long"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			if err := row.err(); err == nil || err.Error() != row.want {
				t.Errorf("%v\nwant %s", err, row.want)
			}
		})
	}
}

func TestStat(t *testing.T) {
	r, host := newRoot(t)
	tree(t, host, "f=four", "l->f")
	must(t, unix.Mkfifo(filepath.Join(host, "p"), 0o600))
	must(t, r.Chmod("/f", fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky|0o751))
	st, err := r.Stat("/l")
	must(t, err)
	var want syscall.Stat_t
	must(t, syscall.Stat(filepath.Join(host, "f"), &want))
	if st.Mode != fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky|0o751 || st.Size != 4 ||
		st.Ino != want.Ino || st.Dev != uint64(want.Dev) || st.UID != os.Getuid() || st.GID != int(want.Gid) {
		t.Errorf("Stat = %+v, kernel has %+v", st, want)
	}
	for p, mode := range map[string]fs.FileMode{"/l": fs.ModeSymlink, "/p": fs.ModeNamedPipe, "/": fs.ModeDir} {
		if st, err := r.Lstat(p); err != nil || st.Mode.Type() != mode {
			t.Errorf("Lstat(%s) = %v, %v", p, st.Mode, err)
		}
	}
	list, err := r.ReadDir("/")
	must(t, err)
	if len(list) != 3 || list[0].Name() != "f" || list[1].Type() != fs.ModeSymlink {
		t.Errorf("ReadDir = %v", list)
	}
	if fi, err := list[0].Info(); err != nil || fi.Size() != 4 || fi.ModTime().IsZero() {
		t.Errorf("Info = %v, %v", fi, err)
	}
}

func TestRootOfHost(t *testing.T) {
	r, err := Open("/")
	must(t, err)
	defer r.Close()
	if r.Path() != "/" || r.Display("/etc") != "/etc" || r.Display("x/../../y") != "/y" {
		t.Errorf("Path %q, Display %q", r.Path(), r.Display("/etc"))
	}
	if got, err := r.Resolve("/no-such-dir/x"); got != "/no-such-dir/x" || err != nil {
		t.Errorf("Resolve = %q, %v", got, err)
	}
	if st, err := r.Lstat("/"); err != nil || !st.Mode.IsDir() {
		t.Errorf("Lstat(/) = %v, %v", st, err)
	}
	if first, err := r.MkdirAll("/", 0o700); first != "" || err != nil {
		t.Errorf("MkdirAll(/) = %q, %v", first, err)
	}
	for _, p := range []string{"/", "/.", "/..", "/etc/.."} {
		if err := r.RemoveAll(p); err == nil {
			t.Fatalf("RemoveAll(%q) did not refuse", p)
		}
	}
}

func TestOpen(t *testing.T) {
	host := t.TempDir()
	t.Chdir(host)
	tree(t, host, "root/", "file=x")
	r, err := Open("root/./")
	must(t, err)
	defer r.Close()
	if want := filepath.Join(host, "root"); r.Path() != want {
		t.Errorf("Path %q, want %q", r.Path(), want)
	}
	for _, p := range []string{"file", "missing"} {
		if _, err := Open(p); err == nil {
			t.Errorf("Open(%q) works", p)
		}
	}
}

func TestMkdirAll(t *testing.T) {
	r, host := newRoot(t)
	must(t, os.Mkdir(filepath.Join(host, "have"), 0o711))
	must(t, os.Symlink("/later/x", filepath.Join(host, "dangling")))
	must(t, os.Mkdir(filepath.Join(host, "sgid"), 0o755))
	must(t, os.Chmod(filepath.Join(host, "sgid"), 0o755|fs.ModeSetgid))
	old := unix.Umask(0o077)
	defer unix.Umask(old)
	rows := []struct {
		name, in string
		perm     uint32
		first    string
		check    string
		mode     fs.FileMode
	}{
		{"two levels", "/a/b", 0o755, "/a", "a/b", 0o755},
		{"again", "/a/b", 0o700, "", "a/b", 0o755},
		{"below an existing one", "/have/x/y/z", 0o775, "/have/x", "have/x/y", 0o775},
		{"existing one is kept", "/have", 0o755, "", "have", 0o711},
		{"through a dangling link", "/dangling/k", 0o755, "/later", "later/x/k", 0o755},
		{"special bits", "/tmp", 0o1777, "/tmp", "tmp", 0o777 | fs.ModeSticky},
		{"set-group-id is inherited", "/sgid/in", 0o755, "/sgid/in", "sgid/in", 0o755 | fs.ModeSetgid},
		{"dots", "/a/../../q/", 0o700, "/q", "q", 0o700},
		{"newline", "/n\nl", 0o700, "/n\nl", "n\nl", 0o700},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			first, err := r.MkdirAll(row.in, row.perm)
			if first != row.first || err != nil {
				t.Errorf("MkdirAll = %q, %v; want %q", first, err, row.first)
			}
			fi, err := os.Stat(filepath.Join(host, row.check))
			if err != nil || fi.Mode() != row.mode|fs.ModeDir {
				t.Errorf("%s: %v, %v; want %v", row.check, fi, err, row.mode)
			}
		})
	}
}

// TestChmodOld checks the way of kernels before 6.6, with the same answers.
func TestChmodOld(t *testing.T) {
	r, host := newRoot(t)
	tree(t, host, "f=x", "d/", "l->f")
	must(t, unix.Mkfifo(filepath.Join(host, "p"), 0o600))
	d, err := r.OpenDir("/")
	must(t, err)
	defer d.Close()
	for _, name := range []string{"f", "d", "p"} {
		must(t, chmodOld(d.fd, name, 0o2750))
		if st, err := d.Lstat(name); err != nil || st.Mode&^fs.ModeType != 0o750|fs.ModeSetgid {
			t.Errorf("%s: %v, %v", name, st.Mode, err)
		}
	}
	if err := chmodOld(d.fd, "l", 0o600); err != unix.EOPNOTSUPP {
		t.Errorf("link: %v", err)
	}
	if err := chmodOld(d.fd, "no", 0o600); err != unix.ENOENT {
		t.Errorf("missing: %v", err)
	}
}

func TestDirRefusesPaths(t *testing.T) {
	r, host := newRoot(t)
	tree(t, host, "a/x=1", "b->a")
	d, err := r.OpenDir("/")
	must(t, err)
	defer d.Close()
	for _, name := range []string{"", "..", "a/x", "b/x", "/etc/passwd", "a/"} {
		_, lerr := d.Lstat(name)
		_, terr := d.CreateTemp(name)
		for i, err := range []error{
			lerr, terr, d.Symlink("t", name), d.Mkdir(name, 0o755), d.Chmod(name, 0o600), d.Remove(name),
			d.Rename(name, "n"), d.Rename("a", name), d.Lchown(name, -1, -1),
		} {
			if !errors.Is(err, unix.EINVAL) {
				t.Errorf("method %d took %q: %v", i, name, err)
			}
		}
	}
}

func TestTemp(t *testing.T) {
	r, host := newRoot(t)
	tree(t, host, "d/", "other/", "d/left=old", "d/in/x=1")
	t.Run("commit", func(t *testing.T) {
		tmp, err := r.NewTemp("/d", "left")
		must(t, err)
		if st, err := r.Lstat("/d/left"); err != nil || st.Mode != 0o600 || st.Size != 0 {
			t.Errorf("temp: %+v, %v", st, err)
		}
		fmt.Fprint(tmp, "wrong")
		must(t, tmp.Reset())
		fmt.Fprint(tmp, "ok")
		must(t, tmp.Commit("/other/f"))
		must(t, tmp.Abort())
		if got, err := r.ReadFile("/other/f"); string(got) != "ok" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if err := tmp.Commit("/other/f"); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("second commit: %v", err)
		}
	})
	t.Run("abort", func(t *testing.T) {
		tmp, err := r.NewTemp("/d", "t")
		must(t, err)
		must(t, tmp.Abort())
		must(t, tmp.Abort())
		if _, err := r.Lstat("/d/t"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left: %v", err)
		}
	})
	t.Run("commit over a directory fails and cleans up", func(t *testing.T) {
		tmp, err := r.NewTemp("/d", "t")
		must(t, err)
		if err := tmp.Commit("/d/in"); !errors.Is(err, unix.EISDIR) {
			t.Errorf("%v", err)
		}
		if _, err := r.Lstat("/d/t"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left: %v", err)
		}
	})
	t.Run("in an open directory", func(t *testing.T) {
		d, err := r.OpenDir("/d")
		must(t, err)
		defer d.Close()
		tmp, err := d.CreateTemp(TempName("g"))
		must(t, err)
		must(t, tmp.SetOwnerAndMode(0o755|fs.ModeSetuid, -1, -1))
		must(t, tmp.CommitName("g"))
		if st, err := d.Lstat("g"); err != nil || st.Mode != 0o755|fs.ModeSetuid {
			t.Errorf("%+v, %v", st, err)
		}
	})
	t.Run("synced, longest name", func(t *testing.T) {
		name := "/d/" + strings.Repeat("n", 255)
		must(t, r.WriteFileSync(name, []byte("x"), 0o640, -1, -1))
		if st, err := r.Lstat(name); err != nil || st.Mode != 0o640 || st.Size != 1 {
			t.Errorf("%+v, %v", st, err)
		}
	})
	for _, name := range leftovers(t, host) {
		t.Errorf("temporary file left: %s", name)
	}
}

func leftovers(t *testing.T, host string) (out []string) {
	t.Helper()
	must(t, filepath.WalkDir(host, func(p string, e fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(e.Name(), ".ignition-") {
			out = append(out, p)
		}
		return err
	}))
	return out
}

func TestWriteFileReplacesWhole(t *testing.T) {
	r, host := newRoot(t)
	tree(t, host, "f=old")
	f, err := os.Open(filepath.Join(host, "f"))
	must(t, err)
	defer f.Close()
	must(t, r.WriteFile("/f", bytes.Repeat([]byte("n"), 1<<20), 0o600, -1, -1))
	buf := make([]byte, 10)
	if n, _ := f.Read(buf); string(buf[:n]) != "old" {
		t.Errorf("a reader of the old file sees %q", buf[:n])
	}
}

// BenchmarkFile is what the files stage does for one small file.
func BenchmarkFile(b *testing.B) {
	r, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for i := range b.N {
		name := fmt.Sprintf("f%d", i)
		if _, err := r.MkdirAll("/a/b/c", 0o755); err != nil {
			b.Fatal(err)
		}
		if err := r.WriteFile("/a/b/c/"+name, []byte("x"), 0o644, -1, -1); err != nil {
			b.Fatal(err)
		}
		if _, err := r.Lstat("/a/b/c/" + name); err != nil {
			b.Fatal(err)
		}
	}
}
