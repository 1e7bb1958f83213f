// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

const googleStorage = "https://storage.googleapis.com/storage/v1/b/"

// googleURL is where the JSON interface has the object of gs://bucket/object.
func googleURL(raw string) (string, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return "", errURL
	}
	object := strings.TrimLeft(u.Path, "/")
	if u.Host == "" || object == "" {
		return "", fmt.Errorf("%w: a Google Cloud Storage URL is gs://BUCKET/OBJECT", ErrFailed)
	}
	return googleStorage + url.PathEscape(u.Host) + "/o/" + url.PathEscape(object) + "?alt=media", nil
}

// fetchGS gets an object with the token of the machine's service account, and
// anonymously where it has none.
func fetchGS(ctx context.Context, f *Fetcher, log Log, r Request, out *pipeline) error {
	at, err := googleURL(r.URL)
	if err != nil {
		return err
	}
	id := &f.shared.identity
	bearer, err := token(ctx, log, &id.google, id.cloud.Google)
	if err != nil && !errors.Is(err, ErrNoIdentity) {
		return fmt.Errorf("fetching GCS auth token: %w", err)
	}
	own := r
	own.URL, own.Headers = at, nil
	if err != nil {
		log.Debug("falling back to unauthenticated GCS access: %v", err)
	} else {
		own.Headers = http.Header{"Authorization": {"Bearer " + bearer}}
	}
	h, err := newHTTPFetch(f, log, own, out)
	if err != nil {
		return err
	}
	h.showAs(r.URL)
	return h.run(ctx)
}
