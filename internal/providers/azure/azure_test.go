// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/tests/cloud"
	"firstboot.dev/ignition/tests/drives"
	"firstboot.dev/ignition/tests/logs"
	"golang.org/x/sys/unix"
)

const request = "GET 169.254.169.254/metadata/instance/compute/userData?api-version=2021-01-01&format=text"

// environment is an ovf-env.xml as Azure writes it, with the custom data in it.
func environment(customData string) string {
	return `<?xml version="1.0" encoding="utf-8"?>
<ns0:Environment xmlns:ns0="http://schemas.dmtf.org/ovf/environment/1" xmlns:ns1="http://schemas.microsoft.com/windowsazure">
 <ns1:ProvisioningSection><ns1:Version>1.0</ns1:Version><ns1:LinuxProvisioningConfigurationSet>
  <ns1:UserName>core</ns1:UserName><ns1:UserPassword>PASSWORD-SECRET</ns1:UserPassword>` + customData + `
 </ns1:LinuxProvisioningConfigurationSet></ns1:ProvisioningSection></ns0:Environment>`
}

func element(raw string) string {
	return "<ns1:CustomData>" + base64.StdEncoding.EncodeToString([]byte(raw)) + "</ns1:CustomData>"
}

// drive is a block device of a test.
type drive struct {
	name     string
	fstype   string
	files    map[string]string
	statuses []int // answers to the question for its state, -1 = no CD-ROM drive
}

func newMediumOf(t *testing.T, env *providers.Env, r *drives.Rack, all []drive, types ...string) *medium {
	t.Helper()
	env.SysDir, env.DevDir = t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(env.SysDir, "class/block"), 0o755); err != nil {
		t.Fatal(err)
	}
	asked := map[string]int{}
	byDevice := map[string]drive{}
	for _, d := range all {
		device := filepath.Join(env.DevDir, d.name)
		r.Add(device, d.fstype, d.files)
		byDevice[device] = d
		if err := os.WriteFile(filepath.Join(env.SysDir, "class/block", d.name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env.Mount = r.Mount
	m := newMedium(env, types...)
	m.round, m.tell = 10*time.Millisecond, 20*time.Millisecond
	m.status = func(device string) (int, error) {
		d := byDevice[device]
		status := d.statuses[min(asked[device], len(d.statuses)-1)]
		asked[device]++
		if status < 0 {
			return 0, unix.ENOTTY
		}
		return status, nil
	}
	return m
}

func TestMedium(t *testing.T) {
	good := map[string]string{environmentFile: environment(""), customDataFile: "binary"}
	disk := drive{name: "sda", fstype: "udf", files: map[string]string{environmentFile: environment(element("DISK"))}, statuses: []int{-1}}
	for _, row := range []struct {
		name  string
		all   []drive
		types []string
		want  string
		err   string
		log   string
	}{
		{name: "element", all: []drive{disk, {name: "sr0", fstype: "udf", files: map[string]string{environmentFile: environment(element("element"))}, statuses: []int{discOK}}}, want: "element", log: "info config has been read from custom data"},
		{name: "element over file", all: []drive{{name: "sr0", fstype: "udf", files: map[string]string{environmentFile: environment(element("element")), customDataFile: "binary"}, statuses: []int{discOK}}}, want: "element"},
		{name: "file", all: []drive{{name: "sr0", fstype: "udf", files: good, statuses: []int{discOK}}}, want: "binary", log: "info config has been read from custom data"},
		{name: "empty element, file", all: []drive{{name: "sr0", fstype: "udf", files: map[string]string{environmentFile: environment("<ns1:CustomData/>"), customDataFile: "binary"}, statuses: []int{discOK}}}, want: "binary"},
		{name: "bad base64, file", all: []drive{{name: "sr0", fstype: "udf", files: map[string]string{environmentFile: environment("<ns1:CustomData>***SECRET</ns1:CustomData>"), customDataFile: "binary"}, statuses: []int{discOK}}}, want: "binary",
			log: "info ovf-env.xml: its element CustomData is no base64; reading CustomData.bin instead"},
		{name: "no XML, file", all: []drive{{name: "sr0", fstype: "udf", files: map[string]string{environmentFile: "SECRET <", customDataFile: "binary"}, statuses: []int{discOK}}}, want: "binary", log: "it is no XML that can be read"},
		{name: "entity bomb, file", all: []drive{{name: "sr0", fstype: "udf", files: map[string]string{
			environmentFile: `<!DOCTYPE x [<!ENTITY a "SECRETSECRET"><!ENTITY b "&a;&a;&a;&a;">]><x><CustomData>&b;&b;</CustomData></x>`, customDataFile: "binary"}, statuses: []int{discOK}}}, want: "binary", log: "a document type is not accepted"},
		{name: "no custom data", all: []drive{{name: "sr0", fstype: "udf", files: map[string]string{environmentFile: environment("")}, statuses: []int{discOK}}}},
		{name: "not ready at first", all: []drive{{name: "sr0", fstype: "udf", files: good, statuses: []int{3, 2, 1, discOK}}}, want: "binary"},
		{name: "another disc first", all: []drive{{name: "sr0", fstype: "udf", files: map[string]string{"x": ""}, statuses: []int{discOK}}, {name: "sr1", fstype: "udf", files: good, statuses: []int{discOK}}}, want: "binary"},
		{name: "disk that is no CD-ROM drive", all: []drive{disk}, err: "did not appear"},
		{name: "disc of another filesystem", all: []drive{{name: "sr0", fstype: "iso9660", files: good, statuses: []int{discOK}}}, err: "no udf filesystem"},
		{name: "second type", types: []string{"udf", "iso9660"}, all: []drive{{name: "sr0", fstype: "iso9660", files: good, statuses: []int{discOK}}}, want: "binary"},
		{name: "directory instead of the file", all: []drive{{name: "sr0", fstype: "udf", files: map[string]string{environmentFile: environment(""), customDataFile + "/": ""}, statuses: []int{discOK}}}, err: "not a regular file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			log := &logs.Lines{}
			env := &providers.Env{Log: log}
			r := drives.New(t)
			types := row.types
			if types == nil {
				types = []string{"udf"}
			}
			m := newMediumOf(t, env, r, row.all, types...)
			m.limit = 300 * time.Millisecond
			if row.err == "" {
				m.limit = time.Minute
			}
			raw, err := m.customData(t.Context())
			switch {
			case row.err != "":
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error %v, want %q", err, row.err)
				}
			case err != nil || string(raw) != row.want:
				t.Errorf("got %q, %v; want %q", raw, err, row.want)
			}
			for _, d := range r.Mounts() {
				if strings.HasSuffix(d, "/sda") {
					t.Error("a user's disk was mounted")
				}
			}
			text := fmt.Sprint(log, err)
			if !strings.Contains(text, row.log) {
				t.Errorf("the log lacks %q:\n%s", row.log, text)
			}
			if strings.Contains(text, "SECRET") {
				t.Errorf("a secret in the log or the error:\n%s", text)
			}
		})
	}
}

func TestFetch(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString([]byte("user data"))
	disc := []drive{{name: "sr0", fstype: "udf", files: map[string]string{environmentFile: environment(element("custom data"))}, statuses: []int{discOK}}}
	for _, row := range []struct {
		name    string
		replies []cloud.Reply
		all     []drive
		want    string
		err     string
		log     string
	}{
		{name: "user data", replies: []cloud.Reply{{Status: 200, Body: encoded}}, all: disc, want: "user data", log: "info config has been read from IMDS userdata"},
		{name: "none: the disc", replies: []cloud.Reply{{Status: 200}}, all: disc, want: "custom data", log: "debug failed to retrieve userdata from IMDS, falling back to custom data: "},
		{name: "bad base64", replies: []cloud.Reply{{Status: 200, Body: "***SECRET"}}, all: disc, err: "decoding userdata: "},
		{name: "refused", replies: []cloud.Reply{{Status: 403}}, all: disc, err: "fetching to buffer: failed to fetch resource"},
		{name: "404 for ever, disc", replies: []cloud.Reply{{Status: 404}}, all: disc, want: "custom data"},
		{name: "410 for ever, disc", replies: []cloud.Reply{{Status: 410}}, all: disc, want: "custom data"},
		{name: "404 for ever, no disc", replies: []cloud.Reply{{Status: 404}}, err: "fetching to buffer: unable to fetch resource in time"},
		{name: "429 for ever, disc", replies: []cloud.Reply{{Status: 429}}, all: disc, err: "fetching to buffer: unable to fetch resource in time"},
		{name: "500 for ever, disc", replies: []cloud.Reply{{Status: 500}}, all: disc, err: "fetching to buffer: unable to fetch resource in time"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := cloud.New(t, map[string][]cloud.Reply{request: row.replies})
			log := &logs.Lines{}
			env := &providers.Env{Log: log, Fetcher: resource.New(resource.Options{Dial: c.Dial}).WithTimeouts(time.Second, time.Second)}
			r := drives.New(t)
			m := newMediumOf(t, env, r, row.all, "udf")
			m.limit = time.Minute
			res, err := fetch(t.Context(), m)
			switch {
			case row.err != "":
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error %v, want %q", err, row.err)
				}
			case err != nil || string(res.Raw) != row.want:
				t.Errorf("got %q, %v; want %q", res.Raw, err, row.want)
			}
			text := fmt.Sprint(log, err)
			if !strings.Contains(text, row.log) || strings.Contains(text, "SECRET") {
				t.Errorf("the log lacks %q, or holds a secret:\n%s", row.log, text)
			}
			if c.Requests()[0].Header.Get("Metadata") != "true" {
				t.Errorf("headers %v", c.Requests()[0].Header)
			}
		})
	}
}

// TestStack: no request is made, and both types of filesystem are tried.
func TestStack(t *testing.T) {
	env := &providers.Env{Log: &logs.Lines{}, SysDir: t.TempDir(), DevDir: t.TempDir(), FetchTimeout: time.Minute}
	if _, err := FetchStack(t.Context(), env); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want one about the missing list of devices", err)
	}
}

// TestDriveStatus: a file that is no drive says so.
func TestDriveStatus(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := driveStatus(name); !errors.Is(err, unix.ENOTTY) {
		t.Errorf("error %v", err)
	}
	if _, err := driveStatus(name + "x"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("error %v", err)
	}
}
