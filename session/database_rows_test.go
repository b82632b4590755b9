package session_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// app adds a row as the application does.
func (f *dbFixture) app(id, user string, seconds int) {
	f.t.Helper()
	f.exec(fmt.Sprintf("INSERT INTO sessions (id, user_id, expires_at) VALUES ('%s', %s, %s)", id, user, f.d.in(seconds)))
}

// finds gives the session of an application's token.
func (f *dbFixture) finds(token string) *session.Record {
	f.t.Helper()
	found, err := f.FindRow(f.t.Context(), f.AtRest(token))
	if err != nil {
		f.t.Fatalf("FindRow: %v", err)
	}
	if found.Source != session.FromDatabase || found.VerifiedAt.IsZero() {
		f.t.Fatalf("found %+v", found)
	}
	return found.Record
}

// lacks fails unless FindRow says err.
func (f *dbFixture) lacks(row string, want error) {
	f.t.Helper()
	if found, err := f.FindRow(f.t.Context(), row); !errors.Is(err, want) {
		f.t.Errorf("FindRow gives %v, %v; want %v", found.Record, err, want)
	}
}

// login makes a session at the gateway.
func (f *dbFixture) login(user string, change ...func(*session.CreateOptions)) *session.Record {
	f.t.Helper()
	rec, _ := sessiontest.Record(user)
	if _, err := f.Create(f.t.Context(), rec, f.options(change...)); err != nil {
		f.t.Fatalf("Create: %v", err)
	}
	found, err := f.Find(f.t.Context(), session.Key{Tag: session.TagOf(user), ID: rec.ID, Database: true})
	if err != nil {
		f.t.Fatalf("Find: %v", err)
	}
	return found.Record
}

func (f *dbFixture) options(change ...func(*session.CreateOptions)) session.CreateOptions {
	f.t.Helper()
	began, err := f.Epoch(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	opts := session.CreateOptions{Began: began, TTL: hour, MaxPerUser: 20}
	for _, c := range change {
		c(&opts)
	}
	return opts
}

func TestDatabaseApplicationRow(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		f.app("live", "1", 60)
		f.app("dead", "1", -1)
		f.app("nobody", "NULL", 60)
		f.app("gone user", "99", 60)
		rec := f.finds("live")
		if want := (session.User{ID: "1", Email: "ann@example.com", Name: "Ann", EmailVerified: true, Role: "admin"}); rec.User != want {
			t.Errorf("user %+v", rec.User)
		}
		if rec.Backend != "" || rec.Born() || rec.Database != "" || rec.Key().Row != "live" || rec.Key().Database {
			t.Errorf("key %+v, backend %q", rec.Key(), rec.Backend)
		}
		if found, err := f.Find(t.Context(), rec.Key()); err != nil || found.Record.ID != rec.ID {
			t.Errorf("Find by its key: %v", err)
		}
		wrong := rec.Key()
		wrong.Tag = session.TagOf("2")
		if _, err := f.Find(t.Context(), wrong); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("under another user's tag: %v", err)
		}
		for _, row := range []string{"dead", "nobody", "gone user", "unheard of", "", "live\x00", "\xff", strings.Repeat("x", 5000)} {
			f.lacks(row, session.ErrNotFound)
		}
		f.exec("UPDATE sessions SET migrated_at = " + d.in(0) + " WHERE id = 'live'")
		f.lacks("live", session.ErrMigrated)
		f.lacks("live", session.ErrNotFound)
	})
}

// TestDatabaseNeighbours: to a database that ignores case or trailing spaces, one row has many ids.
func TestDatabaseNeighbours(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		f.app("Token", "1", 60)
		f.finds("Token")
		for _, other := range []string{"token", "TOKEN", "Token ", "Tokén", "Tok%", "T_ken"} {
			f.lacks(other, session.ErrNotFound)
		}
	})
}

func TestDatabaseInjection(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		f.app("live", "1", 60)
		for _, evil := range []string{
			"' OR '1'='1", "'; DROP TABLE sessions; --", `\' OR 1=1 -- `, "$1", "live'/*", `live\`, "x' UNION SELECT 1,2,3,4,5 --", "%", "?", "\"",
		} {
			f.lacks(f.AtRest(evil), session.ErrNotFound)
			key := session.Key{Tag: session.TagOf("1"), Row: evil}
			if there, err := f.Revoke(t.Context(), key, "1"); there || err != nil {
				t.Errorf("Revoke of %q: %v, %v", evil, there, err)
			}
			if list, err := f.List(t.Context(), evil); err != nil || len(list) != 0 {
				t.Errorf("List of %q: %d, %v", evil, len(list), err)
			}
			if ids, err := f.RevokeUser(t.Context(), evil); err != nil || len(ids) != 0 {
				t.Errorf("RevokeUser of %q: %d, %v", evil, len(ids), err)
			}
		}
		f.finds("live")
	})
}

// TestDatabaseBornRowsHaveNoAppToken: the ID of a session is no secret, and the id column is made of it.
func TestDatabaseBornRowsHaveNoAppToken(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		for _, form := range []string{config.NewIDText, config.NewIDUUID} {
			f := newDB(t, d, d.schema(map[string]string{config.NewIDText: d.choose("text", "varchar(255)"), config.NewIDUUID: "uuid"}[form]),
				func(s *dbSettings) { s.database.NewID = form })
			rec := f.login("1")
			row := session.RowOf(rec.ID, form)
			if f.one("SELECT id FROM sessions") != row || strings.Contains(f.one("SELECT gatehouse FROM sessions"), "~") {
				t.Errorf("the row is %s: %s", f.one("SELECT id FROM sessions"), f.one("SELECT gatehouse FROM sessions"))
			}
			f.lacks(row, session.ErrNotFound)
			if err := f.Move(t.Context(), session.Key{Row: row}, func(*session.Record, bool) error { return nil }); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("Move by the row: %v", err)
			}
			// Nor is a row of the gateway's form one without its record.
			f.exec("UPDATE sessions SET gatehouse = NULL")
			if form == config.NewIDText {
				f.lacks(row, session.ErrCorrupt)
			}
			if _, err := f.Find(t.Context(), rec.Key()); err == nil {
				t.Error("a row without its record is a session")
			}
		}
	})
}

// TestDatabaseAnyID: every ID can be a row, also where the database is particular about UUIDs.
func TestDatabaseAnyID(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.schema("uuid"), func(s *dbSettings) { s.database.NewID = config.NewIDUUID })
		var values []string
		for b := range 256 {
			var id session.ID
			id[0], id[6], id[8] = byte(b), byte(b), byte(b)
			values = append(values, "('"+session.RowOf(id, config.NewIDUUID)+"', 1, "+d.in(60)+")")
		}
		f.exec("INSERT INTO sessions (id, user_id, expires_at) VALUES " + strings.Join(values, ", "))
	})
}

// TestDatabaseUUIDColumn: what no UUID can be is no outage.
func TestDatabaseUUIDColumn(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.schema("uuid"), func(s *dbSettings) { s.database.NewID = config.NewIDUUID })
		const id = "6f1f5a5e-0f5d-4f0c-9b57-3a2f5b8a8d01"
		f.app(id, "1", 60)
		f.finds(id)
		f.login("2")
		for _, junk := range []string{"junk", "' OR 1=1", id + "x", strings.ToUpper(id), "{" + id + "}"} {
			f.lacks(junk, session.ErrNotFound)
			if err := f.Move(t.Context(), session.Key{Row: junk}, func(*session.Record, bool) error { return nil }); !errors.Is(err, session.ErrNotFound) {
				t.Errorf("Move of %q: %v", junk, err)
			}
		}
		if rows, err := f.Scan(t.Context(), "", 10); err != nil || len(rows) != 2 {
			t.Errorf("scanned %d rows, %v", len(rows), err)
		}
		if err := f.Check(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestDatabaseFreshAttributes: what the users table says counts at once, whatever a record remembers.
func TestDatabaseFreshAttributes(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		f.app("theirs", "1", 60)
		ours := f.login("1")
		if err := f.Replace(t.Context(), f.finds("theirs"), f.finds("theirs").Clone(), hour); err != nil {
			t.Fatal(err)
		}
		if ours.User.Role != "admin" || ours.User.Name != "Ann" {
			t.Errorf("a login is given what the users table says: %+v", ours.User)
		}
		f.exec("UPDATE users SET role = 'user', email = NULL, email_verified = NULL WHERE id = 1")
		list, err := f.List(t.Context(), "1")
		if err != nil || len(list) != 2 {
			t.Fatal(len(list), err)
		}
		for _, rec := range append(list, f.finds("theirs")) {
			if rec.User.Role != "user" || rec.User.Email != "" || rec.User.EmailVerified {
				t.Errorf("%+v", rec.User)
			}
		}
		f.exec("DELETE FROM users WHERE id = 1")
		f.lacks("theirs", session.ErrNotFound)
		if _, err := f.Find(t.Context(), ours.Key()); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("a user who is gone: %v", err)
		}
	})
}

// TestDatabaseAbsoluteLimit: it is noted with the first renewal and stays, whatever the application does.
func TestDatabaseAbsoluteLimit(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		clock := &clock{}
		f := newDB(t, d, d.texts(), func(s *dbSettings) { s.opts.Clock = clock.now })
		f.app("row", "1", 60)
		first := f.finds("row")
		if got := first.ExpiresAt.Sub(first.CreatedAt); got != 720*time.Hour {
			t.Errorf("absolute limit after %v", got)
		}
		if idle := clock.now().Sub(first.LastAccessed); idle < hour || idle > hour+time.Minute {
			t.Errorf("last used %v ago: a renewal must be due, and no idle limit near", idle)
		}
		next := first.Clone()
		next.LastAccessed = clock.now().UTC().Truncate(time.Millisecond)
		if err := f.Replace(t.Context(), first, next, 2*hour); err != nil {
			t.Fatal(err)
		}
		clock.advance(10 * hour)
		f.exec("UPDATE sessions SET expires_at = " + d.in(1_000_000)) // the application's own renewal
		second := f.finds("row")
		if !second.ExpiresAt.Equal(first.ExpiresAt) || !second.CreatedAt.Equal(first.CreatedAt) || !second.LastAccessed.Equal(next.LastAccessed) {
			t.Errorf("limit %v, was %v; created %v, was %v", second.ExpiresAt, first.ExpiresAt, second.CreatedAt, first.CreatedAt)
		}
		// The application renames the row, as against fixation: no new limit. It logs somebody else in on it: their own.
		f.exec("UPDATE sessions SET id = 'renamed'")
		if third := f.finds("renamed"); !third.ExpiresAt.Equal(first.ExpiresAt) || third.ID == first.ID {
			t.Errorf("limit %v, was %v", third.ExpiresAt, first.ExpiresAt)
		}
		f.exec("UPDATE sessions SET user_id = 2")
		if other := f.finds("renamed"); other.User.ID != "2" || !other.ExpiresAt.After(first.ExpiresAt) || other.User.Name != "Bob" {
			t.Errorf("%+v until %v", other.User, other.ExpiresAt)
		}
	})
}

func TestDatabaseCreatedAt(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts(), func(s *dbSettings) {
			s.database.Queries.Find = "SELECT id, user_id, expires_at, created_at, migrated_at, gatehouse FROM sessions WHERE id = $1"
		})
		f.exec("ALTER TABLE sessions ADD COLUMN created_at " + d.choose("timestamptz", "datetime(6)"))
		f.app("young", "1", 60)
		f.app("old", "1", 60)
		f.app("unknown", "1", 60)
		f.exec("UPDATE sessions SET created_at = " + d.in(-48*3600) + " WHERE id = 'young'")
		f.exec("UPDATE sessions SET created_at = " + d.in(-721*3600) + " WHERE id = 'old'")
		rec := f.finds("young")
		if age := time.Since(rec.CreatedAt); age < 47*hour || age > 49*hour || rec.ExpiresAt.Sub(rec.CreatedAt) != 720*hour {
			t.Errorf("%v old, limit %v", age, rec.ExpiresAt)
		}
		f.lacks("old", session.ErrNotFound) // past the absolute limit
		f.finds("unknown")
	})
}

func TestDatabaseExpiryForms(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		for _, as := range []string{config.ExpiryEpoch, config.ExpiryEpochMS, config.ExpiryLastUse} {
			t.Run(as, func(t *testing.T) {
				t.Parallel()
				schema := strings.NewReplacer("timestamptz", "bigint", "datetime(6)", "bigint").Replace(d.texts())
				f := newDB(t, d, schema, func(s *dbSettings) {
					s.database.Expiry = config.DatabaseExpiry{As: as, Lifetime: 10 * time.Minute}
				})
				add := func(id string, expires time.Time) {
					at := map[string]int64{
						config.ExpiryEpoch: expires.Unix(), config.ExpiryEpochMS: expires.UnixMilli(), config.ExpiryLastUse: expires.Add(-10 * time.Minute).Unix(),
					}[as]
					f.exec(fmt.Sprintf("INSERT INTO sessions (id, user_id, expires_at) VALUES ('%s', 1, %d)", id, at))
				}
				add("live", time.Now().Add(time.Minute))
				add("dead", time.Now().Add(-time.Minute))
				rec := f.finds("live")
				f.lacks("dead", session.ErrNotFound)
				if used := time.Since(rec.LastAccessed); as == config.ExpiryLastUse && (used < 8*time.Minute || used > 10*time.Minute) {
					t.Errorf("last used %v ago", used)
				}
				if err := f.Replace(t.Context(), rec, rec.Clone(), 3*hour); err != nil {
					t.Fatal(err)
				}
				ours := f.login("2")
				if n, err := f.DeleteExpired(t.Context(), 10); n != 1 || err != nil {
					t.Errorf("deleted %d, %v", n, err)
				}
				f.exec("UPDATE sessions SET gatehouse = NULL WHERE id = 'live'")
				f.finds("live")
				if c, err := f.Count(t.Context()); c != (session.Counts{Live: 2}) || err != nil {
					t.Errorf("%+v, %v", c, err)
				}
				// In one, two and three hours minus a bit.
				f.exec("UPDATE sessions SET expires_at = expires_at - " + map[string]string{
					config.ExpiryEpoch: "10000", config.ExpiryEpochMS: "10000000", config.ExpiryLastUse: "10000",
				}[as])
				f.finds("live")
				if _, err := f.Find(t.Context(), ours.Key()); !errors.Is(err, session.ErrNotFound) {
					t.Errorf("an hour's session after three: %v", err)
				}
			})
		}
	})
}

func TestDatabaseTokensAtRest(t *testing.T) {
	t.Parallel()
	d := onPostgres(t)
	db := openDB(t, d.space(t))
	const token = "Tok+en/=1"
	// Made with: printf %s 'Tok+en/=1' | openssl dgst -sha256 [-hmac secret] [-binary | base64]
	for _, c := range []struct {
		config.DatabaseToken
		want string
	}{
		{config.DatabaseToken{}, token},
		{config.DatabaseToken{Hash: "plain", Prefix: "sess:"}, "sess:" + token},
		{config.DatabaseToken{Hash: "plain", Encoding: "hex"}, "546f6b2b656e2f3d31"},
		{config.DatabaseToken{Hash: "sha256"}, "90479059d7bcbd05b17ecbab6dd510bd0477f32330211e31e0abe156b308a335"},
		{config.DatabaseToken{Hash: "sha256", Encoding: "base64", Prefix: "v1:"}, "v1:kEeQWde8vQWxfsurbdUQvQR38yMwIR4x4KvhVrMIozU="},
		{config.DatabaseToken{Hash: "sha256", Encoding: "base64url"}, "kEeQWde8vQWxfsurbdUQvQR38yMwIR4x4KvhVrMIozU"},
		{config.DatabaseToken{Hash: "hmac-sha256", Secret: "secret"}, "0f4417b976d3d19799db4fc70e436180a46fb45e4f1205be4a0790c517ec523b"},
		{config.DatabaseToken{Hash: "hmac-sha256", Secret: "secret", Encoding: "base64"}, "D0QXuXbT0ZeZ20/HDkNhgKRvtF5PEgW+SgeQxRfsUjs="},
	} {
		store := openTable(t, db, dbSettings{database: config.SessionDatabase{Token: c.DatabaseToken}})
		if got := store.AtRest(token); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.Hash, c.Encoding, got, c.want)
		}
	}
	if _, err := session.OpenDatabase(db, config.SessionDatabase{Token: config.DatabaseToken{Hash: "hmac-sha256"}}, config.Session{}, session.Options{}); err == nil ||
		!strings.Contains(err.Error(), "session.database.token.secret") {
		t.Errorf("without a secret: %v", err)
	}
}

// TestDatabaseMistakesLogNobodyOut: a statement that does not work says nothing about a session.
func TestDatabaseMistakesLogNobodyOut(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		for name, c := range map[string]struct {
			change func(*config.SessionDatabase)
			want   string
		}{
			"no such column": {func(s *config.SessionDatabase) { s.Queries.Find = "SELECT nonsense FROM sessions WHERE id = $1" }, "nonsense"},
			"no expires_at":  {func(s *config.SessionDatabase) { s.Queries.Find = "SELECT id, user_id FROM sessions WHERE id = $1" }, "queries.find gives no column expires_at"},
			"no user_id": {func(s *config.SessionDatabase) {
				s.Queries.Find = "SELECT id, expires_at, migrated_at, gatehouse FROM sessions WHERE id = $1"
			}, "queries.find gives no column user_id"},
			"the wrong expiry": {func(s *config.SessionDatabase) { s.Expiry.As = config.ExpiryEpoch }, "session.database.expiry.as is epoch"},
		} {
			f := newDB(t, d, d.texts(), func(s *dbSettings) { c.change(&s.database) })
			f.app("live", "1", 60)
			_, err := f.FindRow(t.Context(), "live")
			if !errors.Is(err, session.ErrUnavailable) || errors.Is(err, database.ErrUnavailable) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", name, err)
			}
			f.exec("DELETE FROM sessions") // what is wrong is told before there is a row
			if err := f.Check(t.Context()); name != "the wrong expiry" && (err == nil || !strings.Contains(err.Error(), c.want) || errors.Is(err, session.ErrUnavailable)) {
				t.Errorf("%s: Check says %v", name, err)
			}
		}
	})
}

func TestDatabaseStrangeLogins(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		for _, user := range []string{"99", "abc", "007", strings.Repeat("9", 30), "1.5", ""} {
			rec, _ := sessiontest.Record(user)
			_, err := f.Create(t.Context(), rec, f.options())
			if !errors.Is(err, session.ErrInvalidUser) {
				t.Errorf("user %q: %v, want ErrInvalidUser", user, err)
			}
		}
		if n := f.one("SELECT COUNT(*) FROM sessions"); n != "0" {
			t.Errorf("%s rows are left", n)
		}
		f.exec("INSERT INTO sessions (id, user_id, expires_at, gatehouse) VALUES ('bad', 1, " + d.in(60) + ", '{'), ('null', 1, " + d.in(60) + ", NULL)")
		f.lacks("bad", session.ErrCorrupt)
		if list, err := f.List(t.Context(), "1"); err != nil || len(list) != 1 {
			t.Errorf("listed %d, %v", len(list), err)
		}
		if ids, err := f.RevokeUser(t.Context(), "1"); err != nil || len(ids) != 1 || f.one("SELECT COUNT(*) FROM sessions") != "0" {
			t.Errorf("ended %d, %v; %s rows left", len(ids), err, f.one("SELECT COUNT(*) FROM sessions"))
		}
	})
}

// TestDatabaseLimitCountsAll: the application's sessions take places too, those unused for longest go first.
func TestDatabaseLimitCountsAll(t *testing.T) {
	onBoth(t, func(t *testing.T, d dialect) {
		f := newDB(t, d, d.texts())
		f.app("soon", "1", 30)
		f.app("later", "1", 60)
		f.app("dead", "1", -10)
		f.app("bobs", "2", 10)
		f.app("moved", "1", 20)
		f.exec("UPDATE sessions SET migrated_at = " + d.in(0) + " WHERE id = 'moved'")
		soon := f.finds("soon").ID
		rec, _ := sessiontest.Record("1")
		ended, err := f.Create(t.Context(), rec, f.options(func(o *session.CreateOptions) { o.MaxPerUser = 2 }))
		if err != nil || !slices.Equal(ended, []session.ID{soon}) {
			t.Errorf("ended %v, %v; want soon", ended, err)
		}
		f.lacks("soon", session.ErrNotFound)
		later := f.finds("later").ID
		f.finds("bobs")
		f.lacks("moved", session.ErrMigrated)
		rec, _ = sessiontest.Record("1")
		ended, err = f.Create(t.Context(), rec, f.options(func(o *session.CreateOptions) { o.Replaces = later }))
		if err != nil || !slices.Equal(ended, []session.ID{later}) {
			t.Errorf("ended %v, %v; want the replaced one", ended, err)
		}
	})
}
