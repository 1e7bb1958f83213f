// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"strings"
	"sync"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/document"
	"firstboot.dev/ignition/internal/oplog"
	"firstboot.dev/ignition/internal/resource"
	"firstboot.dev/ignition/internal/stages"
)

const (
	maxReferenceDepth   = 64
	maxReferenceFetches = 8 // at a time, on one level
)

// renderer resolves ignition.config.merge and replace. The configs of one
// level are fetched side by side and merged in the order in which they are
// written. Each is fetched with the settings of everything that was merged
// before it, ancestors included.
type renderer struct {
	log     *oplog.Logger
	fetcher *resource.Fetcher // default settings
	record  func(stages.FetchedConfig)
	origins *origins
	missing func(what string) // told what could not be fetched and is left out; nil: that is an error
	desk    *desk             // of those who look at a config and do not boot with it; else nil
}

func newRenderer(r *run) *renderer {
	return &renderer{log: r.Log, fetcher: r.root, record: r.state.AddFetched, origins: &r.origins}
}

// level is where the renderer stands in the tree of references.
type level struct {
	path    []string      // URLs from the root config to here
	context config.Config // all that was merged before, ancestors included
	using   *resource.Fetcher
	via     via
}

// via is how a config came to be referred to, for those who look at it.
type via struct {
	top    string // the reference of the root config that leads to it, "" for the root
	name   string // what people call it
	nested bool   // it is not the root that refers to it
}

const inDataURL = "the data URL at "

func (v via) below(where, source string) via {
	name := config.RedactURL(source)
	if strings.HasPrefix(name, "data:") {
		name = inDataURL + where
		if v.name != "" {
			name += " of " + v.name
		}
	}
	if v.top != "" {
		where = v.top
	}
	return via{where, name, v.top != ""}
}

// settings gives the fetcher for the settings of a config.
func (rd *renderer) settings(ctx context.Context, ign config.Ignition) (*resource.Fetcher, error) {
	if rd.desk != nil {
		return rd.desk.settings(ctx, rd, &ign)
	}
	f, err := rd.fetcher.Using(ctx, rd.log, ign)
	if err == nil || rd.missing == nil || ctx.Err() != nil {
		return f, err
	}
	if !rd.fetcher.IsOffline() { // else nothing needs the CA
		rd.missing(fmt.Sprintf("$.ignition.security.tls.certificateAuthorities: a CA was not read, and what it vouches for cannot be fetched: %s", resource.Reason(err)))
	}
	ign.Security = config.Security{}
	return rd.fetcher.Using(ctx, rd.log, ign)
}

// note tells that a referenced config takes effect now.
func (rd *renderer) note(ref config.Resource, v via, replaces bool) {
	rd.record(stages.FetchedConfig{Kind: "user", Source: recordedSource(ref), Referenced: true})
	rd.origins.merge(sourceOf(ref), config.RedactURL(sourceOf(ref)))
	if rd.desk != nil {
		rd.desk.took(sourceOf(ref), v, replaces)
	}
}

// unreadError is of a config that is not here, as opposed to one that is wrong.
type unreadError struct{ error }

func (e *unreadError) Unwrap() error { return e.error }

// leaveOut tells whether to go on without a config.
func (rd *renderer) leaveOut(ctx context.Context, where string, ref config.Resource, err error) bool {
	var unread *unreadError
	if rd.missing == nil || ctx.Err() != nil || !errors.As(err, &unread) {
		return false
	}
	rd.missing(fmt.Sprintf("%s: the config at %s was not read, and what it adds or replaces is not in this plan: %s",
		where, config.RedactURL(sourceOf(ref)), resource.Reason(unread.error)))
	return true
}

func (rd *renderer) render(ctx context.Context, c config.Config) (config.Config, error) {
	f, err := rd.settings(ctx, c.Ignition)
	if err != nil {
		return config.Config{}, err
	}
	return rd.renderAt(ctx, c, level{context: c, using: f})
}

func (rd *renderer) renderAt(ctx context.Context, c config.Config, at level) (config.Config, error) {
	refs := c.Ignition.Config
	if len(at.path) > maxReferenceDepth {
		return config.Config{}, fmt.Errorf("configs refer to one another more than %d levels deep: %s", maxReferenceDepth, chain(at.path))
	}
	if refs.Replace.Source != nil {
		return rd.replace(ctx, refs.Replace, at)
	}
	return rd.merge(ctx, c, refs.Merge, at)
}

// replace goes on with the replacing config alone: its settings, its references.
func (rd *renderer) replace(ctx context.Context, ref config.Resource, at level) (config.Config, error) {
	where := "$.ignition.config.replace"
	if err := checkCycle(where, ref, at.path); err != nil {
		return config.Config{}, err
	}
	v := at.via.below(where, sourceOf(ref))
	next, err := rd.fetch(ctx, rd.log, at.using, where, ref)
	if err != nil && (rd.desk.excuses(v, err) || rd.leaveOut(ctx, where, ref, err)) {
		return config.Empty(), nil
	}
	if err != nil {
		return config.Config{}, err
	}
	rd.note(ref, v, true)
	using, err := rd.settings(ctx, next.Ignition)
	if err != nil {
		return config.Config{}, err
	}
	return rd.renderAt(ctx, next, level{append(at.path[:len(at.path):len(at.path)], sourceOf(ref)), next, using, v})
}

func (rd *renderer) merge(ctx context.Context, c config.Config, refs []config.Resource, at level) (config.Config, error) {
	for i, ref := range refs {
		if err := checkCycle(mergePath(i), ref, at.path); err != nil {
			return config.Config{}, err
		}
	}
	result, seen, using := c, at.context, at.using
	ahead := rd.startAll(ctx, refs, 0, using)
	defer func() { ahead.stop() }()
	for i, ref := range refs {
		v := at.via.below(mergePath(i), sourceOf(ref))
		child, err := ahead.wait(i, rd.log)
		if err != nil && (rd.desk.excuses(v, err) || rd.leaveOut(ctx, mergePath(i), ref, err)) {
			continue
		}
		if err != nil {
			return config.Config{}, err
		}
		rd.note(ref, v, false)
		inner := config.Merge(seen, child)
		innerUsing, err := rd.use(ctx, using, seen, inner)
		if err != nil {
			return config.Config{}, err
		}
		child, err = rd.renderAt(ctx, child, level{append(at.path[:len(at.path):len(at.path)], sourceOf(ref)), inner, innerUsing, v})
		if err != nil {
			return config.Config{}, err
		}
		merged := config.Merge(seen, child)
		next, err := rd.use(ctx, using, seen, merged)
		if err != nil {
			return config.Config{}, err
		}
		if next != using {
			// What is still under way was begun with settings that no longer hold.
			ahead = ahead.restart(ctx, rd, refs, i+1, next)
			using = next
		}
		seen = merged
		result = config.Merge(result, child)
	}
	return result, nil
}

// use gives the fetcher for the settings of next, which is using itself when
// they are those of prev.
func (rd *renderer) use(ctx context.Context, using *resource.Fetcher, prev, next config.Config) (*resource.Fetcher, error) {
	a, b := prev.Ignition, next.Ignition
	if reflect.DeepEqual(a.Timeouts, b.Timeouts) && reflect.DeepEqual(a.Proxy, b.Proxy) && reflect.DeepEqual(a.Security, b.Security) {
		return using, nil
	}
	return rd.settings(ctx, b)
}

// fetch gets and parses one referenced config.
func (rd *renderer) fetch(ctx context.Context, log *oplog.Logger, f *resource.Fetcher, where string, ref config.Resource) (config.Config, error) {
	shown := config.RedactURL(sourceOf(ref))
	fail := func(err error) (config.Config, error) {
		return config.Config{}, &config.EntryError{
			Path: where,
			Hint: "check that " + shown + " is reachable from the machine and is a whole, valid config",
			Err:  fmt.Errorf("%s (%s): %w", where, shown, err),
		}
	}
	if sourceOf(ref) == "" {
		return fail(errors.New("source is required"))
	}
	req, err := resource.RequestFor(ref)
	if err != nil {
		return fail(err)
	}
	raw, info, err := f.Bytes(ctx, log, req)
	if err != nil {
		if rd.missing != nil && !errors.Is(err, resource.ErrVerify) && !errors.Is(err, resource.ErrScheme) {
			err = &unreadError{err}
		}
		return fail(err)
	}
	if strings.HasPrefix(sourceOf(ref), "data:") {
		log.Debug("fetched referenced config from data url with SHA512: %s", hex.EncodeToString(info.SHA512))
	} else {
		log.Debug("fetched referenced config at %s with SHA512: %s", shown, hex.EncodeToString(info.SHA512))
	}
	doc, rep, err := document.Parse(raw)
	logReport(log, rep)
	if errors.Is(err, config.ErrEmpty) {
		// Not wrapped: an empty reference must not pass for an empty user config.
		_, why, _ := strings.Cut(err.Error(), config.ErrEmpty.Error())
		return fail(errors.New("the referenced config is empty" + why))
	}
	if err != nil {
		return fail(withReport(err, rep))
	}
	rd.origins.hold(sourceOf(ref), doc)
	rd.desk.hold(sourceOf(ref), &doc, rep)
	return doc.Config, nil
}

// siblings are the fetches of one level. The limit is per level: a level that
// waits for ever must not keep the one below it from starting, since what that
// one brings (a CA, a proxy) may be what the waiting ones need.
type siblings struct {
	cancel context.CancelFunc
	slots  chan struct{}
	done   sync.WaitGroup
	first  int
	each   []*sibling
}

type sibling struct {
	log   *oplog.Logger
	ready chan struct{}
	cfg   config.Config
	err   error
}

func newSiblings(cancel context.CancelFunc, first int) *siblings {
	return &siblings{cancel: cancel, first: first, slots: make(chan struct{}, maxReferenceFetches)}
}

// startAll begins the fetches of refs[first:].
func (rd *renderer) startAll(ctx context.Context, refs []config.Resource, first int, f *resource.Fetcher) *siblings {
	ctx, cancel := context.WithCancel(ctx)
	s := newSiblings(cancel, first)
	for i := first; i < len(refs); i++ {
		s.each = append(s.each, rd.start(ctx, s, f, mergePath(i), refs[i]))
	}
	return s
}

func (rd *renderer) start(ctx context.Context, s *siblings, f *resource.Fetcher, where string, ref config.Resource) *sibling {
	one := &sibling{log: oplog.Deferred(), ready: make(chan struct{})}
	s.done.Add(1)
	go func() {
		defer s.done.Done()
		defer close(one.ready)
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		case <-ctx.Done():
			one.err = ctx.Err()
			return
		}
		one.cfg, one.err = rd.fetch(ctx, one.log, f, where, ref)
	}()
	return one
}

func (s *siblings) wait(i int, log *oplog.Logger) (config.Config, error) {
	one := s.each[i-s.first]
	one.log.Attach(log)
	<-one.ready
	return one.cfg, one.err
}

// stop ends what still runs and waits for it.
func (s *siblings) stop() {
	s.cancel()
	s.done.Wait()
}

// restart keeps the fetches of refs[first:] that have succeeded and begins the others anew with f.
func (s *siblings) restart(ctx context.Context, rd *renderer, refs []config.Resource, first int, f *resource.Fetcher) *siblings {
	s.stop()
	ctx, cancel := context.WithCancel(ctx)
	n := newSiblings(cancel, first)
	for i := first; i < len(refs); i++ {
		if old := s.each[i-s.first]; old.err == nil {
			n.each = append(n.each, old)
			continue
		}
		n.each = append(n.each, rd.start(ctx, n, f, mergePath(i), refs[i]))
	}
	return n
}

func mergePath(i int) string { return fmt.Sprintf("$.ignition.config.merge.%d", i) }

func sourceOf(r config.Resource) string {
	if r.Source == nil {
		return ""
	}
	return *r.Source
}

// checkCycle refuses a URL that is being rendered already.
func checkCycle(where string, ref config.Resource, path []string) error {
	src := sourceOf(ref)
	for _, p := range path {
		if p == src {
			return &config.EntryError{
				Path: where,
				Hint: "remove the reference that leads back to it",
				Err:  fmt.Errorf("%s: config refers to itself: %s", where, chain(append(path[:len(path):len(path)], src))),
			}
		}
	}
	return nil
}

func chain(path []string) string {
	const shown = 4
	var out []string
	for i, p := range path {
		if len(path) > 2*shown && i >= shown && i < len(path)-shown {
			if i == shown {
				out = append(out, "...")
			}
			continue
		}
		out = append(out, config.RedactURL(p))
	}
	return strings.Join(out, " -> ")
}

// recordedSource is what the state keeps of a reference: the URL without user
// info, query and fragment, and of a data URL its scheme alone.
func recordedSource(ref config.Resource) string {
	u, err := url.Parse(sourceOf(ref))
	if err != nil {
		return ""
	}
	if u.Scheme == "data" {
		return "data:"
	}
	u.User, u.RawQuery, u.Fragment, u.ForceQuery = nil, "", "", false
	return u.String()
}
