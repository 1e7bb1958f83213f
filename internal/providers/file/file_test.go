// SPDX-License-Identifier: Apache-2.0

package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/tests/logs"
)

func TestFetch(t *testing.T) {
	for _, row := range []struct {
		name, file string
		files      map[string]string
		want       string
		missing    string // name in the error
		log        string
	}{
		{name: "named", file: "other.ign", files: map[string]string{"other.ign": "{}", "config.ign": "no"}, want: "{}", log: `info using config file at "other.ign"`},
		{name: "default", files: map[string]string{"config.ign": "{}"}, want: "{}", log: "info using default filename\ninfo using config file at \"config.ign\""},
		{name: "zero bytes", files: map[string]string{"config.ign": ""}, log: "info using default filename\ninfo using config file at \"config.ign\""},
		{name: "missing", file: "other.ign", missing: "other.ign", log: `info using config file at "other.ign"`},
		{name: "default missing", missing: "config.ign", log: "info using default filename\ninfo using config file at \"config.ign\""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			for name, text := range row.files {
				if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			log := &logs.Lines{}
			res, err := Fetch(t.Context(), &providers.Env{Log: log, ConfigFile: row.file})
			if row.missing != "" {
				want := fmt.Sprintf("couldn't read config %q: open %s: no such file or directory", row.missing, row.missing)
				if !errors.Is(err, fs.ErrNotExist) || err.Error() != want {
					t.Errorf("error %v, want %s", err, want)
				}
			} else if err != nil || string(res.Raw) != row.want {
				t.Errorf("got %q, %v; want %q", res.Raw, err, row.want)
			}
			if log.String() != row.log {
				t.Errorf("log:\n%s\nwant:\n%s", log, row.log)
			}
		})
	}
}
