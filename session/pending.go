package session

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"gatehouse/internal/fault"
	"gatehouse/telemetry"

	"github.com/rs/zerolog"
)

const (
	// retryRevocations is how often pending revocations are tried again. While the store is
	// known to be away a try costs nothing.
	retryRevocations = 100 * time.Millisecond
	// maxPending bounds them. Past it new ones are not retried, which is logged: each is still
	// refused by this replica, and the caller was told that it is not confirmed.
	maxPending = 100_000
)

// revocation is one that the store has not confirmed.
type revocation struct {
	key    Key
	userID string
	all    bool // every session of the user but except
	except []ID
	reason string
	at     time.Time // when it was asked for
	until  time.Time // when nothing that it means can be alive any more
}

// pending retries revocations until the store confirms them. It is memory, and a process may be killed any time:
// so each stands in the log from the moment it waits, with what an operator must do should nobody else do it.
type pending struct {
	attempt func(context.Context, revocation) bool
	clock   Clock
	log     zerolog.Logger
	metrics *telemetry.Metrics

	mu sync.Mutex
	// list holds revocations, those that have failed lately at its end. Linked, so that getting rid of
	// maxPending of them, when Redis is back, does not move all the others for each.
	list   *list.List
	wake   chan struct{}
	stop   chan struct{}
	once   sync.Once
	worker sync.WaitGroup
}

func newPending(attempt func(context.Context, revocation) bool, opts Options) *pending {
	p := &pending{
		attempt: attempt, clock: opts.Clock, log: opts.Log, metrics: opts.Metrics,
		list: list.New(), wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	p.worker.Go(p.run)
	return p
}

// add queues a revocation. When it returns, the log has it.
func (p *pending) add(r revocation) {
	fault.Point("pending.add")
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.list.Len() >= maxPending {
		r.tell(&p.log, revocationNotRetried)
		return
	}
	p.list.PushBack(r)
	r.tell(&p.log, revocationWaits)
	fault.Point("pending.added")
	p.metrics.PendingRevocations(p.list.Len())
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// dropUser takes out and gives the revocations of all sessions of the user: a later one has been confirmed.
func (p *pending) dropUser(userID string) []revocation {
	p.mu.Lock()
	defer p.mu.Unlock()
	var dropped []revocation
	for e := p.list.Front(); e != nil; {
		next := e.Next()
		if r := e.Value.(revocation); r.all && r.userID == userID {
			p.list.Remove(e)
			r.tell(&p.log, revocationConfirmed)
			dropped = append(dropped, r)
		}
		e = next
	}
	p.metrics.PendingRevocations(p.list.Len())
	return dropped
}

func (p *pending) run() {
	for {
		select {
		case <-p.stop:
			return
		case <-p.wake:
		}
		for !p.try(context.Background()) {
			select {
			case <-p.stop:
				return
			case <-time.After(retryRevocations):
			}
		}
	}
}

// maxFailures in a row end a round of try: the store is away, the others would fail as well.
const maxFailures = 3

// try goes through the list once, until ctx ends, and reports whether it is empty now. One that fails goes to
// the end: its reason may be its own (a damaged index), and must not hold up the others.
func (p *pending) try(ctx context.Context) bool {
	failures := 0
	for range p.len() {
		if ctx.Err() != nil {
			break
		}
		e, r := p.first()
		if e == nil {
			break
		}
		over := p.clock().After(r.until)
		fault.Point("pending.retry")
		done := p.attempt(ctx, r)
		p.tried(e, done, over)
		if done {
			failures = 0
		} else if failures++; failures == maxFailures {
			break
		}
	}
	return p.len() == 0
}

func (p *pending) len() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.list.Len()
}

func (p *pending) first() (*list.Element, revocation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.list.Front()
	if e == nil {
		return nil, revocation{}
	}
	return e, e.Value.(revocation)
}

// tried notes the outcome of an attempt. over: nothing it meant was alive any more. What has been dropped
// meanwhile is not in the list, where both removing and moving it do nothing.
func (p *pending) tried(e *list.Element, done, over bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.list.Len()
	if !done {
		p.list.MoveToBack(e)
		return
	}
	fault.Point("pending.confirmed")
	r := p.list.Remove(e).(revocation)
	if p.list.Len() == before {
		return
	}
	state := revocationConfirmed
	if over {
		state = revocationOver
	}
	r.tell(&p.log, state)
	p.metrics.PendingRevocations(p.list.Len())
}

// close tries until the list is empty or ctx ends.
func (p *pending) close(ctx context.Context) error {
	p.once.Do(func() { close(p.stop) })
	p.worker.Wait()
	for !p.try(ctx) {
		if ctx.Done() == nil {
			return p.remaining()
		}
		select {
		case <-ctx.Done():
			return p.remaining()
		case <-time.After(retryRevocations):
		}
	}
	return nil
}

// maxTold bounds the lines about revocations that are given up: a process that ends must come to its end. Each
// of the others has its line from when it was queued.
const maxTold = 1000

// remaining gives up what is left, and leaves it to the operator.
func (p *pending) remaining() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	left := p.list.Len()
	if left == 0 {
		return nil
	}
	for e, told := p.list.Front(), 0; e != nil && told < maxTold; e, told = e.Next(), told+1 {
		e.Value.(revocation).tell(&p.log, revocationGivenUp)
	}
	if left > maxTold {
		tellMore(&p.log, left-maxTold)
	}
	return fmt.Errorf("%w: %d", errPending, left)
}
