// SPDX-License-Identifier: Apache-2.0

package platform

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/tests/cloud"
	"firstboot.dev/ignition/tests/logs"
)

const userConfig = `{"ignition":{"version":"3.4.0"}}`

// hosted describes the metadata service of one platform.
type hosted struct {
	id      string
	request string // of the user data: method, host and path
	header  map[string]string
	encode  func(string) string // how the service writes user data
	token   string              // request before it, answered with T0KEN
	retried []int               // statuses that are tried again
}

func plain(s string) string  { return s }
func base(s string) string   { return base64.StdEncoding.EncodeToString([]byte(s)) }
func broken(s string) string { b := base(s); return b[:7] + "\n" + b[7:] + "\n" }

var clouds = []hosted{
	{id: "akamai", request: "GET 169.254.169.254/v1/user-data", encode: broken, token: "PUT 169.254.169.254/v1/token",
		header: map[string]string{"Accept": "*/*", "Metadata-Token": "T0KEN"}},
	{id: "aliyun", request: "GET 100.100.100.200/latest/user-data", encode: plain},
	{id: "aws", request: "GET 169.254.169.254/2019-10-01/user-data", encode: plain, token: "PUT 169.254.169.254/latest/api/token",
		header: map[string]string{"X-Aws-Ec2-Metadata-Token": "T0KEN"}},
	{id: "azure", request: "GET 169.254.169.254/metadata/instance/compute/userData?api-version=2021-01-01&format=text", encode: base,
		header: map[string]string{"Metadata": "true"}, retried: []int{404, 410, 429}},
	{id: "digitalocean", request: "GET 169.254.169.254/metadata/v1/user-data", encode: plain},
	{id: "exoscale", request: "GET 169.254.169.254/1.0/user-data", encode: plain},
	{id: "gcp", request: "GET 169.254.169.254/computeMetadata/v1/instance/attributes/user-data", encode: plain, header: map[string]string{"Metadata-Flavor": "Google"}},
	{id: "hetzner", request: "GET 169.254.169.254/hetzner/v1/userdata", encode: plain},
	{id: "oraclecloud", request: "GET 169.254.169.254/opc/v2/instance/metadata/user_data", encode: base,
		header: map[string]string{"Authorization": "Bearer Oracle"}, retried: []int{429}},
	{id: "outscale", request: "GET 169.254.169.254/latest/user-data", encode: plain},
	{id: "packet", request: "GET metadata.packet.net/userdata", encode: plain, header: map[string]string{"Accept": "*/*"}},
	{id: "scaleway", request: "GET 169.254.42.42/user_data/cloud-init", encode: plain},
	{id: "upcloud", request: "GET 169.254.169.254/metadata/v1/user_data", encode: plain},
	{id: "vultr", request: "GET 169.254.169.254/user-data/user-data", encode: plain},
}

// newCloud starts the service and gives an environment that reaches nothing else.
func (h hosted) newCloud(t *testing.T, total time.Duration, replies ...cloud.Reply) (*cloud.Service, *providers.Env, *logs.Lines) {
	t.Helper()
	all := map[string][]cloud.Reply{h.request: replies}
	if h.token != "" {
		all[h.token] = []cloud.Reply{{Status: 200, Body: "T0KEN\n"}}
	}
	s := cloud.New(t, all, "metadata.packet.net")
	f := resource.New(resource.Options{Version: "1.2.3", Stable: "3.6.0", Dial: s.Dial})
	ca := "data:;base64," + base(s.Authority.PEM)
	seconds := max(1, int(total.Seconds()))
	log := &logs.Lines{}
	f, err := f.Using(t.Context(), log, config.Ignition{
		Timeouts: config.Timeouts{HTTPTotal: &seconds},
		Security: config.Security{TLS: config.TLS{CertificateAuthorities: []config.Resource{{Source: &ca}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, &providers.Env{
		Log: log, Fetcher: f, FetchTimeout: total, Arch: "amd64",
		LabelDir: t.TempDir(), SysDir: t.TempDir(), DevDir: t.TempDir(), RunDir: t.TempDir(),
		Mount: func(_ context.Context, _, device, _ string) (string, func(), error) {
			t.Errorf("mounted %q", device)
			return "", nil, errors.New("no device")
		},
		Modprobe: func(context.Context, string) error { return errors.New("no module") },
	}, log
}

func (h hosted) fetch(ctx context.Context, env *providers.Env) (providers.Result, error) {
	p, _ := lookup(h.id)
	return p.Fetch(ctx, env)
}

// TestClouds runs each platform that has a metadata service against what such
// a service may say.
func TestClouds(t *testing.T) {
	for _, h := range clouds {
		isRetried := func(code int) bool { return slices.Contains(h.retried, code) }
		for _, row := range []struct {
			name    string
			replies []cloud.Reply
			refused bool
			want    string
			is      error
			err     string
			asked   int // requests for the user data
			skip    bool
		}{
			{name: "good", replies: []cloud.Reply{{Status: 200, Body: h.encode(userConfig)}}, want: userConfig, asked: 1},
			{name: "gzip", replies: []cloud.Reply{{Status: 200, Body: h.encode("\x1f\x8b\x08x")}}, want: "\x1f\x8b\x08x", asked: 1},
			{name: "no content", replies: []cloud.Reply{{Status: 204}}, asked: 1, skip: h.id == "azure"},
			{name: "zero bytes", replies: []cloud.Reply{{Status: 200}}, asked: 1, skip: h.id == "azure"},
			{name: "not found", replies: []cloud.Reply{{Status: 404}}, asked: 1, skip: isRetried(404)},
			{name: "not found at first", replies: []cloud.Reply{{Status: 404}, {Status: 200, Body: h.encode(userConfig)}}, want: userConfig, asked: 2, skip: !isRetried(404)},
			{name: "too many requests", replies: []cloud.Reply{{Status: 429}, {Status: 200, Body: h.encode(userConfig)}}, want: userConfig, asked: 2, skip: !isRetried(429)},
			{name: "unauthorised", replies: []cloud.Reply{{Status: 401}}, err: "failed to fetch resource", asked: 1, skip: h.id == "aws"},
			{name: "forbidden", replies: []cloud.Reply{{Status: 403}}, err: "failed to fetch resource", asked: 1},
			{name: "broken for a moment", replies: []cloud.Reply{{Status: 500}, {Status: 503}, {Status: 200, Body: h.encode(userConfig)}}, want: userConfig, asked: 3},
			{name: "refused at first", refused: true, replies: []cloud.Reply{{Status: 200, Body: h.encode(userConfig)}}, want: userConfig, asked: 1},
			{name: "slow", replies: []cloud.Reply{{Status: 200, Delay: 100 * time.Millisecond, Body: h.encode(userConfig)}}, want: userConfig, asked: 1},
			{name: "slower than the limit", replies: []cloud.Reply{{Status: 200, Delay: time.Minute}}, is: resource.ErrTimeout, asked: 1},
			{name: "garbage", replies: []cloud.Reply{{Status: 200, Body: "SECRET***"}}, want: "SECRET***", asked: 1, skip: h.encode(userConfig) != userConfig},
			{name: "garbage instead of base64", replies: []cloud.Reply{{Status: 200, Body: "SECRET***"}}, err: "illegal base64 data", asked: 1, skip: h.encode(userConfig) == userConfig},
		} {
			if row.skip {
				continue
			}
			t.Run(h.id+"/"+row.name, func(t *testing.T) {
				t.Parallel()
				total := 10 * time.Second
				if row.is != nil {
					total = time.Second
				}
				s, env, log := h.newCloud(t, total, row.replies...)
				if row.refused {
					host, _, _ := strings.Cut(strings.Fields(h.request)[1], "/")
					s.Refuse(host+":80", 1)
					s.Refuse(host+":443", 1)
				}
				res, err := h.fetch(t.Context(), env)
				switch {
				case row.is != nil && !errors.Is(err, row.is), row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)):
					t.Errorf("error %v, want %v%s", err, row.is, row.err)
				case row.is == nil && row.err == "" && (err != nil || string(res.Raw) != row.want):
					t.Errorf("got %q, %v; want %q", res.Raw, err, row.want)
				}
				h.checkRequests(t, s, row.asked)
				if text := fmt.Sprint(log, err); strings.Contains(text, "T0KEN") || strings.Contains(text, "SECRET") {
					t.Errorf("a token or user data in the log or the error:\n%s", text)
				}
			})
		}
	}
}

// checkRequests: nothing was asked but what the specification says, with its headers.
func (h hosted) checkRequests(t *testing.T, s *cloud.Service, asked int) {
	t.Helper()
	n := 0
	for _, r := range s.Requests() {
		switch got := r.Method + " " + r.Host + r.URL.RequestURI(); got {
		case h.token:
		case h.request:
			n++
			for k, v := range h.header {
				if r.Header.Get(k) != v {
					t.Errorf("header %s is %q, want %q", k, r.Header.Get(k), v)
				}
			}
			if r.Header.Get("User-Agent") != "Ignition/1.2.3" {
				t.Errorf("user agent %q", r.Header.Get("User-Agent"))
			}
			if h.header["Accept"] == "" && r.Header.Get("Accept") != "application/vnd.coreos.ignition+json;version=3.6.0, */*;q=0.1" {
				t.Errorf("Accept is %q", r.Header.Get("Accept"))
			}
		default:
			t.Errorf("request %q", got)
		}
	}
	if n != asked {
		t.Errorf("asked %d times, want %d: %q", n, asked, s.Lines())
	}
}

// TestOfflineClouds: no connection is made while networking is forbidden.
func TestOfflineClouds(t *testing.T) {
	for _, h := range append(clouds, hosted{id: "openstack"}, hosted{id: "brightbox"}, hosted{id: "cloudstack"}) {
		t.Run(h.id, func(t *testing.T) {
			s, env, _ := h.newCloud(t, time.Second, cloud.Reply{Status: 200})
			env.Fetcher = env.Fetcher.Offline()
			if _, err := h.fetch(t.Context(), env); !errors.Is(err, resource.ErrNeedNet) {
				t.Errorf("error %v, want %v", err, resource.ErrNeedNet)
			}
			if n := len(s.Dialers()); n != 0 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestIPv6Endpoints: where the IPv4 address is silent, the other one is asked.
func TestIPv6Endpoints(t *testing.T) {
	for id, endpoint := range map[string]string{
		"akamai": "[fd00:a9fe:a9fe::1]", "aws": "[fd00:ec2::254]", "oraclecloud": "[fd00:c1::a9fe:a9fe]", "scaleway": "[fd00:42::42]",
	} {
		t.Run(id, func(t *testing.T) {
			t.Parallel()
			i := slices.IndexFunc(clouds, func(h hosted) bool { return h.id == id })
			h := clouds[i]
			method, rest, _ := strings.Cut(h.request, " ")
			_, path, _ := strings.Cut(rest, "/")
			h.request = method + " " + endpoint + "/" + path
			if h.token != "" {
				method, rest, _ := strings.Cut(h.token, " ")
				_, path, _ := strings.Cut(rest, "/")
				h.token = method + " " + endpoint + "/" + path
			}
			s, env, _ := h.newCloud(t, 20*time.Second, cloud.Reply{Status: 200, Body: h.encode(userConfig)})
			s.Silent = func(addr string) bool { return strings.HasPrefix(addr, "169.254.") }
			res, err := h.fetch(t.Context(), env)
			if err != nil || string(res.Raw) != userConfig {
				t.Errorf("got %q, %v", res.Raw, err)
			}
			h.checkRequests(t, s, 1)
		})
	}
}

// TestTokens: what a token service may say.
func TestTokens(t *testing.T) {
	i := slices.IndexFunc(clouds, func(h hosted) bool { return h.id == "akamai" })
	h := clouds[i]
	for _, row := range []struct {
		name  string
		reply cloud.Reply
		err   string
	}{
		{"empty", cloud.Reply{Status: 200, Body: " \n"}, "get token: received an empty token"},
		{"forbidden", cloud.Reply{Status: 403}, "get token: failed to fetch resource"},
		{"not found", cloud.Reply{Status: 404}, "get token: resource not found"},
		{"huge", cloud.Reply{Status: 200, Body: strings.Repeat("x", 1<<17)}, "get token: the resource is larger"},
		{"of control characters", cloud.Reply{Status: 200, Body: "T0\x01KEN"}, "fetch userdata: unable to parse HTTP header"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, env, log := h.newCloud(t, time.Second, cloud.Reply{Status: 200, Body: base(userConfig)})
			s.Replies[h.token] = []cloud.Reply{row.reply}
			_, err := h.fetch(t.Context(), env)
			if err == nil || !strings.Contains(err.Error(), row.err) {
				t.Errorf("error %v, want %q", err, row.err)
			}
			if text := fmt.Sprint(log, err); strings.Contains(text, "KEN") {
				t.Errorf("the token in the log or the error:\n%s", text)
			}
		})
	}
	t.Run("expired", func(t *testing.T) {
		s, env, _ := h.newCloud(t, time.Second, cloud.Reply{Status: 401})
		if _, err := h.fetch(t.Context(), env); err == nil || !strings.Contains(err.Error(), "fetch userdata: failed to fetch resource") {
			t.Errorf("error %v", err)
		}
		r := s.Requests()[0]
		if r.Header.Get("Accept") != "text/plain" || r.Header.Get("Metadata-Token-Expiry-Seconds") != "300" {
			t.Errorf("request for the token: %v", r.Header)
		}
	})
}

// TestLowPorts: Scaleway's connections come from privileged ports, each from
// its own, and no later connection does.
func TestLowPorts(t *testing.T) {
	i := slices.IndexFunc(clouds, func(h hosted) bool { return h.id == "scaleway" })
	h := clouds[i]
	replies := slices.Repeat([]cloud.Reply{{Status: 500}}, 3)
	s, env, log := h.newCloud(t, 20*time.Second, append(replies, cloud.Reply{Status: 200, Body: userConfig})...)
	if _, err := h.fetch(t.Context(), env); err != nil {
		t.Fatal(err)
	}
	ports := map[int]bool{}
	for _, d := range s.Dialers() {
		a, ok := d.LocalAddr.(*net.TCPAddr)
		if !ok || a.Port < 1 || a.Port > 1022 {
			t.Errorf("a connection from %v", d.LocalAddr)
			continue
		}
		ports[a.Port] = true
	}
	if len(s.Dialers()) < 4 || len(ports) < 2 {
		t.Errorf("%d connections from %d ports", len(s.Dialers()), len(ports))
	}
	s.Replies["GET 192.0.2.1/x"] = []cloud.Reply{{Status: 200, Body: "x"}}
	if _, _, err := env.Fetcher.Bytes(t.Context(), log, resource.Request{URL: "http://192.0.2.1/x"}); err != nil {
		t.Fatal(err)
	}
	all := s.Dialers()
	if d := all[len(all)-1]; d.LocalAddr != nil {
		t.Errorf("a later fetch came from %v", d.LocalAddr)
	}
}

// TestTimeline: what Equinix Metal is told of a stage's end.
func TestTimeline(t *testing.T) {
	const events = "POST metadata.packet.net/x/events"
	for _, row := range []struct {
		name     string
		stage    error
		metadata cloud.Reply
		event    int // status of the answer
		body     string
		err      string
	}{
		{name: "success", metadata: cloud.Reply{Status: 200, Body: `{"phone_home_url":"http://metadata.packet.net/x/phone-home"}`}, event: 200,
			body: `{"state":"running","message":"[disks] Ignition status: finished successfully"}`},
		{name: "failure", stage: errors.New("no such disk"), metadata: cloud.Reply{Status: 200, Body: `{"phone_home_url":"http://metadata.packet.net/x/phone-home"}`}, event: 200,
			body: `{"state":"failed","message":"[disks] Ignition error: no such disk"}`},
		{name: "no URL", metadata: cloud.Reply{Status: 200, Body: `{}`}, err: "metadata: there is no phone_home_url"},
		{name: "garbage", metadata: cloud.Reply{Status: 200, Body: `<html>`}, err: "metadata: "},
		{name: "refused", metadata: cloud.Reply{Status: 403}, err: "failed to fetch resource"},
		{name: "event refused", metadata: cloud.Reply{Status: 200, Body: `{"phone_home_url":"http://metadata.packet.net/x/phone-home"}`}, event: 403, err: "failed to fetch resource",
			body: `{"state":"running","message":"[disks] Ignition status: finished successfully"}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			h := hosted{id: "packet", request: "GET metadata.packet.net/metadata", encode: plain}
			s, env, _ := h.newCloud(t, 5*time.Second, row.metadata)
			s.Replies[events] = []cloud.Reply{{Status: row.event}}
			p, _ := lookup("packet")
			err := p.Status(t.Context(), env, "disks", row.stage)
			if row.err == "" && err != nil || row.err != "" && (err == nil || !strings.Contains(err.Error(), row.err)) {
				t.Errorf("error %v, want %q", err, row.err)
			}
			var body string
			for _, r := range s.Requests() {
				if r.Method == http.MethodPost {
					var b bytes.Buffer
					_, _ = b.ReadFrom(r.Body)
					body = b.String()
					if r.Header.Get("Content-Type") != "application/json" {
						t.Errorf("content type %q", r.Header.Get("Content-Type"))
					}
				}
			}
			if body != row.body {
				t.Errorf("told %q, want %q", body, row.body)
			}
		})
	}
	t.Run("service that is down", func(t *testing.T) {
		h := hosted{id: "packet", encode: plain}
		s, env, _ := h.newCloud(t, 0)
		s.Silent = func(string) bool { return true }
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		p, _ := lookup("packet")
		if err := p.Status(ctx, env, "umount", nil); err == nil {
			t.Error("no error")
		}
	})
}
