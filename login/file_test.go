package login_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/login"
	"gatehouse/session"
)

func TestFileLoginForm(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	token := g.login(t, ada)
	for _, tt := range []struct {
		name     string
		v        visit
		has, not string
	}{
		{"plain", visit{method: "GET"}, `action="/login"`, `name="next"`},
		{"with next", visit{method: "GET", target: "/login?next=/account%3Fx=1"}, `name="next" value="/account?x=1"`, `role="alert"`},
		{"L02 evil next", visit{method: "GET", target: "/login?next=//evil.test"}, `action="/login"`, "evil"},
		{"L02 next to logout", visit{method: "GET", target: "/login?next=/logout"}, `action="/login"`, `name="next"`},
		{"L06 nothing of the query is filled in", visit{method: "GET", target: "/login?account=x@example.com&password=hunter22"}, `name="account"`, "hunter22"},
		{"logged in already", visit{method: "GET", token: token}, `name="password"`, `role="alert"`},
	} {
		a := g.send(tt.v)
		_, body, _ := strings.Cut(html.UnescapeString(a.Body.String()), "</head>")
		if a.Code != 200 || !strings.Contains(body, tt.has) || strings.Contains(body, tt.not) {
			t.Errorf("%s: %d, want %q and no %q in\n%s", tt.name, a.Code, tt.has, tt.not, body)
		}
		if g.cookie(a) != nil || a.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: header %v", tt.name, a.Header())
		}
	}
	if a := g.send(visit{method: "HEAD"}); a.Code != 200 || a.Body.Len() != 0 {
		t.Errorf("HEAD: %d with %d bytes", a.Code, a.Body.Len())
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS"} {
		if a := g.send(visit{method: method}); a.Code != 405 || a.Header().Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%s: %d, Allow %q", method, a.Code, a.Header().Get("Allow"))
		}
	}
}

func TestFileLogin(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	a := g.send(visit{body: typed(ada, secret, "next", "/account?x=1"), client: "2001:db8::7", header: []string{"User-Agent", "test/1"}})
	if a.Code != 303 || a.Header().Get("Location") != "/account?x=1" || a.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", a.Code, a.Header())
	}
	c := g.cookie(a)
	if c == nil || !c.HttpOnly || !c.Secure || c.Path != "/" || c.SameSite != http.SameSiteLaxMode || c.MaxAge < 86390 || c.MaxAge > 86400 {
		t.Fatalf("cookie %v", c)
	}
	s, err := g.sessions.Manager.Find(context.Background(), c.Value)
	if err != nil {
		t.Fatal(err)
	}
	want := session.User{ID: "1", Email: ada, Name: "Ada", Role: "admin", EmailVerified: true}
	if s.User != want || s.IP != "2001:db8::7" || s.UserAgent != "test/1" || s.Backend != "file" {
		t.Errorf("record %+v", s.Record)
	}
	if a.facts.UserID != "1" || a.facts.Session != s.ID.Short() {
		t.Errorf("facts %+v", a.facts)
	}
	log := g.logged()
	for _, field := range []string{`"event":"login"`, `"user":"1"`, `"session":"` + s.ID.Short(), `"client":"2001:db8::7"`, `"backend":"file"`, `"id":"req-1"`} {
		if !strings.Contains(log, field) {
			t.Errorf("log %s has no %s", log, field)
		}
	}
	if strings.Contains(log, c.Value) || strings.Contains(log, secret) {
		t.Errorf("S04: token or password in the log: %s", log)
	}
	g.wantCounted(t, `gatehouse_logins_total{backend="file",outcome="success"} 1`)

	// The account as people spell it, and the field as programs call it.
	for _, body := range []string{typed(" ADA@example.com ", secret), "email=ada%40example.com&password=" + secret} {
		if a := g.send(visit{body: body}); a.Code != 303 || a.Header().Get("Location") != "/" {
			t.Errorf("%s: %d to %q", body, a.Code, a.Header().Get("Location"))
		}
	}
}

func TestFileLoginOfPrograms(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	accept := []string{"Accept", "application/json"}
	for account, want := range map[string]string{ada: `{"userId":1,"next":"/x"}`, bob: `{"userId":"u-2","next":"/x"}`} {
		a := g.send(visit{body: typed(account, secret, "next", "/x"), header: accept})
		if a.Code != 200 || strings.TrimSpace(a.Body.String()) != want || g.cookie(a) == nil || a.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s %v", account, a.Code, a.Body, a.Header())
		}
	}
	a := g.send(visit{body: typed(ada, "wrong"), header: accept})
	var problem struct{ Error, Message string }
	if err := json.Unmarshal(a.Body.Bytes(), &problem); err != nil || a.Code != 401 || problem.Error != "bad_credentials" || problem.Message == "" {
		t.Errorf("failed login: %d %s %v", a.Code, a.Body, err)
	}
}

func TestFileLoginSafeNext(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	t.Run("L02_next", func(t *testing.T) {
		for _, next := range []string{"//evil.test", `/\evil.test`, "/\t/evil.test", "https:evil.test", "data:,x", "https://app.example@evil.test/", "/%2fevil.test", "/login", "/logout"} {
			if a := g.send(visit{body: typed(ada, secret, "next", next)}); a.Code != 303 || a.Header().Get("Location") != "/" {
				t.Errorf("%q: %d to %q", next, a.Code, a.Header().Get("Location"))
			}
		}
	})
}

func TestFileLoginCrossSite(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for _, path := range []string{"/login", "/logout"} {
		t.Run("L01_cross_site"+strings.ReplaceAll(path, "/", "_"), func(t *testing.T) {
			for _, tt := range []struct {
				name   string
				header []string
				passes bool
			}{
				{"neither header: a program", nil, true},
				{"same origin", []string{"Origin", "https://app.example", "Sec-Fetch-Site", "same-origin"}, true},
				{"old browser", []string{"Origin", "https://app.example"}, true},
				{"typed address", []string{"Sec-Fetch-Site", "none"}, true},
				{"trusted origin", []string{"Origin", "https://partner.example", "Sec-Fetch-Site", "cross-site"}, true},
				{"cross-site", []string{"Origin", "https://evil.test", "Sec-Fetch-Site", "cross-site"}, false},
				{"cross-site without Origin", []string{"Sec-Fetch-Site", "cross-site"}, false},
				{"sibling domain", []string{"Origin", "https://evil.app.example", "Sec-Fetch-Site", "same-site"}, false},
				{"old browser, other origin", []string{"Origin", "https://evil.test"}, false},
				{"other port", []string{"Origin", "https://app.example:8443"}, false},
				{"Origin null", []string{"Origin", "null"}, false},
				{"Origin null that says same-origin", []string{"Origin", "null", "Sec-Fetch-Site", "same-origin"}, false},
				{"two Origins", []string{"Origin", "https://app.example", "Origin", "https://evil.test"}, false},
				{"two equal Origins", []string{"Origin", "https://app.example", "Origin", "https://app.example"}, false},
				{"two Sec-Fetch-Sites", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, false},
				{"unknown Sec-Fetch-Site", []string{"Sec-Fetch-Site", "other"}, false},
			} {
				token := g.login(t, ada)
				v := visit{target: path, header: tt.header, token: token, body: typed(bob, secret)}
				a := g.send(v)
				if tt.passes != (a.Code == 303) || !tt.passes && (a.Code != 403 || len(a.Header()["Set-Cookie"]) > 0) {
					t.Errorf("%s: %d %v", tt.name, a.Code, a.Header()["Set-Cookie"])
				}
				if alive := g.lives(token); alive == tt.passes {
					t.Errorf("%s: the session before lives: %v", tt.name, alive)
				}
			}
		})
	}
	g.wantCounted(t, `gatehouse_logins_total{backend="file",outcome="cross_site"} 11`)
}

func TestFileLoginBodies(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	form := []string{"Content-Type", "application/x-www-form-urlencoded"}
	t.Run("L06_forms", func(t *testing.T) {
		for _, tt := range []struct {
			name   string
			v      visit
			status int
		}{
			{"fields in the query", visit{target: "/login?account=ada%40example.com&password=" + secret, header: form, body: "x=1"}, 401},
			{"password in the query", visit{target: "/login?password=" + secret, body: "account=ada%40example.com"}, 401},
			{"next in the query", visit{target: "/login?next=/x", body: typed(ada, secret)}, 303},
			{"account twice", visit{body: typed(ada, secret, "account", bob)}, 400},
			{"account and email", visit{body: typed(ada, secret, "email", ada)}, 400},
			{"email twice", visit{body: "email=a&email=b&password=" + secret}, 400},
			{"password twice", visit{body: typed(ada, secret, "password", secret)}, 400},
			{"next twice", visit{body: typed(ada, secret, "next", "/a", "next", "/b")}, 400},
			{"other fields twice", visit{body: typed(ada, secret, "x", "1", "x", "2")}, 303},
			{"broken escape", visit{body: "account=%zz"}, 400},
			{"semicolon", visit{body: "account=a;password=b"}, 400},
			{"exactly 64 KB", visit{body: pad(typed(ada, secret), 64<<10)}, 303},
			{"a byte more", visit{body: pad(typed(ada, secret), 64<<10+1)}, 413},
			{"JSON", visit{body: `{"account":"a"}`, header: []string{"Content-Type", "application/json"}}, 415},
			{"multipart", visit{body: "--b--", header: []string{"Content-Type", "multipart/form-data; boundary=b"}}, 415},
			{"two types", visit{body: typed(ada, secret), header: slices.Concat(form, []string{"Content-Type", "text/plain"})}, 415},
			{"charset", visit{body: typed(ada, secret), header: []string{"Content-Type", "application/x-www-form-urlencoded; charset=UTF-8"}}, 303},
			{"empty", visit{header: form}, 401},
			{"NUL in the account", visit{body: typed(ada+"\x00", secret)}, 401},
		} {
			a := g.send(tt.v)
			if a.Code != tt.status || (g.cookie(a) != nil) != (tt.status == 303) || a.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d %v, want %d", tt.name, a.Code, a.Header(), tt.status)
			}
			if location := a.Header().Get("Location"); tt.status == 303 && location != "/" {
				t.Errorf("%s: to %s", tt.name, location)
			}
		}
	})
}

func pad(body string, size int) string { return body + "&x=" + strings.Repeat("y", size-len(body)-3) }

func TestFileLoginSaysOneThing(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	t.Run("L04_one_body_one_status", func(t *testing.T) {
		want := ""
		for _, tt := range []struct{ name, account, password, logs string }{
			{"wrong password", ada, "wrong", `"account":"ada@example.com"`},
			{"unknown account", "nobody@example.com", secret, ""},
			{"disabled account", disabled, secret, `"account":"gone@example.com"`},
			{"disabled account, wrong password", disabled, "wrong", `"account":"gone@example.com"`},
			{"no account", "", secret, ""},
			{"no password", ada, "", `"account":"ada@example.com"`},
			{"password as account", secret, "", ""},
			{"long account", strings.Repeat("a", 10_000), "x", ""},
			{"long password", ada, strings.Repeat("a", 10_000), `"account":"ada@example.com"`},
			{"no UTF-8", "\xff\xfe", "\xff", ""},
		} {
			g.logged()
			a := g.send(visit{body: typed(tt.account, tt.password)})
			header := a.Header().Clone()
			header.Del("Content-Length")
			got := fmt.Sprint(a.Code, header, a.Body)
			if want == "" {
				want = got
			}
			if got != want || a.Code != 401 || len(a.Header()["Set-Cookie"]) > 0 {
				t.Errorf("%s: differs:\n%s\nfrom\n%s", tt.name, got, want)
			}
			log := g.logged()
			if !strings.Contains(log, `"event":"login_failed"`) || !strings.Contains(log, `"reason":"bad_credentials"`) || !strings.Contains(log, tt.logs) {
				t.Errorf("%s: log %s", tt.name, log)
			}
			if tt.logs == "" && (strings.Contains(log, `"account"`) || strings.Contains(log, secret)) {
				t.Errorf("%s: what was typed is in the log: %s", tt.name, log)
			}
		}
		if !strings.Contains(want, `role="alert"`) || !strings.Contains(want, `name="password"`) {
			t.Errorf("the answer has no message or no form:\n%s", want)
		}
	})
	t.Run("L04_superseded_too", func(t *testing.T) {
		wrong := g.send(visit{body: typed(ada, "wrong")})
		g.sessions.create = session.ErrSuperseded
		superseded := g.send(visit{body: typed(ada, secret)})
		if wrong.Body.String() != superseded.Body.String() || superseded.Code != 401 {
			t.Errorf("%d %s", superseded.Code, superseded.Body)
		}
		g.wantCounted(t, `gatehouse_logins_total{backend="file",outcome="superseded"} 1`)
	})
}

func TestFileLoginOrder(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	g.login(t, ada)
	if got := strings.Join(g.sessions.took(), " "); got != "begin create" {
		t.Errorf("S06: calls %q: the epoch must be taken first", got)
	}
	g.send(visit{body: typed(ada, "wrong")})
	if got := strings.Join(g.sessions.took(), " "); got != "begin" {
		t.Errorf("a failed login calls %q", got)
	}
	g.sessions.begin = session.ErrUnavailable
	if a := g.send(visit{body: typed(ada, "wrong")}); a.Code != 503 {
		t.Errorf("S06: %d: the password was looked at before there was an epoch", a.Code)
	}
	g.sessions.took()
	for _, v := range []visit{{body: "account=%zz"}, {body: typed(ada, secret), header: []string{"Origin", "null"}}, {method: "GET"}} {
		g.send(v)
	}
	if got := g.sessions.took(); len(got) > 0 {
		t.Errorf("requests that are no login call %q", got)
	}
}

func TestFileLoginReplacesTheSession(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	t.Run("S03_new_token", func(t *testing.T) {
		first := g.login(t, ada)
		again := g.cookie(g.send(visit{body: typed(ada, secret), token: first}))
		if again == nil || again.Value == first || g.lives(first) || !g.lives(again.Value) {
			t.Errorf("the preset token lives on or was adopted")
		}
		other := g.cookie(g.send(visit{body: typed(bob, secret), token: again.Value}))
		if other == nil || g.lives(again.Value) || !g.lives(other.Value) {
			t.Errorf("the other user's session lives on")
		}
	})
	t.Run("S03_failed_login_ends_nothing", func(t *testing.T) {
		token := g.login(t, ada)
		a := g.send(visit{body: typed(ada, "wrong"), token: token})
		if !g.lives(token) || len(a.Header()["Set-Cookie"]) > 0 {
			t.Errorf("a failed login ended the session or touched the cookie: %v", a.Header())
		}
	})
	t.Run("S01_two_cookies", func(t *testing.T) {
		mine, tossed := g.login(t, ada), g.login(t, bob)
		two := []string{"Cookie", g.cookies.Name() + "=" + tossed + "; " + g.cookies.Name() + "=" + mine}
		for _, v := range []visit{{method: "GET", header: two}, {body: typed(ada, "wrong"), header: two}} {
			if c := g.cookie(g.send(v)); c == nil || c.MaxAge >= 0 {
				t.Errorf("%s: the cookie is not cleared: %v", v.method, c)
			}
		}
		a := g.send(visit{body: typed(ada, secret), header: two})
		cookies := a.Result().Cookies()
		if a.Code != 303 || cookies[len(cookies)-1].MaxAge <= 0 || !g.lives(cookies[len(cookies)-1].Value) {
			t.Errorf("login: %d %v", a.Code, cookies)
		}
		if !g.lives(mine) || !g.lives(tossed) {
			t.Error("a session of two was taken for the person's and ended")
		}
	})
}

func TestFileLoginFailures(t *testing.T) {
	t.Parallel()
	away := errors.Join(session.ErrUnavailable, errors.New("connection refused"))
	for _, tt := range []struct {
		name          string
		begin, create error
		status        int
		retry         string
		outcome, code string
	}{
		{"S10 Redis away before", away, nil, 503, "5", "unavailable", "unavailable"},
		{"S10 Redis away after", nil, away, 503, "5", "unavailable", "unavailable"},
		{"too many sessions", nil, session.ErrLimit, 409, "", "too_many_sessions", "too_many_sessions"},
		{"anything else", nil, session.ErrTooLarge, 500, "", "app_failed", "app_failed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			g.sessions.begin, g.sessions.create = tt.begin, tt.create
			for _, accept := range []string{"text/html", "application/json"} {
				a := g.send(visit{body: typed(ada, secret), token: session.NewToken("1"), header: []string{"Accept", accept}})
				if a.Code != tt.status || a.Header().Get("Retry-After") != tt.retry || len(a.Header()["Set-Cookie"]) > 0 || a.Header().Get("Cache-Control") != "no-store" {
					t.Errorf("%s: %d %v", accept, a.Code, a.Header())
				}
				if accept == "application/json" && !strings.Contains(a.Body.String(), `"error":"`+tt.code+`"`) {
					t.Errorf("code: %s", a.Body)
				}
				if strings.Contains(a.Body.String(), "connection refused") {
					t.Error("the cause is shown to people")
				}
			}
			g.wantCounted(t, fmt.Sprintf(`gatehouse_logins_total{backend="file",outcome="%s"} 2`, tt.outcome))
			if log := g.logged(); !strings.Contains(log, `"event":"login_failed"`) {
				t.Errorf("log %s", log)
			}
		})
	}
}

func TestFileLoginAtLimitOfSessions(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(s *setup) { s.session.MaxPerUser, s.session.AtLimit = 1, config.Reject })
	token := g.login(t, ada)
	if a := g.send(visit{body: typed(ada, secret)}); a.Code != 409 || g.cookie(a) != nil {
		t.Errorf("%d", a.Code)
	}
	// The browser's own session makes room for the new one.
	if a := g.send(visit{body: typed(ada, secret), token: token}); a.Code != 303 {
		t.Errorf("with the own session: %d", a.Code)
	}
}

func TestUserFileChanges(t *testing.T) {
	t.Parallel()
	g := newGate(t, func(s *setup) { s.users = "users: []\n" })
	if a := g.send(visit{body: typed(ada, secret)}); a.Code != 401 {
		t.Fatalf("%d without users", a.Code)
	}
	if err := os.WriteFile(g.file, []byte(userFile(quick)), 0o600); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); g.send(visit{body: typed(ada, secret)}).Code != 303; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a user who was added cannot log in")
		}
	}
}

func TestNewHandlerRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, tt := range []struct {
		name string
		cfg  config.Login
		deps login.Deps
		says string
	}{
		{"unknown backend", config.Login{Backend: "ldap"}, login.Deps{}, "write file, app or database"},
		{"no database", config.Login{Backend: "database"}, login.Deps{}, "database.url"},
		{"user file is a folder", config.Login{Backend: "file", File: config.LoginFile{Path: dir}}, login.Deps{}, "no regular file"},
		{"bad origin", config.Login{Backend: "file"}, login.Deps{TrustedOrigins: []string{"https://a.example", "b.example"}}, "trusted_origins[1]"},
		{"origin with path", config.Login{Backend: "file"}, login.Deps{TrustedOrigins: []string{"https://a.example/"}}, "trusted_origins[0]"},
	} {
		if _, err := login.NewHandler(tt.cfg, tt.deps); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
