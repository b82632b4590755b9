package ratelimit_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/ratelimit"
)

// manual is a clock that stands still unless told.
type manual struct{ ns atomic.Int64 }

func (m *manual) now() time.Time          { return time.Unix(1_700_000_000, m.ns.Load()) }
func (m *manual) advance(d time.Duration) { m.ns.Add(int64(d)) }

// take counts how many of n events are allowed.
func take(l *ratelimit.Limiter, key string, n int) (allowed int) {
	for range n {
		if _, ok := l.Allow(key); ok {
			allowed++
		}
	}
	return allowed
}

func TestBucket(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		perSecond float64
		burst     int
		advance   time.Duration
		then      int // allowed of 20 after advance
		wait      time.Duration
	}{
		{"nothing comes back at once", 0.5, 10, 0, 0, 2 * time.Second},
		{"half a token is no token", 0.5, 10, time.Second, 0, time.Second},
		{"one token", 0.5, 10, 2 * time.Second, 1, 2 * time.Second},
		{"five tokens", 0.5, 10, 10 * time.Second, 5, 2 * time.Second},
		{"never more than the burst", 0.5, 10, time.Hour, 10, 2 * time.Second},
		{"fast", 5, 3, 200 * time.Millisecond, 1, 200 * time.Millisecond},
		{"no rate never refills", 0, 2, 100 * time.Hour, 0, time.Hour},
		{"burst below one counts as one", 1, 0, time.Second, 1, time.Second},
		{"wait is capped", 1e-9, 1, 0, 0, time.Hour},
		{"a clock that goes back refills nothing", 1, 4, -time.Hour, 0, time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			clock := &manual{}
			l := ratelimit.New(tt.perSecond, tt.burst, 100, clock.now)
			if got, want := take(l, "bob", 20), max(tt.burst, 1); got != want {
				t.Fatalf("at first %d allowed, want the burst %d", got, want)
			}
			clock.advance(tt.advance)
			if got := take(l, "bob", 20); got != tt.then {
				t.Errorf("after %v %d allowed, want %d", tt.advance, got, tt.then)
			}
			wait, ok := l.Allow("bob")
			if ok {
				t.Fatal("allowed with an empty bucket")
			}
			if diff := wait - tt.wait; diff.Abs() > time.Microsecond {
				t.Errorf("retry after %v, want %v", wait, tt.wait)
			}
			if got, want := take(l, "alice", 20), max(tt.burst, 1); got != want {
				t.Errorf("another key: %d allowed, want %d", got, want)
			}
		})
	}
}

func TestRetryAfterIsTrue(t *testing.T) {
	t.Parallel()
	clock := &manual{}
	l := ratelimit.New(1.0/3, 1, 10, clock.now)
	take(l, "k", 1)
	wait, _ := l.Allow("k")
	clock.advance(wait - time.Millisecond)
	if _, ok := l.Allow("k"); ok {
		t.Error("allowed a millisecond before retryAfter was over")
	}
	clock.advance(2 * time.Millisecond)
	if _, ok := l.Allow("k"); !ok {
		t.Error("refused after retryAfter was over")
	}
}

func TestRefusedAttemptsCostNothing(t *testing.T) {
	t.Parallel()
	clock := &manual{}
	l := ratelimit.New(1, 1, 10, clock.now)
	take(l, "k", 1000)
	clock.advance(time.Second)
	if _, ok := l.Allow("k"); !ok {
		t.Error("999 refused attempts delayed the next allowed one")
	}
}

func TestMemoryIsBounded(t *testing.T) {
	clock := &manual{}
	l := ratelimit.New(1, 5, 1000, clock.now)
	long := strings.Repeat("x", 60_000)
	before := heap()
	for i := range 12_000 {
		l.Allow(fmt.Sprintf("bogus-%d-%s", i, long))
	}
	if got := l.Len(); got != 1000 {
		t.Errorf("%d keys kept, want 1000", got)
	}
	// 1000 keys of 60 kB as they came would be 60 MB; as hashes they are well below 1 MB.
	if grown := int64(heap()) - int64(before); grown > 4<<20 {
		t.Errorf("heap grew by %d bytes", grown)
	}
	if _, ok := l.Allow("alice"); !ok {
		t.Error("a flood of other keys refused alice")
	}
	runtime.KeepAlive(l)
}

func TestLongKeysAreDistinct(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(0, 1, 10, nil)
	prefix := strings.Repeat("a", 200)
	if take(l, prefix+"1", 2) != 1 || take(l, prefix+"2", 2) != 1 {
		t.Error("two long keys with one beginning do not have a bucket each")
	}
}

func TestLeastRecentlyUsedGoesFirst(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(0, 1, 2, nil)
	l.Allow("a")
	l.Allow("b")
	l.Allow("a") // refused, but used
	l.Allow("c") // b goes
	if _, ok := l.Allow("a"); ok {
		t.Error("a was forgotten although it was used last")
	}
	if _, ok := l.Allow("b"); !ok {
		t.Error("b was not forgotten")
	}
}

func TestConcurrent(t *testing.T) {
	t.Parallel()
	l := ratelimit.New(0, 50, 100, nil)
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { allowed.Add(int64(take(l, "k", 100))) })
	}
	wg.Wait()
	if got := allowed.Load(); got != 50 {
		t.Errorf("%d of 800 concurrent events allowed, want exactly the burst 50", got)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
