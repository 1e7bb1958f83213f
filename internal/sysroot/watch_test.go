// SPDX-License-Identifier: Apache-2.0

package sysroot

import (
	"os"
	"path/filepath"
	"testing"
)

// TestWatch: what was looked at and is something else later is named; nothing else is.
func TestWatch(t *testing.T) {
	ask := map[string]func(r *Root){
		"lstat":        func(r *Root) { _, _ = r.Lstat("/d/f") },
		"lstat in dir": func(r *Root) { d, _ := r.OpenDir("/d"); _, _ = d.Lstat("f"); d.Close() },
		"stat":         func(r *Root) { _, _ = r.Stat("/d/f") },
		"read":         func(r *Root) { _, _ = r.ReadFile("/d/f") },
		"readlink":     func(r *Root) { _, _ = r.Readlink("/d/f") },
		"open":         func(r *Root) { f, _ := r.OpenFile("/d/f", os.O_RDONLY, 0); f.Close() },
	}
	for how, look := range ask {
		for name, change := range map[string]func(host string) error{
			"contents": func(host string) error { return os.WriteFile(filepath.Join(host, "d/f"), []byte("other"), 0o644) },
			"mode":     func(host string) error { return os.Chmod(filepath.Join(host, "d/f"), 0o600) },
			"gone":     func(host string) error { return os.Remove(filepath.Join(host, "d/f")) },
			"replaced": func(host string) error { return os.Rename(filepath.Join(host, "d/g"), filepath.Join(host, "d/f")) },
		} {
			r, host := watched(t)
			r.Watch()
			look(r)
			must(t, change(host))
			if got := r.Changed(); got != "/d/f" {
				t.Errorf("%s, %s: %q", how, name, got)
			}
			if got := r.Changed(); got != "" {
				t.Errorf("%s, %s: %q when nothing is watched any more", how, name, got)
			}
		}
	}
	for name, tt := range map[string]struct {
		look   func(r *Root)
		change func(host string) error
		want   string
	}{
		"nothing changes":              {func(r *Root) { _, _ = r.ReadFile("/d/f") }, func(string) error { return nil }, ""},
		"something else":               {func(r *Root) { _, _ = r.ReadFile("/d/f") }, func(h string) error { return os.Remove(filepath.Join(h, "d/g")) }, ""},
		"in a directory":               {func(r *Root) { _, _ = r.Lstat("/d") }, func(h string) error { return os.Remove(filepath.Join(h, "d/g")) }, ""},
		"in a directory that is read":  {func(r *Root) { _, _ = r.ReadDir("/d") }, func(h string) error { return os.Remove(filepath.Join(h, "d/g")) }, "/d"},
		"mode of a directory":          {func(r *Root) { _, _ = r.Lstat("/d") }, func(h string) error { return os.Chmod(filepath.Join(h, "d"), 0o700) }, "/d"},
		"what was not there comes":     {func(r *Root) { _, _ = r.Lstat("/n") }, func(h string) error { return os.Mkdir(filepath.Join(h, "n"), 0o700) }, "/n"},
		"below what was not there":     {func(r *Root) { _, _ = r.Lstat("/n/m") }, func(h string) error { return os.Mkdir(filepath.Join(h, "n"), 0o700) }, ""},
		"a link leads elsewhere":       {func(r *Root) { _, _ = r.Resolve("/l/f") }, func(h string) error { return relink(filepath.Join(h, "l"), "/e") }, "/l/f"},
		"a link that is followed":      {func(r *Root) { _, _ = r.Stat("/l/f") }, func(h string) error { return relink(filepath.Join(h, "l"), "/e") }, "/l/f"},
		"first in order, whoever asks": {func(r *Root) { _, _ = r.ReadFile("/d/g"); _, _ = r.ReadFile("/d/f") }, func(h string) error { return os.RemoveAll(filepath.Join(h, "d")) }, "/d/f"},
	} {
		r, host := watched(t)
		r.Watch()
		tt.look(r)
		must(t, tt.change(host))
		if got := r.Changed(); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func watched(t *testing.T) (*Root, string) {
	t.Helper()
	r, host := newRoot(t)
	for _, dir := range []string{"d", "e"} {
		must(t, os.Mkdir(filepath.Join(host, dir), 0o755))
		for _, name := range []string{"f", "g"} {
			must(t, os.WriteFile(filepath.Join(host, dir, name), []byte("x"), 0o644))
		}
	}
	must(t, os.Symlink("/d", filepath.Join(host, "l")))
	return r, host
}

func relink(at, to string) error {
	if err := os.Remove(at); err != nil {
		return err
	}
	return os.Symlink(to, at)
}
