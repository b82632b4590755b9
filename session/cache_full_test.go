package session_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/telemetry"

	"github.com/rs/zerolog"
)

// smallCache is a replica whose cache holds a part of the sessions only.
func smallCache(t *testing.T, addr string, size config.Size) *gateway {
	t.Helper()
	g := &gateway{clock: &clock{}, log: &buffer{}, metrics: telemetry.NewMetrics()}
	opts := session.Options{Clock: g.clock.now, Log: zerolog.New(g.log), Metrics: g.metrics, CacheSize: size}
	g.store = openConfig(t, config.Redis{Addresses: []string{addr}, Timeout: 5 * time.Second}, opts)
	connected(t, g.store)
	g.Manager = session.NewManager(g.store, config.Session{Idle: 168 * time.Hour, Absolute: 720 * time.Hour, MaxPerUser: 20, AtLimit: config.EvictOldest},
		config.Outage{ServeKnownFor: time.Minute}, opts)
	t.Cleanup(func() { g.Close(t.Context()) })
	return g
}

func (g *gateway) cacheMetric(name, part string) int {
	return g.metric(fmt.Sprintf("gatehouse_session_cache_%s{part=%q}", name, part))
}

func (g *gateway) cacheBytes() int {
	return g.cacheMetric("bytes", "replies") + g.cacheMetric("bytes", "records")
}

// Ten thousand sessions in rotation through a cache of 1 MiB: answers stay right and revocations are obeyed at
// once, the bytes stay below the bound, and operators are told.
func TestFullCacheStaysRight(t *testing.T) {
	t.Parallel()
	const n, limit = 5_000, 1 << 20
	addr := testredis.Start(t).Addr
	g, other := smallCache(t, addr, limit), smallCache(t, addr, limit)
	tokens := make([]string, n)
	for i := range n {
		tokens[i], _ = g.login(t, fmt.Sprint("user-", i/10))
	}
	right := func(g *gateway, i int) {
		t.Helper()
		if s := g.finds(t, tokens[i]); s.User.ID != fmt.Sprint("user-", i/10) {
			t.Fatalf("session %d is %s's", i, s.User.ID)
		}
	}
	ended := make(map[int]bool)
	for i := range n {
		right(g, i)
		right(other, i)
		if i%10 == 3 {
			// It is in memory of both now. A hundred others pass through right after.
			rec := g.finds(t, tokens[i])
			if err := g.Revoke(t.Context(), rec.Key(), rec.User.ID); err != nil {
				t.Fatal(err)
			}
			ended[i] = true
		}
		if i%100 == 99 {
			for j := i - 99; j <= i; j++ {
				if ended[j] {
					g.refuses(t, tokens[j], session.ErrNotFound)
					await(t, "the other replica to refuse", func() bool {
						_, err := other.Find(t.Context(), tokens[j])
						return isError(err, session.ErrNotFound)
					})
				}
			}
		}
	}
	if len(ended) != n/10 {
		t.Fatalf("%d ended", len(ended))
	}
	for _, g := range []*gateway{g, other} {
		for _, part := range []string{"replies", "records"} {
			if got := g.cacheMetric("evictions_total", part); got < n/2 {
				t.Errorf("%d evictions of %s are counted in %d sessions", got, part, n)
			}
			if got := g.cacheMetric("entries", part); got < 100 || got > 3000 {
				t.Errorf("%d %s in 1 MiB", got, part)
			}
		}
		if got := g.cacheBytes(); got > limit || got < limit*8/10 {
			t.Errorf("%d bytes, limit %d", got, limit)
		}
		if lines := strings.Count(g.log.String(), "session.cache_size"); lines != 1 {
			t.Errorf("%d lines in the log say that the cache is full", lines)
		}
	}
}

// The manager forgets an ended session's ID after a while, the store has to hold by itself: an entry that says
// "ended" is evicted, and with it the answer from before.
func TestEvictedEndingsLetNoStaleHitThrough(t *testing.T) {
	t.Parallel()
	g := smallCache(t, testredis.Start(t).Addr, 1<<20)
	for round := range 12 {
		_, rec := g.login(t, fmt.Sprint("user-", round))
		if _, err := g.store.Find(t.Context(), rec.Key()); err != nil {
			t.Fatal(err)
		}
		if _, err := g.store.Revoke(t.Context(), rec.Key(), rec.User.ID); err != nil {
			t.Fatal(err)
		}
		if round%3 == 0 { // enough others to push it out
			for i := range 700 {
				g.login(t, fmt.Sprint("other-", i))
			}
		}
		if f, err := g.store.Find(t.Context(), rec.Key()); !isError(err, session.ErrNotFound) {
			t.Fatalf("round %d: an ended session is found: %v, %v", round, f.Source, err)
		}
	}
	if g.cacheMetric("evictions_total", "records") == 0 {
		t.Error("nothing was pushed out")
	}
}

// What fits stays: no evictions, no line in the log, no question to Redis.
func TestRoomyCacheEvictsNothing(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := smallCache(t, server.Addr, 16*config.MiB)
	tokens := make([]string, 1500)
	for i := range tokens {
		tokens[i], _ = g.login(t, fmt.Sprint("user-", i))
		g.finds(t, tokens[i])
	}
	before := commands(t, server, "get")
	for range 3 {
		for _, token := range tokens {
			if s := g.finds(t, token); s.Source != session.FromCache {
				t.Fatalf("found in %s", s.Source)
			}
		}
	}
	if asked := commands(t, server, "get") - before; asked > 0 {
		t.Errorf("Redis was asked %d times", asked)
	}
	for _, part := range []string{"replies", "records"} {
		if n := g.cacheMetric("evictions_total", part); n != 0 {
			t.Errorf("%d evictions", n)
		}
	}
	if strings.Contains(g.log.String(), "cache_size") {
		t.Error("the log says that it is full")
	}
}

// A connection that breaks takes its answers with it, and the bytes are given back.
func TestBrokenConnectionGivesBack(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := smallCache(t, server.Addr, 4*config.MiB)
	token, _ := g.login(t, "u")
	warm(t, g, token)
	if g.cacheMetric("entries", "replies") != 1 {
		t.Fatal("no answer is kept")
	}
	server.Do(t, "CLIENT", "KILL", "TYPE", "normal")
	await(t, "the answers to be dropped", func() bool {
		return g.cacheMetric("entries", "replies") == 0 && g.cacheMetric("bytes", "replies") == 0
	})
	warm(t, g, token)
}
