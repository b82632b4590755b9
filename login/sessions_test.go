package login_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/session"
)

func TestSessionsPage(t *testing.T) {
	t.Parallel()
	g, _ := newRedisGate(t)
	first := g.from(t, ada, "192.0.2.1", firefox)
	second := g.from(t, ada, "2001:db8::7", pixel)
	g.advance(2 * time.Minute)
	third := g.from(t, ada, "192.0.2.3", "curl/8.5.0")
	g.from(t, bob, "192.0.2.9", "Opera/9.80 (X11; Linux) Version/12.16")
	tokens := []string{first, second, third}
	g.advance(time.Minute)

	a := g.ask(visit{method: "GET", token: first})
	page := a.Body.String()
	got := listed(t, a)
	if a.Code != 200 || len(got) != 3 || !strings.Contains(page, "<strong>Ada</strong>") {
		t.Fatalf("%d, %d sessions\n%s", a.Code, len(got), page)
	}
	for i, want := range []shown{
		{device: "Firefox on Windows", title: firefox, id: idOf(first), current: true, facts: "Address192.0.2.1 "},
		{device: "curl", title: "curl/8.5.0", id: idOf(third), facts: "Address192.0.2.3 "},
		{device: "Chrome on Android (Pixel 7)", title: pixel, id: idOf(second), facts: "Address2001:db8::7 "},
	} {
		facts := got[i].facts
		got[i].facts = want.facts
		if got[i] != want || !strings.HasPrefix(facts, want.facts) || !strings.Contains(facts, " UTC (under an hour ago) Last seen") || !strings.Contains(facts, " UTC (in 23 hours)") {
			t.Errorf("session %d is %+v, %q; want %+v", i, got[i], facts, want)
		}
	}
	for _, token := range tokens {
		if strings.Contains(page, token) {
			t.Error("the page holds a token")
		}
	}
	if h := a.Header(); h.Get("Cache-Control") != "no-store" || !strings.HasPrefix(h.Get("Content-Security-Policy"), "default-src 'none'; style-src 'sha256-") || g.cookie(a) != nil {
		t.Errorf("header %v", h)
	}
	if a.facts.UserID != "1" || a.facts.Session != idOf(first)[:8] || a.facts.Source == "" {
		t.Errorf("facts %+v", a.facts)
	}
	if head := g.ask(visit{method: "HEAD", token: first}); head.Code != 200 || head.Body.Len() != 0 || head.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("HEAD: %d, %d bytes, %v", head.Code, head.Body.Len(), head.Header())
	}
	for _, method := range []string{"DELETE", "PUT", "OPTIONS", "get"} {
		if a := g.ask(visit{method: method, token: first}); a.Code != 405 || a.Header().Get("Allow") != "GET, HEAD, POST" || a.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d, Allow %q", method, a.Code, a.Header().Get("Allow"))
		}
	}
	if !slices.ContainsFunc(tokens, g.lives) {
		t.Error("looking at the page has ended a session")
	}
}

func TestSessionsForPrograms(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	here, there := g.from(t, bob, "192.0.2.1", firefox), g.from(t, bob, "192.0.2.2", "curl/8.5.0")
	a := g.ask(visit{method: "GET", token: here, header: []string{"Accept", "application/json"}})
	var got struct {
		Sessions []struct {
			ID, Device, UserAgent, IP          string
			Current                            bool
			CreatedAt, LastAccessed, ExpiresAt time.Time
		}
	}
	if err := json.Unmarshal(a.Body.Bytes(), &got); err != nil || a.Code != 200 || len(got.Sessions) != 2 {
		t.Fatalf("%d %s: %v", a.Code, a.Body, err)
	}
	one, other := got.Sessions[0], got.Sessions[1]
	if one.ID != idOf(here) || !one.Current || one.Device != "Firefox on Windows" || one.UserAgent != firefox || one.IP != "192.0.2.1" ||
		one.ExpiresAt.Sub(one.CreatedAt) != 24*time.Hour || one.LastAccessed.IsZero() || other.ID != idOf(there) || other.Current {
		t.Errorf("%+v", got.Sessions)
	}
	if h := a.Header(); h.Get("Content-Type") != "application/json" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("header %v", h)
	}
	asks := func(action, id string) visit {
		body, _ := json.Marshal(map[string]string{"action": action, "id": id})
		return visit{body: string(body), token: here, header: []string{"Content-Type", "application/json; charset=utf-8", "Accept", "application/json"}}
	}
	for _, tt := range []struct {
		action, id, want string
		status           int
	}{
		{"end", idOf(there), `{"ended":1}`, 200},
		{"end", idOf(there), `"error":"not_found"`, 404},
		{"end_others", "", `{"ended":0}`, 200},
		{"end_all", "", `{"next":"/"}`, 200},
		{"end_all", "", `"login":"/login?next=%2F.gatehouse%2Fsessions"`, 401},
	} {
		if a := g.ask(asks(tt.action, tt.id)); a.Code != tt.status || !strings.Contains(a.Body.String(), tt.want) || a.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %s, want %s", tt.action, a.Code, a.Body, tt.want)
		}
	}
}

func TestSessionsWithoutSession(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	one, two := g.login(t, ada), g.login(t, bob)
	const login = "/login?next=%2F.gatehouse%2Fsessions"
	for _, tt := range []struct {
		name   string
		v      visit
		status int
		clears bool
	}{
		{"nobody", visit{method: "GET"}, 303, false},
		{"HEAD", visit{method: "HEAD"}, 303, false},
		{"POST", visit{body: "action=end_all"}, 303, false},
		{"junk", visit{method: "GET", token: "junk"}, 303, false},
		{"dead token", visit{method: "GET", token: session.NewToken("1")}, 303, false},
		{"program", visit{method: "GET", header: []string{"Accept", "application/json"}}, 401, false},
		{"program, POST", visit{body: "action=end_all", header: []string{"Accept", "application/json"}}, 401, false},
		{"S01 two cookies", visit{body: "action=end_all", header: []string{"Cookie", g.cookies.Name() + "=" + one + "; " + g.cookies.Name() + "=" + two}}, 303, true},
	} {
		a := g.ask(tt.v)
		if a.Code != tt.status || (tt.status == 303) != (a.Header().Get("Location") == login) || a.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d to %q", tt.name, a.Code, a.Header().Get("Location"))
		}
		if c := g.cookie(a); (c != nil) != tt.clears || c != nil && c.MaxAge >= 0 {
			t.Errorf("%s: cookie %v", tt.name, c)
		}
	}
	if !g.lives(one) || !g.lives(two) {
		t.Error("somebody without a session has ended one")
	}
	// And the login leads back.
	a := g.send(visit{body: typed(ada, secret, "next", "/.gatehouse/sessions")})
	if a.Code != 303 || a.Header().Get("Location") != "/.gatehouse/sessions" {
		t.Errorf("after the login: %d to %q", a.Code, a.Header().Get("Location"))
	}
}

// TestSessionsMessage: the address chooses among our sentences, and a link from elsewhere chooses none.
func TestSessionsMessage(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	token := g.login(t, ada)
	for _, tt := range []struct{ query, from, want string }{
		{"?done=one", "", "That session has ended."},
		{"?done=one", "same-origin", "That session has ended."},
		{"?done=others", "same-origin", "All your other sessions have ended."},
		{"?done=others", "cross-site", ""},
		{"?done=others", "same-site", ""},
		{"?done=others", "none", ""},
		{"?done=Call+0900", "", ""},
		{"", "", ""},
	} {
		v := visit{method: "GET", target: tt.query, token: token}
		if tt.from != "" {
			v.header = []string{"Sec-Fetch-Site", tt.from}
		}
		page := g.ask(v).Body.String()
		if tt.want == "" && (strings.Contains(page, `role="status"`) || strings.Contains(page, "0900")) || !strings.Contains(page, tt.want) {
			t.Errorf("%s from %q: want %q in\n%s", tt.query, tt.from, tt.want, page)
		}
	}
}

// TestSessionsPageRenews: looking at the page is a use of the session like any other, and logging out is none.
func TestSessionsPageRenews(t *testing.T) {
	t.Parallel()
	g, _ := newRedisGate(t, func(s *setup) { s.session.Idle = 10 * time.Hour })
	token := g.login(t, ada)
	for _, tt := range []struct {
		v      visit
		status int
	}{
		{visit{method: "GET"}, 200},
		{visit{body: "action=end_others"}, 303},
		{visit{body: "action=end&id=" + idOf(session.NewToken("1"))}, 404},
	} {
		g.advance(2 * time.Hour)
		tt.v.token = token
		a := g.ask(tt.v)
		if c := g.cookie(a); a.Code != tt.status || c == nil || c.Value != token || c.MaxAge < 3600 {
			t.Errorf("%+v: %d, cookie %v", tt.v, a.Code, c)
		}
		if c := g.cookie(g.ask(visit{method: "GET", token: token})); c != nil {
			t.Errorf("renewed twice: %v", c)
		}
	}
	g.advance(2 * time.Hour)
	a := g.ask(visit{body: "action=end_all", token: token})
	if strings.Contains(strings.Join(a.Header()["Set-Cookie"], " "), token) || g.cookie(a) == nil || a.Code != http.StatusSeeOther {
		t.Errorf("after logging out: %d %q", a.Code, a.Header()["Set-Cookie"])
	}
}

// TestSessionsPageWithoutIndex: who asks has a session, whatever the index of sessions has lost.
func TestSessionsPageWithoutIndex(t *testing.T) {
	t.Parallel()
	g, redis := newRedisGate(t)
	token := g.login(t, ada)
	redis.Do(t, "DEL", "user_sessions:{"+string(session.TagOf("1"))+"}:1")
	if got := listed(t, g.ask(visit{method: "GET", token: token})); len(got) != 1 || got[0].id != idOf(token) || !got[0].current {
		t.Errorf("listed: %+v", got)
	}
}
