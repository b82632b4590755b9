package session_test

import (
	"errors"
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/internal/testpostgres"
	"gatehouse/session"
)

func TestDatabaseCheck(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts(), func(s *dbSettings) { s.bare = true })
		all := f.SchemaSQL()
		if len(all) != 3 {
			t.Fatalf("%d statements", len(all))
		}
		for i := range all {
			err := f.Check(t.Context())
			if err == nil {
				t.Fatalf("nothing is missing after %d of %d statements", i, len(all))
			}
			for j, statement := range all {
				if strings.Contains(err.Error(), statement) != (j >= i) {
					t.Errorf("after %d statements: %v", i, err)
				}
			}
			f.exec(all[i])
		}
		if err := f.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if d.name == database.Postgres {
			f.exec(strings.Join(all, ";")) // once more, which changes nothing
		}
		// It has only looked.
		f.app("row", "1", 60)
		f.app("dead", "1", -60)
		if err := f.Check(t.Context()); err != nil {
			t.Error(err)
		}
		if n := f.one("SELECT COUNT(*) FROM sessions WHERE migrated_at IS NULL AND gatehouse IS NULL"); n != "2" {
			t.Errorf("%s rows are as they were", n)
		}
	})
}

// TestDatabaseCheckStatements: each statement that does not work is named.
func TestDatabaseCheckStatements(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		const broken = "SELECT broken FROM nowhere WHERE x = $1"
		set := func(change func(*config.SessionQueries)) func(*dbSettings) {
			return func(s *dbSettings) { change(&s.database.Queries) }
		}
		for name, change := range map[string]func(*dbSettings){
			"find": set(func(q *config.SessionQueries) { q.Find = broken }),
			"lock": set(func(q *config.SessionQueries) { q.Lock = broken }),
			"touch": set(func(q *config.SessionQueries) {
				q.Touch = "UPDATE sessions SET nothing = $2, gatehouse = $3 WHERE id = $1"
			}),
			"mark":           set(func(q *config.SessionQueries) { q.Mark = "UPDATE sessions SET moved = 1 WHERE id = $1" }),
			"scan":           set(func(q *config.SessionQueries) { q.Scan = "SELECT id FROM sessions WHERE token > $1 LIMIT $2" }),
			"count":          set(func(q *config.SessionQueries) { q.Count = "SELECT 1 AS live FROM sessions WHERE ends > $1" }),
			"delete_expired": set(func(q *config.SessionQueries) { q.DeleteExpired = "DELETE FROM sessions WHERE ends < $1 LIMIT $2" }),
		} {
			f := newDB(t, d, d.texts(), change)
			if err := f.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "session.database.queries."+name+" ") {
				t.Errorf("%s: %v", name, err)
			}
		}
		uuids := newDB(t, d, d.schema("uuid"))
		if err := uuids.Check(t.Context()); d.name == database.Postgres && (err == nil || !strings.Contains(err.Error(), "session.database.new_id")) {
			t.Errorf("new_id text and a column of UUIDs: %v", err) // MariaDB compares them with any text
		}
		wrong := newDB(t, d, d.texts(), func(s *dbSettings) { s.database.Expiry.As = config.ExpiryEpoch })
		wrong.app("row", "1", 60) // MySQL compares a time with a number, so it takes a row to see it
		if err := wrong.Check(t.Context()); err == nil {
			t.Error("an expiry of another kind than the column is not noticed")
		}
	})
}

// TestDatabaseCheckPermissions: a user who may read and not write is told before anybody logs in.
func TestDatabaseCheckPermissions(t *testing.T) {
	t.Parallel()
	server := testpostgres.Start(t)
	d := dialect{name: database.Postgres, exec: testpostgres.Exec, rows: testpostgres.Rows, space: func(t testing.TB) string { return server.NewDatabase(t) }}
	f := newDB(t, d, d.texts())
	f.exec("CREATE ROLE reader LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader")
	reader := openTable(t, openDB(t, strings.Replace(f.url, "postgres@", "reader@", 1)), dbSettings{})
	if err := reader.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "session.database.queries.lock") || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("Check says %v", err)
	}
	server.Kill()
	if err := f.Check(t.Context()); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("of a database that is away: %v", err)
	}
}

// TestDatabaseTableNames: the statements are for the table the configuration names.
func TestDatabaseTableNames(t *testing.T) {
	t.Parallel()
	db := openDB(t, onPostgres(t).space(t))
	for want, cfg := range map[string]config.SessionDatabase{
		"ALTER TABLE sessions ADD COLUMN IF NOT EXISTS gatehouse text":                {},
		`ALTER TABLE "session" ADD COLUMN IF NOT EXISTS gatehouse text`:               {Preset: config.PresetConnectPgSimple},
		"ALTER TABLE django_session ADD COLUMN IF NOT EXISTS migrated_at timestamptz": {Preset: config.PresetDjango, Cookie: config.AppCookie{Secret: "x"}},
		"ALTER TABLE app.web_sessions ADD COLUMN IF NOT EXISTS gatehouse text":        {Queries: config.SessionQueries{Delete: " delete  from\n app.web_sessions where token = $1"}},
	} {
		store := openTable(t, db, dbSettings{database: cfg})
		if all := strings.Join(store.SchemaSQL(), "\n"); !strings.Contains(all, want) {
			t.Errorf("%s: %s", want, all)
		}
	}
}
