package session_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// heard is what OnChange tells.
type heard struct {
	mu  sync.Mutex
	ids []session.ID
}

func listen(m *session.Manager) *heard {
	h := &heard{}
	m.OnChange(func(id session.ID) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ids = append(h.ids, id)
	})
	return h
}

func (h *heard) of(id session.ID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Contains(h.ids, id)
}

func (h *heard) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ids = nil
}

// check is what a stream's owner does when it hears of a change.
func (g *gateway) check(t testing.TB, rec *session.Record, want error) session.Session {
	t.Helper()
	s, err := g.Check(t.Context(), rec.Key())
	if want == nil && err != nil || want != nil && !isError(err, want) {
		t.Fatalf("Check says %v, want %v", err, want)
	}
	return s
}

// setRole writes the session with another role, as a replica would.
func (g *gateway) setRole(t testing.TB, key session.Key, role string) {
	t.Helper()
	found, err := g.store.Find(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	next := found.Record.Clone()
	next.User.Role = role
	if err := g.store.Replace(t.Context(), found.Record, next, hour); err != nil {
		t.Fatal(err)
	}
}

func TestOnChange(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	gone, there := error(session.ErrNotFound), error(nil)
	for name, c := range map[string]struct {
		change func(t *testing.T, elsewhere *gateway, rec *session.Record)
		after  error
		role   string
	}{
		"revoked": {func(t *testing.T, g *gateway, rec *session.Record) {
			must(t, g.Revoke(t.Context(), rec.Key(), rec.User.ID))
		}, gone, ""},
		"all revoked": {func(t *testing.T, g *gateway, rec *session.Record) {
			_, err := g.RevokeUser(t.Context(), rec.User.ID)
			must(t, err)
		}, gone, ""},
		"deleted by hand": {func(t *testing.T, _ *gateway, rec *session.Record) {
			server.Do(t, "DEL", fmt.Sprintf("session:{%s}:%s", rec.Key().Tag, rec.ID))
		}, gone, ""},
		"expired": {func(t *testing.T, g *gateway, rec *session.Record) {
			found, err := g.store.Find(t.Context(), rec.Key())
			must(t, err)
			must(t, g.store.Replace(t.Context(), found.Record, found.Record.Clone(), time.Millisecond))
		}, gone, ""},
		"another role": {func(t *testing.T, g *gateway, rec *session.Record) { g.setRole(t, rec.Key(), "guest") }, there, "guest"},
		"renewed":      {func(t *testing.T, g *gateway, rec *session.Record) { g.setRole(t, rec.Key(), "admin") }, there, "admin"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			here, elsewhere := newGateway(t, server.Addr), newGateway(t, server.Addr)
			h := listen(here.Manager)
			user := "user of " + name
			admin := func(l *session.Login) { l.User.Role = "admin" }
			token, rec := elsewhere.login(t, user, admin)
			_, other := elsewhere.login(t, "bystander of "+name, admin)
			here.finds(t, token)
			here.check(t, other, nil)
			h.reset()

			c.change(t, elsewhere, rec)
			await(t, "the other replica to hear of it", func() bool { return h.of(rec.ID) })
			await(t, "the outcome", func() bool {
				s, err := here.Check(t.Context(), rec.Key())
				return c.after != nil && isError(err, c.after) || c.after == nil && err == nil && s.User.Role == c.role
			})
			if h.of(other.ID) {
				t.Error("a session that has not changed is said to have")
			}
			here.check(t, other, nil)
		})
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Each change is told of, and the one after it, also while the session is not in memory: a busy gateway forgets
// those used least, which are just those that only a stream holds.
func TestOnChangeGoesOn(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	here, elsewhere := newGateway(t, server.Addr), newGateway(t, server.Addr)
	h, second := listen(here.Manager), listen(here.Manager)
	_, rec := elsewhere.login(t, "u")
	here.check(t, rec, nil)
	for round := range 20 {
		h.reset()
		if round%2 == 1 {
			here.store.EvictForTest(rec.ID)
		}
		role := fmt.Sprint("role ", round)
		elsewhere.setRole(t, rec.Key(), role)
		await(t, fmt.Sprintf("change %d to be told", round), func() bool { return h.of(rec.ID) })
		if s := here.check(t, rec, nil); s.User.Role != role {
			t.Fatalf("after it was told of the change Check gives role %q, want %q", s.User.Role, role)
		}
	}
	if !second.of(rec.ID) {
		t.Error("the second of two listeners hears nothing")
	}
	must(t, elsewhere.Revoke(t.Context(), rec.Key(), "u"))
	await(t, "the end", func() bool { _, err := here.Check(t.Context(), rec.Key()); return isError(err, session.ErrNotFound) })
}

// FLUSHALL and a lost connection name no session. The first ends them all the same, the second none.
func TestOnChangeOfNothing(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t, testredis.Persistent())
	here, elsewhere := newGateway(t, server.Addr), newGateway(t, server.Addr)
	h := listen(here.Manager)
	_, rec := elsewhere.login(t, "u")
	here.check(t, rec, nil)

	h.reset()
	server.Kill()
	await(t, "the outage", func() bool { return here.check(t, rec, nil).Source == session.FromKnown })
	server.Restart()
	await(t, "Redis to be used again", func() bool { return here.check(t, rec, nil).Source == session.FromCache })
	if h.of(rec.ID) {
		t.Error("a lost connection is told as a change of a session")
	}
	await(t, "the other replica to be back", func() bool { _, err := elsewhere.store.Find(t.Context(), rec.Key()); return err == nil })
	elsewhere.setRole(t, rec.Key(), "guest")
	await(t, "a change after the outage to be told", func() bool { return h.of(rec.ID) })

	here.check(t, rec, nil)
	h.reset()
	server.Do(t, "FLUSHALL")
	await(t, "the session to be gone", func() bool {
		_, err := here.Check(context.Background(), rec.Key())
		return isError(err, session.ErrNotFound)
	})
	if h.of(rec.ID) {
		t.Error("FLUSHALL is told as a change of a session")
	}
}

// Without a cache to be kept honest nobody tells, and Check asks Redis each time.
func TestNoChangesWithoutTracking(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t, testredis.Flags("--rename-command", "CLIENT", ""))
	here, elsewhere := newGateway(t, server.Addr), newGateway(t, server.Addr)
	h := listen(here.Manager)
	_, rec := elsewhere.login(t, "u")
	here.check(t, rec, nil)
	must(t, elsewhere.Revoke(t.Context(), rec.Key(), "u"))
	here.check(t, rec, session.ErrNotFound)
	if h.of(rec.ID) {
		t.Error("told of a change, by whom?")
	}
}

// While sessions move, those in Redis are told of, and the application's own are not.
func TestOnChangeWhileMigrating(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	here, elsewhere := w.replica("primary"), w.replica("primary")
	h := listen(here.Manager)
	began, err := elsewhere.Begin(t.Context())
	must(t, err)
	_, rec, err := elsewhere.Create(t.Context(), session.Login{User: session.User{ID: "1", Email: "user1@example.com", Role: "user"}, Backend: "database", Began: began})
	must(t, err)
	if _, err := here.Check(t.Context(), rec.Key()); err != nil {
		t.Fatal(err)
	}
	must(t, elsewhere.Revoke(t.Context(), rec.Key(), "1"))
	await(t, "the revocation to be told", func() bool { return h.of(rec.ID) })
	if _, err := here.Check(t.Context(), rec.Key()); !isError(err, session.ErrNotFound) {
		t.Errorf("Check says %v", err)
	}
}
