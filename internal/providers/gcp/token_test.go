// SPDX-License-Identifier: Apache-2.0

package gcp

import (
	"errors"
	"strings"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/tests/cloud"
	"firstboot.dev/ignition/tests/logs"
)

const (
	request    = "GET 169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fdevstorage.read_only"
	storage    = "GET storage.googleapis.com/storage/v1/b/b/o/o?alt=media"
	goodAnswer = `{"access_token":"T0KEN","expires_in":3600,"token_type":"Bearer"}`
)

func newEnv(t *testing.T, replies map[string][]cloud.Reply) (*cloud.Service, *providers.Env, *logs.Lines) {
	t.Helper()
	s := cloud.New(t, replies, "storage.googleapis.com")
	ca := "data:," + strings.NewReplacer(" ", "%20", "\n", "%0A").Replace(s.Authority.PEM)
	log, total := &logs.Lines{}, 1
	f, err := resource.New(resource.Options{Version: "1.2.3", Stable: "3.6.0", Dial: s.Dial}).Using(t.Context(), log, config.Ignition{
		Timeouts: config.Timeouts{HTTPTotal: &total},
		Security: config.Security{TLS: config.TLS{CertificateAuthorities: []config.Resource{{Source: &ca}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s, &providers.Env{Log: log, Fetcher: f}, log
}

func TestToken(t *testing.T) {
	for _, row := range []struct {
		name    string
		replies []cloud.Reply
		want    string // token
		kind    error
		text    string // of the error
	}{
		{"good", []cloud.Reply{{Status: 200, Body: goodAnswer}}, "T0KEN", nil, ""},
		{"late", []cloud.Reply{{Status: 503}, {Status: 200, Body: goodAnswer}}, "T0KEN", nil, ""},
		{"no service account", []cloud.Reply{{Status: 404}}, "", resource.ErrNoIdentity, "the instance has no service account"},
		{"always 5xx", []cloud.Reply{{Status: 500}}, "", resource.ErrTimeout, ""},
		{"forbidden", []cloud.Reply{{Status: 403}}, "", resource.ErrFailed, ""},
		{"not JSON", []cloud.Reply{{Status: 200, Body: "T0KEN"}}, "", nil, "the metadata service's answer is no token"},
		{"wrong types", []cloud.Reply{{Status: 200, Body: `{"access_token":"T0KEN","expires_in":"x"}`}}, "", nil, "the metadata service's answer is no token"},
		{"no token in it", []cloud.Reply{{Status: 200, Body: `{"error":"T0KEN"}`}}, "", nil, "the metadata service's answer is no token"},
		{"empty", []cloud.Reply{{Status: 200}}, "", nil, "the metadata service's answer is no token"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, env, log := newEnv(t, map[string][]cloud.Reply{request: row.replies})
			ask := Cloud(env).Google
			if n := len(s.Lines()); n != 0 {
				t.Errorf("%d requests before a token was needed", n)
			}
			got, err := ask(t.Context(), log)
			switch {
			case row.want != "":
				if left := time.Until(got.Expires); err != nil || got.Value != row.want || left < 59*time.Minute || left > time.Hour {
					t.Errorf("got %+v, %v", got, err)
				}
			case err == nil || got != (resource.Token{}) || row.kind != nil && !errors.Is(err, row.kind) || !strings.Contains(err.Error(), row.text):
				t.Errorf("got %+v, %v, want %v with %q", got, err, row.kind, row.text)
			case row.kind != resource.ErrNoIdentity && errors.Is(err, resource.ErrNoIdentity):
				t.Errorf("%v counts as no identity", err)
			}
			for _, r := range s.Requests() {
				if r.Header.Get("Metadata-Flavor") != "Google" {
					t.Errorf("headers %v", r.Header)
				}
			}
			if err != nil && strings.Contains(err.Error(), "T0KEN") || strings.Contains(log.String(), "T0KEN") {
				t.Errorf("the token is in %v or in the log:\n%s", err, log)
			}
		})
	}
}

// TestTokenIsRenewed has a token that is about to end, and then one that lasts.
func TestTokenIsRenewed(t *testing.T) {
	s, env, log := newEnv(t, map[string][]cloud.Reply{
		request: {{Status: 200, Body: `{"access_token":"OLD","expires_in":30}`}, {Status: 200, Body: goodAnswer}},
		storage: {{Status: 200, Body: "body"}},
	})
	env.Fetcher.SetCloud(Cloud(env))
	for range 3 {
		got, _, err := env.Fetcher.Bytes(t.Context(), log, resource.Request{URL: "gs://b/o"})
		if err != nil || string(got) != "body" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	var tokens []string
	for _, r := range s.Requests() {
		if r.Host == "storage.googleapis.com" {
			tokens = append(tokens, r.Header.Get("Authorization"))
		}
	}
	if got := strings.Join(tokens, " "); got != "Bearer OLD Bearer T0KEN Bearer T0KEN" || strings.Count(strings.Join(s.Lines(), "\n"), request) != 2 {
		t.Errorf("%q after %q", got, s.Lines())
	}
}
