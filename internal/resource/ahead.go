// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"sync"

	"firstboot.dev/ignition/internal/oplog"
)

// Ahead runs downloads ahead of the operations that need them.
type Ahead struct {
	fetcher *Fetcher
	log     *oplog.Logger
	cancel  context.CancelFunc
	start   func() // one more worker
	limit   int

	mu      sync.Mutex
	queue   []*Download
	running int
	done    sync.WaitGroup
}

// Download is one queued download.
type Download struct {
	request Request
	op      oplog.Op
	open    func() (Sink, error)
	log     *oplog.Logger
	ready   chan struct{}
	info    Info
	err     error
}

// Ahead returns a queue that runs at most limit downloads at a time, begun in
// the order of Add. The record of l gets an entry for each.
func (f *Fetcher) Ahead(ctx context.Context, l *oplog.Logger, limit int) *Ahead {
	ctx, cancel := context.WithCancel(ctx)
	a := &Ahead{fetcher: f, log: l, cancel: cancel, limit: max(limit, 1)}
	a.start = func() { a.done.Go(func() { a.work(ctx) }) }
	return a
}

// Add queues a download. open is called when it starts, in a worker, and gives the sink.
func (a *Ahead) Add(r Request, op oplog.Op, open func() (Sink, error)) *Download {
	d := &Download{request: r, op: op, open: open, log: a.log.Deferred(), ready: make(chan struct{})}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = append(a.queue, d)
	if a.running < a.limit {
		a.running++
		a.start()
	}
	return d
}

// work takes downloads from the queue until it is empty.
func (a *Ahead) work(ctx context.Context) {
	for {
		a.mu.Lock()
		if len(a.queue) == 0 {
			a.running--
			a.mu.Unlock()
			return
		}
		d := a.queue[0]
		a.queue[0], a.queue = nil, a.queue[1:]
		a.mu.Unlock()
		a.fetch(ctx, d)
	}
}

func (a *Ahead) fetch(ctx context.Context, d *Download) {
	defer close(d.ready)
	if d.err = ctx.Err(); d.err != nil {
		return
	}
	act := a.log.Activity(d.op)
	defer func() { _ = act.End(d.err) }()
	sink, err := d.open()
	if err != nil {
		d.err = err
		return
	}
	d.info, d.err = a.fetcher.To(ctx, d.log, d.request, sink)
	act.AddBytes(d.info.Bytes)
}

// Close cancels all that is not finished and waits for the workers.
func (a *Ahead) Close() {
	a.cancel()
	a.done.Wait()
}

// Wait writes the download's log lines so far and to come to l and returns its result.
func (d *Download) Wait(l *oplog.Logger) (Info, error) {
	d.log.Attach(l)
	<-d.ready
	return d.info, d.err
}
