package e2e

import (
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// eager is an application that says yes, and who it is, to everything: whatever the gateway takes for
// a login becomes one.
var eager = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Set-Cookie", "sid=app-secret; HttpOnly; Path=/")
	fmt.Fprint(w, `{"ok":true,"id":1}`)
})

// eagerLogin are the settings of `login.app` for it.
const eagerLogin = `success: {status: [200], json_field: ok=true}
    identity: {from: json, fields: {userId: id}}`

// interceptionCases: logins through the application's own form (security case group I).
var interceptionCases = []securityCase{
	{"I01_only_a_post_to_the_exact_path_is_a_login", both, func(t *testing.T, s *setup) {
		sp := s.space()
		g := s.start(t, appConfig(startHTTPApp(t, eager), sp.section(), eagerLogin+"\n    completion_paths: [/login/step2]"), options{})
		try := func(line string) *http.Response {
			return s.one(t, g, line, "Content-Type: application/x-www-form-urlencoded", "Content-Length: 0")
		}
		for _, line := range []string{
			"POST /login/%2e%2e/uploads/e.json", "POST /login/../uploads/e.json", "POST /login/", "POST /LOGIN", "POST /Login", "POST /login;x", "POST //login", "POST /./login", "POST /%6cogin",
			"POST /logi%6e", "POST /login/x", "POST /login%20", "POST /login.", "POST /login%2f", "POST /x/login", "POST /login%3fx", "POST /login%23", "POST /public/login", "POST /public/..%2flogin",
			"POST /login/step2/", "POST /login/step3", "POST /login/step%32", "POST /login//step2", "PUT /login", "PATCH /login", "DELETE /login", "GET /login", "HEAD /login", "OPTIONS /login", "GET /login?_method=POST",
		} {
			got := try(line)
			if names := cookieNames(got); slices.Contains(names, "gatehouse") || len(sp.sessions(t)) != 0 {
				t.Errorf("%s minted a session: %s, cookies %v", line, got.Status, names)
			}
		}
		for i, line := range []string{"POST /login", "POST /login?x=1", "POST /login/step2"} {
			got := try(line)
			if names := cookieNames(got); got.StatusCode != 200 || !slices.Contains(names, "gatehouse") || len(sp.sessions(t)) != i+1 {
				t.Errorf("%s: %s, cookies %v; want a session", line, got.Status, names)
			}
		}
	}},

	{"I02_the_identity_is_read_strictly", onlyH1, strictIdentity},

	{"I03_success_needs_every_mark", onlyH1, func(t *testing.T, s *setup) {
		type answerOf struct {
			status int
			header []string
			body   string
		}
		var now answerOf
		upstream := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost && r.URL.Path == "/logout" {
				return
			}
			for i := 0; i+1 < len(now.header); i += 2 {
				w.Header().Add(now.header[i], now.header[i+1])
			}
			w.WriteHeader(now.status)
			_, _ = io.WriteString(w, now.body)
		}))
		g := start(t, appConfig(upstream, s.section(), `success: {status: [302, 200], location: ["/dashboard", "/"], content_type: application/json, header: "X-Login: yes", json_field: auth.ok=true}
    identity: {from: json, fields: {userId: auth.id}}`), options{})
		good := func() answerOf {
			return answerOf{302, []string{"Location", "/dashboard", "Content-Type", "application/json; charset=utf-8", "X-Login", "yes"}, `{"auth":{"ok":true,"id":5}}`}
		}
		for name, change := range map[string]func(a *answerOf){
			"":       func(*answerOf) {},
			" other": func(a *answerOf) { a.status, a.header[1] = 200, "/" },
			"status": func(a *answerOf) { a.status = 303 }, "status 401": func(a *answerOf) { a.status = 401 },
			"location with query": func(a *answerOf) { a.header[1] = "/dashboard?error=1" }, "location with slash": func(a *answerOf) { a.header[1] = "/dashboard/" },
			"location absolute": func(a *answerOf) { a.header[1] = "http://127.0.0.1/dashboard" }, "location of another": func(a *answerOf) { a.header[1] = "/login?error=1" },
			"location case": func(a *answerOf) { a.header[1] = "/Dashboard" }, "no location": func(a *answerOf) { a.header = a.header[2:] }, "two locations": func(a *answerOf) { a.header = append(a.header, "Location", "/dashboard") },
			"content type": func(a *answerOf) { a.header[3] = "text/html" }, "content type alike": func(a *answerOf) { a.header[3] = "application/jsonp" }, "no content type": func(a *answerOf) { a.header[3] = "" },
			"header's value": func(a *answerOf) { a.header[5] = "no" }, "header's case": func(a *answerOf) { a.header[5] = "Yes" }, "no header": func(a *answerOf) { a.header = a.header[:4] },
			"field false": func(a *answerOf) { a.body = `{"auth":{"ok":false,"id":5}}` }, "field elsewhere": func(a *answerOf) { a.body = `{"ok":true,"auth":{"id":5}}` },
			"field in other case": func(a *answerOf) { a.body = `{"auth":{"OK":true,"id":5}}` }, "field twice": func(a *answerOf) { a.body = `{"auth":{"ok":false,"ok":true,"id":5}}` },
			"field null": func(a *answerOf) { a.body = `{"auth":{"ok":null,"id":5}}` }, "no JSON": func(a *answerOf) { a.body = `auth.ok=true` }, "no body": func(a *answerOf) { a.body = `` },
			"more after it": func(a *answerOf) { a.body += `{"auth":{"ok":false}}` },
		} {
			now = good()
			change(&now)
			b := newBrowser(t, g.url)
			got := b.post("/login", form("email", "a", "password", "b"))
			if yes := strings.TrimSpace(name) == "" || name == " other"; yes != (b.token() != "") {
				t.Errorf("%q: session: %v, %s", name, b.token() != "", got.Status)
			} else if !yes && got.StatusCode != now.status && name != "two locations" {
				t.Errorf("%q: the app's answer %d comes as %s", name, now.status, got.Status)
			}
		}
		now = good()
		if got := one(t, g, "HEAD /login HTTP/1.1"); slices.Contains(cookieNames(got), "gatehouse") {
			t.Error("HEAD is a login")
		}
		if g.metric(t, `gatehouse_logins_total{backend="app",outcome="bad_credentials"}`) == "0" || g.metric(t, `gatehouse_logins_total{backend="app",outcome="success"}`) != "2" {
			t.Error("the metrics do not count these logins")
		}
	}},

	{"I04_the_answer_is_asked_for_and_read_as_it_is", onlyH1, func(t *testing.T, s *setup) {
		encoding := ""
		app := &spy{next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if encoding != "" {
				w.Header().Set("Content-Encoding", encoding)
			}
			w.Header().Set("Set-Cookie", "sid=app-secret; HttpOnly")
			w.Header().Set("Content-Type", "application/json")
			if encoding == "gzip" {
				z := gzip.NewWriter(w)
				defer z.Close()
				fmt.Fprint(z, `{"ok":true,"id":1}`)
				return
			}
			fmt.Fprint(w, `{"ok":true,"id":1}`)
		})}
		upstream := startHTTPApp(t, app)
		direct := start(t, appConfig(upstream, s.section(), eagerLogin), options{})
		byStatus := start(t, appConfig(upstream, s.section(), `success: {status: [200]}
    identity: {from: whoami, whoami_path: /api/me, fields: {userId: id}}`), options{})
		for _, g := range []*gateway{direct, byStatus} {
			for _, encoding = range []string{"", "identity", "gzip", "br", "x-unknown", "gzip, identity"} {
				b := newBrowser(t, g.url)
				got := b.post("/login", form("email", "a"), "Accept-Encoding", "gzip, br")
				if ok := encoding == "" || encoding == "identity"; ok != (b.token() != "") {
					t.Errorf("Content-Encoding %q: session %v, %s", encoding, b.token() != "", got.Status)
				}
			}
		}
		app.mu.Lock()
		defer app.mu.Unlock()
		asked := 0
		for _, r := range app.seen {
			if r.URL.Path != "/login" && r.URL.Path != "/api/me" {
				continue
			}
			if asked++; len(r.Header["Accept-Encoding"]) != 1 || r.Header.Get("Accept-Encoding") != "identity" {
				t.Errorf("%s %s came with Accept-Encoding %q", r.Method, r.URL, r.Header["Accept-Encoding"])
			}
		}
		if asked < 14 {
			t.Errorf("only %d requests reached the app", asked)
		}
	}},

	{"I05_the_answer_is_bounded", onlyH1, boundedAnswer},

	{"I06_redis_fails_after_the_app_said_yes", onlyH1, func(t *testing.T, _ *setup) {
		sp := ownSpace(t)
		for _, how := range []string{"killed", "hung"} {
			fail := true
			app := &spy{next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/login" && fail {
					if how == "hung" {
						sp.server.Stop()
					} else {
						sp.server.Kill()
					}
				}
				w.Header().Set("Location", "/dashboard")
				w.Header().Add("Set-Cookie", "sid=app-secret; HttpOnly; Path=/")
				w.Header().Add("Set-Cookie", "csrftoken=app-csrf; Path=/")
				w.Header().Set("X-Me", "7")
				w.WriteHeader(302)
			})}
			g := startReady(t, appConfig(startHTTPApp(t, app), fmt.Sprintf("redis: {addresses: [%q]}\n", sp.server.Addr), `success: {location: ["/dashboard"]}
    identity: {from: header, fields: {userId: X-Me}}`), options{})
			b := newBrowser(t, g.url)
			began := time.Now()
			got := b.post("/login", form("email", "a"))
			t.Logf("%s: answered after %v", how, time.Since(began).Round(time.Millisecond))
			if got.StatusCode != 503 || got.Header.Get("Retry-After") == "" || got.Header["Set-Cookie"] != nil || got.location() != "" || got.Header["X-Me"] != nil {
				t.Errorf("%s: %s, %v", how, got.Status, got.Header)
			}
			if last := app.last(); last == nil || last.Method != "POST" || last.URL.Path != "/logout" || !strings.Contains(last.Header.Get("Cookie"), "sid=app-secret") {
				t.Errorf("%s: the app was not told to end the session it has begun: %v", how, app.requests())
			}
			fail = false
			if how == "hung" {
				sp.server.Cont()
			} else {
				sp.server.Restart()
			}
			eventually(t, "logins to work again", func() bool { return b.post("/login", form("email", "a")).StatusCode == 302 })
			if b.token() == "" || len(sp.sessions(t)) != 1 {
				t.Errorf("%s, afterwards: %d sessions", how, len(sp.sessions(t)))
			}
			sp.server.Do(t, "FLUSHALL")
		}
	}},

	{"I07_the_vault", onlyH1, vaultKeeps},

	{"I08_two_steps", onlyH1, func(t *testing.T, s *setup) {
		sp := s.space()
		// The password step sets a cookie and leads on; the code makes it a login.
		upstream := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			cookie, _ := r.Cookie("sid")
			switch target := r.Method + " " + r.URL.Path; {
			case target == "POST /login" && r.PostFormValue("password") == "right":
				w.Header().Set("Set-Cookie", "sid=half; HttpOnly; Path=/")
				w.Header().Set("Location", "/login/otp")
				w.WriteHeader(302)
			case target == "POST /login/otp" && r.PostFormValue("code") == "123456" && cookie != nil && cookie.Value == "half":
				w.Header().Set("Set-Cookie", "sid=whole; HttpOnly; Path=/")
				w.Header().Set("Location", "/dashboard")
				w.WriteHeader(302)
			case target == "GET /api/me" && cookie != nil && cookie.Value == "whole":
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprint(w, `{"id":9}`)
			case target == "GET /account":
				fmt.Fprintf(w, "sid=%s user=%s", cookie, r.Header.Get("X-User-Id"))
			default:
				w.WriteHeader(401)
			}
		}))
		const whoami = "\n    identity: {from: whoami, whoami_path: /api/me, fields: {userId: id}}\n    completion_paths: [/login/otp]"
		g := start(t, appConfig(upstream, sp.section(), `success: {location: ["/dashboard"]}`+whoami), options{})
		b := newBrowser(t, g.url)
		if got := b.post("/login", form("email", "a", "password", "right")); got.StatusCode != 302 || got.location() != "/login/otp" || b.token() != "" || len(sp.sessions(t)) != 0 {
			t.Errorf("the password step: %s to %s, session %v", got.Status, got.location(), b.token() != "")
		}
		if got := b.post("/login/otp", form("code", "000000")); got.StatusCode != 401 || b.token() != "" || len(sp.sessions(t)) != 0 {
			t.Errorf("a wrong code: %s", got.Status)
		}
		if got := b.get("/account"); got.StatusCode != 303 {
			t.Errorf("between the steps: %s", got.Status)
		}
		if got := b.post("/login/otp", form("code", "123456")); got.StatusCode != 302 || got.location() != "/dashboard" || b.token() == "" || len(sp.sessions(t)) != 1 {
			t.Errorf("the second step: %s to %s", got.Status, got.location())
		}
		if got := b.get("/account"); !strings.Contains(got.body, "sid=sid=whole") || !strings.HasSuffix(got.body, "user=9") || b.appCookie("sid") != "" {
			t.Errorf("logged in: %q; the browser has sid=%q", got.body, b.appCookie("sid"))
		}
		// Marks that the password step has too: the app does not say who it is, so there is no session.
		loose := start(t, appConfig(upstream, sp.section(), "success: {status: [302]}"+whoami), options{})
		c := newBrowser(t, loose.url)
		got := c.post("/login", form("email", "a", "password", "right"))
		if got.StatusCode != 502 || c.token() != "" || c.appCookie("sid") != "" || len(sp.sessions(t)) != 1 {
			t.Errorf("marks too loose: %s, session %v", got.Status, c.token() != "")
		}
		if entry := loose.logged(t, map[string]any{"type": "access", "status": 502}); !strings.Contains(fmt.Sprint(entry["error"]), "second step") {
			t.Errorf("the log does not say what is wrong: %v", entry)
		}
	}},

	{"I09_identity_headers_do_not_reach_the_browser", both, func(t *testing.T, s *setup) {
		set := func(w http.ResponseWriter) {
			w.Header().Set("X-App-User", "7")
			w.Header()["x-app-ROLE"] = []string{"admin"}
			w.Header().Set("X-User-Id", "7")
			w.Header().Set("X-Other", "stays")
		}
		upstream := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			set(w)
			switch r.PostFormValue("password") + r.URL.Query().Get("as") {
			case "right":
				w.WriteHeader(200)
			case "early":
				w.WriteHeader(http.StatusEarlyHints)
				set(w)
			case "trailer":
				w.Header().Set("Trailer", "X-App-User, X-User-Id")
				fmt.Fprint(w, "body")
				set(w)
			default:
				w.WriteHeader(401)
			}
		}))
		g := s.start(t, appConfig(upstream, s.section(), `success: {status: [200]}
    identity: {from: header, fields: {userId: X-App-User, role: X-App-Role}}`), options{})
		look := func(what string, final *http.Response, hints []*http.Response, status, early int) {
			t.Helper()
			other := 0
			for _, h := range append(hints, final) {
				_, _ = io.ReadAll(h.Body) // trailers come after it
				for _, header := range []http.Header{h.Header, h.Trailer} {
					if lower := strings.ToLower(fmt.Sprint(header)); strings.Contains(lower, "x-app-") || strings.Contains(lower, "x-user-") {
						t.Errorf("%s: %v", what, header)
					}
				}
				if h.Header.Get("X-Other") == "stays" {
					other++
				}
			}
			if final.StatusCode != status || len(hints) != early || other != 1+early {
				t.Errorf("%s: %s after %d hints, %d of them with the other header", what, final.Status, len(hints), other)
			}
		}
		post := func(body string) (*http.Response, []*http.Response) {
			return s.send(t, g, request{line: "POST /login", headers: []string{"Content-Type: application/x-www-form-urlencoded"}, body: body})
		}
		refused, hints := post("email=a&password=wrong")
		look("a refused login", refused, hints, 401, 0)
		in, hints := post("email=a&password=right")
		look("a login", in, hints, 200, 0)
		token := answer{Response: in}.tokenOf()
		said.secret(token)
		for _, c := range []struct {
			query         string
			status, early int
		}{{"", 401, 0}, {"?as=right", 200, 0}, {"?as=trailer", 200, 0}, {"?as=early", 200, 1}} {
			for _, cookie := range []string{"a=b", "gatehouse=" + token} {
				for _, path := range []string{"/public/x", "/login"} {
					final, hints := s.send(t, g, request{line: "GET " + path + c.query, headers: []string{"TE: trailers", "Cookie: " + cookie}})
					look(path+c.query, final, hints, c.status, c.early)
				}
			}
		}
		// It is this header all the same that says who it is.
		b := s.holder(t, g, token)
		if got := b.get("/.gatehouse/userinfo"); !strings.Contains(got.body, `"userId":"7"`) || !strings.Contains(got.body, `"role":"admin"`) {
			t.Errorf("the session is %s", got.body)
		}
	}},
}

// cookieNames are the names of the cookies that an answer sets or clears.
func cookieNames(r *http.Response) []string {
	var names []string
	for _, c := range r.Cookies() {
		names = append(names, c.Name)
	}
	return names
}
