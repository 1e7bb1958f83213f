// SPDX-License-Identifier: Apache-2.0

package imds

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// ask sends one request and gives the status and the body.
func ask(t *testing.T, s *Service, method, path string, headers ...string) (int, string) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	raw, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(raw)
}

const (
	tokenPath = "/latest/api/token"
	dataPath  = "/2019-10-01/user-data"
	ttl       = "X-Aws-Ec2-Metadata-Token-Ttl-Seconds"
	header    = "X-Aws-Ec2-Metadata-Token"
)

// TestToken checks that the stand-in refuses what the real service refuses: a
// stand-in that is too kind hides faults of the program.
func TestToken(t *testing.T) {
	for _, row := range []struct {
		name    string
		opts    Options
		headers []string
		want    int
	}{
		{"good", Options{}, []string{ttl, "21600"}, 200},
		{"no lifetime", Options{}, nil, 400},
		{"lifetime of nothing", Options{}, []string{ttl, "0"}, 400},
		{"too long a lifetime", Options{}, []string{ttl, "21601"}, 400},
		{"lifetime is no number", Options{}, []string{ttl, "long"}, 400},
		{"through a proxy", Options{}, []string{ttl, "60", "X-Forwarded-For", "10.0.0.1"}, 400},
		{"turned off", Options{TokenStatus: 403}, []string{ttl, "21600"}, 403},
		{"the old service", Options{TokenStatus: 404}, []string{ttl, "21600"}, 404},
	} {
		t.Run(row.name, func(t *testing.T) {
			code, body := ask(t, New(row.opts), http.MethodPut, tokenPath, row.headers...)
			if code != row.want || (code == 200) != (len(body) == 48) {
				t.Errorf("got %d, %q; want %d", code, body, row.want)
			}
		})
	}
}

func TestAnswers(t *testing.T) {
	all := Options{UserData: []byte("data"), Region: "eu-central-1", Role: "web"}
	for _, row := range []struct {
		name, method, path string
		opts               Options
		want               int
		body               string
	}{
		{"user data", "GET", dataPath, all, 200, "data"},
		{"user data, newest", "GET", "/latest/user-data", all, 200, "data"},
		{"no user data", "GET", dataPath, Options{}, 404, ""},
		{"empty user data", "GET", dataPath, Options{UserData: []byte{}}, 200, ""},
		{"region", "GET", "/latest/dynamic/instance-identity/document", all, 200, `"region":"eu-central-1"`},
		{"no region", "GET", "/latest/dynamic/instance-identity/document", Options{}, 404, ""},
		{"role", "GET", "/latest/meta-data/iam/security-credentials/", all, 200, "web"},
		{"credentials", "GET", "/latest/meta-data/iam/security-credentials/web", all, 200, `"Code":"Success"`},
		{"no role", "GET", "/latest/meta-data/iam/security-credentials/", Options{}, 404, ""},
		{"unknown path", "GET", "/x", all, 404, ""},
		{"unknown method", "POST", dataPath, all, 405, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := New(row.opts)
			_, token := ask(t, s, http.MethodPut, tokenPath, ttl, "60")
			code, body := ask(t, s, row.method, row.path, header, token)
			if code != row.want || !strings.Contains(body, row.body) {
				t.Errorf("got %d, %q; want %d, %q", code, body, row.want, row.body)
			}
			if code, _ := ask(t, s, row.method, row.path); row.method == "GET" && code != 401 {
				t.Errorf("without a token: %d, want 401", code)
			}
			if code, _ := ask(t, s, row.method, row.path, header, "wrong"); row.method == "GET" && code != 401 {
				t.Errorf("with a wrong token: %d, want 401", code)
			}
			if got := s.Paths(); s.Requests() != 4 || !slices.Equal(got[:2], []string{"PUT " + tokenPath, row.method + " " + row.path}) {
				t.Errorf("%d requests: %q", s.Requests(), got)
			}
		})
	}
}

func TestExpireOnce(t *testing.T) {
	s := New(Options{UserData: []byte("data"), ExpireOnce: true})
	for _, want := range []int{401, 200} {
		_, token := ask(t, s, http.MethodPut, tokenPath, ttl, "60")
		if code, _ := ask(t, s, http.MethodGet, dataPath, header, token); code != want {
			t.Errorf("got %d, want %d", code, want)
		}
	}
}

func TestOldService(t *testing.T) {
	s := New(Options{UserData: []byte("data"), TokenStatus: 404})
	if code, body := ask(t, s, http.MethodGet, dataPath); code != 200 || body != "data" {
		t.Errorf("got %d, %q", code, body)
	}
}
