// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"firstboot.dev/ignition/internal/config"
)

const (
	azureBlobs   = ".blob.core.windows.net"
	azureVersion = "2021-08-06" // of the interface; bearer tokens need one
	azureTime    = 15 * time.Second
)

// azureBlob tells whether a URL is a blob that the machine's identity may open:
// one that is not signed already.
func azureBlob(raw string) bool {
	u, err := url.Parse(raw)
	return err == nil && strings.HasSuffix(strings.ToLower(u.Hostname()), azureBlobs) && !u.Query().Has("sig") && strings.Count(u.Path, "/") >= 2
}

// fetchAzureBlob gets a blob with the machine's identity. done is false where
// that was not possible; then nothing has been taken.
func fetchAzureBlob(ctx context.Context, f *Fetcher, log Log, r Request, out *pipeline) (done bool, err error) {
	id := &f.shared.identity
	if id.cloud.Azure == nil || !azureBlob(r.URL) {
		return false, nil
	}
	limited, cancel := context.WithTimeout(ctx, azureTime)
	defer cancel()
	bearer, err := token(limited, log, &id.azure, id.cloud.Azure)
	if errors.Is(err, ErrNoIdentity) {
		return false, nil
	}
	if err == nil {
		err = f.azureAttempt(limited, log, r, out, bearer)
	}
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return true, ctx.Err()
	case out.failed != nil: // of the destination, or of what was to be decompressed
		return true, out.failed
	}
	log.Info("could not fetch %s via Azure credentials: %v", config.RedactURL(r.URL), err)
	log.Info("falling back to HTTP fetch")
	return false, out.restart()
}

func (f *Fetcher) azureAttempt(ctx context.Context, log Log, r Request, out *pipeline, bearer string) error {
	own := r
	own.URL = strings.Replace(r.URL, "http:", "https:", 1) // a token goes over TLS only
	own.Headers = http.Header{"Authorization": {"Bearer " + bearer}, "X-Ms-Version": {azureVersion}}
	h, err := newHTTPFetch(f, log, own, out)
	if err != nil {
		return err
	}
	h.showAs(r.URL)
	return h.run(ctx)
}
