// SPDX-License-Identifier: Apache-2.0

package cmdline

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/tests/logs"
)

func args(line string) []providers.Arg {
	var out []providers.Arg
	for _, word := range strings.Fields(line) {
		if key, value, ok := strings.Cut(word, "="); ok {
			out = append(out, providers.Arg{Key: key, Value: value})
		}
	}
	return out
}

func newEnv(line string) (*providers.Env, *logs.Lines) {
	log := &logs.Lines{}
	return &providers.Env{
		Log:         log,
		Fetcher:     resource.New(resource.Options{Version: "1", Stable: "3.6.0"}).WithTimeouts(10*time.Second, 10*time.Second),
		CommandLine: func() ([]providers.Arg, error) { return args(line), nil },
	}, log
}

func TestURL(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a", "/b":
			fmt.Fprint(w, r.URL.Path)
		case "/empty":
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	const quiet = "debug parsed url from cmdline: \"\"\ninfo no config URL provided"
	for _, row := range []struct {
		name, line string
		offline    bool
		want       string
		is         error
		err        string
		log        string // whole, "" = not looked at
	}{
		{name: "nothing", line: "quiet root=/dev/sda", is: providers.ErrNoProvider, log: quiet},
		{name: "ignition", line: "ignition.config.url=URL/a", want: "/a"},
		{name: "flatcar", line: "flatcar.config.url=URL/a", want: "/a"},
		{name: "coreos", line: "coreos.config.url=URL/a", want: "/a"},
		{name: "last one wins", line: "ignition.config.url=URL/a ignition.config.url=URL/b", want: "/b"},
		{name: "last of three names wins", line: "ignition.config.url=URL/x flatcar.config.url=URL/x coreos.config.url=URL/b", want: "/b"},
		{name: "ignition last of three", line: "coreos.config.url=URL/x flatcar.config.url=URL/x ignition.config.url=URL/a", want: "/a"},
		{name: "empty value", line: "ignition.config.url=", is: providers.ErrNoProvider, log: "info url flag found but no value provided\n" + quiet},
		{name: "empty value does not undo", line: "ignition.config.url=URL/a flatcar.config.url=", want: "/a"},
		{name: "another name's prefix", line: "ignition.config.urls=URL/a", is: providers.ErrNoProvider},
		{name: "empty answer", line: "ignition.config.url=URL/empty"},
		{name: "not found", line: "ignition.config.url=URL/none", is: resource.ErrNotFound},
		{name: "data", line: "ignition.config.url=data:,hello", want: "hello"},
		{name: "data offline", line: "ignition.config.url=data:,hello", offline: true, want: "hello"},
		{name: "remote offline", line: "ignition.config.url=URL/a", offline: true, is: resource.ErrNeedNet},
		{name: "no scheme", line: "ignition.config.url=example.com/c.ign", is: resource.ErrScheme},
		{name: "no scheme but a port", line: "ignition.config.url=example.com:80/c.ign", is: resource.ErrScheme},
		{name: "unknown scheme", line: "ignition.config.url=gopher://example.com/c.ign", is: resource.ErrScheme},
		{name: "unknown scheme offline", line: "ignition.config.url=gopher://example.com/c.ign", offline: true, is: resource.ErrScheme},
		{name: "bad escape", line: "ignition.config.url=https://example.com/%zz", err: "unable to parse url: invalid URL escape",
			log: "debug parsed url from cmdline: \"https://example.com/%zz\"\nerror failed to parse url: invalid URL escape"},
		{name: "bad one last", line: "ignition.config.url=URL/a ignition.config.url=https://exa{mple:x", err: "unable to parse url"},
		{name: "url before device", line: "ignition.config.url=URL/a ignition.config.device=d ignition.config.path=p", want: "/a",
			log: "debug parsed url from cmdline: \"URL/a\"\nwarning \"ignition.config.url\" takes precedence; ignoring \"ignition.config.device\" and \"ignition.config.path\"\ninfo GET URL/a: attempt #1\ninfo GET result: OK"},
		{name: "url before a lone path", line: "ignition.config.url=URL/a ignition.config.path=p", want: "/a"},
	} {
		t.Run(row.name, func(t *testing.T) {
			env, log := newEnv(strings.ReplaceAll(row.line, "URL", server.URL))
			if row.offline {
				env.Fetcher = env.Fetcher.Offline()
			}
			res, err := Fetch(t.Context(), env)
			switch {
			case row.is != nil:
				if !errors.Is(err, row.is) {
					t.Errorf("error %v, want %v", err, row.is)
				}
			case row.err != "":
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error %v, want %q", err, row.err)
				}
			case err != nil || string(res.Raw) != row.want:
				t.Errorf("got %q, %v; want %q", res.Raw, err, row.want)
			}
			if got := strings.ReplaceAll(log.String(), server.URL, "URL"); row.log != "" && got != row.log {
				t.Errorf("log:\n%s\nwant:\n%s", got, row.log)
			}
		})
	}
}

func TestUnreadable(t *testing.T) {
	env, _ := newEnv("")
	broken := errors.New("input/output error")
	env.CommandLine = func() ([]providers.Arg, error) { return nil, broken }
	if _, err := Fetch(t.Context(), env); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

// TestSecrets checks that no credential of a URL reaches a log or an error.
func TestSecrets(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for _, row := range []struct{ name, url string }{
		{"password", "http://user:SECRET@" + host + "/c"},
		{"query", "http://" + host + "/c?sig=SECRET&X-Amz-Signature=SECRET&token=SECRET"},
		{"data", "data:,SECRET%zz"},
		{"password where none is looked for", "http://user:SECRET/x@" + host + "/c"},
		{"password with a blank escape", "http://user:SECRET%zz@" + host + "/c"},
		{"no scheme", "user:SECRET@" + host + "/c"},
		{"unknown scheme", "gopher://user:SECRET@" + host + "/c"},
	} {
		t.Run(row.name, func(t *testing.T) {
			env, log := newEnv("ignition.config.url=" + row.url)
			_, err := Fetch(t.Context(), env)
			if err == nil {
				t.Fatal("no error")
			}
			if text := fmt.Sprint(log, "\n", err); strings.Contains(text, "SECRET") {
				t.Errorf("a secret in the log or the error:\n%s", text)
			}
		})
	}
}

// medium is a mounted filesystem with its surroundings.
func medium(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	dir := filepath.Join(base, "medium")
	for name, text := range map[string]string{"medium/c.ign": "top", "medium/a/b/c.ign": "deep", "medium/zero": "", "outside": "outside"} {
		path := filepath.Join(base, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{"inside": "a/b/c.ign", "absolute": "/a/b/c.ign", "up": "../../c.ign", "out": "../outside", "far": filepath.Join(base, "outside"), "loop": "loop"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDevice(t *testing.T) {
	dir := medium(t)
	labels := t.TempDir()
	for _, name := range []string{"CONFIG", `with\x20blank`} {
		if err := os.WriteFile(filepath.Join(labels, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const both = `both "ignition.config.device" and "ignition.config.path" must be provided together`
	for _, row := range []struct {
		name, device, path string
		want, err          string
		mounts             int
	}{
		{name: "file", device: "CONFIG", path: "c.ign", want: "top", mounts: 1},
		{name: "absolute path", device: "CONFIG", path: "/a/b/c.ign", want: "deep", mounts: 1},
		{name: "dots and slashes", device: "CONFIG", path: "a//./b/../b/c.ign", want: "deep", mounts: 1},
		{name: "dots beyond the root", device: "CONFIG", path: "../../../c.ign", want: "top", mounts: 1},
		{name: "dots to a file outside", device: "CONFIG", path: "../outside", err: `config file "../outside" not found on device "CONFIG"`, mounts: 1},
		{name: "label as udev writes it", device: `with\x20blank`, path: "c.ign", want: "top", mounts: 1},
		{name: "zero bytes", device: "CONFIG", path: "zero", mounts: 1},
		{name: "link", device: "CONFIG", path: "inside", want: "deep", mounts: 1},
		{name: "absolute link", device: "CONFIG", path: "absolute", want: "deep", mounts: 1},
		{name: "link that climbs stays inside", device: "CONFIG", path: "up", want: "top", mounts: 1},
		{name: "link that leads out", device: "CONFIG", path: "out", err: "not found on device", mounts: 1},
		{name: "absolute link that leads out", device: "CONFIG", path: "far", err: "not found on device", mounts: 1},
		{name: "loop of links", device: "CONFIG", path: "loop", err: "too many levels of symbolic links", mounts: 1},
		{name: "missing", device: "CONFIG", path: "/none.ign", err: `config file "/none.ign" not found on device "CONFIG"`, mounts: 1},
		{name: "directory", device: "CONFIG", path: "/a", err: "not a regular file", mounts: 1},
		{name: "path alone", path: "/c.ign", err: both},
		{name: "device alone", device: "CONFIG", err: both},
		{name: "label of two components", device: "a/b", path: "c.ign", err: `invalid device label "a/b"`},
		{name: "dot", device: ".", path: "c.ign", err: `invalid device label "."`},
		{name: "two dots", device: "..", path: "c.ign", err: `invalid device label ".."`},
		{name: "slash", device: "/CONFIG", path: "c.ign", err: `invalid device label "/CONFIG"`},
		{name: "no such device", device: "NONE", path: "c.ign", err: `device "NONE" did not appear within timeout`},
	} {
		t.Run(row.name, func(t *testing.T) {
			env, log := newEnv("ignition.config.device=" + row.device + " ignition.config.path=" + row.path)
			env.Fetcher = env.Fetcher.Offline() // a device needs no network
			env.LabelDir = labels
			mounts, unmounts := 0, 0
			env.Mount = func(ctx context.Context, desc, device, _ string) (string, func(), error) {
				mounts++
				if _, limited := ctx.Deadline(); !limited || desc != "mounting disk" || device != filepath.Join(labels, row.device) {
					t.Errorf("mount %q of %q, with a deadline: %v", desc, device, limited)
				}
				return dir, func() { unmounts++ }, nil
			}
			res, err := fetch(t.Context(), env, patience{timeout: 30 * time.Millisecond, interval: 10 * time.Millisecond})
			if row.err != "" {
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error %v, want %q", err, row.err)
				}
			} else if err != nil || string(res.Raw) != row.want {
				t.Errorf("got %q, %v; want %q", res.Raw, err, row.want)
			}
			if mounts != row.mounts || unmounts != mounts {
				t.Errorf("%d mounts, %d unmounts, want %d of both", mounts, unmounts, row.mounts)
			}
			if strings.HasPrefix(row.name, "no such") && !strings.Contains(log.String(), fmt.Sprintf("debug disk (%q) not found. Waiting...", filepath.Join(labels, "NONE"))) {
				t.Errorf("log:\n%s", log)
			}
		})
	}
}

func TestDeviceEmptyValues(t *testing.T) {
	env, log := newEnv("ignition.config.device= ignition.config.path=")
	if _, err := Fetch(t.Context(), env); !errors.Is(err, providers.ErrNoProvider) {
		t.Errorf("error %v", err)
	}
	want := "info device label flag found but no value provided\ninfo user data path flag found but no value provided\ndebug parsed url from cmdline: \"\"\ninfo no config URL provided"
	if log.String() != want {
		t.Errorf("log:\n%s\nwant:\n%s", log, want)
	}
}

func TestDeviceLate(t *testing.T) {
	env, log := newEnv("ignition.config.device=LATE ignition.config.path=c.ign")
	env.LabelDir = t.TempDir()
	dir := medium(t)
	env.Mount = func(context.Context, string, string, string) (string, func(), error) { return dir, func() {}, nil }
	var made atomic.Bool
	timer := time.AfterFunc(300*time.Millisecond, func() { // time enough for a busy machine to look once before
		made.Store(os.WriteFile(filepath.Join(env.LabelDir, "LATE"), nil, 0o600) == nil)
	})
	defer timer.Stop()
	res, err := fetch(t.Context(), env, patience{timeout: 10 * time.Second, interval: 5 * time.Millisecond})
	if err != nil || string(res.Raw) != "top" || !made.Load() {
		t.Errorf("got %q, %v; the device was made: %v", res.Raw, err, made.Load())
	}
	if !strings.Contains(log.String(), "not found. Waiting...") {
		t.Errorf("log:\n%s", log)
	}
}

func TestDeviceMountFails(t *testing.T) {
	env, _ := newEnv("ignition.config.device=D ignition.config.path=c.ign")
	env.LabelDir = t.TempDir()
	if err := os.WriteFile(filepath.Join(env.LabelDir, "D"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("wrong fs type")
	env.Mount = func(context.Context, string, string, string) (string, func(), error) { return "", nil, broken }
	if _, err := Fetch(t.Context(), env); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

// TestDeviceCancelled checks that the end of the program is not taken for a device that did not appear.
func TestDeviceCancelled(t *testing.T) {
	env, _ := newEnv("ignition.config.device=D ignition.config.path=c.ign")
	env.LabelDir = t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Fetch(ctx, env); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
}

func TestUsualPatience(t *testing.T) {
	if usual.timeout != 30*time.Second || usual.interval != time.Second {
		t.Errorf("a device is waited for %v, looked for every %v", usual.timeout, usual.interval)
	}
}
