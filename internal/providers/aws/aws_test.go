// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/tests/imds"
	"firstboot.dev/ignition/tests/logs"
)

func newEnv(endpoint string) (*providers.Env, *logs.Lines) {
	log := &logs.Lines{}
	return &providers.Env{
		Log:          log,
		Fetcher:      resource.New(resource.Options{Version: "2.18.0", Stable: "3.6.0"}).WithTimeouts(10*time.Second, 10*time.Second),
		IMDSEndpoint: endpoint,
		FetchTimeout: 10 * time.Second,
	}, log
}

const userData = `{"ignition":{"version":"3.3.0"}}`

func TestFetch(t *testing.T) {
	const token, data = "PUT /latest/api/token", "GET /2019-10-01/user-data"
	for _, row := range []struct {
		name  string
		opts  imds.Options
		want  string
		err   string
		is    error
		paths []string
		log   string
	}{
		{name: "token and user data", opts: imds.Options{UserData: []byte(userData)}, want: userData, paths: []string{token, data}},
		{name: "no user data", opts: imds.Options{}, paths: []string{token, data}},
		{name: "zero bytes", opts: imds.Options{UserData: []byte{}}, paths: []string{token, data}},
		{name: "token expired", opts: imds.Options{UserData: []byte(userData), ExpireOnce: true}, want: userData, paths: []string{token, data, token, data}},
		{name: "token service off", opts: imds.Options{UserData: []byte(userData), TokenStatus: 403},
			err: "the instance metadata service refuses requests: it is turned off for this instance", is: resource.ErrFailed, paths: []string{token}},
		{name: "no token service", opts: imds.Options{UserData: []byte(userData), TokenStatus: 404}, want: userData, paths: []string{token, data},
			log: "info IMDSv2 service is unavailable; falling back to IMDSv1"},
		{name: "no token service, no user data", opts: imds.Options{TokenStatus: 404}, paths: []string{token, data}},
		{name: "bad request for a token", opts: imds.Options{UserData: []byte(userData), TokenStatus: 400},
			err: "asking the instance metadata service for a token", is: resource.ErrFailed, paths: []string{token}},
	} {
		t.Run(row.name, func(t *testing.T) {
			service := imds.New(row.opts)
			server := httptest.NewServer(service)
			defer server.Close()
			env, log := newEnv(server.URL + "/") // a slash at the end is no mistake
			got, err := Fetch(t.Context(), env)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Fatalf("error %v, want %q\n%s", err, row.err, log)
			}
			if row.is != nil && !errors.Is(err, row.is) {
				t.Errorf("error %v is not %v", err, row.is)
			}
			if string(got.Raw) != row.want {
				t.Errorf("got %q, want %q", got.Raw, row.want)
			}
			if paths := service.Paths(); !slices.Equal(paths, row.paths) {
				t.Errorf("requests %q, want %q", paths, row.paths)
			}
			if !strings.Contains(log.String(), row.log) {
				t.Errorf("log lacks %q:\n%s", row.log, log)
			}
		})
	}
}

// script answers in a fixed order, whatever is asked, and keeps the requests.
type script struct {
	mu       sync.Mutex
	statuses []int
	bodies   []string
	requests []*http.Request
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := min(len(s.requests), len(s.statuses)-1)
	s.requests = append(s.requests, r)
	w.WriteHeader(s.statuses[i])
	if s.statuses[i] != http.StatusNoContent {
		fmt.Fprint(w, s.bodies[i])
	}
}

func TestFetchStatuses(t *testing.T) {
	for _, row := range []struct {
		name     string
		statuses []int
		bodies   []string
		want     string
		err      string
		hint     bool
		requests int
	}{
		{name: "503 is tried again", statuses: []int{503, 200, 503, 200}, bodies: []string{"", "tok", "", userData}, want: userData, requests: 4},
		{name: "token with white space around", statuses: []int{200, 200}, bodies: []string{" tok\n", userData}, want: userData, requests: 2},
		{name: "empty token", statuses: []int{200}, bodies: []string{"\n"}, err: "the answer is empty", requests: 1},
		{name: "user data forbidden", statuses: []int{200, 403}, bodies: []string{"tok", ""}, err: "turned off for this instance", hint: true, requests: 2},
		{name: "user data a bad request", statuses: []int{200, 400}, bodies: []string{"tok", ""}, err: "failed to fetch resource", requests: 2},
		{name: "user data without content", statuses: []int{200, 204}, bodies: []string{"tok", ""}, requests: 2},
		{name: "expired twice", statuses: []int{200, 401, 200, 401}, bodies: []string{"tok", "", "tok2", ""}, err: "failed to fetch resource", requests: 4},
		{name: "expired, then no new token", statuses: []int{200, 401, 403}, bodies: []string{"tok", "", ""}, err: "turned off", hint: true, requests: 3},
		{name: "expired, then none is needed", statuses: []int{200, 401, 404, 200}, bodies: []string{"tok", "", "", userData}, want: userData, requests: 4},
		{name: "401 without a token is final", statuses: []int{404, 401}, bodies: []string{"", ""}, err: "failed to fetch resource", requests: 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := &script{statuses: row.statuses, bodies: row.bodies}
			server := httptest.NewServer(s)
			defer server.Close()
			env, _ := newEnv(server.URL)
			got, err := Fetch(t.Context(), env)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Fatalf("error %v, want %q", err, row.err)
			}
			if string(got.Raw) != row.want || len(s.requests) != row.requests {
				t.Errorf("got %q after %d requests, want %q after %d", got.Raw, len(s.requests), row.want, row.requests)
			}
			var entry *config.EntryError
			if errors.As(err, &entry) != row.hint || row.hint && entry.Hint == "" {
				t.Errorf("error %#v: advice wanted: %v", err, row.hint)
			}
		})
	}
}

// TestHeaders pins the two requests, and that the old service gets no token.
func TestHeaders(t *testing.T) {
	s := &script{statuses: []int{200, 200}, bodies: []string{"tok", userData}}
	server := httptest.NewServer(s)
	defer server.Close()
	env, _ := newEnv(server.URL)
	if _, err := Fetch(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	put, get := s.requests[0], s.requests[1]
	if put.Method != "PUT" || put.URL.Path != "/latest/api/token" || put.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "21600" || put.Header.Get("X-Aws-Ec2-Metadata-Token") != "" {
		t.Errorf("request for a token: %s %s %v", put.Method, put.URL, put.Header)
	}
	if get.Method != "GET" || get.URL.Path != "/2019-10-01/user-data" || get.Header.Get("X-Aws-Ec2-Metadata-Token") != "tok" || get.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "" {
		t.Errorf("request for user data: %s %s %v", get.Method, get.URL, get.Header)
	}
	if ua := get.Header.Get("User-Agent"); ua != "Ignition/2.18.0" {
		t.Errorf("user agent %q", ua)
	}

	s = &script{statuses: []int{404, 200}, bodies: []string{"", userData}}
	server2 := httptest.NewServer(s)
	defer server2.Close()
	env, _ = newEnv(server2.URL)
	if _, err := Fetch(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.requests[1].Header["X-Aws-Ec2-Metadata-Token"]; ok {
		t.Error("a token header without a token")
	}
}

// TestSecrets checks that neither token nor user data reach a log or an error.
func TestSecrets(t *testing.T) {
	const token, data = "T0KEN-SECRET", "\x1f\x8b\x08DATA-SECRET"
	for _, row := range []struct {
		name     string
		statuses []int
		bodies   []string
	}{
		{"success", []int{200, 200}, []string{token, "DATA-SECRET"}},
		{"refused user data", []int{200, 403}, []string{token, data}},
		{"bad request with a body", []int{200, 400}, []string{token, data}},
		{"token refused with a body", []int{403}, []string{token}},
		{"token that is no header value", []int{200, 200}, []string{token + "\x01" + token, data}},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := httptest.NewServer(&script{statuses: row.statuses, bodies: row.bodies})
			defer server.Close()
			env, log := newEnv(server.URL)
			env.Fetcher = env.Fetcher.WithTimeouts(time.Second, time.Second)
			_, err := Fetch(t.Context(), env)
			if text := fmt.Sprint(log, err); strings.Contains(text, "SECRET") {
				t.Errorf("a secret in the log or the error:\n%s", text)
			}
		})
	}
}

func TestOffline(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	env, log := newEnv(server.URL)
	env.Fetcher = env.Fetcher.Offline()
	_, err := Fetch(t.Context(), env)
	if !errors.Is(err, resource.ErrNeedNet) || asked.Load() != 0 || log.String() != "" {
		t.Errorf("error %v, %d requests, log %q; want only %v", err, asked.Load(), log, resource.ErrNeedNet)
	}
}

func TestEndpoints(t *testing.T) {
	for _, row := range []struct {
		name, endpoint, mode string
		want                 []string
	}{
		{"default", "", "", []string{"http://169.254.169.254", "http://[fd00:ec2::254]"}},
		{"IPv4", "", "IPv4", []string{"http://169.254.169.254"}},
		{"ipv6 in small letters", "", "ipv6", []string{"http://[fd00:ec2::254]"}},
		{"unknown mode", "", "IPv5", []string{"http://169.254.169.254", "http://[fd00:ec2::254]"}},
		{"named", "http://127.0.0.1:1338", "", []string{"http://127.0.0.1:1338"}},
		{"named before mode", "http://127.0.0.1:1338//", "IPv6", []string{"http://127.0.0.1:1338"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := client{env: &providers.Env{IMDSEndpoint: row.endpoint, IMDSMode: row.mode}, v4: endpointIPv4, v6: endpointIPv6}
			if got := c.endpoints(); !slices.Equal(got, row.want) {
				t.Errorf("got %q, want %q", got, row.want)
			}
		})
	}
}

// silent accepts requests and answers none before they are given up. gone is
// closed when the first has been.
func silent(t *testing.T) (url string, gone chan struct{}) {
	t.Helper()
	gone = make(chan struct{})
	var once sync.Once
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		once.Do(func() { close(gone) })
	}))
	t.Cleanup(server.Close)
	return server.URL, gone
}

func serve(t *testing.T, o imds.Options) (string, *imds.Service) {
	t.Helper()
	service := imds.New(o)
	server := httptest.NewServer(service)
	t.Cleanup(server.Close)
	return server.URL, service
}

func waitFor(t *testing.T, gone chan struct{}) {
	t.Helper()
	select {
	case <-gone:
	case <-time.After(5 * time.Second):
		t.Error("the request that lost is still running")
	}
}

func TestRaceOnlyIPv6(t *testing.T) {
	v4, gone := silent(t)
	v6, service := serve(t, imds.Options{UserData: []byte(userData)})
	env, log := newEnv("")
	c := client{env: env, v4: v4, v6: v6, head: 20 * time.Millisecond}
	raw, err := c.userData(t.Context())
	if err != nil || string(raw) != userData {
		t.Fatalf("got %q, %v", raw, err)
	}
	waitFor(t, gone)
	if got := service.Paths(); len(got) != 2 {
		t.Errorf("requests %q, want a token and the user data", got)
	}
	for _, want := range []string{"PUT " + v6 + "/latest/api/token: attempt #1\ninfo PUT result: OK", "GET " + v6 + "/2019-10-01/user-data: attempt #1"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
}

// TestRaceQuiet pins the log of a machine whose IPv4 endpoint answers late: the
// attempt by IPv6 is stopped and leaves no line.
func TestRaceQuiet(t *testing.T) {
	v4, service := serve(t, imds.Options{UserData: []byte(userData), Delay: 200 * time.Millisecond})
	v6, gone := silent(t)
	env, log := newEnv("")
	c := client{env: env, v4: v4, v6: v6, head: 20 * time.Millisecond}
	raw, err := c.userData(t.Context())
	if err != nil || string(raw) != userData || service.Requests() != 2 {
		t.Fatalf("got %q, %v after %d requests", raw, err, service.Requests())
	}
	waitFor(t, gone)
	want := "info PUT " + v4 + "/latest/api/token: attempt #1\ninfo PUT result: OK\ninfo GET " + v4 + "/2019-10-01/user-data: attempt #1\ninfo GET result: OK"
	if log.String() != want {
		t.Errorf("log:\n%s\nwant:\n%s", log, want)
	}
}

// TestRaceHeadStart checks that a machine whose IPv4 endpoint answers at once never asks the other.
func TestRaceHeadStart(t *testing.T) {
	v4, _ := serve(t, imds.Options{UserData: []byte(userData)})
	v6, other := serve(t, imds.Options{})
	env, _ := newEnv("")
	c := client{env: env, v4: v4, v6: v6, head: time.Minute}
	if _, err := c.userData(t.Context()); err != nil || other.Requests() != 0 {
		t.Errorf("error %v, %d requests by IPv6", err, other.Requests())
	}
}

func TestRaceRefusals(t *testing.T) {
	for _, row := range []struct {
		name   string
		v4, v6 imds.Options
		err    string
		want   string
	}{
		{"turned off by IPv4 is final", imds.Options{TokenStatus: 403}, imds.Options{UserData: []byte(userData)}, "turned off", ""},
		{"no token service by IPv4 is an answer", imds.Options{TokenStatus: 404, UserData: []byte("v1")}, imds.Options{UserData: []byte(userData)}, "", "v1"},
	} {
		t.Run(row.name, func(t *testing.T) {
			v4, _ := serve(t, row.v4)
			v6, other := serve(t, row.v6)
			env, _ := newEnv("")
			c := client{env: env, v4: v4, v6: v6, head: time.Minute}
			raw, err := c.userData(t.Context())
			if string(raw) != row.want || (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
				t.Errorf("got %q, %v", raw, err)
			}
			if other.Requests() != 0 {
				t.Error("the other endpoint was asked")
			}
		})
	}
}

// TestRaceTimeout checks that the time-out of the fetch bounds the whole race,
// and that then all lines come out, IPv4's first.
func TestRaceTimeout(t *testing.T) {
	v4, gone4 := silent(t)
	v6, gone6 := silent(t)
	env, log := newEnv("")
	env.Fetcher = env.Fetcher.WithTimeouts(10*time.Second, 500*time.Millisecond)
	c := client{env: env, v4: v4, v6: v6, head: 200 * time.Millisecond}
	start := time.Now()
	_, err := c.userData(t.Context())
	if !errors.Is(err, resource.ErrTimeout) {
		t.Errorf("error %v, want %v", err, resource.ErrTimeout)
	}
	if took := time.Since(start); took > 650*time.Millisecond {
		t.Errorf("took %v although the limit is half a second", took)
	}
	waitFor(t, gone4)
	waitFor(t, gone6)
	if strings.Contains(log.String(), v6) {
		t.Errorf("lines of the endpoint that lost:\n%s", log)
	}
}

func TestRaceCancelled(t *testing.T) {
	v4, gone4 := silent(t)
	v6, _ := silent(t)
	env, _ := newEnv("")
	c := client{env: env, v4: v4, v6: v6, head: time.Minute}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := c.userData(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	waitFor(t, gone4)
}
