package login_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/internal/testpostgres"
	"gatehouse/internal/testredis"
	"gatehouse/login"
	"gatehouse/session"
)

// appGate is a gate while sessions move from the application's table. Ada is user 1, Grace user 2, Mary user 3.
type appGate struct {
	*gate
	t     *testing.T
	url   string
	redis *testredis.Server
	store *session.MigratingStore
	app   *session.AppCookie
}

func newAppGate(t *testing.T, state string, forward bool, changes ...func(*setup)) *appGate {
	t.Helper()
	var s *setup
	a := &appGate{t: t, url: testpostgres.NewDatabase(t), redis: testredis.Start(t)}
	a.gate = newGate(t, append(changes, func(made *setup) { s = made })...)
	a.exec(`CREATE TABLE users (id int PRIMARY KEY, email text, name text, email_verified boolean, role text);
		INSERT INTO users VALUES (1, '` + ada + `', 'Ada', true, 'admin'), (2, 'grace@example.com', 'Grace', true, 'user'), (3, 'mary@example.com', 'Mary', true, 'user');
		CREATE TABLE sessions (id text PRIMARY KEY, user_id int NOT NULL, expires_at timestamptz NOT NULL)`)
	cfg := config.Default()
	cfg.Session, cfg.Outage.ServeKnownFor = s.session, 0
	cfg.Session.Database = config.Default().Session.Database
	cfg.Session.Database.Cookie.Forward = forward
	cfg.Migration.State = state
	db, err := database.Open(t.Context(), config.Database{URL: config.Secret(a.url), MaxConnections: 5, Timeout: 5 * time.Second}, database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	table, err := session.OpenDatabase(db, cfg.Session.Database, cfg.Session, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a.exec(strings.Join(table.SchemaSQL(), ";"))
	if a.app, err = session.NewAppCookie(table, cfg.Session, session.Options{}); err != nil {
		t.Fatal(err)
	}
	redis, err := session.Open(t.Context(), config.Redis{Addresses: []string{a.redis.Addr}, Timeout: 5 * time.Second}, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	a.store = session.NewMigratingStore(redis, table, cfg, session.Options{})
	a.sessions.Close(context.Background())
	a.sessions.Manager = session.NewManager(a.store, cfg.Session, cfg.Outage, session.Options{})
	deps := s.deps
	deps.AppCookie = a.app
	a.gate.Close()
	if a.Handler, err = login.NewHandler(s.cfg, deps); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *appGate) exec(statements string) {
	a.t.Helper()
	testpostgres.Exec(a.t, a.url, statements)
}

// row makes a session of the application's, and gives its cookie.
func (a *appGate) row(user int, token string) (cookie string) {
	a.t.Helper()
	a.exec(fmt.Sprintf("INSERT INTO sessions (id, user_id, expires_at) VALUES ('%s', %d, now() + interval '1 day')", token, user))
	return "sid=" + token
}

// knows reports whether the session of the application's cookie is alive.
func (a *appGate) knows(cookie string) bool {
	app, ok := a.app.Read(http.Header{"Cookie": {cookie}})
	if !ok {
		return false
	}
	_, err := a.sessions.Manager.FindApp(context.Background(), app)
	return err == nil
}

// cleared are the cookies an answer makes the browser forget.
func cleared(a answer) []string {
	last := map[string]int{}
	for _, c := range a.Result().Cookies() {
		last[c.Name] = c.MaxAge
	}
	var names []string
	for name, age := range last {
		if age < 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

const (
	strong = "f3a1c07d5b9e8f22c6d0a7c4e1b35f98"
	other  = "0123456789abcdef0123456789abcdef"
)

var bothCookies = []string{"__Host-gatehouse", "sid"}

// TestLogoutEndsBothSessions: in every state, whichever cookies the browser has.
func TestLogoutEndsBothSessions(t *testing.T) {
	t.Parallel()
	for _, state := range []string{config.StateLegacy, config.StateShadow, config.StatePrimary, config.StateDrain} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			g := newAppGate(t, state, false)
			// Only the application's cookie.
			bystander := g.row(2, "bystander-0123456789abcdef01234567")
			mine := g.row(1, strong)
			a := g.send(visit{target: "/logout", body: "next=/docs", header: []string{"Cookie", mine}})
			if a.Code != http.StatusSeeOther || a.Header().Get("Location") != "/docs" || !slices.Equal(cleared(a), bothCookies) {
				t.Errorf("%d to %q, forgotten: %v", a.Code, a.Header().Get("Location"), cleared(a))
			}
			if g.knows(mine) || !g.knows(bystander) {
				t.Errorf("its session lives: %v, somebody else's: %v", g.knows(mine), g.knows(bystander))
			}
			log := g.logged()
			if !strings.Contains(log, `"event":"logout"`) || !strings.Contains(log, `"user":"1"`) || strings.Contains(log, strong) || a.facts.UserID != "1" {
				t.Errorf("log %s", log)
			}
			// Both cookies, of two people: who logs out is logged out of both.
			token, theirs := g.login(t, ada), g.row(3, other)
			g.logged()
			a = g.send(visit{target: "/logout", token: token, header: []string{"Cookie", theirs}})
			if a.Code != http.StatusSeeOther || g.lives(token) || g.knows(theirs) || !slices.Equal(cleared(a), bothCookies) {
				t.Errorf("%d, the gateway's lives: %v, the application's: %v, forgotten: %v", a.Code, g.lives(token), g.knows(theirs), cleared(a))
			}
			if log := g.logged(); !strings.Contains(log, `"user":"1"`) || !strings.Contains(log, `"user":"3"`) || strings.Contains(log, other) || strings.Contains(log, token) {
				t.Errorf("log %s", log)
			}
			if !g.knows(bystander) {
				t.Error("a bystander was logged out")
			}
		})
	}
}

func TestLogoutByTheApplicationsCookie(t *testing.T) {
	t.Parallel()
	g := newAppGate(t, config.StatePrimary, false)
	one, two, token := g.row(1, strong), g.row(2, other), g.login(t, ada)
	t.Run("the page names who is logged in", func(t *testing.T) {
		a := g.send(visit{method: "GET", target: "/logout", header: []string{"Cookie", two}})
		if a.Code != http.StatusOK || !strings.Contains(a.Body.String(), "<strong>Grace</strong>") || len(a.Result().Cookies()) != 0 {
			t.Errorf("%d %v %s", a.Code, a.Result().Cookies(), a.Body)
		}
	})
	t.Run("S01 two that differ", func(t *testing.T) {
		a := g.send(visit{target: "/logout", token: token, header: []string{"Cookie", one + "; " + two}})
		if a.Code != http.StatusSeeOther || !g.knows(one) || !g.knows(two) || g.lives(token) {
			t.Errorf("%d: whose the application's cookies are is unknown, and a session was ended for one: %v, %v", a.Code, g.knows(one), g.knows(two))
		}
		if !slices.Equal(cleared(a), bothCookies) {
			t.Errorf("forgotten: %v", cleared(a))
		}
	})
	t.Run("one that names no session", func(t *testing.T) {
		g.logged()
		a := g.send(visit{target: "/logout", header: []string{"Cookie", "sid=nobody-has-this"}})
		if a.Code != http.StatusSeeOther || !slices.Equal(cleared(a), bothCookies) || strings.Contains(g.logged(), "logout") {
			t.Errorf("%d, forgotten: %v", a.Code, cleared(a))
		}
	})
	t.Run("L01 from another site", func(t *testing.T) {
		a := g.send(visit{target: "/logout", header: []string{"Cookie", one, "Sec-Fetch-Site", "cross-site", "Origin", "https://evil.test"}})
		if a.Code != http.StatusForbidden || !g.knows(one) || len(cleared(a)) != 0 {
			t.Errorf("%d, forgotten: %v", a.Code, cleared(a))
		}
	})
	t.Run("not confirmed", func(t *testing.T) {
		g.sessions.revoke = session.ErrUnconfirmed
		a := g.send(visit{target: "/logout", header: []string{"Cookie", one}})
		if a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" || !slices.Equal(cleared(a), bothCookies) {
			t.Errorf("%d, forgotten: %v", a.Code, cleared(a))
		}
	})
}

// TestForwardedCookieStays: an application that goes on getting its cookie goes on having it; the session in it ends
// all the same.
func TestForwardedCookieStays(t *testing.T) {
	t.Parallel()
	g := newAppGate(t, config.StateLegacy, true)
	mine := g.row(1, strong)
	a := g.send(visit{target: "/logout", header: []string{"Cookie", mine}})
	if a.Code != http.StatusSeeOther || !slices.Equal(cleared(a), []string{"__Host-gatehouse"}) || g.knows(mine) {
		t.Errorf("%d, forgotten: %v, the session lives: %v", a.Code, cleared(a), g.knows(mine))
	}
	mine = g.row(1, other)
	a = g.send(visit{body: typed(ada, secret), header: []string{"Cookie", mine}})
	if a.Code != http.StatusSeeOther || len(cleared(a)) != 0 || g.knows(mine) {
		t.Errorf("login: %d, forgotten: %v, the session lives: %v", a.Code, cleared(a), g.knows(mine))
	}
}

// TestLoginEndsTheApplicationsSession: who logs in is somebody new (S03): neither a session that was planted nor the one
// they had before goes on beside it. A login that fails changes nothing.
func TestLoginEndsTheApplicationsSession(t *testing.T) {
	t.Parallel()
	for _, state := range []string{config.StateLegacy, config.StateCanary, config.StatePrimary} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			g := newAppGate(t, state, false)
			mine, theirs := g.row(1, strong), g.row(2, other)
			a := g.send(visit{body: typed(ada, "wrong"), header: []string{"Cookie", mine}})
			if a.Code != http.StatusUnauthorized || !g.knows(mine) || len(a.Result().Cookies()) != 0 {
				t.Errorf("a login that fails: %d, cookies %v, the session lives: %v", a.Code, a.Result().Cookies(), g.knows(mine))
			}
			for _, cookie := range []string{mine, theirs} {
				g.logged()
				a := g.send(visit{body: typed(ada, secret), header: []string{"Cookie", cookie}})
				c := g.cookie(a)
				if a.Code != http.StatusSeeOther || c == nil || !g.lives(c.Value) || !slices.Equal(cleared(a), []string{"sid"}) {
					t.Fatalf("%d, cookie %v, forgotten: %v", a.Code, c, cleared(a))
				}
				if g.knows(cookie) {
					t.Error("the application's session goes on")
				}
				if log := g.logged(); strings.Contains(log, strong) || strings.Contains(log, other) || strings.Contains(log, c.Value) {
					t.Errorf("log %s", log)
				}
			}
		})
	}
}

// TestLogoutOfMadeUpAppTokensIsLimited: while Redis is away each is kept until it is back.
func TestLogoutOfMadeUpAppTokensIsLimited(t *testing.T) {
	t.Parallel()
	g := newAppGate(t, config.StatePrimary, false, limited(6, 6))
	g.redis.Kill()
	for i := range 5 {
		a := g.send(visit{target: "/logout", header: []string{"Cookie", fmt.Sprintf("sid=made-up-%d", i)}})
		if want := map[bool]int{true: http.StatusServiceUnavailable, false: http.StatusTooManyRequests}[i < 3]; a.Code != want {
			t.Errorf("attempt %d: %d, want %d", i+1, a.Code, want)
		}
	}
}
