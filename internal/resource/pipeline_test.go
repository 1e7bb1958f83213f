// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sink keeps what it gets, and can be full.
type sink struct {
	bytes.Buffer
	resets int
	room   int // 0 = unlimited
}

var errFull = errors.New("no space left on device")

func (s *sink) Write(b []byte) (int, error) {
	if s.room > 0 && s.Len()+len(b) > s.room {
		return 0, errFull
	}
	return s.Buffer.Write(b)
}

func (s *sink) Reset() error {
	s.resets++
	s.Buffer.Reset()
	return nil
}

func sha512Of(s string) string { return fmt.Sprintf("sha512-%x", sha512.Sum512([]byte(s))) }
func sha256Of(s string) string { return fmt.Sprintf("sha256-%x", sha256.Sum256([]byte(s))) }

func zipped(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := io.WriteString(z, s); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func dataURL(s string) string { return "data:;base64," + base64.StdEncoding.EncodeToString([]byte(s)) }

// bodyEverywhere gives one request per local scheme and http that has this content.
func bodyEverywhere(t *testing.T, f *Fetcher, content string) map[string]Request {
	t.Helper()
	s := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, content) })
	if err := os.WriteFile(filepath.Join(f.shared.opts.OEMDir, "file"), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]Request{"http": {URL: s.URL}, "data": {URL: dataURL(content)}, "oem": {URL: "oem:///file"}}
}

func TestGzip(t *testing.T) {
	long := random(1 << 20)
	one, two := zipped(t, long), zipped(t, "more")
	tests := []struct {
		name, wire, want, wantErr string
	}{
		{"one member", one, long, ""},
		{"two members", one + two, long + "more", ""},
		{"empty member", zipped(t, ""), "", ""},
		{"no bytes", "", "", "unexpected EOF"},
		{"truncated", one[:len(one)/2], "", "unexpected EOF"},
		{"trailer truncated", one[:len(one)-1], "", "unexpected EOF"},
		{"damaged", one[:len(one)-6] + "XX" + one[len(one)-4:], "", "gzip: invalid checksum"},
		{"short garbage behind", one + "x", "", "unexpected EOF"},
		{"long garbage behind", one + strings.Repeat("x", 100), "", "gzip: invalid header"},
		{"not gzip", "just some text here", "", "gzip: invalid header"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, slept := testFetcher(t)
			for scheme, r := range bodyEverywhere(t, f, tt.wire) {
				r.Compression = "gzip"
				got, info, err := f.Bytes(t.Context(), &lines{}, r)
				if tt.wantErr == "" {
					wantBody(t, got, err, tt.want)
					if info.Bytes != int64(len(tt.want)) {
						t.Errorf("%s: %d bytes", scheme, info.Bytes)
					}
				} else if err == nil || !strings.HasSuffix(err.Error(), tt.wantErr) {
					t.Errorf("%s: error %v, want %s", scheme, err, tt.wantErr)
				}
			}
			if len(slept.d) != 0 {
				t.Error("a format error was retried")
			}
		})
	}
	f, _ := testFetcher(t)
	if _, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "data:,x", Compression: "xz"}); errText(err) != "invalid compression method" {
		t.Errorf("xz: %v", err)
	}
}

// TestGzipResumed cuts a compressed body at several places: neither the
// decompressor nor the hash may notice, whether it is resumed or begun anew.
func TestGzipResumed(t *testing.T) {
	want := random(300_000)
	wire := zipped(t, want[:150_000]) + zipped(t, want[150_000:])
	for _, etag := range []string{"", `"v"`} {
		t.Run("etag "+etag, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
				w.Header().Set("ETag", etag)
				if etag == "" {
					w.Header().Del("ETag")
				}
				if n > 3 {
					http.ServeContent(w, r, "", time.Time{}, strings.NewReader(wire))
					return
				}
				from := 0
				if r.Header.Get("Range") != "" {
					fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(wire)-1, len(wire)))
				}
				w.Header().Set("Content-Length", fmt.Sprint(len(wire)-from))
				if from > 0 {
					w.WriteHeader(206)
				}
				io.WriteString(w, wire[from:from+n*10_007])
				cut(w)
			})
			f, _ := testFetcher(t)
			dst := &sink{}
			_, err := f.To(t.Context(), &lines{}, Request{URL: s.URL, Compression: "gzip", Hash: sha512Of(want)}, dst)
			wantBody(t, dst.Bytes(), err, want)
			if wantResets := map[string]int{"": 3, `"v"`: 0}[etag]; dst.resets != wantResets {
				t.Errorf("%d resets, want %d", dst.resets, wantResets)
			}
		})
	}
}

func TestVerification(t *testing.T) {
	content := random(100_000)
	f, slept := testFetcher(t)
	plain := bodyEverywhere(t, f, content)
	g, _ := testFetcher(t)
	packed := bodyEverywhere(t, g, zipped(t, content))
	bad := strings.Repeat("0", 128)
	tests := []struct {
		name, hash string
		gzip       bool
		wantErr    string
		is         error
	}{
		{"sha512", sha512Of(content), false, "", nil},
		{"sha256", sha256Of(content), false, "", nil},
		{"sha512 upper case", "sha512-" + strings.ToUpper(sha512Of(content)[7:]), false, "", nil},
		{"over decompressed bytes", sha512Of(content), true, "", nil},
		{"mismatch", "sha512-" + bad, false,
			"hash verification failed (calculated " + sha512Of(content)[7:] + " but expected " + bad + ")", ErrVerify},
		{"sha256 mismatch", "sha256-" + bad[:64], true,
			"hash verification failed (calculated " + sha256Of(content)[7:] + " but expected " + bad[:64] + ")", ErrVerify},
		{"no hexadecimal", "sha512-" + strings.Repeat("x", 128), false, `Error parsing verification string "sha512-` + strings.Repeat("x", 128) + `": hash sum is not hexadecimal`, nil},
		{"too short", "sha512-00", false, `Error parsing verification string "sha512-00": incorrect size for hash sum`, nil},
		{"unknown function", "md5-00", false, `Error parsing verification string "md5-00": unrecognized hash function`, nil},
		{"no function", "00", false, `Error parsing verification string "00": malformed hash specifier`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, requests := f, plain
			if tt.gzip {
				f, requests = g, packed
			}
			for scheme, r := range requests {
				r.Hash = tt.hash
				if tt.gzip {
					r.Compression = "gzip"
				}
				l := &lines{}
				got, _, err := f.Bytes(t.Context(), l, r)
				if tt.wantErr != "" {
					if errText(err) != tt.wantErr || tt.is != nil && !errors.Is(err, tt.is) {
						t.Errorf("%s: error %v, want %s", scheme, err, tt.wantErr)
					}
					continue
				}
				wantBody(t, got, err, content)
				if l.count("debug file matches expected sum of: "+strings.ToLower(tt.hash[7:])) != 1 {
					t.Errorf("%s: log:\n%s", scheme, l.all())
				}
			}
		})
	}
	if len(slept.d) != 0 {
		t.Error("a mismatch was retried")
	}
}

func TestFullSink(t *testing.T) {
	content := random(2 << 20)
	for _, compression := range []string{"", "gzip"} {
		t.Run("compression "+compression, func(t *testing.T) {
			f, slept := testFetcher(t)
			wire := content
			if compression != "" {
				wire = zipped(t, content)
			}
			for scheme, r := range bodyEverywhere(t, f, wire) {
				r.Compression, r.Hash = compression, sha512Of(content)
				l := &lines{}
				if _, err := f.To(t.Context(), l, r, &sink{room: 1 << 20}); !errors.Is(err, errFull) {
					t.Errorf("%s: error %v", scheme, err)
				}
				if l.count("err ") != 0 || len(slept.d) != 0 {
					t.Errorf("%s: %d pauses, log:\n%s", scheme, len(slept.d), l.all())
				}
			}
		})
	}
}

func TestOEM(t *testing.T) {
	f, _ := testFetcher(t)
	f = f.Offline()
	dir := f.shared.opts.OEMDir
	outside := t.TempDir()
	for name, content := range map[string]string{"config.ign": "top", "sub/a b": "inner"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(outside, "target"), []byte("linked"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "target"), filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		url, want string
		wantErr   error
		log       string
	}{
		{"oem:///config.ign", "top", nil, ""},
		{"OEM:///config.ign", "top", nil, ""},
		{"oem://host/config.ign", "top", nil, ""},
		{"oem:/config.ign", "top", nil, ""},
		{"oem:///sub//./a%20b", "inner", nil, ""},
		{"oem:///sub/../config.ign?x=y", "top", nil, ""},
		{"oem:///../../../config.ign", "top", nil, ""},
		{"oem:///link", "linked", nil, ""},
		{"oem:///missing", "", ErrFailed, "err failed to read oem config: open " + dir + "/missing: no such file or directory"},
		{"oem:///sub", "", ErrFailed, "err failed to read oem config: read " + dir + "/sub: not a regular file"},
		{"oem:///pipe", "", ErrFailed, "err failed to read oem config: read " + dir + "/pipe: not a regular file"},
		{"oem:config.ign", "", ErrPath, `err oem path is not absolute: "config.ign"`},
		{"oem:///", "", ErrPath, `err oem path is not absolute: ""`},
		{"oem://host", "", ErrPath, `err oem path is not absolute: ""`},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			l := &lines{}
			got, _, err := f.Bytes(t.Context(), l, Request{URL: tt.url})
			if tt.wantErr != nil {
				if errText(err) != tt.wantErr.Error() {
					t.Errorf("error %v, want %v", err, tt.wantErr)
				}
				wantLog(t, l, tt.log)
				return
			}
			wantBody(t, got, err, tt.want)
			wantLog(t, l)
		})
	}
}

func TestData(t *testing.T) {
	f, _ := testFetcher(t)
	f = f.Offline()
	tests := []struct{ name, url, want, wantErr string }{
		{"plain", "data:,hello", "hello", ""},
		{"percent", "data:,a%20b%0A", "a b\n", ""},
		{"plus is a plus", "data:,a+b", "a+b", ""},
		{"media type", "data:text/plain;charset=utf-8,x", "x", ""},
		{"base64", "data:;base64,aGVsbG8=", "hello", ""},
		{"base64 with line end", "data:;base64,aGVs\nbG8=", "hello", ""},
		{"empty", "data:,", "", ""},
		{"no comma", "data:hello", "", "missing"},
		{"upper-case BASE64", "data:;BASE64,aGVsbG8=", "", "expected base64"},
		{"bad media type", "data:nonsense/plain,x", "", "invalid media type"},
		{"trailing number sign", "data:,x#", "", "invalid data character"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: tt.url})
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("error %v, want %q", err, tt.wantErr)
				}
				return
			}
			wantBody(t, got, err, tt.want)
		})
	}
	packed := dataURL(zipped(t, "text"))
	got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: packed, Compression: "gzip", Hash: sha256Of("text")})
	wantBody(t, got, err, "text")
}

// discard is a sink that counts.
type discard struct{ n int64 }

func (d *discard) Write(b []byte) (int, error) { d.n += int64(len(b)); return len(b), nil }
func (d *discard) Reset() error                { d.n = 0; return nil }

// endless serves n bytes without holding them.
func endless(w http.ResponseWriter, n int64) {
	w.Header().Set("Content-Length", fmt.Sprint(n))
	block := []byte(random(256 << 10))
	for ; n > 0; n -= int64(len(block)) {
		if _, err := w.Write(block[:min(n, int64(len(block)))]); err != nil {
			return
		}
	}
}

// TestBoundedMemory downloads far more than it may hold.
func TestBoundedMemory(t *testing.T) {
	const total = 128 << 20
	s := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) { endless(w, total) })
	f, _ := testFetcher(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d := &discard{}
	_, err := f.To(t.Context(), &lines{}, Request{URL: s.URL, Hash: "sha512-" + strings.Repeat("0", 128)}, d)
	runtime.ReadMemStats(&after)
	if !errors.Is(err, ErrVerify) || d.n != total {
		t.Fatalf("%d bytes, %v", d.n, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 16<<20 {
		t.Errorf("allocated %d MiB for a download of 128 MiB", got>>20)
	}
}

func BenchmarkDownload(b *testing.B) {
	const total = 64 << 20
	s := newServer(b, func(w http.ResponseWriter, _ *http.Request) { endless(w, total) })
	f := New(Options{})
	file, err := os.Create(filepath.Join(b.TempDir(), "f"))
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	sum := sha512.New()
	block := []byte(random(256 << 10))
	for range total / len(block) {
		sum.Write(block)
	}
	hash := fmt.Sprintf("sha512-%x", sum.Sum(nil))
	b.SetBytes(total)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := file.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		if _, err := f.To(b.Context(), &lines{}, Request{URL: s, Hash: hash}, fileSink{file}); err != nil {
			b.Fatal(err)
		}
	}
}

type fileSink struct{ *os.File }

func (f fileSink) Reset() error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	return f.Truncate(0)
}
