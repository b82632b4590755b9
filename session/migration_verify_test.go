package session_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

func (r *migrating) verify() session.Verification {
	r.w.t.Helper()
	v, err := r.store.Verify(r.w.t.Context(), 2, func(session.Verification) {})
	if err != nil {
		r.w.t.Fatal(err)
	}
	return v
}

// TestVerifyCounts: what is in which store, and that all of it agrees.
func TestVerifyCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	legacy, shadow, primary := w.replica(config.StateLegacy), w.replica(config.StateShadow), w.replica(config.StatePrimary)
	legacy.login("1")
	shadow.login("2")
	primary.login("3")
	moved, ended := w.row("4", strongToken), w.row("5", "ended-0123456789abcdef0123456789abcdef")
	w.row("6", "sleeps-0123456789abcdef0123456789abcdef")
	w.exec("INSERT INTO sessions (id, user_id, expires_at) VALUES ('expired', 7, now() - interval '1 hour')")
	moved.isIn(primary)
	ended.isIn(primary)
	w.redis.Do(t, "DEL", sessionKey(t, ended.token)) // as Redis does when its time is over
	if v, want := primary.verify(), (session.Verification{Rows: 6, Expired: 1, Compared: 2, OnlyDatabase: 2, OnlyRedis: 1, Ended: 1}); !equal(v, want) {
		t.Errorf("%+v, want %+v", v, want)
	}
}

func equal(a, b session.Verification) bool { return fmt.Sprintf("%+v", a) == fmt.Sprintf("%+v", b) }

func sessionKey(t *testing.T, token string) string {
	t.Helper()
	key := keyOf(t, token)
	return "session:{" + string(key.Tag) + "}:" + key.ID.String()
}

// TestVerifyFindsMismatches: each kind, told with the short ID and the user, and nothing that a log must not hold.
func TestVerifyFindsMismatches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		state  string
		app    bool // the session is one the application made, and has come over
		spoil  func(w *world, b *browser)
		what   string
		absent bool // no user is told
	}{
		{"role in users", config.StateShadow, false, func(w *world, b *browser) { w.exec("UPDATE users SET role = 'admin' WHERE id = 1") }, "differs in role", false},
		{"several fields", config.StateShadow, false, func(w *world, b *browser) {
			w.exec("UPDATE users SET email = 'new@example.com', name = 'New', email_verified = false WHERE id = 1")
		}, "differs in email, name, emailVerified", false},
		{"copy whose row is gone", config.StateShadow, false, func(w *world, b *browser) { w.exec("DELETE FROM sessions") },
			"is a copy whose row is gone; it counts for nothing and expires by itself", false},
		{"unmarked row", config.StatePrimary, true, func(w *world, b *browser) { w.exec("UPDATE sessions SET migrated_at = NULL") },
			"has moved to Redis, and its row is not marked", false},
		{"record in Redis", config.StatePrimary, true, func(w *world, b *browser) { w.redis.Do(w.t, "SET", sessionKey(w.t.(*testing.T), b.token), "{") },
			"its record in Redis cannot be read", false},
		{"row", config.StateShadow, false, func(w *world, b *browser) { w.exec("UPDATE sessions SET gatehouse = '{'") }, "the row cannot be read", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			r := w.replica(c.state)
			b := &browser{user: "1"}
			if c.app {
				b = w.row("1", strongToken)
				b.isIn(r)
			} else {
				b.token = r.login("1")
			}
			w.agrees(r)
			c.spoil(w, b)
			v := r.verify()
			if v.Mismatched == 0 || len(v.Mismatches) == 0 {
				t.Fatalf("%+v: nothing is found", v)
			}
			m := v.Mismatches[0]
			if !strings.HasPrefix(m.What, c.what) || len(m.Session) != 8 || (m.UserID == "1") == c.absent {
				t.Errorf("%+v, want %q", m, c.what)
			}
			if text := fmt.Sprintf("%+v", v); strings.Contains(text, strongToken) || b.token != "" && strings.Contains(text, b.token) {
				t.Errorf("it holds a token")
			}
		})
	}
}

// TestVerifyBoundsWhatItTells: of a table that went wrong as a whole the first hundred are told.
func TestVerifyBoundsWhatItTells(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec("INSERT INTO sessions (id, user_id, expires_at, gatehouse) SELECT 'token-' || n, 1, now() + interval '1 day', '{' FROM generate_series(1, 150) n")
	r := w.replica(config.StatePrimary)
	if v := r.verify(); v.Mismatched != 150 || len(v.Mismatches) != 100 || v.Rows != 150 {
		t.Errorf("%d rows, %d mismatches, %d told", v.Rows, v.Mismatched, len(v.Mismatches))
	}
	w.redis.Kill()
	if v, err := r.store.Verify(t.Context(), 10, func(session.Verification) {}); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("without Redis: %+v, %v", v, err)
	}
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	now := time.Now()
	same := func() *session.Record {
		return &session.Record{User: session.User{ID: "1", Email: "a@b", Name: "A", EmailVerified: true, Role: "r"}, CreatedAt: now, ExpiresAt: now}
	}
	for name, change := range map[string]func(*session.Record){
		"userId":        func(r *session.Record) { r.User.ID = "2" },
		"email":         func(r *session.Record) { r.Email = "" },
		"name":          func(r *session.Record) { r.Name = "a" },
		"emailVerified": func(r *session.Record) { r.EmailVerified = false },
		"role":          func(r *session.Record) { r.Role = "admin" },
		// Renewed, moved, used elsewhere: no difference.
		"": func(r *session.Record) { r.LastAccessed, r.Database, r.IP, r.Alias = now, "moved", "192.0.2.1", "x" },
	} {
		other := same()
		change(other)
		for _, pair := range [][2]*session.Record{{same(), other}, {other, same()}} {
			if got := strings.Join(session.Differences(pair[0], pair[1]), ","); got != name {
				t.Errorf("%q is told, want %q", got, name)
			}
		}
	}
}

// TestMigrationCounts: all replicas together, minute by minute, for an hour.
func TestMigrationCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.replica(config.StateLegacy), w.replica(config.StateLegacy)
	both := func(d time.Duration) {
		a.clock.advance(d)
		b.clock.advance(d)
	}
	// In the middle of a minute, so that the real time that passes leads to no other.
	now := a.clock.now()
	both(now.Truncate(time.Minute).Add(time.Minute + 10*time.Second).Sub(now))
	who := w.row("1", strongToken)
	counted := func(want int64) {
		t.Helper()
		var got map[string]int64
		await(t, fmt.Sprintf("%d hits to be counted", want), func() bool {
			var err error
			got, err = a.redis.MigrationCounts(t.Context())
			return err == nil && got["database_hits"] == want
		})
		if other, err := b.redis.MigrationCounts(t.Context()); err != nil || !maps.Equal(got, other) {
			t.Errorf("one replica sees %v, the other %v, %v", got, other, err)
		}
	}
	who.isIn(a)
	who.isIn(a)
	who.isIn(b)
	counted(3)
	both(59 * time.Minute)
	who.isIn(b)
	counted(4)
	both(time.Minute)
	counted(1) // the first minute is over an hour ago
	both(58 * time.Minute)
	counted(1)
	both(time.Minute)
	counted(0)
	reply := w.redis.Do(t, "KEYS", "migration_counts:*")
	names, err := reply.AsStrSlice()
	if err != nil || len(names) != 2 {
		t.Fatalf("%d minutes, %v", len(names), err)
	}
	for _, name := range names {
		left := w.redis.Do(t, "TTL", name)
		if seconds, _ := left.AsInt64(); seconds <= 3600 || seconds > 7200 {
			t.Errorf("a minute's counts are kept for %d s", seconds)
		}
	}
}

// TestCountsWaitForRedis: what was counted while it was away is there afterwards.
func TestCountsWaitForRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.replica(config.StateLegacy)
	who := w.row("1", strongToken)
	w.redis.Kill()
	for range 5 {
		who.isIn(r)
	}
	w.redis.Restart()
	await(t, "the counts", func() bool {
		got, err := r.redis.MigrationCounts(t.Context())
		return err == nil && got["database_hits"] == 5
	})
}

// TestS06_ClaimAgainstRevoke: a session that was backfilled is given its token by one replica, while another ends it by the
// application's cookie, as a login does. None survives, under either ID.
func TestS06_ClaimAgainstRevoke(t *testing.T) {
	t.Parallel()
	const rounds = 500
	w := newWorld(t)
	w.exec(fmt.Sprintf("INSERT INTO sessions (id, user_id, expires_at) SELECT 'claimed-0123456789abcdef-' || n, n %% 50 + 1, now() + interval '1 day' FROM generate_series(1, %d) n", rounds))
	a, b := w.replica(config.StatePrimary), w.replica(config.StatePrimary)
	backfill(t, a)
	var survivors []string
	claimed := 0
	for n := 1; n <= rounds; n++ {
		who := &browser{app: fmt.Sprintf("claimed-0123456789abcdef-%d", n), user: fmt.Sprint(n%50 + 1)}
		app, _ := a.cookie.Read(http.Header{"Cookie": {"sid=" + who.app}})
		var both sync.WaitGroup
		both.Go(func() {
			if s, err := a.FindApp(context.Background(), app); err == nil && s.Token != "" {
				claimed++
				who.token = s.Token
			}
		})
		both.Go(func() {
			if err := b.Revoke(context.Background(), app.Key(), ""); err != nil {
				t.Error(err)
			}
		})
		both.Wait()
		if list, err := b.store.List(t.Context(), who.user); err != nil || slices.ContainsFunc(list, func(rec *session.Record) bool { return who.is(rec) }) {
			survivors = append(survivors, who.app)
		}
	}
	left := w.redis.Do(t, "KEYS", "session:*")
	if names, err := left.AsStrSlice(); err != nil || len(names) > 0 || len(survivors) > 0 {
		t.Errorf("of %d sessions %d can still be used, and %d are in Redis, %v", rounds, len(survivors), len(names), err)
	}
	t.Logf("%d races, in %d of them the token was given out, %d survivors", rounds, claimed, len(survivors))
}

// is reports whether a session is that of the browser's new token.
func (b *browser) is(rec *session.Record) bool {
	key, ok := session.ParseToken(b.token)
	return ok && key.ID == rec.ID
}
