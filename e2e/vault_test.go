package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/sample"
)

// strictIdentity (I02).
func strictIdentity(t *testing.T, s *setup) {
	body, whoami := "", false
	upstream := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/account":
			fmt.Fprintf(w, "user=%s email=%s", r.Header.Get("X-User-Id"), r.Header.Get("X-User-Email"))
		case r.URL.Path == "/login" || r.URL.Path == "/api/me":
			w.Header().Set("Content-Type", "application/json")
			w.Header().Add("Set-Cookie", "sid=app-secret; HttpOnly")
			w.Header().Add("Set-Cookie", "csrftoken=app-csrf")
			if (r.URL.Path == "/api/me") == whoami {
				_, _ = io.WriteString(w, body)
			}
		}
	}))
	marks := "success: {status: [200]}\n    identity: {from: "
	fields := ", fields: {userId: user.id, email: user.email}}"
	direct := start(t, appConfig(upstream, s.section(), marks+"json"+fields), options{})
	asking := start(t, appConfig(upstream, s.section(), marks+"whoami, whoami_path: /api/me"+fields), options{})
	login := func(g *gateway, text string) (*browser, answer) {
		body, whoami = text, g == asking
		b := newBrowser(t, g.url)
		return b, b.post("/login", form("email", "a"))
	}
	for _, g := range []*gateway{direct, asking} {
		for id, want := range map[string]string{
			"9007199254740993": "9007199254740993", "9007199254740992": "9007199254740992", `"9007199254740993"`: "9007199254740993", "7": "7", `"007"`: "007", "-5": "-5", "0": "0",
			"123456789012345678901234567890": "123456789012345678901234567890", `"a\u00e9"`: "a%C3%A9",
		} {
			b, got := login(g, ` {"user": {"id": `+id+`, "email": "e@x", "ID": 8}, "id": 9} `)
			if got.StatusCode != 200 || b.token() == "" {
				t.Errorf("id %s: %s", id, got.Status)
			} else if got := b.get("/account"); got.body != "user="+want+" email=e@x" {
				t.Errorf("id %s arrives as %q", id, got.body)
			}
		}
		for _, text := range []string{
			`{"user":{"ID":7}}`, `{"User":{"id":7}}`, `{"user":{"id":1,"id":2}}`, `{"user":{"id":1},"user":{"id":2}}`, `{"user":{"id":1,"\u0069d":2}}`, `{"user":{"id":1},"x":{"y":1,"y":2}}`,
			`{"user":{"id":1}}{"user":{"id":2}}`, `{"user":{"id":1}} x`, `{"user":{"id":1}}]`, `[{"user":{"id":1}}]`, `{"user":[{"id":1}]}`, `{"user":{"id":null}}`, `{"user":{"id":true}}`, `{"user":{"id":false}}`,
			`{"user":{"id":""}}`, `{"user":{"id":" 1"}}`, `{"user":{"id":"1\n"}}`, `{"user":{"id":"\u0000"}}`, `{"user":{"id":"1\ufffd"}}`, "{\"user\":{\"id\":\"\xff\"}}", `{"user":{"id":{}}}`, `{"user":{"id":[1]}}`,
			`{"user":{"id":1.0}}`, `{"user":{"id":1e3}}`, `{"user":{"id":-0}}`, `{"user":{"id":01}}`, `{"user":{"id":NaN}}`, `{"user":{"id":0x1}}`, `{"user":{"id":'1'}}`, `{"user":{"id":1},}`, `{"user.id":1}`, `{"user":null}`,
			`{"user":{}}`, `{}`, `null`, `7`, `"7"`, ``, `{"user":{"id":7}`, "\ufeff" + `{"user":{"id":7}}`, `{"user":{"id":"` + strings.Repeat("9", 300) + `"}}`, `{"user":{"id":7,"email":["a","b"]}}`, `{"user":{"id":7,"email":{}}}`,
		} {
			b, got := login(g, text)
			if b.token() != "" || got.StatusCode < 400 || got.Header["Set-Cookie"] != nil {
				t.Errorf("whoami %v, %.60s: %s, Set-Cookie %q", whoami, text, got.Status, got.Header["Set-Cookie"])
			}
		}
	}
}

// boundedAnswer (I05).
func boundedAnswer(t *testing.T, s *setup) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	upstream := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Set-Cookie", "sid=app-secret; HttpOnly")
		small := `{"ok":true,"id":1}`
		switch r.PostFormValue("how") {
		case "endless":
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, strings.Repeat(" ", 4096)); err != nil {
					return
				}
			}
		case "large":
			w.Header().Set("Content-Length", fmt.Sprint(len(small)+20000))
			fmt.Fprint(w, strings.Repeat(" ", 20000)+small)
		case "silent":
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		case "drip":
			for r.Context().Err() == nil {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
				time.Sleep(20 * time.Millisecond)
			}
		case "cut":
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, small)
			panic(http.ErrAbortHandler)
		case "redirect":
			w.Header().Set("Etag", `"app"`)
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			w.Header().Set("Location", "/dashboard")
			w.WriteHeader(302)
			fmt.Fprint(w, small)
		default:
			w.Header().Set("Etag", `"app"`)
			fmt.Fprint(w, small)
		}
	}))
	sp := s.space()
	g := start(t, appConfig(upstream, sp.section(), `success: {json_field: ok=true}
    identity: {from: json, fields: {userId: id}}
    max_response: 10KB
    timeout: 700ms`), options{})
	for how, status := range map[string]int{"endless": 502, "large": 502, "silent": 504, "drip": 504, "cut": 502} {
		began := time.Now()
		b := newBrowser(t, g.url)
		got := b.post("/login", form("how", how, "email", "a"))
		took := time.Since(began)
		if got.StatusCode != status || b.token() != "" || got.Header["Set-Cookie"] != nil || took > 8*time.Second {
			t.Errorf("%s: %s after %v, Set-Cookie %q; want %d", how, got.Status, took, got.Header["Set-Cookie"], status)
		}
	}
	if n := len(sp.sessions(t)); n != 0 {
		t.Errorf("%d sessions", n)
	}
	plain := newBrowser(t, g.url).post("/login", form("how", "plain", "email", "a"))
	if plain.body != `{"ok":true,"id":1}` || plain.ContentLength != int64(len(plain.body)) || plain.Header.Get("Etag") != `"app"` {
		t.Errorf("an answer that stays as it is: %v %q", plain.Header, plain.body)
	}
	// Sent on to next, the answer has another body: none. What was said of the old one is gone.
	got := newBrowser(t, g.url).post("/login?next=/account", form("how", "redirect", "email", "a"))
	if got.StatusCode != 302 || got.location() != "/account" || got.ContentLength != 0 || got.body != "" || got.Header["Etag"] != nil || got.Header["Last-Modified"] != nil || got.Header["Content-Type"] != nil {
		t.Errorf("an answer with another Location: %s %v %q", got.Status, got.Header, got.body)
	}
	kept := newBrowser(t, g.url).post("/login", form("how", "redirect", "email", "a"))
	if kept.location() != "/dashboard" || kept.ContentLength != int64(len(kept.body)) || kept.body == "" || kept.Header.Get("Etag") != `"app"` {
		t.Errorf("an answer with its own Location: %v %q", kept.Header, kept.body)
	}
}

// appCookie is the value of one of the application's cookies in the browser, "" for none.
func (b *browser) appCookie(name string) string {
	u, _ := url.Parse(b.base)
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// vaultKeeps (I07).
func vaultKeeps(t *testing.T, s *setup) {
	t.Run("sample application", func(t *testing.T) { vaultOfSample(t, s) })
	// An application that sets what it is told to, and tells which cookies it gets.
	app := &spy{next: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, line := range r.URL.Query()["set"] {
			w.Header().Add("Set-Cookie", line)
		}
		if r.URL.Path == "/login" && r.Method == http.MethodPost {
			w.Header().Add("Set-Cookie", "sid=one; HttpOnly; Path=/; SameSite=Strict")
			w.Header().Add("Set-Cookie", `deep="q u"; Path=/account/deep; HttpOnly`)
			w.Header().Add("Set-Cookie", `theme={"x":1}; Path=/`)
			w.Header().Set("X-Me", "7")
		}
		fmt.Fprint(w, strings.Join(r.Header["Cookie"], " | "))
	})}
	upstream := startHTTPApp(t, app)
	const asHeader = "success: {header: X-Me}\n    identity: {from: header, fields: {userId: X-Me}}\n    vault: "
	sp := s.space()
	cfg := appConfig(upstream, sp.section(), asHeader+"httponly")
	here, there := start(t, cfg, options{}), start(t, cfg, options{})
	expect := func(what string, got answer, cookies string, set ...string) {
		t.Helper()
		if got.StatusCode != 200 || got.body != cookies || strings.Join(got.Header["Set-Cookie"], " | ") != strings.Join(set, " | ") {
			t.Errorf("%s: the app got %q, the browser %q; want %q and %q", what, got.body, got.Header["Set-Cookie"], cookies, set)
		}
	}
	ask := func(g *gateway, token, path string, header ...string) answer {
		t.Helper()
		got, err := send(plainClient(t), "GET", g.url+path, "", "", header...)
		if token != "" {
			got, err = send(plainClient(t), "GET", g.url+path, "", "", append(header, "Cookie", "gatehouse="+token)...)
		}
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	expect("before login all pass", ask(here, "", "/public/x?set=sid%3Dearly%3B+HttpOnly&set=a%3Db", "Cookie", "sid=mine; c=d"), "sid=mine; c=d", "sid=early; HttpOnly", "a=b")
	login, err := send(plainClient(t), "POST", here.url+"/login", "", form("email", "a").Encode(), "Cookie", "sid=early; theme=old")
	token := login.tokenOf()
	if err != nil || token == "" || login.body != "sid=early; theme=old" {
		t.Fatalf("login: %v %q, %v", login.Response, login.body, err)
	}
	lines := strings.Join(login.Header["Set-Cookie"], " | ")
	if !strings.Contains(lines, `theme={"x":1}; Path=/`) || strings.Contains(lines, "sid=one") || strings.Contains(lines, "q u") || !strings.Contains(lines, "sid=; Path=/; Max-Age=0") {
		t.Errorf("at login the browser gets %q", lines)
	}
	expect("replayed", ask(here, token, "/account"), "sid=one")
	expect("on another replica", ask(there, token, "/account"), "sid=one")
	expect("by path", ask(there, token, "/account/deep/x"), `deep="q u"; sid=one`)
	expect("a forged one is dropped, others pass as they are", ask(here, token, "/account", "Cookie", `sid=forged; j={"x":1}; SID=forged; e=; "sid"=forged`), `j={"x":1}; e=; sid=one`)
	expect("updated", ask(here, token, "/account?set=sid%3Dtwo%3B+HttpOnly%3B+Path%3D/&set=lang%3Dde%3B+Path%3D/"), "sid=one", "lang=de; Path=/")
	expect("after the update", ask(here, token, "/account"), "sid=two")
	eventually(t, "the other replica to hear of the update", func() bool { return ask(there, token, "/account").body == "sid=two" })
	expect("updated without HttpOnly", ask(there, token, "/account?set=sid%3Dthree%3B+Path%3D/"), "sid=two")
	expect("after that", ask(there, token, "/account"), "sid=three")
	expect("updated on a public path", ask(there, token, "/public/x?set=fresh%3D1%3B+HttpOnly%3B+Path%3D/"), "sid=three")
	expect("after that", ask(there, token, "/account"), "sid=three; fresh=1")
	expect("deleted", ask(there, token, "/account?set=sid%3D%3B+Max-Age%3D0%3B+Path%3D/"), "sid=three; fresh=1")
	expect("after that, also against a forged one", ask(there, token, "/account", "Cookie", "sid=forged"), "fresh=1")
	eventually(t, "the other replica to hear of the deletion", func() bool { return ask(here, token, "/account").body == "fresh=1" })
	for _, text := range sp.dump(t) {
		if strings.Contains(text, "fresh") || strings.Contains(text, "q u") || strings.Contains(text, "sid") {
			t.Errorf("Redis holds a cookie of the app in clear: %s", text)
		}
	}
	if sp.record(t, token).Sealed == "" {
		t.Error("the record has nothing sealed")
	}
	if got, err := send(plainClient(t), "POST", here.url+"/logout", token, ""); err != nil || got.StatusCode != 303 {
		t.Errorf("logout: %v, %v", got.Response, err)
	}
	if last := app.last(); last == nil || last.Method != "POST" || last.URL.Path != "/logout" || last.Header.Get("Cookie") != "fresh=1" {
		t.Errorf("the app was not told of the logout with its own cookies: %v, Cookie %q", app.requests(), last.Header["Cookie"])
	}
	for vault, want := range map[string]string{"none": "c=d", "[theme, other]": `c=d; theme={"x":1}`} {
		g := start(t, appConfig(upstream, s.section(), asHeader+vault), options{})
		login, err := send(plainClient(t), "POST", g.url+"/login", "", form("email", "a").Encode())
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Join(login.Header["Set-Cookie"], " | ")
		if strings.Contains(lines, `theme={"x":1}`) != (vault == "none") || !strings.Contains(lines, "sid=one; HttpOnly; Path=/; SameSite=Strict") {
			t.Errorf("vault: %s, the browser gets %q", vault, lines)
		}
		expect("vault: "+vault, ask(g, login.tokenOf(), "/account", "Cookie", "c=d"), want)
	}
}

// vaultOfSample: an ordinary application that believes nothing but its own cookie works as before, with a
// CSRF token and a cookie from before the login, and its session cookie never stays with the browser.
func vaultOfSample(t *testing.T, s *setup) {
	app := &spy{next: sample.New(sample.Options{})}
	sp := s.space()
	g := start(t, appConfig(startHTTPApp(t, app), sp.section(), sampleLogin), options{})
	b := newBrowser(t, g.url)
	page := b.get("/login")
	early := b.appCookie("legacy_session")
	if early == "" || b.appCookie("csrftoken") == "" {
		t.Fatalf("before login the app's cookies must reach the browser: %q", page.Header["Set-Cookie"])
	}
	if got := b.post("/login", form("email", "user@example.com", "password", "correct-horse-2")); got.StatusCode != 403 || b.token() != "" {
		t.Errorf("without the form's CSRF token: %s", got.Status)
	}
	if got := b.signInAtApp("user@example.com", "wrong"); got.location() != "/login?error=1" || b.token() != "" {
		t.Errorf("a wrong password: %s to %s", got.Status, got.location())
	}
	got := b.signInAtApp("user@example.com", "correct-horse-2")
	if got.StatusCode != 302 || got.location() != "/dashboard" || b.token() == "" {
		t.Fatalf("login: %s to %s", got.Status, got.location())
	}
	vaulted := app.cookie("legacy_session")
	if b.appCookie("legacy_session") != "" || vaulted == early || b.appCookie("csrftoken") != app.cookie("csrftoken") {
		t.Errorf("the browser has legacy_session=%q, csrftoken=%q", b.appCookie("legacy_session"), b.appCookie("csrftoken"))
	}
	for _, path := range []string{"/dashboard", "/account"} {
		if got := b.get(path); got.StatusCode != 200 || !strings.Contains(got.body, "Uma User") {
			t.Errorf("%s: %s", path, got.Status)
		}
	}
	if got := b.get("/admin"); got.StatusCode != 403 {
		t.Errorf("/admin as a user: %s", got.Status)
	}
	// What a thief finds in the browser opens nothing: the session of the app is another one by now.
	thief := newBrowser(t, g.url)
	thief.headers.Set("Cookie", "legacy_session="+early)
	if got := thief.get("/dashboard"); got.StatusCode == 200 {
		t.Error("the app's cookie from before the login opens the session")
	}
	b.post("/logout", nil)
	direct := newBrowser(t, g.url)
	direct.headers.Set("Cookie", "legacy_session="+vaulted)
	if got := direct.get("/dashboard"); got.StatusCode == 200 || len(sp.sessions(t)) != 0 {
		t.Errorf("after logout the app's own session still opens: %s", got.Status)
	}
}
