package login_test

import (
	"compress/gzip"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"gatehouse/config"
)

func caseIdentity(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, id string }{
		{"all digits", `{"id":9007199254740993}`, "9007199254740993"},
		{"the one below", `{"id":9007199254740992}`, "9007199254740992"},
		{"text", `{"id":"u-17"}`, "u-17"},
		{"text that looks like a float", `{"id":"1e3"}`, "1e3"},
		{"negative", `{"id":-5}`, "-5"},
		{"null", `{"id":null}`, ""},
		{"bool", `{"id":true}`, ""},
		{"empty", `{"id":""}`, ""},
		{"blank", `{"id":" "}`, ""},
		{"blank at the end", `{"id":"1 "}`, ""},
		{"control", `{"id":"1\u0000"}`, ""},
		{"object", `{"id":{"id":1}}`, ""},
		{"list", `{"id":[1]}`, ""},
		{"float", `{"id":1.0}`, ""},
		{"exponent", `{"id":1e3}`, ""},
		{"minus zero", `{"id":-0}`, ""},
		{"other case", `{"ID":1}`, ""},
		{"missing", `{"email":"a@b"}`, ""},
		{"twice", `{"id":1,"id":2}`, ""},
		{"twice the same", `{"id":1,"id":1}`, ""},
		{"twice, escaped", `{"id":1,"\u0069d":2}`, ""},
		{"another key twice", `{"id":1,"x":1,"x":2}`, ""},
		{"twice inside", `{"id":1,"x":[{"y":1,"y":2}]}`, ""},
		{"trailing data", `{"id":1}{"id":2}`, ""},
		{"trailing text", `{"id":1} x`, ""},
		{"not UTF-8", "{\"id\":\"a\xff\"}", ""},
		{"half a surrogate", `{"id":"a\ud800"}`, ""},
		{"an array", `[{"id":1}]`, ""},
		{"a list of roles", `{"id":1,"role":["user","admin"]}`, ""},
		{"nothing", ``, ""},
		{"too long", `{"id":"` + strings.Repeat("x", 257) + `"}`, ""},
		{"too deep", `{"id":1,"x":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := openSite(t, appConfig(), &script{whoami: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				_, _ = w.Write([]byte(c.text))
			}})
			p := s.person()
			got := p.post("/login", uma)
			if c.id == "" {
				wantNothing(t, s, p, got, 502)
				return
			}
			got.want(t, 302, "/dashboard")
			if id := s.sessions.only(t).User.ID; id != c.id {
				t.Errorf("user %q, want %q", id, c.id)
			}
		})
	}
}

func caseMarks(t *testing.T) {
	t.Parallel()
	type answer struct {
		status int
		header []string
		body   string
	}
	dashboard := []string{"Location", "/dashboard"}
	jsonOK := []string{"Content-Type", "application/json; charset=utf-8"}
	for _, c := range []struct {
		name    string
		success config.AppSuccess
		answer  answer
		ok      bool
	}{
		{"status and location", config.AppSuccess{Status: []int{302}, Location: []string{"/home", "/dashboard"}}, answer{302, dashboard, ""}, true},
		{"failure redirects too", config.AppSuccess{Status: []int{302}, Location: []string{"/dashboard"}}, answer{302, []string{"Location", "/login?error=1"}, ""}, false},
		{"location longer", config.AppSuccess{Location: []string{"/dashboard"}}, answer{302, []string{"Location", "/dashboard?error=1"}, ""}, false},
		{"location of another host", config.AppSuccess{Location: []string{"/dashboard"}}, answer{302, []string{"Location", "http://evil/dashboard"}, ""}, false},
		{"two locations", config.AppSuccess{Location: []string{"/dashboard"}}, answer{302, []string{"Location", "/dashboard", "Location", "/login"}, ""}, false},
		{"other status", config.AppSuccess{Status: []int{302}, Location: []string{"/dashboard"}}, answer{303, dashboard, ""}, false},
		{"header there", config.AppSuccess{Header: "X-Login"}, answer{200, []string{"X-Login", "1"}, ""}, true},
		{"header empty", config.AppSuccess{Header: "X-Login"}, answer{200, []string{"X-Login", ""}, ""}, false},
		{"header equal", config.AppSuccess{Header: "X-Login: ok"}, answer{200, []string{"X-Login", "ok"}, ""}, true},
		{"header other", config.AppSuccess{Header: "X-Login: ok"}, answer{200, []string{"X-Login", "okay"}, ""}, false},
		{"content type", config.AppSuccess{ContentType: "application/json"}, answer{200, jsonOK, "{}"}, true},
		{"content type other", config.AppSuccess{ContentType: "application/json"}, answer{200, []string{"Content-Type", "text/html"}, "{}"}, false},
		{"field true", config.AppSuccess{JSONField: "ok"}, answer{200, jsonOK, `{"ok":true}`}, true},
		{"field false", config.AppSuccess{JSONField: "ok"}, answer{200, jsonOK, `{"ok":false}`}, false},
		{"field null", config.AppSuccess{JSONField: "ok"}, answer{200, jsonOK, `{"ok":null}`}, false},
		{"field empty", config.AppSuccess{JSONField: "ok"}, answer{200, jsonOK, `{"ok":""}`}, false},
		{"field empty list", config.AppSuccess{JSONField: "ok"}, answer{200, jsonOK, `{"ok":[]}`}, false},
		{"field object", config.AppSuccess{JSONField: "user"}, answer{200, jsonOK, `{"user":{"id":1}}`}, true},
		{"field number", config.AppSuccess{JSONField: "user.id"}, answer{200, jsonOK, `{"user":{"id":1}}`}, true},
		{"field equal", config.AppSuccess{JSONField: "code=0"}, answer{200, jsonOK, `{"code":0}`}, true},
		{"field bool equal", config.AppSuccess{JSONField: "ok=true"}, answer{200, jsonOK, `{"ok":true}`}, true},
		{"field not equal", config.AppSuccess{JSONField: "code=0"}, answer{200, jsonOK, `{"code":1}`}, false},
		{"field of another case", config.AppSuccess{JSONField: "ok"}, answer{200, jsonOK, `{"OK":true}`}, false},
		{"field twice", config.AppSuccess{JSONField: "ok"}, answer{200, jsonOK, `{"ok":true,"ok":true}`}, false},
		{"field in no JSON", config.AppSuccess{JSONField: "ok"}, answer{200, jsonOK, `ok`}, false},
		{"one of two marks", config.AppSuccess{Status: []int{200}, JSONField: "ok"}, answer{200, jsonOK, `{}`}, false},
		{"the other of two", config.AppSuccess{Status: []int{200}, JSONField: "ok"}, answer{201, jsonOK, `{"ok":true}`}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := appConfig()
			cfg.App.Success = c.success
			s := openSite(t, cfg, &script{login: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Set-Cookie", "sid=fresh; Path=/; HttpOnly")
				for i := 0; i < len(c.answer.header); i += 2 {
					w.Header().Add(c.answer.header[i], c.answer.header[i+1])
				}
				w.WriteHeader(c.answer.status)
				_, _ = w.Write([]byte(c.answer.body))
			}})
			p := s.person()
			got := p.post("/login", uma)
			if got.StatusCode != c.answer.status || got.text != c.answer.body {
				t.Errorf("the browser got %d %q", got.StatusCode, got.text)
			}
			held := p.cookies()
			if (s.sessions.count() == 1) != c.ok || (held["gatehouse"] != "") != c.ok || (held["sid"] == "") != c.ok {
				t.Errorf("success %v expected: %d sessions, browser holds %v", c.ok, s.sessions.count(), held)
			}
			if !c.ok && !strings.Contains(s.log.String(), `"event":"login_failed"`) {
				t.Errorf("no audit line: %s", s.log)
			}
		})
	}
}

func caseEncoded(t *testing.T) {
	t.Parallel()
	app := &script{login: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Location", "/dashboard")
		w.WriteHeader(302)
		z := gzip.NewWriter(w)
		_, _ = z.Write([]byte("moved"))
		_ = z.Close()
	}}
	s := openSite(t, appConfig(), app)
	got := s.person().post("/login", uma, "Accept-Encoding", "gzip, br")
	got.want(t, 302, "/dashboard")
	if s.sessions.count() != 0 {
		t.Error("an encoded answer made a session")
	}
	if asked := app.calls[0].Header.Values("Accept-Encoding"); len(asked) != 1 || asked[0] != "identity" {
		t.Errorf("the application was asked with %q", asked)
	}
	s = openSite(t, appConfig(), &script{whoami: func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "br")
		whoami(w, true, "17")
	}})
	p := s.person()
	wantNothing(t, s, p, p.post("/login", uma), 502)
}

func caseIdentityHeaders(t *testing.T) {
	t.Parallel()
	cfg := appConfig()
	cfg.App.Identity = config.AppIdentity{From: "header", Fields: config.IdentityFields{UserID: "X-App-User", Email: "X-App-Email", EmailVerified: "X-App-Verified"}}
	answer := func(header ...string) *script {
		return &script{login: func(w http.ResponseWriter, r *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Add(header[i], header[i+1])
			}
			w.Header().Set("Trailer", "X-App-Email")
			if r.PostFormValue("password") == "wrong" {
				w.WriteHeader(403)
			} else {
				signIn(w, r)
			}
			_, _ = w.Write([]byte("see there"))
			_ = http.NewResponseController(w).Flush()
			w.Header().Set("X-App-Email", "trailer@example.com")
		}}
	}
	leaks := func(t *testing.T, got reply) {
		t.Helper()
		for _, h := range []http.Header{got.Header, got.Trailer} {
			for name := range h {
				if strings.HasPrefix(name, "X-App-") {
					t.Errorf("%s reached the browser", name)
				}
			}
		}
	}
	s := openSite(t, cfg, answer("X-App-User", "9007199254740993", "X-App-Email", "uma@example.com", "X-App-Verified", "true"))
	got := s.person().post("/login", uma)
	got.want(t, 302, "/dashboard")
	leaks(t, got)
	if u := s.sessions.only(t).User; u.ID != "9007199254740993" || u.Email != "uma@example.com" || !u.EmailVerified {
		t.Errorf("user %+v", u)
	}
	leaks(t, s.person().post("/login", url.Values{"password": {"wrong"}}))
	for name, header := range map[string][]string{
		"twice":      {"X-App-User", "1", "X-App-User", "2"},
		"missing":    {"X-App-Email", "uma@example.com"},
		"empty":      {"X-App-User", ""},
		"not UTF-8":  {"X-App-User", "\xff"},
		"mail twice": {"X-App-User", "1", "X-App-Email", "a@b", "X-App-Email", "c@d"},
	} {
		s := openSite(t, cfg, answer(header...))
		p := s.person()
		got := p.post("/login", uma)
		leaks(t, got)
		wantNothing(t, s, p, got, 502)
		if t.Failed() {
			t.Fatal(name)
		}
	}
}
