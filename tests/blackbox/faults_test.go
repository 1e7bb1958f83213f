// SPDX-License-Identifier: Apache-2.0

package blackbox

import (
	"bytes"
	"crypto/sha512"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firstboot.dev/ignition/tests/imds"
)

const spec34 = `{"ignition":{"version":"3.4.0"}`

func TestHugeConfig(t *testing.T) {
	if testing.Short() {
		t.Skip("50 MB of config")
	}
	m := newMachine(t)
	var b bytes.Buffer
	b.WriteString(spec34 + `,"storage":{"files":[` + "\n")
	b.WriteString(`{"path":"/big","contents":{"source":"data:,` + strings.Repeat("x", 50<<20) + `"}}` + "\n]}}")
	m.provision(b.String())
	info, err := os.Stat(filepath.Join(m.root, "big"))
	m.must(err)
	if info.Size() != 50<<20 {
		t.Errorf("size %d", info.Size())
	}
	b.WriteString("nonsense")
	m.write("config.ign", b.String())
	res := m.stage(1, "file", "fetch")
	wantText(t, res.stdout, "CRITICAL : error at line 3 col 5: ")
}

func TestBadConfigs(t *testing.T) {
	for _, row := range []struct {
		name, config, want string
	}{
		{"nesting", spec34 + `,"x":` + strings.Repeat("[", 10001) + strings.Repeat("]", 10001) + "}", "line 1 col 10037: invalid JSON: nested deeper than 10000 levels"},
		{"path with a newline", spec34 + `,"storage":{"files":[` + "\n" + `{"path":"/a\nINFO     : files: files passed"}]}}`, `error at $.storage.files.0.path, line 2 col 9: path contains a control character`},
		{"syntax", spec34 + ",\n  \"storage\": {\"files\": [}}", "line 2 col "},
		{"two nodes below a link", spec34 + `,"storage":{"links":[{"path":"/l","target":"/t"}],"files":[{"path":"/l/f"}]}}`, "error at $.storage.files.0, line 1 col"},
	} {
		t.Run(row.name, func(t *testing.T) {
			m := newMachine(t)
			m.write("config.ign", row.config)
			res := m.stage(1, "file", "fetch")
			wantText(t, res.stdout, row.want)
			wantLine(t, res.stdout, "CRITICAL : failed to acquire config: config is not valid")
			if m.exists("run/ignition.json") {
				t.Error("a cache was written")
			}
		})
	}
}

// TestOptionAsName: a name that begins with a dash would be an option to useradd.
func TestOptionAsName(t *testing.T) {
	m := newMachine(t)
	before := snapshot(t, m.root, nil)
	res := m.refuse(spec34 + `,"passwd":{"groups":[{"name":"fine"}],"users":[{"name":"--help","passwordHash":"$6$secret"}]}}`)
	wantText(t, res.stdout, `"--help"`)
	wantText(t, res.stdout, "$.passwd.users.0")
	wantNoText(t, res.stdout+res.stderr, "$6$secret")
	wantNoText(t, res.stdout, "executing:")
	if after := snapshot(t, m.root, nil); after != before {
		t.Errorf("the tree changed:\n%s\nwas:\n%s", after, before)
	}
}

// TestPasswordHashIsNowhere: neither in the log, nor in the op record, nor on stderr when the stage fails.
func TestPasswordHashIsNowhere(t *testing.T) {
	needRoot(t)
	const hash = "$6$saltsalt$secretsecretsecret"
	m := newMachine(t)
	cfg := spec34 + `,"passwd":{"groups":[{"name":"g","passwordHash":"` + hash + `"}],"users":[{"name":"u","passwordHash":"` + hash + `"}]},"storage":{"files":[{"path":"/a","contents":{"source":"http://u:hunter2@127.0.0.1:1/f?sig=hunter3"}}]},"ignition":{"version":"3.4.0","timeouts":{"httpTotal":1}}}`
	m.write("config.ign", cfg)
	fetch := m.stage(0, "file", "fetch")
	res := m.stage(1, "file", "files")
	all := fetch.stdout + res.stdout + fetch.stderr + res.stderr + m.read("run/ops.jsonl") + m.read("run/state")
	for _, secret := range []string{hash, "hunter2", "hunter3", "secretsecret"} {
		wantNoText(t, all, secret)
	}
	wantText(t, res.stdout, `"--password" "<redacted>"`)
	wantText(t, m.read("sysroot/etc/shadow"), "u:"+hash+":")
}

func TestMetadataServiceFaults(t *testing.T) {
	good := []byte(hello("/a", "yes"))
	for _, row := range []struct {
		name string
		opts imds.Options
		code int
		want []string
		file bool
	}{
		{"token expired once", imds.Options{UserData: good, ExpireOnce: true}, 0, []string{"GET result: Unauthorized"}, true},
		{"IMDSv1 only", imds.Options{UserData: good, TokenStatus: 404}, 0, []string{"IMDSv2 service is unavailable; falling back to IMDSv1"}, true},
		{"turned off", imds.Options{TokenStatus: 403}, 1, []string{"turned off"}, false},
		{"no user data", imds.Options{}, 0, []string{"not a config (empty): provider config was empty, continuing with empty cache config"}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			service := imds.New(row.opts)
			server := httptest.NewServer(service)
			defer server.Close()
			m := newMachine(t)
			m.env = append(m.env, "AWS_EC2_METADATA_SERVICE_ENDPOINT="+server.URL+"/")
			res := m.stage(row.code, "aws", "fetch")
			for _, part := range row.want {
				wantText(t, res.stdout, part)
			}
			if row.code != 0 {
				return
			}
			m.stage(0, "aws", "files")
			if m.exists("sysroot/a") != row.file {
				t.Errorf("file written: %v, want %v", !row.file, row.file)
			}
		})
	}
}

// remote is a config with one file from a server, with the timeouts given.
func remote(url, hash, timeouts string) string {
	verify := ""
	if hash != "" {
		verify = fmt.Sprintf(`,"verification":{"hash":%q}`, hash)
	}
	return fmt.Sprintf(`{"ignition":{"version":"3.4.0","timeouts":{%s}},"storage":{"files":[{"path":"/etc/first","contents":{"source":"data:,first"}},{"path":"/srv/remote","contents":{"source":%q%s}}]}}`, timeouts, url, verify)
}

func TestServerFaults(t *testing.T) {
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<14)
	sum := fmt.Sprintf("sha512-%x", sha512.Sum512(body))
	for _, row := range []struct {
		name     string
		serve    func(n int32, w http.ResponseWriter, r *http.Request)
		hash     string
		timeouts string
		fail     string // "" = succeeds
	}{
		{"cut once", func(n int32, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			if n == 1 {
				_, _ = w.Write(body[:1000])
				panic(http.ErrAbortHandler)
			}
			_, _ = w.Write(body)
		}, sum, "", ""},
		{"resumed", func(n int32, w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"strong"`)
			if n == 1 {
				w.Header().Set("Content-Length", strconv.Itoa(len(body)))
				_, _ = w.Write(body[:100000])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
		}, sum, "", ""},
		{"503 twice", func(n int32, w http.ResponseWriter, r *http.Request) {
			if n < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			_, _ = w.Write(body)
		}, sum, "", ""},
		{"404", func(n int32, w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, "", "", `failed to create files: failed to create files: error creating ROOT/srv/remote: failed to create file "ROOT/srv/remote": resource not found`},
		{"403", func(n int32, w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }, "", "", "failed to fetch resource"},
		{"stalls before the headers", func(n int32, w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "", `"httpTotal":2,"httpResponseHeaders":1`, "unable to fetch resource in time"},
		{"stalls in the body", func(n int32, w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(body[:1000])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, "", `"httpTotal":2`, "unable to fetch resource in time"},
		{"redirects for ever", func(n int32, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/again", http.StatusFound)
		}, "", "", "redirect"},
		{"wrong bytes", func(n int32, w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "other") }, sum, "", "hash verification failed (calculated "},
	} {
		t.Run(row.name, func(t *testing.T) {
			var n atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { row.serve(n.Add(1), w, r) }))
			defer server.CloseClientConnections()
			m := newMachine(t)
			cfg := remote(server.URL+"/f", row.hash, row.timeouts)
			if row.fail == "" {
				m.provision(cfg)
				m.wantFile("srv/remote", string(body))
			} else {
				res := m.refuse(cfg)
				log := strings.ReplaceAll(res.stdout, m.root, "ROOT")
				wantText(t, log, "CRITICAL : Ignition failed: failed to create files: ")
				wantText(t, log, row.fail)
				wantText(t, log, "the failing config entry is $.storage.files.1")
				if m.exists("sysroot/srv/remote") {
					t.Error("half a file was left")
				}
				wantText(t, res.stderr, "files failed\nFull config:\n{")
			}
			m.wantOnlyMark(row.fail != "")
		})
	}
}

// wantOnlyMark allows the mark of an unfinished run where the stage failed.
func (m *machine) wantOnlyMark(failed bool) {
	m.t.Helper()
	if failed {
		_ = os.Remove(filepath.Join(m.root, "etc/.ignition-incomplete.json"))
	}
	m.wantNoLeftovers()
}

// TestHostileSysroot: whatever links the sysroot holds, nothing outside of it changes.
func TestHostileSysroot(t *testing.T) {
	needRoot(t)
	type trap struct{ name, link, target string }
	for _, tr := range []trap{
		{"absolute", "trap", "/OUTSIDE"},
		{"dots", "trap", "../../../../../../../../../../OUTSIDE"},
		{"chain", "trap", "hop1"},
	} {
		t.Run(tr.name, func(t *testing.T) {
			m := newMachine(t)
			outside := m.path("outside")
			m.must(os.MkdirAll(outside, 0o755))
			m.write("outside/canary", "alive")
			target := strings.Replace(tr.target, "/OUTSIDE", outside, 1)
			m.must(os.Symlink(target, filepath.Join(m.root, "trap")))
			m.must(os.Symlink("hop2", filepath.Join(m.root, "hop1")))
			m.must(os.Symlink(outside, filepath.Join(m.root, "hop2")))
			m.must(os.MkdirAll(filepath.Join(m.root, "etc/systemd"), 0o755))
			m.must(os.Symlink(target, filepath.Join(m.root, "etc/systemd/system")))
			m.must(os.Symlink(target, filepath.Join(m.root, "etc/systemd/system-preset")))
			m.must(os.Symlink(filepath.Join(outside, "result"), filepath.Join(m.root, "etc/.ignition-result.json")))
			before := snapshot(t, outside, nil)
			m.provision(spec34 + `,"storage":{
				"directories":[{"path":"/trap/dir"}],
				"files":[{"path":"/trap/file","contents":{"source":"data:,x"}},{"path":"/trap/canary","overwrite":true,"contents":{"source":"data:,dead"}},
					{"path":"/trap/app","append":[{"source":"data:,x"}]}],
				"links":[{"path":"/trap/soft","target":"/x"},{"path":"/trap/hard","target":"/trap/file","hard":true}]},
				"systemd":{"units":[{"name":"a.service","enabled":true,"contents":"[Service]\nExecStart=/x\n[Install]\nWantedBy=a","dropins":[{"name":"d.conf","contents":"[Service]"}]},{"name":"b.service","mask":true}]}}`)
			if after := snapshot(t, outside, nil); after != before {
				t.Errorf("outside of the sysroot:\n%s\nwas:\n%s", after, before)
			}
			// Inside, the absolute target is a folder of the sysroot.
			m.wantFile(strings.TrimPrefix(outside, "/")+"/file", "x")
		})
	}
	t.Run("loop", func(t *testing.T) {
		m := newMachine(t)
		m.must(os.Symlink("loop", filepath.Join(m.root, "loop")))
		res := m.refuse(spec34 + `,"storage":{"files":[{"path":"/loop/f"}]}}`)
		wantText(t, res.stdout, "too many levels of symbolic links")
		wantText(t, res.stdout, "$.storage.files.0")
	})
}

// onImage puts the sysroot on an ext4 image of this size.
func (m *machine) onImage(mib int) {
	m.t.Helper()
	needRoot(m.t)
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		m.t.Skip("needs mkfs.ext4")
	}
	img := m.path("disk.img")
	f, err := os.Create(img)
	m.must(err)
	m.must(f.Truncate(int64(mib) << 20))
	m.must(f.Close())
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", img).CombinedOutput(); err != nil {
		m.t.Fatalf("mkfs.ext4: %v\n%s", err, out)
	}
	m.root = m.path("mounted")
	m.must(os.Mkdir(m.root, 0o755))
	if out, err := exec.Command("mount", "-o", "loop", img, m.root).CombinedOutput(); err != nil {
		m.t.Skipf("needs loop mounts: %v: %s", err, out)
	}
	m.t.Cleanup(func() { _ = exec.Command("umount", m.root).Run() })
	if out, err := exec.Command("cp", "-a", m.path("sysroot")+"/.", m.root).CombinedOutput(); err != nil {
		m.t.Fatalf("cp: %v\n%s", err, out)
	}
	m.must(os.RemoveAll(m.path("sysroot")))
	m.must(os.Symlink("mounted", m.path("sysroot")))
}

// TestExt4 provisions a filesystem of its own, as a machine's root is one.
func TestExt4(t *testing.T) {
	m := newMachine(t)
	m.onImage(64)
	m.provision(spec34 + `,"passwd":{"users":[{"name":"core","sshAuthorizedKeys":["ssh-ed25519 AAAA x"]},{"name":"new","groups":["docker"],"shell":"/bin/sh"}]},
		"storage":{"directories":[{"path":"/srv/d","mode":448,"user":{"name":"new"},"group":{"name":"docker"}}],"files":[{"path":"/srv/d/f","mode":384,"user":{"name":"core"},"contents":{"source":"data:,x"},"append":[{"source":"data:,y"}]}]}}`)
	m.wantNode("home/core/.ssh/authorized_keys.d/ignition", "-rw-------", 500, 500)
	m.wantNode("srv/d", "drwx------", 1000, 233)
	m.wantNode("srv/d/f", "-rw-------", 500, 0)
	m.wantFile("srv/d/f", "xy")
	wantText(t, m.read("sysroot/etc/group"), "docker:x:233:new\n")
	m.wantNoLeftovers()
}

func TestFullDisk(t *testing.T) {
	m := newMachine(t)
	m.onImage(16)
	body := bytes.Repeat([]byte{'x'}, 32<<20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(body) }))
	defer server.Close()
	res := m.refuse(remote(server.URL+"/big", "", ""))
	wantText(t, res.stdout, "no space left on device")
	wantText(t, res.stdout, "the failing config entry is $.storage.files.1")
	if m.exists("sysroot/srv/remote") {
		t.Error("half a file was left")
	}
	m.wantOnlyMark(true)
}

func TestReadOnlyRoot(t *testing.T) {
	m := newMachine(t)
	m.onImage(16)
	if out, err := exec.Command("mount", "-o", "remount,ro", m.root).CombinedOutput(); err != nil {
		t.Skipf("needs a read-only remount: %v: %s", err, out)
	}
	res := m.refuse(hello("/etc/a", "b"))
	wantText(t, res.stdout, "read-only file system")
	wantText(t, res.stdout, "CRITICAL : Ignition failed: ")
}

// TestPowerCut kills the files stage at many points and runs it again: the
// tree must be that of an uncut run.
func TestPowerCut(t *testing.T) {
	needRoot(t)
	body := strings.Repeat("remote\n", 1000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(20 * time.Millisecond)
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	cfg := spec34 + `,"passwd":{"groups":[{"name":"grp"}],"users":[{"name":"core","sshAuthorizedKeys":["ssh-ed25519 AAAA x"]},{"name":"new","groups":["grp"]}]},
		"storage":{"directories":[{"path":"/srv/d","mode":448}],
		"files":[{"path":"/srv/a","contents":{"source":"data:,a"}},{"path":"/srv/b","contents":{"source":"` + server.URL + `/b"},"append":[{"source":"data:,1"},{"source":"data:,2"}]},
			{"path":"/etc/motd","append":[{"source":"data:,more"}]},{"path":"/srv/c","overwrite":true,"contents":{"source":"` + server.URL + `/c"}}],
		"links":[{"path":"/srv/l","target":"a"},{"path":"/srv/h","target":"/srv/a","hard":true}]},
		"systemd":{"units":[{"name":"a.service","enabled":true,"contents":"[Service]\nExecStart=/x\n[Install]\nWantedBy=multi-user.target"},{"name":"e@x.service","enabled":true},{"name":"b.service","mask":true}]}}`
	fresh := func() *machine {
		m := newMachine(t)
		m.write("sysroot/etc/motd", "old\n")
		m.write("sysroot/srv/c", "old\n")
		m.write("config.ign", cfg)
		m.stage(0, "file", "fetch")
		return m
	}
	// Backups and lock files are shadow's own business; the dates of the result file differ.
	skip := func(rel string) bool {
		return strings.HasSuffix(rel, "-") || strings.HasSuffix(rel, ".lock") || rel == "etc/.ignition-result.json"
	}
	whole := fresh()
	took := whole.stage(0, "file", "files").wall
	want := snapshot(t, whole.root, skip)
	wantFile := body + "12"
	whole.wantFile("srv/b", wantFile)
	rounds, cut := 24, 0
	for i := range rounds {
		m := fresh()
		c := m.command(t.Context(), m.stageArgs("file", "files")...)
		m.must(c.Start())
		time.Sleep(took * time.Duration(i) / time.Duration(rounds))
		_ = c.Process.Kill()
		if c.Wait() != nil {
			cut++
		}
		done := m.exists("sysroot/etc/.ignition-result.json")
		if done && !m.exists("sysroot/etc/.ignition-incomplete.json") {
			continue // it was finished: running it again is another matter
		}
		m.stage(0, "file", "files")
		if got := snapshot(t, m.root, skip); got != want {
			t.Fatalf("cut after %d/%d:\n%s\nwant:\n%s", i, rounds, got, want)
		}
	}
	if cut < rounds/4 {
		t.Errorf("only %d of %d runs were cut", cut, rounds)
	}
}

// TestOverwriteMountPoint: what is mounted below a directory that is to be
// overwritten is never emptied, and nothing beside it goes either.
func TestOverwriteMountPoint(t *testing.T) {
	m := newMachine(t)
	needRoot(t)
	m.write("sysroot/d/beside", "alive")
	mounted := filepath.Join(m.root, "d/mnt")
	m.must(os.MkdirAll(mounted, 0o755))
	if out, err := exec.Command("mount", "-t", "tmpfs", "none", mounted).CombinedOutput(); err != nil {
		t.Skipf("needs mounts: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", mounted).Run() })
	m.write("sysroot/d/mnt/inside", "alive")
	res := m.refuse(storage("3.4.0", `"directories":[{"path":"/d","overwrite":true}]`))
	wantText(t, res.stdout, "contains a mount point")
	wantText(t, res.stdout, "the failing config entry is $.storage.directories.0: something is mounted there, so nothing was removed")
	m.wantFile("d/beside", "alive")
	m.wantFile("d/mnt/inside", "alive")
}
