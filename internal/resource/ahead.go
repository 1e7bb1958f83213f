// SPDX-License-Identifier: Apache-2.0

package resource

import (
	"context"
	"sync"

	"firstboot.dev/ignition/internal/oplog"
)

// longFrom is from how many bytes on a download is a long one.
const longFrom = 64 << 10

// Ahead runs downloads ahead of the operations that need them. What is still
// short, or not answered yet, counts half: of many small files most of the time
// is the server's.
type Ahead struct {
	fetcher *Fetcher
	log     *oplog.Logger
	ctx     context.Context
	cancel  context.CancelFunc
	limit   int // halves

	mu      sync.Mutex
	queue   []*Download
	running int // halves
	done    sync.WaitGroup
}

// Download is one queued download.
type Download struct {
	request Request
	op      oplog.Op
	open    func() (Sink, error)
	log     *oplog.Logger
	ready   chan struct{}
	halves  int // that it counts
	info    Info
	err     error
}

// Ahead returns a queue that begins downloads in the order of Add, each while
// less than limit run; those with less than 64 KiB so far count half. The record
// of l gets an entry for each.
func (f *Fetcher) Ahead(ctx context.Context, l *oplog.Logger, limit int) *Ahead {
	ctx, cancel := context.WithCancel(ctx)
	return &Ahead{fetcher: f, log: l, ctx: ctx, cancel: cancel, limit: 2 * max(limit, 1)}
}

// Add queues a download. open is called when it starts, in a goroutine of its own, and gives the sink.
func (a *Ahead) Add(r Request, op oplog.Op, open func() (Sink, error)) *Download {
	d := &Download{request: r, op: op, open: open, log: a.log.Deferred(), ready: make(chan struct{})}
	d.request.long = func() { a.weigh(d, 2) }
	a.mu.Lock()
	defer a.mu.Unlock()
	a.queue = append(a.queue, d)
	a.begin()
	return d
}

// begin starts what may run. It is called with the lock.
func (a *Ahead) begin() {
	for len(a.queue) > 0 && a.running < a.limit {
		d := a.queue[0]
		a.queue[0], a.queue = nil, a.queue[1:]
		d.halves = 1
		a.running++
		a.done.Go(func() {
			a.fetch(a.ctx, d)
			a.weigh(d, 0)
		})
	}
}

// weigh sets what a download counts.
func (a *Ahead) weigh(d *Download, halves int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.running += halves - d.halves
	d.halves = halves
	a.begin()
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
