package login_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/session"
)

func TestEndOneSession(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	here, there, third := g.login(t, ada), g.login(t, ada), g.login(t, ada)
	g.logged()
	a := g.ask(visit{body: "action=end&id=" + idOf(there), token: here})
	if a.Code != 303 || a.Header().Get("Location") != "/.gatehouse/sessions?done=one" || a.Header().Get("Cache-Control") != "no-store" || g.cookie(a) != nil {
		t.Errorf("%d %v", a.Code, a.Header())
	}
	if g.lives(there) || !g.lives(here) || !g.lives(third) {
		t.Errorf("ended: %v, this one lives: %v, the third: %v", !g.lives(there), g.lives(here), g.lives(third))
	}
	log := g.logged()
	for _, field := range []string{`"event":"revoke"`, `"user":"1"`, `"session":"` + idOf(there)[:8], `"reason":"by_user"`, `"id":"req-1"`, `"client":"192.0.2.1"`} {
		if !strings.Contains(log, field) {
			t.Errorf("log %s has no %s", log, field)
		}
	}
	if a := g.ask(visit{method: "GET", token: here}); len(listed(t, a)) != 2 || strings.Contains(a.Body.String(), idOf(there)) {
		t.Error("the ended session is still listed")
	}
}

// TestNoOracleOfSessions: whatever an ID is, one answer and the same work, unless it is the caller's own.
func TestNoOracleOfSessions(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	here, theirs, ended := g.login(t, ada), g.login(t, bob), g.login(t, ada)
	if a := g.send(visit{target: "/logout", token: ended}); a.Code != 303 {
		t.Fatal(a.Code)
	}
	for _, accept := range []string{"text/html", "application/json"} {
		body := ""
		for name, id := range map[string]string{
			"another's": idOf(theirs), "ended": idOf(ended), "made up": idOf(session.NewToken("1")), "no ID": "x", "too long": strings.Repeat("A", 44),
			"a token": here, "zero": session.ID{}.String(), "markup": "%3Cscript%3E",
		} {
			g.sessions.took()
			a := g.ask(visit{body: "action=end&id=" + id, token: here, header: []string{"Accept", accept}})
			if a.Code != 404 || a.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%s: %d", name, a.Code)
			}
			if body == "" {
				body = a.Body.String()
			}
			if a.Body.String() != body || !strings.Contains(body, "You have no such session. It may have ended already.") {
				t.Errorf("%s: another answer:\n%s\nthan\n%s", name, a.Body, body)
			}
			if calls := strings.Join(g.sessions.took(), ", "); calls != "find, list 1" {
				t.Errorf("%s: calls %s", name, calls)
			}
		}
	}
	if !g.lives(here) || !g.lives(theirs) {
		t.Error("somebody's session was ended")
	}
}

func TestEndOtherSessions(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	here, others, theirs := g.login(t, ada), []string{g.login(t, ada), g.login(t, ada)}, g.login(t, bob)
	g.logged()
	a := g.ask(visit{body: "action=end_others", token: here})
	if a.Code != 303 || a.Header().Get("Location") != "/.gatehouse/sessions?done=others" || g.cookie(a) != nil {
		t.Errorf("%d %v", a.Code, a.Header())
	}
	if slices.ContainsFunc(others, g.lives) || !g.lives(here) || !g.lives(theirs) {
		t.Error("the wrong sessions have ended")
	}
	if got := listed(t, g.ask(visit{method: "GET", token: here})); len(got) != 1 || !got[0].current {
		t.Errorf("left: %+v", got)
	}
}

// TestEndThisSession: alone or with all others it is a logout.
func TestEndThisSession(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"end", "end_all"} {
		t.Run(action, func(t *testing.T) {
			t.Parallel()
			g := newGate(t)
			here, there, theirs := g.login(t, ada), g.login(t, ada), g.login(t, bob)
			g.logged()
			a := g.ask(visit{body: "action=" + action + "&id=" + idOf(here), token: here})
			if a.Code != 303 || a.Header().Get("Location") != "/" || a.Header().Get("Clear-Site-Data") != `"cache"` || a.Header().Get("Cache-Control") != "no-store" {
				t.Errorf("%d %v", a.Code, a.Header())
			}
			if c := g.cookie(a); c == nil || c.MaxAge >= 0 || c.Value != "" {
				t.Errorf("the cookie is not cleared: %v", c)
			}
			if g.lives(here) || g.lives(there) != (action == "end") || !g.lives(theirs) {
				t.Errorf("this one lives: %v, the other: %v, another's: %v", g.lives(here), g.lives(there), g.lives(theirs))
			}
			if log := g.logged(); !strings.Contains(log, `"event":"logout"`) || !strings.Contains(log, `"session":"`+idOf(here)[:8]) || strings.Contains(log, here) {
				t.Errorf("log %s", log)
			}
		})
	}
}

// TestSessionsCrossSite: no other site can make a browser end sessions (L01).
func TestSessionsCrossSite(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	here, there := g.login(t, ada), g.login(t, ada)
	for _, tt := range []struct {
		name   string
		header []string
		passes bool
	}{
		{"own origin", []string{"Origin", "https://app.example", "Sec-Fetch-Site", "same-origin"}, true},
		{"trusted origin", []string{"Origin", "https://partner.example", "Sec-Fetch-Site", "cross-site"}, true},
		{"a program", nil, true},
		{"another site", []string{"Origin", "https://evil.test"}, false},
		{"another site, by Sec-Fetch-Site alone", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"a sibling", []string{"Origin", "https://blog.app.example", "Sec-Fetch-Site", "same-site"}, false},
		{"null", []string{"Origin", "null"}, false},
		{"two origins", []string{"Origin", "https://app.example", "Origin", "https://evil.test"}, false},
	} {
		for _, v := range []visit{
			{body: "action=end&id=" + idOf(session.NewToken("1"))},
			{body: `{"action":"end","id":"` + idOf(session.NewToken("1")) + `"}`, header: []string{"Content-Type", "application/json"}},
		} {
			v.token, v.header = here, append(slices.Clone(tt.header), v.header...)
			if a := g.ask(v); (a.Code == 404) != tt.passes || (a.Code == 403) == tt.passes {
				t.Errorf("%s: %d", tt.name, a.Code)
			}
		}
		if tt.passes {
			continue
		}
		for _, body := range []string{"action=end_all", "action=end_others", "action=end&id=" + idOf(there), "action=end&id=" + idOf(here)} {
			if a := g.ask(visit{body: body, token: here, header: tt.header}); a.Code != 403 || !g.lives(here) || !g.lives(there) || g.cookie(a) != nil {
				t.Fatalf("%s, %s: %d", tt.name, body, a.Code)
			}
		}
	}
}

func TestSessionsMalformed(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	here, there := g.login(t, ada), g.login(t, ada)
	const asJSON = "application/json"
	for _, tt := range []struct {
		name, kind, body string
		status           int
	}{
		{"no action", "", "id=" + idOf(there), 400},
		{"unknown action", "", "action=end_everything", 400},
		{"no id", "", "action=end", 400},
		{"action twice", "", "action=end_others&action=end_all", 400},
		{"id twice", "", "action=end&id=" + idOf(there) + "&id=x", 400},
		{"broken form", "", "action=end_all&%zz", 400},
		{"too large", "", "action=end_all&x=" + strings.Repeat("x", 64<<10), 413},
		{"text", "text/plain", "action=end_all", 415},
		{"no type", "", "", 415},
		{"multipart", "multipart/form-data; boundary=x", "--x--", 415},
		{"other charset", "application/json; charset=utf-16", `{"action":"end_all"}`, 415},
		{"broken JSON", asJSON, `{"action":"end_all"`, 400},
		{"JSON, two objects", asJSON, `{"action":"end_all"}{}`, 400},
		{"JSON, key twice", asJSON, `{"action":"end_others","action":"end_all"}`, 400},
		{"JSON, list", asJSON, `["end_all"]`, 400},
		{"JSON, number", asJSON, `{"action":"end","id":7}`, 400},
		{"JSON, null", asJSON, `{"action":null}`, 400},
		{"JSON, another case", asJSON, `{"Action":"end_all"}`, 400},
	} {
		v := visit{body: tt.body, token: here}
		if tt.kind != "" {
			v.header = []string{"Content-Type", tt.kind}
		}
		a := g.ask(v)
		if a.Code != tt.status || a.Header().Get("Cache-Control") != "no-store" || g.cookie(a) != nil || strings.Contains(a.Body.String(), "everything") {
			t.Errorf("%s: %d, want %d: %s", tt.name, a.Code, tt.status, a.Body)
		}
	}
	if a := g.ask(visit{target: "?action=end_all", body: "x=y", token: here}); a.Code != 400 {
		t.Errorf("an action in the query counts: %d", a.Code)
	}
	if a := g.ask(visit{body: "action=end_all", token: here, header: []string{"Content-Type", asJSON, "Content-Type", "application/x-www-form-urlencoded"}}); a.Code != 415 {
		t.Errorf("two types: %d", a.Code)
	}
	if !g.lives(here) || !g.lives(there) {
		t.Error("a session was ended")
	}
}

func TestSessionsWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	g, redis := newRedisGate(t)
	here, there, unseen := g.login(t, ada), g.login(t, ada), g.login(t, bob)
	redis.Kill()
	g.sessions.find = nil
	for _, v := range []visit{{method: "GET"}, {method: "HEAD"}, {body: "action=end&id=" + idOf(there)}} {
		v.token = here
		a := g.ask(v)
		if a.Code != 503 || a.Header().Get("Retry-After") == "" || len(a.Result().Cookies()) != 0 || a.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%+v: %d %v", v, a.Code, a.Header())
		}
		if v.method != "HEAD" && !strings.Contains(a.Body.String(), "You are not logged out") {
			t.Errorf("%+v says\n%s", v, a.Body)
		}
	}
	// Whose sessions they are is known, which is enough to end them all.
	a := g.ask(visit{body: "action=end_others", token: here})
	if a.Code != 503 || a.Header().Get("Retry-After") == "" || len(a.Result().Cookies()) != 0 || !strings.Contains(a.Body.String(), "refused here already") {
		t.Errorf("end_others: %d %v\n%s", a.Code, a.Header(), a.Body)
	}
	if !g.lives(here) || g.lives(there) {
		t.Errorf("not refused at once: this one lives: %v, the other: %v", g.lives(here), g.lives(there))
	}
	a = g.ask(visit{body: "action=end_all", token: here})
	if c := g.cookie(a); a.Code != 503 || c == nil || c.MaxAge >= 0 || !strings.Contains(a.Body.String(), "not confirmed") || g.lives(here) {
		t.Errorf("end_all: %d, cookie %v, lives: %v", a.Code, c, g.lives(here))
	}
	if !strings.Contains(g.logged(), `"reason":"unconfirmed"`) || !g.lives(unseen) {
		t.Error("no audit line, or another person was logged out")
	}
	redis.Restart()
	g.sessions.find = session.ErrUnavailable
	if a := g.ask(visit{method: "GET", token: unseen}); a.Code != 503 || len(a.Result().Cookies()) != 0 {
		t.Errorf("a session nobody can look up: %d", a.Code)
	}
}

// TestUnconfirmedEnds: Redis goes away between the list and the end.
func TestUnconfirmedEnds(t *testing.T) {
	t.Parallel()
	for _, this := range []bool{false, true} {
		g := newGate(t)
		here, there := g.login(t, ada), g.login(t, ada)
		g.sessions.revoke = fmt.Errorf("%w: connection refused", session.ErrUnconfirmed)
		id := idOf(there)
		if this {
			id = idOf(here)
		}
		a := g.ask(visit{body: "action=end&id=" + id, token: here})
		if a.Code != 503 || a.Header().Get("Retry-After") == "" || (g.cookie(a) != nil) != this || strings.Contains(a.Body.String(), "connection refused") {
			t.Errorf("this %v: %d, cookie %v", this, a.Code, g.cookie(a))
		}
		if !strings.Contains(a.Body.String(), "not confirmed everywhere yet") || !strings.Contains(a.facts.Error, "connection refused") {
			t.Errorf("this %v: %q\n%s", this, a.facts.Error, a.Body)
		}
	}
}

// TestEndsAreLimited: while Redis is away each is kept until it is back, and must leave room for those of others.
func TestEndsAreLimited(t *testing.T) {
	t.Parallel()
	g, redis := newRedisGate(t, limited(600, 6))
	token, theirs := g.login(t, ada), g.login(t, bob)
	redis.Kill()
	g.logged()
	for i, want := range []int{503, 503, 503, 429, 429} {
		a := g.ask(visit{body: "action=end_others", token: token})
		if a.Code != want || a.Header().Get("Retry-After") == "" || g.cookie(a) != nil {
			t.Errorf("attempt %d: %d, want %d", i+1, a.Code, want)
		}
	}
	if a := g.ask(visit{body: "action=end_all", token: token}); a.Code != 429 || g.cookie(a) != nil || !g.lives(token) {
		t.Errorf("end_all over the limit: %d", a.Code)
	}
	if log := g.logged(); !strings.Contains(log, `"event":"limit"`) || !strings.Contains(log, `"user":"1"`) {
		t.Errorf("log %s", log)
	}
	g.wantCounted(t, `gatehouse_limited_total{limit="account"} 3`)
	if a := g.ask(visit{body: "action=end_others", token: theirs}); a.Code != 503 {
		t.Errorf("another person is limited too: %d", a.Code)
	}
	g.advance(11 * time.Second)
	if a := g.ask(visit{body: "action=end_others", token: token}); a.Code != 503 {
		t.Errorf("later: %d", a.Code)
	}
}
