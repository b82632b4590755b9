// Package ratelimit limits how often something may happen per key, in bounded memory. It knows
// no HTTP: who asks decides what a key is.
package ratelimit

import (
	"crypto/sha256"
	"math"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

const (
	// maxKey is the longest key that is kept as it is, in bytes; of longer ones the SHA-256 is kept, so
	// that an attacker's keys of 64 KB cost no more memory than short ones.
	maxKey = 64
	// maxWait bounds what Allow tells to wait: more is no use to anybody.
	maxWait = time.Hour
)

// Limiter is a token bucket per key. At most maxKeys buckets are kept: the one not asked for longest
// goes first, and a key that comes back starts with a full bucket. Whoever wants to empty a
// bucket that way must be allowed maxKeys attempts under other keys first, which is what a limit on
// the address before the limit on the account prevents. Safe for concurrent use.
type Limiter struct {
	rate  rate.Limit
	burst int
	clock func() time.Time

	mu      sync.Mutex
	buckets *simplelru.LRU[string, *rate.Limiter]
}

// New makes a limiter that allows burst events at once and perSecond events in the long run for each
// of maxKeys keys. A burst or maxKeys below 1 counts as 1. clock is time.Now when nil.
func New(perSecond float64, burst, maxKeys int, clock func() time.Time) *Limiter {
	if clock == nil {
		clock = time.Now
	}
	buckets, err := simplelru.NewLRU[string, *rate.Limiter](max(maxKeys, 1), nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &Limiter{rate: rate.Limit(perSecond), burst: max(burst, 1), clock: clock, buckets: buckets}
}

// Allow takes one event from key's bucket. When there is none, ok is false, nothing is taken, and
// retryAfter says when there will be one: more than zero, at most an hour.
func (l *Limiter) Allow(key string) (retryAfter time.Duration, ok bool) {
	if len(key) > maxKey {
		sum := sha256.Sum256([]byte(key))
		key = string(sum[:])
	}
	// One lock for finding and taking: two first requests of a key must not get a bucket each.
	l.mu.Lock()
	defer l.mu.Unlock()
	bucket, found := l.buckets.Get(key)
	if !found {
		bucket = rate.NewLimiter(l.rate, l.burst)
		l.buckets.Add(key, bucket)
	}
	now := l.clock()
	if bucket.AllowN(now, 1) {
		return 0, true
	}
	return l.wait(bucket.TokensAt(now)), false
}

// wait is the time until a bucket with this many tokens, less than one, has one.
func (l *Limiter) wait(tokens float64) time.Duration {
	seconds := (1 - tokens) / float64(l.rate)
	if math.IsNaN(seconds) || seconds < 0 || seconds > maxWait.Seconds() {
		return maxWait
	}
	return max(time.Duration(seconds*float64(time.Second)), time.Nanosecond)
}

// Len is how many keys are kept.
func (l *Limiter) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buckets.Len()
}
