package login_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/login/password"
	"gatehouse/session"
)

func TestDatabaseLogin(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		g := newGate(t, withUsers(db))
		for _, typedAs := range []string{ada, " ADA@example.com "} {
			a := g.send(visit{body: typed(typedAs, secret, "next", "/x")})
			c := g.cookie(a)
			if a.Code != http.StatusSeeOther || a.Header().Get("Location") != "/x" || c == nil {
				t.Fatalf("%q: %d %v %s", typedAs, a.Code, a.Header(), g.logged())
			}
			s, err := g.sessions.Manager.Find(context.Background(), c.Value)
			if err != nil {
				t.Fatal(err)
			}
			if want := (session.User{ID: "1", Email: ada, Name: "Ada", Role: "admin", EmailVerified: true}); s.User != want || s.Backend != "database" {
				t.Errorf("record %+v", s.Record)
			}
		}
		log := g.logged()
		if !strings.Contains(log, `"event":"login"`) || !strings.Contains(log, `"backend":"database"`) || strings.Contains(log, secret) {
			t.Errorf("log %s", log)
		}
		g.wantCounted(t, `gatehouse_logins_total{backend="database",outcome="success"} 2`)

		// An ID keeps all its digits, and NULL is nothing.
		s, err := g.sessions.Manager.Find(context.Background(), g.login(t, bob))
		if want := (session.User{ID: "9007199254740993", Email: bob}); err != nil || s.User != want {
			t.Errorf("record %+v, %v", s.Record, err)
		}
		if a := g.send(visit{method: "GET"}); a.Code != http.StatusOK || !strings.Contains(a.Body.String(), `name="password"`) {
			t.Errorf("the page: %d", a.Code)
		}
	})
}

func TestDatabaseLoginSaysOneThing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		hash := password.New(secret, quick)
		for i, state := range []string{
			"email = 'disabled@example.com', disabled = true", "email = 'locked@example.com', locked_until = '2037-01-01 00:00:00'",
			"email = 'unverified@example.com', email_verified = false", "email = 'none@example.com', password_hash = NULL",
			"email = 'odd@example.com', password_hash = 'plain-" + secret + "'", "email = 'past@example.com', locked_until = '2001-01-01 00:00:00'",
		} {
			db.exec("INSERT INTO users (id, email_verified, password_hash) VALUES (%d, true, '%s')", 100+i, hash)
			db.exec("UPDATE users SET %s WHERE id = %d", state, 100+i)
		}
		db.exec("INSERT INTO users (id, email, name, email_verified, password_hash) VALUES (200, 'x1', 'twin', true, '%s'), (201, 'x2', 'twin', true, '%s')", hash, hash)
		g := newGate(t, withUsers(db, query("SELECT * FROM users WHERE lower(email) = lower($1) OR name = $1"), func(c *config.LoginDatabase) { c.RequireVerifiedEmail = true }))
		g.login(t, ada)
		g.login(t, "past@example.com")
		want := ""
		for _, tt := range []struct{ name, account, password, reason, logs string }{
			{"wrong password", ada, "wrong", "bad_credentials", `"account":"ada@example.com"`},
			{"unknown", "nobody@example.com", secret, "bad_credentials", ""},
			{"disabled", "disabled@example.com", secret, "disabled", `"account":"disabled@example.com"`},
			{"disabled, wrong password", "disabled@example.com", "wrong", "bad_credentials", ""},
			{"locked", "locked@example.com", secret, "locked", ""},
			{"not verified", "unverified@example.com", secret, "unverified", ""},
			{"verified NULL", bob, secret, "unverified", ""},
			{"no password", "none@example.com", "", "no_password", ""},
			{"unknown hash", "odd@example.com", secret, "unreadable", `"user":"104"`},
			{"two rows", "twin", secret, "ambiguous", "two accounts"},
			{"no account", "", secret, "bad_credentials", ""},
			{"NUL", ada + "\x00", secret, "bad_credentials", ""},
			{"no UTF-8", "\xff\xfe", "\xff", "bad_credentials", ""},
			{"long", strings.Repeat("a", 20_000), "x", "bad_credentials", ""},
			{"injection", "' OR '1'='1", secret, "bad_credentials", ""},
			{"injection of a statement", "x'; DROP TABLE users; --", secret, "bad_credentials", ""},
			{"injection by backslash", `\' OR 1=1 -- `, secret, "bad_credentials", ""},
			{"a parameter", "$1", secret, "bad_credentials", ""},
			{"a pattern", "%", secret, "bad_credentials", ""},
			{"a question mark", "?", secret, "bad_credentials", ""},
		} {
			g.logged()
			a := g.send(visit{body: typed(tt.account, tt.password)})
			header := a.Header().Clone()
			header.Del("Content-Length")
			got := fmt.Sprint(a.Code, header, a.Body)
			if want == "" {
				want = got
			}
			if got != want {
				t.Errorf("L04 %s: differs:\n%s\nfrom\n%s", tt.name, got, want)
			}
			refused(t, a, tt.name)
			if log := g.logged(); !strings.Contains(log, `"reason":"`+tt.reason+`"`) || !strings.Contains(log, tt.logs) || strings.Contains(log, secret) {
				t.Errorf("%s: log %s", tt.name, log)
			}
		}
		g.login(t, ada) // the table is still there
	})
}

// Without a query of one's own, whatever columns there are are enough.
func TestDatabaseColumnsThatAreMissing(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		for q, says := range map[string]string{
			"SELECT id, password_hash FROM users WHERE email = $1":                         "",
			"SELECT id AS ID, password_hash AS Password_Hash FROM users WHERE email = $1;": "",
			"SELECT password_hash FROM users WHERE email = $1":                             "no column id",
			"SELECT id FROM users WHERE email = $1":                                        "no column password_hash",
			"SELECT id, password_hash FROM people WHERE email = $1":                        "refuses login.database.query",
			"SELECT id, password_hash FROM users WHERE mail = $1":                          "refuses login.database.query",
			"SELECT id, password_hash, 'perhaps' AS disabled FROM users WHERE email = $1":  "cannot be read",
		} {
			g := newGate(t, withUsers(db, query(q)))
			token := session.NewToken("1")
			a := g.send(visit{body: typed(ada, secret), token: token})
			log := g.logged()
			switch {
			case says == "":
				if a.Code != http.StatusSeeOther || a.facts.UserID != "1" {
					t.Errorf("%s: %d %s", q, a.Code, log)
				}
			case says == "cannot be read":
				refused(t, a, q)
				if !strings.Contains(log, says) || !strings.Contains(log, `"user":"1"`) {
					t.Errorf("%s: log %s", q, log)
				}
			default:
				if a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") != "5" || len(a.Header()["Set-Cookie"]) > 0 || !strings.Contains(log, says) {
					t.Errorf("%s: %d %v %s", q, a.Code, a.Header(), log)
				}
				if strings.Contains(a.Body.String(), "password_hash") || strings.Contains(a.Body.String(), "login.database") {
					t.Errorf("%s: the cause is shown to people: %s", q, a.Body)
				}
				if again := g.send(visit{body: typed(ada, secret)}); again.Code != 503 || strings.Contains(g.logged(), says) && strings.Contains(says, "refuses") {
					t.Errorf("%s: %d, or told again", q, again.Code)
				}
			}
		}
	})
}

// Who logs in by a number may type letters.
func TestDatabaseLoginByNumber(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		g := newGate(t, withUsers(db, query("SELECT id, password_hash FROM users WHERE id = $1")))
		g.login(t, "1")
		for _, account := range []string{"one", "99999999999999999999999999"} {
			refused(t, g.send(visit{body: typed(account, secret)}), account)
		}
	})
}

func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		g := newGate(t, withUsers(db))
		token := g.login(t, ada)
		db.fail(errors.Join(database.ErrUnavailable, errors.New("connection refused")))
		for _, accept := range []string{"text/html", "application/json"} {
			a := g.send(visit{body: typed(ada, secret), token: token, header: []string{"Accept", accept}})
			if a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") != "5" || len(a.Header()["Set-Cookie"]) > 0 || strings.Contains(a.Body.String(), "refused") {
				t.Errorf("%s: %d %v %s", accept, a.Code, a.Header(), a.Body)
			}
			if !strings.Contains(a.facts.Error, "connection refused") {
				t.Errorf("the operator is told %q", a.facts.Error)
			}
		}
		if !g.lives(token) {
			t.Error("the session before has ended")
		}
		g.wantCounted(t, `gatehouse_logins_total{backend="database",outcome="unavailable"} 2`)
		db.fail(nil)
		g.login(t, ada)
	})
}

// What is cheap comes before the database, and the epoch before the account is read.
func TestDatabaseOrder(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		g := newGate(t, withUsers(db), limited(6000, 6))
		g.sessions.begin = session.ErrUnavailable
		if a := g.send(visit{body: typed("early@example.com", "x")}); a.Code != 503 || db.took() > 0 {
			t.Errorf("S06: %d: the account was read before there was an epoch", a.Code)
		}
		g.sessions.begin = nil
		for _, v := range []visit{{body: "account=%zz"}, {body: typed(ada, secret), header: []string{"Origin", "null"}}, {method: "GET"}} {
			g.send(v)
		}
		if n := db.took(); n > 0 {
			t.Errorf("requests that are no login ask the database %d times", n)
		}
		for i := range 5 {
			g.send(visit{body: typed(ada, "wrong"), client: fmt.Sprintf("192.0.2.%d", 10+i)})
		}
		if n := db.took(); n != 3 {
			t.Errorf("L03: of five attempts three are allowed, and the database was asked %d times", n)
		}
	})
}

// For a database two names may be one that are two for the limit.
func TestDatabaseLimitOfOneAccount(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, db *usersDB) {
		t.Run("L03_names_of_one_account", func(t *testing.T) {
			db.exec("UPDATE users SET name = 'countess' WHERE id = 1")
			g := newGate(t, withUsers(db, query("SELECT * FROM users WHERE email = $1 OR name = $1 OR role = $1")), limited(6000, 6))
			answers := map[string]string{}
			for i, account := range []string{ada, "countess", "admin", "countess"} {
				a := g.send(visit{body: typed(account, "wrong"), client: fmt.Sprintf("192.0.2.%d", i)})
				refused(t, a, account)
				answers[a.Body.String()] = account
			}
			if len(answers) != 1 {
				t.Error("the limit of the account tells that it is there")
			}
			refused(t, g.send(visit{body: typed("admin", secret)}), "the right password over the limit")
			if log := g.logged(); !strings.Contains(log, `"reason":"account"`) {
				t.Errorf("log %s", log)
			}
			g.login(t, bob)
		})
	})
}
