package session

import (
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// maxLater bounds the steps that wait. Past it new ones are dropped, which is logged.
	maxLater = 10_000
	// retryLater is how often those that failed are tried again. While a store is known to be
	// away a try costs nothing.
	retryLater = 250 * time.Millisecond
)

// laterQueue does small steps off the requests' path, one after the other, each again until it
// succeeds. What is done here may be lost with the process: it tidies up after something that is
// decided already.
type laterQueue struct {
	log zerolog.Logger

	mu      sync.Mutex
	order   []stepKey
	steps   map[stepKey]func() error
	wake    chan struct{}
	stop    chan struct{}
	closing sync.Once
	worker  sync.WaitGroup
}

// stepKey: a step of one kind for one session.
type stepKey struct {
	kind string
	id   ID
}

func newLaterQueue(log zerolog.Logger) *laterQueue {
	q := &laterQueue{log: log, steps: map[stepKey]func() error{}, wake: make(chan struct{}, 1), stop: make(chan struct{})}
	q.worker.Go(q.run)
	return q
}

// once queues a step for a session. One of the kind that waits for the same session already gives way to it.
func (q *laterQueue) once(kind string, id ID, step func() error) {
	key := stepKey{kind, id}
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, waits := q.steps[key]; !waits {
		if len(q.steps) >= maxLater {
			q.log.Error().Str("session", id.Short()).Str("step", kind).Msg("too many steps wait for a store: the tidying up after a session is dropped")
			return
		}
		q.order = append(q.order, key)
	}
	q.steps[key] = step
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

func (q *laterQueue) run() {
	for {
		select {
		case <-q.stop:
			return
		case <-q.wake:
		}
		for !q.round() {
			select {
			case <-q.stop:
				return
			case <-time.After(retryLater):
			}
		}
	}
}

// round tries every step once, until one fails, and reports whether none is left. One that fails goes to
// the end: its reason may be its own.
func (q *laterQueue) round() bool {
	for {
		q.mu.Lock()
		if len(q.order) == 0 {
			q.mu.Unlock()
			return true
		}
		id := q.order[0]
		step := q.steps[id]
		q.order = q.order[1:]
		delete(q.steps, id)
		q.mu.Unlock()
		if step() == nil {
			continue
		}
		q.mu.Lock()
		if _, newer := q.steps[id]; !newer {
			q.order = append(q.order, id)
			q.steps[id] = step
		}
		q.mu.Unlock()
		return false
	}
}

// close tries what is left once more and gives up what fails.
func (q *laterQueue) close() error {
	q.closing.Do(func() { close(q.stop) })
	q.worker.Wait()
	q.mu.Lock()
	left := len(q.order)
	q.mu.Unlock()
	for range left {
		q.round()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.order); n > 0 {
		return fmt.Errorf("session: %d steps of tidying up are given up", n)
	}
	return nil
}
