// SPDX-License-Identifier: Apache-2.0

package aws

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/tests/imds"
)

func TestRegion(t *testing.T) {
	for _, row := range []struct {
		name, want, warning string
		opts                imds.Options
	}{
		{name: "from the identity document", opts: imds.Options{Region: "eu-central-1"}, want: "eu-central-1"},
		{name: "token expired", opts: imds.Options{Region: "eu-central-1", ExpireOnce: true}, want: "eu-central-1"},
		{name: "without tokens", opts: imds.Options{Region: "eu-central-1", TokenStatus: 404}, want: "eu-central-1"},
		{name: "no document", opts: imds.Options{}, want: "us-east-1", warning: "warning failed to determine EC2 region, falling back to default us-east-1: "},
		{name: "turned off", opts: imds.Options{Region: "eu-central-1", TokenStatus: 403}, want: "us-east-1", warning: "warning failed to determine EC2 region, falling back to default us-east-1: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			url, _ := serve(t, row.opts)
			env, log := newEnv(url)
			if got := Cloud(env).Region(t.Context(), log); got != row.want {
				t.Errorf("got %q, want %q", got, row.want)
			}
			if !strings.Contains(log.String(), row.warning) || row.warning == "" && strings.Contains(log.String(), "warning") {
				t.Errorf("log %q, want %q", log, row.warning)
			}
		})
	}
}

func TestRegionEmpty(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			fmt.Fprint(w, "tok")
			return
		}
		fmt.Fprint(w, `{"region":""}`)
	}))
	defer server.Close()
	env, log := newEnv(server.URL)
	if got := Cloud(env).Region(t.Context(), log); got != "us-east-1" || !strings.Contains(log.String(), "falling back to default us-east-1") {
		t.Errorf("got %q, log %q", got, log)
	}
}

func TestCredentials(t *testing.T) {
	url, service := serve(t, imds.Options{Role: "web"})
	env, log := newEnv(url)
	m := Cloud(env)
	if n := service.Requests(); n != 0 {
		t.Fatalf("%d requests before anything was asked", n)
	}
	got, err := m.AWS(t.Context(), log)
	if err != nil || got.AccessKeyID != "AKIDEXAMPLE" || got.SecretAccessKey != "not-a-secret" || got.Token != "session" || time.Until(got.Expires) < 50*time.Minute {
		t.Errorf("got %+v, %v", got, err)
	}
	if text := log.String(); strings.Contains(text, "not-a-secret") || strings.Contains(text, "AKIDEXAMPLE") {
		t.Errorf("log %q", log)
	}
	puts := 0
	for _, p := range service.Paths() {
		if strings.HasPrefix(p, "PUT ") {
			puts++
		}
	}
	if puts != 1 {
		t.Errorf("%d requests for a token in %q, want one", puts, service.Paths())
	}
}

func TestCredentialsFail(t *testing.T) {
	for _, row := range []struct {
		name       string
		role, body string // answers of the two requests; "" = 404
		want       string
	}{
		{"no role", "", "", "EC2 IMDS role"},
		{"empty list of roles", "\n", "", "no EC2 IMDS role: the machine has no identity"},
		{"role without credentials", "web", "", `credentials of role "web": `},
		{"not JSON", "web", "SECRET", `credentials of role "web" are not JSON`},
		{"not successful", "web", `{"Code":"AssumeRoleUnauthorizedAccess","Message":"SECRET"}`, `the metadata service says "AssumeRoleUnauthorizedAccess"`},
		{"no secret key", "web", `{"Code":"Success","AccessKeyId":"SECRET"}`, `credentials of role "web" are incomplete`},
		{"bad date", "web", `{"Code":"Success","AccessKeyId":"SECRET","SecretAccessKey":"SECRET","Expiration":"SECRET"}`, "are not JSON"},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				const list = "/latest/meta-data/iam/security-credentials/"
				switch {
				case r.Method == http.MethodPut:
					w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
					fmt.Fprint(w, "tok")
				case r.URL.Path == list && row.role != "":
					fmt.Fprint(w, row.role)
				case r.URL.Path == list+row.role && row.body != "":
					fmt.Fprint(w, row.body)
				default:
					http.NotFound(w, r)
				}
			}))
			defer server.Close()
			env, log := newEnv(server.URL)
			_, err := Cloud(env).AWS(t.Context(), log)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Errorf("error %v, want %q", err, row.want)
			}
			if strings.Contains(fmt.Sprint(err, log), "SECRET") {
				t.Errorf("a secret in %v or %q", err, log)
			}
		})
	}
}

// TestCredentialsTurnedOff: without a metadata service there is no identity, so
// that public objects can still be fetched.
func TestCredentialsTurnedOff(t *testing.T) {
	url, _ := serve(t, imds.Options{Role: "web", TokenStatus: 403})
	env, log := newEnv(url)
	if _, err := Cloud(env).AWS(t.Context(), log); !errors.Is(err, resource.ErrNoIdentity) || !strings.Contains(err.Error(), "no EC2 IMDS role: ") {
		t.Errorf("error %v", err)
	}
}

// TestMetadataEnvironment checks that the client takes its settings from env
// alone: the variables that the SDK knows are read by the caller or not at all.
func TestMetadataEnvironment(t *testing.T) {
	var asked atomic.Int32
	wrong := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer wrong.Close()
	url, _ := serve(t, imds.Options{Region: "eu-central-1"})
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", wrong.URL)
	t.Setenv("http_proxy", wrong.URL)
	env, log := newEnv(url)
	if got := Cloud(env).Region(t.Context(), log); got != "eu-central-1" || asked.Load() != 0 {
		t.Errorf("got %q; the wrong server was asked %d times", got, asked.Load())
	}
}
