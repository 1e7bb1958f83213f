// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"
)

func TestReadUnit(t *testing.T) {
	long := strings.Repeat("a", 2048)
	tests := []struct {
		name, in string
		install  bool
		err      string
	}{
		{"empty", "", false, ""},
		{"no section", "A=b\nC=d\n", false, ""},
		{"any text before a section", "what ever ]\n=\n", false, ""},
		{"comment before a section", "# a [x\n; b \\\n[ still a comment\n[Install]\nA=b", true, ""},
		{"continued comment hides a section", "# a \\\n[Install]\nA=b\n", false, ""},
		{"section", "[Unit]\nA=b\n", false, ""},
		{"install", "[Unit]\nA=b\n[Install]\nWantedBy=x\n", true, ""},
		{"empty install", "[Unit]\nA=b\n[Install]\n", false, ""},
		{"install with a comment only", "[Install]\n# WantedBy=x\n", false, ""},
		{"other case of install", "[install]\nA=b\n", false, ""},
		{"comments", "[Unit]\n#a\n;b\n  # c\nA=b\n", false, ""},
		{"blank after section", "[Unit] \t\nA=b", false, ""},
		{"cr after section", "[Unit]\rA", false, `invalid unit content: found garbage after section name : "A"`},
		{"crlf", "[Unit]\r\nA=b\r\n", false, ""},
		{"empty name", "[Unit]\n=b\n", false, ""},
		{"empty value", "[Unit]\nA=\n", false, ""},
		{"continued value", "[Unit]\nA=b \\\nwithout equals\nC=d\n", false, ""},
		{"open section", "[Unit", false, "invalid unit content: unable to find end of section"},
		{"open section over lines", "[Unit\nA=b\n", false, "invalid unit content: unable to find end of section"},
		{"garbage", "[Unit]  say \"a\\b\" \n", false,
			`invalid unit content: found garbage after section name : "say \"a\\b\""`},
		{"newline in name", "[Unit]\nA\n", false,
			"invalid unit content: unexpected newline encountered while parsing option name"},
		{"cr in name", "[Unit]\nA\r=b", false,
			"invalid unit content: unexpected newline encountered while parsing option name"},
		{"end in name", "[Unit]\nA", false, "invalid unit content: EOF"},
		{"first line of 2048", long + "\n", false, ""},
		{"first line of 2049", long + "a\n", false, "invalid unit content: line too long (max 2048 bytes)"},
		{"later line of 2047", "[Unit]\n" + long[:2045] + "=b\n[Unit]\n", false, ""},
		{"later line of 2048", "[Unit]\n" + long[:2046] + "=b\n", false,
			"invalid unit content: line too long (max 2048 bytes)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := readUnit(&tt.in)
			if got.given != (tt.in != "") || got.hasInstall != tt.install || errorText(got.err) != tt.err {
				t.Errorf("got %+v, want install %v, error %q", got, tt.install, tt.err)
			}
		})
	}
	if got := readUnit(nil); got != (unitContents{}) {
		t.Errorf("absent contents: %+v", got)
	}
}

func FuzzUnit(f *testing.F) {
	for _, seed := range []string{"[Unit]\nA=b\n", "[", "[a]b", "#\\\n", "[a]\n=\\\n", "[a]\nb", "[Install]\r\nA=\\",
		strings.Repeat("a", 5000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c := readUnit(&s)
		if c.err != nil && !strings.HasPrefix(c.err.Error(), "invalid unit content: ") {
			t.Errorf("unexpected text %q", c.err)
		}
		if c.hasInstall && !strings.Contains(s, "[Install]") {
			t.Errorf("install section out of nothing in %q", s)
		}
	})
}
