package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// loginCases: login and logout (security case group L).
var loginCases = []securityCase{
	{"L01_cross_site_posts", both, func(t *testing.T, s *setup) {
		app := &spy{next: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })}
		upstream := startHTTPApp(t, app)
		more := "public_url: https://public.example\ntrusted_origins: [\"https://partner.example\"]\n"
		file := s.start(t, baseConfig(upstream, s.section())+more, withUsers())
		viaApp := s.start(t, appConfig(upstream, s.section(), sampleLogin)+more, options{})
		b := s.browser(t, file)
		b.login(userEmail, userPassword)
		for _, c := range []struct {
			ok    bool
			lines []string
		}{
			{true, nil}, {true, []string{"Origin: http://OWN"}}, {true, []string{"Sec-Fetch-Site: same-origin"}}, {true, []string{"Sec-Fetch-Site: none"}},
			{true, []string{"Origin: https://partner.example", "Sec-Fetch-Site: cross-site"}}, {true, []string{"Origin: https://public.example"}},
			{false, []string{"Origin: https://evil.example"}}, {false, []string{"Origin: null"}}, {false, []string{"Origin: null", "Sec-Fetch-Site: same-origin"}},
			{false, []string{"Sec-Fetch-Site: cross-site"}}, {false, []string{"Sec-Fetch-Site: same-site"}}, {false, []string{"Origin: http://OWN", "Sec-Fetch-Site: cross-site"}},
			{false, []string{"Origin: http://OWN.evil.example"}}, {false, []string{"Origin: http://127.0.0.1:1"}}, {false, []string{"Origin: http://public.example.evil"}},
			{false, []string{"Origin: http://OWN", "Origin: http://OWN"}}, {false, []string{"Origin: http://OWN", "Origin: https://evil.example"}},
			{false, []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: same-origin"}}, {false, []string{"Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"}},
		} {
			for i, g := range []*gateway{file, viaApp} {
				lines := []string{"Content-Type: application/x-www-form-urlencoded", "Content-Length: 0"}
				for _, line := range c.lines {
					lines = append(lines, strings.ReplaceAll(strings.ReplaceAll(line, "http://OWN", g.url), "OWN", g.addr))
				}
				for _, path := range []string{"/login", "/logout"} {
					before := len(app.requests())
					got := s.one(t, g, "POST "+path, lines...)
					if refused := got.StatusCode == http.StatusForbidden; refused == c.ok {
						t.Errorf("backend %d, POST %s with %q: %s", i, path, c.lines, got.Status)
					}
					if !c.ok && (got.Header["Set-Cookie"] != nil || len(app.requests()) != before) {
						t.Errorf("backend %d, POST %s with %q: Set-Cookie %q, the app was asked %v", i, path, c.lines, got.Header["Set-Cookie"], app.requests()[before:])
					}
				}
			}
		}
		// The right password and a living session make no difference.
		cross := []string{"Origin", "https://evil.example"}
		if got := s.browser(t, file).post("/login", form("email", userEmail, "password", userPassword), cross...); got.StatusCode != 403 || len(got.Cookies()) != 0 {
			t.Errorf("cross-site login: %s", got.Status)
		}
		if got := b.post("/logout", nil, cross...); got.StatusCode != 403 || b.token() == "" || b.get("/account").StatusCode != 204 {
			t.Errorf("cross-site logout: %s, the session is gone", got.Status)
		}
		if file.metric(t, `gatehouse_logins_total{backend="file",outcome="cross_site"}`) == "0" {
			t.Error("the metric does not count cross-site logins")
		}
		for _, method := range []string{"GET", "HEAD"} {
			got, err := send(s.client(t), method, file.url+"/logout", b.token(), "")
			if err != nil || got.StatusCode != 200 || len(got.Cookies()) != 0 || b.get("/account").StatusCode != 204 {
				t.Errorf("%s /logout: %v, %v", method, got.Response, err)
			}
			if button := strings.Contains(got.body, `<form method="post"`) && strings.Contains(got.body, "<button"); button != (method == "GET") {
				t.Errorf("%s /logout shows %q", method, got.body)
			}
		}
		if got := b.post("/logout", nil); got.StatusCode != 303 || b.token() != "" || b.get("/account").StatusCode != 303 {
			t.Errorf("logout by the button: %s", got.Status)
		}
	}},

	{"L02_next_stays_here", both, nextStaysHere},
	{"L03_rate_limits", onlyH1, func(t *testing.T, s *setup) {
		rateLimits(t, s)
		t.Run("every entrance", func(t *testing.T) { entrancesShareLimits(t, s) })
	}},

	{"L04_one_answer_for_every_failure", onlyH1, func(t *testing.T, s *setup) {
		// The time it takes is TestL04_known_and_unknown_users_take_as_long, which runs alone.
		users := usersYAML() + strings.Replace(strings.Split(usersYAML(), "\n")[2], "id: 2, email: "+userEmail, "id: 3, disabled: true, email: gone@example.com", 1) + "\n"
		g := start(t, baseConfig(whoApp(t), s.section()), options{files: map[string]string{"users.yaml": users}})
		for _, accept := range []string{"text/html", "application/json"} {
			seen := make(map[string]string)
			for name, f := range map[string]url.Values{
				"unknown": form("email", "nobody@example.com", "password", "some password"), "wrong password": form("email", userEmail, "password", "some password"),
				"disabled": form("email", "gone@example.com", "password", userPassword), "disabled, wrong": form("email", "gone@example.com", "password", "x"),
				"no account": form("password", "x"), "no password": form("email", userEmail), "nothing": form("x", "y"), "other letters": form("email", "x", "password", "x"),
			} {
				f.Set("next", "/account?x=1")
				got := newBrowser(t, g.url).post("/login", f, "Accept", accept)
				body := strings.ReplaceAll(got.body, got.Header.Get("X-Request-Id"), "ID")
				got.Header.Del("X-Request-Id")
				got.Header.Del("Date")
				seen[fmt.Sprint(got.StatusCode, got.Header, body)] += name + "; "
				if got.StatusCode != 401 || strings.Contains(body, "gone@") || strings.Contains(body, userEmail) {
					t.Errorf("%s, %s: %s %s", accept, name, got.Status, body)
				}
			}
			if len(seen) != 1 {
				t.Errorf("%s: %d different answers: %q", accept, len(seen), seen)
			}
		}
		if got := newBrowser(t, g.url).post("/login", form("email", userEmail, "password", userPassword)); got.StatusCode != 303 {
			t.Errorf("the right password: %s", got.Status)
		}
		g.logged(t, map[string]any{"event": "login_failed", "account": "gone@example.com", "reason": "bad_credentials"})
		if strings.Contains(g.output(), "nobody@example.com") || strings.Contains(g.output(), "some password") {
			t.Error("the log holds what was typed as the account, which may be a password")
		}
	}},

	{"L05_a_flood_of_logins_does_not_starve_the_proxy", onlyH1, func(t *testing.T, s *setup) {
		cfg := strings.Replace(baseConfig(whoApp(t), s.section()), "burst: 1000}", "burst: 1000, max_concurrent_hashes: 1}", 1)
		g := start(t, cfg, options{files: map[string]string{"users.yaml": argonUsers(t)}})
		b := newBrowser(t, g.url)
		b.login(userEmail, userPassword)
		c, watcher := plainClient(t), plainClient(t)
		var flooding atomic.Bool
		flooding.Store(true)
		type watched struct {
			n       int
			longest time.Duration
			failed  string
		}
		served := make(chan watched)
		go func() {
			var w watched
			for flooding.Load() {
				began := time.Now()
				got, err := send(watcher, "GET", g.url+"/account", b.token(), "")
				if err != nil || got.StatusCode != 200 {
					w.failed = fmt.Sprint(got.Response, err)
				}
				w.n, w.longest = w.n+1, max(w.longest, time.Since(began))
			}
			served <- w
		}()
		const flood = 200
		statuses := make([]int, flood)
		var longest atomic.Int64
		parallel(flood, flood, func(i int) {
			began := time.Now()
			got, err := send(c, "POST", g.url+"/login", "", form("email", fmt.Sprintf("x%d@example.com", i), "password", "x").Encode())
			if err == nil {
				statuses[i] = got.StatusCode
				if got.StatusCode == 503 && got.Header.Get("Retry-After") == "" {
					t.Error("503 without Retry-After")
				}
			}
			if took := int64(time.Since(began)); took > longest.Load() {
				longest.Store(took)
			}
		})
		flooding.Store(false)
		w := <-served
		checked, busy := 0, 0
		for _, status := range statuses {
			switch status {
			case 401:
				checked++
			case 503:
				busy++
			default:
				t.Errorf("a login of the flood: %d", status)
			}
		}
		t.Logf("%d logins at once: %d were checked, %d told to come back, the longest took %v; %d requests of a logged-in user meanwhile, the longest %v",
			flood, checked, busy, time.Duration(longest.Load()).Round(time.Millisecond), w.n, w.longest.Round(time.Millisecond))
		if checked == 0 || busy == 0 || w.failed != "" || w.n < 10 || w.longest > 2*time.Second {
			t.Errorf("%d checked, %d busy; the logged-in user: %d requests, longest %v, %s", checked, busy, w.n, w.longest, w.failed)
		}
		if g.metric(t, `gatehouse_limited_total{limit="hashes"}`) != strconv.Itoa(busy) || g.metric(t, `gatehouse_logins_total{backend="file",outcome="busy"}`) != strconv.Itoa(busy) {
			t.Error("the metrics do not count the logins that were told to come back")
		}
		newBrowser(t, g.url).login(adminEmail, adminPassword)
	}},

	{"L06_fields_come_from_the_body_once", both, func(t *testing.T, s *setup) {
		g, _ := s.usual()
		const urlencoded = "Content-Type: application/x-www-form-urlencoded"
		good := form("email", userEmail, "password", userPassword).Encode()
		pad := func(size int) string { return good + "&pad=" + strings.Repeat("x", size-len(good)-len("&pad=")) }
		for _, c := range []struct {
			name, target, kind, body string
			want                     int
		}{
			{"query", "/login?" + good, urlencoded, "", 401},
			{"account in the query", "/login?email=" + userEmail, urlencoded, form("password", userPassword).Encode(), 401},
			{"password in the query", "/login?password=" + userPassword, urlencoded, form("email", userEmail).Encode(), 401},
			{"other account in the query", "/login?email=" + adminEmail, urlencoded, good, 303},
			{"email twice", "/login", urlencoded, good + "&email=" + url.QueryEscape(adminEmail), 400},
			{"the same email twice", "/login", urlencoded, good + "&email=" + url.QueryEscape(userEmail), 400},
			{"password twice", "/login", urlencoded, good + "&password=x", 400},
			{"next twice", "/login", urlencoded, good + "&next=/a&next=/b", 400},
			{"email and account", "/login", urlencoded, good + "&account=" + url.QueryEscape(userEmail), 400},
			{"semicolon", "/login", urlencoded, strings.Replace(good, "&", ";", 1), 400},
			{"bad escape", "/login", urlencoded, good + "&x=%zz", 400},
			{"64 KB", "/login", urlencoded, pad(64 << 10), 303},
			{"over 64 KB", "/login", urlencoded, pad(64<<10 + 1), 413},
			{"1 MB", "/login", urlencoded, pad(1 << 20), 413},
			{"no type", "/login", "X-A: b", good, 415},
			{"text", "/login", "Content-Type: text/plain", good, 415},
			{"JSON", "/login", "Content-Type: application/json", `{"email":"` + userEmail + `","password":"` + userPassword + `"}`, 415},
			{"two types", "/login", urlencoded + "\r\n" + urlencoded, good, 415},
			{"good", "/login", urlencoded, good, 303},
		} {
			got, _ := s.send(t, g, request{line: "POST " + c.target, headers: strings.Split(c.kind, "\r\n"), body: c.body})
			if got.StatusCode != c.want || (len(got.Cookies()) == 1) != (c.want == 303) {
				t.Errorf("%s: %s with %d cookies, want %d", c.name, got.Status, len(got.Cookies()), c.want)
			}
		}
		for size, want := range map[int]int{64<<10 + 1: 413, 100: 303} {
			if got, _ := s.send(t, g, request{line: "POST /login", headers: []string{urlencoded}, body: pad(size), chunked: true}); got.StatusCode != want {
				t.Errorf("%d bytes of a length that is not told: %s, want %d", size, got.Status, want)
			}
		}
		for _, path := range []string{"/login", "/logout"} {
			got, _ := s.send(t, g, request{line: "POST " + path, headers: []string{urlencoded}, body: "next=/a&next=/b"})
			if got.StatusCode != 400 {
				t.Errorf("POST %s with next twice: %s", path, got.Status)
			}
		}
	}},

	{"L07_a_post_after_the_session_has_ended", both, func(t *testing.T, s *setup) {
		sp := s.space()
		a := startApp(t, nil)
		g := s.start(t, sections(baseConfig(a.url, sp.section()), "session", "idle: 1s"), withUsers())
		b := s.browser(t, g)
		b.login(userEmail, userPassword)
		post := func(header ...string) answer {
			return b.post("/account/save", form("secret", "draft"), append(header, "Content-Type", "application/x-www-form-urlencoded")...)
		}
		if got := post(); got.StatusCode != 200 || !strings.Contains(a.last(t).Body, "draft") {
			t.Fatalf("before it ends: %s", got.Status)
		}
		eventually(t, "the session to end", func() bool { return sp.number(t, "EXISTS", sp.session(b.token())) == 0 })
		before := len(a.requests())
		own := g.url
		for referer, next := range map[string]string{
			"": "", own + "/account/form?id=7": "/account/form?id=7", own + "/": "", "https://evil.example/account": "", "http://127.0.0.1:1/x": "",
			own + ".evil.example/x": "", "javascript:alert(1)": "", own + "/account/form#part": "/account/form", "http://evil@" + g.addr + "/x": "/x",
		} {
			got := post("Referer", referer)
			want := "/login"
			if next != "" {
				want += "?" + url.Values{"next": {next}}.Encode()
			}
			if got.StatusCode != 303 || got.location() != want {
				t.Errorf("Referer %s: %s to %s, want %s", referer, got.Status, got.location(), want)
			}
		}
		for _, header := range [][]string{{"X-Requested-With", "XMLHttpRequest"}, {"Sec-Fetch-Mode", "cors"}, {"Accept", "application/json"}} {
			got := post(header...)
			if got.StatusCode != 401 || !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") || !strings.Contains(got.body, `"unauthenticated"`) {
				t.Errorf("%s: %s %s", header, got.Status, got.body)
			}
		}
		if got := b.post("/api/save", form("secret", "draft")); got.StatusCode != 401 {
			t.Errorf("a rule that says json: %s", got.Status)
		}
		if got := len(a.requests()); got != before {
			t.Errorf("%d requests of nobody reached the app", got-before)
		}
		// After logging in again the person is back at the form, and nothing is sent for them.
		login := b.get(post("Referer", own+"/account/form?id=7").location())
		fields := hiddenFields(login.body)
		fields.Set("account", userEmail)
		fields.Set("password", userPassword)
		if got := b.post("/login", fields); got.StatusCode != 303 || got.location() != "/account/form?id=7" || len(a.requests()) != before {
			t.Errorf("login: %s to %s", got.Status, got.location())
		}
	}},
}

// nexts are what a login may be told to lead to, and where it leads: to "/" unless it stays here.
var nexts = map[string]string{
	"/account?x=1&y=2#z": "/account?x=1&y=2#z", "/": "/", "/a%20b": "/a%20b", "/a b": "/a%20b", "/caf\u00e9": "/caf%C3%A9", "/x?next=//evil": "/x?next=//evil", "/loginx": "/loginx",
	"": "/", "//evil.example": "/", "///evil.example": "/", `/\evil.example`: "/", `\\evil.example`: "/", "/\t/evil.example": "/", "/\n/evil.example": "/", "\t//evil": "/", " //evil": "/",
	"/\r\nX-Evil: 1": "/", "https:evil.example": "/", "https://evil.example": "/", "https:/evil": "/", "data:text/html,x": "/", "javascript:alert(1)": "/", "evil.example": "/",
	"http://u@evil.example": "/", "http://OWN/account": "/", "http://OWN@evil.example": "/", "http://OWN.evil.example/": "/", "//OWN.evil.example": "/", "//u@OWN": "/", "@evil.example": "/",
	"/%2f/evil.example": "/", "/%2fevil.example": "/", "/%5cevil.example": "/", "/%5c%5cevil": "/", "/%09/evil": "/", "%2f%2fevil": "/", "/%252fevil": "/", "/.//evil": "/", "/x/..//evil": "/",
	`/./\evil`: "/", "/%2e%2e//evil": "/", "/x\x00y": "/", "/\xff": "/",
	// Round in circles, and out again.
	"/login": "/", "/login?next=/x": "/", "/LOGIN": "/", "/login/": "/", "/log%69n": "/", "/login;x": "/", "/logout": "/", "/Logout/": "/",
}

// nextStaysHere (L02): nothing leads a person away from this origin by next.
func nextStaysHere(t *testing.T, s *setup) {
	g, _ := s.gateway(t, "")
	viaApp := s.start(t, appConfig(startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/dashboard")
		w.Header().Set("X-Me", "7")
		w.WriteHeader(302)
	})), s.section(), `success: {status: [302]}
    identity: {from: header, fields: {userId: X-Me}}`), options{})
	for i, next := range slices.Sorted(maps.Keys(nexts)) {
		if s.h2() && i%4 != 0 {
			continue // a field of a form is the same in both
		}
		want := nexts[next]
		next = strings.ReplaceAll(next, "OWN", g.addr)
		check := func(how, location string, want string) {
			t.Helper()
			base, _ := url.Parse(g.url + "/login")
			if u, err := base.Parse(location); location != want || err != nil || u.Host != g.addr {
				t.Errorf("%s, next=%q leads to %q, want %q", how, next, location, want)
			}
		}
		b := s.browser(t, g)
		page := b.get("/login?" + url.Values{"next": {next}}.Encode())
		if field := hiddenFields(page.body).Get("next"); page.StatusCode != 200 || field != want && (field != "" || want != "/") {
			t.Errorf("next=%q stands in the form as %q", next, field)
		}
		check("login", b.post("/login", form("email", userEmail, "password", userPassword, "next", next)).location(), want)
		afterLogout := want
		if strings.HasPrefix(next, "/log") && !strings.HasPrefix(next, "/logout") || next == "/LOGIN" {
			afterLogout = next // no circle: who has logged out may want to log in
		}
		check("logout", b.post("/logout", form("next", next)).location(), afterLogout)
		if want == "/" && next != "/" {
			want = "/dashboard" // where the app points
		}
		c := s.browser(t, viaApp)
		check("login through the app", c.post("/login?"+url.Values{"next": {next}}.Encode(), form("email", "a", "password", "b")).location(), want)
		check("login through the app, next of the form's page", c.post("/login", form("email", "a", "password", "b"),
			"Referer", viaApp.url+"/login?"+url.Values{"next": {next}}.Encode()).location(), want)
	}
	for next, want := range map[string]string{"//evil.example": "/", "/account?x=1": "/account?x=1"} {
		got := s.browser(t, g).post("/login", form("email", userEmail, "password", userPassword, "next", next), "Accept", "application/json")
		if got.StatusCode != 200 || strings.TrimSpace(got.body) != `{"userId":2,"next":"`+want+`"}` {
			t.Errorf("login of a program, next=%q: %s %s", next, got.Status, got.body)
		}
	}
	// The whole way: caught, sent to login, sent back.
	b := s.browser(t, g)
	fields := hiddenFields(b.get(b.get("/account/x?a=1&b=%2F").location()).body)
	fields.Set("account", userEmail)
	fields.Set("password", userPassword)
	if got := b.post("/login", fields); got.location() != "/account/x?a=1&b=%2F" {
		t.Errorf("after login: %s", got.location())
	}
}

// entrancesShareLimits (L03): who tries at one form after the other has no more tries for it.
func entrancesShareLimits(t *testing.T, s *setup) {
	upstream := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }))
	for limit, rates := range map[string]string{"address": "{per_address: 1/m, per_account: 6000/m, burst: 3}", "account": "{per_address: 6000/m, per_account: 1/m, burst: 3}"} {
		cfg := appConfig(upstream, s.section(), "success: {status: [200]}\n    identity: {from: header, fields: {userId: X-Me}}\n    completion_paths: [/login/code, /api/login]")
		g := start(t, strings.Replace(cfg, "{per_address: 6000/m, per_account: 6000/m, burst: 1000}", rates, 1), options{})
		var got []int
		for i, path := range []string{"/login", "/login/code", "/api/login", "/login", "/login/code", "/api/login"} {
			account := "a@example.com"
			if limit == "address" {
				account = fmt.Sprintf("a%d@example.com", i)
			}
			got = append(got, newBrowser(t, g.url).post(path, form("email", account, "password", "x")).StatusCode)
		}
		if want := []int{401, 401, 401, 429, 429, 429}; !slices.Equal(got, want) {
			t.Errorf("limit per %s over three entrances: %v, want %v", limit, got, want)
		}
	}
}
