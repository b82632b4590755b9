package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// directory is a login backend: users by ID, and what is wrong with it.
type directory struct {
	mu    sync.Mutex
	users map[string]session.User
	off   map[string]bool // may not log in
	err   error
	asked map[string]int
	hold  chan struct{} // answers wait for it
}

func newDirectory(users ...session.User) *directory {
	d := &directory{users: map[string]session.User{}, off: map[string]bool{}, asked: map[string]int{}}
	for _, u := range users {
		d.users[u.ID] = u
	}
	return d
}

func (d *directory) read(_ context.Context, id string) (session.Change, error) {
	d.mu.Lock()
	d.asked[id]++
	hold := d.hold
	d.mu.Unlock()
	if hold != nil {
		<-hold
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	u, ok := d.users[id]
	switch {
	case d.err != nil:
		return session.Change{}, d.err
	case !ok:
		return session.Change{}, session.ErrUserMissing
	case d.off[id]:
		return session.Change{}, fmt.Errorf("%w: disabled", session.ErrUserRefused)
	}
	return session.Change{Email: &u.Email, Name: &u.Name, Role: &u.Role, EmailVerified: &u.EmailVerified}, nil
}

// set changes the directory.
func (d *directory) set(change func(*directory)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *directory) role(id, role string) {
	d.set(func(d *directory) { u := d.users[id]; u.Role = role; d.users[id] = u })
}

// took gives how often a user was asked for.
func (d *directory) took(id string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked[id]
}

// reads makes a gateway follow the directory, every minute.
func (d *directory) reads(g *gateway) *gateway {
	g.RefreshUsers(session.Refresh{Every: time.Minute, Backend: "file", Read: d.read})
	return g
}

// as logs a user of the directory in.
func (d *directory) as(t testing.TB, g *gateway, id string) (string, *session.Record) {
	t.Helper()
	d.mu.Lock()
	u := d.users[id]
	d.mu.Unlock()
	return g.login(t, id, func(l *session.Login) { l.User = u })
}

var ann = session.User{ID: "1", Email: "ann@example.com", Name: "Ann", Role: "admin", EmailVerified: true}

// roleIs fails unless the token's session is served with the role.
func (g *gateway) roleIs(t testing.TB, token, role string) {
	t.Helper()
	if s := g.finds(t, token); s.Role != role {
		t.Fatalf("served with role %q, want %q", s.Role, role)
	}
}

func TestRefreshFollowsTheBackend(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	d := newDirectory(ann)
	here, there := d.reads(newGateway(t, server.Addr)), d.reads(newGateway(t, server.Addr))
	first, rec := d.as(t, here, "1")
	second, _ := d.as(t, here, "1")
	here.roleIs(t, first, "admin")
	there.roleIs(t, second, "admin")

	// Nothing has changed: nothing is written, and asked once a minute.
	sets := commands(t, server, "set")
	for range 3 {
		here.clock.advance(time.Minute)
		here.roleIs(t, first, "admin")
		here.roleIs(t, first, "admin")
	}
	if n := commands(t, server, "set") - sets; n != 0 || d.took("1") != 5 {
		t.Errorf("an unchanged user: %d writes, asked %d times, want 0 and 5", n, d.took("1"))
	}

	d.set(func(d *directory) {
		d.users["1"] = session.User{ID: "1", Email: "new@example.com", Name: "Änn", Role: "member"}
	})
	here.clock.advance(59 * time.Second)
	here.roleIs(t, first, "admin")
	here.clock.advance(time.Second)
	s := here.finds(t, first)
	if s.Role != "member" || s.Email != "new@example.com" || s.Name != "Änn" || s.EmailVerified {
		t.Fatalf("the first request after it: %+v", s.User)
	}
	if !s.LastAccessed.Equal(rec.LastAccessed) || !s.ExpiresAt.Equal(rec.ExpiresAt) || s.ID != rec.ID {
		t.Errorf("more than the user has changed: %+v", s.Record)
	}
	here.roleIs(t, second, "member")
	await(t, "the other replica to hear of it", func() bool { return there.finds(t, second).Role == "member" })
	if got := here.metric(`gatehouse_user_refreshes_total{outcome="changed"}`); got != 1 {
		t.Errorf("%d counted as changed", got)
	}
}

func TestRefreshEndsSessions(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	for name, end := range map[string]func(d *directory, id string){
		"deleted":  func(d *directory, id string) { delete(d.users, id) },
		"disabled": func(d *directory, id string) { d.off[id] = true },
	} {
		u := ann
		u.ID = name
		d := newDirectory(u)
		here, there := d.reads(newGateway(t, server.Addr)), d.reads(newGateway(t, server.Addr))
		first, a := d.as(t, here, name)
		second, b := d.as(t, here, name)
		here.finds(t, first)
		there.finds(t, second)
		began, err := here.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		d.set(func(d *directory) { end(d, name) })
		here.finds(t, first) // not due yet
		here.clock.advance(time.Minute)
		here.refuses(t, first, session.ErrNotFound)
		here.refuses(t, second, session.ErrNotFound)
		await(t, "the other replica to refuse it", func() bool { _, err := there.Find(t.Context(), second); return errors.Is(err, session.ErrNotFound) })
		if ids := here.told(); len(ids) != 2 || ids[0] != a.ID && ids[0] != b.ID {
			t.Errorf("%s: told of %v", name, ids)
		}
		if _, _, err := here.Create(t.Context(), session.Login{User: u, Backend: "file", Began: began}); !errors.Is(err, session.ErrSuperseded) {
			t.Errorf("%s: a login that began before: %v", name, err)
		}
		if got := here.metric(`gatehouse_user_refreshes_total{outcome="gone"}`); got != 1 {
			t.Errorf("%s: %d counted as gone", name, got)
		}
		// Whoever is let in again is.
		d.set(func(d *directory) { d.users[name], d.off[name] = u, false })
		again, _ := d.as(t, here, name)
		here.finds(t, again)
	}
}

// One look-up is enough for everybody who waits, and nobody who goes away ends it.
func TestRefreshOnceForAll(t *testing.T) {
	t.Parallel()
	d := newDirectory(ann)
	g := d.reads(newGateway(t, testredis.Start(t).Addr))
	token, _ := d.as(t, g, "1")
	warm(t, g, token)
	d.role("1", "member")
	g.clock.advance(time.Minute)
	hold := make(chan struct{})
	d.set(func(d *directory) { d.hold = hold })
	before := d.took("1")
	leaving, leave := context.WithCancel(t.Context())
	go g.Find(leaving, token)
	await(t, "the look-up to begin", func() bool { return d.took("1") == before+1 })
	leave()
	roles := make(chan string, 1000)
	for range cap(roles) {
		go func() {
			s, err := g.Find(t.Context(), token)
			if err != nil {
				roles <- err.Error()
				return
			}
			roles <- s.Role
		}()
	}
	select {
	case role := <-roles:
		t.Fatalf("a request did not wait: %q", role)
	case <-time.After(50 * time.Millisecond):
	}
	d.set(func(d *directory) { d.hold = nil })
	close(hold)
	for range cap(roles) {
		if role := <-roles; role != "member" {
			t.Fatalf("a request was served with %q", role)
		}
	}
	if n := d.took("1") - before; n != 1 {
		t.Errorf("%d look-ups", n)
	}
}

// While the backend cannot be asked, sessions go on, and it is not asked at each request.
func TestRefreshWithoutTheBackend(t *testing.T) {
	t.Parallel()
	d := newDirectory(ann, session.User{ID: "2", Email: "bob@example.com", Role: "user"})
	g := d.reads(newGateway(t, testredis.Start(t).Addr))
	token, _ := d.as(t, g, "1")
	other, _ := d.as(t, g, "2")
	g.roleIs(t, token, "admin")
	d.set(func(d *directory) { d.err = errors.New("connection refused") })
	d.role("1", "member")
	g.clock.advance(time.Minute)
	before := d.took("1")
	for range 20 {
		g.roleIs(t, token, "admin")
		g.roleIs(t, other, "user")
	}
	if n := d.took("1") - before; n != 1 {
		t.Errorf("asked %d times at once", n)
	}
	g.clock.advance(10 * time.Second)
	g.roleIs(t, token, "admin")
	g.roleIs(t, token, "admin")
	if n := d.took("1") - before; n != 2 {
		t.Errorf("asked %d times after ten seconds", n)
	}
	d.set(func(d *directory) { d.err = nil })
	g.clock.advance(10 * time.Second)
	g.roleIs(t, token, "member")
	g.roleIs(t, other, "user")
	log := g.log.String()
	if strings.Count(log, "users cannot be read again") != 1 || strings.Count(log, "users are read again") != 1 {
		t.Errorf("not said once each: %s", log)
	}
	if got := g.metric(`gatehouse_user_refreshes_total{outcome="unavailable"}`); got != 3 {
		t.Errorf("%d counted as unavailable", got)
	}
	// What is wrong with one user is no outage.
	d.set(func(d *directory) { d.err = session.ErrUserUnreadable })
	g.clock.advance(time.Minute)
	g.roleIs(t, token, "member")
	if g.log.String() != log || g.metric(`gatehouse_user_refreshes_total{outcome="unreadable"}`) != 1 {
		t.Errorf("one user who cannot be read: %s", g.log.String()[len(log):])
	}
}

// A backend that has lost its users must not log everybody out.
func TestRefreshGuard(t *testing.T) {
	t.Parallel()
	d := newDirectory()
	g := d.reads(newGateway(t, testredis.Start(t).Addr))
	var tokens []string
	for i := range 8 {
		u := session.User{ID: fmt.Sprint("u", i), Role: "user"}
		d.users[u.ID] = u
		token, _ := d.as(t, g, u.ID)
		tokens = append(tokens, token)
		g.finds(t, token)
	}
	kept := d.users
	d.set(func(d *directory) { d.users = map[string]session.User{} })
	g.clock.advance(time.Minute)
	alive := func() (n int) {
		for _, token := range tokens {
			if _, err := g.Find(t.Context(), token); err == nil {
				n++
			}
		}
		return n
	}
	for range 3 {
		if n := alive(); n != 5 {
			t.Fatalf("%d of 8 sessions go on, want all but 3", n)
		}
		g.clock.advance(10 * time.Second)
	}
	if log := g.log.String(); strings.Count(log, "may have lost its users") != 1 || strings.Contains(log, "knows users again") {
		t.Errorf("the log: %s", log)
	}
	if g.metric(`gatehouse_user_refreshes_total{outcome="held"}`) < 10 {
		t.Error("not counted as held")
	}
	// The users are back, but for one, who really is gone.
	delete(kept, "u7")
	d.set(func(d *directory) { d.users = kept })
	if n := alive(); n != 4 {
		t.Errorf("%d sessions go on after the users are back, want 4", n)
	}
	g.refuses(t, tokens[7], session.ErrNotFound)
	if !strings.Contains(g.log.String(), "knows users again") {
		t.Error("the end was not said")
	}
}

// Users who are deleted one by one, among others who are there, are no false alarm; nor are many over a long time.
func TestRefreshGuardBelievesDeletions(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(g *gateway, witness string){
		"among others": func(g *gateway, witness string) { g.Find(context.Background(), witness) },
		"slowly":       func(g *gateway, _ string) { g.clock.advance(21 * time.Minute) },
	} {
		d := newDirectory(ann)
		g := d.reads(newGateway(t, testredis.Start(t).Addr))
		witness, _ := d.as(t, g, "1")
		for i := range 10 {
			u := session.User{ID: fmt.Sprint("gone", i)}
			token, _, err := g.tryLogin(u.ID)
			if err != nil {
				t.Fatal(err)
			}
			g.refuses(t, token, session.ErrNotFound)
			g.clock.advance(time.Minute)
			between(g, witness)
		}
		if strings.Contains(g.log.String(), "lost its users") {
			t.Errorf("%s: a false alarm", name)
		}
	}
}
