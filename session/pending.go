package session

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

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

// pending retries revocations until the store confirms them.
type pending struct {
	attempt func(context.Context, revocation) bool
	log     zerolog.Logger
	metrics *telemetry.Metrics

	mu     sync.Mutex
	list   []revocation
	wake   chan struct{}
	stop   chan struct{}
	once   sync.Once
	worker sync.WaitGroup
}

func newPending(attempt func(context.Context, revocation) bool, opts Options) *pending {
	p := &pending{
		attempt: attempt, log: opts.Log, metrics: opts.Metrics,
		wake: make(chan struct{}, 1), stop: make(chan struct{}),
	}
	p.worker.Go(p.run)
	return p
}

func (p *pending) add(r revocation) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) >= maxPending {
		p.log.Error().Str("user", r.userID).Msg("too many revocations wait for Redis: this one is refused here only, and not retried")
		return
	}
	p.list = append(p.list, r)
	p.metrics.PendingRevocations(len(p.list))
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// dropUser takes out and gives the revocations of all sessions of the user.
func (p *pending) dropUser(userID string) []revocation {
	p.mu.Lock()
	defer p.mu.Unlock()
	var dropped []revocation
	p.list = slices.DeleteFunc(p.list, func(r revocation) bool {
		if r.all && r.userID == userID {
			dropped = append(dropped, r)
			return true
		}
		return false
	})
	p.metrics.PendingRevocations(len(p.list))
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

// try goes through the list once, and reports whether it is empty now. One that fails goes to the
// end: its reason may be its own (a damaged index), and must not hold up the others.
func (p *pending) try(ctx context.Context) bool {
	p.mu.Lock()
	round := slices.Clone(p.list)
	p.mu.Unlock()
	failures := 0
	for _, next := range round {
		done := p.attempt(ctx, next)
		p.mu.Lock()
		// It may have been dropped meanwhile.
		before := len(p.list)
		p.list = slices.DeleteFunc(p.list, next.same)
		if !done && len(p.list) < before {
			p.list = append(p.list, next)
		}
		p.metrics.PendingRevocations(len(p.list))
		p.mu.Unlock()
		if done {
			failures = 0
		} else if failures++; failures == maxFailures {
			break
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.list) == 0
}

func (r revocation) same(other revocation) bool {
	return r.key == other.key && r.userID == other.userID && r.all == other.all && r.at.Equal(other.at)
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

func (p *pending) remaining() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d", errPending, len(p.list))
}
