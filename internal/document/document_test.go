// SPDX-License-Identifier: Apache-2.0

package document

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/config"
)

const example = "variant: flatcar\nversion: 1.0.0\n"

// TestParse reads what a machine may be given.
func TestParse(t *testing.T) {
	const (
		openshift = "variant: openshift\nversion: 4.14.0\nmetadata: {name: a, labels: {machineconfiguration.openshift.io/role: b}}\n"
		refused   = "source config is invalid"
		invalid   = "config is not valid"
		noVariant = "error at line 1 col 1: this is YAML without the key variant: a config in YAML is Butane and needs variant and version, one of spec 3.x is JSON and begins with {\n"
		cloud     = "error at line 1 col 1: this looks like a cloud-config, for cloud-init, without its first line #cloud-config\n"
	)
	for _, tt := range []struct{ name, text, err, report string }{
		{"YAML", example + "storage: {files: [{path: /a}]}", "", ""},
		{"comment and marker first", "# hello\n---\n" + example, "", ""},
		{"byte order mark, CRLF", "\ufeffvariant: flatcar\r\nversion: 1.0.0\r\n", "", ""},
		{"UTF-16", "\xff\xfe" + wide(example), "", ""},
		{"experimental", "variant: flatcar\nversion: 1.2.0-experimental\n", "", ""},
		{"JSON", `{"ignition":{"version":"3.4.0"}}`, "", ""},
		{"spec 2", `{"ignition":{"version":"2.4.0"}}`, "", ""},
		{"Butane in JSON", `{"variant":"fcos","version":"1.4.0"}`, "", ""},
		{"both marks", `{"ignition":{"version":"3.4.0"},"variant":"fcos","version":"1.4.0"}`, "",
			"warning at $.variant, line 1 col 33: unused key variant\nwarning at $.version, line 1 col 50: unused key version\n"},
		{"warnings", example + "a: b\n", "", "warning at $.a, line 3 col 1: unused key a\n"},
		{"cloud-config with a variant", "#cloud-config\n" + example, "", ""},

		{"local file", example + "storage: {files: [{path: /a, contents: {local: b}}]}", refused, "error at $.storage.files.0.contents.local, line 3 col 48: " +
			"a machine has no local files to embed; put the text inline, fetch it from a source, or translate the config beforehand with butane --files-dir\n"},
		{"tree", example + "storage: {trees: [{local: b}]}", refused, "error at $.storage.trees.0, line 3 col 19: " +
			"a machine has no local files to embed; put the text inline, fetch it from a source, or translate the config beforehand with butane --files-dir\n"},
		{"local keys", "variant: flatcar\nversion: 1.1.0\npasswd: {users: [{name: a, ssh_authorized_keys_local: [b]}]}", refused,
			"error at $.passwd.users.0.ssh_authorized_keys_local, line 3 col 55: a machine has no local files to embed"},
		{"local unit", "variant: flatcar\nversion: 1.1.0\nsystemd: {units: [{name: a.service, contents_local: b}]}", refused,
			"error at $.systemd.units.0.contents_local, line 3 col 53: a machine has no local files to embed"},
		{"invalid", example + "storage: {files: [{path: a}]}", "config generated was invalid", "error at $.storage.files.0.path, line 3 col 26: path not absolute\n"},
		{"version", "variant: flatcar\nversion: 9.0.0\n", refused, "error at $.version, line 2 col 10: No translator exists for variant flatcar with version 9.0.0\n"},
		{"no version", "variant: flatcar\nx: y\n", refused, "error at $.version, line 1 col 1: error parsing version; must be a valid semver\n"},
		{"empty variant", "version: 1.0.0\nvariant:\n", refused, "error at $.variant, line 2 col 9: error parsing variant; must be specified\n"},
		{"variant twice", example + "variant: fcos\n", refused, "error at $.variant, line 3 col 1: mapping key \"variant\" already defined at line 1\n"},
		{"nested key twice", example + "storage: {files: [{path: /a, path: /b}]}", refused, "error at line 3 col 30: mapping key \"path\" already defined at line 3\n"},
		{"openshift", openshift, refused,
			"error at $.variant, line 1 col 10: this is a Butane config of variant openshift, which becomes a MachineConfig: hand it to the machine-config operator, not to a machine\n"},
		{"wrong types", example + "passwd: {users: [{name: a, password_hash: [hunter2]}]}\nstorage: hunter2\n", refused,
			"error at $.passwd.users.0.password_hash, line 3 col 43: cannot unmarshal !!seq into a string\nerror at $.storage, line 4 col 10: cannot unmarshal !!str into a mapping\n"},
		{"password like an alias", example + "passwd: {users: [{name: a, password_hash: *hunter2}]}\n", refused,
			"error at line 3 col 43: yaml: unknown anchor referenced; look at line 3 col 43: a text that starts with * needs quotes\n"},
		{"password like an anchor", example + "passwd: &hunter2 [*hunter2]\n", refused, "error at line 3 col 19: yaml: line 3: anchor value contains itself; look at line 3 col 19\n"},
		{"tab", example + "storage:\n\tfiles: []\n", refused,
			"error at line 4 col 1: yaml: line 4: found character that cannot start any token; look at line 4 col 1: a tab; YAML is indented with spaces\n"},

		{"empty", "", "not a config (empty)", ""},
		{"cloud-config", "#cloud-config\nvariants: x\n", "not a config (empty): it is a cloud-config, for cloud-init", ""},
		{"script", "#!/bin/sh\necho variant: x\n", "not a config (empty): it is a script, which nothing here runs", ""},
		{"script with a line like YAML", "#!/bin/sh\nvariant: x\n\tx", "not a config (empty): it is a script, which nothing here runs", ""},
		{"MIME", "Content-Type: multipart/mixed; boundary=x\nMIME-Version: 1.0\n\n--x\nvariant: x\n", "not a config (empty): it is a MIME archive for cloud-init", ""},
		{"spec 3 in YAML", "ignition:\n  version: 3.4.0\n", invalid, noVariant},
		{"list", "- variant\n", invalid, noVariant},
		{"text", "hello variant", invalid, "error at line 1 col 1: this is a single text, neither JSON, which begins with {, nor Butane YAML, which has the keys variant and version\n"},
		{"neither", "a: b: c\n", invalid, "error at line 1 col 5: this is neither JSON, which begins with {, nor Butane YAML: yaml: mapping values are not allowed in this context; look at line 1 col 5: "},
		{"slip in JSON", "{\n  \"ignition\": {\"version\": \"3.4.0\"},\n  \"variant\" 5}", invalid, "error at line 3 col 14: invalid JSON: "},
		{"cloud-config without its mark", "users:\n  - default\nvariantx: 1\n", invalid, cloud},
		{"much of something else", "- x: 1\n" + strings.Repeat("- y: 1\n", 1<<18), invalid, "error at line 1 col 1: this is neither JSON, which begins with {, nor Butane YAML\n"},
		{"HTML", "<!doctype html>\n<p>variant</p>", invalid, "error at line 1 col 1: this is HTML or XML; does the URL lead to a login or an error page?\n"},
		{"PEM", "-----BEGIN RSA PRIVATE KEY-----\n", invalid, "error at line 1 col 1: this is a key or certificate in PEM\n"},
		{"base64", strings.Repeat("aGVsbG8K", 10) + "\n", invalid, "error at line 1 col 1: this looks like base64: it is encoded once more than the platform decodes\n"},
		{"JSON in UTF-16", "\xff\xfe" + wide(`{"ignition":{"version":"3.4.0"}}`), invalid, "error at line 1 col 1: this is UTF-16, and JSON is UTF-8\n"},
		{"JSON with a byte order mark", "\ufeff{}", invalid, "error at line 1 col 1: this starts with a byte order mark, which JSON does not have: save it as UTF-8 without one\n"},
		{"zeros", "a\x00b", invalid, "error at line 1 col 1: this is binary data\n"},
		{"gzip, cut off", "\x1f\x8b\x08\x00", invalid, "error at line 1 col 1: this is compressed by gzip; a reference to it needs compression: gzip\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d, r, err := Parse([]byte(tt.text))
			if got := fmt.Sprint(err); err == nil && tt.err != "" || err != nil && got != tt.err {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			got := r.String()
			if got != tt.report && (strings.HasSuffix(tt.report, "\n") || tt.report == "" || !strings.HasPrefix(got, tt.report)) {
				t.Errorf("report\n%swant\n%s", got, tt.report)
			}
			if err == nil && d.Config.Ignition.Version != config.MaxVersion() {
				t.Errorf("version %s", d.Config.Ignition.Version)
			}
			if isEmpty := strings.HasPrefix(tt.err, "not a config"); isEmpty != errors.Is(err, config.ErrEmpty) {
				t.Errorf("%v counts as empty: %t", err, !isEmpty)
			}
			if strings.Contains(got+fmt.Sprint(err), "hunter2") {
				t.Errorf("a value in the report:\n%s", got)
			}
		})
	}
}

// wide is a text in UTF-16.
func wide(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		b.Write([]byte{c, 0})
	}
	return b.String()
}

// TestPlaces finds the entries of a config in the YAML, those made by sugar at the key that makes them.
func TestPlaces(t *testing.T) {
	text := "# c\nvariant: flatcar\nversion: 1.1.0\nstorage:\n  files:\n    - path: /a\n      contents:\n        inline: x\n  filesystems:\n" +
		"    - device: /dev/vdb\n      format: ext4\n      path: /data\n      with_mount_unit: true\nsystemd:\n  units:\n    - name: b.service\n      enabled: true\n"
	d, r, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, r.String())
	}
	places := d.Places()
	got := ""
	for _, name := range slices.Sorted(maps.Keys(places)) {
		got += fmt.Sprintf("%s %d:%d\n", name, places[name].Line, places[name].Column)
	}
	want := "$.storage 5:3\n$.storage.files[/a] 6:7\n$.storage.files[/a].contents 8:9\n$.storage.filesystems[/dev/vdb] 10:7\n" +
		"$.systemd 15:3\n$.systemd.units[b.service] 16:7\n$.systemd.units[data.mount] 13:24\n"
	if got != want {
		t.Errorf("%swant\n%s", got, want)
	}
}

// TestPlacesOfJSON: documents in JSON have theirs as before.
func TestPlacesOfJSON(t *testing.T) {
	for text, want := range map[string]string{
		"{\"ignition\":{\"version\":\"3.4.0\"},\n\"storage\":{\"files\":[{\"path\":\"/a\"}]}}":                                      "2:21",
		"{\"ignition\":{\"version\":\"2.3.0\"},\n\"storage\":{\"files\":[{\"filesystem\":\"root\",\"path\":\"/a\",\"mode\":420}]}}": "2:21",
	} {
		d, r, err := Parse([]byte(text))
		if err != nil {
			t.Fatalf("%v\n%s", err, r.String())
		}
		p := d.Places()["$.storage.files[/a]"]
		if got := fmt.Sprintf("%d:%d", p.Line, p.Column); got != want {
			t.Errorf("%s: the file is at %s, want %s", text, got, want)
		}
	}
}
