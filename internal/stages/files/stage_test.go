// SPDX-License-Identifier: Apache-2.0

package files

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/exec"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/sysroot"
)

// inputFor gives what a run in this process needs: a tree, a config, and the
// stand-ins for host tools.
func inputFor(t testing.TB, dir string, cfg config.Config) Input {
	t.Helper()
	root, err := sysroot.Open(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	in := testInput(root, oplog.New(slog.DiscardHandler, nil), &cfg)
	in.Runner = &exec.Runner{Path: filepath.Join(dir, "bin") + ":" + os.Getenv("PATH")}
	in.ProviderFiles = nil
	return in
}

func parsed(t testing.TB, body string) config.Config {
	t.Helper()
	cfg, _, err := config.Parse([]byte(`{"ignition":{"version":"3.6.0"},` + body + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: the stage sets owners")
	}
}

func TestLabelsOfNestedNodes(t *testing.T) {
	needRoot(t)
	s := newScratch(t, "")
	must(t, os.RemoveAll(filepath.Join(s.root, "etc/systemd")))
	must(t, os.MkdirAll(filepath.Join(s.root, "etc/systemd/system"), 0o755))
	must(t, os.MkdirAll(filepath.Join(s.root, "etc/selinux"), 0o755))
	must(t, os.WriteFile(filepath.Join(s.root, "etc/selinux/config"), []byte("SELINUXTYPE=mcs\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(s.dir, "bin/setfiles"), []byte("#!/bin/sh\ntr '\\0' '\\n' >"+s.dir+"/labels\n"), 0o755))
	in := inputFor(t, s.dir, parsed(t, `"storage":{
		"directories":[{"path":"/new/a/b"}],
		"files":[{"path":"/srv/over","overwrite":true,"contents":{"source":"data:,x"}},{"path":"/opt/x/y"}]},
		"systemd":{"units":[
			{"name":"a.service","enabled":true,"contents":"[Unit]","dropins":[{"name":"1.conf","contents":"[Unit]"},{"name":"2.conf","contents":"[Unit]"}]},
			{"name":"b.service","enabled":true},
			{"name":"m.service","mask":true}]}`))
	in.Relabel = true
	must(t, Run(context.Background(), in))
	got, err := os.ReadFile(s.dir + "/labels")
	must(t, err)
	var want strings.Builder
	for _, p := range []string{
		"/etc/.ignition-result.json", "/etc/systemd/system-preset", "/etc/systemd/system/a.service", "/etc/systemd/system/a.service.d",
		"/etc/systemd/system/m.service", "/new", "/opt", "/srv/over",
	} {
		fmt.Fprintln(&want, s.root+p)
	}
	if string(got) != want.String() {
		t.Errorf("labelled:\n%swant:\n%s", got, want.String())
	}
}

func TestOverwriteRefusesMountPoint(t *testing.T) {
	needRoot(t)
	for _, kind := range []string{"directories", "files"} {
		t.Run(kind, func(t *testing.T) {
			s := newScratch(t, "")
			mnt := filepath.Join(s.root, "data/z/mnt")
			must(t, os.MkdirAll(mnt, 0o755))
			must(t, os.WriteFile(filepath.Join(s.root, "data/kept"), nil, 0o644))
			if err := syscall.Mount("tmpfs", mnt, "tmpfs", 0, ""); err != nil {
				t.Skipf("needs the right to mount: %v", err)
			}
			defer syscall.Unmount(mnt, syscall.MNT_DETACH)
			must(t, os.WriteFile(filepath.Join(mnt, "inside"), nil, 0o644))
			contents := ""
			if kind == "files" {
				contents = `,"contents":{"source":"data:,x"}`
			}
			err := Run(context.Background(), inputFor(t, s.dir, parsed(t, `"storage":{"`+kind+`":[{"path":"/data","overwrite":true`+contents+`}]}`)))
			var entry *config.EntryError
			if !errors.Is(err, sysroot.ErrMountpoint) || !errors.As(err, &entry) || !strings.Contains(entry.Hint, "nothing was removed") {
				t.Errorf("error %v", err)
			}
			for _, p := range []string{"data/kept", "data/z/mnt/inside"} {
				if _, err := os.Stat(filepath.Join(s.root, p)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestNamesRefusedBeforeAnyChange(t *testing.T) {
	for _, name := range []string{"", "-x", "a:b", "a/b", "a\nb"} {
		for _, kind := range []string{"user", "group"} {
			t.Run(fmt.Sprintf("%s %q", kind, name), func(t *testing.T) {
				s := newScratch(t, "")
				before := s.tree()
				cfg := parsed(t, `"storage":{"files":[{"path":"/new"}]}`)
				if kind == "user" {
					cfg.Passwd.Users = []config.User{{Name: name}}
				} else {
					cfg.Passwd.Groups = []config.Group{{Name: name}}
				}
				err := Run(context.Background(), inputFor(t, s.dir, cfg))
				if want := fmt.Sprintf("failed to create users/groups: failed to configure %ss: failed to create %s %q: ", kind, kind, name); err == nil || !strings.HasPrefix(err.Error(), want) {
					t.Errorf("error %v, want %s", err, want)
				}
				if after := s.tree(); after != before {
					t.Errorf("the tree was changed:\n%s", after)
				}
			})
		}
	}
}

func BenchmarkInlineFiles(b *testing.B) {
	needRoot(b)
	var files strings.Builder
	for i := range 1000 {
		if i > 0 {
			files.WriteByte(',')
		}
		fmt.Fprintf(&files, `{"path":"/etc/d%d/f%d","contents":{"source":"data:,contents"}}`, i%10, i)
	}
	cfg := parsed(b, `"storage":{"files":[`+files.String()+`]}`)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		dir := b.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "root/etc"), 0o755); err != nil {
			b.Fatal(err)
		}
		in := inputFor(b, dir, cfg)
		b.StartTimer()
		if err := Run(context.Background(), in); err != nil {
			b.Fatal(err)
		}
	}
}
