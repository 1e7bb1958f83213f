// SPDX-License-Identifier: Apache-2.0

package luks

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const header2 = "LUKS\xba\xbe\x00\x02" + "0123456789abcdef" + "my label"

// device writes a file that begins as text says.
func device(t *testing.T, text string) string {
	t.Helper()
	p := filepath.Join(t.TempDir(), "disk")
	must(t, os.WriteFile(p, append([]byte(text), make([]byte, 4096)...), 0o600))
	return p
}

func TestInspectStubs(t *testing.T) {
	const (
		luks2 = `case "$1 $*" in isLuks*luks2) exit 0;; isLuks*) exit 1;; luksUUID*) echo ' A-b ';; luksDump*) echo '{}';; esac`
		luks1 = `case "$1 $*" in isLuks*luks2) exit 1;; isLuks*) exit 0;; luksUUID*) echo a-1;; *) exit 9;; esac`
	)
	for _, row := range []struct {
		name, script, header string
		want                 Facts
		err                  string
		calls                []string
	}{
		{"luks2", luks2, header2, Facts{Version: 2, UUID: "A-b", Label: "my label"}, "", []string{
			"cryptsetup [isLuks] [DEV] [--type] [luks2]", "cryptsetup [luksUUID] [DEV]", "cryptsetup [luksDump] [--dump-json-metadata] [DEV]"}},
		{"luks1", luks1, "", Facts{Version: 1, UUID: "a-1"}, "", []string{
			"cryptsetup [isLuks] [DEV] [--type] [luks2]", "cryptsetup [isLuks] [DEV]", "cryptsetup [luksUUID] [DEV]"}},
		{"something else", "echo nothing >&2; exit 1", "", Facts{}, "", []string{
			"cryptsetup [isLuks] [DEV] [--type] [luks2]", "cryptsetup [isLuks] [DEV]"}},
		{"other exit status", "exit 4", "", Facts{}, "", []string{
			"cryptsetup [isLuks] [DEV] [--type] [luks2]", "cryptsetup [isLuks] [DEV]"}},
		{"probe dies", "kill -9 $$", "", Facts{}, "signal: killed: ", []string{"cryptsetup [isLuks] [DEV] [--type] [luks2]"}},
		{"no uuid", `[ $1 = isLuks ]`, header2, Facts{Version: 2}, "reading uuid of luks device: exit status 1", []string{
			"cryptsetup [isLuks] [DEV] [--type] [luks2]", "cryptsetup [luksUUID] [DEV]"}},
		{"garbage for metadata", `[ $1 != luksDump ] || echo '{"tokens":'`, header2, Facts{Version: 2},
			"reading metadata of luks device: parsing metadata: unexpected end", []string{
				"cryptsetup [isLuks] [DEV] [--type] [luks2]", "cryptsetup [luksUUID] [DEV]", "cryptsetup [luksDump] [--dump-json-metadata] [DEV]"}},
		{"endless metadata", `[ $1 != luksDump ] || head -c 9000000 /dev/zero`, header2, Facts{Version: 2},
			"reading metadata of luks device: metadata is too long", []string{
				"cryptsetup [isLuks] [DEV] [--type] [luks2]", "cryptsetup [luksUUID] [DEV]", "cryptsetup [luksDump] [--dump-json-metadata] [DEV]"}},
		{"header vanished", luks2, "other", Facts{Version: 2, UUID: "A-b"}, "reading label of luks device: no luks2 header", []string{
			"cryptsetup [isLuks] [DEV] [--type] [luks2]", "cryptsetup [luksUUID] [DEV]", "cryptsetup [luksDump] [--dump-json-metadata] [DEV]"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			b := stubs(t, row.script)
			v := plain
			v.Alias = device(t, row.header)
			got, err := b.Inspect(t.Context(), v)
			checkError(t, err, row.err)
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
			for i := range row.calls {
				row.calls[i] = strings.ReplaceAll(row.calls[i], "DEV", v.Alias)
			}
			checkCalls(t, b, row.calls...)
			checkLog(t, b, row.err != "" && !strings.Contains(row.err, "label"), "checking if /dev/disk/by-label/x is a luks2 device")
		})
	}
}

func TestInspectCannotStart(t *testing.T) {
	b := stubs(t, "")
	b.Runner.Path = t.TempDir()
	_, err := b.Inspect(t.Context(), plain)
	checkError(t, err, `exec: "cryptsetup": executable file not found`)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := stubs(t, "exit 1").Inspect(ctx, plain); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v: a cancelled probe is no answer", err)
	}
}

func TestParseMetadata(t *testing.T) {
	for _, row := range []struct {
		name, in string
		want     metadata
		err      string
	}{
		{"empty", `{}`, metadata{}, ""},
		{"null", `null`, metadata{}, ""},
		{"flags", `{"config":{"flags":["no-read-workqueue","allow-discards"],"json_size":"12288"}}`, metadata{flags: []string{"no-read-workqueue", "allow-discards"}}, ""},
		{"other flags", `{"config":{"flags":["same-cpu-crypt"]}}`, metadata{flags: []string{"same-cpu-crypt"}}, ""},
		{"slots and tokens", `{"keyslots":{"0":{"type":"luks2"},"7":{"x":1}},"tokens":{"0":{"type":"clevis","jwe":{}},"1":{"type":"clevis"},"2":{"type":"systemd-tpm2"}},"new":[1]}`,
			metadata{keyslots: 2, clevis: 2}, ""},
		{"mark", `{"tokens":{"3":{"type":"ignition","keyslots":[],"volume":"data","entry":"ab","later":1}}}`,
			metadata{marks: []Mark{{"data", "ab", 3}}}, ""},
		{"two marks by number", `{"tokens":{"10":{"type":"ignition","volume":"b"},"9":{"type":"ignition","volume":"a"}}}`,
			metadata{marks: []Mark{{"a", "", 9}, {"b", "", 10}}}, ""},
		{"mark of another shape", `{"tokens":{"0":{"type":"ignition","volume":5}}}`, metadata{marks: []Mark{{}}}, ""},
		{"token of another shape", `{"tokens":{"0":"clevis","1":{"type":3},"2":null}}`, metadata{}, ""},
		{"mark without number", `{"tokens":{"x":{"type":"ignition"}}}`, metadata{}, `parsing metadata: token "x" has no number`},
		{"no JSON", `Device is not valid`, metadata{}, "parsing metadata: invalid character"},
		{"tokens of another shape", `{"tokens":[]}`, metadata{}, "parsing metadata: json: "},
		{"too long", `{` + strings.Repeat(" ", maxMetadata) + `}`, metadata{}, "metadata is too long"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := parseMetadata([]byte(row.in))
			checkError(t, err, row.err)
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}

func TestStored(t *testing.T) {
	for _, row := range []struct {
		name    string
		flags   []string
		discard bool
		options []string
		want    bool
	}{
		{"none", nil, false, nil, true},
		{"discard", []string{"allow-discards"}, true, nil, true},
		{"discard to store", nil, true, nil, false},
		{"more than asked for", []string{"allow-discards"}, false, nil, false},
		{"options", []string{"no-write-workqueue", "allow-discards"}, true, []string{"--perf-no_write_workqueue", "--key-slot", "0"}, true},
		{"an option to store", []string{"allow-discards"}, true, []string{"--perf-no_write_workqueue"}, false},
		{"by the option itself", []string{"allow-discards"}, false, []string{"--allow-discards"}, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := (Facts{Flags: row.flags}).Stored(Volume{Discard: row.discard, OpenOptions: row.options}); got != row.want {
				t.Errorf("got %t, want %t", got, row.want)
			}
		})
	}
}

func FuzzMetadata(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, `[]`, `{"keyslots":{"0":{"type":"luks2","key_size":64}},"config":{"json_size":"12288","flags":["allow-discards"]}}`,
		`{"tokens":{"3":{"type":"ignition","keyslots":[],"volume":"data","entry":"ab"},"4":{"type":"clevis"}}}`,
		`{"tokens":{"-1":{"type":"ignition"}}}`, `{"tokens":{"99999999999999999999":{"type":"ignition"}}}`, "\xff{", `{"tokens":{"0":[[[[`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		md, err := parseMetadata(data)
		if err != nil && !reflect.DeepEqual(md, metadata{}) {
			t.Errorf("facts %+v beside error %v", md, err)
		}
		last := -1
		for _, mark := range md.marks {
			if mark.token < 0 || mark.token < last {
				t.Errorf("tokens out of order: %+v", md.marks)
			}
			last = mark.token
		}
		if len(md.marks)+md.clevis+md.keyslots > len(data) {
			t.Errorf("more facts than bytes: %+v", md)
		}
	})
}
