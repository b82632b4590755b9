package e2e

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/sample"
)

const sessionsPage = "/.gatehouse/sessions"

// pageSession is a session as programs get it.
type pageSession struct {
	ID, Device, IP          string
	Current                 bool
	LastAccessed, ExpiresAt time.Time
}

// ownSessions lists the browser's own sessions.
func (b *browser) ownSessions() []pageSession {
	b.t.Helper()
	got := b.get(sessionsPage, "Accept", "application/json")
	var list struct{ Sessions []pageSession }
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || got.StatusCode != 200 || got.Header.Get("Cache-Control") != "no-store" {
		b.t.Fatalf("%s: %s %q: %v", sessionsPage, got.Status, got.body, err)
	}
	return list.Sessions
}

// endSessions sends one of the page's forms.
func (b *browser) endSessions(action string, more ...string) answer {
	b.t.Helper()
	return b.post(sessionsPage, form(append([]string{"action", action}, more...)...), "Origin", b.base)
}

// passes reports whether the browser has a session at this gateway.
func (b *browser) passes(g *gateway) bool {
	b.t.Helper()
	return b.at(g).get("/account").StatusCode == 200
}

// deviceLogins logs a user in from so many devices.
func deviceLogins(t *testing.T, g *gateway, n int) []*browser {
	agents := []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0",
		"Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36",
		"curl/8.5.0",
	}
	all := make([]*browser, n)
	for i := range all {
		all[i] = newBrowser(t, g.url)
		all[i].headers.Set("User-Agent", agents[i%len(agents)])
		all[i].login(userEmail, userPassword)
	}
	return all
}

func TestSessionsPage(t *testing.T) {
	t.Parallel()
	s := &setup{redis: testredis.Start(t)}
	for name, run := range map[string]func(*testing.T, *setup){
		"list":         listOwnSessions,
		"end one":      endOneSession,
		"end others":   endOtherSessions,
		"end all":      endAllSessions,
		"no oracle":    noSessionOracle,
		"L01 CSRF":     endAcrossSites,
		"not logged":   sessionsOfNobody,
		"own app form": endAtTheApplication,
		"Redis away":   sessionsWithoutRedis,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, s)
		})
	}
}

// pagePair starts two gateways on one Redis.
func (s *setup) pagePair(t *testing.T) (here, there *gateway) {
	cfg := baseConfig(whoApp(t), s.section())
	return start(t, cfg, withUsers()), start(t, cfg, withUsers())
}

func listOwnSessions(t *testing.T, s *setup) {
	here, there := s.pagePair(t)
	mine := deviceLogins(t, here, 3)
	admin := newBrowser(t, here.url)
	admin.login(adminEmail, adminPassword)
	for i, b := range mine {
		list := b.at(there).ownSessions()
		if len(list) != 3 || !list[0].Current || list[0].ID != sessionID(b.token()) || list[1].Current || list[0].IP != "127.0.0.1" {
			t.Fatalf("device %d sees %+v", i, list)
		}
		if want := []string{"Firefox on Windows", "Chrome on Android (Pixel 7)", "curl"}[i]; list[0].Device != want || !list[0].ExpiresAt.After(list[0].LastAccessed) {
			t.Errorf("this one is %+v, want %s", list[0], want)
		}
	}
	page := mine[0].get(sessionsPage)
	if page.StatusCode != 200 || !strings.HasPrefix(page.Header.Get("Content-Security-Policy"), "default-src 'none'") || strings.Count(page.body, "This session") != 1 || !strings.Contains(page.body, "Uma User") {
		t.Errorf("the page: %s\n%s", page.Status, page.body)
	}
	for _, b := range append(mine, admin) {
		if strings.Contains(page.body, b.token()) {
			t.Error("the page holds a token")
		}
	}
	if strings.Contains(page.body, sessionID(admin.token())) {
		t.Error("the page holds another person's session")
	}
	head, err := send(plainClient(t), "HEAD", here.url+sessionsPage, mine[0].token(), "")
	if err != nil || head.StatusCode != 200 || head.body != "" || head.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("HEAD: %v, %v", head.Response, err)
	}
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS"} {
		got, err := send(plainClient(t), method, here.url+sessionsPage, mine[0].token(), "action=end_all")
		if err != nil || got.StatusCode != 405 || got.Header.Get("Allow") != "GET, HEAD, POST" {
			t.Errorf("%s: %v, %v", method, got.Response, err)
		}
	}
	if !mine[1].passes(here) || !admin.passes(here) {
		t.Error("looking has ended a session")
	}
	entry := there.logged(t, map[string]any{"type": "access", "path": sessionsPage, "user": "2"})
	if entry["rule"] != "gateway" || entry["session"] == nil {
		t.Errorf("logged as %v", entry)
	}
}

func endOneSession(t *testing.T, s *setup) {
	here, there := s.pagePair(t)
	mine := deviceLogins(t, here, 3)
	if !mine[1].passes(there) { // which has it in memory now
		t.Fatal("the session must work before")
	}
	got := mine[0].endSessions("end", "id", sessionID(mine[1].token()))
	if got.StatusCode != 303 || got.location() != sessionsPage+"?done=one" || got.Header.Get("Cache-Control") != "no-store" || len(got.Cookies()) != 0 {
		t.Fatalf("%s %v", got.Status, got.Header)
	}
	if mine[1].passes(here) {
		t.Error("served by the replica that ended it")
	}
	eventually(t, "the other replica to refuse it", func() bool { return !mine[1].passes(there) })
	if !mine[0].passes(there) || !mine[2].passes(there) {
		t.Error("another session has ended too")
	}
	if after := mine[0].get(got.location()); !strings.Contains(after.body, "That session has ended.") || strings.Count(after.body, "<li>") != 2 {
		t.Errorf("afterwards the page says\n%s", after.body)
	}
	here.logged(t, map[string]any{"type": "audit", "event": "revoke", "user": "2", "session": sessionID(mine[1].token())[:8], "reason": "by_user"})
	if got := mine[0].endSessions("end", "id", sessionID(mine[0].token())); got.StatusCode != 303 || got.location() != "/" || mine[0].token() != "" || got.Header.Get("Clear-Site-Data") == "" {
		t.Errorf("ending this one is a logout: %s %v", got.Status, got.Header)
	}
	if list := mine[2].ownSessions(); len(list) != 1 {
		t.Errorf("left: %+v", list)
	}
}

func endOtherSessions(t *testing.T, s *setup) {
	here, there := s.pagePair(t)
	mine := deviceLogins(t, here, 3)
	admin := newBrowser(t, here.url)
	admin.login(adminEmail, adminPassword)
	for _, b := range append(mine, admin) {
		b.passes(there)
	}
	if got := mine[2].endSessions("end_others"); got.StatusCode != 303 || got.location() != sessionsPage+"?done=others" {
		t.Fatalf("%s %v", got.Status, got.Header)
	}
	for _, b := range mine[:2] {
		if b.passes(here) {
			t.Error("served by the replica that ended it")
		}
		eventually(t, "the other replica to refuse it", func() bool { return !b.passes(there) })
	}
	if !mine[2].passes(here) || !mine[2].passes(there) || !admin.passes(there) {
		t.Error("this one, or another person's, has ended too")
	}
	here.logged(t, map[string]any{"type": "audit", "event": "revoke", "user": "2", "reason": "all", "count": "2"})
}

func endAllSessions(t *testing.T, s *setup) {
	here, there := s.pagePair(t)
	mine := deviceLogins(t, here, 3)
	admin := newBrowser(t, here.url)
	admin.login(adminEmail, adminPassword)
	tokens := []string{mine[0].token(), mine[1].token(), mine[2].token()}
	got := mine[0].endSessions("end_all")
	if got.StatusCode != 303 || got.location() != "/" || mine[0].token() != "" || got.Header.Get("Clear-Site-Data") != `"cache"` {
		t.Fatalf("%s %v", got.Status, got.Header)
	}
	for _, token := range tokens {
		if holder(t, here, token).passes(here) {
			t.Error("served by the replica that ended it")
		}
		eventually(t, "the other replica to refuse it", func() bool { return !holder(t, there, token).passes(there) })
	}
	if !admin.passes(here) {
		t.Error("another person was logged out")
	}
	mine[0].login(userEmail, userPassword) // and in again
	if list := mine[0].ownSessions(); len(list) != 1 {
		t.Errorf("after the next login: %+v", list)
	}
}

func noSessionOracle(t *testing.T, s *setup) {
	here, there := s.pagePair(t)
	mine, admin := deviceLogins(t, here, 2), newBrowser(t, here.url)
	admin.login(adminEmail, adminPassword)
	ended := sessionID(mine[1].token())
	mine[1].post("/logout", nil)
	bodies := make(map[string]bool)
	for _, id := range []string{sessionID(admin.token()), ended, sessionID("made up"), "x", mine[0].token(), "../../etc"} {
		got := mine[0].at(there).endSessions("end", "id", id)
		if got.StatusCode != 404 {
			t.Errorf("%.8s: %s", id, got.Status)
		}
		bodies[strings.ReplaceAll(got.body, got.Header.Get("X-Request-Id"), "")] = true
	}
	if len(bodies) != 1 {
		t.Errorf("%d different answers tell what an ID is: %v", len(bodies), bodies)
	}
	if !admin.passes(here) || !mine[0].passes(there) {
		t.Error("a session was ended")
	}
}

func endAcrossSites(t *testing.T, s *setup) {
	here, _ := s.pagePair(t)
	mine := deviceLogins(t, here, 2)
	for name, header := range map[string][]string{
		"another origin":      {"Origin", "https://evil.test"},
		"null":                {"Origin", "null"},
		"cross-site":          {"Sec-Fetch-Site", "cross-site"},
		"same-site":           {"Sec-Fetch-Site", "same-site"},
		"two":                 {"Origin", here.url, "Origin", "https://evil.test"},
		"another port's page": {"Origin", "http://127.0.0.1:1"},
	} {
		for _, action := range []string{"end", "end_others", "end_all"} {
			got := mine[0].post(sessionsPage, form("action", action, "id", sessionID(mine[1].token())), header...)
			if got.StatusCode != 403 || mine[0].token() == "" {
				t.Errorf("%s, %s: %s", name, action, got.Status)
			}
		}
	}
	if !mine[0].passes(here) || !mine[1].passes(here) {
		t.Fatal("another site has ended a session")
	}
	// No Origin at all: a program, or a browser of long ago, as for the logout.
	if got := mine[0].post(sessionsPage, form("action", "end_others")); got.StatusCode != 303 {
		t.Errorf("without Origin: %s", got.Status)
	}
	if got := mine[0].post(sessionsPage, form("action", "end_all"), "Content-Type", "text/plain"); got.StatusCode != 415 || !mine[0].passes(here) {
		t.Errorf("a form can send text/plain from anywhere: %s", got.Status)
	}
}

func sessionsOfNobody(t *testing.T, s *setup) {
	here, _ := s.pagePair(t)
	b := newBrowser(t, here.url)
	if got := b.get(sessionsPage); got.StatusCode != 303 || got.location() != "/login?next=%2F.gatehouse%2Fsessions" {
		t.Errorf("%s to %s", got.Status, got.location())
	}
	if got := b.get(sessionsPage, "Accept", "application/json"); got.StatusCode != 401 || !strings.Contains(got.body, `"login":"/login?next=%2F.gatehouse%2Fsessions"`) {
		t.Errorf("a program: %s %s", got.Status, got.body)
	}
	if got := b.endSessions("end_all"); got.StatusCode != 303 || !strings.HasPrefix(got.location(), "/login") {
		t.Errorf("POST: %s to %s", got.Status, got.location())
	}
	said.secret(userPassword)
	if got := b.post("/login", form("account", userEmail, "password", userPassword, "next", sessionsPage)); got.location() != sessionsPage {
		t.Errorf("the login leads to %s", got.location())
	}
	if list := b.ownSessions(); len(list) != 1 {
		t.Errorf("%+v", list)
	}
}

// endAtTheApplication: with the application's own form as the login, ending this session logs out there as well.
func endAtTheApplication(t *testing.T, s *setup) {
	app := &spy{next: sample.New(sample.Options{TrustHeaders: true})}
	g := start(t, appConfig(startHTTPApp(t, app), s.section(), sampleLogin), options{})
	user := sample.Users()[1]
	one, two := newBrowser(t, g.url), newBrowser(t, g.url)
	one.signInAtApp(user.Email, user.Password)
	two.signInAtApp(user.Email, user.Password)
	if list := one.ownSessions(); len(list) != 2 {
		t.Fatalf("%+v", list)
	}
	logouts := func() int {
		return len(slices.DeleteFunc(app.requests(), func(line string) bool { return line != "POST /logout" }))
	}
	if got := one.endSessions("end", "id", sessionID(two.token())); got.StatusCode != 303 || two.passes(g) || logouts() != 0 {
		t.Errorf("another one: %s, lives: %v", got.Status, two.passes(g))
	}
	got := one.endSessions("end_all")
	if got.StatusCode != 303 || one.token() != "" || logouts() != 1 {
		t.Errorf("all: %s, the application was asked to log out %d times", got.Status, logouts())
	}
	last := app.last()
	if last.Method+" "+last.RequestURI != "POST /logout" || last.ContentLength > 0 || !strings.Contains(last.Header.Get("Cookie"), "legacy_session=") {
		t.Errorf("the application got %s %s with %v", last.Method, last.RequestURI, last.Header)
	}
	for _, line := range app.requests() {
		if strings.Contains(line, ".gatehouse") {
			t.Errorf("the application was asked %s", line)
		}
	}
}

func sessionsWithoutRedis(t *testing.T, _ *setup) {
	sp := ownSpace(t, testredis.Persistent())
	g := start(t, baseConfig(whoApp(t), sp.section()), withUsers())
	mine := deviceLogins(t, g, 3)
	for _, b := range mine {
		b.passes(g)
	}
	sp.server.Kill()
	for name, got := range map[string]answer{"list": mine[0].get(sessionsPage), "end": mine[0].endSessions("end", "id", sessionID(mine[1].token()))} {
		if got.StatusCode != 503 || got.Header.Get("Retry-After") == "" || len(got.Cookies()) != 0 || !strings.Contains(got.body, "You are not logged out") {
			t.Errorf("%s: %s %v", name, got.Status, got.Header)
		}
	}
	got := mine[0].endSessions("end_others")
	if got.StatusCode != 503 || len(got.Cookies()) != 0 || !strings.Contains(got.body, "refused here already") {
		t.Errorf("end_others: %s\n%s", got.Status, got.body)
	}
	if !mine[0].passes(g) || mine[1].passes(g) || mine[2].passes(g) {
		t.Error("what was ended is not refused, or this one is")
	}
	sp.server.Restart()
	eventually(t, "the revocation to be confirmed", func() bool { return len(sp.sessions(t)) == 1 })
	u, _ := url.Parse(g.url)
	if !mine[0].passes(g) || len(mine[0].client.Jar.Cookies(u)) == 0 || mine[1].passes(g) {
		t.Error("after the outage the wrong sessions live")
	}
	eventually(t, "the page to be there again", func() bool { return mine[0].get(sessionsPage).StatusCode == http.StatusOK })
}
