package session_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"

	"github.com/redis/rueidis"
)

func TestSupersededHeals(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	for range 3 {
		g.RevokeUser(t.Context(), "u")
	}
	g.login(t, "u")
	server.Do(t, "DEL", "login_seq") // lost, while the user's generation survived
	if _, _, err := g.tryLogin("u"); !isError(err, session.ErrSuperseded) {
		t.Fatalf("%v, want ErrSuperseded", err)
	}
	g.login(t, "u")
	if n, err := g.RevokeUser(t.Context(), "u"); err != nil || n != 2 {
		t.Errorf("%d revoked, %v", n, err)
	}
	g.login(t, "u")
}

func TestLimits(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := newGateway(t, server.Addr, func(s *settings) { s.session.MaxPerUser = 2 })
	first, rec := g.login(t, "u")
	g.login(t, "u")
	g.login(t, "u")
	g.refuses(t, first, session.ErrNotFound)
	log := g.log.String()
	if !strings.Contains(log, `"event":"eviction"`) || !strings.Contains(log, rec.ID.Short()) || strings.Contains(log, rec.ID.String()) {
		t.Errorf("no audit line, or one with the whole ID: %s", log)
	}
	if n := g.metric(`gatehouse_sessions_ended_total{reason="evicted"}`); n != 1 {
		t.Errorf("%d evictions counted", n)
	}
	strict := newGateway(t, server.Addr, func(s *settings) { s.session.MaxPerUser, s.session.AtLimit = 2, config.Reject })
	if _, _, err := strict.tryLogin("u"); !isError(err, session.ErrLimit) {
		t.Errorf("%v, want ErrLimit", err)
	}
	// Logging in again on the same browser takes the place of the session there.
	token, _ := strict.login(t, "v")
	strict.login(t, "v")
	strict.login(t, "v", func(l *session.Login) { l.Previous = token })
	if _, _, err := strict.tryLogin("v"); !isError(err, session.ErrLimit) {
		t.Errorf("%v, want ErrLimit", err)
	}
}

func TestCloseFlushes(t *testing.T) {
	t.Parallel()
	t.Run("renewals", func(t *testing.T) {
		t.Parallel()
		server := testredis.Start(t)
		g := newGateway(t, server.Addr)
		sessions := map[string]*session.Record{}
		for i := range 50 {
			token, rec := g.login(t, fmt.Sprint("u", i))
			sessions[token] = rec
		}
		g.clock.advance(2 * time.Hour)
		for token := range sessions {
			if !g.finds(t, token).Renew {
				t.Error("no renewal")
			}
		}
		if err := g.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		for _, rec := range sessions {
			if strings.Contains(raw(t, server, rec), `"lastAccessed":"`+rec.LastAccessed.Format("2006-01-02T15:04:05.000Z")) {
				t.Error("a renewal was not flushed")
			}
		}
		if n := g.metric(`gatehouse_session_renewals_total{outcome="ok"}`); n != 50 {
			t.Errorf("%d renewals counted", n)
		}
	})
	t.Run("revocations", func(t *testing.T) {
		t.Parallel()
		server := testredis.Start(t, testredis.Persistent())
		g := newGateway(t, server.Addr)
		_, rec := g.login(t, "u")
		server.Kill()
		if err := g.Revoke(t.Context(), rec.Key(), "u"); !isError(err, session.ErrUnconfirmed) {
			t.Errorf("Revoke: %v", err)
		}
		server.Restart()
		if err := g.Close(t.Context()); err != nil {
			t.Errorf("Close: %v", err)
		}
		if n, _ := ptr(server.Do(t, "EXISTS", name(rec))).AsInt64(); n != 0 {
			t.Error("the revocation was not flushed")
		}
	})
	t.Run("what cannot be flushed is told, in time", func(t *testing.T) {
		t.Parallel()
		server := testredis.Start(t)
		g := newGateway(t, server.Addr)
		_, rec := g.login(t, "u")
		server.Kill()
		g.Revoke(t.Context(), rec.Key(), "u")
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := g.Close(ctx); err == nil || !strings.Contains(err.Error(), "given up: 1") {
			t.Errorf("Close: %v", err)
		}
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("Close took %v", took)
		}
	})
}

func TestRenewalReachesReplicas(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	a, b := newGateway(t, server.Addr), newGateway(t, server.Addr)
	token, rec := a.login(t, "u")
	warm(t, a, token)
	warm(t, b, token)
	a.clock.advance(2 * time.Hour)
	if !a.finds(t, token).Renew {
		t.Fatal("no renewal")
	}
	await(t, "the other replica to see it", func() bool { return b.finds(t, token).LastAccessed.After(rec.LastAccessed) })
	// Read again by itself: the next request is answered from memory, and is known in an outage.
	await(t, "it to be in memory", func() bool { return a.finds(t, token).Source == session.FromCache })
	if s, err := a.Check(t.Context(), rec.Key()); err != nil || s.Renew {
		t.Errorf("Check: renew %v, %v", s.Renew, err)
	}
}

func TestSources(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	a, b := newGateway(t, server.Addr), newGateway(t, server.Addr)
	token, _ := a.login(t, "u")
	if s := b.finds(t, token); s.Source != session.FromStore {
		t.Errorf("first %s", s.Source)
	}
	if s := b.finds(t, token); s.Source != session.FromCache {
		t.Errorf("then %s", s.Source)
	}
	b.refuses(t, session.NewToken("u"), session.ErrNotFound)
	for _, source := range []string{"redis", "cache", "none"} {
		if n := b.metric(fmt.Sprintf("gatehouse_session_finds_total{source=%q}", source)); n != 1 {
			t.Errorf("%s counted %d times", source, n)
		}
	}
	if b.metric("gatehouse_session_cache_enabled") != 1 {
		t.Error("the cache is not on")
	}
}

// Without client tracking it works, slower, and says so.
func TestNoClientTracking(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t, testredis.Flags("--rename-command", "CLIENT", ""))
	g := newGateway(t, server.Addr)
	token, rec := g.login(t, "u")
	for range 3 {
		if s := g.finds(t, token); s.Source != session.FromStore {
			t.Errorf("source %s", s.Source)
		}
	}
	if g.metric("gatehouse_session_cache_enabled") != 0 || !strings.Contains(g.log.String(), "client tracking") {
		t.Errorf("it does not say so: %s", g.log.String())
	}
	if err := g.Revoke(t.Context(), rec.Key(), "u"); err != nil {
		t.Error(err)
	}
	g.refuses(t, token, session.ErrNotFound)
}

func TestEmbedded(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "embedded", func(s *settings) { s.session.Idle, s.session.Absolute = 1500*time.Millisecond, time.Hour })
	token, rec := g.login(t, "u")
	g.finds(t, token)
	// Nobody else on the machine reads it.
	stranger, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{g.store.EmbeddedServer().Addr()}, ForceSingleClient: true, DisableCache: true,
	})
	if err == nil {
		err = stranger.Do(t.Context(), stranger.B().Keys().Pattern("*").Build()).Error()
	}
	if stranger != nil {
		stranger.Close()
	}
	if err == nil || !strings.Contains(err.Error(), "NOAUTH") {
		t.Errorf("without a password: %v", err)
	}
	// Its clock runs by itself.
	await(t, "the session to expire", func() bool {
		list, listErr := g.List(t.Context(), "u")
		_, err := g.Check(t.Context(), rec.Key()) // Find would prolong it
		return listErr == nil && len(list) == 0 && isError(err, session.ErrNotFound)
	})
}
