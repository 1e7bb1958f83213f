// SPDX-License-Identifier: Apache-2.0

package mount

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/exec/mounts"
	"firstboot.dev/ignition/internal/oplog"
)

// rig is a sysroot, programs that only note how they were called, and a log.
type rig struct {
	t    *testing.T
	dir  string
	root string
	log  bytes.Buffer
	in   Input
}

// newRig makes the programs: a script each, which can end with the arguments
// noted in the file "calls".
func newRig(t *testing.T, scripts map[string]string) *rig {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, dir: dir, root: filepath.Join(dir, "root")}
	r.mkdir("root", "bin")
	for name, script := range scripts {
		r.write("bin/"+name, "#!/bin/sh\n{ printf %s "+name+"; printf ' [%s]' \"$@\"; echo; } >>"+dir+"/calls\n"+script+"\n")
	}
	r.in = Input{
		Config: &config.Config{},
		Root:   r.root,
		Log:    oplog.New(oplog.StdoutHandler(&r.log), nil).With("mount"),
		Runner: &exec.Runner{Path: filepath.Join(dir, "bin") + ":/bin:/usr/bin"},
		Mount:  "mount",
		Blkid:  "blkid",
	}
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) mkdir(names ...string) {
	r.t.Helper()
	for _, n := range names {
		r.must(os.MkdirAll(filepath.Join(r.dir, n), 0o755))
	}
}

func (r *rig) write(name, text string) {
	r.t.Helper()
	r.mkdir(filepath.Dir(name))
	r.must(os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o755))
}

// calls gives the programs' calls, the rig's directory written as DIR.
func (r *rig) calls() []string {
	r.t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.dir, "calls"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	r.must(err)
	return strings.Split(strings.TrimSpace(r.short(string(raw))), "\n")
}

func (r *rig) short(s string) string { return strings.ReplaceAll(s, r.dir, "DIR") }

func (r *rig) add(device, format, path string, options ...string) {
	r.in.Config.Storage.Filesystems = append(r.in.Config.Storage.Filesystems,
		config.Filesystem{Device: device, Format: &format, Path: &path, MountOptions: options})
}

// TestLog: the lines and the command are an interface.
func TestLog(t *testing.T) {
	r := newRig(t, map[string]string{"mount": ""})
	r.mkdir("root/var/lib")
	r.add("/dev/b", "xfs", "/var/lib/b", "noatime", "logbufs=8")
	r.add("/dev/a", "ext4", "/var")
	if notated, err := Run(t.Context(), r.in); err != nil || !slices.Equal(notated, []string{"/var/lib/b"}) {
		t.Errorf("notated %q, error %v", notated, err)
	}
	want := `INFO     : mount: op(1): [started]  mounting "/dev/a" at "DIR/root/var" with type "ext4" and options ""
DEBUG    : mount: op(1): executing: "mount" "-o" "" "-t" "ext4" "/dev/a" "DIR/root/var"
INFO     : mount: op(1): [finished] mounting "/dev/a" at "DIR/root/var" with type "ext4" and options ""
INFO     : mount: op(2): [started]  mounting "/dev/b" at "DIR/root/var/lib/b" with type "xfs" and options "noatime,logbufs=8"
DEBUG    : mount: op(2): executing: "mount" "-o" "noatime,logbufs=8" "-t" "xfs" "/dev/b" "DIR/root/var/lib/b"
INFO     : mount: op(2): [finished] mounting "/dev/b" at "DIR/root/var/lib/b" with type "xfs" and options "noatime,logbufs=8"
`
	if got := r.short(r.log.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestCommands(t *testing.T) {
	for _, row := range []struct {
		name  string
		entry [3]string
		want  []string
	}{
		{"over the root", [3]string{"/dev/a", "btrfs", "/"}, []string{"mount [-o] [] [-t] [btrfs] [/dev/a] [DIR/root]"}},
		{"share", [3]string{"my tag", "virtiofs", "/srv"}, []string{"mount [-o] [] [-t] [virtiofs] [my tag] [DIR/root/srv]"}},
		{"share like a flag", [3]string{"-v", "virtiofs", "/srv"}, []string{"mount [-o] [] [-t] [virtiofs] [--] [-v] [DIR/root/srv]"}},
		{"vfat", [3]string{"/dev/a", "vfat", "/efi"}, []string{"mount [-o] [] [-t] [vfat] [/dev/a] [DIR/root/efi]"}},
		{"swap", [3]string{"/dev/a", "swap", "/efi"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, map[string]string{"mount": ""})
			r.add(row.entry[0], row.entry[1], row.entry[2])
			if _, err := Run(t.Context(), r.in); err != nil {
				t.Fatal(err)
			}
			if got := r.calls(); !slices.Equal(got, row.want) {
				t.Errorf("got  %q\nwant %q", got, row.want)
			}
		})
	}
}

// TestNotated: what was made is noted once, however often the stage runs, and
// also if it fails later on.
func TestNotated(t *testing.T) {
	r := newRig(t, map[string]string{"mount": `case "$5" in /dev/bad) exit 32; esac`})
	r.mkdir("root/home")
	r.add("/dev/a", "ext4", "/srv/a/data")
	r.add("/dev/b", "ext4", "/home/core")
	r.add("/dev/c", "ext4", "/srv/a/other")
	r.in.NotatedDirs = []string{"/from/before", "/srv/a"}
	notated, err := Run(t.Context(), r.in)
	want := []string{"/from/before", "/srv/a", "/home/core", "/srv", "/srv/a/data", "/srv/a/other"}
	if err != nil || !slices.Equal(notated, want) {
		t.Errorf("got  %q, %v\nwant %q", notated, err, want)
	}
	r.in.NotatedDirs = notated
	if again, err := Run(t.Context(), r.in); err != nil || !slices.Equal(again, want) {
		t.Errorf("a second run: %q, %v", again, err)
	}
	r.add("/dev/bad", "ext4", "/x/y/z/1")
	r.add("/dev/d", "ext4", "/x/y/z/2")
	r.in.NotatedDirs = nil
	if part, err := Run(t.Context(), r.in); err == nil || !slices.Equal(part, []string{"/x", "/x/y", "/x/y/z", "/x/y/z/1"}) {
		t.Errorf("beside an error: %q, %v", part, err)
	}
}

func TestRefusals(t *testing.T) {
	missing := func(r *rig) { r.add("/does/not/exist", "ext4", "/data") }
	device := func(options ...string) func(*rig) {
		return func(r *rig) { r.add("/dev/null", "ext4", "/data", options...) }
	}
	const refuse = "echo 'wrong fs type, bad option' >&2; exit 32"
	for _, row := range []struct {
		name    string
		scripts map[string]string
		prepare func(*rig)
		entry   string
		hint    string
		text    string // of the error
	}{
		{"link in the path", map[string]string{"mount": ""}, func(r *rig) {
			r.mkdir("root/real")
			r.must(os.Symlink("real", r.root+"/data"))
			r.add("/dev/a", "ext4", "/data/x")
		}, ".path", `a link to "real"`, `mount path "DIR/root/data/x" contains non-directory component "DIR/root/data"`},
		{"file in the path", map[string]string{"mount": ""}, func(r *rig) {
			r.write("root/data", "")
			r.add("/dev/a", "ext4", "/data")
		}, ".path", "is not a directory", `mount path "DIR/root/data" contains non-directory component "DIR/root/data"`},
		{"link in the path of the root", map[string]string{"mount": ""}, func(r *rig) {
			r.must(os.Symlink("root", r.dir+"/alias"))
			r.in.Root = r.dir + "/alias"
			r.add("/dev/a", "ext4", "/")
		}, ".path", `a link to "root"`, `mount path "DIR/alias" contains non-directory component "DIR/alias"`},
		{"device missing", map[string]string{"mount": refuse}, missing, ".device", "/does/not/exist does not exist", "exit status 32: Cmd: "},
		{"another type", map[string]string{"mount": refuse, "blkid": "echo xfs"}, device(), ".format", "/dev/null holds xfs", "wrong fs type"},
		{"another type, with options", map[string]string{"mount": refuse, "blkid": "echo xfs"}, device("x"), ".format", "/dev/null holds xfs", "wrong fs type"},
		{"options", map[string]string{"mount": refuse, "blkid": "echo ext4"}, device("a", "b=c"), ".mountOptions", `"a,b=c" are options of ext4`, "wrong fs type"},
		{"nothing on it", map[string]string{"mount": refuse, "blkid": "exit 2"}, device("x"), ".device", "/dev/null holds no filesystem", "wrong fs type"},
		{"reason unknown", map[string]string{"mount": refuse, "blkid": "echo ext4"}, device(), ".path", "the kernel's log", "wrong fs type"},
		{"blkid at a loss", map[string]string{"mount": refuse, "blkid": "exit 8"}, device("x"), ".path", "the kernel's log", "wrong fs type"},
		{"share", map[string]string{"mount": refuse}, func(r *rig) { r.add("tag", "virtiofs", "/data") }, ".device", `a share with the tag "tag"`, "wrong fs type"},
		{"no program", nil, func(r *rig) {
			r.in.Runner.Path = r.dir + "/bin"
			device()(r)
		}, ".path", "add it to the initramfs", "executable file not found"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, row.scripts)
			row.prepare(r)
			r.add("/dev/later", "ext4", "/z/later")
			_, err := Run(t.Context(), r.in)
			var entry *config.EntryError
			if !errors.As(err, &entry) || entry.Path != "$.storage.filesystems.0"+row.entry || !strings.Contains(entry.Hint, row.hint) {
				t.Fatalf("got %#v, want an error at %s with the hint %q", err, row.entry, row.hint)
			}
			if !strings.Contains(r.short(err.Error()), row.text) {
				t.Errorf("error %q, want %q", r.short(err.Error()), row.text)
			}
			if slices.ContainsFunc(r.calls(), func(c string) bool { return strings.Contains(c, "later") }) {
				t.Error("it went on after the error")
			}
		})
	}
}

func TestCancelled(t *testing.T) {
	r := newRig(t, map[string]string{"mount": "", "blkid": ""})
	r.add("/dev/null", "ext4", "/data")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(ctx, r.in)
	var entry *config.EntryError
	if !errors.Is(err, context.Canceled) || !errors.As(err, &entry) || !strings.Contains(entry.Hint, "stopped") || r.calls() != nil {
		t.Errorf("got %v, calls %q", err, r.calls())
	}
}

// TestFoundType: Flatcar keeps an OEM filesystem whatever its type is.
func TestFoundType(t *testing.T) {
	for _, row := range []struct {
		name, device, blkid string
		flatcar             bool
		want                string // type that is mounted
		log                 string
	}{
		{"another type", "/dev/disk/by-label/OEM", "echo btrfs", true, "btrfs", `INFO     : mount: the OEM filesystem at "/dev/disk/by-label/OEM" is btrfs`},
		{"the same type", "/dev/disk/by-label/OEM", "echo ext4", true, "ext4", ""},
		{"nothing found", "/dev/disk/by-label/OEM", "exit 2", true, "ext4", ""},
		{"several found", "/dev/disk/by-label/OEM", "exit 8", true, "ext4", `WARNING  : mount: the type of the OEM filesystem`},
		{"not the OEM filesystem", "/dev/vda9", "echo btrfs", true, "ext4", ""},
		{"not Flatcar", "/dev/disk/by-label/OEM", "echo btrfs", false, "ext4", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, map[string]string{"mount": "", "blkid": row.blkid})
			r.add(row.device, "ext4", "/oem")
			r.in.FlatcarOEM = row.flatcar
			if _, err := Run(t.Context(), r.in); err != nil {
				t.Fatal(err)
			}
			calls := r.calls()
			if got, want := calls[len(calls)-1], "mount [-o] [] [-t] ["+row.want+"] ["+row.device+"] [DIR/root/oem]"; got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
			asked := row.flatcar && row.device != "/dev/vda9"
			if asked != (len(calls) == 2 && calls[0] == "blkid [-p] [-o] [value] [-s] [TYPE] ["+row.device+"]") {
				t.Errorf("calls %q", calls)
			}
			if !strings.Contains(r.log.String(), row.log) || row.log == "" && strings.Contains(r.log.String(), "the OEM filesystem") {
				t.Errorf("log:\n%s", &r.log)
			}
		})
	}
}

// TestRelabel: the topmost new directory before the mount, the root of an empty
// filesystem after it, and nothing of what was there.
func TestRelabel(t *testing.T) {
	setfiles := `for a; do last=$a; done; tr '\0' ' ' | sed 's/^/labels /; s/ $//' >>"${0%/bin/*}/calls"; echo >>"${0%/bin/*}/calls"`
	for _, row := range []struct {
		name  string
		mount string // script
		there string // directory of the tree
		want  []string
	}{
		{"new path, empty filesystem", "", "root/x", []string{"labels DIR/root/srv", "mount", "labels DIR/root/srv/a/b"}},
		{"new path, filesystem with lost+found", `mkdir "$6/lost+found"`, "root/x", []string{"labels DIR/root/srv", "mount", "labels DIR/root/srv/a/b"}},
		{"new path, filesystem with content", `mkdir "$6/lib"`, "root/x", []string{"labels DIR/root/srv", "mount"}},
		{"part is there", "", "root/srv/a", []string{"labels DIR/root/srv/a/b", "mount", "labels DIR/root/srv/a/b"}},
		{"all is there", "", "root/srv/a/b", []string{"mount", "labels DIR/root/srv/a/b"}},
		{"content is there", "", "root/srv/a/b/c", []string{"mount"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := newRig(t, map[string]string{"mount": row.mount, "setfiles": setfiles})
			r.mkdir(row.there)
			r.write("root/etc/selinux/config", "SELINUXTYPE=targeted\n")
			t.Setenv("PATH", r.dir+"/bin:"+os.Getenv("PATH"))
			r.in.Relabel = true
			r.add("/dev/a", "ext4", "/srv/a/b")
			if _, err := Run(t.Context(), r.in); err != nil {
				t.Fatalf("%v\n%s", err, &r.log)
			}
			var got []string
			for _, c := range r.calls() {
				if strings.HasPrefix(c, "mount ") {
					c = "mount"
				}
				if c != "" && !strings.HasPrefix(c, "setfiles ") {
					got = append(got, c)
				}
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("got  %q\nwant %q\n%s", got, row.want, &r.log)
			}
		})
	}
}

// TestRelabelWithoutPolicy names the entry and says where to look.
func TestRelabelWithoutPolicy(t *testing.T) {
	r := newRig(t, map[string]string{"mount": ""})
	r.in.Relabel = true
	r.add("/dev/a", "ext4", "/srv")
	_, err := Run(t.Context(), r.in)
	var entry *config.EntryError
	if !errors.As(err, &entry) || entry.Path != "$.storage.filesystems.0.path" || !strings.Contains(entry.Hint, "/etc/selinux/config") {
		t.Errorf("got %v", err)
	}
}

func TestInRoot(t *testing.T) {
	for _, row := range []struct{ root, dir, want string }{
		{"/sysroot", "/sysroot/a/b", "/a/b"},
		{"/", "/a", "/a"},
		{"/sysroot", "/sysroot", ""},
		{"/sysroot", "/sys", ""},
		{"/a/b", "/a", ""},
		{"/sysroot", "/sysroot/..a", "/..a"},
	} {
		s := &stage{Input: Input{Root: row.root}}
		if got, ok := s.inRoot(row.dir); got != row.want || ok != (row.want != "") {
			t.Errorf("%s in %s: got %q", row.dir, row.root, got)
		}
	}
}

func TestTargetHints(t *testing.T) {
	for _, row := range []struct {
		err  error
		want string
	}{
		{&mounts.NotDirectoryError{Target: "/x", Component: "/proc/self"}, "a link to"},
		{&mounts.NotDirectoryError{Target: "/x", Component: "/dev/null"}, "is something that is not a directory"},
		{&os.PathError{Op: "mkdir", Path: "/x", Err: syscall.EROFS}, "read-only"},
		{os.ErrPermission, "choose another path"},
	} {
		if got := targetHint(row.err); !strings.Contains(got, row.want) {
			t.Errorf("%v: got %q, want %q", row.err, got, row.want)
		}
	}
}
