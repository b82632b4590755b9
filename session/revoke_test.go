package session_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/telemetry"
)

func TestRevokeIsSeenByReplicas(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	a, b := newGateway(t, server.Addr), newGateway(t, server.Addr)
	var slowest time.Duration
	for range 50 {
		token, rec := a.login(t, "u")
		warm(t, a, token)
		warm(t, b, token)
		if err := a.Revoke(t.Context(), rec.Key(), "u"); err != nil {
			t.Fatal(err)
		}
		a.refuses(t, token, session.ErrNotFound) // here at once, whatever the cache says
		if _, err := a.Check(t.Context(), rec.Key()); !isError(err, session.ErrNotFound) {
			t.Errorf("Check: %v", err)
		}
		slowest = max(slowest, awaitWithin(t, "the other replica to refuse", time.Second, func() bool {
			_, err := b.Find(t.Context(), token)
			return isError(err, session.ErrNotFound)
		}))
		if ids := a.told(); !slices.Equal(ids, []session.ID{rec.ID}) {
			t.Errorf("told of %v", ids)
		}
	}
	t.Logf("slowest of 50: %v", slowest)
	if n := a.metric(`gatehouse_sessions_ended_total{reason="logout"}`); n != 50 {
		t.Errorf("%d logouts counted, want 50", n)
	}
}

// A replica whose connection to Redis has silently died serves from memory until it finds out. How long
// that can take is a number in the README.
func TestRevokeOverAHalfOpenConnection(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	between := newSwitch(t, server.Addr)
	a, b := newGateway(t, server.Addr), newGateway(t, between.addr)
	var slowest time.Duration
	for range 3 {
		token, rec := a.login(t, "u")
		warm(t, b, token)
		between.freeze()
		if err := a.Revoke(t.Context(), rec.Key(), "u"); err != nil {
			t.Fatal(err)
		}
		b.finds(t, token) // the case this test is about: nothing has told it
		slowest = max(slowest, awaitWithin(t, "the replica to refuse", 10*time.Second, func() bool {
			_, err := b.Find(t.Context(), token)
			return isError(err, session.ErrNotFound)
		}))
		await(t, "a connection that works", func() bool { return b.Ready(t.Context()) == nil })
	}
	t.Logf("slowest of 3: %v; by the settings at most 2 s", slowest)
}

func TestRevokeUserIsSeenByReplicas(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	a, b := newGateway(t, server.Addr), newGateway(t, server.Addr)
	var tokens []string
	for range 5 {
		token, _ := a.login(t, "u")
		warm(t, a, token)
		warm(t, b, token)
		tokens = append(tokens, token)
	}
	kept := keyOf(t, tokens[0])
	ctx := telemetry.WithRequest(t.Context(), &telemetry.Request{ID: "request-7"})
	if n, err := a.RevokeUser(ctx, "u", kept.ID); err != nil || n != 4 {
		t.Fatalf("%d ended, %v", n, err)
	}
	for _, token := range tokens[1:] {
		a.refuses(t, token, session.ErrNotFound)
		await(t, "the other replica to refuse", func() bool { _, err := b.Find(t.Context(), token); return isError(err, session.ErrNotFound) })
	}
	a.finds(t, tokens[0])
	if len(a.told()) != 4 {
		t.Error("OnEnd was not told of all")
	}
	log := a.log.String()
	if !strings.Contains(log, `"event":"revoke"`) || !strings.Contains(log, `"count":4`) || !strings.Contains(log, "request-7") {
		t.Errorf("no audit line: %s", log)
	}
	if n := a.metric(`gatehouse_sessions_ended_total{reason="revoked"}`); n != 4 {
		t.Errorf("%d counted", n)
	}
}

func TestRevokeDuringOutage(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t, testredis.Persistent())
	g := newGateway(t, server.Addr)
	token, rec := g.login(t, "u")
	var others []string
	for range 3 {
		other, _ := g.login(t, "v")
		g.finds(t, other)
		others = append(others, other)
	}
	kept := others[0]
	g.finds(t, token)
	server.Kill()
	if err := g.Revoke(t.Context(), rec.Key(), "u"); !isError(err, session.ErrUnconfirmed) {
		t.Fatalf("%v, want ErrUnconfirmed", err)
	}
	if _, err := g.RevokeUser(t.Context(), "v", keyOf(t, kept).ID); !isError(err, session.ErrUnconfirmed) {
		t.Fatalf("%v, want ErrUnconfirmed", err)
	}
	// Refused here at once, told of at once, though Redis knows nothing.
	for range 100 {
		g.refuses(t, token, session.ErrNotFound)
		g.refuses(t, others[1], session.ErrNotFound)
		g.refuses(t, others[2], session.ErrNotFound)
		g.finds(t, kept)
	}
	if ids := g.told(); len(ids) != 3 || slices.Contains(ids, keyOf(t, kept).ID) {
		t.Errorf("told of %d sessions", len(ids))
	}
	if n := g.metric("gatehouse_revocations_pending"); n != 2 {
		t.Errorf("%d pending", n)
	}
	// Not forgotten however long it takes.
	g.clock.advance(30 * time.Second)
	g.refuses(t, token, session.ErrNotFound)
	server.Restart()
	await(t, "the revocations to be confirmed", func() bool { return g.metric("gatehouse_revocations_pending") == 0 })
	fresh := newGateway(t, server.Addr)
	for _, ended := range []string{token, others[1], others[2]} {
		fresh.refuses(t, ended, session.ErrNotFound)
		g.refuses(t, ended, session.ErrNotFound)
	}
	fresh.finds(t, kept)
	g.login(t, "v")
	if n := g.metric(`gatehouse_sessions_ended_total{reason="logout"}`) + g.metric(`gatehouse_sessions_ended_total{reason="revoked"}`); n != 3 {
		t.Errorf("%d ends counted", n)
	}
}

func TestRevokeUserSettlesPendingOnes(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t, testredis.Persistent())
	g := newGateway(t, server.Addr)
	g.login(t, "u")
	server.Kill()
	if _, err := g.RevokeUser(t.Context(), "u"); !isError(err, session.ErrUnconfirmed) {
		t.Fatal(err)
	}
	server.Restart()
	await(t, "a revocation that is confirmed", func() bool { _, err := g.RevokeUser(t.Context(), "u"); return err == nil })
	token, _ := g.login(t, "u")
	await(t, "nothing to be pending", func() bool { return g.metric("gatehouse_revocations_pending") == 0 })
	g.finds(t, token)
}

// A revocation that fails for a reason of its own does not hold up the ones behind it.
func TestOneBadRevocationDoesNotStopTheRest(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t, testredis.Persistent())
	g := newGateway(t, server.Addr)
	g.login(t, "bad")
	index := "user_sessions:{" + string(session.TagOf("bad")) + "}:bad"
	server.Do(t, "DEL", index)
	server.Do(t, "SET", index, "no sorted set")
	good, rec := g.login(t, "good")
	if _, err := g.RevokeUser(t.Context(), "bad"); !isError(err, session.ErrUnconfirmed) {
		t.Fatalf("a damaged index: %v", err)
	}
	server.Kill()
	if err := g.Revoke(t.Context(), rec.Key(), "good"); !isError(err, session.ErrUnconfirmed) {
		t.Fatal(err)
	}
	server.Restart()
	await(t, "the revocation behind the bad one to be confirmed", func() bool { return g.metric("gatehouse_revocations_pending") == 1 })
	newGateway(t, server.Addr).refuses(t, good, session.ErrNotFound)
	server.Do(t, "DEL", index)
	await(t, "the bad one, once it can be", func() bool { return g.metric("gatehouse_revocations_pending") == 0 })
}

// A login whose confirmation was lost leaves nothing behind that would take a user's place.
func TestLostCreateIsCleanedUp(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := newGateway(t, server.Addr, quick)
	g.login(t, "u")
	began, err := g.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if _, _, err := g.Create(t.Context(), session.Login{User: session.User{ID: "u"}, Began: began}); !isError(err, session.ErrUnavailable) {
		t.Fatalf("%v, want ErrUnavailable", err)
	}
	server.Cont() // the command arrives, late
	await(t, "the orphan to be removed", func() bool { return g.metric("gatehouse_revocations_pending") == 0 })
	await(t, "one session to be left", func() bool {
		list, err := g.List(t.Context(), "u")
		return err == nil && len(list) == 1
	})
	if len(g.told()) != 0 || g.metric(`gatehouse_sessions_ended_total{reason="logout"}`) != 0 {
		t.Error("an orphan is nobody's session: nobody is told")
	}
}
