package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"gatehouse/telemetry"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

const (
	// renewalQueue bounds the renewals that wait to be written. Past it they are dropped; the
	// session's next use asks again.
	renewalQueue = 1024
	// renewalWorkers write them. Two, so that one slow write does not hold up the rest.
	renewalWorkers = 2
	// renewalMemory bounds the sessions whose last attempt is remembered.
	renewalMemory = 64 << 10
)

// renewals prolongs sessions in use, off the requests' path: at most one write per session and
// policy.renewEvery, whether it succeeds or not. A renewal is a write, and a write takes
// the session out of every replica's memory; a busy page must not cause one per request (S09).
type renewals struct {
	store   Store
	policy  policy
	metrics *telemetry.Metrics
	queue   chan renewal
	workers sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	attempt *simplelru.LRU[ID, time.Time]
}

type renewal struct {
	record *Record
	at     time.Time
}

func newRenewals(store Store, p policy, metrics *telemetry.Metrics) *renewals {
	r := &renewals{store: store, policy: p, metrics: metrics, queue: make(chan renewal, renewalQueue)}
	var err error
	if r.attempt, err = simplelru.NewLRU[ID, time.Time](renewalMemory, nil); err != nil { // only for a size below one
		panic(err)
	}
	for range renewalWorkers {
		r.workers.Go(r.work)
	}
	return r
}

// request queues a renewal if one is due and none was tried lately. It reports whether it did.
func (r *renewals) request(record *Record, now time.Time) bool {
	if !r.policy.renewalDue(record, now) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last, tried := r.attempt.Get(record.ID)
	if r.closed || tried && now.Sub(last).Abs() < r.policy.renewEvery() {
		return false
	}
	select {
	case r.queue <- renewal{record: record, at: now}:
		r.attempt.Add(record.ID, now)
		return true
	default:
		r.metrics.Renewal("dropped")
		return false
	}
}

func (r *renewals) work() {
	for job := range r.queue {
		r.metrics.Renewal(r.write(job))
	}
}

func (r *renewals) write(job renewal) (outcome string) {
	next := job.record.Clone()
	next.LastAccessed = job.at.UTC().Truncate(time.Millisecond)
	ttl := r.policy.ttl(job.record, job.at)
	if ttl <= 0 {
		return "gone"
	}
	err := r.store.Replace(context.Background(), job.record, next, ttl)
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrNotFound):
		return "gone"
	case errors.Is(err, ErrUnavailable):
		return "unavailable"
	default: // another replica was first, or the session's secrets have changed, which prolongs it too
		return "conflict"
	}
}

// close writes what is queued and ends the workers, until ctx ends.
func (r *renewals) close(ctx context.Context) error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
	r.mu.Unlock()
	done := make(chan struct{})
	go func() {
		r.workers.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("session: renewals still being written: %w", ctx.Err())
	}
}
