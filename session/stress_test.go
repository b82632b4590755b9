package session_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// rounds of each race. Each kind of race runs in several goroutines.
func rounds() int {
	if testing.Short() {
		return 300
	}
	return 2400
}

// race runs round n times, spread over a few goroutines.
func race(n int, round func()) {
	var all sync.WaitGroup
	const lanes = 6
	for range lanes {
		all.Go(func() {
			for range n / lanes {
				round()
			}
		})
	}
	all.Wait()
}

// together runs all at once, in an order that chance decides.
func together(all ...func()) {
	var done sync.WaitGroup
	start := make(chan struct{})
	for _, i := range rand.Perm(len(all)) {
		done.Go(func() {
			<-start
			all[i]()
		})
	}
	close(start)
	done.Wait()
}

// survivors counts what must be gone and is not.
type survivors struct {
	mu    sync.Mutex
	n, of int
}

func (s *survivors) add(alive bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of++
	if alive {
		s.n++
	}
}

// exists asks Redis itself, past every cache.
func exists(t *testing.T, store *session.RedisStore, key session.Key) bool {
	c, err := store.Client()
	if err != nil {
		t.Error(err)
		return true
	}
	n, err := c.Do(context.Background(), c.B().Exists().Key("session:{"+string(key.Tag)+"}:"+key.ID.String()).Build()).AsInt64()
	if err != nil {
		t.Error(err)
	}
	return n != 0
}

// S06: nothing that races with a revocation brings a session back or slips past it.
func TestS06Races(t *testing.T) {
	server := testredis.Start(t)
	a, b := open(t, server), open(t, server)
	ctx := context.Background()
	create := func(user string) *session.Record {
		rec, _ := sessiontest.Record(user)
		began, err := a.Epoch(ctx)
		if err == nil {
			_, err = a.Create(ctx, rec, session.CreateOptions{Began: began, TTL: hour, MaxPerUser: 1000})
		}
		if err != nil {
			t.Error(err)
		}
		return rec
	}
	user := func() string { return session.NewToken("x")[12:30] }

	touch := func(t *testing.T, revoke func(rec *session.Record) error) {
		var left survivors
		race(rounds(), func() {
			rec := create(user())
			found, err := b.Find(ctx, rec.Key())
			if err != nil {
				t.Error(err)
				return
			}
			together(func() {
				err := b.Replace(ctx, found.Record, found.Record.Clone(), hour)
				if err != nil && !errors.Is(err, session.ErrNotFound) {
					t.Error(err)
				}
			}, func() {
				if err := revoke(rec); err != nil {
					t.Error(err)
				}
			})
			left.add(exists(t, a, rec.Key()))
		})
		t.Logf("%d races, %d survivors", left.of, left.n)
		if left.n != 0 || left.of == 0 {
			t.Errorf("%d of %d sessions came back", left.n, left.of)
		}
	}
	t.Run("S06_touch_and_revoke", func(t *testing.T) {
		touch(t, func(rec *session.Record) error { _, err := a.Revoke(ctx, rec.Key(), rec.User.ID); return err })
	})
	t.Run("S06_touch_and_revoke_all", func(t *testing.T) {
		touch(t, func(rec *session.Record) error { _, err := a.RevokeUser(ctx, rec.User.ID); return err })
	})
	t.Run("S06_login_and_revoke_all", func(t *testing.T) {
		var left, superseded survivors
		race(rounds(), func() {
			name := user()
			rec, _ := sessiontest.Record(name)
			began, err := b.Epoch(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			// The login has begun. Whichever comes first, it must not outlive the revocation.
			together(func() {
				_, err := b.Create(ctx, rec, session.CreateOptions{Began: began, TTL: hour, MaxPerUser: 20})
				if err != nil && !errors.Is(err, session.ErrSuperseded) {
					t.Error(err)
				}
				superseded.add(err != nil)
			}, func() {
				if _, err := a.RevokeUser(ctx, name); err != nil {
					t.Error(err)
				}
			})
			left.add(exists(t, a, rec.Key()))
		})
		t.Logf("%d races, %d survivors, %d logins superseded", left.of, left.n, superseded.n)
		if left.n != 0 || left.of == 0 {
			t.Errorf("%d of %d sessions outlived the revocation of all", left.n, left.of)
		}
		if superseded.n == 0 || superseded.n == superseded.of {
			t.Errorf("%d of %d superseded: there was no race", superseded.n, superseded.of)
		}
	})
	t.Run("S06_secrets_and_revoke", func(t *testing.T) {
		g := newGateway(t, server.Addr)
		other := newGateway(t, server.Addr)
		var left survivors
		race(rounds(), func() {
			name := user()
			token, rec, err := g.tryLogin(name, func(l *session.Login) { l.Secrets = []byte("jar") })
			if err != nil {
				t.Error(err)
				return
			}
			together(func() {
				err := other.ChangeSecrets(ctx, token, func(old []byte) ([]byte, error) { return append(old, '!'), nil })
				if err != nil && !errors.Is(err, session.ErrNotFound) {
					t.Error(err)
				}
			}, func() {
				if err := g.Revoke(ctx, rec.Key(), name); err != nil {
					t.Error(err)
				}
			})
			left.add(exists(t, a, rec.Key()))
		})
		t.Logf("%d races, %d survivors", left.of, left.n)
		if left.n != 0 || left.of == 0 {
			t.Errorf("%d of %d sessions came back", left.n, left.of)
		}
	})
	t.Run("S06_limit_and_renewal", func(t *testing.T) {
		// An evicted session must not be renewed back either.
		var left survivors
		race(rounds()/3, func() {
			name := user()
			rec := create(name)
			found, err := b.Find(ctx, rec.Key())
			if err != nil {
				t.Error(err)
				return
			}
			next, _ := sessiontest.Record(name)
			began, _ := a.Epoch(ctx)
			together(func() {
				if err := b.Replace(ctx, found.Record, found.Record.Clone(), hour); err != nil && !errors.Is(err, session.ErrNotFound) {
					t.Error(err)
				}
			}, func() {
				if _, err := a.Create(ctx, next, session.CreateOptions{Began: began, TTL: hour, MaxPerUser: 1}); err != nil {
					t.Error(err)
				}
			})
			left.add(exists(t, a, rec.Key()))
			left.add(!exists(t, a, next.Key()))
		})
		if left.n != 0 || left.of == 0 {
			t.Errorf("%d of %d", left.n, left.of)
		}
	})
}

// S12 in small: users in parallel, each sees only what is his.
func TestS12Identities(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	replicas := []*gateway{newGateway(t, server.Addr), newGateway(t, server.Addr)}
	var users sync.WaitGroup
	var checked survivors
	for i := range 8 {
		users.Go(func() {
			name := string(rune('a'+i)) + "-user"
			for range rounds() / 30 {
				g := replicas[rand.IntN(2)]
				token, rec, err := g.tryLogin(name, func(l *session.Login) { l.Secrets = []byte(name) })
				if err != nil {
					t.Error(err)
					return
				}
				for range 5 {
					s, err := replicas[rand.IntN(2)].Find(context.Background(), token)
					if err != nil {
						t.Error(err)
						return
					}
					secrets, err := g.Secrets(s.Record, token)
					checked.add(s.User.ID != name || s.Record.ID != rec.ID || err != nil || string(secrets) != name)
				}
				if rand.IntN(2) == 0 {
					g.Revoke(context.Background(), rec.Key(), name)
				}
			}
		})
	}
	users.Wait()
	if checked.n != 0 || checked.of == 0 {
		t.Errorf("%d of %d answers were another's", checked.n, checked.of)
	}
}
