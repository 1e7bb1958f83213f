// SPDX-License-Identifier: Apache-2.0

package system

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/tests/logs"
)

// tree makes the three directories in a fresh one. A text that begins with
// "-> " makes a symlink, "dir" a directory.
func tree(t *testing.T, files map[string]string) (base string, dirs []string) {
	t.Helper()
	base = t.TempDir()
	for name, text := range files {
		path := filepath.Join(base, name)
		err := os.MkdirAll(filepath.Dir(path), 0o755)
		target, link := strings.CutPrefix(text, "-> ")
		switch {
		case err != nil:
		case link:
			err = os.Symlink(target, path)
		case text == "dir":
			err = os.Mkdir(path, 0o755)
		default:
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"run", "etc", "usr"} {
		dirs = append(dirs, filepath.Join(base, d))
	}
	return base, dirs
}

func TestFetch(t *testing.T) {
	for _, row := range []struct {
		name  string
		files map[string]string
		want  string
		err   string // "none" = no provider
		log   []string
	}{
		{name: "none", err: "none", log: []string{
			`info reading system config file "BASE/run/user.ign"`, `info no config at "BASE/run/user.ign"`,
			`info reading system config file "BASE/etc/user.ign"`, `info no config at "BASE/etc/user.ign"`,
			`info reading system config file "BASE/usr/user.ign"`, `info no config at "BASE/usr/user.ign"`}},
		{name: "first directory", files: map[string]string{"run/user.ign": "1", "etc/user.ign": "2", "usr/user.ign": "3"}, want: "1",
			log: []string{`info reading system config file "BASE/run/user.ign"`}},
		{name: "second directory", files: map[string]string{"etc/user.ign": "2", "usr/user.ign": "3"}, want: "2"},
		{name: "third directory", files: map[string]string{"usr/user.ign": "3"}, want: "3"},
		{name: "zero bytes still decide", files: map[string]string{"run/user.ign": "", "usr/user.ign": "3"}},
		{name: "symlink", files: map[string]string{"usr/user.ign": "-> ../oem/config.ign", "oem/config.ign": "4"}, want: "4"},
		{name: "a link to nothing is no file", files: map[string]string{"etc/user.ign": "-> ../oem/config.ign", "usr/user.ign": "3"}, want: "3"},
		{name: "unreadable", files: map[string]string{"etc/user.ign": "dir", "usr/user.ign": "3"}, err: "is a directory",
			log: []string{`info reading system config file "BASE/run/user.ign"`, `info no config at "BASE/run/user.ign"`,
				`info reading system config file "BASE/etc/user.ign"`, `error couldn't read config "BASE/etc/user.ign": read BASE/etc/user.ign: is a directory`}},
	} {
		t.Run(row.name, func(t *testing.T) {
			base, dirs := tree(t, row.files)
			log := &logs.Lines{}
			res, err := Fetch(t.Context(), &providers.Env{Log: log, SystemDirs: dirs})
			switch {
			case row.err == "none":
				if !errors.Is(err, providers.ErrNoProvider) {
					t.Errorf("error %v, want no provider", err)
				}
			case row.err != "":
				if err == nil || errors.Is(err, providers.ErrNoProvider) || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error %v, want %q", err, row.err)
				}
			case err != nil || string(res.Raw) != row.want:
				t.Errorf("got %q, %v; want %q", res.Raw, err, row.want)
			}
			if got := strings.ReplaceAll(log.String(), base, "BASE"); row.log != nil && got != strings.Join(row.log, "\n") {
				t.Errorf("log:\n%s\nwant:\n%s", got, strings.Join(row.log, "\n"))
			}
		})
	}
}

func TestBaseFragments(t *testing.T) {
	for _, row := range []struct {
		name  string
		files map[string]string
		want  []string // paths, in merge order
		err   string
	}{
		{name: "none"},
		{name: "empty directories", files: map[string]string{"run/base.d": "dir", "usr/base.platform.d/aws": "dir"}},
		{name: "sorted bytewise over all directories", files: map[string]string{"run/base.d/b": "1", "etc/base.d/a": "1", "usr/base.d/B": "1", "usr/base.d/10": "1", "usr/base.d/9": "1"},
			want: []string{"usr/base.d/10", "usr/base.d/9", "usr/base.d/B", "etc/base.d/a", "run/base.d/b"}},
		{name: "a name hides the same below", files: map[string]string{"run/base.d/a": "1", "etc/base.d/a": "2", "usr/base.d/a": "3", "etc/base.d/b": "2", "usr/base.d/b": "3"},
			want: []string{"run/base.d/a", "etc/base.d/b"}},
		{name: "hidden files and any suffix count", files: map[string]string{"usr/base.d/.a": "1", "usr/base.d/b.txt": "1"}, want: []string{"usr/base.d/.a", "usr/base.d/b.txt"}},
		{name: "platform after base, whatever its name", files: map[string]string{"usr/base.d/z": "1", "run/base.platform.d/aws/a": "1"},
			want: []string{"usr/base.d/z", "run/base.platform.d/aws/a"}},
		{name: "only this platform", files: map[string]string{"usr/base.platform.d/qemu/a": "1", "usr/base.platform.d/aws/b": "1"}, want: []string{"usr/base.platform.d/aws/b"}},
		{name: "directory by a link", files: map[string]string{"usr/base.d": "-> ../oem/base", "oem/base/base.ign": "1"}, want: []string{"usr/base.d/base.ign"}},
		{name: "link to a directory that is not there", files: map[string]string{"usr/base.d": "-> ../oem/base"}},
		{name: "subdirectory", files: map[string]string{"usr/base.d/a": "dir"}, err: `couldn't read config "BASE/usr/base.d/a": `},
		{name: "link to nothing", files: map[string]string{"usr/base.d/a": "1", "usr/base.d/b": "-> nowhere"}, want: []string{"usr/base.d/a"}, err: `couldn't read config "BASE/usr/base.d/b": `},
		{name: "file in the place of the directory", files: map[string]string{"usr/base.d": "1"}, err: `couldn't read config dir "BASE/usr/base.d": `},
		{name: "broken platform fragment", files: map[string]string{"usr/base.platform.d/aws/a": "dir"}, err: `couldn't read config "BASE/usr/base.platform.d/aws/a": `},
	} {
		t.Run(row.name, func(t *testing.T) {
			base, dirs := tree(t, row.files)
			log := &logs.Lines{}
			var got []string
			n, err := BaseFragments(log, dirs, "aws", func(f Fragment) error {
				rel, _ := filepath.Rel(base, f.Path)
				got = append(got, rel)
				if text, ok := row.files[rel]; ok && string(f.Raw) != text {
					t.Errorf("%s holds %q", rel, f.Raw)
				}
				return nil
			})
			text := ""
			if err != nil {
				text = strings.ReplaceAll(err.Error(), base, "BASE")
			}
			if !strings.HasPrefix(text, row.err) || (row.err == "") != (err == nil) {
				t.Errorf("error %q, want %q", text, row.err)
			}
			if !slices.Equal(got, row.want) || n != len(row.want) {
				t.Errorf("got %d: %q, want %q", n, got, row.want)
			}
			if said := strings.ReplaceAll(log.String(), base, "BASE"); row.err != "" && !strings.Contains(said, "error "+row.err) {
				t.Errorf("log lacks %q:\n%s", row.err, said)
			}
		})
	}
}

func TestBaseFragmentsLog(t *testing.T) {
	base, dirs := tree(t, map[string]string{"usr/base.d/a": "1"})
	log := &logs.Lines{}
	if _, err := BaseFragments(log, dirs, "aws", func(Fragment) error { return nil }); err != nil {
		t.Fatal(err)
	}
	want := `info no config dir at "BASE/run/base.d"
info no config dir at "BASE/etc/base.d"
info reading system config file "BASE/usr/base.d/a"
info no config dir at "BASE/run/base.platform.d/aws"
info no config dir at "BASE/etc/base.platform.d/aws"
info no config dir at "BASE/usr/base.platform.d/aws"
info no configs found in "base.platform.d/aws" across system config directories`
	if got := strings.ReplaceAll(log.String(), base, "BASE"); got != want {
		t.Errorf("log:\n%s\nwant:\n%s", got, want)
	}
}

// TestBaseFragmentsStop checks that what the caller says ends the walk.
func TestBaseFragmentsStop(t *testing.T) {
	_, dirs := tree(t, map[string]string{"usr/base.d/a": "1", "usr/base.d/b": "2"})
	stop := errors.New("bad fragment")
	calls := 0
	n, err := BaseFragments(&logs.Lines{}, dirs, "aws", func(Fragment) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 || n != 0 {
		t.Errorf("%d, %v after %d calls", n, err, calls)
	}
}
