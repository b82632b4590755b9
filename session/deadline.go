package session

import (
	"context"
	"sync/atomic"
	"time"
)

// deadlineWindow is for how long calls share one context. A call's bound is the timeout plus at most this.
const deadlineWindow = 25 * time.Millisecond

// deadlines gives contexts that end timeout after now, give or take deadlineWindow. A context of its
// own for each call costs 600 ns and four allocations, twice what finding a session in memory
// does; so calls that begin within a window share one.
//
// It is nobody's request context, on purpose: callers share one question to Redis, and when one
// of them goes away the others still want the answer.
type deadlines struct {
	timeout time.Duration
	current atomic.Pointer[sharedDeadline]
}

type sharedDeadline struct {
	ctx    context.Context
	cancel context.CancelFunc
	until  time.Time
}

func newDeadlines(timeout time.Duration) *deadlines { return &deadlines{timeout: timeout} }

func (d *deadlines) context() context.Context {
	now := time.Now()
	if c := d.current.Load(); c != nil && now.Before(c.until) {
		return c.ctx
	}
	// Two callers may both make one: the loser's is used by it alone and ends by its deadline.
	next := &sharedDeadline{until: now.Add(deadlineWindow)}
	next.ctx, next.cancel = context.WithDeadline(context.Background(), next.until.Add(d.timeout))
	d.current.Store(next)
	return next.ctx
}

// close ends the calls that still wait.
func (d *deadlines) close() {
	if c := d.current.Load(); c != nil {
		c.cancel()
	}
}
