// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"firstboot.dev/ignition/internal/config"
)

// authority is a CA made for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// issue makes a certificate for 127.0.0.1 and secure.example.
func (a *authority) issue(t *testing.T, notBefore time.Time) tls.Certificate {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: notBefore, NotAfter: time.Now().Add(100 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"secure.example"},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serve starts an https server; get chooses the certificate of each connection.
func (a *authority) serve(t *testing.T, get func() *tls.Certificate, h http.Handler) *httptest.Server {
	t.Helper()
	if get == nil {
		c := a.issue(t, time.Now().Add(-time.Hour))
		get = func() *tls.Certificate { return &c }
	}
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return &tls.Config{Certificates: []tls.Certificate{*get()}}, nil
	}}
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func hello(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, "hello") }

func withCAs(sources ...string) config.Ignition {
	var ign config.Ignition
	for _, s := range sources {
		ign.Security.TLS.CertificateAuthorities = append(ign.Security.TLS.CertificateAuthorities, config.Resource{Source: ptr(s)})
	}
	return ign
}

// untrusted is the error of a fetch that stops at its first failure.
func untrusted(t *testing.T, f *Fetcher, url string) bool {
	t.Helper()
	l := &lines{}
	_, _, err := f.impatient(300*time.Millisecond).Bytes(t.Context(), l, Request{URL: url})
	return err != nil && l.count("certificate signed by unknown authority") > 0
}

// impatient gives a fetcher with the same settings that soon gives up.
func (f *Fetcher) impatient(total time.Duration) *Fetcher {
	n := *f
	n.total = total
	n.shared = &shared{opts: f.shared.opts, cas: map[string]*bundle{}, transports: map[settings]*http.Transport{}}
	n.shared.opts.sleep = sleep
	return &n
}

func TestBundles(t *testing.T) {
	a, b := newAuthority(t, "first CA"), newAuthority(t, "second CA")
	tests := []struct {
		name, raw string
		log       []string
		wantErr   string
	}{
		{"one", a.pem, []string{`info Adding "first CA" to list of CAs`}, ""},
		{"two", a.pem + b.pem, []string{`info Adding "first CA" to list of CAs`, `info Adding "second CA" to list of CAs`}, ""},
		{"blank line behind", a.pem + "\n\n", []string{`info Adding "first CA" to list of CAs`}, ""},
		{"text before, between and behind", "# one\n" + a.pem + "# two\n" + b.pem + "# end", []string{`info Adding "first CA" to list of CAs`, `info Adding "second CA" to list of CAs`}, ""},
		{"other block type", strings.ReplaceAll(a.pem, " CERTIFICATE-", " TRUSTED CERTIFICATE-"), []string{`info Adding "first CA" to list of CAs`}, ""},
		{"empty", "", nil, ""},
		{"white space", " \n", []string{"warning a CA bundle holds no certificate"}, ""},
		{"garbage", "this is no bundle", []string{"err Unable to parse CA bundle: unable to decode PEM block"}, "unable to decode PEM block"},
		{"second one cut", a.pem + b.pem[:100], []string{`info Adding "first CA" to list of CAs`, "err Unable to parse CA bundle: unable to decode PEM block"}, "unable to decode PEM block"},
		{"bad DER", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n", []string{"err Unable to parse CA bundle: x509: malformed certificate"}, "malformed certificate"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _ := testFetcher(t)
			l := &lines{}
			_, err := f.Offline().Using(t.Context(), l, withCAs(dataURL(tt.raw)))
			if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
				t.Errorf("error %v, want %q", err, tt.wantErr)
			}
			wantLog(t, l, tt.log...)
		})
	}
}

func TestTrust(t *testing.T) {
	a, b := newAuthority(t, "a"), newAuthority(t, "b")
	sa, sb := a.serve(t, nil, numbered(hello)), b.serve(t, nil, numbered(hello))
	f, _ := testFetcher(t)
	if !untrusted(t, f, sa.URL) {
		t.Fatal("an unknown authority is trusted")
	}
	withA, err := f.Using(t.Context(), &lines{}, withCAs(dataURL(a.pem)))
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := withA.Bytes(t.Context(), &lines{}, Request{URL: sa.URL})
	wantBody(t, got, err, "hello")
	if !untrusted(t, withA, sb.URL) {
		t.Error("another authority is trusted")
	}

	// A list is fetched under the CAs before it, so an entry cannot vouch for the next one.
	bundle := a.serve(t, nil, numbered(func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, b.pem) }))
	l := &lines{}
	if _, err := f.impatient(0).Using(t.Context(), l, config.Ignition{
		Timeouts: config.Timeouts{HTTPTotal: ptr(1)}, Security: withCAs(dataURL(a.pem), bundle.URL).Security,
	}); !errors.Is(err, ErrTimeout) || l.count("err Unable to fetch CA ("+bundle.URL+"): unable to fetch resource in time") != 1 {
		t.Errorf("error %v, log:\n%s", err, l.all())
	}
	withB, err := withA.Using(t.Context(), &lines{}, withCAs(bundle.URL))
	if err != nil {
		t.Fatal(err)
	}
	got, _, err = withB.Bytes(t.Context(), &lines{}, Request{URL: sb.URL})
	wantBody(t, got, err, "hello")
	if !untrusted(t, withB, sa.URL) {
		t.Error("a replaced list is still trusted")
	}

	none, err := withA.Using(t.Context(), &lines{}, config.Ignition{})
	if err != nil {
		t.Fatal(err)
	}
	if !untrusted(t, none, sa.URL) {
		t.Error("a dropped list is still trusted")
	}
	if !untrusted(t, withA.WithTimeouts(time.Second, 0), sa.URL) {
		t.Error("default settings trust the list")
	}
	got, _, err = withA.Bytes(t.Context(), &lines{}, Request{URL: sa.URL})
	wantBody(t, got, err, "hello") // the first fetcher is as it was
}

func TestCAsAreFetchedOnce(t *testing.T) {
	a := newAuthority(t, "a")
	var requests atomic.Int32
	s := serve(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		requests.Add(1)
		time.Sleep(20 * time.Millisecond)
		io.WriteString(w, a.pem)
	})
	f, _ := testFetcher(t)
	ca := config.Resource{Source: ptr(s.URL), Verification: config.Verification{Hash: ptr(sha512Of(a.pem))}}
	ign := config.Ignition{Security: config.Security{TLS: config.TLS{CertificateAuthorities: []config.Resource{ca}}}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := f.Using(t.Context(), &lines{}, ign); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	l := &lines{}
	if _, err := f.Using(t.Context(), l, ign); err != nil {
		t.Error(err)
	}
	wantLog(t, l, `info Adding "a" to list of CAs`)
	raw, err := f.Offline().CABytes(t.Context(), &lines{}, ca)
	wantBody(t, raw, err, a.pem)
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}

	// The same source with another hash is another resource.
	ca.Verification.Hash = ptr("sha512-" + strings.Repeat("0", 128))
	if _, err := f.CABytes(t.Context(), &lines{}, ca); !errors.Is(err, ErrVerify) {
		t.Errorf("other hash: %v", err)
	}
	if n := requests.Load(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
}

func TestCAResources(t *testing.T) {
	a := newAuthority(t, "a")
	var header string
	s := serve(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		header = r.Header.Get("X-Own")
		io.WriteString(w, zipped(t, a.pem))
	})
	f, _ := testFetcher(t)
	ca := config.Resource{Source: ptr(s.URL), Compression: ptr("gzip"), HTTPHeaders: []config.HTTPHeader{{Name: "X-Own", Value: ptr("1")}},
		Verification: config.Verification{Hash: ptr(sha256Of(a.pem))}}
	raw, err := f.CABytes(t.Context(), &lines{}, ca)
	wantBody(t, raw, err, a.pem)
	if header != "1" {
		t.Errorf("header %q", header)
	}
	for name, ca := range map[string]config.Resource{"no source": {}, "empty source": {Source: ptr("")}} {
		l := &lines{}
		ign := config.Ignition{Security: config.Security{TLS: config.TLS{CertificateAuthorities: []config.Resource{ca}}}}
		if _, err := f.Using(t.Context(), l, ign); errText(err) != "source is required" || l.count("err Unable to fetch CA (") != 1 {
			t.Errorf("%s: %v, log:\n%s", name, err, l.all())
		}
	}
	l := &lines{}
	if _, err := f.Offline().Using(t.Context(), l, withCAs("https://127.0.0.1:1/ca")); !errors.Is(err, ErrNeedNet) {
		t.Errorf("off line: %v", err)
	}
	wantLog(t, l)
}

// TestCertificateLater has a certificate that is refused at first, as with a clock that is not set yet.
func TestCertificateLater(t *testing.T) {
	a, other := newAuthority(t, "a"), newAuthority(t, "other")
	begins := time.Now().Add(50 * time.Hour).UTC()
	later := a.issue(t, begins)
	unknown := other.issue(t, time.Now().Add(-time.Hour))
	good := a.issue(t, time.Now().Add(-time.Hour))
	var now atomic.Pointer[tls.Certificate]
	s := a.serve(t, now.Load, numbered(hello))
	f, slept := testFetcher(t)
	f, err := f.Using(t.Context(), &lines{}, withCAs(dataURL(a.pem)))
	if err != nil {
		t.Fatal(err)
	}
	now.Store(&later)
	slept.do = func(n int) {
		switch n {
		case 2:
			now.Store(&unknown)
		case 3:
			now.Store(&good)
		}
	}
	l := &lines{}
	got, _, err := f.Bytes(t.Context(), l, Request{URL: s.URL})
	wantBody(t, got, err, "hello")
	if l.count("attempt #") != 4 || l.count("GET error: Get \""+s.URL+"\": tls: failed to verify certificate") != 3 || l.count("unknown authority") != 1 {
		t.Errorf("log:\n%s", l.all())
	}
	if l.count("warning the server's certificate is valid from "+begins.Format(time.RFC3339)+" on, but this machine's clock says") != 1 {
		t.Errorf("no word about the clock, or too many:\n%s", l.all())
	}
}

func TestRedirectToPlain(t *testing.T) {
	a := newAuthority(t, "a")
	plain := serve(t, hello)
	s := a.serve(t, nil, http.RedirectHandler(plain.URL+"/?token=hunter2", http.StatusFound))
	f, _ := testFetcher(t)
	f, err := f.Using(t.Context(), &lines{}, withCAs(dataURL(a.pem)))
	if err != nil {
		t.Fatal(err)
	}
	l := &lines{}
	got, _, err := f.Bytes(t.Context(), l, Request{URL: s.URL})
	wantBody(t, got, err, "hello")
	if l.count("warning "+s.URL+" was redirected from https to http ("+plain.URL) != 1 || l.count("hunter2") != 0 {
		t.Errorf("log:\n%s", l.all())
	}
}

func TestOldTLS(t *testing.T) {
	a := newAuthority(t, "a")
	s := httptest.NewUnstartedServer(numbered(hello))
	s.TLS = &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10, Certificates: []tls.Certificate{a.issue(t, time.Now().Add(-time.Hour))}}
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	f, _ := testFetcher(t)
	f, err := f.Using(t.Context(), &lines{}, withCAs(dataURL(a.pem)))
	if err != nil {
		t.Fatal(err)
	}
	l := &lines{}
	if _, _, err := f.impatient(300*time.Millisecond).Bytes(t.Context(), l, Request{URL: s.URL}); !errors.Is(err, ErrTimeout) || l.count("protocol version") == 0 {
		t.Errorf("error %v, log:\n%s", err, l.all())
	}
}
