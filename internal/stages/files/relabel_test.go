// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/sysroot"
)

// TestRelabel: setfiles runs once, at the end, on the topmost of what was made.
func TestRelabel(t *testing.T) {
	cfg, _, err := config.Parse([]byte(`{"ignition":{"version":"3.4.0"},
		"storage":{"directories":[{"path":"/srv"},{"path":"/new/dir"}],"files":[{"path":"/srv/f","contents":{"source":"data:,x"}},{"path":"/etc/motd","append":[{"source":"data:,x"}]}],
			"links":[{"path":"/other/link","target":"/x"}]},
		"systemd":{"units":[{"name":"a.service","contents":"[Unit]","enabled":true,"dropins":[{"name":"d.conf","contents":"[Unit]"}]},{"name":"m.service","mask":true}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	s := newScratch(t, "")
	for name, text := range map[string]string{
		"root/etc/selinux/config":               "SELINUXTYPE=targeted\n",
		"root/etc/systemd/system/a.service.d/x": "",
		"bin/setfiles":                          "#!/bin/sh\ncat >>" + s.dir + "/labels\necho >>" + s.dir + "/labels\n",
	} {
		p := filepath.Join(s.dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, []byte(text), 0o755))
	}
	must(t, os.RemoveAll(filepath.Join(s.root, "etc/systemd/system-preset")))
	t.Setenv("PATH", filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	root, err := sysroot.Open(s.root)
	must(t, err)
	defer root.Close()
	var log bytes.Buffer
	in := testInput(root, oplog.New(oplog.StdoutHandler(&log), nil).With("files"), &cfg)
	in.Relabel = true
	if err := Run(t.Context(), in); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	raw, err := os.ReadFile(filepath.Join(s.dir, "labels"))
	must(t, err)
	calls := strings.Split(strings.TrimSuffix(string(raw), "\n"), "\n")
	if len(calls) != 1 {
		t.Fatalf("setfiles ran %d times", len(calls))
	}
	var got []string
	for _, p := range strings.Split(strings.TrimSuffix(calls[0], "\x00"), "\x00") {
		got = append(got, strings.TrimPrefix(p, s.root))
	}
	want := []string{
		"/etc/.ignition-result.json", "/etc/motd", "/etc/systemd/system-preset", "/etc/systemd/system/a.service",
		"/etc/systemd/system/a.service.d", "/etc/systemd/system/m.service", "/new", "/other", "/srv", "/srv/f", "/var",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if strings.Contains(log.String(), "compiled without relabeling support") || !strings.HasSuffix(log.String(), "[finished] relabeling 11 patterns\n") {
		t.Errorf("log:\n%s", &log)
	}
}
