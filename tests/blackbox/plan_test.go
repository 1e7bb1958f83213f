// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"firstboot.dev/ignition/tests/filesystems"
	"golang.org/x/sys/unix"
)

const planConfig = `{"ignition":{"version":"3.4.0"},
	"storage":{"files":[{"path":"/etc/x","overwrite":true,"contents":{"source":"data:,new%0Asame%0A"}},{"path":"/etc/secret","mode":384,"contents":{"source":"data:,hush"}}]},
	"systemd":{"units":[{"name":"a.service","contents":"[Service]\nExecStart=/x\n"}]}}`

// TestPlanText is what a person sees.
func TestPlanText(t *testing.T) {
	m := newMachine(t)
	m.write("config.ign", planConfig)
	m.write("sysroot/etc/x", "old\nsame\n")
	res := m.run("plan", "--root="+m.root, m.path("config.ign"))
	want := `stage files:
  ~ writing file "ROOT/etc/x"  ($.storage.files.0.contents)
      --- a/etc/x
      +++ b/etc/x
      @@ -1,2 +1,2 @@
      -old
      +new
       same
  + writing file "ROOT/etc/secret"  ($.storage.files.1.contents)
      content not shown: mode 0600; 4 bytes
  + writing unit "a.service" at "ROOT/etc/systemd/system/a.service"  ($.systemd.units.0)
      --- /dev/null
      +++ b/etc/systemd/system/a.service
      @@ -0,0 +1,2 @@
      +[Service]
      +ExecStart=/x
2 to create, 1 to change, 0 to delete, 0 as the config says
`
	if got := strings.ReplaceAll(res.stdout, m.root, "ROOT"); got != want || res.code != 2 || res.stderr != "" {
		t.Errorf("exit %d, stderr %q\n%s\nwant:\n%s", res.code, res.stderr, got, want)
	}
}

// hash gives the hash of the plan for config.ign.
func (m *machine) hash(more ...string) string {
	m.t.Helper()
	res := m.run(append([]string{"plan", "--hash", "--root=" + m.root, m.path("config.ign")}, more...)...)
	if res.code != 2 {
		m.t.Fatalf("plan --hash exits with %d:\n%s%s", res.code, res.stdout, res.stderr)
	}
	return strings.TrimSpace(res.stdout)
}

// TestExpectPlan: the stages carry out the plan whose hash they are given, and
// nothing else.
func TestExpectPlan(t *testing.T) {
	for name, row := range map[string]struct {
		change func(m *machine, hash string) string // gives the hash to expect
		stage  string                               // that refuses; "" = none
		says   string
	}{
		"as planned": {func(_ *machine, h string) string { return h }, "", ""},
		"another config": {func(m *machine, h string) string {
			m.write("config.ign", strings.Replace(planConfig, "new", "newer", 1))
			return h
		}, "fetch", "the config part of the plan's hash is"},
		"a base config": {func(m *machine, h string) string {
			m.write("vendor/base.d/a.ign", storage("3.4.0", `"directories":[{"path":"/z"}]`))
			return h
		}, "fetch", "the config part of the plan's hash is"},
		"another root":       {func(m *machine, h string) string { m.write("sysroot/etc/systemd/system/a.service", "old"); return h }, "files", "the files part of the plan's hash is"},
		"a word in a file":   {func(m *machine, h string) string { m.write("sysroot/etc/y", "old"); return h }, "", ""},
		"cut short":          {func(_ *machine, h string) string { return h[:len(h)-20] }, "fetch", "is cut short"},
		"mistyped":           {func(_ *machine, h string) string { return strings.Replace(h, "none", "nune", 1) }, "fetch", "is not 32 hexadecimal digits"},
		"empty":              {func(_ *machine, _ string) string { return "" }, "fetch", "the plan hash to expect is empty"},
		"of another version": {func(_ *machine, h string) string { return "p9" + h[2:] }, "fetch", "is of another version"},
	} {
		for _, by := range []string{"--expect-plan", "ignition.plan", "flatcar.plan"} {
			t.Run(name+"/"+by, func(t *testing.T) {
				m := newMachine(t)
				m.write("config.ign", planConfig)
				m.write("sysroot/etc/x", "old\n")
				want := row.change(m, m.hash())
				var flags []string
				if strings.HasPrefix(by, "--") {
					flags = []string{by + "=" + want}
					m.write("cmdline", "root=/dev/vda9 ignition.plan=the-flag-wins\n")
				} else {
					m.write("cmdline", "root=/dev/vda9 "+by+"="+want+"\n")
				}
				before := m.listing()
				for _, stage := range []string{"fetch", "files"} {
					code := 0
					if stage == row.stage {
						code = 1
					}
					res := m.stage(code, "file", stage, flags...)
					if code == 0 {
						continue
					}
					wantText(t, res.stdout, row.says)
					wantText(t, m.read("run/failure.json"), row.says)
					wantText(t, m.read("run/ops.jsonl"), row.says)
					if after := m.listing(); after != before {
						t.Errorf("refused, and changed\n%s", difference(before, after))
					}
					if stage == "fetch" && m.exists("run/ignition.json") {
						t.Error("the config that was refused is in the cache")
					}
					return
				}
				m.wantFile("etc/x", "new\nsame\n")
			})
		}
	}
}

// TestPlanReferences: what a plan cannot know is said, and there is no hash of it.
func TestPlanReferences(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.URL.Path == "/config" {
			fmt.Fprint(w, storage("3.4.0", `"directories":[{"path":"/merged"}]`))
			return
		}
		fmt.Fprint(w, "text\n")
	}))
	defer server.Close()
	m := newMachine(t)
	m.write("config.ign", `{"ignition":{"version":"3.4.0","config":{"merge":[{"source":"`+server.URL+`/config?token=hush"}]}},
		"storage":{"files":[{"path":"/etc/f","contents":{"source":"`+server.URL+`/file"}}]}}`)
	res := m.run("plan", "--root="+m.root, m.path("config.ign"))
	if res.code != 2 || asked.Load() != 0 {
		t.Errorf("exit %d, %d requests", res.code, asked.Load())
	}
	wantText(t, res.stdout, "not known: $.ignition.config.merge.0: the config at "+server.URL+"/config?")
	wantText(t, res.stdout, "      depends on: what the server sends, which a plan fetches with --online\n")
	wantText(t, res.stdout, "      downloads "+server.URL+"/file (size not known, no hash in the config)\n")
	wantNoText(t, res.stdout+res.stderr, "hush")
	if res := m.run("plan", "--hash", "--root="+m.root, m.path("config.ign")); res.code != 1 || res.stdout != "" {
		t.Errorf("a hash of what is not known: %d %q", res.code, res.stdout)
	}
	res = m.run("plan", "--online", "--root="+m.root, m.path("config.ign"))
	wantText(t, res.stdout, "(5 bytes, no hash in the config)")
	wantText(t, res.stdout, "      +text\n")
	wantText(t, res.stdout, `making directory "`+m.root+`/merged"`)
	wantNoText(t, res.stdout, "not known")
	// The hash of a plan that was made online is what a stage finds before it fetches.
	m.stage(0, "file", "fetch", "--expect-plan="+m.hash("--online"))
	m.stage(0, "file", "files", "--expect-plan="+m.hash("--online"))

	server.Close()
	start := time.Now()
	res = m.run("plan", "--online", "--fetch-timeout=2s", "--root="+m.root, m.path("config.ign"))
	wantText(t, res.stdout, "not known: $.ignition.config.merge.0: ")
	wantText(t, res.stdout, "depends on: what the server sends, which could not be fetched: ")
	if took := time.Since(start); res.code != 2 || took > 20*time.Second {
		t.Errorf("exit %d after %v", res.code, took)
	}
}

// TestPlanRoot has roots that there are no plans for.
func TestPlanRoot(t *testing.T) {
	m := newMachine(t)
	m.write("config.ign", planConfig)
	for root, says := range map[string]string{m.path("nowhere"): "no such file or directory", m.path("config.ign"): "not a directory"} {
		res := m.run("plan", "--root="+root, m.path("config.ign"))
		wantText(t, res.stderr, says)
		wantText(t, res.stderr, root)
		if res.code != 1 || res.stdout != "" {
			t.Errorf("%s: exit %d, %q", root, res.code, res.stdout)
		}
	}
}

// TestPlanRootChanges: a root that is written to while the plan is made is noticed.
// The server changes it, when the plan has looked at the tree and fetches.
func TestPlanRootChanges(t *testing.T) {
	for name, change := range map[string]func(m *machine){
		"/etc/x":      func(m *machine) { m.write("sysroot/etc/x", "other") },
		"/etc/passwd": func(m *machine) { m.write("sysroot/etc/passwd", "") },
		"/l/g": func(m *machine) {
			m.must(os.Remove(m.path("sysroot/l")))
			m.must(os.Symlink("/home", m.path("sysroot/l")))
		},
		"":                          func(m *machine) { m.write("sysroot/etc/unrelated", "x") },
		" is another directory now": func(m *machine) { m.must(os.Rename(m.root, m.root+".old")); m.must(os.Mkdir(m.root, 0o755)) },
	} {
		m := newMachine(t)
		looked := readBySomebody(t, m.path("sysroot/etc/passwd"))
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			looked()
			change(m)
			fmt.Fprint(w, "text")
		}))
		m.must(os.Symlink("/etc", m.path("sysroot/l")))
		m.write("config.ign", storage("3.4.0", `"files":[{"path":"/etc/x","contents":{"source":"data:,a"}},{"path":"/l/g","user":{"name":"core"}},{"path":"/etc/f","contents":{"source":"`+server.URL+`"}}]`))
		res := m.run("plan", "--online", "--root="+m.root, m.path("config.ign"))
		server.Close()
		if name == "" {
			if res.code != 2 {
				t.Errorf("what was not looked at changes: exit %d\n%s", res.code, res.stderr)
			}
			continue
		}
		wantText(t, res.stderr, "the root changed while the plan was made")
		wantText(t, res.stderr, m.root+name)
		if res.code != 1 || res.stdout != "" {
			t.Errorf("%s: exit %d, %q", name, res.code, res.stdout)
		}
	}
}

// readBySomebody gives a function that waits until a file was read.
func readBySomebody(t *testing.T, name string) (wait func()) {
	t.Helper()
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(fd) })
	if _, err := unix.InotifyAddWatch(fd, name, unix.IN_CLOSE_NOWRITE); err != nil {
		t.Fatal(err)
	}
	return func() {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		for {
			n, err := unix.Poll(ready, 30_000)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if n != 1 {
				t.Errorf("nobody read %s: %v", name, err)
			}
			return
		}
	}
}

// TestPlanReadOnly: on a read-only mount, where nothing could be opened for writing.
func TestPlanReadOnly(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: it mounts")
	}
	m := newMachine(t)
	m.write("config.ign", planConfig)
	runtime.LockOSThread() // and never unlocked: the thread ends with its mounts
	m.must(syscall.Unshare(syscall.CLONE_NEWNS))
	m.must(syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""))
	m.must(syscall.Mount(m.dir, m.dir, "", syscall.MS_BIND, ""))
	m.must(syscall.Mount("", m.dir, "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	defer func() { _ = syscall.Unmount(m.dir, syscall.MNT_DETACH) }()
	// In this namespace of mounts alone.
	m.must(syscall.Mount("", "/", "", syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	defer func() { _ = syscall.Mount("", "/", "", syscall.MS_BIND|syscall.MS_REMOUNT, "") }() // the test's directory is removed
	const toWrite = 2
	for _, root := range []string{m.root, "/"} {
		if err := syscall.Access(filepath.Join(root, "etc"), toWrite); err != syscall.EROFS {
			t.Fatalf("%s is not read-only: %v", root, err)
		}
		for _, kind := range []string{"--format=text", "--format=json", "--hash"} {
			if res := m.run("plan", kind, "--root="+root, m.path("config.ign")); res.code != 2 || res.stdout == "" {
				t.Errorf("%s: exit %d\n%s%s", root, res.code, res.stdout, res.stderr)
			}
		}
	}
}

// TestPlanReferenceNeedsSibling: a config that can be fetched only with what one before it brings
// is in the plan, as it is in a boot.
func TestPlanReferenceNeedsSibling(t *testing.T) {
	first := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, storage("3.4.0", `"directories":[{"path":"/second"}]`))
	}))
	defer server.Close()
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the first try does not trust it
	authority := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		<-first
		fmt.Fprintf(w, `{"ignition":{"version":"3.4.0","security":{"tls":{"certificateAuthorities":[{"source":"data:;base64,%s"}]}}}}`,
			base64.StdEncoding.EncodeToString([]byte(authority)))
	}))
	defer plain.Close()
	m := newMachine(t)
	m.write("config.ign", refer("merge", plain.URL, server.URL))
	time.AfterFunc(500*time.Millisecond, func() { close(first) }) // when the other has failed for want of the CA
	res := m.run("plan", "--online", "--root="+m.root, m.path("config.ign"))
	wantText(t, res.stdout, m.root+`/second"`)
	wantNoText(t, res.stdout, "not known")
	if res.code != 2 {
		t.Errorf("exit %d\n%s", res.code, res.stderr)
	}
}

// TestPlanShows has what a plan shows of files, and what it does not.
func TestPlanShows(t *testing.T) {
	key := "-----BEGIN%20OPENSSH%20PRIVATE%20KEY-----%0Ahush"
	large := strings.Repeat("x", 300<<10)
	file := func(path, contents, more string) string {
		return fmt.Sprintf(`{"path":%q,"overwrite":true,"contents":{"source":"data:,%s"}%s}`, path, contents, more)
	}
	unit := func(text string) string { return fmt.Sprintf(`{"name":"u.service","contents":%q}`, text) }
	for name, row := range map[string]struct {
		files, dirs, units, users string
		mode                      os.FileMode // of what is there, with the word "before" in it
		at                        string      // and where
		want                      string      // a line
		hides                     []string
	}{
		"text":            {files: file("/a/f", "after%0A", ""), at: "a/f", mode: 0o644, want: "      -before"},
		"a new mode":      {files: file("/a/f", "hush", `,"mode":416`), at: "a/f", mode: 0o644, want: "      content not shown: mode 0640; 6 bytes become 4 bytes", hides: []string{"before", "hush"}},
		"the old mode":    {files: file("/a/f", "after", `,"mode":420`), at: "a/f", mode: 0o600, want: "      content not shown: mode 0600; 6 bytes become 5 bytes", hides: []string{"before"}},
		"a directory":     {files: file("/root/.ssh/f", "hush", ""), at: "root/x", mode: 0o644, want: "      content not shown: /root has mode 0700; 4 bytes", hides: []string{"hush"}},
		"a new directory": {files: file("/srv/a/f", "hush", ""), dirs: `{"path":"/srv","mode":488}`, want: "      content not shown: /srv has mode 0750; 4 bytes", hides: []string{"hush"}},
		"a new home":      {files: file("/home/u/f", "hush", ""), users: `{"name":"u"}`, want: "      content not shown: /home/u has mode 0700; 4 bytes", hides: []string{"hush"}},
		"a private key":   {files: file("/a/f", key, ""), want: "      content not shown: it holds a secret; 40 bytes", hides: []string{"hush", "OPENSSH"}},
		"a hash":          {files: file("/a/f", "u:$6$hush", ""), want: "      content not shown: it holds a secret; 9 bytes", hides: []string{"hush"}},
		"shadow":          {files: file("/etc/shadow", "u:hush", `,"mode":420`), want: "      content not shown: passwords; 52 bytes become 6 bytes", hides: []string{"hush"}},
		"shadow's copy":   {files: file("/etc/shadow-", "u:hush", `,"mode":420`), want: "      content not shown: passwords; 6 bytes", hides: []string{"hush"}},
		"a unit":          {units: unit("[Service]\nExecStart=/x\n"), at: "etc/systemd/system/u.service", mode: 0o600, want: "      content not shown: mode 0600; 6 bytes become 23 bytes", hides: []string{"before", "ExecStart"}},
		"a masked unit":   {units: `{"name":"u.service","mask":true}`, at: "etc/systemd/system/u.service", mode: 0o644, want: "      irreversible: the file that is there"},
		"binary":          {files: file("/a/f", "%00%01", ""), at: "a/f", mode: 0o644, want: "      content not shown: binary; 6 bytes become 2 bytes"},
		"binary is lost":  {files: file("/a/f", "%00%01", ""), at: "a/f", mode: 0o644, want: "      irreversible: what the file has now"},
		"large":           {files: file("/a/f", large, ""), at: "a/f", mode: 0o644, want: "      content not shown: large; 6 bytes become 300.0 KiB"},
		"terminal":        {files: file("/a/\u202ef", "a%E2%80%AEb%0Dc%0A", ""), want: `      +a\u202eb\x0dc`, hides: []string{"\u202e", "\r"}},
		"appended to":     {files: `{"path":"/a/f","append":[{"source":"data:,one%0A"},{"source":"data:,two%0A"}]}`, at: "a/f", mode: 0o644, want: "      +two"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t)
			m.must(os.Mkdir(filepath.Join(m.root, "root"), 0o700))
			if row.at != "" {
				m.write("sysroot/"+row.at, "before")
				m.must(os.Chmod(filepath.Join(m.root, row.at), row.mode))
			}
			m.write("config.ign", fmt.Sprintf(`{"ignition":{"version":"3.4.0"},"storage":{"directories":[%s],"files":[%s]},"systemd":{"units":[%s]},"passwd":{"users":[%s]}}`,
				row.dirs, row.files, row.units, row.users))
			for _, format := range []string{"text", "json"} {
				res := m.run("plan", "--format="+format, "--root="+m.root, m.path("config.ign"))
				if res.code != 2 {
					t.Fatalf("exit %d\n%s", res.code, res.stderr)
				}
				if format == "text" && !strings.Contains("\n"+res.stdout, "\n"+row.want) {
					t.Errorf("no line %q in\n%s", row.want, res.stdout)
				}
				for _, h := range row.hides {
					if format == "text" || h != "\u202e" {
						wantNoText(t, res.stdout+res.stderr, h)
					}
				}
			}
		})
	}
}

// TestPlanWillFail: what a boot fails at although all is there has no plan.
func TestPlanWillFail(t *testing.T) {
	m := newMachine(t)
	for contents, says := range map[string]string{
		`"source":"data:,b","verification":{"hash":"sha256-` + strings.Repeat("0", 64) + `"}`: "hash verification failed",
		`"compression":"gzip","source":"data:;base64,H4sIAAAAAAAA"`:                           "unexpected EOF",
	} {
		m.write("config.ign", storage("3.4.0", `"files":[{"path":"/f","contents":{`+contents+`}}]`))
		res := m.run("plan", "--root="+m.root, m.path("config.ign"))
		wantText(t, res.stderr, "$.storage.files.0.contents ("+m.path("config.ign")+" line 1 column ")
		wantText(t, res.stderr, says)
		if res.code != 1 || res.stdout != "" {
			t.Errorf("exit %d %q", res.code, res.stdout)
		}
	}
}

// TestExpectPlanGoesOn: a run that did not come to its end is finished by a later one with the same
// plan, although what it has done is not in that any more; with another plan it is not.
func TestExpectPlanGoesOn(t *testing.T) {
	var ready atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !ready.Load() {
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	m := newMachine(t)
	m.write("config.ign", storage("3.4.0", `"files":[{"path":"/etc/a","contents":{"source":"data:,a"}},{"path":"/etc/b","contents":{"source":"`+server.URL+`"}}]`))
	hash := m.hash()
	m.stage(0, "file", "fetch", "--expect-plan="+hash)
	m.stage(1, "file", "files", "--expect-plan="+hash)
	if !m.exists("sysroot/etc/a") {
		t.Fatal("the first run has done nothing")
	}
	ready.Store(true)
	m.write("link.ign", storage("3.4.0", `"links":[{"path":"/etc/l","target":"x"}]`))
	another := strings.TrimSpace(m.run("plan", "--hash", "--root="+m.root, m.path("link.ign")).stdout)
	before := m.listing()
	m.stage(1, "file", "files", "--expect-plan="+another)
	if after := m.listing(); after != before {
		t.Errorf("refused, and changed\n%s", difference(before, after))
	}
	m.stage(0, "file", "files", "--expect-plan="+hash)
	m.wantFile("etc/a", "a")
	m.wantNoLeftovers()
}

// TestExpectPlanBase: a base config that comes between the stages is noticed where its contents count.
func TestExpectPlanBase(t *testing.T) {
	m := newMachine(t)
	base := func(text string) {
		m.write("vendor/base.d/a.ign", storage("3.4.0", `"files":[{"path":"/etc/a","contents":{"source":"data:,`+text+`"}}]`))
	}
	base("one")
	m.write("config.ign", planConfig)
	hash := m.hash()
	m.stage(0, "file", "fetch", "--expect-plan="+hash)
	base("two")
	before := m.listing()
	res := m.stage(1, "file", "files", "--expect-plan="+hash)
	wantText(t, res.stdout, "the files part of the plan's hash is")
	if after := m.listing(); after != before {
		t.Errorf("refused, and changed\n%s", difference(before, after))
	}
	base("one")
	m.stage(0, "file", "files", "--expect-plan="+hash)
}

// TestExpectPlanMounts: a plan that is made before the filesystems are mounted knows what the tree will have then.
func TestExpectPlanMounts(t *testing.T) {
	dir := filesystems.Private(t)
	data, other := filesystems.Device(t, dir, "ext4"), filesystems.Device(t, dir, "ext4")
	m := newMachine(t)
	m.write("sysroot/srv/deep/old", "below the mount point")
	m.write("config.ign", fmt.Sprintf(`{"ignition":{"version":"3.4.0"},"storage":{
		"filesystems":[{"device":%q,"format":"ext4","path":"/var/data"},{"device":%q,"format":"ext4","path":"/srv","wipeFilesystem":true}],
		"directories":[{"path":"/var"},{"path":"/var/data"},{"path":"/var/data/sub","mode":448},{"path":"/srv","mode":493},{"path":"/srv/deep"}],
		"files":[{"path":"/srv/deep/old","contents":{"source":"data:,new"}}]}}`, data, other))
	hash := m.hash()
	res := m.run("plan", "--all", "--root="+m.root, m.path("config.ign"))
	for _, want := range []string{`= making directory "ROOT/var" `, `= making directory "ROOT/var/data" `, `+ making directory "ROOT/var/data/sub" `,
		`= making directory "ROOT/srv" `, `+ making directory "ROOT/srv/deep" `, `+ writing file "ROOT/srv/deep/old" `} {
		wantText(t, strings.ReplaceAll(res.stdout, m.root, "ROOT"), want)
	}
	for _, stage := range []string{"fetch", "mount", "files", "umount"} {
		m.stage(0, "file", stage, "--expect-plan="+hash)
	}
}

// TestPlanOnlineTogether: a plan fetches as many files at a time as a boot does,
// and says in config order what each will do, also of what is there already.
func TestPlanOnlineTogether(t *testing.T) {
	var inFlight, most atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := inFlight.Add(1)
		defer inFlight.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(100 * time.Millisecond)
		if r.URL.Path == "/6" || r.URL.Path == "/10" {
			_, _ = w.Write(bytes.Repeat([]byte("six\n"), 200<<10))
			return
		}
		fmt.Fprintln(w, "text of", r.URL.Path)
	}))
	defer server.Close()
	m := newMachine(t)
	var files, want []string
	for i := range 24 {
		more := ""
		if i == 5 {
			more = `,"append":[{"source":"` + server.URL + `/a"}],"overwrite":true`
		}
		if i >= 6 && i <= 10 {
			more = `,"mode":420,"overwrite":true`
		}
		files = append(files, fmt.Sprintf(`{"path":"/srv/%02d","contents":{"source":"%s/%d"}%s}`, i, server.URL, i, more))
		effect := "+"
		if i >= 5 && i <= 10 {
			effect = "~"
		}
		want = append(want, fmt.Sprintf("  %s writing file \"%s/srv/%02d\"", effect, m.root, i))
	}
	m.write("sysroot/srv/05", "text of /5\ntext of /a!\n")
	m.write("sysroot/srv/06", strings.Repeat("six\n", 200<<10))
	m.write("sysroot/srv/10", strings.Repeat("six\n", 200<<10-1)+"six!")
	m.write("sysroot/srv/07", "text of /7\n")
	m.write("sysroot/srv/08", "text of /7\n")
	m.write("sysroot/srv/09", "text of /9\nand more\n")
	m.write("config.ign", storage("3.4.0", `"files":[`+strings.Join(files, ",")+`]`))
	res := m.run("plan", "--online", "--root="+m.root, m.path("config.ign"))
	if res.code != 2 {
		t.Fatalf("exit %d\n%s%s", res.code, res.stdout, res.stderr)
	}
	if n := most.Load(); n < 4 || n > 16 {
		t.Errorf("%d downloads at a time, want up to 16 short ones", n)
	}
	var got []string
	after := map[string]int{} // lines of what changes, by name
	for line := range strings.Lines(res.stdout) {
		if strings.Contains(line, " writing file ") {
			got = append(got, strings.TrimSpace(line))
		} else if len(got) > 0 && !strings.Contains(line, "downloads ") {
			_, name, _ := strings.Cut(got[len(got)-1], "/srv/")
			after[name[:2]]++
		}
	}
	if len(got) != len(want) {
		t.Fatalf("%d operations, want %d:\n%s", len(got), len(want), res.stdout)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], strings.TrimSpace(want[i])) {
			t.Errorf("operation %d is %s, want %s", i, got[i], want[i])
		}
	}
	if after["06"] != 0 || after["07"] != 0 || after["08"] == 0 || after["09"] == 0 || after["10"] == 0 {
		t.Errorf("what is alike and what is not: %v\n%s", after, res.stdout)
	}
	wantText(t, res.stdout, "-and more")
}
