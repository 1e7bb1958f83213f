// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrNoIdentity says that the platform gives this machine no credentials:
// object stores are asked anonymously then.
var ErrNoIdentity = errors.New("the machine has no identity")

// AWSCredentials sign requests to S3. Their text never reaches a log.
type AWSCredentials struct {
	AccessKeyID, SecretAccessKey, Token string
	Expires                             time.Time // zero = never
}

// Token is a bearer token. Its text never reaches a log.
type Token struct {
	Value   string
	Expires time.Time // zero = never
}

// Cloud is what object stores need of the machine's platform. A nil function is
// a platform that gives no such thing. Each is called when a fetch needs it and
// not before, and what it gave is kept until it expires.
type Cloud struct {
	Region func(ctx context.Context, log Log) string // of the instance, for S3
	AWS    func(ctx context.Context, log Log) (AWSCredentials, error)
	Google func(ctx context.Context, log Log) (Token, error)
	Azure  func(ctx context.Context, log Log) (Token, error)
}

// SetCloud tells all fetchers of the process which platform they are on.
func (f *Fetcher) SetCloud(c Cloud) { f.shared.identity.cloud = c }

// expiryMargin is how long before their end credentials are no longer used.
const expiryMargin = time.Minute

// kept is something that expires, or the knowledge that there is none.
type kept[T any] struct {
	mu      sync.Mutex
	value   T
	err     error
	asked   bool
	expires time.Time
}

// get gives what is kept, or asks: once for all that wait for it. Of errors only
// that there is no identity is kept.
func (k *kept[T]) get(ask func() (T, time.Time, error)) (T, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.asked && (k.expires.IsZero() || time.Until(k.expires) > expiryMargin) {
		return k.value, k.err
	}
	value, expires, err := ask()
	if err == nil || errors.Is(err, ErrNoIdentity) {
		k.value, k.expires, k.err, k.asked = value, expires, err, true
	}
	return value, err
}

// identity is the cloud with what it gave so far.
type identity struct {
	cloud         Cloud
	aws           kept[AWSCredentials]
	google, azure kept[Token]
	home          kept[string]

	mu      sync.Mutex
	regions map[string]string // of buckets, by partition and name
}

func (i *identity) awsCredentials(ctx context.Context, log Log) (AWSCredentials, error) {
	if i.cloud.AWS == nil {
		return AWSCredentials{}, ErrNoIdentity
	}
	return i.aws.get(func() (AWSCredentials, time.Time, error) {
		c, err := i.cloud.AWS(ctx, log)
		return c, c.Expires, err
	})
}

func token(ctx context.Context, log Log, k *kept[Token], ask func(context.Context, Log) (Token, error)) (string, error) {
	if ask == nil {
		return "", ErrNoIdentity
	}
	t, err := k.get(func() (Token, time.Time, error) {
		t, err := ask(ctx, log)
		return t, t.Expires, err
	})
	return t.Value, err
}

// region gives the instance's own, "" where the platform has none.
func (i *identity) region(ctx context.Context, log Log) string {
	if i.cloud.Region == nil {
		return ""
	}
	r, _ := i.home.get(func() (string, time.Time, error) { return i.cloud.Region(ctx, log), time.Time{}, nil })
	return r
}

func (i *identity) bucketRegion(o s3Object) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.regions[o.partition+":"+o.bucket]
}

func (i *identity) setBucketRegion(o s3Object, region string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.regions == nil {
		i.regions = map[string]string{}
	}
	i.regions[o.partition+":"+o.bucket] = region
}
