// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/oplog"
)

// journal is a logger over a buffer, with a record file.
func journal(t *testing.T) (l *oplog.Logger, text *bytes.Buffer, record func() []oplog.Record) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ops.jsonl")
	rec, err := oplog.NewRecorder(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { rec.Close() })
	text = &bytes.Buffer{}
	return oplog.New(oplog.StdoutHandler(text), rec), text, func() []oplog.Record {
		rec.Close() // which writes what it holds back
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		records, err := oplog.ReadRecords(f)
		if err != nil {
			t.Fatal(err)
		}
		return records
	}
}

func memorySink() (Sink, error) { return &sink{}, nil }

// TestAheadOrder has downloads of mixed speed. They begin in the order of Add,
// never more at a time than allowed, and their lines come out where they are waited for.
func TestAheadOrder(t *testing.T) {
	const n, limit = 12, 3
	var mu sync.Mutex
	running, most := 0, 0
	requests := map[string]int{}
	arrived0, arrived1 := make(chan struct{}), make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		mu.Lock()
		requests[r.URL.Path]++
		first := requests[r.URL.Path] == 1
		running++
		most = max(most, running)
		mu.Unlock()
		defer func() { mu.Lock(); running--; mu.Unlock() }()
		switch r.URL.Path { // the first two meet, and one of them is then passed by the others
		case "/0":
			meet(t, arrived0, arrived1)
			time.Sleep(50 * time.Millisecond)
		case "/1":
			meet(t, arrived1, arrived0)
		}
		if r.URL.Path == "/5" && first {
			w.WriteHeader(503)
			return
		}
		io.WriteString(w, "body of "+r.URL.Path)
	})
	f, _ := testFetcher(t)
	l, text, record := journal(t)
	a := f.Ahead(t.Context(), l, limit)
	defer a.Close()
	var begun []int
	sinks := make([]*sink, n)
	var downloads []*Download
	for i := range n {
		op := oplog.Op{Kind: oplog.KindFetch, Desc: fmt.Sprintf("GET %d", i), ConfigPath: fmt.Sprintf("$.storage.files.%d", i)}
		downloads = append(downloads, a.Add(Request{URL: fmt.Sprintf("%s/%d", s.URL, i)}, op, func() (Sink, error) {
			mu.Lock()
			defer mu.Unlock()
			begun = append(begun, i)
			sinks[i] = &sink{}
			return sinks[i], nil
		}))
	}
	for i, d := range downloads {
		info, err := d.Wait(l.With(fmt.Sprintf("op(%d)", i)))
		wantBody(t, sinks[i].Bytes(), err, fmt.Sprintf("body of /%d", i))
		if info.Bytes != int64(sinks[i].Len()) {
			t.Errorf("%d: %d bytes", i, info.Bytes)
		}
	}
	var want strings.Builder
	for i := range n {
		fmt.Fprintf(&want, "op(%d): GET %s/%d: attempt #1\n", i, s.URL, i)
		if i == 5 {
			fmt.Fprintf(&want, "op(5): GET result: Service Unavailable\nop(5): GET %s/5: attempt #2\n", s.URL)
		}
		fmt.Fprintf(&want, "op(%d): GET result: OK\n", i)
	}
	if norm := strings.ReplaceAll(text.String(), "INFO     : ", ""); norm != want.String() {
		t.Errorf("log:\n%s\nwant:\n%s", norm, want.String())
	}
	for path, k := range requests {
		if k != 1 && path != "/5" {
			t.Errorf("%s was asked for %d times", path, k)
		}
	}
	if most > 2*limit || most < 2 {
		t.Errorf("%d short ones at a time, limit %d", most, limit)
	}
	// Each worker takes the next one; as many as there are workers may dawdle
	// before they open their sinks, on a busy machine for long.
	for at, i := range begun {
		if i > at+2*limit {
			t.Errorf("begun in the order %v", begun)
			break
		}
	}
	a.Close()
	checkRecords(t, record(), n)
}

// TestAheadLong has downloads that turn out to be long: then no more are begun
// until less than the limit are left.
func TestAheadLong(t *testing.T) {
	const n, limit = 9, 2
	end := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Write(make([]byte, longFrom))
		w.(http.Flusher).Flush()
		<-end
		w.Write(make([]byte, 1000))
	})
	f, _ := testFetcher(t)
	l, _, _ := journal(t)
	a := f.Ahead(t.Context(), l, limit)
	defer a.Close()
	var downloads []*Download
	for range n {
		downloads = append(downloads, a.Add(Request{URL: s.URL}, oplog.Op{}, memorySink))
	}
	reach := func(running, waiting int) {
		t.Helper()
		var r, w int
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			a.mu.Lock()
			r, w = a.running, len(a.queue)
			a.mu.Unlock()
			if r == running && w == waiting {
				return
			}
		}
		t.Fatalf("%d halves run and %d wait, not %d and %d", r, w, running, waiting)
	}
	reach(8, 5) // four begun as short ones, all long
	end <- struct{}{}
	reach(6, 5)
	end <- struct{}{}
	reach(4, 5)
	end <- struct{}{}
	reach(6, 3) // one was left, so two began, and are long by now
	close(end)
	for i, d := range downloads {
		if info, err := d.Wait(l); err != nil || info.Bytes != longFrom+1000 {
			t.Errorf("%d: %+v, %v", i, info, err)
		}
	}
	reach(0, 0)
}

// meet waits until the other one is there too.
func meet(t *testing.T, me, other chan struct{}) {
	close(me)
	select {
	case <-other:
	case <-time.After(10 * time.Second):
		t.Error("downloads do not run side by side")
	}
}

func checkRecords(t *testing.T, records []oplog.Record, n int) {
	t.Helper()
	if len(records) != n {
		t.Fatalf("%d records, want %d", len(records), n)
	}
	for _, r := range records {
		if r.Kind != oplog.KindFetch || r.Outcome != oplog.OK || r.Bytes == 0 || !strings.HasPrefix(r.Config, "$.storage.files.") {
			t.Errorf("record %+v", r)
		}
	}
}

func TestAheadFailure(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.URL.Path == "/missing" {
			w.WriteHeader(404)
			return
		}
		io.WriteString(w, "x")
	})
	f, _ := testFetcher(t)
	l, _, record := journal(t)
	a := f.Ahead(t.Context(), l, 2)
	missing := a.Add(Request{URL: s.URL + "/missing"}, oplog.Op{Kind: oplog.KindFetch}, memorySink)
	noSink := a.Add(Request{URL: s.URL}, oplog.Op{Kind: oplog.KindFetch}, func() (Sink, error) { return nil, errFull })
	fine := a.Add(Request{URL: s.URL}, oplog.Op{Kind: oplog.KindFetch}, memorySink)
	if _, err := fine.Wait(l); err != nil {
		t.Error(err)
	}
	if _, err := noSink.Wait(l); !errors.Is(err, errFull) {
		t.Error(err)
	}
	for range 2 { // waiting again gives the same
		if _, err := missing.Wait(l); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	}
	a.Close()
	failed := 0
	for _, r := range record() {
		if r.Outcome == oplog.Failed {
			failed++
		}
	}
	if failed != 2 {
		t.Errorf("%d failures recorded, want 2", failed)
	}
}

func TestAheadClose(t *testing.T) {
	arrived := make(chan struct{}, 10)
	s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		io.WriteString(w, "some")
		w.(http.Flusher).Flush()
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	for _, how := range []string{"close", "context"} {
		t.Run(how, func(t *testing.T) {
			f, _ := testFetcher(t)
			l, _, _ := journal(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			a := f.Ahead(ctx, l, 1) // two short ones
			opened := 0
			var mu sync.Mutex
			var downloads []*Download
			for range 5 {
				downloads = append(downloads, a.Add(Request{URL: s.URL}, oplog.Op{}, func() (Sink, error) {
					mu.Lock()
					defer mu.Unlock()
					opened++
					return &sink{}, nil
				}))
			}
			<-arrived
			<-arrived
			if how == "context" {
				cancel()
			}
			a.Close()
			for i, d := range downloads {
				if _, err := d.Wait(l); !errors.Is(err, context.Canceled) {
					t.Errorf("%d: %v", i, err)
				}
			}
			if opened != 2 {
				t.Errorf("%d sinks were opened, want 2", opened)
			}
		})
	}
}

// TestAheadAfterClose has a caller that adds too late, which must not wait for ever.
func TestAheadAfterClose(t *testing.T) {
	f, _ := testFetcher(t)
	l, text, _ := journal(t)
	a := f.Ahead(t.Context(), l, 0) // at least one at a time
	early := a.Add(Request{URL: "data:,x"}, oplog.Op{}, memorySink)
	if info, err := early.Wait(l); err != nil || info.Bytes != 1 {
		t.Errorf("%+v, %v", info, err)
	}
	a.Close()
	a.Close()
	late := a.Add(Request{URL: "data:,x"}, oplog.Op{}, func() (Sink, error) { t.Error("a sink was opened"); return nil, errFull })
	if _, err := late.Wait(l); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	a.Close()
	if text.Len() != 0 {
		t.Errorf("log:\n%s", text)
	}
}

func TestAheadThousands(t *testing.T) {
	s := serve(t, hello)
	f, _ := testFetcher(t)
	l, _, _ := journal(t)
	a := f.Ahead(t.Context(), l, 8)
	defer a.Close()
	var downloads []*Download
	for range 3000 {
		downloads = append(downloads, a.Add(Request{URL: s.URL}, oplog.Op{}, memorySink))
	}
	for _, d := range downloads {
		if _, err := d.Wait(l); err != nil {
			t.Fatal(err)
		}
	}
}
