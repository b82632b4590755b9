package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

// An import that is cut short at any point goes on with the next request, at any replica; and who logs out after
// it stays out.
func TestImportSurvivesACrash(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"locked", "brought", "committed"} {
		for _, kind := range []string{"app", "app weak", "gateway 3"} {
			t.Run(step+", "+kind, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				who := everybody(w.replica(config.StateLegacy))[kind]
				dying := w.replica(config.StatePrimary)
				dying.store.Crash(func(at string) error {
					if at == step {
						return fmt.Errorf("%w: the replica dies here", session.ErrUnavailable)
					}
					return nil
				})
				who.visit(dying)
				first, second := w.replica(config.StatePrimary), w.replica(config.StatePrimary)
				s := who.isIn(first)
				if s.Database != session.DatabaseMoved {
					t.Errorf("in Redis as %q", s.Database)
				}
				who.isIn(second)
				if n := w.value("SELECT count(*) FROM sessions WHERE user_id = " + who.user + " AND migrated_at IS NOT NULL"); n != "1" {
					t.Errorf("%s rows are marked", n)
				}
				if list, err := second.List(t.Context(), who.user); err != nil || len(list) != 1 {
					t.Errorf("%d sessions are listed, %v", len(list), err)
				}
				stolen := *who
				who.logOut(second)
				stolen.isOutSoon(first)
				w.agrees(first)
			})
		}
	}
}

// TestImportHasOneWinner: whichever replica is first, there is one session, and every browser gets the same token.
func TestImportHasOneWinner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	replicas := []*migrating{w.replica(config.StatePrimary), w.replica(config.StatePrimary), w.replica(config.StatePrimary)}
	for i := range 20 {
		who := w.row("1", fmt.Sprintf("%032x", 1<<40+i))
		tokens, ids := sync.Map{}, sync.Map{}
		var all sync.WaitGroup
		for n := range 12 {
			all.Go(func() {
				one := *who
				s, err := one.visit(replicas[n%3])
				if err != nil {
					t.Errorf("import %d: %v", i, err)
					return
				}
				if s.Source != session.FromDatabase { // served from the row while another imported it
					tokens.Store(one.token, true)
					ids.Store(s.ID, true)
				}
			})
		}
		all.Wait()
		if size(&tokens) != 1 || size(&ids) != 1 {
			t.Errorf("import %d: %d tokens, %d sessions", i, size(&tokens), size(&ids))
		}
	}
	if list, err := replicas[0].List(t.Context(), "1"); err != nil || len(list) != 20 {
		t.Errorf("%d sessions, %v; want 20", len(list), err)
	}
}

func size(m *sync.Map) (n int) {
	m.Range(func(_, _ any) bool { n++; return true })
	return n
}

// TestImportKeepsTheAbsoluteLimit: coming over prolongs nothing, and createdAt stays.
func TestImportKeepsTheAbsoluteLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica(config.StateLegacy)
	for _, kind := range []string{"app", "gateway 3"} {
		who := everybodyOnce(r)[kind]
		who.isIn(r)
		await(t, "the row to tell when the session was made", func() bool {
			return w.value("SELECT count(*) FROM sessions WHERE gatehouse IS NOT NULL AND user_id = "+who.user) == "1"
		})
		before := who.isIn(r)
		r.clock.advance(time.Hour)
		who.isIn(r)
		r.set(config.StatePrimary)
		after := who.isIn(r)
		if !after.CreatedAt.Equal(before.CreatedAt) || !after.ExpiresAt.Equal(before.ExpiresAt) {
			t.Errorf("%s: made %v, ends %v; was %v, %v", kind, after.CreatedAt, after.ExpiresAt, before.CreatedAt, before.ExpiresAt)
		}
		if after.Database != session.DatabaseMoved {
			t.Errorf("%s: has not come over", kind)
		}
		r.set(config.StateLegacy)
	}
}

// everybodyOnce is everybody, also when their rows are there already.
func everybodyOnce(r *migrating) map[string]*browser {
	r.w.exec("DELETE FROM sessions")
	return everybody(r)
}

// TestWeakTokensAreReplaced: the old token ends once the new one is in use, and a strong one goes on.
func TestWeakTokensAreReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica(config.StatePrimary)
	weak, strong := w.row("1", weakToken), w.row("2", strongToken)
	for who, want := range map[*browser]bool{weak: true, strong: false} {
		lost := *who
		lost.isIn(r) // the answer with the new token is lost
		who.isIn(r)
		if who.token == "" || who.token != lost.token {
			t.Fatalf("tokens %q and %q: who brings the old one is given the new one again", lost.token, who.token)
		}
		if key, ok := session.ParseToken(who.token); !ok || key.Database {
			t.Errorf("the new token is no token of a session in Redis")
		}
		who.isIn(r) // with the new token: confirmed
		await(t, "the confirmation", func() bool {
			left := w.redis.Do(t, "PTTL", aliasKeys(t, w)[who.app])
			ms, _ := left.AsInt64()
			return (ms <= time.Minute.Milliseconds()) == want
		})
	}
	// After the grace the weak token is worth nothing; the row is marked.
	w.redis.Do(t, "DEL", aliasKeys(t, w)[weak.app])
	(&browser{user: "1", app: weakToken}).isOut(r)
	(&browser{user: "2", app: strongToken}).isIn(r)
	weak.isIn(r)
}

func aliasKeys(t *testing.T, w *world) map[string]string {
	t.Helper()
	return map[string]string{weakToken: session.AliasKeyForTest(weakToken), strongToken: session.AliasKeyForTest(strongToken)}
}

// TestBackfilledSessions: they came over without their browsers, which get their tokens when they come; also
// when that is cut short.
func TestBackfilledSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := everybody(w.replica(config.StateLegacy))
	w.exec("INSERT INTO sessions (id, user_id, expires_at) VALUES ('gone', 30, now() - interval '1 hour')")
	r := w.replica(config.StatePrimary)
	var p session.Progress
	if err := r.store.Backfill(t.Context(), &p, 3, func(context.Context) error { return nil }, func(session.Progress) {}); err != nil {
		t.Fatal(err)
	}
	if p.Imported != int64(len(all)) || p.Expired != 1 || !p.Finished {
		t.Errorf("%+v, want %d imported and 1 expired", p, len(all))
	}
	again := session.Progress{}
	if err := r.store.Backfill(t.Context(), &again, 3, func(context.Context) error { return errors.New("nothing should be written") }, func(session.Progress) {}); err != nil {
		t.Errorf("again: %v", err)
	}
	app, _ := r.cookie.Read(http.Header{"Cookie": {"sid=" + all["app"].app}})
	half, err := r.store.ClaimHalf(t.Context(), app)
	if err != nil {
		t.Fatal(err)
	}
	w.exec("DELETE FROM sessions")
	for name, who := range all {
		s := who.isIn(r)
		if s.Database != session.DatabaseMoved {
			t.Errorf("%s is %q", name, s.Database)
		}
		if list, err := r.List(t.Context(), who.user); err == nil && len(list) != 1 {
			t.Errorf("%s has %d sessions", name, len(list))
		}
	}
	if all["app"].token != half {
		t.Error("a claim that was cut short went on with another token")
	}
	for _, who := range all {
		who.isIn(r)
		stolen := *who
		who.logOut(r)
		stolen.isOut(r)
	}
}

// TestS06_ImportAgainstRevoke: at two replicas at once, a session comes over and is revoked; none survives.
func TestS06_ImportAgainstRevoke(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.replica(config.StatePrimary), w.replica(config.StatePrimary)
	legacy := w.replica(config.StateLegacy)
	var left, imported survivors
	var n atomic.Int64
	race(*importRounds, func() {
		i := int(n.Add(1))
		// Rounds under way at once have different users: one's revocation of all would be the other's too.
		user := strconv.Itoa(i%50 + 1)
		var who *browser
		if i%2 == 0 {
			who = w.row(user, fmt.Sprintf("%032x", 1<<50+i))
		} else {
			who = &browser{user: user, token: legacy.login(user)}
		}
		other := *who
		together(func() {
			_, err := other.visit(a)
			imported.add(err == nil)
		}, func() {
			var err error
			if i%3 == 0 {
				_, err = b.RevokeUser(context.Background(), user)
			} else if s, ferr := who.visit(legacy); ferr == nil {
				err = b.Revoke(context.Background(), s.Key(), user)
			}
			if err != nil {
				t.Errorf("round %d: %v", i, err)
			}
		})
		for _, r := range []*migrating{a, b, legacy} {
			for _, one := range []browser{other, *who} {
				left.add(!one.isGone(r))
			}
		}
	})
	if left.n != 0 || left.of == 0 {
		t.Errorf("%d of %d came back", left.n, left.of)
	}
	imported.bothWin(t)
	t.Logf("%d races, the import was first in %d; %d survivors", imported.of, imported.n, left.n)
}

// isGone waits for a replica to hear of the end, and reports whether it came.
func (b *browser) isGone(r *migrating) bool {
	for deadline := time.Now().Add(3 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if _, err := b.visit(r); errors.Is(err, session.ErrNotFound) {
			return true
		}
	}
	return false
}
