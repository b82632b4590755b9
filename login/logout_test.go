package login_test

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/session"
)

func TestLogoutPage(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	t.Run("L01_GET_shows_a_button", func(t *testing.T) {
		token, nameless := g.login(t, ada), g.login(t, bob)
		for _, tt := range []struct {
			name     string
			v        visit
			has, not string
		}{
			{"logged in", visit{token: token}, "<strong>Ada</strong>", "no session"},
			{"no name", visit{token: nameless}, "<strong>Bob@Example.com</strong>", "no session"},
			{"next", visit{token: token, target: "/logout?next=/docs"}, `name="next" value="/docs"`, "no session"},
			{"evil next", visit{token: token, target: "/logout?next=//evil.test"}, `action="/logout"`, "evil"},
			{"anonymous", visit{}, "You are logged out", `method="post"`},
			{"dead token", visit{token: session.NewToken("1")}, "You are logged out", `method="post"`},
			{"junk", visit{token: "junk"}, "You are logged out", `method="post"`},
		} {
			tt.v.method = http.MethodGet
			if tt.v.target == "" {
				tt.v.target = "/logout"
			}
			a := g.send(tt.v)
			_, body, _ := strings.Cut(html.UnescapeString(a.Body.String()), "</head>")
			if a.Code != 200 || !strings.Contains(body, tt.has) || strings.Contains(body, tt.not) {
				t.Errorf("%s: %d, want %q and no %q in\n%s", tt.name, a.Code, tt.has, tt.not, body)
			}
			if g.cookie(a) != nil || a.Header().Get("Clear-Site-Data") != "" || a.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: header %v", tt.name, a.Header())
			}
		}
		if !g.lives(token) {
			t.Error("a GET logged out")
		}
		if a := g.send(visit{method: "DELETE", target: "/logout", token: token}); a.Code != 405 || a.Header().Get("Allow") == "" || !g.lives(token) {
			t.Errorf("DELETE: %d", a.Code)
		}
	})
	t.Run("button while Redis is away", func(t *testing.T) {
		token := g.login(t, ada)
		g.sessions.find = session.ErrUnavailable
		defer func() { g.sessions.find = nil }()
		a := g.send(visit{method: "GET", target: "/logout", token: token})
		if a.Code != 200 || !strings.Contains(a.Body.String(), `method="post"`) || g.cookie(a) != nil {
			t.Errorf("%d, no button or the cookie is touched", a.Code)
		}
	})
}

func TestLogout(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	token, other := g.login(t, ada), g.login(t, ada)
	g.logged()
	key, _ := session.ParseToken(token)
	a := g.send(visit{target: "/logout", token: token})
	if a.Code != 303 || a.Header().Get("Location") != "/" || a.Header().Get("Cache-Control") != "no-store" || a.Header().Get("Clear-Site-Data") != `"cache"` {
		t.Errorf("%d %v", a.Code, a.Header())
	}
	if c := g.cookie(a); c == nil || c.MaxAge >= 0 || c.Value != "" || !c.Secure || c.Path != "/" {
		t.Errorf("the cookie is not cleared: %v", c)
	}
	if set := a.Header()["Set-Cookie"]; len(set) != 2 || !strings.HasPrefix(set[0], g.cookies.Name()+"=; ") || !strings.Contains(set[0], "Max-Age=1;") {
		t.Errorf("S13: the cookie is not set before it is deleted: %q", set)
	}
	if g.lives(token) || !g.lives(other) {
		t.Error("the session lives on, or the other one does not")
	}
	log := g.logged()
	for _, field := range []string{`"event":"logout"`, `"user":"1"`, `"session":"` + key.ID.Short(), `"id":"req-1"`, `"client":"192.0.2.1"`} {
		if !strings.Contains(log, field) {
			t.Errorf("log %s has no %s", log, field)
		}
	}
	if strings.Contains(log, token) || strings.Contains(log, "reason") {
		t.Errorf("log %s", log)
	}
	if a.facts.UserID != "1" || a.facts.Session != key.ID.Short() {
		t.Errorf("facts %+v", a.facts)
	}
}

func TestLogoutGoesOn(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	for _, tt := range []struct {
		name, target, body string
		header             []string
		status             int
		location           string
	}{
		{"next", "/logout", "next=/docs%3Fa=1", nil, 303, "/docs?a=1"},
		{"the login page is no circle here", "/logout", "next=/login", nil, 303, "/login"},
		{"L02 evil", "/logout", "next=//evil.test", nil, 303, "/"},
		{"L02 circle", "/logout", "next=/logout", nil, 303, "/"},
		{"L06 next in the query", "/logout?next=/docs", "", nil, 303, "/"},
		{"another type", "/logout", `{"next":"/docs"}`, []string{"Content-Type", "application/json"}, 303, "/"},
		{"program", "/logout", "next=/docs", []string{"Accept", "application/json"}, 200, ""},
		{"L06 next twice", "/logout", "next=/a&next=/b", nil, 400, ""},
		{"L06 too large", "/logout", strings.Repeat("x", 64<<10+1), nil, 413, ""},
	} {
		token := g.login(t, ada)
		a := g.send(visit{target: tt.target, body: tt.body, token: token, header: tt.header})
		if a.Code != tt.status || a.Header().Get("Location") != tt.location || a.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d to %q", tt.name, a.Code, a.Header().Get("Location"))
		}
		if ended := tt.status < 400; g.lives(token) == ended || (g.cookie(a) != nil) != ended {
			t.Errorf("%s: the session lives: %v", tt.name, g.lives(token))
		}
		if tt.name == "program" && strings.TrimSpace(a.Body.String()) != `{"next":"/docs"}` {
			t.Errorf("program: %s", a.Body)
		}
	}
}

func TestLogoutWithoutSession(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	one, two := g.login(t, ada), g.login(t, bob)
	g.sessions.took()
	g.logged()
	for _, tt := range []struct {
		name  string
		v     visit
		calls string
	}{
		{"no cookie", visit{}, ""},
		{"S05 junk", visit{token: "junk"}, ""},
		{"dead token", visit{token: session.NewToken("1")}, "find"},
		{"S01 two cookies", visit{header: []string{"Cookie", g.cookies.Name() + "=" + one + "; " + g.cookies.Name() + "=" + two}}, ""},
	} {
		tt.v.target = "/logout"
		a := g.send(tt.v)
		if c := g.cookie(a); a.Code != 303 || c == nil || c.MaxAge >= 0 {
			t.Errorf("%s: %d %v", tt.name, a.Code, c)
		}
		if got := strings.Join(g.sessions.took(), " "); got != tt.calls {
			t.Errorf("%s: calls %q, want %q", tt.name, got, tt.calls)
		}
		if log := g.logged(); strings.Contains(log, "logout") {
			t.Errorf("%s: log %s", tt.name, log)
		}
	}
	if !g.lives(one) || !g.lives(two) {
		t.Error("S01: a session of two was ended")
	}
}

func TestLogoutWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	unconfirmed := fmt.Errorf("%w: %w", session.ErrUnconfirmed, errors.New("connection refused"))
	for _, tt := range []struct {
		name string
		find error
		call string
	}{
		{"known session", nil, "find revoke 1"},
		// Not known here: whose it is cannot be said, which it is can.
		{"unknown session", session.ErrUnavailable, "find revoke "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			token := g.login(t, ada)
			g.sessions.took()
			g.logged()
			g.sessions.find, g.sessions.revoke = tt.find, unconfirmed
			a := g.send(visit{target: "/logout", body: "next=/docs", token: token})
			if a.Code != 503 || a.Header().Get("Retry-After") == "" || a.Header().Get("Location") != "" || a.Header().Get("Clear-Site-Data") != `"cache"` {
				t.Errorf("%d %v", a.Code, a.Header())
			}
			if c := g.cookie(a); c == nil || c.MaxAge >= 0 {
				t.Errorf("the cookie is not cleared: %v", c)
			}
			if !strings.Contains(a.Body.String(), "not confirmed") || strings.Contains(a.Body.String(), "refused") {
				t.Errorf("the page says\n%s", a.Body)
			}
			if got := strings.Join(g.sessions.took(), " "); got != tt.call {
				t.Errorf("calls %q, want %q", got, tt.call)
			}
			if log := g.logged(); !strings.Contains(log, `"event":"logout"`) || !strings.Contains(log, `"reason":"unconfirmed"`) {
				t.Errorf("log %s", log)
			}
		})
	}
}

// Made-up tokens must not fill the list of revocations that wait for Redis.
func TestLogoutOfMadeUpTokensIsLimited(t *testing.T) {
	t.Parallel()
	g := newGate(t, limited(6, 6))
	g.sessions.find, g.sessions.revoke = session.ErrUnavailable, session.ErrUnconfirmed
	for i := range 5 {
		a := g.send(visit{target: "/logout", token: session.NewToken("1")})
		if want := map[bool]int{true: 503, false: 429}[i < 3]; a.Code != want || (g.cookie(a) != nil) != (i < 3) {
			t.Errorf("attempt %d: %d, want %d", i+1, a.Code, want)
		}
	}
	calls := 0
	for _, call := range g.sessions.took() {
		if strings.HasPrefix(call, "revoke") {
			calls++
		}
	}
	if calls != 3 {
		t.Errorf("%d revocations, want 3", calls)
	}
	g.advance(11 * time.Second)
	if a := g.send(visit{target: "/logout", token: session.NewToken("1")}); a.Code != 503 {
		t.Errorf("later: %d", a.Code)
	}
}
