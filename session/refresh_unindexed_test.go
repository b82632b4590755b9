package session_test

import (
	"errors"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// unindex takes a session out of its user's index, as a restored backup may.
func unindex(t *testing.T, server *testredis.Server, rec *session.Record) {
	t.Helper()
	server.Do(t, "ZREM", "user_sessions:{"+string(session.TagOf(rec.User.ID))+"}:"+rec.User.ID, rec.ID.String())
}

// A session that is not in its user's index goes with the backend as well: the request has it in hand.
func TestRefreshChangesAnUnindexedSession(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	d := newDirectory(ann)
	g := d.reads(newGateway(t, server.Addr))
	token, rec := d.as(t, g, "1")
	other, _ := d.as(t, g, "1")
	g.roleIs(t, token, "admin")
	unindex(t, server, rec)
	d.role("1", "member")
	g.clock.advance(time.Minute)
	g.roleIs(t, token, "member")
	g.clock.advance(time.Second)
	g.roleIs(t, token, "member")
	g.roleIs(t, other, "member")
	newGateway(t, server.Addr).roleIs(t, token, "member")
	if got := g.metric(`gatehouse_user_refreshes_total{outcome="changed"}`); got != 1 {
		t.Errorf("%d counted as changed", got)
	}
	if got := g.metric(`gatehouse_sessions_changed_total`); got != 2 {
		t.Errorf("%d sessions counted as changed, want 2", got)
	}
	// Once it is right, it costs no more than others.
	sets := commands(t, server, "set")
	for range 3 {
		g.clock.advance(time.Minute)
		g.roleIs(t, token, "member")
	}
	if n := commands(t, server, "set") - sets; n != 0 {
		t.Errorf("%d writes for a user who has not changed", n)
	}
}

// Another of the user's sessions has the look-up done each time: the one that is not in the index is seen to differ, and is not
// forgotten at the next.
func TestRefreshChangesAnUnindexedSessionThatAsksLater(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	d := newDirectory(ann)
	g := d.reads(newGateway(t, server.Addr))
	token, rec := d.as(t, g, "1")
	busy, _ := d.as(t, g, "1")
	g.roleIs(t, token, "admin")
	unindex(t, server, rec)
	d.role("1", "member")
	g.clock.advance(time.Minute)
	g.roleIs(t, busy, "member")
	g.clock.advance(time.Second)
	g.finds(t, token)
	g.clock.advance(time.Minute)
	g.roleIs(t, busy, "member")
	g.roleIs(t, token, "member")
	newGateway(t, server.Addr).roleIs(t, token, "member")
}

// Who is gone is so for every replica, and it is asked and written once.
func TestRefreshEndsAnUnindexedSession(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	d := newDirectory(ann)
	g, plain := d.reads(newGateway(t, server.Addr)), newGateway(t, server.Addr)
	token, rec := d.as(t, g, "1")
	other, _ := d.as(t, g, "1")
	g.roleIs(t, token, "admin")
	plain.roleIs(t, token, "admin")
	unindex(t, server, rec)
	d.set(func(d *directory) { d.off["1"] = true })
	g.clock.advance(time.Minute)
	asked, scripts := d.took("1"), commands(t, server, "evalsha")
	for range 20 {
		g.refuses(t, token, session.ErrNotFound)
	}
	if n, s := d.took("1")-asked, commands(t, server, "evalsha")-scripts; n != 1 || s > 5 {
		t.Errorf("asked %d times, %d scripts", n, s)
	}
	g.refuses(t, other, session.ErrNotFound)
	await(t, "a replica that reads no users again to refuse it", func() bool {
		_, err := plain.Find(t.Context(), token)
		return errors.Is(err, session.ErrNotFound)
	})
	if ids := g.told(); len(ids) != 2 {
		t.Errorf("told of %v", ids)
	}
	d.set(func(d *directory) { d.err = errors.New("connection refused") })
	g.refuses(t, token, session.ErrNotFound)
}

// The same while Redis is away: what is tried again ends the session in hand too.
func TestRefreshEndsAnUnindexedSessionWithoutRedis(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t, testredis.Persistent())
	d := newDirectory(ann)
	g := d.reads(newGateway(t, server.Addr, quick, func(s *settings) { s.outage.ServeKnownFor = time.Hour }))
	token, rec := d.as(t, g, "1")
	unindex(t, server, rec)
	warm(t, g, token)
	server.Kill()
	await(t, "the outage to be noticed", func() bool { g.Find(t.Context(), token); return g.store.Away() })
	d.set(func(d *directory) { delete(d.users, "1") })
	g.clock.advance(time.Minute)
	g.refuses(t, token, session.ErrNotFound)
	server.Restart()
	connected(t, g.store)
	plain := newGateway(t, server.Addr)
	await(t, "its end to be in Redis", func() bool {
		_, err := plain.Find(t.Context(), token)
		return errors.Is(err, session.ErrNotFound)
	})
}
