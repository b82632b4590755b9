package login_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"gatehouse/config"
)

// The logins of well-known frameworks, as far as cookies and CSRF tokens go.

// django keeps sessions in a table, its cookie is HttpOnly and rotates at login; the CSRF cookie is
// readable, must equal the form's token, and rotates too.
type django struct {
	mu       sync.Mutex
	sessions map[string]bool
}

func (d *django) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	session, csrf := value(r, "sessionid"), value(r, "csrftoken")
	set := func(name, v string, httpOnly bool) {
		http.SetCookie(w, &http.Cookie{Name: name, Value: v, Path: "/", HttpOnly: httpOnly, MaxAge: 1209600, SameSite: http.SameSiteLaxMode})
	}
	if r.Method == "POST" && (csrf == "" || csrf != r.PostFormValue("csrfmiddlewaretoken") && csrf != r.Header.Get("X-Csrftoken")) {
		http.Error(w, "CSRF verification failed", http.StatusForbidden)
		return
	}
	switch r.Method + " " + r.URL.Path {
	case "GET /login":
		if csrf == "" {
			csrf = rand.Text()
			set("csrftoken", csrf, false)
		}
		_, _ = w.Write([]byte(csrf))
	case "POST /login":
		if r.PostFormValue("password") != "right" {
			_, _ = w.Write([]byte("Please enter a correct username and password."))
			return
		}
		delete(d.sessions, session)
		session = rand.Text()
		d.sessions[session] = true
		set("sessionid", session, true)
		set("csrftoken", rand.Text(), false)
		http.Redirect(w, r, "/dashboard", http.StatusFound)
	case "POST /logout":
		delete(d.sessions, session)
		// As Django does: without HttpOnly.
		w.Header().Add("Set-Cookie", `sessionid=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/; SameSite=Lax`)
		http.Redirect(w, r, "/bye", http.StatusFound)
	case "POST /change":
		_, _ = w.Write([]byte("changed"))
	default:
		whoami(w, d.sessions[session], "17")
	}
}

// rails keeps the whole session, CSRF secret included, in one signed HttpOnly cookie that each answer
// sends anew.
type rails struct{ key []byte }

type railsSession struct{ User, CSRF, Nonce string }

func (a *rails) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := a.open(value(r, "_app_session"))
	if s.CSRF == "" {
		s.CSRF = rand.Text()
	}
	if r.Method == "POST" && r.PostFormValue("authenticity_token") != s.CSRF {
		http.Error(w, "InvalidAuthenticityToken", http.StatusUnprocessableEntity)
		return
	}
	switch {
	case r.Method == "POST" && r.URL.Path == "/login" && r.PostFormValue("user[password]") == "right":
		s = railsSession{User: "17", CSRF: rand.Text()}
		defer http.Redirect(w, r, "/dashboard", http.StatusFound)
	case r.Method == "POST" && r.URL.Path == "/login":
		defer http.Redirect(w, r, "/login", http.StatusFound)
	case r.Method == "POST" && r.URL.Path == "/logout":
		s = railsSession{CSRF: rand.Text()}
		defer http.Redirect(w, r, "/", http.StatusFound)
	case strings.HasSuffix(r.URL.Path, "/me"):
		defer whoami(w, s.User != "", s.User)
	default:
		csrf := s.CSRF
		defer func() { _, _ = w.Write([]byte(csrf)) }()
	}
	s.Nonce = rand.Text()
	http.SetCookie(w, &http.Cookie{Name: "_app_session", Value: a.seal(s), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func (a *rails) seal(s railsSession) string {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	mac := hmac.New(sha256.New, a.key)
	mac.Write(text)
	return base64.StdEncoding.EncodeToString(text) + "--" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

func (a *rails) open(cookie string) railsSession {
	var s railsSession
	encoded, _, _ := strings.Cut(cookie, "--")
	text, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || json.Unmarshal(text, &s) != nil || a.seal(s) != cookie {
		return railsSession{}
	}
	return s
}

// laravel keeps sessions in a table; both cookies are sent with every answer under a new encryption.
// XSRF-TOKEN is readable, its decrypted value must come back in a header or the plain token in the form.
type laravel struct {
	mu       sync.Mutex
	sessions map[string]*laravelSession
}

type laravelSession struct{ user, token string }

func (a *laravel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := decrypt(value(r, "laravel_session"))
	s := a.sessions[id]
	if s == nil {
		id, s = rand.Text(), &laravelSession{token: rand.Text()}
		a.sessions[id] = s
	}
	status, location, text := http.StatusOK, "", s.token
	switch {
	case r.Method == "POST" && r.PostFormValue("_token") != s.token && decrypt(r.Header.Get("X-Xsrf-Token")) != s.token:
		status, text = 419, "Page Expired"
	case r.Method == "POST" && r.URL.Path == "/login" && r.PostFormValue("password") == "right":
		delete(a.sessions, id)
		id, s = rand.Text(), &laravelSession{user: "17", token: rand.Text()}
		a.sessions[id] = s
		status, location = http.StatusFound, "/dashboard"
	case r.Method == "POST" && r.URL.Path == "/login":
		status, location = http.StatusFound, "/login"
	case r.Method == "POST" && r.URL.Path == "/logout":
		delete(a.sessions, id)
		id, s = rand.Text(), &laravelSession{token: rand.Text()}
		a.sessions[id] = s
		status, location = http.StatusFound, "/"
	}
	http.SetCookie(w, &http.Cookie{Name: "XSRF-TOKEN", Value: encrypt(s.token), Path: "/", MaxAge: 7200})
	http.SetCookie(w, &http.Cookie{Name: "laravel_session", Value: encrypt(id), Path: "/", MaxAge: 7200, HttpOnly: true})
	if location != "" {
		w.Header().Set("Location", location)
	}
	if r.URL.Path == "/api/me" {
		whoami(w, s.user != "", s.user)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

// encrypt gives another text each time, which is all that matters here.
func encrypt(s string) string { return rand.Text()[:8] + url.QueryEscape(s) + "%3D" }

func decrypt(s string) string {
	if len(s) < 8 {
		return ""
	}
	text, err := url.QueryUnescape(s[8:])
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(text, "=")
}

func value(r *http.Request, name string) string {
	if c, err := r.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}

func whoami(w http.ResponseWriter, signedIn bool, id string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if !signedIn {
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"error":"unauthenticated"}`))
		return
	}
	_, _ = w.Write([]byte(`{"id":` + id + `,"email":"uma@example.com","name":"Uma","role":"user"}`))
}

// TestFrameworkLogins goes through the whole visit of a person: form, wrong password, right password,
// pages, logout.
func TestFrameworkLogins(t *testing.T) {
	t.Parallel()
	for _, f := range []struct {
		name                   string
		app                    http.Handler
		secret, readable       string // cookies
		tokenField, passField  string
		anonymous              bool // the secret cookie is there before login
		failStatus             int
		failLocation, byeAfter string
	}{
		{"Django", &django{sessions: map[string]bool{}}, "sessionid", "csrftoken", "csrfmiddlewaretoken", "password", false, 200, "", "/bye"},
		{"Rails", &rails{key: []byte("key")}, "_app_session", "", "authenticity_token", "user[password]", true, 302, "/login", "/"},
		{"Laravel", &laravel{sessions: map[string]*laravelSession{}}, "laravel_session", "XSRF-TOKEN", "_token", "password", true, 302, "/login", "/"},
	} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			cfg := appConfig()
			cfg.App.AccountFields = []string{"username"}
			s := openSite(t, cfg, f.app)
			p := s.person()

			token := p.get("/login").text
			if _, has := p.cookies()[f.secret]; has != f.anonymous {
				t.Fatalf("before login the browser holds %v", p.cookies())
			}
			form := url.Values{"username": {"uma"}, f.tokenField: {token}, f.passField: {"wrong"}}
			p.post("/login", form).want(t, f.failStatus, f.failLocation)
			if s.sessions.count() != 0 {
				t.Fatal("a wrong password made a session")
			}
			if f.anonymous {
				form.Set(f.tokenField, p.get("/login").text)
			}
			before := p.cookies()
			form.Set(f.passField, "right")
			p.post("/login", form).want(t, 302, "/dashboard")

			held := p.cookies()
			if held["gatehouse"] == "" {
				t.Fatal("no gateway cookie")
			}
			if _, has := held[f.secret]; has {
				t.Errorf("I07: the browser still has %s: %v", f.secret, held)
			}
			if f.readable != "" && (held[f.readable] == "" || held[f.readable] == before[f.readable]) {
				t.Errorf("the readable %s did not follow: %v", f.readable, held)
			}
			if rec := s.sessions.only(t); rec.User.ID != "17" || rec.User.Email != "uma@example.com" || rec.User.Role != "user" || rec.Backend != "app" {
				t.Errorf("session %+v", rec.User)
			}
			for range 3 { // a cookie that changes with each answer is followed
				if got := p.get("/api/me"); got.StatusCode != 200 {
					t.Fatalf("the application does not know who it is: %d %s", got.StatusCode, got.text)
				}
			}
			// A logout form of the application, with the CSRF token of this session.
			token = p.get("/login").text
			got := p.post("/logout", url.Values{f.tokenField: {token}, "next": {""}})
			got.want(t, 303, f.byeAfter)
			if s.sessions.count() != 0 {
				t.Error("the session lives on")
			}
			if _, has := p.cookies()[f.secret]; has || p.cookies()["gatehouse"] != "" {
				t.Errorf("after logout the browser holds %v", p.cookies())
			}
			if got := p.get("/api/me"); got.StatusCode != 401 {
				t.Errorf("after logout the application still answers %d", got.StatusCode)
			}
			if strings.Contains(s.log.String(), "not logged out") {
				t.Errorf("the application refused the logout:\n%s", s.log)
			}
		})
	}
}

// TestCSRFAfterLogin posts a form with the readable token, as scripts do.
func TestCSRFAfterLogin(t *testing.T) {
	t.Parallel()
	s := openSite(t, appConfig(), &django{sessions: map[string]bool{}})
	p := s.person()
	form := url.Values{"csrfmiddlewaretoken": {p.get("/login").text}, "username": {"uma"}, "password": {"right"}}
	p.post("/login", form).want(t, 302, "/dashboard")
	if got := p.post("/change", nil, "X-CSRFToken", p.cookies()["csrftoken"]); got.text != "changed" {
		t.Errorf("%d %s", got.StatusCode, got.text)
	}
	if got := p.post("/change", nil, "X-CSRFToken", "forged"); got.StatusCode != 403 {
		t.Errorf("a forged token passed: %d", got.StatusCode)
	}
}

// TestCookieKeptAtLogin: an application that does not change its session cookie at login, as PHP's
// default and Express do. With names in the config the browser's copy moves into the vault.
func TestCookieKeptAtLogin(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	signedIn := map[string]bool{}
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		id := value(r, "PHPSESSID")
		if id == "" {
			id = rand.Text()
			w.Header().Add("Set-Cookie", "PHPSESSID="+id+"; path=/")
		}
		switch {
		case r.Method == "POST" && r.URL.Path == "/login":
			signedIn[id] = true
			http.Redirect(w, r, "/dashboard", http.StatusFound)
		case r.URL.Path == "/logout":
			delete(signedIn, id)
		default:
			whoami(w, signedIn[id], "17")
		}
	})
	cfg := appConfig()
	cfg.App.Vault = config.Vault{Names: []string{"PHPSESSID"}}
	s := openSite(t, cfg, app)
	p := s.person()
	p.get("/")
	if p.cookies()["PHPSESSID"] == "" {
		t.Fatal("before login all cookies pass")
	}
	p.post("/login", url.Values{"username": {"uma"}}).want(t, 302, "/dashboard")
	if _, has := p.cookies()["PHPSESSID"]; has {
		t.Errorf("the browser still has it: %v", p.cookies())
	}
	if got := p.get("/api/me"); got.StatusCode != 200 {
		t.Errorf("the application does not get it back: %d", got.StatusCode)
	}
	// A second login in the same browser goes on with the vault's cookie.
	p.post("/login", url.Values{"username": {"uma"}}).want(t, 302, "/dashboard")
	if got := p.get("/api/me"); got.StatusCode != 200 {
		t.Errorf("the second login lost it: %d", got.StatusCode)
	}
	s.sessions.only(t)
}
