// SPDX-License-Identifier: Apache-2.0

package virtualbox

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/tests/logs"
	"golang.org/x/sys/unix"
)

// service stores properties; fail names those with which nothing can be done.
type service struct {
	stored map[string]string
	fail   map[string]error
	calls  []string
	end    error
	after  func()
}

func (s *service) get(name string) ([]byte, bool, error) {
	if s.after != nil {
		defer s.after()
	}
	s.calls = append(s.calls, "get "+name)
	v, ok := s.stored[name]
	return []byte(v), ok, s.fail[name]
}

func (s *service) delete(name string) error {
	if s.after != nil {
		defer s.after()
	}
	s.calls = append(s.calls, "delete "+name)
	delete(s.stored, name)
	return s.fail[name]
}

func (s *service) close() error { s.calls = append(s.calls, "close"); return s.end }

func (s *service) connect(_ context.Context, device string) (propertyService, error) {
	s.calls = append(s.calls, "open "+device)
	return s, nil
}

const (
	getEncoding = "get /Ignition/Config/Encoding"
	getConfig   = "get /Ignition/Config"
)

func TestFetch(t *testing.T) {
	for _, row := range []struct {
		name   string
		stored map[string]string
		fail   map[string]error
		end    error
		calls  []string
		want   string
		err    string
		log    string
	}{
		{name: "a config", stored: map[string]string{configName: "{}\x00TRANSIENT\x00"}, calls: []string{getEncoding, getConfig}, want: "{}"},
		{name: "without flags", stored: map[string]string{configName: "{}\x00\x00"}, calls: []string{getEncoding, getConfig}, want: "{}"},
		{name: "absent", calls: []string{getEncoding, getConfig}, log: `info VirtualBox guest property "/Ignition/Config" was not found. Continuing without a config...`},
		{name: "empty", stored: map[string]string{configName: "\x00\x00"}, calls: []string{getEncoding, getConfig}},
		{name: "empty encoding", stored: map[string]string{configName: "{}\x00\x00", encodingName: "\x00\x00"}, calls: []string{getEncoding, getConfig}, want: "{}"},
		{name: "encoding set", stored: map[string]string{configName: "{}\x00\x00", encodingName: "gzip\x00\x00"}, calls: []string{getEncoding},
			err: `unsupported "/Ignition/Config/Encoding" value "gzip"`},
		{name: "no NUL", stored: map[string]string{configName: "SECRET"}, calls: []string{getEncoding, getConfig},
			err: `fetching VirtualBox guest property "/Ignition/Config": the value has no end`},
		{name: "zero bytes", stored: map[string]string{configName: ""}, calls: []string{getEncoding, getConfig}, err: "the value has no end"},
		{name: "encoding fails", fail: map[string]error{encodingName: resultError(-22)}, calls: []string{getEncoding},
			err: `fetching VirtualBox guest property "/Ignition/Config/Encoding": error -22`},
		{name: "config fails", fail: map[string]error{configName: unix.EIO}, calls: []string{getEncoding, getConfig},
			err: `fetching VirtualBox guest property "/Ignition/Config": input/output error`},
		{name: "disconnect fails", stored: map[string]string{configName: "{}\x00\x00"}, end: unix.EIO, calls: []string{getEncoding, getConfig}, want: "{}",
			log: "warning disconnecting from the VirtualBox property service: input/output error"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := &service{stored: row.stored, fail: row.fail, end: row.end}
			log := &logs.Lines{}
			res, err := fetch(t.Context(), &providers.Env{Log: log, DevDir: "/devices"}, s.connect)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Errorf("error %v, want %q", err, row.err)
			}
			if string(res.Raw) != row.want {
				t.Errorf("got %q, want %q", res.Raw, row.want)
			}
			if err != nil && strings.Contains(err.Error(), "SECRET") {
				t.Errorf("a secret in %v", err)
			}
			wantCalls(t, s, row.calls)
			if log.String() != row.log {
				t.Errorf("log %q, want %q", log, row.log)
			}
		})
	}
}

func wantCalls(t *testing.T, s *service, want []string) {
	t.Helper()
	all := append(append([]string{"open /devices/vboxguest"}, want...), "close")
	if got := strings.Join(s.calls, "\n"); got != strings.Join(all, "\n") {
		t.Errorf("calls:\n%s\nwant:\n%s", got, strings.Join(all, "\n"))
	}
}

func TestDelete(t *testing.T) {
	const encoding, config = "delete /Ignition/Config/Encoding", "delete /Ignition/Config"
	for _, row := range []struct {
		name  string
		fail  map[string]error
		calls []string
		err   string
	}{
		{name: "encoding first", calls: []string{encoding, config}},
		{name: "read-only", fail: map[string]error{configName: resultError(resultPermissionDenied)}, calls: []string{encoding, config},
			err: `deleting VirtualBox guest property "/Ignition/Config": permission denied; is the property read-only?`},
		{name: "read-only encoding", fail: map[string]error{encodingName: resultError(resultPermissionDenied)}, calls: []string{encoding},
			err: `deleting VirtualBox guest property "/Ignition/Config/Encoding": permission denied; is the property read-only?`},
		{name: "driver fails", fail: map[string]error{configName: unix.EIO}, calls: []string{encoding, config}, err: "input/output error"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := &service{fail: row.fail}
			err := remove(t.Context(), &providers.Env{Log: &logs.Lines{}, DevDir: "/devices"}, s.connect)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.HasSuffix(err.Error(), row.err)) {
				t.Errorf("error %v, want %q", err, row.err)
			}
			wantCalls(t, s, row.calls)
		})
	}
}

func TestNoDevice(t *testing.T) {
	dev := t.TempDir()
	env := &providers.Env{Log: &logs.Lines{}, DevDir: dev}
	want := "open " + filepath.Join(dev, "vboxguest") + ": no such file or directory"
	if _, err := Fetch(t.Context(), env); err == nil || err.Error() != want {
		t.Errorf("fetch: %v", err)
	}
	if err := Delete(t.Context(), env); err == nil || err.Error() != want {
		t.Errorf("delete: %v", err)
	}
	// A device of something else refuses the first request.
	env.DevDir = "/dev"
	_, err := connect(t.Context(), "/dev/null")
	if !errors.Is(err, unix.ENOTTY) || !strings.HasPrefix(err.Error(), "connecting to the VirtualBox property service through /dev/null: ") {
		t.Errorf("not the driver: %v", err)
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &service{stored: map[string]string{}, after: cancel}
	env := &providers.Env{Log: &logs.Lines{}, DevDir: "/devices"}
	if _, err := fetch(ctx, env, s.connect); !errors.Is(err, context.Canceled) {
		t.Errorf("fetch: %v", err)
	}
	wantCalls(t, s, []string{getEncoding})
	s.calls = nil
	if err := remove(ctx, env, s.connect); !errors.Is(err, context.Canceled) {
		t.Errorf("delete: %v", err)
	}
	wantCalls(t, s, nil)
	if _, err := connect(ctx, "/dev/null"); !errors.Is(err, context.Canceled) {
		t.Errorf("connect: %v", err)
	}
}
