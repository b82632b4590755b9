package login_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

// script is an application whose answers a test chooses. The default is a login that works.
type script struct {
	login, whoami http.HandlerFunc

	mu    sync.Mutex
	calls []*http.Request
	body  []string
}

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.calls, s.body = append(s.calls, r), append(s.body, string(body))
	s.mu.Unlock()
	switch {
	case r.URL.Path == "/api/me" && s.whoami != nil:
		s.whoami(w, r)
	case r.URL.Path == "/api/me":
		whoami(w, value(r, "sid") == "fresh", "17")
	case r.Method == "POST" && s.login != nil:
		s.login(w, r)
	case r.Method == "POST":
		signIn(w, r)
	}
}

// requests lists "METHOD target" of what arrived.
func (s *script) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, r := range s.calls {
		list = append(list, r.Method+" "+r.RequestURI)
	}
	return list
}

func signIn(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Set-Cookie", "sid=fresh; Path=/; HttpOnly")
	w.Header().Add("Set-Cookie", "csrftoken=readable; Path=/")
	http.Redirect(w, r, "/dashboard", http.StatusFound)
}

var uma = url.Values{"email": {"uma@example.com"}, "password": {"right"}}

// wantNothing: no session, no gateway cookie, and none of the application's.
func wantNothing(t *testing.T, s *site, p *person, got reply, status int) {
	t.Helper()
	if got.StatusCode != status {
		t.Errorf("status %d, want %d: %.300s", got.StatusCode, status, got.text)
	}
	if s.sessions.count() != 0 {
		t.Error("there is a session")
	}
	if lines := got.Header.Values("Set-Cookie"); len(lines) != 0 || len(p.cookies()) != 0 {
		t.Errorf("cookies leak: %q", lines)
	}
}

func TestCasesApp(t *testing.T) {
	t.Parallel()
	t.Run("I01_only_the_exact_path", caseExactPath)
	t.Run("I02_identity", caseIdentity)
	t.Run("I03_every_mark", caseMarks)
	t.Run("I04_encoded_answers", caseEncoded)
	t.Run("I05_size_and_time", caseSizeAndTime)
	t.Run("I06_redis_fails", caseRedisFails)
	t.Run("I07_vault", caseVault)
	t.Run("I08_two_steps", caseTwoSteps)
	t.Run("I09_identity_headers", caseIdentityHeaders)
	t.Run("X10_never_twice", caseNeverTwice)
}

func caseExactPath(t *testing.T) {
	t.Parallel()
	for _, target := range []string{
		"/login/%2e%2e/uploads/e.json", "/login/", "/Login", "/%6cogin", "/login%20", "/login;x", "/login/x", "//login", "/x/login", "/other",
	} {
		app := &script{}
		s := openSite(t, appConfig(), app)
		r, w := s.request("POST", target, uma.Encode())
		s.handler.Login(w, r)
		if w.Code != 400 || s.sessions.count() != 0 || len(app.requests()) != 0 {
			t.Errorf("%s: %d, sessions %d, application got %v", target, w.Code, s.sessions.count(), app.requests())
		}
	}
	for _, method := range []string{"GET", "HEAD", "PUT", "post"} {
		app := &script{}
		s := openSite(t, appConfig(), app)
		r, w := s.request(method, "/login", uma.Encode())
		s.handler.Login(w, r)
		if w.Code != 405 || s.sessions.count() != 0 || len(app.requests()) != 0 {
			t.Errorf("%s: %d, application got %v", method, w.Code, app.requests())
		}
	}
	// As received, query and all.
	app := &script{}
	s := openSite(t, appConfig(), app)
	s.person().post("/login?a=1;b=2&c=%zz", uma).want(t, 302, "/dashboard")
	if app.requests()[0] != "POST /login?a=1;b=2&c=%zz" || app.body[0] != uma.Encode() {
		t.Errorf("the application got %s with %q", app.requests()[0], app.body[0])
	}
}

func caseSizeAndTime(t *testing.T) {
	t.Parallel()
	fromJSON := appConfig()
	fromJSON.App.Success = config.AppSuccess{Status: []int{200}}
	fromJSON.App.Identity = config.AppIdentity{From: "json", Fields: config.IdentityFields{UserID: "user.id", Email: "user.email"}}
	fromJSON.App.MaxResponse = 1000
	send := func(text string, chunked bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Etag", `"v1"`)
			w.Header().Set("Set-Cookie", "sid=fresh; HttpOnly")
			if !chunked {
				w.Header().Set("Content-Length", strconv.Itoa(len(text)))
			}
			_, _ = w.Write([]byte(text[:len(text)/2]))
			_ = http.NewResponseController(w).Flush()
			_, _ = w.Write([]byte(text[len(text)/2:]))
		}
	}
	small := `{"user":{"id":17,"email":"uma@example.com"}}`
	large := `{"user":{"id":17},"x":"` + strings.Repeat("x", 1000) + `"}`
	for _, chunked := range []bool{false, true} {
		s := openSite(t, fromJSON, &script{login: send(small, chunked)})
		got := s.person().post("/login", uma)
		if got.text != small || got.ContentLength != int64(len(small)) || got.Header.Get("Etag") != `"v1"` {
			t.Errorf("chunked %v: %d of %d bytes: %s", chunked, got.ContentLength, len(small), got.text)
		}
		if u := s.sessions.only(t).User; u.ID != "17" || u.Email != "uma@example.com" {
			t.Errorf("user %+v", u)
		}
		s = openSite(t, fromJSON, &script{login: send(large, chunked)})
		p := s.person()
		wantNothing(t, s, p, p.post("/login", uma), 502)
	}

	// Where the redirect changes, length and checksums change along.
	s := openSite(t, appConfig(), &script{login: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"v1"`)
		w.Header().Set("Content-Length", "5")
		signIn(w, r)
		_, _ = w.Write([]byte("moved"))
	}})
	got := s.person().post("/login?next=/account", uma)
	got.want(t, 302, "/account")
	if got.ContentLength != 0 || got.text != "" || got.Header.Get("Etag") != "" || got.Header.Get("Content-Length") != "0" {
		t.Errorf("length %d, %q, ETag %q", got.ContentLength, got.text, got.Header.Get("Etag"))
	}

	// An application that hangs: before the header, in the body, at whoami.
	hang := func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	half := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "sid=fresh; HttpOnly")
		_, _ = w.Write([]byte(`{"user":`))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	slow := appConfig()
	slow.App.Timeout = 50 * time.Millisecond
	fromJSON.App.Timeout = 50 * time.Millisecond
	for name, s := range map[string]*site{
		"header": openSite(t, slow, &script{login: hang}),
		"body":   openSite(t, fromJSON, &script{login: half}),
		"whoami": openSite(t, slow, &script{whoami: hang}),
	} {
		p := s.person()
		got := p.post("/login", uma)
		if got.StatusCode != 504 {
			t.Errorf("%s hangs: %d", name, got.StatusCode)
		}
		wantNothing(t, s, p, got, 504)
	}
}

func caseRedisFails(t *testing.T) {
	t.Parallel()
	t.Run("before the application is asked", func(t *testing.T) {
		t.Parallel()
		app := &script{}
		s := openSite(t, appConfig(), app)
		s.sessions.setDown(true)
		p := s.person()
		got := p.post("/login", uma)
		wantNothing(t, s, p, got, 503)
		if len(app.requests()) != 0 || got.Header.Get("Retry-After") == "" {
			t.Errorf("application got %v, Retry-After %q", app.requests(), got.Header.Get("Retry-After"))
		}
	})
	t.Run("after it said yes", func(t *testing.T) {
		t.Parallel()
		app := &script{}
		s := openSite(t, appConfig(), app)
		s.sessions.creating = func() { s.sessions.setDown(true) }
		p := s.person()
		got := p.post("/login", uma)
		wantNothing(t, s, p, got, 503)
		if got.Header.Get("Retry-After") == "" || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("header %v", got.Header)
		}
		// It is told that nobody came of it, with the very cookie it had set.
		last := app.calls[len(app.calls)-1]
		if last.Method+last.URL.Path != "POST/logout" || value(last, "sid") != "fresh" {
			t.Errorf("the application was not logged out of: %v", app.requests())
		}
	})
	for _, c := range []struct {
		err    error
		status int
	}{{session.ErrSuperseded, 401}, {session.ErrLimit, 409}, {session.ErrTooLarge, 502}} {
		s := openSite(t, appConfig(), &script{})
		s.sessions.create = fmt.Errorf("create: %w", c.err)
		p := s.person()
		wantNothing(t, s, p, p.post("/login", uma), c.status)
	}
	t.Run("whoami fails", func(t *testing.T) {
		t.Parallel()
		for name, f := range map[string]http.HandlerFunc{
			"401":      func(w http.ResponseWriter, _ *http.Request) { whoami(w, false, "") },
			"500":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
			"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
			"HTML":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"id":1}`)) },
			"abort":    func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		} {
			s := openSite(t, appConfig(), &script{whoami: f})
			p := s.person()
			wantNothing(t, s, p, p.post("/login", uma), 502)
			if t.Failed() {
				t.Fatal(name)
			}
		}
	})
}

func caseTwoSteps(t *testing.T) {
	t.Parallel()
	cfg := appConfig()
	cfg.App.CompletionPaths = []string{"/two-factor"}
	app := &script{login: func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			w.Header().Add("Set-Cookie", "sid=half; Path=/; HttpOnly")
			http.Redirect(w, r, "/two-factor", http.StatusFound)
			return
		}
		if value(r, "sid") != "half" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		signIn(w, r)
	}}
	s := openSite(t, cfg, app)
	p := s.person()
	p.post("/login", uma).want(t, 302, "/two-factor")
	if s.sessions.count() != 0 || p.cookies()["gatehouse"] != "" {
		t.Fatal("the password alone made a session")
	}
	if p.cookies()["sid"] != "half" {
		t.Fatal("before the login is complete the application's cookies pass")
	}
	p.post("/two-factor", url.Values{"code": {"123456"}}).want(t, 302, "/dashboard")
	if s.sessions.only(t).User.ID != "17" || p.cookies()["sid"] != "" {
		t.Errorf("after the second step the browser holds %v", p.cookies())
	}

	// The same in a browser that has a session already: the half login's cookie is the vault's.
	p.post("/login", uma).want(t, 302, "/two-factor")
	if _, has := p.cookies()["sid"]; has {
		t.Errorf("a cookie of the vault reached the browser: %v", p.cookies())
	}
	p.post("/two-factor", url.Values{"code": {"123456"}}).want(t, 302, "/dashboard")
	s.sessions.only(t)
}

func caseNeverTwice(t *testing.T) {
	t.Parallel()
	app := &script{login: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }}
	s := openSite(t, appConfig(), app)
	p := s.person()
	got := p.post("/login", uma, "Idempotency-Key", "k")
	wantNothing(t, s, p, got, 502)
	if n := s.app.count("POST /login"); n != 1 || len(app.requests()) != 1 {
		t.Errorf("sent %d times, arrived %d times", n, len(app.requests()))
	}
	got = p.post("/logout", nil, "Idempotency-Key", "k")
	got.want(t, 303, "/")
	if n := s.app.count("POST /logout"); n != 1 {
		t.Errorf("the logout was sent %d times", n)
	}
}
