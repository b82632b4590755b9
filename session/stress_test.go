package session_test

import (
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// How many rounds the races have among the other tests. `make stress` has the main ones all run 10,000.
var (
	stressRounds = flag.Int("stress-rounds", 1_000, "rounds of the main races over Redis, a third of that of the others")
	importRounds = flag.Int("import-rounds", 250, "rounds of the races between an import and a revocation")
)

// race runs round n times, spread over a few goroutines.
func race(n int, round func()) {
	var all sync.WaitGroup
	const lanes = 6
	for lane := range lanes {
		all.Go(func() {
			for range (n + lane) / lanes {
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

// unindexed compares, past the store, a user's index with the sessions there are: it gives the live sessions that
// are not in the index and the entries without session, and how many sessions there are.
func unindexed(t *testing.T, store *session.RedisStore, user string, keys ...session.Key) (wrong, live int) {
	c, err := store.Client()
	if err != nil {
		t.Error(err)
		return 1, 0
	}
	index := "user_sessions:{" + string(session.TagOf(user)) + "}:" + user
	entries, err := c.Do(context.Background(), c.B().Zrange().Key(index).Min("0").Max("-1").Build()).AsStrSlice()
	if err != nil {
		t.Error(err)
	}
	for _, key := range keys {
		there := exists(t, store, key)
		if there {
			live++
		}
		if there != slices.Contains(entries, key.ID.String()) {
			wrong++
		}
	}
	return wrong + max(len(entries)-len(keys), 0), live
}

// bothWin fails when one side of a race has always been first: that was no race.
func (s *survivors) bothWin(t *testing.T) {
	t.Helper()
	if s.n == 0 || s.n == s.of {
		t.Errorf("one side was first in all of %d rounds: there was no race", s.of)
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

	touch := func(t *testing.T, rounds int, revoke func(rec *session.Record) error) {
		var left, lost, touched survivors
		race(rounds, func() {
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
				touched.add(err == nil)
			}, func() {
				if err := revoke(rec); err != nil {
					t.Error(err)
				}
			})
			wrong, live := unindexed(t, a, rec.User.ID, rec.Key())
			left.add(live != 0)
			lost.add(wrong != 0)
		})
		t.Logf("%d races, the touch was first in %d; %d survivors, %d unindexed", left.of, touched.n, left.n, lost.n)
		if left.n != 0 || lost.n != 0 {
			t.Errorf("of %d sessions %d came back, the index of %d is wrong", left.of, left.n, lost.n)
		}
		touched.bothWin(t)
	}
	t.Run("S06_touch_and_revoke", func(t *testing.T) {
		touch(t, *stressRounds, func(rec *session.Record) error { _, err := a.Revoke(ctx, rec.Key(), rec.User.ID); return err })
	})
	t.Run("S06_touch_and_revoke_all", func(t *testing.T) {
		touch(t, *stressRounds/3, func(rec *session.Record) error { _, err := a.RevokeUser(ctx, rec.User.ID); return err })
	})
	t.Run("S06_login_and_revoke_all", func(t *testing.T) {
		var left, lost, superseded survivors
		race(*stressRounds, func() {
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
			wrong, live := unindexed(t, a, name, rec.Key())
			left.add(live != 0)
			lost.add(wrong != 0)
		})
		t.Logf("%d races, %d logins superseded; %d survivors, %d unindexed", left.of, superseded.n, left.n, lost.n)
		if left.n != 0 || lost.n != 0 {
			t.Errorf("of %d sessions %d outlived the revocation of all, the index of %d is wrong", left.of, left.n, lost.n)
		}
		superseded.bothWin(t)
	})
	t.Run("S06_secrets_and_revoke", func(t *testing.T) {
		g := newGateway(t, server.Addr)
		other := newGateway(t, server.Addr)
		var left survivors
		race(*stressRounds/3, func() {
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
		race(*stressRounds/3, func() {
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

// TestS07_LimitAgainstLogins: logins of one user that come at once, over two replicas, never leave more sessions than
// allowed, and none that is not in the index.
func TestS07_LimitAgainstLogins(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	a, b := open(t, server), open(t, server)
	ctx := context.Background()
	const limit, logins = 2, 4
	for _, reject := range []bool{false, true} {
		var over, lost, refused survivors
		race(*stressRounds/2, func() {
			name := session.NewToken("x")[12:30]
			var keys []session.Key
			var all []func()
			for i := range logins {
				rec, _ := sessiontest.Record(name)
				keys = append(keys, rec.Key())
				store := []*session.RedisStore{a, b}[i%2]
				all = append(all, func() {
					began, err := store.Epoch(ctx)
					if err == nil {
						_, err = store.Create(ctx, rec, session.CreateOptions{Began: began, TTL: hour, MaxPerUser: limit, RejectAtLimit: reject})
					}
					if err != nil && !(reject && errors.Is(err, session.ErrLimit)) {
						t.Error(err)
					}
					refused.add(err != nil)
				})
			}
			together(all...)
			wrong, live := unindexed(t, a, name, keys...)
			over.add(live > limit || live == 0)
			lost.add(wrong != 0)
		})
		t.Logf("reject=%t: %d races of %d logins, %d refused; %d over the limit, %d unindexed", reject, over.of, logins, refused.n, over.n, lost.n)
		if over.n != 0 || lost.n != 0 {
			t.Errorf("reject=%t: of %d users %d have not 1 to %d sessions, the index of %d is wrong", reject, over.of, over.n, limit, lost.n)
		}
		if want := over.of * (logins - limit); reject && refused.n != want || !reject && refused.n != 0 {
			t.Errorf("reject=%t: %d logins of %d refused", reject, refused.n, refused.of)
		}
	}
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
			for range *stressRounds / 120 {
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
