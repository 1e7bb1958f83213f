// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"firstboot.dev/ignition/internal/config"
	"firstboot.dev/ignition/internal/resource"
	"github.com/coreos/vcontext/path"
	"github.com/coreos/vcontext/report"
)

// probe fetches one resource and keeps nothing of it. It is the sink and the log of its own fetch.
type probe struct {
	at      string
	request resource.Request
	idle    *time.Timer
	last    string // what went wrong last, by the log
	err     error
}

func (p *probe) Write(b []byte) (int, error) {
	p.idle.Reset(idleLimit())
	return len(b), nil
}

func idleLimit() time.Duration { return time.Duration(deskLimit) * time.Second }

// Reset is called before a new try.
func (p *probe) Reset() error { return nil }

// The log: of what is said about a try, its outcome counts.

func (p *probe) Debug(string, ...any) {}

func (p *probe) Info(format string, args ...any) {
	if strings.HasPrefix(format, "%s error: ") || strings.HasPrefix(format, "%s result: ") {
		p.Err(format, args...)
	}
}

func (p *probe) Warning(format string, args ...any) { p.Err(format, args...) }

func (p *probe) Err(format string, args ...any) { p.last = fmt.Sprintf(format, args...) }

// addFetched fetches every resource of a rendered config, as many at a time as a boot does, and reports what fails.
func (c *check) addFetched(ctx context.Context) {
	var list []*probe
	_ = config.EachResource(&c.config, func(at path.ContextPath, r *config.Resource) error {
		if sourceOf(*r) == "" || len(at.Path) > 1 && at.Path[0] == "ignition" && at.Path[1] == "config" {
			return nil // those were read for rendering
		}
		p := &probe{at: at.String() + ".source"}
		if p.request, p.err = resource.RequestFor(*r); p.err != nil {
			p.request.URL = sourceOf(*r)
		}
		list = append(list, p)
		return nil
	})
	var done sync.WaitGroup
	slots := make(chan struct{}, maxReferenceFetches)
	for _, p := range list {
		if p.err != nil {
			continue
		}
		done.Add(1)
		slots <- struct{}{}
		go func() {
			defer done.Done()
			p.fetch(ctx, c.fetcher)
			<-slots
		}()
	}
	done.Wait()
	for _, p := range list {
		kind := c.severity()
		if strings.HasPrefix(p.request.URL, "oem:") {
			kind = report.Info // the files are on the machine
		}
		if p.err != nil {
			c.addMerged(kind, p.at, "cannot be fetched: "+config.RedactURL(p.request.URL)+": "+p.err.Error())
		}
	}
}

// fetch gives up when nothing comes for a while; a boot would go on trying.
func (p *probe) fetch(ctx context.Context, f *resource.Fetcher) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	p.idle = time.AfterFunc(idleLimit(), cancel)
	_, p.err = f.To(ctx, p, p.request, p)
	if !p.idle.Stop() && p.err != nil {
		p.err = fmt.Errorf("nothing came for %d seconds", deskLimit)
		if p.last != "" {
			p.err = fmt.Errorf("%w; %s", p.err, p.last)
		}
	}
}
