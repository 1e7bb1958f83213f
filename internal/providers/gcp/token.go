// SPDX-License-Identifier: Apache-2.0

package gcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const tokenURL = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default/token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fdevstorage.read_only"

// Cloud gives what Cloud Storage needs: a token of the instance's service
// account. Nothing is asked before a fetch needs it.
func Cloud(env *providers.Env) resource.Cloud {
	return resource.Cloud{Google: func(ctx context.Context, log resource.Log) (resource.Token, error) {
		raw, _, err := env.Fetcher.Bytes(ctx, log, resource.Request{URL: tokenURL, Headers: map[string][]string{"Metadata-Flavor": {"Google"}}, Limit: 1 << 20})
		if errors.Is(err, resource.ErrNotFound) {
			return resource.Token{}, fmt.Errorf("the instance has no service account: %w", resource.ErrNoIdentity)
		}
		if err != nil {
			return resource.Token{}, err
		}
		return parseToken(raw, time.Now())
	}}
}

func parseToken(raw []byte, now time.Time) (resource.Token, error) {
	var t struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int64  `json:"expires_in"` // seconds
	}
	if err := json.Unmarshal(raw, &t); err != nil || t.AccessToken == "" {
		return resource.Token{}, errors.New("the metadata service's answer is no token")
	}
	return resource.Token{Value: t.AccessToken, Expires: now.Add(time.Duration(t.ExpiresIn) * time.Second)}, nil
}
