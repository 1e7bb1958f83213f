// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	signer "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	defaultRegion = "us-east-1"
	regionHeader  = "X-Amz-Bucket-Region"
	emptySHA256   = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" // of a request without a body
	regionChanges = 2
)

var errARN = errors.New("invalid S3 ARN format")

// s3Object is what an s3: or arn: URL names.
type s3Object struct {
	partition    string // of an ARN
	bucket       string // or the whole ARN of the access point
	key, version string
	region       string // of an access point
	accessPoint  string // NAME-ACCOUNT
}

// parseS3 reads s3://bucket/key, arn:partition:s3:::bucket/key and
// arn:partition:s3:region:account:accesspoint/name/object/key, each with
// ?versionId=v.
func parseS3(raw string) (s3Object, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return s3Object{}, errURL
	}
	o := s3Object{version: u.Query().Get("versionId")}
	if u.Scheme == "s3" {
		o.bucket, o.key = u.Host, strings.TrimLeft(u.Path, "/")
		if o.bucket == "" || o.key == "" {
			return s3Object{}, fmt.Errorf("%w: an S3 URL is s3://BUCKET/KEY", ErrFailed)
		}
		return o, nil
	}
	plain, _, _ := strings.Cut(raw, "?")
	f := strings.SplitN(plain, ":", 6)
	if len(f) < 6 || f[2] != "s3" {
		return s3Object{}, errARN
	}
	o.partition = f[1]
	rest, isPoint := strings.CutPrefix(f[5], "accesspoint/")
	if !isPoint {
		var ok bool
		if o.bucket, o.key, ok = strings.Cut(f[5], "/"); !ok || o.bucket == "" || o.key == "" {
			return s3Object{}, errARN
		}
		return o, nil
	}
	name, key, ok := strings.Cut(rest, "/object/")
	if !ok || name == "" || key == "" || strings.Contains(name, "/") || !validRegion(f[3]) || f[4] == "" {
		return s3Object{}, errARN
	}
	o.region, o.accessPoint, o.key = f[3], name+"-"+f[4], key
	o.bucket = strings.TrimSuffix(plain, "/object/"+key)
	return o, nil
}

// inPartition gives a region if it is one of the ARN's partition: the name of a
// bucket may be another's in another partition.
func (o s3Object) inPartition(region string) string {
	partition := "aws"
	switch {
	case strings.HasPrefix(region, "cn-"):
		partition = "aws-cn"
	case strings.HasPrefix(region, "us-gov-"):
		partition = "aws-us-gov"
	}
	if o.partition != "" && o.partition != partition {
		return ""
	}
	return region
}

// hint is the region that an ARN's partition asks first.
func (o s3Object) hint() string {
	switch o.partition {
	case "aws-cn":
		return "cn-north-1"
	case "aws-us-gov":
		return "us-gov-west-1"
	}
	return ""
}

// endpoint is where the object is, if its bucket is in a region: reachable by
// IPv4 and IPv6. The certificates of the service do not cover bucket names with dots.
func (o s3Object) endpoint(region string) *url.URL {
	domain := ".dualstack." + region + ".amazonaws.com"
	if strings.HasPrefix(region, "cn-") {
		domain += ".cn"
	}
	u := &url.URL{Scheme: "https", Path: "/" + o.key}
	switch {
	case o.accessPoint != "":
		u.Host = o.accessPoint + ".s3-accesspoint" + domain
	case strings.Contains(o.bucket, "."):
		u.Host, u.Path = "s3"+domain, "/"+o.bucket+"/"+o.key
	default:
		u.Host = o.bucket + ".s3" + domain
	}
	u.RawPath = escapeKey(u.Path)
	if o.version != "" {
		u.RawQuery = url.Values{"versionId": {o.version}}.Encode()
	}
	return u
}

// escapeKey escapes a path as signatures want it: all but unreserved characters and slashes.
func escapeKey(p string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(p) {
		c := p[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if letter || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// fetchS3 gets an object with the credentials of the platform, and anonymously
// where it gives none.
func fetchS3(ctx context.Context, f *Fetcher, log Log, r Request, out *pipeline) error {
	o, err := parseS3(r.URL)
	if err != nil {
		return err
	}
	id := &f.shared.identity
	_, noRole := id.awsCredentials(ctx, log)
	if noRole != nil && !errors.Is(noRole, ErrNoIdentity) {
		return fmt.Errorf("error fetching object %q from bucket %q: %w", o.key, o.bucket, noRole)
	}
	err = o.fetch(ctx, f, log, r, out, noRole == nil)
	switch {
	case err == nil || ctx.Err() != nil:
		return err
	case noRole != nil && id.cloud.AWS != nil:
		return fmt.Errorf("error fetching object %q from bucket %q anonymously: %w (authenticated fetch also failed: %v)", o.key, o.bucket, err, noRole)
	}
	return fmt.Errorf("error fetching object %q from bucket %q: %w", o.key, o.bucket, err)
}

// fetch asks in the region where the bucket is thought to be. The answer of
// another region names the right one.
func (o s3Object) fetch(ctx context.Context, f *Fetcher, log Log, r Request, out *pipeline, signed bool) error {
	id := &f.shared.identity
	region := o.region
	for _, guess := range []func() string{
		func() string { return id.bucketRegion(o) }, func() string { return o.inPartition(id.region(ctx, log)) }, o.hint,
	} {
		if region == "" {
			region = guess()
		}
	}
	if region == "" {
		region = defaultRegion
	}
	for changes := 0; ; changes++ {
		err := o.fetchIn(ctx, f, log, r, out, signed, region)
		var status *StatusError
		if !errors.As(err, &status) || errors.Is(err, ErrTimeout) {
			return err
		}
		right := status.header.Get(regionHeader)
		if right != "" && right != region && o.region == "" && changes < regionChanges && validRegion(right) {
			log.Debug("bucket %q is in region %q", o.bucket, right)
			region = right
			id.setBucketRegion(o, right)
			continue
		}
		return s3Error(o, status)
	}
}

// validRegion keeps an answer from naming another host.
func validRegion(s string) bool {
	return s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// s3Error says of a refusal what the service says: its code.
func s3Error(o s3Object, status *StatusError) error {
	_, rest, _ := strings.Cut(string(status.body), "<Code>")
	code, _, ok := strings.Cut(rest, "</Code>")
	switch {
	case !ok || strings.Trim(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") != "":
		return status
	case code == "NoSuchBucket":
		return fmt.Errorf("could not find bucket %q: %w", o.bucket, status)
	}
	return fmt.Errorf("%w (%d %s)", status, status.Code, code)
}

func (o s3Object) fetchIn(ctx context.Context, f *Fetcher, log Log, r Request, out *pipeline, signed bool, region string) error {
	at := o.endpoint(region)
	own := r
	own.URL, own.Headers = at.String(), nil
	h, err := newHTTPFetch(f, log, own, out)
	if err != nil {
		return err
	}
	h.url = at // parsing again would forget how the path is escaped
	h.showAs(r.URL)
	h.stay, h.keepBody = true, true
	if signed {
		h.prepare = func(req *http.Request) error {
			creds, err := f.shared.identity.awsCredentials(ctx, log)
			if err != nil {
				return err
			}
			return signS3(ctx, req, creds, region, time.Now())
		}
	}
	return h.run(ctx)
}

// signS3 signs a request without a body.
func signS3(ctx context.Context, req *http.Request, creds AWSCredentials, region string, now time.Time) error {
	req.Header.Set("X-Amz-Content-Sha256", emptySHA256)
	s := signer.NewSigner(func(o *signer.SignerOptions) { o.DisableURIPathEscaping = true })
	return s.SignHTTP(ctx, aws.Credentials{AccessKeyID: creds.AccessKeyID, SecretAccessKey: creds.SecretAccessKey, SessionToken: creds.Token},
		req, emptySHA256, "s3", region, now)
}
