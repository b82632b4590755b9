package session_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// S10: Redis unreachable, hung, loading, a replica, or refusing us. Requests get an answer within
// a bound, known sessions go on, nobody else gets in, and it ends by itself.
func TestS10Outages(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"S10_killed_and_back":       outageKilled,
		"S10_hung_and_back":         outageHung,
		"S10_loading":               outageLoading,
		"S10_read_only_replica":     outageReplica,
		"S10_demoted_behind_a_name": outageFailover,
		"S10_wrong_password":        outagePassword,
		"S10_away_at_the_start":     outageStart,
		"S10_full":                  outageFull,
		"S10_short_break":           outageBreak,
		"S10_known_is_bounded":      outageBounded,
		"S10_changed_while_away":    outageSuspect,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

// away checks what holds in every outage, for a known session and an unknown one.
func away(t *testing.T, g *gateway, known, unknown string) {
	t.Helper()
	await(t, "the outage to be noticed", func() bool {
		s, err := g.Find(t.Context(), known)
		if err != nil {
			t.Fatalf("the known session is refused: %v", err)
		}
		g.Find(t.Context(), unknown)
		return s.Source == session.FromKnown && g.store.Away()
	})
	start := time.Now()
	for range 200 {
		s := g.finds(t, known)
		if s.Source != session.FromKnown || s.Renew {
			t.Fatalf("source %s, renew %v", s.Source, s.Renew)
		}
		g.refuses(t, unknown, session.ErrUnavailable)
		if _, err := g.Begin(t.Context()); !isError(err, session.ErrUnavailable) {
			t.Fatalf("a login begins: %v", err)
		}
		if _, err := g.List(t.Context(), "u"); !isError(err, session.ErrUnavailable) {
			t.Fatalf("List: %v", err)
		}
	}
	// With the breaker open nothing waits for Redis.
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("800 calls took %v", took)
	}
	if err := g.Ready(t.Context()); !isError(err, session.ErrUnavailable) {
		t.Errorf("Ready: %v", err)
	}
	g.refuses(t, "junk", session.ErrNotFound)
	if g.metric("gatehouse_redis_outage") != 1 || g.metric("gatehouse_redis_outages_total") < 1 {
		t.Errorf("outage %d, outages %d", g.metric("gatehouse_redis_outage"), g.metric("gatehouse_redis_outages_total"))
	}
}

// back checks that it is over.
func back(t *testing.T, g *gateway, token string) {
	t.Helper()
	took := awaitWithin(t, "Redis to be used again", 15*time.Second, func() bool {
		s, err := g.Find(t.Context(), token)
		return err == nil && s.Source != session.FromKnown
	})
	t.Logf("used again after %v", took.Round(time.Millisecond))
	if err := g.Ready(t.Context()); err != nil {
		t.Errorf("Ready: %v", err)
	}
	g.login(t, "after")
	log := g.log.String()
	begins, ends := strings.Count(log, `"event":"outage_begin"`), strings.Count(log, `"event":"outage_end"`)
	// (Under load, the start may have seen a short one.)
	if begins != ends || begins < 1 || g.metric("gatehouse_redis_outage") != 0 {
		t.Errorf("%d begins and %d ends in the log, outage %d\n%s", begins, ends, g.metric("gatehouse_redis_outage"), log)
	}
}

func outageKilled(t *testing.T) {
	server := testredis.Start(t, testredis.Persistent())
	g := newGateway(t, server.Addr, quick)
	known, _ := g.login(t, "u")
	g.finds(t, known)
	unknown := session.NewToken("u")
	server.Kill()
	away(t, g, known, unknown)
	server.Restart()
	back(t, g, known)
	g.refuses(t, unknown, session.ErrNotFound)
}

func outageHung(t *testing.T) {
	server := testredis.Start(t)
	g := newGateway(t, server.Addr, quick)
	known, _ := g.login(t, "u")
	g.finds(t, known)
	unknown := session.NewToken("u")
	server.Stop()
	// Many at once, before anybody knows: each waits its timeout and not longer.
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			start := time.Now()
			if _, err := g.Find(context.Background(), session.NewToken("u")); !isError(err, session.ErrUnavailable) {
				t.Errorf("Find: %v", err)
			}
			if took := time.Since(start); took > 3*time.Second {
				t.Errorf("one request waited %v", took)
			}
		})
	}
	all.Wait()
	away(t, g, known, unknown)
	// For longer than the client takes to give up its connections, and while dialling hangs too.
	total, slow := 0, 0
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		start := time.Now()
		g.finds(t, known)
		g.refuses(t, unknown, session.ErrUnavailable)
		if total++; time.Since(start) > 50*time.Millisecond {
			slow++
		}
	}
	if slow*20 > total {
		t.Errorf("while it hung, %d of %d requests waited", slow, total)
	}
	server.Cont()
	back(t, g, known)
}

func outageLoading(t *testing.T) {
	server := testredis.Start(t)
	g := newGateway(t, server.Addr, quick)
	known, _ := g.login(t, "u")
	for i := range 300 {
		server.Do(t, "SET", fmt.Sprint("filler", i), strings.Repeat(fmt.Sprint(i, "-"), 1000))
	}
	g.finds(t, known)
	server.Do(t, "SAVE")
	server.Kill()
	// Each key takes a while to load, so that the server answers LOADING for some seconds.
	testredis.Flags("--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024")(server)
	server.Launch()
	await(t, "LOADING to be met", func() bool {
		g.finds(t, known)
		g.Find(t.Context(), session.NewToken("u"))
		err := g.Ready(t.Context())
		return err != nil && strings.Contains(err.Error(), "LOADING")
	})
	away(t, g, known, session.NewToken("u"))
	back(t, g, known)
}

func outageBounded(t *testing.T) {
	server := testredis.Start(t)
	g := newGateway(t, server.Addr, func(s *settings) { s.outage.ServeKnownFor = 30 * time.Second })
	off := newGateway(t, server.Addr, func(s *settings) { s.outage.ServeKnownFor = 0 })
	token, _ := g.login(t, "u")
	g.finds(t, token)
	off.finds(t, token)
	server.Kill()
	await(t, "the outage to be noticed", func() bool {
		s, err := g.Find(t.Context(), token)
		return err == nil && s.Source == session.FromKnown
	})
	g.clock.advance(29 * time.Second)
	g.finds(t, token)
	g.clock.advance(2 * time.Second)
	g.refuses(t, token, session.ErrUnavailable)
	await(t, "serving known sessions to be off", func() bool { _, err := off.Find(t.Context(), token); return isError(err, session.ErrUnavailable) })
	for _, source := range []string{"known", "unavailable"} {
		if g.metric(`gatehouse_session_finds_total{source="`+source+`"}`) == 0 {
			t.Errorf("no find counted as %s", source)
		}
	}
}

// A session that Redis said has changed, just before it went away, may have been revoked: it is
// not served as known.
func outageSuspect(t *testing.T) {
	server := testredis.Start(t)
	here, there := newGateway(t, server.Addr), newGateway(t, server.Addr)
	token, rec := here.login(t, "u")
	warm(t, here, token)
	if err := there.Revoke(t.Context(), rec.Key(), "u"); err != nil {
		t.Fatal(err)
	}
	await(t, "this replica to hear of it", func() bool { return len(here.store.KnownOf("u")) == 0 })
	server.Kill()
	await(t, "the session to be refused", func() bool { _, err := here.Find(t.Context(), token); return err != nil })
	if s, err := here.Find(t.Context(), token); err == nil {
		t.Errorf("a revoked session is served: %v", s.Source)
	}
}
