// SPDX-License-Identifier: Apache-2.0

package schema

import "testing"

func TestNearest(t *testing.T) {
	for _, tt := range []struct {
		language string
		path     []any
		want     string
	}{
		{"3.4.0", []any{"storag"}, "storage"},
		{"3.4.0", []any{"storage", "files", 0, "paht"}, "path"},
		{"3.4.0", []any{"storage", "files", 0, "pth"}, "path"},
		{"3.4.0", []any{"storage", "files", 0, "contents", "sources"}, "source"},
		{"3.4.0", []any{"storage", "LUKS"}, "luks"},
		{"3.4.0", []any{"passwd", "users", 0, "ssh_authorized_keys"}, "sshAuthorizedKeys"},
		{"3.4.0", []any{"storage", "files", 0, "filesystem"}, ""},
		{"3.4.0", []any{"storage", "files", 0, "x"}, ""},
		{"3.4.0", []any{"storage", "nonsense", "pth"}, ""},
		{"3.1.0", []any{"storage", "luk"}, ""}, // it has none
		{"3.2.0", []any{"storage", "luk"}, "luks"},
		{"2.3.0", []any{"storage", "files", 0, "filesytem"}, "filesystem"},
		{"flatcar/1.1.0", []any{"passwd", "users", 0, "ssh_authorised_keys"}, "ssh_authorized_keys"},
		{"flatcar/1.1.0", []any{"storage", "files", 0, "contents", "inlin"}, "inline"},
		{"flatcar/1.1.0", []any{"storage", "files", 0, "contents", "httpHeaders"}, "http_headers"},
		{"flatcar/1.1.0", []any{"boot_devic"}, ""},
		{"fcos/1.5.0", []any{"boot_devic"}, "boot_device"},
	} {
		l := Find(tt.language)
		if l == nil {
			t.Fatalf("there is no %s", tt.language)
		}
		if got := l.Nearest(tt.path); got != tt.want {
			t.Errorf("%s %v: got %q, want %q", tt.language, tt.path, got, tt.want)
		}
	}
}

func TestOf(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{`{"ignition":{"version":"3.4.0"}}`, "3.4.0"},
		{`{"ignition":{"version":"2.3.0"}}`, "2.3.0"},
		{`{"ignitionVersion":1}`, "1.0.0"},
		{"variant: flatcar\nversion: 1.1.0\n", "flatcar/1.1.0"},
		{`{"variant":"fcos","version":"1.5.0"}`, "fcos/1.5.0"},
		{`{"ignition":{"version":"3.99.0"}}`, ""},
		{"variant: nonsense\n", ""},
		{"no config", ""},
		{"", ""},
	} {
		got := ""
		if l := Of([]byte(tt.raw)); l != nil {
			got = l.Name
		}
		if got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.raw, got, tt.want)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add([]byte(`{"ignition":{"version":"3.4.0"}}`))
	f.Add([]byte("variant: flatcar\nversion: 1.1.0\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if l := Of(raw); l != nil && Find(l.Name) == nil {
			t.Errorf("%q is no name", l.Name)
		}
	})
}
