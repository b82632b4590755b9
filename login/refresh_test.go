package login_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/session"
)

// says is a Change as text.
func says(c session.Change, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	show := func(s *string) string {
		if s == nil {
			return "-"
		}
		return fmt.Sprintf("%q", *s)
	}
	verified := "-"
	if c.EmailVerified != nil {
		verified = fmt.Sprint(*c.EmailVerified)
	}
	return strings.Join([]string{show(c.Email), show(c.Name), show(c.Role), verified}, " ")
}

func TestRefreshFromTheFile(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(s *setup) { s.cfg.File.Refresh = time.Minute })
	r := g.Refresh()
	if r.Every != time.Minute || r.Backend != "file" || r.Application {
		t.Errorf("%+v", r)
	}
	for id, want := range map[string]string{
		"1": `"ada@example.com" "Ada" "admin" true`, "u-2": `"Bob@Example.com" "" "" false`, "3": "error: " + session.ErrUserRefused.Error() + ": disabled",
		"4": "error: " + session.ErrUserMissing.Error(), "": "error: " + session.ErrUserMissing.Error(), "U-2": "error: " + session.ErrUserMissing.Error(),
	} {
		if got := says(r.Read(t.Context(), id)); got != want {
			t.Errorf("%q: %s, want %s", id, got, want)
		}
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(g.file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	is := func(what, want string) {
		t.Helper()
		var got string
		for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
			if got = says(r.Read(t.Context(), "1")); got == want {
				return
			}
		}
		t.Fatalf("%s: %s, want %s", what, got, want)
	}
	const before, after = `"ada@example.com" "Ada" "admin" true`, `"ada@example.com" "Ada" "member" true`
	good := userFile(quick)
	write(strings.Replace(good, "role: admin", "role: member", 1))
	is("edited", after)
	// Broken, and emptied for a moment: what was read last counts. The log tells that the file was looked at.
	for text, line := range map[string]string{"users: [": "the user file is wrong", "": "the user file is empty"} {
		write(text)
		for deadline := time.Now().Add(15 * time.Second); !strings.Contains(g.logged(), line); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%q was not seen", text)
			}
		}
		is("after "+line, after)
	}
	write("users: []\n")
	is("without users", "error: login: the user file holds no users")
	write(good)
	is("restored", before)
}

// A backend that is not to be asked is not.
func TestRefreshOff(t *testing.T) {
	t.Parallel()
	if r := newGate(t).Refresh(); r.Every != 0 {
		t.Errorf("file: %+v", r)
	}
	db := openUsers(t, "postgres")
	if r := newGate(t, withUsers(db)).Refresh(); r.Every != 0 || r.Backend != "database" || !r.Application {
		t.Errorf("database: %+v", r)
	}
}

func refreshing(q string) func(*config.LoginDatabase) {
	return func(c *config.LoginDatabase) {
		c.Refresh = time.Minute
		if q != "" {
			c.RefreshQuery = q
		}
	}
}

func TestRefreshFromTheDatabase(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		const all = "SELECT * FROM users WHERE id = $1"
		const big = "9007199254740993"
		missing, unreadable := "error: "+session.ErrUserMissing.Error(), "error: "+session.ErrUserUnreadable.Error()
		refused := func(why string) string { return "error: " + session.ErrUserRefused.Error() + ": " + why }
		// Its neighbour is the same number to who compares in floating point.
		db.exec(`INSERT INTO users (id, email, role) VALUES (9007199254740992, 'next@example.com', 'admin')`)
		verified := func(c *config.LoginDatabase) { c.RequireVerifiedEmail = true }
		for _, tt := range []struct {
			name, query, id, change, want string
			require                       bool
		}{
			{"the default", "", "1", "", `"ada@example.com" "Ada" "admin" true`, false},
			{"NULLs and a large id", "", big, "", `"Bob@Example.com" "" "" false`, false},
			{"some columns", "SELECT id, role FROM users WHERE id = $1", "1", "", `- - "admin" -`, false},
			{"no row", "", "77", "", missing, false},
			{"a NUL", "", "1\x00", "", unreadable, false},
			{"another user's row", "SELECT 2 AS id, role FROM users WHERE id = $1", "1", "", unreadable, false},
			{"two rows", "SELECT id, role FROM users WHERE id = $1 UNION ALL SELECT id, role FROM users WHERE id = $1", "1", "", unreadable, false},
			{"several users", "SELECT id, role FROM users WHERE $1 <> ''", "1", "", `- - "admin" -`, false},
			{"disabled", all, "1", "disabled = true", refused("disabled"), false},
			{"locked", all, "1", "disabled = false, locked_until = '2037-01-01 00:00:00'", refused("locked"), false},
			{"no longer locked", all, "1", "locked_until = '2001-01-01 00:00:00'", `"ada@example.com" "Ada" "admin" true`, false},
			{"not verified, not required", all, big, "", `"Bob@Example.com" "" "" false`, false},
			{"not verified", all, big, "", refused("unverified"), true},
			{"verified", all, "1", "", `"ada@example.com" "Ada" "admin" true`, true},
			{"disabled, and another value that cannot be read", "SELECT id, 'perhaps' AS email_verified, 'yes' AS disabled FROM users WHERE id = $1", "1", "", refused("disabled"), false},
			{"no value to read", "SELECT id, 'perhaps' AS disabled FROM users WHERE id = $1", "1", "", unreadable, false},
		} {
			if tt.change != "" {
				db.exec("UPDATE users SET %s WHERE id = 1", tt.change)
			}
			changes := []func(*config.LoginDatabase){refreshing(tt.query)}
			if tt.require {
				changes = append(changes, verified)
			}
			if got := says(newGate(t, withUsers(db, changes...)).Refresh().Read(t.Context(), tt.id)); got != tt.want {
				t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
			}
		}
		// What is wrong with the query is wrong for everybody: nobody is gone for it.
		for name, q := range map[string]func(*config.LoginDatabase){
			"no such table": refreshing("SELECT id FROM nowhere WHERE id = $1"), "no such column": refreshing("SELECT nothing AS id FROM users WHERE id = $1"),
			"no id": refreshing("SELECT role FROM users WHERE id = $1"), "email_verified is not there": func(c *config.LoginDatabase) {
				refreshing("SELECT id FROM users WHERE id = $1")(c)
				c.RequireVerifiedEmail = true
			},
		} {
			g := newGate(t, withUsers(db, q))
			_, first := g.Refresh().Read(t.Context(), "1")
			_, again := g.Refresh().Read(t.Context(), "1")
			for _, err := range []error{first, again} {
				if err == nil || errors.Is(err, session.ErrUserMissing) || errors.Is(err, session.ErrUserRefused) || errors.Is(err, session.ErrUserUnreadable) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if n := strings.Count(g.logged(), "refresh_query does not work"); n != 1 {
				t.Errorf("%s: said %d times", name, n)
			}
		}
		g := newGate(t, withUsers(db, refreshing("")))
		db.fail(fmt.Errorf("%w: refused", database.ErrUnavailable))
		if _, err := g.Refresh().Read(t.Context(), "1"); !errors.Is(err, database.ErrUnavailable) || strings.Contains(g.logged(), "refresh_query") {
			t.Errorf("away: %v", err)
		}
	})
}

// IDs of other kinds, and such as the column cannot hold: a question that is refused says nothing about the user.
func TestRefreshIDs(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		const id = "0190f6c2-5d1f-7abc-8def-0123456789ab"
		db.exec("CREATE TABLE people (id uuid PRIMARY KEY, role varchar(20))")
		db.exec("INSERT INTO people VALUES ('%s', 'editor')", id)
		people := newGate(t, withUsers(db, refreshing("SELECT id, role FROM people WHERE id = $1"))).Refresh()
		if got := says(people.Read(t.Context(), id)); got != `- - "editor" -` {
			t.Errorf("a UUID: %s", got)
		}
		if _, err := people.Read(t.Context(), "0190f6c2-5d1f-7abc-8def-0123456789ac"); !errors.Is(err, session.ErrUserMissing) {
			t.Errorf("another UUID: %v", err)
		}
		numbers := newGate(t, withUsers(db, refreshing(""))).Refresh()
		for _, strange := range []string{"1x", "1.0", " 1", "01"} {
			// MariaDB finds user 1, who is somebody else; PostgreSQL finds that user, or refuses.
			if _, err := numbers.Read(t.Context(), strange); !errors.Is(err, session.ErrUserUnreadable) {
				t.Errorf("%q where IDs are numbers: %v", strange, err)
			}
		}
	})
}

// The whole way: a table, a session, a request after the time is over.
func TestRefreshReachesSessions(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		var ahead atomic.Int64
		clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		opts := session.Options{Clock: clock, Log: zerolog.Nop()}
		store, err := session.Open(t.Context(), config.Redis{Addresses: []string{"embedded"}, Timeout: 5 * time.Second}, opts)
		if err != nil {
			t.Fatal(err)
		}
		sessions := session.NewManager(store, config.Session{Idle: time.Hour, Absolute: 24 * time.Hour, MaxPerUser: 20}, config.Outage{}, opts)
		t.Cleanup(func() { sessions.Close(context.Background()) })
		g := newGate(t, withUsers(db, refreshing("SELECT * FROM users WHERE id = $1")))
		sessions.RefreshUsers(g.Refresh())
		began, err := sessions.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		token, _, err := sessions.Create(t.Context(), session.Login{User: session.User{ID: "1", Role: "admin"}, Backend: "database", Began: began})
		if err != nil {
			t.Fatal(err)
		}
		finds := func() string {
			ahead.Add(int64(time.Minute))
			s, err := sessions.Find(t.Context(), token)
			if err != nil {
				return err.Error()
			}
			return s.Name + " " + s.Role
		}
		if got := finds(); got != "Ada admin" {
			t.Errorf("at first: %s", got)
		}
		db.exec("UPDATE users SET role = 'member', name = 'Ada L.' WHERE id = 1")
		if got := finds(); got != "Ada L. member" {
			t.Errorf("changed: %s", got)
		}
		db.fail(fmt.Errorf("%w: refused", database.ErrUnavailable))
		db.exec("UPDATE users SET disabled = true WHERE id = 1")
		if got := finds(); got != "Ada L. member" {
			t.Errorf("away: %s", got)
		}
		db.fail(nil)
		if got := finds(); got != session.ErrNotFound.Error() {
			t.Errorf("disabled: %s", got)
		}
	})
}
