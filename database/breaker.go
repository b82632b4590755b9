package database

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// breakerFailures in a row, and the database counts as away.
	breakerFailures = 3
	// probeEvery is how often it is asked while it is away, by one goroutine.
	probeEvery = 250 * time.Millisecond
)

// breaker keeps a hung database from costing every question its timeout. After breakerFailures in a
// row it opens, and questions fail at once, those that wait for a connection too. People's questions
// are never used to find out whether the database is back: a prober asks every probeEvery.
type breaker struct {
	cb *gobreaker.CircuitBreaker[struct{}]

	mu     sync.Mutex
	cause  error         // of the last failure
	opened chan struct{} // closed while it is open
}

// newBreaker calls changed when the database goes away and when it comes back.
func newBreaker(changed func(away bool, cause error)) *breaker {
	b := &breaker{opened: make(chan struct{})}
	b.cb = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "database",
		MaxRequests: 1,
		// Shorter than the prober's pause, so that each of its questions is let through.
		Timeout:     probeEvery / 2,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			if cause, done := b.change(to != gobreaker.StateClosed); done {
				changed(to != gobreaker.StateClosed, cause)
			}
		},
	})
	return b
}

// change notes the state; open and half-open are one outage, which begins and ends once.
func (b *breaker) change(away bool) (cause error, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.isOpen() == away {
		return nil, false
	}
	if away {
		close(b.opened)
	} else {
		b.opened = make(chan struct{})
	}
	return b.cause, true
}

// isOpen is for holders of the lock.
func (b *breaker) isOpen() bool {
	select {
	case <-b.opened:
		return true
	default:
		return false
	}
}

// trips gives a channel that is closed when, or as soon as, the breaker is open.
func (b *breaker) trips() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.opened
}

func (b *breaker) away() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.isOpen()
}

// refusal is the error of a question that is not asked.
func (b *breaker) refusal() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var cause *Error
	if errors.As(b.cause, &cause) {
		return &Error{away: true, text: "not asked, because of: " + cause.text, number: cause.number}
	}
	return &Error{away: true, text: "it is away, waiting for it to come back"}
}

// report tells how a question went. Answers to questions asked before the breaker opened are too late
// to tell anything.
func (b *breaker) report(err error) {
	if !b.away() {
		b.note(err)
	}
}

// trip opens the breaker at once.
func (b *breaker) trip(err error) {
	for range breakerFailures {
		b.report(err)
	}
}

// note also takes the prober's outcome. Only an outage counts as a failure: a database that says no
// is there.
func (b *breaker) note(err error) {
	_, _ = b.cb.Execute(func() (struct{}, error) {
		if !errors.Is(err, ErrUnavailable) {
			return struct{}{}, nil
		}
		b.mu.Lock()
		b.cause = err
		b.mu.Unlock()
		return struct{}{}, err
	})
}
