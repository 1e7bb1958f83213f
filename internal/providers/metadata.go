// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"errors"
	"time"

	"firstboot.dev/ignition/internal/resource"
)

// HeadStart is how long the first endpoint of a metadata service may take
// before the next one is tried as well.
const HeadStart = 2 * time.Second

// Metadata gets one document of a metadata service. None (404) is an empty
// one. Headers replace the defaults of the same name.
func Metadata(ctx context.Context, env *Env, log resource.Log, url string, headers map[string][]string) ([]byte, error) {
	raw, _, err := env.Fetcher.Bytes(ctx, log, resource.Request{URL: url, Headers: headers})
	if errors.Is(err, resource.ErrNotFound) {
		return nil, nil
	}
	return raw, err
}

// UserData is the whole Fetch of a platform whose metadata service hands over
// the config as it is, at one address.
func UserData(ctx context.Context, env *Env, url string, headers map[string][]string) (Result, error) {
	if env.Fetcher.IsOffline() {
		return Result{}, resource.ErrNeedNet
	}
	raw, err := Metadata(ctx, env, env.Log, url, headers)
	return Result{Raw: raw}, err
}

// StatusOf gives the HTTP status that a fetch failed with, 0 where it was something else.
func StatusOf(err error) int {
	var status *resource.StatusError
	if errors.As(err, &status) {
		return status.Code
	}
	return 0
}

// Answer is what one endpoint of a metadata service said.
type Answer[T any] struct {
	Endpoint string
	Value    T
	Err      error

	held *heldLog // lines that nobody has seen yet
}

// decides tells whether to wait no longer for another endpoint: a fetch goes on
// by itself until it has an answer or its time is over.
func (a Answer[T]) decides() bool { return !errors.Is(a.Err, context.Canceled) }

// FirstEndpoint asks the endpoints of one service, each a head start after the
// one before it, and gives the answer of the first that has one. The lines of
// all but the first are held back until they are the ones that count. When it
// returns, the others are stopped.
func FirstEndpoint[T any](ctx context.Context, log resource.Log, head time.Duration, endpoints []string,
	ask func(ctx context.Context, log resource.Log, endpoint string) (T, error)) Answer[T] {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan Answer[T], len(endpoints))
	for i, e := range endpoints {
		a := Answer[T]{Endpoint: e}
		to := log
		if i > 0 {
			a.held = &heldLog{to: log}
			to = a.held
		}
		go func() {
			select {
			case <-time.After(time.Duration(i) * head):
				a.Value, a.Err = ask(ctx, to, e)
			case <-ctx.Done():
				a.Err = ctx.Err()
			}
			answers <- a
		}()
	}
	best := <-answers
	for n := 1; n < len(endpoints); n++ {
		if best.decides() {
			cancel()
		}
		if next := <-answers; next.decides() && !best.decides() {
			best = next
		}
	}
	if best.held != nil {
		best.held.release()
	}
	return best
}
