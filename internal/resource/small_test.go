// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"compress/gzip"
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
	"testing"
	"testing/iotest"
	"time"
)

// inlineURL is what tools make of a short file: compressed, then base64.
func inlineURL(content string) string {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write([]byte(content))
	_ = w.Close()
	return "data:;base64," + base64.StdEncoding.EncodeToString(z.Bytes())
}

// BenchmarkSmall has the short inline files of which a config may hold thousands.
func BenchmarkSmall(b *testing.B) {
	sum := fmt.Sprintf("sha512-%x", sha512.Sum512([]byte("hello world")))
	for _, c := range []struct {
		name string
		r    Request
	}{
		{"plain", Request{URL: "data:,hello%20world"}},
		{"hash", Request{URL: "data:,hello%20world", Hash: sum}},
		{"gzip and hash", Request{URL: inlineURL("hello world"), Compression: "gzip", Hash: sum}},
	} {
		b.Run(c.name, func(b *testing.B) {
			f, d := New(Options{}), &discard{}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := f.To(b.Context(), silent{}, c.r, d); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type silent struct{}

func (silent) Debug(string, ...any)   {}
func (silent) Info(string, ...any)    {}
func (silent) Warning(string, ...any) {}
func (silent) Err(string, ...any)     {}

// TestManySmall fetches as many inline files as a large config holds. They may
// cost neither a goroutine each nor large buffers.
func TestManySmall(t *testing.T) {
	const n = 5000
	content := "hello world"
	r := Request{URL: inlineURL(content), Compression: "gzip", Hash: fmt.Sprintf("sha512-%x", sha512.Sum512([]byte(content)))}
	f, d := New(Options{}), &discard{}
	begun := 0
	watch := watchingSink{d, func() { begun = max(begun, runtime.NumGoroutine()) }}
	had := runtime.NumGoroutine()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range n {
		if _, err := f.To(t.Context(), silent{}, r, watch); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if d.n != n*int64(len(content)) {
		t.Errorf("%d bytes", d.n)
	}
	if begun > had {
		t.Errorf("%d goroutines while fetching, %d before", begun, had)
	}
	// Garbage collection empties the pools, and the race detector does so at random.
	if each := (after.TotalAlloc - before.TotalAlloc) / n; each > 192<<10 {
		t.Errorf("%d bytes allocated for each", each)
	}
}

// watchingSink is told of each write.
type watchingSink struct {
	Sink
	wrote func()
}

func (w watchingSink) Write(b []byte) (int, error) {
	w.wrote()
	return w.Sink.Write(b)
}

// TestAnnouncedLength has a body that is known to be too large before it comes.
func TestAnnouncedLength(t *testing.T) {
	const limit = 1000
	for _, tt := range []struct {
		name    string
		length  int
		chunked bool
		want    error
	}{
		{"fits", limit, false, nil},
		{"too large", limit + 1, false, errTooLarge},
		{"fits, not announced", limit, true, nil},
		{"too large, not announced", limit + 1, true, errTooLarge},
		{"far too large", 1 << 30, false, errTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				if !tt.chunked {
					w.Header().Set("Content-Length", fmt.Sprint(tt.length))
				}
				w.(http.Flusher).Flush()
				_, _ = io.WriteString(w, random(min(tt.length, limit+1)))
			})
			f, slept := testFetcher(t)
			got, _, err := f.Bytes(t.Context(), silent{}, Request{URL: s.URL, Limit: limit})
			if !errors.Is(err, tt.want) || tt.want == nil && len(got) != tt.length {
				t.Errorf("%d bytes, error %v, want %v", len(got), err, tt.want)
			}
			if len(slept.d) != 0 {
				t.Error("tried again")
			}
		})
	}
}

// TestLargePieces pins that a long inline body is not written in the small
// pieces that its decoder gives.
func TestLargePieces(t *testing.T) {
	body := random(3 << 20)
	oem := t.TempDir()
	if err := os.WriteFile(filepath.Join(oem, "f"), []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("sha512-%x", sha512.Sum512([]byte(body)))
	for _, tt := range []struct {
		name string
		r    Request
	}{
		{"base64", Request{URL: "data:;base64," + base64.StdEncoding.EncodeToString([]byte(body)), Hash: sum}},
		{"base64 and gzip", Request{URL: inlineURL(body), Compression: "gzip", Hash: sum}},
		{"oem", Request{URL: "oem:///f", Hash: sum}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			writes, to := 0, &sink{}
			info, err := New(Options{OEMDir: oem}).To(t.Context(), silent{}, tt.r, watchingSink{to, func() { writes++ }})
			wantBody(t, to.Bytes(), err, body)
			if want := len(body)/chunkSize + 1; writes > want {
				t.Errorf("%d writes, want at most %d", writes, want)
			}
			if info.Bytes != int64(len(body)) || fmt.Sprintf("sha512-%x", info.SHA512) != sum {
				t.Errorf("info %+v", info)
			}
		})
	}
}

// TestLocalErrors has what goes wrong with bodies that need no network.
func TestLocalErrors(t *testing.T) {
	whole := inlineURL("hello world")
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(whole, "data:;base64,"))
	if err != nil {
		t.Fatal(err)
	}
	enc := func(b []byte) string { return "data:;base64," + base64.StdEncoding.EncodeToString(b) }
	broken := bytes.Clone(raw)
	broken[len(broken)-6] ^= 1 // in the checksum
	for _, tt := range []struct {
		name, url string
		want      error
	}{
		{"empty", "data:,", io.ErrUnexpectedEOF},
		{"header cut", enc(raw[:5]), io.ErrUnexpectedEOF},
		{"cut", enc(raw[:len(raw)-3]), io.ErrUnexpectedEOF},
		{"garbage behind", enc(append(bytes.Clone(raw), "garbage behind"...)), gzip.ErrHeader},
		{"no gzip", "data:,hello%20world", gzip.ErrHeader},
		{"wrong checksum", enc(broken), gzip.ErrChecksum},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := New(Options{})
			if _, _, err := f.Bytes(t.Context(), silent{}, Request{URL: tt.url, Compression: "gzip"}); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			// What is kept for the next fetch is not spoiled.
			got, _, err := f.Bytes(t.Context(), silent{}, Request{URL: whole, Compression: "gzip"})
			wantBody(t, got, err, "hello world")
		})
	}
	t.Run("members", func(t *testing.T) {
		got, _, err := New(Options{}).Bytes(t.Context(), silent{}, Request{URL: enc(append(bytes.Clone(raw), raw...)), Compression: "gzip"})
		wantBody(t, got, err, "hello worldhello world")
	})
}

// TestReadError has a medium that fails, which is not the fault of the compression.
func TestReadError(t *testing.T) {
	for _, gz := range []bool{false, true} {
		p, err := newPipeline(Request{Compression: map[bool]string{true: "gzip"}[gz]}, &discard{})
		if err != nil {
			t.Fatal(err)
		}
		src := &noting{r: iotest.ErrReader(errFull)}
		if err := p.pull(src); !errors.Is(err, errFull) || src.err != errFull {
			t.Errorf("gzip %v: %v, noted %v", gz, err, src.err)
		}
		p.abort()
	}
}

// slow takes its time for each write, as a bad disk does.
type slow struct{ discard }

func (s *slow) Write(b []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return s.discard.Write(b)
}

// TestNothingLeftBehind counts goroutines after fetches that end in every way.
func TestNothingLeftBehind(t *testing.T) {
	body := random(2 << 20)
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = io.WriteString(w, body)
	_ = w.Close()
	wrong := "sha256-" + strings.Repeat("0", 64)
	s := serve(t, func(w http.ResponseWriter, r *http.Request, n int) {
		switch r.URL.Path {
		case "/gone":
			w.WriteHeader(404)
		case "/cut":
			w.Header().Set("Content-Length", fmt.Sprint(z.Len()))
			_, _ = w.Write(z.Bytes()[:z.Len()/2])
			cut(w)
		default:
			_, _ = w.Write(z.Bytes())
		}
	})
	limit := &memory{limit: 1 << 20}
	for _, tt := range []struct {
		name string
		r    Request
		to   Sink
		want error
	}{
		{"not there", Request{URL: s.URL + "/gone", Compression: "gzip", Hash: wrong}, &discard{}, ErrNotFound},
		{"mismatch", Request{URL: s.URL, Compression: "gzip", Hash: wrong}, &discard{}, ErrVerify},
		{"mismatch, raw, slow sink", Request{URL: s.URL, Hash: wrong}, &slow{}, ErrVerify},
		{"cut for ever", Request{URL: s.URL + "/cut", Compression: "gzip", Hash: wrong}, &discard{}, ErrTimeout},
		{"sink full", Request{URL: s.URL, Compression: "gzip", Hash: wrong}, limit, errTooLarge},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, _ := testFetcher(t)
			f = f.WithTimeouts(0, time.Minute)
			had := runtime.NumGoroutine()
			if tt.want == ErrTimeout {
				f = f.impatient(300 * time.Millisecond)
			}
			if _, err := f.To(t.Context(), silent{}, tt.r, tt.to); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
			closeIdle(f)
			s.CloseClientConnections()
			for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > had; time.Sleep(5 * time.Millisecond) {
				if time.Now().After(end) {
					all := make([]byte, 1<<20)
					t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), had, all[:runtime.Stack(all, true)])
				}
			}
		})
	}
}
