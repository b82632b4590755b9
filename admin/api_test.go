package admin_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/session"
)

// sessions reads a list.
func (a answer) sessions(t testing.TB) (views []session.View) {
	t.Helper()
	var list struct{ Sessions []session.View }
	if err := json.Unmarshal(a.body, &list); err != nil || a.StatusCode != 200 {
		t.Fatalf("%d %s: %v", a.StatusCode, a.body, err)
	}
	return list.Sessions
}

// is fails unless the answer is 200 with just this body.
func (a answer) is(t testing.TB, body string) {
	t.Helper()
	if got := strings.TrimSpace(string(a.body)); a.StatusCode != 200 || got != body || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%s %s: %d %s %s, want %s", a.Request.Method, a.Request.URL, a.StatusCode, a.Header.Get("Content-Type"), got, body)
	}
}

func TestSessionsOfAUser(t *testing.T) {
	t.Parallel()
	l := withRedis(t)
	var tokens, ids []string
	for range 4 {
		token, rec := l.login("42")
		tokens, ids = append(tokens, token), append(ids, rec.ID.String())
	}
	other, foreign := l.login("43")

	list := l.ask("GET", "/api/v1/users/42/sessions", "")
	views := list.sessions(t)
	if len(views) != 4 || views[0].ID != ids[0] || views[3].ID != ids[3] {
		t.Fatalf("listed %s, want %v, the oldest first", list.body, ids)
	}
	if v := views[0]; v.UserID != "42" || v.Role != "admin" || v.IP != "192.0.2.7" || v.UserAgent != "browser" || v.Backend != "file" || v.Store != "redis" {
		t.Errorf("%+v", v)
	}
	for _, secret := range append(tokens, "sealed", "raw") {
		if strings.Contains(string(list.body), secret) {
			t.Errorf("the list holds %q", secret)
		}
	}
	l.ask("GET", "/api/v1/users/nobody/sessions", "").is(t, `{"sessions":[]}`)

	// One session, by its ID and by the beginning of it, as logs have it.
	for _, path := range []string{"/api/v1/sessions/" + ids[1], "/api/v1/users/42/sessions/" + ids[1], "/api/v1/users/42/sessions/" + ids[1][:8], "/api/v1/sessions/" + ids[1][:12]} {
		var v session.View
		if got := l.ask("GET", path, ""); got.StatusCode != 200 || json.Unmarshal(got.body, &v) != nil || v.ID != ids[1] {
			t.Errorf("%s: %d %s", path, got.StatusCode, got.body)
		}
	}
	l.ask("GET", "/api/v1/users/42/sessions/"+foreign.ID.String(), "").says(t, 404, "not_found")
	l.ask("DELETE", "/api/v1/users/42/sessions/"+foreign.ID.String(), "").says(t, 404, "not_found")
	l.ask("DELETE", "/api/v1/users/42/sessions?except="+foreign.ID.String()[:42], "").says(t, 404, "not_found")

	l.ask("DELETE", "/api/v1/users/42/sessions/"+ids[0], "").is(t, `{"ended":1}`)
	l.ask("DELETE", "/api/v1/users/42/sessions/"+ids[0], "").says(t, 404, "not_found")
	l.ask("DELETE", "/api/v1/users/42/sessions?except="+ids[0][:42]+"&except="+ids[2], "").says(t, 404, "not_found")
	// One to spare has ended meanwhile, one is another user's: the others end, and those to spare stay.
	l.ask("DELETE", "/api/v1/users/42/sessions?except="+ids[0]+"&except="+foreign.ID.String()+"&except="+ids[2]+"&except="+ids[3][:10], "").is(t, `{"ended":1}`)
	if l.alive(tokens[0]) || l.alive(tokens[1]) || !l.alive(tokens[2]) || !l.alive(tokens[3]) || !l.alive(other) {
		t.Error("the wrong sessions have ended")
	}
	l.ask("DELETE", "/api/v1/sessions/"+ids[2], "").is(t, `{"ended":1}`)
	l.ask("DELETE", "/api/v1/users/42/sessions", "").is(t, `{"ended":1}`)
	l.ask("DELETE", "/api/v1/users/42/sessions", "").is(t, `{"ended":0}`)
	if l.alive(tokens[2]) || l.alive(tokens[3]) || !l.alive(other) {
		t.Error("the wrong sessions have ended")
	}
}

func TestChange(t *testing.T) {
	t.Parallel()
	l := withRedis(t)
	first, _ := l.login("42")
	second, _ := l.login("42")
	l.ask("PATCH", "/api/v1/users/42/sessions", `{"role":"member","emailVerified":true}`).is(t, `{"changed":2}`)
	l.ask("PATCH", "/api/v1/users/42/sessions", `{"role":"member"}`).is(t, `{"changed":0}`)
	l.ask("PATCH", "/api/v1/users/42/sessions", `{"name":"Ünal \"<U>\" 😀"}`, "Content-Type", "application/json; charset=UTF-8").is(t, `{"changed":2}`)
	l.ask("PATCH", "/api/v1/users/41/sessions", `{"role":""}`).is(t, `{"changed":0}`)
	for _, token := range []string{first, second} {
		if s, err := l.manager.Find(t.Context(), token); err != nil || s.Role != "member" || !s.EmailVerified || s.Name != `Ünal "<U>" 😀` || s.Email != "u@example.com" {
			t.Errorf("%+v, %v", s.Record, err)
		}
	}
	for _, v := range l.ask("GET", "/api/v1/users/42/sessions", "").sessions(t) {
		if v.Role != "member" || v.Name != `Ünal "<U>" 😀` {
			t.Errorf("%+v", v)
		}
	}
	l.ask("PATCH", "/api/v1/users/42/sessions", `{"role":"a\r\nb"}`).says(t, 400, "invalid_change")
}

// Whatever a user's ID is made of, it comes back as the same.
func TestUserIDs(t *testing.T) {
	t.Parallel()
	l := withRedis(t)
	for _, user := range []string{
		"42", "a b", "a/b", "/", "//", ".", "..", "../../etc", "a%2Fb", "%", "%2F", "+", "a+b", "a&b=c", "?x=1", "#", ";", "é", "日本", "😀",
		"a\x00b", "a\nb", `"`, `\`, "{userID}", "sessions", strings.Repeat("x", 500), "u@example.com", "a:b", "e\u0301",
	} {
		token, rec := l.login(user)
		path := "/api/v1/users/" + url.PathEscape(user) + "/sessions"
		if user == "." || user == ".." {
			path = "/api/v1/users/" + strings.ReplaceAll(user, ".", "%2E") + "/sessions"
		}
		list := l.ask("GET", path, "").sessions(t)
		if len(list) != 1 || list[0].UserID != user || list[0].ID != rec.ID.String() {
			t.Errorf("user %q: %+v", user, list)
		}
		l.ask("PATCH", path, `{"role":"x"}`).is(t, `{"changed":1}`)
		if got := l.ask("GET", path+"/"+rec.ID.String(), ""); got.StatusCode != 200 {
			t.Errorf("user %q: %d %s", user, got.StatusCode, got.body)
		}
		l.ask("DELETE", path, "").is(t, `{"ended":1}`)
		if l.alive(token) {
			t.Errorf("user %q: the session is alive", user)
		}
	}
}

func TestStatsAndAudit(t *testing.T) {
	t.Parallel()
	l := withRedis(t)
	_, rec := l.login("42")
	l.login("42")
	l.login("43")
	var stats session.Stats
	if got := l.ask("GET", "/api/v1/stats", ""); json.Unmarshal(got.body, &stats) != nil || stats.Sessions != 3 || stats.Users != 2 || !stats.Oldest.CreatedAt.Equal(rec.CreatedAt.Truncate(time.Millisecond)) { // the next may be as old
		t.Errorf("%s", got.body)
	}
	index := "user_sessions:{" + string(session.TagOf("42")) + "}:42"
	l.redis.Do(t, "ZREM", index, rec.ID.String())
	audit := func(method, path string) (report session.AuditReport) {
		t.Helper()
		got := l.ask(method, path, "")
		if err := json.Unmarshal(got.body, &report); err != nil || got.StatusCode != 200 {
			t.Fatalf("%d %s", got.StatusCode, got.body)
		}
		return report
	}
	for range 2 { // to look changes nothing
		if report := audit("GET", "/api/v1/audit"); report.Problems != 1 || report.Repaired != 0 || report.Findings[0].Session != rec.ID.String() {
			t.Errorf("%+v", report)
		}
	}
	if report := audit("POST", "/api/v1/audit/repair"); report.Problems != 1 || report.Repaired != 1 {
		t.Errorf("%+v", report)
	}
	if report := audit("GET", "/api/v1/audit"); report.Problems != 0 {
		t.Errorf("after the repair: %+v", report)
	}
	for _, c := range []struct{ method, path string }{{"POST", "/api/v1/audit"}, {"GET", "/api/v1/audit/repair"}, {"GET", "/api/v1/audit?repair=true"}} {
		if got := l.ask(c.method, c.path, ""); got.StatusCode == 200 {
			t.Errorf("%s %s: %s", c.method, c.path, got.body)
		}
	}
}

func TestExport(t *testing.T) {
	t.Parallel()
	l := withRedis(t)
	got := l.ask("GET", "/api/v1/export", "")
	if got.StatusCode != 200 || len(got.body) != 0 {
		t.Errorf("without sessions: %d %q", got.StatusCode, got.body)
	}
	want := map[string]bool{}
	var tokens []string
	for i := range 30 {
		token, rec := l.login(fmt.Sprint("user", i))
		tokens = append(tokens, token)
		want[rec.ID.String()] = true
	}
	_, damaged := l.login("damaged")
	l.redis.Do(t, "SET", "session:{"+string(damaged.Key().Tag)+"}:"+damaged.ID.String(), "{", "KEEPTTL")
	got = l.ask("GET", "/api/v1/export", "")
	if ct := got.Header.Get("Content-Type"); ct != "application/x-ndjson" {
		t.Errorf("Content-Type %s", ct)
	}
	schema, corrupt := described().Components.Schemas["Session"].Value, 0
	for lines := bufio.NewScanner(bytes.NewReader(got.body)); lines.Scan(); {
		var line map[string]any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("%s: %v", lines.Bytes(), err)
		}
		if line["error"] != nil {
			corrupt++
			continue
		}
		if err := schema.VisitJSON(line); err != nil {
			t.Errorf("%s: %v", lines.Bytes(), err)
		}
		delete(want, line["id"].(string))
	}
	if len(want) != 0 || corrupt != 1 {
		t.Errorf("%d sessions are missing, %d lines of damage", len(want), corrupt)
	}
	if slices.ContainsFunc(append(tokens, "sealed"), func(s string) bool { return bytes.Contains(got.body, []byte(s)) }) {
		t.Error("the export holds a secret")
	}
}

// Redis is away: what was asked for is not confirmed, and said to be tried again; nothing else is promised.
func TestWithoutRedis(t *testing.T) {
	t.Parallel()
	l := withRedis(t)
	token, rec := l.login("42")
	l.alive(token)
	l.redis.Kill()
	got := l.ask("DELETE", "/api/v1/users/42/sessions", "")
	got.says(t, 503, "unconfirmed")
	if got.Header.Get("Retry-After") == "" || !strings.Contains(string(got.body), "retried") {
		t.Errorf("%v %s", got.Header, got.body)
	}
	if l.alive(token) {
		t.Error("this replica does not refuse the session")
	}
	l.ask("GET", "/api/v1/users/42/sessions", "").says(t, 503, "unavailable")
	l.ask("DELETE", "/api/v1/sessions/"+rec.ID.String(), "").says(t, 503, "unavailable")
	l.ask("PATCH", "/api/v1/users/42/sessions", `{"role":"x"}`).says(t, 503, "unavailable")
	l.ask("GET", "/api/v1/export", "").says(t, 503, "unavailable")
}
