// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/sysroot"
)

// The tests of this file start the test binary again as a stage of its own,
// which ends, as in a power cut, when it has logged a number of lines.
const (
	cutRoot   = "FILES_TEST_ROOT"
	cutConfig = "FILES_TEST_CONFIG"
	cutLines  = "FILES_TEST_LINES"
	cutStatus = 77
)

func TestMain(m *testing.M) {
	if root := os.Getenv(cutRoot); root != "" {
		os.Exit(stageMain(root))
	}
	os.Exit(m.Run())
}

// cutter ends the process when it has taken a number of lines.
type cutter struct {
	slog.Handler
	left int
}

func (c *cutter) Handle(ctx context.Context, r slog.Record) error {
	err := c.Handler.Handle(ctx, r)
	if c.left--; c.left == 0 {
		os.Exit(cutStatus)
	}
	return err
}

// stageMain runs the stage as the environment says.
func stageMain(path string) int {
	syscall.Umask(0o022)
	lines, _ := strconv.Atoi(os.Getenv(cutLines))
	root, err := sysroot.Open(path)
	if err == nil {
		var cfg config.Config
		if cfg, _, err = config.Parse([]byte(os.Getenv(cutConfig))); err == nil {
			log := oplog.New(&cutter{oplog.StdoutHandler(os.Stdout), lines}, nil).With("files")
			err = Run(context.Background(), testInput(root, log, &cfg))
		}
	}
	if err != nil {
		fmt.Println("FAILED:", err)
		return 1
	}
	return 0
}

func testInput(root *sysroot.Root, log *oplog.Logger, cfg *config.Config) Input {
	return Input{
		Config: cfg, Root: root, Log: log,
		Fetcher: resource.New(resource.Options{Version: "test", Stable: config.MaxStable()}),
		Runner:  &exec.Runner{}, Fragments: true,
		ResultFile: "/etc/.ignition-result.json", BootIDPath: "/proc/sys/kernel/random/boot_id",
		LUKSKeyDir: "/etc/luks/", CEXRepository: "/etc/zkey/repository/", DeviceAliasDir: "/run/ignition/dev_aliases",
		Systemctl: "systemctl", Cryptsetup: "cryptsetup", InitrdAttach: true, Now: time.Now,
		LUKSKeyFiles:       map[string]string{"data": "data:,key%20of%20data"},
		ProviderFiles:      []config.File{{Node: config.Node{Path: "/var/lib/pool", Overwrite: new(true)}, Mode: new(0o600), Contents: config.Resource{Source: new("data:,pool")}}},
		UserConfigProvided: true,
	}
}

// scratch is a tree to provision, with stand-ins for host tools.
type scratch struct {
	t    *testing.T
	dir  string
	root string
	cfg  string
}

func newScratch(t *testing.T, cfg string) *scratch {
	t.Helper()
	dir := t.TempDir()
	s := &scratch{t: t, dir: dir, root: filepath.Join(dir, "root"), cfg: cfg}
	for name, text := range map[string]string{
		"root/etc/passwd":   "root:x:0:0:root:/root:/bin/sh\n",
		"root/etc/group":    "root:x:0:\n",
		"root/etc/motd":     "old\n",
		"root/srv/over":     "old\n",
		"root/etc/crypttab": "swap /dev/x /dev/urandom swap\n",
		"root/etc/systemd/system-preset/20-ignition.preset": "enable old.service",
		"bin/cryptsetup": "#!/bin/sh\ncase $1 in luksDump) echo {};; *) echo 0b6cbb2b-1f8b-4e6f-8d1c-111111111111;; esac\n",
		// Units with a link are enabled until they are disabled, as with the real one.
		"bin/systemctl": "#!/bin/sh\ncase $1 in --version) echo systemd 252; exit;; esac\nl=$2/wants-$4\ncase $3 in is-enabled) test -e $l;; disable) rm -f $l;; esac\n",
	} {
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, []byte(text), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(s.root, "wants-off.service"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(s.root, "wants-i@b.service"), nil, 0o644))
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// run runs the stage, cut after so many lines; 0 is to its end.
func (s *scratch) run(lines int) (log string, cut bool) {
	s.t.Helper()
	c := osexec.Command(os.Args[0])
	c.Env = append(os.Environ(), cutRoot+"="+s.root, cutConfig+"="+s.cfg, cutLines+"="+strconv.Itoa(lines),
		"PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	var exit *osexec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() == cutStatus {
		return out.String(), true
	}
	if err != nil {
		s.t.Fatalf("cut after %d lines: %v\n%s", lines, err, out.String())
	}
	return out.String(), false
}

// tree describes what is there: paths, modes, owners, contents. The date of the
// result file is left out.
func (s *scratch) tree() string {
	s.t.Helper()
	var b strings.Builder
	must(s.t, filepath.WalkDir(s.root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		rel, _ := filepath.Rel(s.root, p)
		text := ""
		switch {
		case rel == "etc/.ignition-result.json":
			raw, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			text = fmt.Sprint("nested: ", bytes.Contains(raw, []byte("previousReport")))
		case info.Mode().IsRegular():
			raw, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			text = fmt.Sprintf("%d links %q", st.Nlink, raw)
		case info.Mode()&fs.ModeSymlink != 0:
			text, _ = os.Readlink(p)
		}
		fmt.Fprintf(&b, "%s %s %d:%d %s\n", rel, info.Mode(), st.Uid, st.Gid, text)
		return nil
	}))
	return b.String()
}

// TestCut cuts the stage after each line that it logs, runs it again, and wants
// the tree of a run that was not cut.
func TestCut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root: the stage sets owners")
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "from "+r.URL.Path) }))
	defer server.Close()
	cfg := `{"ignition":{"version":"3.6.0"},
		"storage":{
		"directories":[{"path":"/srv/dir","mode":448},{"path":"/srv/deep/er","mode":493}],
		"files":[
			{"path":"/srv/inline","mode":384,"contents":{"source":"data:,inline"},"append":[{"source":"data:,+1"},{"source":"` + server.URL + `/tail"}]},
			{"path":"/srv/remote","contents":{"source":"` + server.URL + `/remote"}},
			{"path":"/srv/deep/er/remote","contents":{"source":"` + server.URL + `/deep"},"append":[{"source":"data:,+"}]},
			{"path":"/srv/empty"},
			{"path":"/srv/over","overwrite":true,"contents":{"source":"data:,new"}},
			{"path":"/etc/motd","append":[{"source":"data:,a"},{"source":"` + server.URL + `/b"}]}],
		"links":[{"path":"/srv/soft","target":"inline"},{"path":"/srv/hard","target":"/srv/remote","hard":true}],
		"luks":[{"name":"data","device":"/dev/x"},{"name":"tang","device":"/dev/y","clevis":{"tang":[{"url":"http://t","thumbprint":"x","advertisement":"{}"}]}}]},
		"systemd":{"units":[
			{"name":"a.service","enabled":true,"contents":"[Unit]\n[Install]\nWantedBy=x","dropins":[{"name":"d.conf","contents":"[Service]"}]},
			{"name":"off.service","enabled":false},
			{"name":"i@a.service","enabled":false},{"name":"i@b.service","enabled":false},
			{"name":"m.service","mask":true,"contents":"[Unit]"}]}}`
	whole := newScratch(t, cfg)
	log, _ := whole.run(0)
	want := whole.tree()
	for _, part := range []string{
		`"inline+1from /tail"`, `"from /deep+"`, `"old\nafrom /b"`, `"enable old.service\nenable a.service\ndisable i@.service a b\ndisable off.service\n"`,
		"etc/luks drwx------", "etc/luks/data -rw-------", `"key of data"`,
		`data UUID=0b6cbb2b-1f8b-4e6f-8d1c-111111111111 /etc/luks/data luks,x-initrd.attach\ntang UUID=0b6cbb2b-1f8b-4e6f-8d1c-111111111111 none luks,_netdev,x-initrd.attach\n`,
		"var/lib/pool -rw-------", "nested: false",
	} {
		if !strings.Contains(want, part) {
			t.Errorf("no %q in the tree of the uncut run:\n%s\n%s", part, want, log)
		}
	}
	for _, gone := range []string{"wants-", ".ignition-incomplete", ".tmp"} {
		if strings.Contains(want, gone) {
			t.Errorf("%q is in the tree of the uncut run:\n%s", gone, want)
		}
	}
	n := strings.Count(log, "\n")
	for i := 1; i <= n; i++ {
		s := newScratch(t, cfg)
		first, cut := s.run(i)
		if !cut {
			continue // it logged less this time: a warning that did not come
		}
		second, _ := s.run(0)
		if got := s.tree(); got != want {
			t.Fatalf("cut after line %d of %d:\n%s\nwant:\n%s\nlogs:\n%s\n%s", i, n, got, want, first, second)
		}
	}
}
