// SPDX-License-Identifier: Apache-2.0

package providers_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/tests/drives"
	"firstboot.dev/ignition/tests/logs"
)

func newEnv(r *drives.Rack) (*providers.Env, *logs.Lines) {
	log := &logs.Lines{}
	return &providers.Env{Log: log, LabelDir: r.LabelDir, Mount: r.Mount}, log
}

func TestDrive(t *testing.T) {
	drive := providers.Drive{Label: "L", Files: []string{"/a", "/b"}}
	for _, row := range []struct {
		name  string
		files map[string]string
		want  string
		err   string
	}{
		{name: "first file", files: map[string]string{"a": "1", "b": "2"}, want: "1"},
		{name: "second file", files: map[string]string{"b": "2"}, want: "2"},
		{name: "no file"},
		{name: "zero bytes decide", files: map[string]string{"a": "", "b": "2"}},
		{name: "directory named like the file", files: map[string]string{"a/": ""}, err: "config drive (L): read /a: not a regular file"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r := drives.New(t)
			r.Insert("L", row.files)
			env, _ := newEnv(r)
			raw, err := drive.Fetch(t.Context(), env, time.Minute, nil)
			if row.err != "" {
				if err == nil || err.Error() != row.err {
					t.Errorf("error %v, want %q", err, row.err)
				}
			} else if err != nil || string(raw) != row.want {
				t.Errorf("got %q, %v; want %q", raw, err, row.want)
			}
		})
	}
}

// TestLinkOffTheDrive: what a drive says is looked for on the drive alone.
func TestLinkOffTheDrive(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("outside"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, target := range []string{outside, "../../../../../../../../" + outside} {
		name := filepath.Join(dir, "link")
		if err := os.Symlink(target, name); err != nil {
			t.Fatal(err)
		}
		if raw, err := providers.ReadInside(dir, "/link"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: got %q, %v", target, raw, err)
		}
		os.Remove(name)
	}
	if raw, err := providers.ReadInside(dir, "../.."+outside); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %q, %v", raw, err)
	}
}

func TestLateDrive(t *testing.T) {
	r := drives.New(t)
	r.InsertLater(250*time.Millisecond, "L", map[string]string{"a": "late"})
	env, log := newEnv(r)
	raw, err := providers.Drive{Label: "L", Files: []string{"/a"}}.Fetch(t.Context(), env, time.Minute, nil)
	if err != nil || string(raw) != "late" {
		t.Errorf("got %q, %v", raw, err)
	}
	if want := `debug config drive ("` + r.Device("L") + `") not found. Waiting...`; !strings.Contains(log.String(), want) {
		t.Errorf("the log lacks %q:\n%s", want, log)
	}
}

func TestNoDrive(t *testing.T) {
	r := drives.New(t)
	env, log := newEnv(r)
	d := providers.Drive{Label: "L", Files: []string{"/a"}}
	if _, err := d.Fetch(t.Context(), env, 50*time.Millisecond, nil); !errors.Is(err, providers.ErrNoDrive) {
		t.Errorf("error %v", err)
	}
	if res, err := d.FetchOptional(t.Context(), env, 50*time.Millisecond); err != nil || res.Raw != nil {
		t.Errorf("got %q, %v", res.Raw, err)
	}
	for _, want := range []string{"error timed out while fetching config from config drive (L)", "info L drive was not available in time. Continuing without a config..."} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log)
		}
	}
	r.Break("L", errors.New("bad superblock"))
	if _, err := d.FetchOptional(t.Context(), env, time.Minute); err == nil || err.Error() != "bad superblock" {
		t.Errorf("error %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (providers.Drive{Label: "M"}).Fetch(ctx, env, 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestDriveWait(t *testing.T) {
	for fetch, want := range map[time.Duration]time.Duration{0: 0, time.Second: 30 * time.Second, 2 * time.Minute: 2 * time.Minute} {
		if got := (&providers.Env{FetchTimeout: fetch}).DriveWait(); got != want {
			t.Errorf("fetch time-out %v: wait %v, want %v", fetch, got, want)
		}
	}
}

// place is a candidate that ends as told after some time.
type place struct {
	after  time.Duration
	raw    string
	err    error
	drive  bool
	unseen bool // never there: ends with the search
}

func (p place) candidate(name string) providers.Candidate {
	return providers.Candidate{Name: name, MayBeAbsent: p.drive, Fetch: func(ctx context.Context, seen func()) ([]byte, error) {
		if p.unseen {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if p.drive {
			seen()
		}
		select {
		case <-time.After(p.after):
			return []byte(p.raw), p.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}}
}

func TestFirstConfig(t *testing.T) {
	const soon, late, never = 20 * time.Millisecond, 600 * time.Millisecond, time.Minute
	broken := errors.New("broken")
	for _, row := range []struct {
		name           string
		drive, service place
		want           string
		err            error
		log            string
	}{
		{name: "drive", drive: place{drive: true, after: soon, raw: "d"}, service: place{after: never}, want: "d"},
		{name: "service", drive: place{drive: true, unseen: true}, service: place{after: soon, raw: "s"}, want: "s"},
		{name: "empty drive, good service", drive: place{drive: true, after: soon}, service: place{after: late, raw: "s"}, want: "s"},
		{name: "good drive, empty service", drive: place{drive: true, after: late, raw: "d"}, service: place{after: soon}, want: "d"},
		{name: "no drive, empty service", drive: place{drive: true, unseen: true}, service: place{after: soon}},
		{name: "both empty", drive: place{drive: true, after: soon}, service: place{after: soon}},
		{name: "broken drive, good service", drive: place{drive: true, after: soon, err: broken}, service: place{after: late, raw: "s"}, want: "s", log: "error failed to fetch config from drive: broken"},
		{name: "good drive, broken service", drive: place{drive: true, after: late, raw: "d"}, service: place{after: soon, err: broken}, want: "d", log: "error failed to fetch config from service: broken"},
		{name: "broken drive, empty service", drive: place{drive: true, after: soon, err: broken}, service: place{after: late}},
		{name: "both broken", drive: place{drive: true, after: soon, err: broken}, service: place{after: soon, err: broken}, err: broken},
		{name: "drive that never came, broken service", drive: place{drive: true, after: late, err: providers.ErrNoDrive}, service: place{after: soon, err: broken}, err: broken},
		{name: "drives that never came", drive: place{drive: true, after: soon, err: providers.ErrNoDrive}, service: place{drive: true, after: soon, err: providers.ErrNoDrive}, log: "info couldn't fetch config"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			log := &logs.Lines{}
			start := time.Now()
			raw, err := providers.FirstConfig(t.Context(), &providers.Env{Log: log}, []providers.Candidate{
				row.drive.candidate("drive"), row.service.candidate("service"),
			})
			if string(raw) != row.want || !errors.Is(err, row.err) || row.err == nil && err != nil {
				t.Errorf("got %q, %v; want %q, %v", raw, err, row.want, row.err)
			}
			if row.log != "" && !strings.Contains(log.String(), row.log) {
				t.Errorf("the log lacks %q:\n%s", row.log, log)
			}
			if strings.Contains(log.String(), "canceled") {
				t.Errorf("a loser is called failed:\n%s", log)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), soon)
		defer cancel()
		_, err := providers.FirstConfig(ctx, &providers.Env{Log: &logs.Lines{}}, []providers.Candidate{place{after: never}.candidate("s")})
		if err == nil {
			t.Error("no error")
		}
	})
}

// TestLateDriveWins: a drive that udev is just about to show is waited for,
// although the service has said that there is nothing.
func TestLateDriveWins(t *testing.T) {
	r := drives.New(t)
	env, _ := newEnv(r)
	env.FetchTimeout = time.Minute
	env.Run = func(_ context.Context, _, name string, args ...string) ([]byte, []byte, error) {
		if name != "udevadm" || args[0] != "settle" {
			t.Errorf("ran %s %q", name, args)
		}
		time.Sleep(300 * time.Millisecond)
		r.Insert("L", map[string]string{"a": "late"})
		return nil, nil, nil
	}
	raw, err := providers.FirstConfig(t.Context(), env, []providers.Candidate{
		providers.Drive{Label: "L", Files: []string{"/a"}}.Candidate(env),
		{Name: "service", Fetch: func(context.Context, func()) ([]byte, error) { return nil, nil }},
	})
	if err != nil || string(raw) != "late" {
		t.Errorf("got %q, %v", raw, err)
	}
}

func TestUnpack(t *testing.T) {
	zip := func(raw []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(raw)
		_ = z.Close()
		return b.Bytes()
	}
	packed := zip([]byte("hello"))
	for _, row := range []struct {
		name string
		raw  []byte
		want string
		err  string
	}{
		{"plain", []byte("hello"), "hello", ""},
		{"empty", nil, "", ""},
		{"gzip", packed, "hello", ""},
		{"two members", append(zip([]byte("hel")), zip([]byte("lo"))...), "hello", ""},
		{"not quite gzip", []byte("\x1f\x8b"), "\x1f\x8b", ""},
		{"cut", packed[:len(packed)-5], "", "user data is not whole gzip"},
		{"head alone", packed[:4], "", "user data is not whole gzip"},
		{"wrong checksum", append(append([]byte(nil), packed[:len(packed)-8]...), 1, 2, 3, 4, 5, 6, 7, 8), "", "user data is not whole gzip"},
		{"bomb", zip(make([]byte, providers.LargestUserData+1)), "", "user data unpacks to more than 67108864 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			got, err := providers.Unpack(row.raw)
			if row.err != "" {
				if err == nil || !strings.Contains(err.Error(), row.err) {
					t.Errorf("error %v, want %q", err, row.err)
				}
			} else if err != nil || string(got) != row.want {
				t.Errorf("got %q, %v; want %q", got, err, row.want)
			}
		})
	}
}
