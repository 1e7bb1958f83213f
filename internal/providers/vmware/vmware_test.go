// SPDX-License-Identifier: Apache-2.0

package vmware

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/tests/logs"
)

const (
	data     = "guestinfo.ignition.config.data"
	dataEnc  = data + ".encoding"
	old      = "guestinfo.coreos.config.data"
	oldEnc   = old + ".encoding"
	link     = "guestinfo.ignition.config.url"
	oldLink  = "guestinfo.coreos.config.url"
	ovf      = "guestinfo.ovfenv"
	document = `{"ignition":{"version":"3.3.0"}}`
)

var errBroken = errors.New("the hypervisor fails to answer")

// machine is a guest's variables; fail names those that cannot be read or, after "set ", set.
type machine struct {
	variables map[string]string
	fail      string
	absent    bool
	sets      []string
	open      int
	afterGet  func()
}

func (m *machine) get(key string) (string, bool, error) {
	if m.afterGet != nil {
		defer m.afterGet()
	}
	if m.fail == key {
		return "", false, errBroken
	}
	v, ok := m.variables[key]
	return v, ok, nil
}

func (m *machine) set(key, value string) error {
	if m.fail == "set "+key {
		return errBroken
	}
	m.sets = append(m.sets, key)
	m.variables[key] = value
	return nil
}

func (m *machine) close() { m.open-- }

func (m *machine) connect() (host, bool) {
	if m.absent {
		return nil, false
	}
	m.open++
	return m, true
}

func newEnv() (*providers.Env, *logs.Lines) {
	log := &logs.Lines{}
	return &providers.Env{
		Log: log, Arch: "amd64",
		Fetcher: resource.New(resource.Options{Version: "2.26.0", Stable: "3.6.0"}).WithTimeouts(10*time.Second, 10*time.Second),
	}, log
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func zipped(t *testing.T, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestDecode(t *testing.T) {
	packed := zipped(t, document)
	for _, row := range []struct{ name, data, how, want, err string }{
		{name: "plain", data: document, want: document},
		{name: "b64", data: b64(document), how: "b64", want: document},
		{name: "base64", data: b64(document), how: "base64", want: document},
		{name: "base64 with line breaks", data: " " + b64(document)[:20] + "\r\n" + b64(document)[20:] + "\n", how: "base64", want: document},
		{name: "gz", data: packed, how: "gz", want: document},
		{name: "gzip", data: packed, how: "gzip", want: document},
		{name: "gz+base64", data: b64(packed), how: "gz+base64", want: document},
		{name: "gzip+base64", data: b64(packed), how: "gzip+base64", want: document},
		{name: "gz+b64", data: b64(packed), how: "gz+b64", want: document},
		{name: "gzip+b64", data: b64(packed), how: "gzip+b64", want: document},
		{name: "nothing in gzip", data: b64(zipped(t, "")), how: "gz+b64"},
		{name: "unknown", data: document, how: "rot13", err: `unsupported encoding "rot13"`},
		{name: "upper case", data: document, how: "BASE64", err: `unsupported encoding "BASE64"`},
		{name: "gz+", data: packed, how: "gz+", err: `unsupported encoding "gz+"`},
		{name: "base64+gzip", data: packed, how: "base64+gzip", err: `unsupported encoding "base64+gzip"`},
		{name: "no base64", data: "SECRET!", how: "b64", err: "decoding base64: illegal base64 data at input byte 6"},
		{name: "cut base64", data: b64(document)[:7], how: "base64", err: "decoding base64: "},
		{name: "no gzip", data: "SECRET", how: "gzip", err: "decoding gzip: "},
		{name: "cut gzip", data: packed[:20], how: "gzip", err: "decoding gzip: unexpected EOF"},
		{name: "gzip with a wrong checksum", data: packed[:len(packed)-8] + "SECRET!!", how: "gzip", err: "decoding gzip: gzip: invalid checksum"},
		{name: "no gzip in base64", data: b64("SECRET"), how: "gz+b64", err: "decoding gzip: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := decode(row.data, row.how)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.HasPrefix(err.Error(), row.err)) {
				t.Errorf("error %v, want %q", err, row.err)
			}
			if string(got) != row.want || err != nil && strings.Contains(err.Error(), "SECRET") {
				t.Errorf("got %q, %v; want %q", got, err, row.want)
			}
		})
	}
	if _, err := unzip([]byte(zipped(t, strings.Repeat("x", 1000))), 999); err == nil || err.Error() != "decoding gzip: more than a config may have (999 bytes)" {
		t.Errorf("gzip bomb: %v", err)
	}
}

// ovfOf is an OVF environment with these properties.
func ovfOf(pairs ...string) string {
	elements := ""
	for i := 0; i < len(pairs); i += 2 {
		elements += fmt.Sprintf(`<Property oe:key=%q oe:value='%s'/>`, pairs[i], pairs[i+1])
	}
	return environmentOf(elements)
}

func TestFetch(t *testing.T) {
	const none = "info no config URL provided"
	type vars = map[string]string
	for _, row := range []struct {
		name string
		vars vars
		fail string
		want string
		err  string
		log  string
	}{
		{name: "plain", vars: vars{data: document}, want: document},
		{name: "encoded", vars: vars{data: b64(document), dataEnc: "base64"}, want: document},
		{name: "nothing", log: none},
		{name: "empty", vars: vars{data: ""}, log: none},
		{name: "encoding without data", vars: vars{dataEnc: "nonsense"}, log: none},
		{name: "unknown encoding", vars: vars{data: "SECRET", dataEnc: "rot13"}, err: `variable "guestinfo.ignition.config.data": unsupported encoding "rot13"`},
		{name: "garbage", vars: vars{data: "SECRET!", dataEnc: "b64"}, err: `variable "guestinfo.ignition.config.data": decoding base64: `},
		{name: "unreadable", vars: vars{data: "SECRET"}, fail: data, log: "debug reading variable \"guestinfo.ignition.config.data\": the hypervisor fails to answer\n" + none},
		{name: "unreadable encoding", vars: vars{data: document, dataEnc: "b64"}, fail: dataEnc, want: document,
			log: `debug reading variable "guestinfo.ignition.config.data.encoding": the hypervisor fails to answer`},

		{name: "OVF only", vars: vars{ovf: ovfOf(data, document)}, want: document},
		{name: "OVF, encoded", vars: vars{ovf: ovfOf(data, b64(document), dataEnc, "b64")}, want: document},
		{name: "OVF as vSphere writes it", vars: vars{ovf: testdata(t, "ovfenv.xml")}, want: `{"ignition": {"version": "3.3.0"}}`},
		{name: "direct over OVF", vars: vars{data: b64(document), dataEnc: "base64", ovf: ovfOf(data, "x", dataEnc, "gzip")}, want: document},
		{name: "direct data, encoding of OVF", vars: vars{data: b64(document), ovf: ovfOf(data, "x", dataEnc, "b64")}, want: document},
		{name: "OVF where the variable is unreadable", vars: vars{ovf: ovfOf(data, document)}, fail: data, want: document, log: "debug reading variable \"guestinfo.ignition.config.data\": the hypervisor fails to answer"},
		{name: "broken OVF", vars: vars{data: document, ovf: "<SECRET"}, want: document, log: "warning the OVF environment is ignored: byte 7: not well-formed XML"},
		{name: "broken OVF alone", vars: vars{ovf: "SECRET"}, log: "warning the OVF environment is ignored: byte 0: not well-formed XML\n" + none},
		{name: "entity bomb in OVF", vars: vars{data: document, ovf: "<!DOCTYPE x><E/>"}, want: document, log: "warning the OVF environment is ignored: byte 0: a document type is not accepted"},
		{name: "unreadable OVF", vars: vars{data: document}, fail: ovf, want: document, log: "warning reading the OVF environment: the hypervisor fails to answer"},
		{name: "empty OVF", vars: vars{data: document, ovf: "\n"}, want: document},

		{name: "old name", vars: vars{old: b64(document), oldEnc: "b64"}, want: document},
		{name: "both names", vars: vars{data: document, old: "x"}, want: document},
		{name: "encodings stay with their data", vars: vars{data: document, oldEnc: "b64"}, want: document},
		{name: "encodings stay with their data, old name", vars: vars{old: document, dataEnc: "b64"}, want: document},
		{name: "old name where the first is unreadable", vars: vars{data: "x", old: document}, fail: data, want: document, log: "debug reading variable \"guestinfo.ignition.config.data\": the hypervisor fails to answer"},
		{name: "old name in OVF", vars: vars{ovf: ovfOf(old, b64(document), oldEnc, "b64")}, want: document},
		{name: "first name in OVF before old name", vars: vars{old: "x", ovf: ovfOf(data, document)}, want: document},

		{name: "data before URL", vars: vars{old: document, link: "http://127.0.0.1:1/"}, want: document},
		{name: "URL", vars: vars{link: "data:;base64," + b64(document), oldLink: "data:,x"}, want: document, log: `debug found url: "data:`},
		{name: "old URL", vars: vars{oldLink: "data:;base64," + b64(document)}, want: document, log: `debug found url: "data:`},
		{name: "URL in OVF", vars: vars{ovf: ovfOf(link, "data:;base64,e30=")}, want: "{}", log: `debug found url: "data:`},
		{name: "unparsable URL", vars: vars{link: "http://SECRET:SECRET@[::1/"}, err: "the config URL of the virtual machine cannot be parsed"},
		{name: "URL without a scheme", vars: vars{link: "example.com/c.ign"}, err: `config URL "example.com/c.ign" of the virtual machine: unsupported source scheme`},
		{name: "unknown scheme", vars: vars{link: "gopher://example.com/"}, err: "unsupported source scheme", log: "debug found url: "},

		{name: "deleted", vars: vars{data: marker, dataEnc: markerEncoding}, log: `info the config in "guestinfo.ignition.config.data" was deleted. Continuing without a config...`},
		{name: "deleted, with the encoding of before", vars: vars{data: marker, dataEnc: "gz+b64"}, log: `info the config in "guestinfo.ignition.config.data" was deleted. Continuing without a config...`},
		{name: "deleted, and OVF made anew", vars: vars{data: marker, ovf: ovfOf(data, "x")}, log: `info the config in "guestinfo.ignition.config.data" was deleted. Continuing without a config...`},
		{name: "deleted old name", vars: vars{old: marker}, log: `info the config in "guestinfo.coreos.config.data" was deleted. Continuing without a config...`},
		{name: "deleted URL", vars: vars{link: blankURL}, log: `debug found url: "data:`},
	} {
		t.Run(row.name, func(t *testing.T) {
			env, log := newEnv()
			m := &machine{variables: row.vars, fail: row.fail}
			res, err := fetch(t.Context(), env, m.connect)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.HasPrefix(err.Error(), row.err)) {
				t.Errorf("error %v, want %q", err, row.err)
			}
			if string(res.Raw) != row.want {
				t.Errorf("got %q, want %q", res.Raw, row.want)
			}
			if text := log.String(); !strings.HasPrefix(text, row.log) || row.log == "" && text != "" || strings.Contains(text, "SECRET") || err != nil && strings.Contains(err.Error(), "SECRET") {
				t.Errorf("log %q, want %q; error %v", text, row.log, err)
			}
			if len(m.sets) != 0 || m.open != 0 {
				t.Errorf("set %v, %d left open", m.sets, m.open)
			}
		})
	}
}

func TestFetchURL(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/c.ign" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write([]byte(document))
	}))
	defer server.Close()
	env, log := newEnv()
	m := &machine{variables: map[string]string{link: server.URL + "/c.ign?token=SECRET"}}
	res, err := fetch(t.Context(), env, m.connect)
	if err != nil || string(res.Raw) != document {
		t.Errorf("got %q, %v", res.Raw, err)
	}
	if strings.Contains(log.String(), "SECRET") || !strings.Contains(log.String(), "debug found url: ") {
		t.Errorf("log %q", log)
	}
	m.variables[link] = server.URL + "/absent"
	if _, err := fetch(t.Context(), env, m.connect); !errors.Is(err, resource.ErrNotFound) {
		t.Errorf("404: %v", err)
	}
	env.Fetcher = env.Fetcher.Offline()
	if _, err := fetch(t.Context(), env, m.connect); !errors.Is(err, resource.ErrNeedNet) {
		t.Errorf("offline: %v", err)
	}
	m.variables = map[string]string{data: document}
	if res, err := fetch(t.Context(), env, m.connect); err != nil || string(res.Raw) != document {
		t.Errorf("data while offline: %q, %v", res.Raw, err)
	}
}

func TestDelete(t *testing.T) {
	type vars = map[string]string
	for _, row := range []struct {
		name       string
		vars, want vars
		fail       string
		sets       string
		err        string
	}{
		{name: "nothing there", vars: vars{"guestinfo.x": "y"}, want: vars{"guestinfo.x": "y"}},
		{name: "plain", vars: vars{data: document}, want: vars{data: marker, dataEnc: "base64"}, sets: data + " " + dataEnc},
		{name: "base64", vars: vars{data: b64(document), dataEnc: "base64"}, want: vars{data: marker, dataEnc: "base64"}, sets: data},
		{name: "other encoding", vars: vars{data: "x", dataEnc: "gz+b64"}, want: vars{data: marker, dataEnc: "base64"}, sets: data + " " + dataEnc},
		{name: "empty", vars: vars{data: ""}, want: vars{data: ""}},
		{name: "deleted before", vars: vars{data: marker, dataEnc: "base64", old: marker, oldEnc: "base64", link: blankURL}, want: vars{data: marker, dataEnc: "base64", old: marker, oldEnc: "base64", link: blankURL}},
		{name: "cut short before", vars: vars{data: marker, dataEnc: "gzip"}, want: vars{data: marker, dataEnc: "base64"}, sets: dataEnc},
		{name: "old names and URLs", vars: vars{old: "x", link: "http://x/", oldLink: "http://y/"}, want: vars{old: marker, oldEnc: "base64", link: blankURL, oldLink: blankURL},
			sets: old + " " + oldEnc + " " + link + " " + oldLink},
		{name: "OVF", vars: vars{ovf: testdata(t, "ovfenv.xml")}, want: vars{ovf: testdata(t, "ovfenv-deleted.xml")}, sets: ovf},
		{name: "both", vars: vars{data: "x", ovf: ovfOf("a", "b", data, "x", dataEnc, "")}, want: vars{data: marker, dataEnc: "base64", ovf: ovfOf("a", "b")}, sets: data + " " + dataEnc + " " + ovf},
		{name: "OVF without a config", vars: vars{ovf: ovfOf("a", "b")}, want: vars{ovf: ovfOf("a", "b")}},
		{name: "empty OVF", vars: vars{ovf: ""}, want: vars{ovf: ""}},

		{name: "broken OVF", vars: vars{ovf: "SECRET"}, want: vars{ovf: "SECRET"}, err: "the OVF environment: byte 0: not well-formed XML"},
		{name: "unreadable OVF", fail: ovf, err: "reading the OVF environment: the hypervisor fails to answer"},
		{name: "OVF refused", vars: vars{ovf: ovfOf(data, "SECRET")}, want: vars{ovf: ovfOf(data, "SECRET")}, fail: "set " + ovf, err: "writing the OVF environment: the hypervisor fails to answer"},
		{name: "unreadable", fail: data, err: `reading variable "guestinfo.ignition.config.data": the hypervisor fails to answer`},
		{name: "refused", vars: vars{data: "SECRET"}, want: vars{data: "SECRET"}, fail: "set " + data, err: `overwriting variable "guestinfo.ignition.config.data": the hypervisor fails to answer`},
		{name: "encoding refused", vars: vars{data: "x"}, want: vars{data: marker}, fail: "set " + dataEnc, sets: data, err: `overwriting variable "guestinfo.ignition.config.data.encoding": `},
		{name: "unreadable encoding", vars: vars{data: "x"}, want: vars{data: marker}, fail: dataEnc, sets: data, err: `reading variable "guestinfo.ignition.config.data.encoding": `},
		{name: "URL refused", vars: vars{link: "x"}, want: vars{link: "x"}, fail: "set " + link, err: `overwriting variable "guestinfo.ignition.config.url": `},
	} {
		t.Run(row.name, func(t *testing.T) {
			env, log := newEnv()
			m := &machine{variables: maps.Clone(row.vars), fail: row.fail}
			if m.variables == nil {
				m.variables = map[string]string{}
			}
			err := remove(t.Context(), env, m.connect)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.HasPrefix(err.Error(), row.err)) {
				t.Fatalf("error %v, want %q", err, row.err)
			}
			if !maps.Equal(m.variables, row.want) || strings.Join(m.sets, " ") != row.sets || m.open != 0 {
				t.Errorf("variables %q, set %q, %d left open; want %q, %q", m.variables, m.sets, m.open, row.want, row.sets)
			}
			if text := fmt.Sprint(err, log); strings.Contains(text, "SECRET") {
				t.Errorf("a secret in %s", text)
			}
			if err != nil {
				return
			}
			m.sets = nil
			if err := remove(t.Context(), env, m.connect); err != nil || len(m.sets) != 0 {
				t.Errorf("a second time: set %v, %v", m.sets, err)
			}
			if res, err := fetch(t.Context(), env, m.connect); err != nil || len(res.Raw) != 0 {
				t.Errorf("there is still a config: %q, %v", res.Raw, err)
			}
		})
	}
}

func TestElsewhere(t *testing.T) {
	env, _ := newEnv()
	m := &machine{absent: true}
	if _, err := fetch(t.Context(), env, m.connect); !errors.Is(err, providers.ErrNoProvider) {
		t.Errorf("fetch: %v", err)
	}
	if err := remove(t.Context(), env, m.connect); !errors.Is(err, providers.ErrNoProvider) {
		t.Errorf("delete: %v", err)
	}
	for _, arch := range []string{"arm64", "s390x", "ppc64le", "riscv64"} {
		env.Arch = arch
		const want = "vmware provider is not supported on this architecture"
		if _, err := Fetch(t.Context(), env); err == nil || err.Error() != want {
			t.Errorf("fetch on %s: %v", arch, err)
		}
		if err := Delete(t.Context(), env); err == nil || err.Error() != want {
			t.Errorf("delete on %s: %v", arch, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	env, _ := newEnv()
	ctx, cancel := context.WithCancel(t.Context())
	m := &machine{variables: map[string]string{}, afterGet: cancel}
	if _, err := fetch(ctx, env, m.connect); !errors.Is(err, context.Canceled) || m.open != 0 {
		t.Errorf("fetch: %v, %d left open", err, m.open)
	}
	m.variables = map[string]string{data: "x"}
	if err := remove(ctx, env, m.connect); !errors.Is(err, context.Canceled) || len(m.sets) != 0 || m.open != 0 {
		t.Errorf("delete: %v, set %v, %d left open", err, m.sets, m.open)
	}
}
