// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestParseS3(t *testing.T) {
	const point = "arn:aws:s3:eu-west-1:123456789012:accesspoint/mine/object/"
	tests := []struct {
		url, region string // region "" = the hint
		want        string
	}{
		{"s3://bucket/key", "", "https://bucket.s3.dualstack.us-east-1.amazonaws.com/key"},
		{"s3://bucket///a//b", "", "https://bucket.s3.dualstack.us-east-1.amazonaws.com/a//b"},
		{"s3://bucket/a%20b%2Bc+d/%C3%A9(1)", "", "https://bucket.s3.dualstack.us-east-1.amazonaws.com/a%20b%2Bc%2Bd/%C3%A9%281%29"},
		{"s3://bucket/a%3Fb%23c", "", "https://bucket.s3.dualstack.us-east-1.amazonaws.com/a%3Fb%23c"},
		{"s3://bucket/key?versionId=v1&versionId=v2", "", "https://bucket.s3.dualstack.us-east-1.amazonaws.com/key?versionId=v1"},
		{"s3://bucket/key?versionId=a%2Bb%26c", "", "https://bucket.s3.dualstack.us-east-1.amazonaws.com/key?versionId=a%2Bb%26c"},
		{"s3://bucket/key?other=x", "", "https://bucket.s3.dualstack.us-east-1.amazonaws.com/key"},
		{"s3://dotted.bucket.example/key", "eu-west-1", "https://s3.dualstack.eu-west-1.amazonaws.com/dotted.bucket.example/key"},
		{"s3://bucket/key", "cn-north-1", "https://bucket.s3.dualstack.cn-north-1.amazonaws.com.cn/key"},
		{"arn:aws:s3:::bucket/a/b", "", "https://bucket.s3.dualstack.us-east-1.amazonaws.com/a/b"},
		{"arn:aws:s3:::bucket/a%20b", "", "https://bucket.s3.dualstack.us-east-1.amazonaws.com/a%2520b"},
		{"arn:aws:s3:::bucket/a:b?versionId=v", "", "https://bucket.s3.dualstack.us-east-1.amazonaws.com/a%3Ab?versionId=v"},
		{"arn:aws-cn:s3:::bucket/k", "", "https://bucket.s3.dualstack.cn-north-1.amazonaws.com.cn/k"},
		{"arn:aws-us-gov:s3:::bucket/k", "", "https://bucket.s3.dualstack.us-gov-west-1.amazonaws.com/k"},
		{point + "a/b", "", "https://mine-123456789012.s3-accesspoint.dualstack.eu-west-1.amazonaws.com/a/b"},
		{point + "k?versionId=v", "", "https://mine-123456789012.s3-accesspoint.dualstack.eu-west-1.amazonaws.com/k?versionId=v"},
		{"arn:aws-cn:s3:cn-north-1:1:accesspoint/p/object/k", "", "https://p-1.s3-accesspoint.dualstack.cn-north-1.amazonaws.com.cn/k"},
	}
	for _, tt := range tests {
		t.Run(tt.url, func(t *testing.T) {
			o, err := parseS3(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			region := tt.region
			for _, r := range []string{o.region, o.hint(), defaultRegion} {
				if region == "" {
					region = r
				}
			}
			if got := o.endpoint(region).String(); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestParseS3Fails(t *testing.T) {
	for _, url := range []string{
		"arn:aws:s3", "arn:aws:s3:::", "arn:aws:s3:::bucket", "arn:aws:s3:::bucket/", "arn:aws:s3:::/key", "arn:aws:ec2:::bucket/key",
		"arn:aws:s3:eu-west-1:1:accesspoint/p", "arn:aws:s3:eu-west-1:1:accesspoint/p/object/", "arn:aws:s3:eu-west-1:1:accesspoint//object/k",
		"arn:aws:s3:eu-west-1::accesspoint/p/object/k", "arn:aws:s3::1:accesspoint/p/object/k", "arn:aws:s3:eu-west-1:1:accesspoint/p/x/object/k",
		"arn:aws:s3:evil.example/:1:accesspoint/p/object/k", "arn:aws:s3:x@evil.example:1:accesspoint/p/object/k",
	} {
		if o, err := parseS3(url); !errors.Is(err, errARN) {
			t.Errorf("%s: %+v, %v", url, o, err)
		}
	}
	for _, url := range []string{"s3://bucket", "s3://bucket/", "s3://bucket///", "s3:///key", "s3:key"} {
		if o, err := parseS3(url); !errors.Is(err, ErrFailed) {
			t.Errorf("%s: %+v, %v", url, o, err)
		}
	}
}

// TestSignature is the example "GET Object" of the S3 documentation.
func TestSignature(t *testing.T) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://examplebucket.s3.amazonaws.com/test.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Range", "bytes=0-9")
	at := time.Date(2013, 5, 24, 0, 0, 0, 0, time.UTC)
	creds := AWSCredentials{AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	if err := signS3(t.Context(), req, creds, "us-east-1", at); err != nil {
		t.Fatal(err)
	}
	const want = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request," +
		"SignedHeaders=host;range;x-amz-content-sha256;x-amz-date," +
		"Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
	if got := strings.ReplaceAll(req.Header.Get("Authorization"), ", ", ","); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got, err := wantedSignature(req, "us-east-1", creds.SecretAccessKey); err != nil || !strings.HasSuffix(want, got) {
		t.Errorf("the tests' own algorithm gives %s, %v", got, err)
	}
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}

// wantedSignature computes what a request's signature has to be, as a server does
// by the documentation of Signature Version 4.
func wantedSignature(r *http.Request, region, secret string) (string, error) {
	_, rest, ok := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
	names, _, ok2 := strings.Cut(rest, ",")
	signed := strings.Split(names, ";")
	if !ok || !ok2 || !slices.IsSorted(signed) || !slices.Contains(signed, "host") {
		return "", fmt.Errorf("authorization %q", r.Header.Get("Authorization"))
	}
	var headers strings.Builder
	for _, name := range signed {
		value := strings.Join(r.Header.Values(name), ",")
		if name == "host" {
			value = r.Host
		}
		fmt.Fprintf(&headers, "%s:%s\n", name, strings.TrimSpace(value))
	}
	for name := range r.Header {
		if lower := strings.ToLower(name); strings.HasPrefix(lower, "x-amz-") && !slices.Contains(signed, lower) {
			return "", fmt.Errorf("%s is not signed", name)
		}
	}
	// Queries of these tests have one pair, escaped as the algorithm wants it.
	canonical := strings.Join([]string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery, headers.String(), names, r.Header.Get("X-Amz-Content-Sha256")}, "\n")
	date := r.Header.Get("X-Amz-Date")
	scope := date[:8] + "/" + region + "/s3/aws4_request"
	text := fmt.Sprintf("AWS4-HMAC-SHA256\n%s\n%s\n%x", date, scope, sha256.Sum256([]byte(canonical)))
	key := mac(mac(mac(mac([]byte("AWS4"+secret), date[:8]), region), "s3"), "aws4_request")
	return fmt.Sprintf("%x", mac(key, text)), nil
}

// goodCreds are the tests' credentials.
var goodCreds = AWSCredentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "hunter2secret", Token: "hunter2token"}

// verify fails the test unless a request carries a good signature with goodCreds.
func verify(t *testing.T, r *http.Request, region string) {
	t.Helper()
	want, err := wantedSignature(r, region, goodCreds.SecretAccessKey)
	got := r.Header.Get("Authorization")
	if err != nil || !strings.HasSuffix(got, "Signature="+want) || !strings.Contains(got, "Credential=AKIDTEST/") {
		t.Errorf("%s %s: authorization %q, want signature %s, %v", r.Method, r.URL, got, want, err)
	}
	if r.Header.Get("X-Amz-Security-Token") != goodCreds.Token {
		t.Errorf("session token %q", r.Header.Get("X-Amz-Security-Token"))
	}
}

// onAWS gives a fetcher credentials that are counted.
func onAWS(f *Fetcher, c AWSCredentials, err error) *atomic.Int32 {
	var n atomic.Int32
	f.SetCloud(Cloud{AWS: func(context.Context, Log) (AWSCredentials, error) { n.Add(1); return c, err }})
	return &n
}

func TestS3Signed(t *testing.T) {
	f, _, p := newPlace(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		verify(t, r, "us-east-1")
		io.WriteString(w, "body")
	})
	creds := onAWS(f, goodCreds, nil)
	l := &lines{}
	for _, url := range []string{"s3://b/a%20b+c/(d)", "s3://b/k?versionId=v%2F1", "arn:aws:s3:::dotted.b/k%41"} {
		got, _, err := f.Bytes(t.Context(), l, Request{URL: url, Headers: http.Header{"X-Own": {"1"}}})
		wantBody(t, got, err, "body")
		if !strings.Contains(l.all(), "info GET "+url+": attempt #1\ninfo GET result: OK") {
			t.Errorf("%s is not in the log:\n%s", url, l.all())
		}
	}
	p.wantAsked(t, "GET b.s3.dualstack.us-east-1.amazonaws.com/a%20b%2Bc/%28d%29", "GET b.s3.dualstack.us-east-1.amazonaws.com/k?versionId=v%2F1",
		"GET s3.dualstack.us-east-1.amazonaws.com/dotted.b/k%2541")
	if n := creds.Load(); n != 1 {
		t.Errorf("credentials were asked for %d times", n)
	}
	if p.plain > 0 || p.requests[0].Header.Get("X-Own") != "" {
		t.Error("not TLS, or a header of the resource was sent")
	}
	wantSecret(t, l, nil, goodCreds.SecretAccessKey, goodCreds.Token, "Signature=", "AKIDTEST")
}

func TestS3Region(t *testing.T) {
	const at = ".s3.dualstack."
	tests := []struct {
		name     string
		url      string
		home     string // the instance's region
		status   int
		header   string
		want     []string // regions asked by two fetches
		wantKind error
	}{
		{"moved", "s3://b/k", "", 301, "eu-west-1", []string{"us-east-1", "eu-west-1", "eu-west-1"}, nil},
		{"malformed signature", "s3://b/k", "", 400, "eu-west-1", []string{"us-east-1", "eu-west-1", "eu-west-1"}, nil},
		{"temporarily elsewhere", "s3://b/k", "", 307, "eu-west-1", []string{"us-east-1", "eu-west-1", "eu-west-1"}, nil},
		{"forbidden there", "s3://b/k", "", 403, "eu-west-1", []string{"us-east-1", "eu-west-1", "eu-west-1"}, nil},
		{"the instance's", "s3://b/k", "eu-west-1", 301, "us-east-1", []string{"eu-west-1", "eu-west-1"}, nil},
		{"the instance's for an ARN", "arn:aws:s3:::b/k", "us-west-2", 301, "eu-west-1", []string{"us-west-2", "eu-west-1", "eu-west-1"}, nil},
		{"of the ARN's partition", "arn:aws:s3:::b/k", "cn-north-1", 301, "eu-west-1", []string{"us-east-1", "eu-west-1", "eu-west-1"}, nil},
		{"another host", "s3://b/k", "", 301, "evil.example/", []string{"us-east-1", "us-east-1"}, ErrFailed},
		{"another host with a port", "s3://b/k", "", 301, "x@evil.example:1#", []string{"us-east-1", "us-east-1"}, ErrFailed},
		{"no header", "s3://b/k", "", 301, "", []string{"us-east-1", "us-east-1"}, ErrFailed},
		{"the same", "s3://b/k", "", 400, "us-east-1", []string{"us-east-1", "us-east-1"}, ErrFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _, p := newPlace(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				_, rest, _ := strings.Cut(r.Host, at)
				region, _, _ := strings.Cut(rest, ".")
				verify(t, r, region)
				if region == "eu-west-1" {
					io.WriteString(w, "body")
					return
				}
				w.Header().Set("Location", "https://evil.example/")
				if tt.header != "" {
					w.Header().Set("X-Amz-Bucket-Region", tt.header)
				}
				w.WriteHeader(tt.status)
			})
			cloud := Cloud{AWS: func(context.Context, Log) (AWSCredentials, error) { return goodCreds, nil }}
			if tt.home != "" {
				cloud.Region = func(context.Context, Log) string { return tt.home }
			}
			f.SetCloud(cloud)
			for range 2 {
				got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: tt.url})
				if tt.wantKind == nil {
					wantBody(t, got, err, "body")
				} else {
					wantError(t, err, tt.wantKind, `error fetching object "k" from bucket "b": `)
				}
			}
			var want []string
			for _, r := range tt.want {
				want = append(want, "GET b"+at+r+".amazonaws.com/k")
			}
			p.wantAsked(t, want...)
		})
	}
}

// TestS3RegionLoop has a service that sends the fetcher around.
func TestS3RegionLoop(t *testing.T) {
	f, _, p := newPlace(t, func(w http.ResponseWriter, _ *http.Request, n int) {
		w.Header().Set("X-Amz-Bucket-Region", fmt.Sprintf("eu-west-%d", n))
		w.WriteHeader(301)
	})
	_, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "s3://b/k"})
	wantError(t, err, ErrFailed, "")
	if n := len(p.asked()); n != 1+regionChanges {
		t.Errorf("%d requests", n)
	}
	// An access point's region is in its name.
	_, _, err = f.Bytes(t.Context(), &lines{}, Request{URL: "arn:aws:s3:eu-west-1:1:accesspoint/p/object/k"})
	wantError(t, err, ErrFailed, "")
	if got := p.asked()[1+regionChanges:]; !slices.Equal(got, []string{"GET p-1.s3-accesspoint.dualstack.eu-west-1.amazonaws.com/k"}) {
		t.Errorf("asked %q", got)
	}
}

func TestS3Errors(t *testing.T) {
	said := func(code string) string {
		return `<?xml version="1.0"?><Error><Code>` + code + `</Code><Message>hunter2</Message></Error>`
	}
	tests := []struct {
		name   string
		status int
		body   string
		kind   error
		text   string
	}{
		{"no key", 404, said("NoSuchKey"), ErrNotFound, `error fetching object "k" from bucket "b": resource not found (404 NoSuchKey)`},
		{"no version", 404, said("NoSuchVersion"), ErrNotFound, `resource not found (404 NoSuchVersion)`},
		{"no bucket", 404, said("NoSuchBucket"), ErrNotFound, `could not find bucket "b": resource not found`},
		{"denied", 403, said("AccessDenied"), ErrFailed, `failed to fetch resource (403 AccessDenied)`},
		{"clock", 403, said("RequestTimeTooSkewed"), ErrFailed, `(403 RequestTimeTooSkewed)`},
		{"no body", 403, "", ErrFailed, `from bucket "b": failed to fetch resource`},
		{"no code", 403, said("<x>\n"), ErrFailed, `from bucket "b": failed to fetch resource`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, slept, p := newPlace(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.body)
			})
			onAWS(f, goodCreds, nil)
			l := &lines{}
			_, _, err := f.Bytes(t.Context(), l, Request{URL: "s3://b/k"})
			wantError(t, err, tt.kind, tt.text)
			if strings.ContainsAny(errText(err), "<>\n") || len(slept.d) != 0 || len(p.asked()) != 1 {
				t.Errorf("error %v after %d requests", err, len(p.asked()))
			}
			wantSecret(t, l, err, "hunter2")
		})
	}
}

func TestS3Identity(t *testing.T) {
	none := fmt.Errorf("no EC2 IMDS role: %w", ErrNoIdentity)
	tests := []struct {
		name     string
		platform bool // has credentials for some
		err      error
		status   int
		kind     error
		text     string
		asked    int
	}{
		{"another platform", false, nil, 200, nil, "", 1},
		{"another platform, private", false, nil, 403, ErrFailed, `error fetching object "k" from bucket "b": failed to fetch resource`, 1},
		{"no role", true, none, 200, nil, "", 1},
		{"no role, private", true, none, 403, ErrFailed,
			`error fetching object "k" from bucket "b" anonymously: failed to fetch resource (authenticated fetch also failed: no EC2 IMDS role: `, 1},
		{"role without credentials", true, errors.New("no luck"), 200, nil, `error fetching object "k" from bucket "b": no luck`, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, _, p := newPlace(t, func(w http.ResponseWriter, r *http.Request, _ int) {
				for name := range r.Header {
					if name == "Authorization" || strings.HasPrefix(name, "X-Amz") {
						t.Errorf("the request has %s", name)
					}
				}
				w.WriteHeader(tt.status)
				io.WriteString(w, "body")
			})
			if tt.platform {
				onAWS(f, goodCreds, tt.err)
			}
			got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "s3://b/k"})
			if tt.text == "" {
				wantBody(t, got, err, "body")
			} else {
				wantError(t, err, tt.kind, tt.text)
			}
			if n := len(p.asked()); n != tt.asked {
				t.Errorf("%d requests, want %d", n, tt.asked)
			}
		})
	}
}

// TestS3Renewal has credentials that are about to end, and then ones that last.
func TestS3Renewal(t *testing.T) {
	f, _, _ := newPlace(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		verify(t, r, "us-east-1")
		io.WriteString(w, "body")
	})
	expires := []time.Duration{expiryMargin - time.Second, time.Hour, time.Hour}
	n := 0
	f.SetCloud(Cloud{AWS: func(context.Context, Log) (AWSCredentials, error) {
		c := goodCreds
		c.Expires = time.Now().Add(expires[n])
		n++
		return c, nil
	}})
	for range 4 {
		got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "s3://b/k"})
		wantBody(t, got, err, "body")
	}
	if n != 2 {
		t.Errorf("credentials were asked for %d times, want twice", n)
	}
}

// TestNoIdentityIsKept: also that there is none is asked once; other errors are not kept.
func TestNoIdentityIsKept(t *testing.T) {
	f, _, _ := newPlace(t, func(w http.ResponseWriter, _ *http.Request, _ int) { io.WriteString(w, "body") })
	for err, want := range map[error]int32{ErrNoIdentity: 1, errors.New("late"): 3} {
		f.shared.identity = identity{}
		asked := onAWS(f, AWSCredentials{}, err)
		for range 3 {
			_, _, _ = f.Bytes(t.Context(), &lines{}, Request{URL: "s3://b/k"})
		}
		if n := asked.Load(); n != want {
			t.Errorf("%v: asked %d times, want %d", err, n, want)
		}
	}
}

// TestS3Patience: a late network and a service in trouble are waited for; a cut
// download goes on where it was, and each request has a signature of its own.
func TestS3Patience(t *testing.T) {
	body := random(300 << 10)
	f, slept, p := newPlace(t, func(w http.ResponseWriter, r *http.Request, n int) {
		verify(t, r, "us-east-1")
		w.Header().Set("ETag", `"one"`)
		switch n {
		case 1:
			w.WriteHeader(503)
		case 2:
			w.WriteHeader(500)
		case 3:
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			io.WriteString(w, body[:100<<10])
			cut(w)
		default:
			if r.Header.Get("If-Range") != `"one"` {
				t.Errorf("If-Range %q", r.Header.Get("If-Range"))
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(body))
		}
	})
	onAWS(f, goodCreds, nil)
	p.refuse = 3
	l := &lines{}
	got, _, err := f.Bytes(t.Context(), l, Request{URL: "s3://b/k"})
	wantBody(t, got, err, body)
	if len(slept.d) != 6 || l.count("GET s3://b/k: attempt #7") != 1 {
		t.Errorf("%d pauses, log:\n%s", len(slept.d), l.all())
	}
	if last := p.requests[3].Header; last.Get("Range") == "" || !strings.Contains(last.Get("Authorization"), "range;") {
		t.Errorf("the last request was %v", last)
	}
	wantSecret(t, l, nil, "hunter2", "Signature=")
}

// TestTotalOfStores: the total time-out is one for all requests of a resource,
// and stays what it is after answers of 5xx.
func TestTotalOfStores(t *testing.T) {
	for _, url := range []string{"s3://b/k", "gs://b/k", "oci://h/r"} {
		f, _, _ := newPlace(t, func(w http.ResponseWriter, r *http.Request, n int) {
			w.Header().Set("X-Amz-Bucket-Region", fmt.Sprintf("eu-west-%d", n))
			w.WriteHeader(503)
		})
		f.total, f.shared.opts.sleep = 200*time.Millisecond, sleep
		start := time.Now()
		_, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: url})
		if took := time.Since(start); !errors.Is(err, ErrTimeout) || took > 5*time.Second || took < 200*time.Millisecond {
			t.Errorf("%s: %v after %v", url, err, took)
		}
	}
}

// TestTotalOverRegions: a change of region does not begin the time-out anew.
func TestTotalOverRegions(t *testing.T) {
	f, _, _ := newPlace(t, func(w http.ResponseWriter, r *http.Request, n int) {
		select {
		case <-time.After(600 * time.Millisecond):
		case <-r.Context().Done():
		}
		w.Header().Set("X-Amz-Bucket-Region", fmt.Sprintf("eu-west-%d", n))
		w.WriteHeader(301)
	})
	f.total = time.Second
	start := time.Now()
	_, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "s3://b/k"})
	if took := time.Since(start); !errors.Is(err, ErrTimeout) || took > 1500*time.Millisecond {
		t.Errorf("%v after %v", err, took)
	}
}

// TestStalledRefusal: what a server says of a refusal is not waited for without end.
func TestStalledRefusal(t *testing.T) {
	f, _, _ := newPlace(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.WriteHeader(403)
		io.WriteString(w, "<Error><Code>AccessDenied</Code>")
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	})
	f.shared.opts.idle = 100 * time.Millisecond
	_, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: "s3://b/k"})
	wantError(t, err, ErrFailed, "(403 AccessDenied)")
}

func TestS3Content(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	io.WriteString(z, "unpacked")
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	f, _, _ := newPlace(t, func(w http.ResponseWriter, _ *http.Request, _ int) { _, _ = w.Write(packed.Bytes()) })
	sum := fmt.Sprintf("sha256-%x", sha256.Sum256([]byte("unpacked")))
	for _, url := range []string{"s3://b/k", "arn:aws:s3:::b/k", "gs://b/k"} {
		got, _, err := f.Bytes(t.Context(), &lines{}, Request{URL: url, Compression: "gzip", Hash: sum})
		wantBody(t, got, err, "unpacked")
		_, _, err = f.Bytes(t.Context(), &lines{}, Request{URL: url, Hash: sum})
		wantError(t, err, ErrVerify, "")
	}
}
