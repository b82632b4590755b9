package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// Whose sessions are meant: those of the backend, and the application's own where it is the same users table.
func TestRefreshWhose(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	for _, application := range []bool{false, true} {
		d := newDirectory()
		g := newGateway(t, server.Addr)
		g.RefreshUsers(session.Refresh{Every: time.Minute, Backend: "database", Application: application, Read: d.read})
		for _, backend := range []string{"database", "", "app", "file"} {
			token, _ := g.login(t, "user of "+backend, func(l *session.Login) { l.Backend = backend })
			_, err := g.Find(t.Context(), token)
			meant := backend == "database" || backend == "" && application
			if errors.Is(err, session.ErrNotFound) != meant {
				t.Errorf("backend %q, application %t: %v", backend, application, err)
			}
		}
	}
	off := newGateway(t, server.Addr)
	d := newDirectory()
	off.RefreshUsers(session.Refresh{Every: 0, Backend: "file", Read: d.read})
	token, _ := off.login(t, "1")
	off.finds(t, token)
}

// A session that a login made with what was true before goes with the others, whichever of them is used.
func TestRefreshOfSessionsNotInUse(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	d := newDirectory(ann)
	before := newGateway(t, server.Addr)
	unused, _ := d.as(t, before, "1")
	d.role("1", "member")
	used, _ := d.as(t, before, "1")
	g := d.reads(newGateway(t, server.Addr))
	g.roleIs(t, used, "member") // the first look-up goes through all
	g.roleIs(t, unused, "member")

	late, _ := g.login(t, "1", func(l *session.Login) { l.User = ann }) // its backend was asked before the change
	g.finds(t, late)
	g.clock.advance(time.Minute)
	g.roleIs(t, used, "member")
	g.roleIs(t, late, "member")
}

// A change by hand holds until the next look-up: then the backend has the last word.
func TestRefreshAfterAChangeByHand(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	d := newDirectory(ann)
	here, there := d.reads(newGateway(t, server.Addr)), d.reads(newGateway(t, server.Addr))
	token, _ := d.as(t, here, "1")
	here.roleIs(t, token, "admin")
	there.roleIs(t, token, "admin")
	if n, err := there.Change(t.Context(), "1", session.Change{Role: ptr("guest")}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	there.roleIs(t, token, "guest")
	await(t, "the other replica to hear of it", func() bool { return here.finds(t, token).Role == "guest" })
	here.clock.advance(30 * time.Second)
	here.roleIs(t, token, "guest")
	here.clock.advance(30 * time.Second)
	here.roleIs(t, token, "admin")
}

// Streams ask every second, one after the other: none of them waits, and all see what was found out.
func TestRefreshOfStreams(t *testing.T) {
	t.Parallel()
	d := newDirectory(ann)
	g := d.reads(newGateway(t, testredis.Start(t).Addr))
	token, rec := d.as(t, g, "1")
	g.finds(t, token)
	hold := make(chan struct{})
	d.set(func(d *directory) { d.hold = hold })
	d.role("1", "member")
	g.clock.advance(time.Minute)
	before := d.took("1")
	for range 50 {
		if s, err := g.Check(t.Context(), rec.Key()); err != nil || s.Role != "admin" || s.Renew {
			t.Fatalf("while the backend is slow: %+v, %v", s, err)
		}
	}
	d.set(func(d *directory) { d.hold = nil })
	close(hold)
	await(t, "the stream to see its new role", func() bool {
		s, err := g.Check(t.Context(), rec.Key())
		return err == nil && s.Role == "member"
	})
	if n := d.took("1") - before; n != 1 {
		t.Errorf("%d look-ups", n)
	}
	d.set(func(d *directory) { delete(d.users, "1") })
	g.clock.advance(time.Minute)
	await(t, "the stream's session to end", func() bool {
		_, err := g.Check(t.Context(), rec.Key())
		return errors.Is(err, session.ErrNotFound)
	})
	if ids := g.told(); len(ids) != 1 || ids[0] != rec.ID {
		t.Errorf("told of %v", ids)
	}
}

// Redis away and the backend there: people are who the backend says, though it cannot be written.
func TestRefreshWithoutRedis(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t, testredis.Persistent())
	d := newDirectory(ann, session.User{ID: "2", Role: "user"})
	long := func(s *settings) { s.outage.ServeKnownFor = time.Hour }
	g := d.reads(newGateway(t, server.Addr, quick, long))
	token, _ := d.as(t, g, "1")
	other, _ := d.as(t, g, "2")
	warm(t, g, token)
	warm(t, g, other)
	server.Kill()
	await(t, "the outage to be noticed", func() bool { g.Find(t.Context(), token); return g.store.Away() })
	d.role("1", "member")
	d.set(func(d *directory) { delete(d.users, "2") })
	g.clock.advance(time.Minute)
	g.roleIs(t, token, "member")
	g.roleIs(t, token, "member")
	g.refuses(t, other, session.ErrNotFound)
	if got := g.metric(`gatehouse_user_refreshes_total{outcome="unwritten"}`); got != 1 {
		t.Errorf("%d counted as unwritten", got)
	}
	server.Restart()
	connected(t, g.store)
	g.clock.advance(10 * time.Second)
	g.roleIs(t, token, "member")
	plain := newGateway(t, server.Addr)
	await(t, "what could not be written to be in Redis", func() bool {
		_, err := plain.Find(t.Context(), other)
		return plain.finds(t, token).Role == "member" && errors.Is(err, session.ErrNotFound)
	})
}

// One value that cannot be kept does not keep the others from being followed.
func TestRefreshOfOddValues(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	d := newDirectory(ann)
	g := d.reads(newGateway(t, server.Addr))
	token, _ := d.as(t, g, "1")
	g.finds(t, token)
	d.set(func(d *directory) {
		d.users["1"] = session.User{ID: "1", Email: "a\xff@example.com", Name: "Ann\n" + strings.Repeat("x", 600), Role: "member"}
	})
	g.clock.advance(time.Minute)
	for range 3 {
		s := g.finds(t, token)
		if s.Role != "member" || s.Email != "a\uFFFD@example.com" || !strings.HasPrefix(s.Name, "Ann\n") {
			t.Fatalf("%+v", s.User)
		}
	}
	if s := newGateway(t, server.Addr).finds(t, token); s.Role != "member" || s.Name != "Ann" {
		t.Errorf("in Redis: %+v", s.User)
	}
	if n := d.took("1"); n != 2 {
		t.Errorf("asked %d times", n)
	}
}

// Nobody waits for ever for a look-up that came to nothing.
func TestRefreshThatPanics(t *testing.T) {
	t.Parallel()
	g := newGateway(t, testredis.Start(t).Addr)
	calls := 0
	g.RefreshUsers(session.Refresh{Every: time.Minute, Backend: "file", Read: func(context.Context, string) (session.Change, error) {
		if calls++; calls == 1 {
			panic("a mistake in a driver")
		}
		return session.Change{}, nil
	}})
	token, _ := g.login(t, "1")
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		g.Find(t.Context(), token)
	}()
	g.finds(t, token)
}

// A clock that is set back does not put the next look-up off.
func TestRefreshWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	d := newDirectory(ann)
	g := d.reads(newGateway(t, testredis.Start(t).Addr))
	g.clock.advance(time.Hour)
	token, _ := d.as(t, g, "1")
	g.roleIs(t, token, "admin")
	d.role("1", "member")
	g.clock.advance(-time.Hour)
	g.roleIs(t, token, "member")
}
