// SPDX-License-Identifier: Apache-2.0

package azure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"firstboot.dev/ignition/internal/providers"
	"firstboot.dev/ignition/internal/resource"
)

const tokenURL = "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F"

// Cloud gives what blob storage needs: a token of the machine's managed
// identity. Nothing is asked before a fetch needs it.
func Cloud(env *providers.Env) resource.Cloud {
	return resource.Cloud{Azure: func(ctx context.Context, log resource.Log) (resource.Token, error) {
		raw, _, err := env.Fetcher.Bytes(ctx, log, resource.Request{URL: tokenURL, Headers: http.Header{"Metadata": {"true"}}, Limit: 1 << 20,
			RetryStatus: []int{http.StatusGone, http.StatusTooManyRequests}})
		if code := providers.StatusOf(err); code == http.StatusBadRequest || code == http.StatusNotFound {
			log.Info("could not retrieve any azure credentials: %v", err)
			return resource.Token{}, fmt.Errorf("the machine has no managed identity: %w", resource.ErrNoIdentity)
		}
		if err != nil {
			return resource.Token{}, err
		}
		return parseToken(raw)
	}}
}

func parseToken(raw []byte) (resource.Token, error) {
	var t struct {
		AccessToken string      `json:"access_token"`
		ExpiresOn   json.Number `json:"expires_on"` // seconds since 1970, as a text or not
	}
	if err := json.Unmarshal(raw, &t); err != nil || t.AccessToken == "" {
		return resource.Token{}, errors.New("the metadata service's answer is no token")
	}
	token := resource.Token{Value: t.AccessToken}
	if n, err := t.ExpiresOn.Int64(); err == nil {
		token.Expires = time.Unix(n, 0)
	}
	return token, nil
}
