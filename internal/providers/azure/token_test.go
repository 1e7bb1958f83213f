// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"errors"
	"fmt"
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
	tokenRequest = "GET 169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F"
	blob         = "a.blob.core.windows.net"
)

func answer(token string, lasts time.Duration) string {
	return fmt.Sprintf(`{"access_token":%q,"expires_in":"1","expires_on":"%d","resource":"https://storage.azure.com/"}`, token, time.Now().Add(lasts).Unix())
}

func tokenEnv(t *testing.T, replies map[string][]cloud.Reply) (*cloud.Service, *providers.Env, *logs.Lines) {
	t.Helper()
	s := cloud.New(t, replies, blob)
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
	good := cloud.Reply{Status: 200, Body: answer("T0KEN", time.Hour)}
	for _, row := range []struct {
		name    string
		replies []cloud.Reply
		want    string // token
		forever bool
		kind    error
		text    string // of the error
	}{
		{"good", []cloud.Reply{good}, "T0KEN", false, nil, ""},
		{"expiry as a number", []cloud.Reply{{Status: 200, Body: strings.NewReplacer(`on":"`, `on":`, `","res`, `,"res`).Replace(good.Body)}}, "T0KEN", false, nil, ""},
		{"no expiry", []cloud.Reply{{Status: 200, Body: `{"access_token":"T0KEN"}`}}, "T0KEN", true, nil, ""},
		{"late", []cloud.Reply{{Status: 503}, good}, "T0KEN", false, nil, ""},
		{"busy", []cloud.Reply{{Status: 429}, {Status: 410}, good}, "T0KEN", false, nil, ""},
		{"no identity", []cloud.Reply{{Status: 400, Body: `{"error":"invalid_request","error_description":"Identity not found"}`}}, "", false, resource.ErrNoIdentity, "the machine has no managed identity"},
		{"no such service", []cloud.Reply{{Status: 404}}, "", false, resource.ErrNoIdentity, "the machine has no managed identity"},
		{"always 5xx", []cloud.Reply{{Status: 500}}, "", false, resource.ErrTimeout, ""},
		{"forbidden", []cloud.Reply{{Status: 403}}, "", false, resource.ErrFailed, ""},
		{"not JSON", []cloud.Reply{{Status: 200, Body: "T0KEN"}}, "", false, nil, "the metadata service's answer is no token"},
		{"no token in it", []cloud.Reply{{Status: 200, Body: `{"error":"T0KEN"}`}}, "", false, nil, "the metadata service's answer is no token"},
		{"empty", []cloud.Reply{{Status: 200}}, "", false, nil, "the metadata service's answer is no token"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, env, log := tokenEnv(t, map[string][]cloud.Reply{tokenRequest: row.replies})
			ask := Cloud(env).Azure
			if n := len(s.Lines()); n != 0 {
				t.Errorf("%d requests before a token was needed", n)
			}
			got, err := ask(t.Context(), log)
			switch {
			case row.want != "":
				left := time.Until(got.Expires)
				if err != nil || got.Value != row.want || got.Expires.IsZero() != row.forever || !row.forever && (left < 59*time.Minute || left > time.Hour) {
					t.Errorf("got %+v, %v", got, err)
				}
			case err == nil || got != (resource.Token{}) || row.kind != nil && !errors.Is(err, row.kind) || !strings.Contains(err.Error(), row.text):
				t.Errorf("got %+v, %v, want %v with %q", got, err, row.kind, row.text)
			case row.kind != resource.ErrNoIdentity && errors.Is(err, resource.ErrNoIdentity):
				t.Errorf("%v counts as no identity", err)
			}
			if strings.Contains(log.String(), "could not retrieve any azure credentials: ") != (row.kind == resource.ErrNoIdentity) {
				t.Errorf("log:\n%s", log)
			}
			for _, r := range s.Requests() {
				if r.Header.Get("Metadata") != "true" {
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
	s, env, log := tokenEnv(t, map[string][]cloud.Reply{
		tokenRequest:           {{Status: 200, Body: answer("OLD", 30*time.Second)}, {Status: 200, Body: answer("T0KEN", time.Hour)}},
		"GET " + blob + "/c/b": {{Status: 200, Body: "body"}},
	})
	env.Fetcher.SetCloud(Cloud(env))
	for range 3 {
		got, _, err := env.Fetcher.Bytes(t.Context(), log, resource.Request{URL: "https://" + blob + "/c/b"})
		if err != nil || string(got) != "body" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	var tokens []string
	for _, r := range s.Requests() {
		if r.Host == blob {
			tokens = append(tokens, r.Header.Get("Authorization"))
		}
	}
	if got := strings.Join(tokens, " "); got != "Bearer OLD Bearer T0KEN Bearer T0KEN" || strings.Count(strings.Join(s.Lines(), "\n"), tokenRequest) != 2 {
		t.Errorf("%q after %q", got, s.Lines())
	}
}
