package session

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/sony/gobreaker/v2"
)

const (
	// breakerFailures in a row, and Redis counts as away.
	breakerFailures = 3
	// probeEvery is how often Redis is asked while it is away, by one goroutine.
	probeEvery = 250 * time.Millisecond
)

// errAway is the cause given while the breaker is open.
var errAway = errors.New("redis is away, waiting for it to come back")

// breaker keeps a hung Redis from costing every request its timeout. After breakerFailures in a
// row it opens, and calls fail at once. Requests are never used to find out whether Redis is back:
// a prober asks every probeEvery, and closes it.
type breaker struct {
	cb *gobreaker.CircuitBreaker[struct{}]
	// open mirrors the state, so that finding a session in memory takes no lock.
	open  atomic.Bool
	cause atomic.Pointer[error] // of the last failure
}

// newBreaker calls changed when Redis goes away and when it comes back.
func newBreaker(changed func(away bool, cause error)) *breaker {
	b := &breaker{}
	b.cb = gobreaker.NewCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        "redis",
		MaxRequests: 1,
		// Shorter than the prober's pause, so that each of its questions is let through.
		Timeout:     probeEvery / 2,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= breakerFailures },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			away := to != gobreaker.StateClosed
			if b.open.Swap(away) == away {
				return // open and half-open are one outage
			}
			var cause error
			if p := b.cause.Load(); p != nil {
				cause = *p
			}
			changed(away, cause)
		},
	})
	return b
}

// report tells how a question to Redis went. Only what isOutage says counts as failure.
// Answers to questions asked before the breaker opened are too late to tell anything.
func (b *breaker) report(err error) {
	if !b.open.Load() {
		b.note(err)
	}
}

// probe reports the outcome of the prober's question.
func (b *breaker) probe(ask func() error) {
	_, _ = b.cb.Execute(func() (struct{}, error) { return struct{}{}, b.outcome(ask()) })
}

// trip opens the breaker at once.
func (b *breaker) trip(err error) {
	for range breakerFailures {
		b.report(err)
	}
}

func (b *breaker) note(err error) {
	_, _ = b.cb.Execute(func() (struct{}, error) { return struct{}{}, b.outcome(err) })
}

func (b *breaker) outcome(err error) error {
	if !isOutage(err) {
		return nil
	}
	b.cause.Store(&err)
	return err
}

// outageReplies are the error answers of a Redis that cannot serve anybody now. Others, such as
// OOM, READONLY or NOPERM, come at once, and other commands work beside them: they are
// this call's failure and no outage.
var outageReplies = []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOAUTH", "WRONGPASS"}

// isOutage reports whether an error of the client says that Redis is away.
func isOutage(err error) bool {
	if err == nil || rueidis.IsRedisNil(err) {
		return false
	}
	if failed := (*connectError)(nil); errors.As(err, &failed) {
		return true
	}
	if text, ok := reply(err); ok {
		for _, prefix := range outageReplies {
			if strings.HasPrefix(text, prefix) {
				return true
			}
		}
		return false
	}
	return true
}

// isReadOnly reports whether Redis refused to write because it is a replica.
func isReadOnly(err error) bool {
	text, ok := reply(err)
	return ok && strings.Contains(text, "READONLY")
}

// isFull reports whether Redis refused for lack of memory.
func isFull(err error) bool {
	text, ok := reply(err)
	return ok && strings.HasPrefix(text, "OOM")
}

// isAuth reports whether Redis refused our credentials, or lacks them.
func isAuth(err error) bool {
	text, ok := reply(err)
	return ok && (strings.HasPrefix(text, "WRONGPASS") || strings.HasPrefix(text, "NOAUTH") ||
		strings.Contains(text, "without any password configured"))
}

// isRights reports whether Redis refused for want of rights.
func isRights(err error) bool {
	text, ok := reply(err)
	return ok && (strings.HasPrefix(text, "NOPERM") || strings.Contains(text, "executing the script can't"))
}

// lacksRights says what to do about that.
const lacksRights = "Redis's user (redis.username) lacks rights: give it those that the README lists under Rights in Redis, for the keys that begin with redis.key_prefix"

// reply gives the text of an error answer by Redis. IsRedisErr does not look into wrapped errors.
func reply(err error) (string, bool) {
	var answer *rueidis.RedisError
	if !errors.As(err, &answer) || answer.IsNil() {
		return "", false
	}
	return answer.Error(), true
}

// describe says in a few words, for logs, why Redis could not be asked.
func describe(err error) string {
	var dial *net.OpError
	var refused *connectError
	if err == nil {
		return ""
	}
	if errors.As(err, &refused) {
		return refused.Error()
	}
	if text := describeTLS(err); text != "" {
		return text
	}
	if text := describeSentinel(err); text != "" {
		return text
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer within the timeout"
	case isAuth(err):
		return "Redis refuses the credentials, check redis.username and redis.password_file: " + err.Error()
	case isRights(err):
		return lacksRights + ": " + err.Error()
	case errors.Is(err, io.EOF) || errors.As(err, &dial) && dial.Op == "read":
		return "the connection broke: " + err.Error()
	default:
		return err.Error()
	}
}
