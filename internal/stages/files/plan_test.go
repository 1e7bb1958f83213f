// SPDX-License-Identifier: Apache-2.0

package files

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/sysroot"
)

// planStage gives a stage over a tree with a few directories, a file and links.
func planStage(t *testing.T, cfg config.Config) (*stage, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"var/home/core", "srv"} {
		must(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(dir, "srv/file"), []byte("12345"), 0o644))
	must(t, os.Symlink("/var/home", filepath.Join(dir, "home")))
	must(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	root, err := sysroot.Open(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	var log bytes.Buffer
	in := Input{Config: &cfg, Root: root, Log: oplog.New(slog.NewTextHandler(&log, nil), nil), Fetcher: resource.New(resource.Options{})}
	return &stage{Input: in}, &log
}

func dirAt(p string) config.Directory { return config.Directory{Node: config.Node{Path: p}} }
func fileAt(p string) config.File     { return config.File{Node: config.Node{Path: p}} }
func linkAt(p string, hard bool) config.Link {
	return config.Link{Node: config.Node{Path: p}, Hard: &hard, Target: new("/srv/file")}
}

func TestPlanOrder(t *testing.T) {
	var cfg config.Config
	var want []string
	for i := range 15 {
		cfg.Storage.Directories = append(cfg.Storage.Directories, dirAt(fmt.Sprintf("/srv/d%02d", 14-i)))
		want = append(want, fmt.Sprintf("/srv/d%02d", 14-i))
	}
	cfg.Storage.Files = []config.File{fileAt("/srv/d00/deep/x"), fileAt("/home/f"), fileAt("/srv/f")}
	cfg.Storage.Links = []config.Link{linkAt("/h", true), linkAt("/srv/soft", false), linkAt("/top", false), linkAt("/a/b/c/h", true)}
	// A path counts as deep as it is when its links are followed.
	want = append([]string{"/top"}, append(want, "/srv/f", "/srv/soft", "/var/home/f", "/srv/d00/deep/x", "/h", "/a/b/c/h")...)
	s, _ := planStage(t, cfg)
	p, err := s.makePlan()
	must(t, err)
	var got []string
	for _, n := range p.nodes {
		got = append(got, n.path)
	}
	if !slices.Equal(got, want) {
		t.Errorf("order %q\nwant  %q", got, want)
	}
}

func TestPlanLooks(t *testing.T) {
	for _, row := range []struct {
		path, resolved string
		present        bool
		size           int64
	}{
		{"/srv/file", "/srv/file", true, 5},
		{"/srv/none", "/srv/none", false, 0},
		{"/gone/a", "/gone/a", false, 0},
		{"/gone/b", "/gone/b", false, 0},
		{"/home/core", "/var/home/core", true, -1},
		{"/home", "/home", true, -1}, // the last component is not followed
	} {
		t.Run(row.path, func(t *testing.T) {
			s, _ := planStage(t, config.Config{})
			l := &looker{root: s.Root, parents: map[string]string{}, missing: map[string]bool{}}
			defer l.close()
			for range 2 { // the second time from what is known
				n := &node{owner: &config.Node{Path: row.path}}
				must(t, n.look(l))
				if n.path != row.resolved || n.present != row.present || row.size >= 0 && n.stat.Size != row.size {
					t.Errorf("%+v", n)
				}
			}
		})
	}
}

func TestPlanRefuses(t *testing.T) {
	source := new("data:,x")
	file := func(f func(*config.File)) config.Storage {
		one := fileAt("/srv/new")
		f(&one)
		return config.Storage{Files: []config.File{one}}
	}
	for _, row := range []struct {
		name    string
		storage config.Storage
		entry   string
		want    string // ROOT stands for the tree
		log     string
	}{
		{"two directories", config.Storage{Directories: []config.Directory{dirAt("/var/home/x"), dirAt("/home/x")}}, "$.storage.directories.1",
			"directory at /home/x resolved to ROOT/var/home/x after symlink chasing, but another entry with path /var/home/x also resolves there", ""},
		{"file and directory", config.Storage{Directories: []config.Directory{dirAt("/var/home/x")}, Files: []config.File{fileAt("/home/x")}}, "$.storage.files.0",
			"file at /home/x resolved to ROOT/var/home/x after symlink chasing, but another entry with path /var/home/x also resolves there", ""},
		{"hard link", config.Storage{Files: []config.File{fileAt("/home/x")}, Links: []config.Link{linkAt("/var/home/x", true)}}, "$.storage.links.0",
			"link at /var/home/x resolved to ROOT/var/home/x after symlink chasing, but another entry with path /home/x also resolves there", ""},
		{"loop", config.Storage{Files: []config.File{fileAt("/loop/x")}}, "$.storage.files.0", "too many levels of symbolic links", ""},
		{"below a file", config.Storage{Files: []config.File{fileAt("/srv/file/x")}}, "$.storage.files.0", "lstat ROOT/srv/file/x: not a directory", ""},
		{"hash is not hex", file(func(f *config.File) {
			f.Contents = config.Resource{Source: source, Verification: config.Verification{Hash: new("sha256-" + strings.Repeat("zz", 32))}}
		}), "$.storage.files.0.contents", `failed to resolve file "ROOT/srv/new": `, "Error parsing verification string"},
		{"hash of an append", file(func(f *config.File) {
			f.Append = []config.Resource{{}, {Source: source, Verification: config.Verification{Hash: new("sha512-" + strings.Repeat("zz", 64))}}}
		}), "$.storage.files.0.append.1", `failed to resolve file "ROOT/srv/new": `, "Error parsing verification string"},
		{"header without value", file(func(f *config.File) {
			f.Contents = config.Resource{Source: new("http://192.0.2.1/x"), HTTPHeaders: []config.HTTPHeader{{Name: "A"}}}
		}), "$.storage.files.0.contents", `failed to resolve file "ROOT/srv/new": `, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, log := planStage(t, config.Config{Storage: row.storage})
			_, err := s.makePlan()
			want := strings.ReplaceAll(row.want, "ROOT", s.Root.Path())
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("error %v\nwant %s", err, want)
			}
			if entry, ok := err.(*config.EntryError); !ok || entry.Path != row.entry {
				t.Errorf("entry of %#v, want %s", err, row.entry)
			}
			if !strings.Contains(log.String(), row.log) {
				t.Errorf("no %q in the log:\n%s", row.log, log)
			}
		})
	}
}

func TestPlanAppendWithoutSource(t *testing.T) {
	f := fileAt("/srv/file")
	f.Append = []config.Resource{{}, {Source: new("data:,x")}, {}}
	s, _ := planStage(t, config.Config{})
	n, err := s.planFile(&f, "$.f")
	must(t, err)
	if len(n.fetches) != 1 || n.fetches[0].entry != "$.f.append.1" || !n.fetches[0].appended {
		t.Errorf("%+v", n.fetches)
	}
}

func TestTempDir(t *testing.T) {
	for _, row := range []struct {
		name, path string
		doomed     []string
		want       string
	}{
		{"its own directory", "/var/home/core/x", nil, "/var/home/core"},
		{"missing parents", "/srv/a/b/x", nil, "/srv"},
		{"parent is a file", "/srv/file/x", nil, "/srv"},
		{"nothing there", "/x/y/z", nil, "/"},
		{"directory goes", "/var/home/core/x", []string{"/var/home/core"}, "/var/home"},
		{"directory above goes", "/var/home/core/x", []string{"/var"}, "/"},
		{"like-named one goes", "/var/home/core/x", []string{"/var/home/co"}, "/var/home/core"},
		{"the file itself goes", "/srv/file", []string{"/srv/file"}, "/srv"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, _ := planStage(t, config.Config{})
			if got := s.tempDir(row.path, row.doomed); got != row.want {
				t.Errorf("%s, want %s", got, row.want)
			}
		})
	}
}

func TestTemps(t *testing.T) {
	inline, remote := fileAt("/srv/inline"), fileAt("/srv/sub/remote")
	inline.Contents.Source = new("data:,x")
	remote.Contents.Source = new("http://192.0.2.1/x")
	remote.Append = []config.Resource{{Source: new("data:,x")}, {Source: new("https://192.0.2.1/y")}}
	s, _ := planStage(t, config.Config{Storage: config.Storage{Directories: []config.Directory{dirAt("/srv/d")}, Files: []config.File{inline, remote}}})
	p, err := s.makePlan()
	must(t, err)
	want := []string{
		"/srv/" + sysroot.TempName("inline"),
		"/srv/" + sysroot.TempName("/srv/sub/remote 0"), "/srv/" + sysroot.TempName("/srv/sub/remote 2"),
		"/srv/sub/" + sysroot.TempName("remote"),
	}
	if got := p.temps(s); !slices.Equal(got, want) {
		t.Errorf("names %q\nwant  %q", got, want)
	}
}
