// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"slices"
	"testing"
	"time"
)

// TestMeter: downloads are added up, and told of at most some times a second.
func TestMeter(t *testing.T) {
	const mib = 1 << 20
	start := time.Unix(1000, 0)
	body := func(name string, from, length int64) *watchedBody {
		return &watchedBody{start: start, from: from, got: from, fetch: &httpFetch{method: "GET", shown: name, length: length}}
	}
	a, b, c := body("http://h/a", 0, 4*mib), body("http://h/b", 2*mib, 8*mib), body("http://h/c", 0, -1)
	var told []string
	m := meter{tell: func(s string) { told = append(told, s) }}
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

	m.begin(a)
	m.count(a, mib/2, at(100)) // too early
	m.count(a, mib/2, at(1000))
	m.begin(b)
	m.count(b, mib, at(1100)) // too soon after
	m.count(b, mib, at(2000))
	m.begin(c)
	m.count(c, mib, at(2500))
	m.end(c)
	m.end(a)
	m.count(b, 0, at(3000))
	m.end(b)
	m.end(b) // as after a second try that did not begin
	want := []string{
		"GET http://h/a: 1.0 of 4.0 MiB so far, 1.0 MiB/s, 3s to go",
		"2 downloads: 5.0 of 12.0 MiB so far, 1.5 MiB/s, 4s to go",
		"3 downloads: 6.0 MiB so far, 1.6 MiB/s",
		"GET http://h/b: 4.0 of 8.0 MiB so far, 0.7 MiB/s, 6s to go",
		"", "",
	}
	if !slices.Equal(told, want) {
		t.Errorf("got  %q\nwant %q", told, want)
	}

	var nobody meter
	nobody.begin(a)
	nobody.count(a, 1, at(9000))
	nobody.end(a)
	if nobody.open != nil {
		t.Error("downloads are kept although nobody watches")
	}
}
