package session_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"gatehouse/database"
	"gatehouse/internal/testmariadb"
	"gatehouse/internal/testpostgres"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// TestDatabaseOutage: what this replica has seen is known while the database is away, and nothing else.
func TestDatabaseOutage(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t *testing.T) (d dialect, kill func()){
		"postgres": func(t *testing.T) (dialect, func()) {
			s := testpostgres.Start(t)
			space := func(t testing.TB) string { return s.NewDatabase(t) }
			return dialect{name: database.Postgres, exec: testpostgres.Exec, rows: testpostgres.Rows, space: space}, s.Kill
		},
		"mariadb": func(t *testing.T) (dialect, func()) {
			s := testmariadb.Start(t)
			space := func(t testing.TB) string { return s.NewDatabase(t) }
			return dialect{name: database.MySQL, exec: testmariadb.Exec, rows: testmariadb.Rows, space: space}, s.Kill
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, kill := start(t)
			f := newDB(t, d, d.texts())
			f.app("seen", "1", 600)
			f.app("unseen", "1", 600)
			f.app("revoked", "1", 600)
			f.app("moved", "1", 600)
			f.app("deleted", "1", 600)
			seen, ours := f.finds("seen"), f.login("2")
			evicted := f.login("2")
			revoked, moved := f.finds("revoked"), f.finds("moved")
			if _, err := f.Revoke(t.Context(), revoked.Key(), "1"); err != nil {
				t.Fatal(err)
			}
			if err := f.Move(t.Context(), moved.Key(), func(*session.Record, bool) error { return nil }); err != nil {
				t.Fatal(err)
			}
			if _, err := f.RevokeUser(t.Context(), "2", ours.ID); err != nil {
				t.Fatal(err)
			}
			if ids := f.KnownOf("2"); len(ids) != 1 || ids[0] != ours.ID {
				t.Errorf("known of user 2: %v", ids)
			}
			deleted := f.finds("deleted") // by another replica, and asked for here after that
			f.exec("DELETE FROM sessions WHERE id = 'deleted'")
			f.lacks("deleted", session.ErrNotFound)
			kill()
			for _, key := range []session.Key{seen.Key(), ours.Key()} {
				found, err := f.Find(t.Context(), key)
				if !errors.Is(err, session.ErrUnavailable) || found.Record == nil || found.Source != session.FromKnown || found.VerifiedAt.IsZero() {
					t.Errorf("a session that was seen: %+v, %v", found, err)
				}
				key.Tag = session.TagOf("3")
				if found, err := f.Find(t.Context(), key); !errors.Is(err, session.ErrUnavailable) || found.Record != nil {
					t.Errorf("under another user's tag: %+v, %v", found, err)
				}
			}
			if found, err := f.FindRow(t.Context(), "seen"); !errors.Is(err, session.ErrUnavailable) || found.Record == nil {
				t.Errorf("by its row: %+v, %v", found, err)
			}
			for _, key := range []session.Key{{Row: "unseen", Tag: session.TagOf("1")}, revoked.Key(), moved.Key(), evicted.Key(), deleted.Key()} {
				if found, err := f.Find(t.Context(), key); !errors.Is(err, session.ErrUnavailable) || found.Record != nil {
					t.Errorf("a session that was not, or has ended: %+v, %v", found, err)
				}
			}
			testAllUnavailable(t, f)
		})
	}
}

// testAllUnavailable: nothing is said about a session, and nothing hangs.
func testAllUnavailable(t *testing.T, f *dbFixture) {
	t.Helper()
	ctx := t.Context()
	rec, _ := sessiontest.Record("1")
	for name, ask := range map[string]func() error{
		"Epoch":      func() error { _, err := f.Epoch(ctx); return err },
		"Create":     func() error { _, err := f.Create(ctx, rec, session.CreateOptions{TTL: hour}); return err },
		"Revoke":     func() error { _, err := f.Revoke(ctx, session.Key{Row: "seen"}, ""); return err },
		"RevokeUser": func() error { _, err := f.RevokeUser(ctx, "1"); return err },
		"List":       func() error { _, err := f.List(ctx, "1"); return err },
		"Ping":       func() error { return f.Ping(ctx) },
		"Move": func() error {
			return f.Move(ctx, session.Key{Row: "seen"}, func(*session.Record, bool) error { return nil })
		},
		"Hold": func() error {
			return f.Hold(ctx, session.Key{Row: "seen"}, func(*session.Record, bool) error { return nil })
		},
		"Scan":          func() error { _, err := f.Scan(ctx, "", 1); return err },
		"Count":         func() error { _, err := f.Count(ctx); return err },
		"DeleteExpired": func() error { _, err := f.DeleteExpired(ctx, 1); return err },
		"DeleteMoved":   func() error { _, err := f.DeleteMoved(ctx, []string{"moved"}); return err },
		"MarkAll":       func() error { _, err := f.MarkAll(ctx, 1); return err },
	} {
		if err := ask(); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("%s: %v, want ErrUnavailable", name, err)
		}
	}
}

// TestDatabaseCosts: finding a session is one question, by a statement the server has planned before.
func TestDatabaseCosts(t *testing.T) {
	t.Parallel()
	server := testpostgres.Start(t, testpostgres.Flags("-c", "shared_preload_libraries=pg_stat_statements"))
	d := dialect{name: database.Postgres, exec: testpostgres.Exec, rows: testpostgres.Rows, space: func(t testing.TB) string { return server.NewDatabase(t) }}
	f := newDB(t, d, d.texts())
	f.exec("CREATE EXTENSION pg_stat_statements")
	f.app("row", "1", 600)
	ours := f.login("2")
	f.finds("row")
	f.exec("SELECT pg_stat_statements_reset()")
	for range 10 {
		f.finds("row")
		if _, err := f.Find(t.Context(), ours.Key()); err != nil {
			t.Fatal(err)
		}
	}
	calls := d.rows(t, f.url, "SELECT calls, query FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat_statements%' AND calls > 1")
	if len(calls) != 1 || calls[0][0] != "20" {
		t.Errorf("20 finds cost %v", calls)
	}
	if n := f.one("SELECT COUNT(*) FROM pg_stat_statements WHERE query ILIKE '%epochs%'"); n != "0" {
		t.Error("finding asks for epochs")
	}
}

// TestDatabaseClock: the database's clock says when a row ends, ours may be wrong by days.
func TestDatabaseClock(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		for _, off := range []time.Duration{-48 * hour, 48 * hour} {
			c := &clock{}
			c.advance(off)
			f := newDB(t, d, d.texts(), func(s *dbSettings) { s.opts.Clock = c.now })
			f.app("live", "1", 60)
			f.app("dead", "1", -60)
			rec := f.finds("live")
			f.lacks("dead", session.ErrNotFound)
			if err := f.Replace(t.Context(), rec, rec.Clone(), 2*hour); err != nil {
				t.Fatal(err)
			}
			between := fmt.Sprintf("SELECT COUNT(*) FROM sessions WHERE id = 'live' AND expires_at BETWEEN %s AND %s", d.in(7100), d.in(7201))
			if f.one(between) != "1" {
				t.Errorf("clock %v off: the row ends at %s", off, f.one("SELECT expires_at FROM sessions WHERE id = 'live'"))
			}
			if n, err := f.DeleteExpired(t.Context(), 10); n != 1 || err != nil {
				t.Errorf("deleted %d, %v", n, err)
			}
		}
	})
}
