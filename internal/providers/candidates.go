// SPDX-License-Identifier: Apache-2.0

package providers

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Candidate is one of several places that may have the config.
type Candidate struct {
	Name string
	// MayBeAbsent is set of a drive: it is waited for only while nothing else has answered.
	MayBeAbsent bool
	// Fetch gives the config, empty for none. It calls seen when the place is there.
	Fetch func(ctx context.Context, seen func()) ([]byte, error)
}

// outcome is the end of one candidate.
type outcome struct {
	index int
	raw   []byte
	err   error
}

// FirstConfig asks all candidates at once. The first config counts. An empty
// answer does not end the search while another candidate that is there has not
// answered; a drive that was never seen is not waited for when something else
// said that there is no config, but for the time that devices need to settle.
// When it returns, all candidates have ended and cleaned up.
//
// No config at all: if one candidate answered, that is an empty config; if all
// failed, it is their errors, but for drives that never appeared: where there
// was nothing else, that too is an empty config.
func FirstConfig(ctx context.Context, env *Env, candidates []Candidate) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	outcomes := make(chan outcome, len(candidates))
	sightings := make(chan int, len(candidates))
	for i, c := range candidates {
		go func() {
			raw, err := c.Fetch(ctx, func() { sightings <- i })
			outcomes <- outcome{i, raw, err}
		}()
	}
	s := search{env: env, candidates: candidates, pending: map[int]bool{}, seen: map[int]bool{}}
	for i := range candidates {
		s.pending[i] = true
	}
	var settled chan struct{}
	for len(s.pending) > 0 {
		if s.found == nil && s.answered && !s.expecting() && settled == nil {
			settled = settle(ctx, env)
		}
		select {
		case i := <-sightings:
			s.seen[i] = true
			continue
		case o := <-outcomes:
			s.take(ctx, o)
		case <-settled:
			s.quiet = true
			settled = make(chan struct{}) // once
		}
		if s.found != nil || s.quiet && s.answered && !s.expecting() {
			cancel()
		}
	}
	return s.result()
}

// settle ends when the devices that the machine has by now are known to
// whoever waits for one of them.
func settle(ctx context.Context, env *Env) chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if env.Run != nil {
			// Without udev there is nothing to wait for.
			_, _, _ = env.Run(ctx, "waiting for devices", "udevadm", "settle", "--timeout=10")
		}
		select {
		case <-time.After(2 * driveLook):
		case <-ctx.Done():
		}
	}()
	return done
}

// search is what is known of the candidates.
type search struct {
	env        *Env
	candidates []Candidate
	pending    map[int]bool // have not ended
	seen       map[int]bool // are there
	quiet      bool         // the devices have settled
	answered   bool         // one has ended without an error
	found      []byte
	errs       []error
}

// expecting tells whether something that is there may still have the config.
func (s *search) expecting() bool {
	for i := range s.pending {
		if !s.candidates[i].MayBeAbsent || s.seen[i] {
			return true
		}
	}
	return false
}

func (s *search) take(ctx context.Context, o outcome) {
	delete(s.pending, o.index)
	name := s.candidates[o.index].Name
	switch {
	case s.found != nil:
	case o.err == nil && len(o.raw) > 0:
		s.found = o.raw
	case o.err == nil:
		s.answered = true
		s.env.Log.Debug("%s has no config", name)
	case ctx.Err() != nil && errors.Is(o.err, context.Canceled):
	default:
		s.env.Log.Err("failed to fetch config from %s: %v", name, o.err)
		s.errs = append(s.errs, fmt.Errorf("%s: %w", name, o.err))
	}
}

func (s *search) result() ([]byte, error) {
	switch {
	case s.found != nil, s.answered:
		return s.found, nil
	case len(s.errs) == 0:
		return nil, context.Canceled
	}
	var real []error
	for _, err := range s.errs {
		if !errors.Is(err, ErrNoDrive) {
			real = append(real, err)
		}
	}
	if len(real) > 0 {
		return nil, errors.Join(real...)
	}
	s.env.Log.Info("couldn't fetch config")
	return nil, nil
}
