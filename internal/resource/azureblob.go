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

	"firstboot.dev/ignition/internal/config"
)

const (
	azureBlobs   = ".blob.core.windows.net"
	azureVersion = "2021-08-06"     // of the interface; bearer tokens need one
	azureTime    = 15 * time.Second // until a blob begins to come
)

var errAzureTime = errors.New("the machine's identity takes too long")

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
	limited, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	patience := azureTime
	if f.total > 0 {
		patience = min(patience, f.total/2) // the rest is for the other way
	}
	limit := time.AfterFunc(patience, func() { cancel(errAzureTime) })
	defer limit.Stop()
	bearer, err := token(limited, log, &id.azure, id.cloud.Azure)
	if errors.Is(err, ErrNoIdentity) {
		return false, nil
	}
	if err == nil {
		err = f.azureAttempt(limited, log, r, out, bearer, func() { limit.Stop() })
	}
	if context.Cause(limited) == errAzureTime {
		err = fmt.Errorf("no answer within %v", patience)
	}
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil:
		return true, ended(ctx, err)
	case out.failed != nil: // of the destination, or of what was to be decompressed
		return true, out.failed
	}
	log.Info("could not fetch %s via Azure credentials: %v", config.RedactURL(r.URL), err)
	log.Info("falling back to HTTP fetch")
	return false, out.restart()
}

func (f *Fetcher) azureAttempt(ctx context.Context, log Log, r Request, out *pipeline, bearer string, taking func()) error {
	own := r
	u, err := url.Parse(r.URL)
	if err != nil {
		return errURL
	}
	if u.Scheme == "http" { // a token goes over TLS only
		u.Scheme, u.Host = "https", u.Hostname()
	}
	own.URL = u.String()
	own.Headers = http.Header{"Authorization": {"Bearer " + bearer}, "X-Ms-Version": {azureVersion}}
	h, err := newHTTPFetch(f, log, own, out)
	if err != nil {
		return err
	}
	h.showAs(r.URL)
	h.taking = taking
	return h.run(ctx)
}
