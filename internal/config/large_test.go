// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestLargeDocument reads a config of 50 MB. The memory is what counts: beside the document there is one copy of its
// strings, and the cache form is streamed.
func TestLargeDocument(t *testing.T) {
	if testing.Short() {
		t.Skip("takes a quarter of a gigabyte of memory")
	}
	raw := manyFiles(50, 1<<20)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c, r, err := Parse(raw)
	if err != nil || len(r.Entries) != 0 || len(c.Storage.Files) != 50 {
		t.Fatalf("%d files, %v\n%s", len(c.Storage.Files), err, r)
	}
	w := limitedWriter{room: 2 * len(raw)}
	if err := EncodeCache(&w, c); err != nil || w.total < 50<<20 {
		t.Fatalf("%d bytes, %v", w.total, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > uint64(len(raw))*5/4 {
		t.Errorf("%d MB allocated for a document of %d MB", used>>20, len(raw)>>20)
	}
	raw, err = MarshalCache(c)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := UnmarshalCache(raw); err != nil || !reflect.DeepEqual(again, c) {
		t.Errorf("the cache reads differently: %v", err)
	}
}

// TestLinearTime feeds what makes careless readers quadratic. Each takes milliseconds; the limit is generous.
func TestLinearTime(t *testing.T) {
	const n = 50_000
	many := func(one string) string { return strings.TrimSuffix(strings.Repeat(one+",", n), ",") }
	for _, c := range []struct{ name, rest string }{
		{"escapes", `,"a":"` + strings.Repeat(`\n\"`, n) + `"`},
		{"backslashes", `,"a":"` + strings.Repeat(`\\`, n) + `"`},
		{"unknown keys", `,"a":{` + many(`"b":1`) + `}`},
		{"entries of the report", `,"passwd":{"users":[` + many(`{"name":"u","x":1}`) + `]}`},
		{"empty entries", `,"storage":{"disks":[{"device":"/d","partitions":[` + many(`{}`) + `]}]}`},
		{"links below links", `,"storage":{"links":[{"path":"` + strings.Repeat("/a", n) + `","target":"x"},{"path":"/b","target":"x"}]}`},
		{"letter case", `,"Storage":{"Files":[` + many(`{"Path":"/x"}`) + `]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			_, _, _ = Parse([]byte(doc("3.6.0", c.rest)))
			if d := time.Since(start); d > 20*time.Second {
				t.Errorf("took %s", d)
			} else {
				t.Log(d)
			}
		})
	}
}
