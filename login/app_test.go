package login_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/login"
	"gatehouse/pages"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// request makes what the server would hand to the handler, whatever the target.
func (s *site) request(method, target, body string, header ...string) (*http.Request, *httptest.ResponseRecorder) {
	r := httptest.NewRequest("GET", target, strings.NewReader(body))
	r.Method = method
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	facts := &telemetry.Request{ID: "request-1", Client: netip.MustParseAddr("192.0.2.7"), Host: r.Host}
	return r.WithContext(telemetry.WithRequest(r.Context(), facts)), httptest.NewRecorder()
}

func caseVault(t *testing.T) {
	t.Parallel()
	cfg := appConfig()
	app := &script{login: func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", `j={"x":1, "y":"a b"}; Path=/; HttpOnly`)
		w.Header().Add("Set-Cookie", "admin=1; Path=/admin; HttpOnly")
		w.Header().Add("Set-Cookie", "gatehouse=stolen; Path=/")
		w.Header().Add("Set-Cookie", "GateHouse=stolen; Path=/; HttpOnly")
		signIn(w, r)
	}}
	s := openSite(t, cfg, app)
	p := s.person()
	got := p.post("/login", uma, "Cookie", `sid=before; other="as it is"`)
	got.want(t, 302, "/dashboard")
	// The browser's copy goes, at the path the application set it at; what is not vaulted stays.
	lines := strings.Join(got.Header.Values("Set-Cookie"), "\n")
	for _, want := range []string{"sid=; Path=/; Max-Age=0", "admin=; Path=/admin; Max-Age=0", "csrftoken=readable; Path=/"} {
		if !strings.Contains(lines, want) {
			t.Errorf("no %q in\n%s", want, lines)
		}
	}
	for _, secret := range []string{"fresh", "stolen", `"x":1`} {
		if strings.Contains(lines, secret) {
			t.Errorf("%s reached the browser:\n%s", secret, lines)
		}
	}
	token := p.cookies()["gatehouse"]
	if _, ok := session.ParseToken(token); !ok {
		t.Fatalf("the gateway's cookie is %q", token)
	}
	rec := s.sessions.only(t)
	for _, c := range []struct{ path, client, want string }{
		{"/", "", `j={"x":1, "y":"a b"}; sid=fresh`},
		{"/admin/x", "", `admin=1; j={"x":1, "y":"a b"}; sid=fresh`},
		{"/administrator", "", `j={"x":1, "y":"a b"}; sid=fresh`},
		{"/", `csrftoken=readable; sid=forged;k={"z":2}`, `csrftoken=readable;k={"z":2}; j={"x":1, "y":"a b"}; sid=fresh`},
		{"/", `admin=0; a=b`, `a=b; j={"x":1, "y":"a b"}; sid=fresh`},
	} {
		got, err := s.vault.Outgoing(rec, token, c.path, c.client)
		if err != nil || got != c.want {
			t.Errorf("%s with %q: %q, %v, want %q", c.path, c.client, got, err, c.want)
		}
	}
}

func TestAppNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, target, referer, want string }{
		{"none", "/login", "", "/dashboard"},
		{"query", "/login?next=/account%3Ftab=2", "", "/account?tab=2"},
		{"unsafe", "/login?next=//evil.example", "", "/dashboard"},
		{"unsafe before a good referer", "/login?next=//evil.example", "SELF/login?next=/account", "/dashboard"},
		{"form's page", "/login", "SELF/login?next=%2Faccount", "/account"},
		{"form's page, unsafe", "/login", "SELF/login?next=https:evil", "/dashboard"},
		{"another page", "/login", "SELF/other?next=/account", "/dashboard"},
		{"another site", "/login", "http://evil.example/login?next=/account", "/dashboard"},
		{"circle", "/login?next=/login", "", "/dashboard"},
		{"out again", "/login?next=/logout", "", "/dashboard"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := openSite(t, appConfig(), &script{})
			got := s.person().post(c.target, uma, "Referer", strings.Replace(c.referer, "SELF", s.url, 1))
			got.want(t, 302, c.want)
			if cc := got.Header.Values("Cache-Control"); len(cc) != 1 || cc[0] != "no-store" {
				t.Errorf("S13: Cache-Control %q", cc)
			}
		})
	}
	t.Run("a failed login keeps it", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct{ target, back, want string }{
			{"/login?next=/account", "/login?error=1", "/login?error=1&next=%2Faccount"},
			{"/login?next=/account", "/login", "/login?next=%2Faccount"},
			{"/login?next=/account", "SELF/login?error=1#form", "/login?error=1&next=%2Faccount"},
			{"/login?next=/account", "/login?next=/mine", "/login?next=/mine"},
			{"/login?next=/account", "/locked", "/locked"},
			{"/login?next=/account", "http://evil.example/login", "http://evil.example/login"},
			{"/login?next=//evil.example", "/login?error=1", "/login?error=1"},
			{"/login", "/login?error=1", "/login?error=1"},
		} {
			var self string
			s := openSite(t, appConfig(), &script{login: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", strings.Replace(c.back, "SELF", self, 1))
				w.WriteHeader(http.StatusFound)
			}})
			self = s.url
			s.person().post(c.target, uma).want(t, 302, c.want)
		}
	})
	t.Run("the password is not sent on", func(t *testing.T) {
		t.Parallel()
		cfg := appConfig()
		cfg.App.Success.Status = []int{307}
		s := openSite(t, cfg, &script{login: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Set-Cookie", "sid=fresh; HttpOnly")
			http.Redirect(w, r, "/dashboard", http.StatusTemporaryRedirect)
		}})
		s.person().post("/login?next=/account", uma).want(t, 307, "/dashboard")
	})
}

// TestSecondLogin: the old session ends, its cookies go on into the new one as they would in a browser.
func TestSecondLogin(t *testing.T) {
	t.Parallel()
	app := &script{login: func(w http.ResponseWriter, r *http.Request) {
		if value(r, "device") == "" {
			w.Header().Add("Set-Cookie", "device=d1; Path=/; HttpOnly; Max-Age=99999")
		}
		signIn(w, r)
	}}
	s := openSite(t, appConfig(), app)
	p := s.person()
	p.post("/login", uma).want(t, 302, "/dashboard")
	first := p.cookies()["gatehouse"]
	p.post("/login", uma).want(t, 302, "/dashboard")
	second := p.cookies()["gatehouse"]
	if first == second || s.sessions.previous[1] != first {
		t.Errorf("S03: the session was not replaced: %q", s.sessions.previous)
	}
	if got, err := s.vault.Outgoing(s.sessions.only(t), second, "/", ""); err != nil || got != "device=d1; sid=fresh" && got != "sid=fresh; device=d1" {
		t.Errorf("the new session has %q, %v", got, err)
	}
	// A session whose secrets cannot be read keeps nobody out.
	s.sessions.only(t).Sealed = []byte("broken")
	p.post("/login", uma).want(t, 302, "/dashboard")
}

// TestLoginKeepsOut: a vault that is too small for what the application sets is no login.
func TestLoginKeepsOut(t *testing.T) {
	t.Parallel()
	s := openSite(t, appConfig(), &script{login: func(w http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
			w.Header().Add("Set-Cookie", name+"="+strings.Repeat("x", 8000)+"; HttpOnly")
		}
		signIn(w, r)
	}})
	p := s.person()
	wantNothing(t, s, p, p.post("/login", uma), 502)
}

// TestWhoamiRequest looks at what the application is asked.
func TestWhoamiRequest(t *testing.T) {
	t.Parallel()
	var asked *http.Request
	s := openSite(t, appConfig(), &script{whoami: func(w http.ResponseWriter, r *http.Request) {
		asked = r
		w.Header().Add("Set-Cookie", "late=1; HttpOnly")
		w.Header().Add("Set-Cookie", "shown=1")
		whoami(w, value(r, "sid") == "fresh", "17")
	}})
	p := s.person()
	got := p.post("/login", uma, "Cookie", "sid=old; csrftoken=old; pref=1; gatehouse=junk", "Authorization", "Basic eDp5", "If-None-Match", "*", "Accept-Encoding", "gzip")
	got.want(t, 302, "/dashboard")
	if asked.Method != "GET" || asked.ContentLength > 0 {
		t.Errorf("%s with %d bytes", asked.Method, asked.ContentLength)
	}
	for name, want := range map[string]string{
		"Cookie": "pref=1; sid=fresh; csrftoken=readable", "Accept": "application/json", "Accept-Encoding": "identity",
		"Authorization": "", "If-None-Match": "", "Content-Type": "", "Origin": "",
	} {
		if got := strings.Join(asked.Header.Values(name), "|"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	lines := strings.Join(got.Header.Values("Set-Cookie"), "\n")
	if strings.Contains(lines, "late=1") || !strings.Contains(lines, "shown=1; Path=/api") {
		t.Errorf("the cookies of whoami's answer:\n%s", lines)
	}
	if cookies, err := s.vault.Outgoing(s.sessions.only(t), p.cookies()["gatehouse"], "/api/x", ""); err != nil || !strings.Contains(cookies, "late=1") {
		t.Errorf("%q, %v", cookies, err)
	}
}

func TestAppConfigIsChecked(t *testing.T) {
	t.Parallel()
	views, err := pages.New(config.Pages{})
	if err != nil {
		t.Fatal(err)
	}
	deps := login.Deps{Pages: views, App: newUpstream("", ""), Vault: login.NewVault(config.Vault{}, nil, zerolog.Nop(), nil)}
	for _, c := range []struct {
		want string
		bad  func(*config.LoginApp, *login.Deps)
	}{
		{"success has no mark", func(a *config.LoginApp, _ *login.Deps) { a.Success = config.AppSuccess{} }},
		{"identity.from", func(a *config.LoginApp, _ *login.Deps) { a.Identity.From = "" }},
		{"fields.userId", func(a *config.LoginApp, _ *login.Deps) { a.Identity.Fields.UserID = "" }},
		{"whoami_path", func(a *config.LoginApp, _ *login.Deps) { a.Identity.WhoamiPath = "api/me" }},
		{"needs the application", func(_ *config.LoginApp, d *login.Deps) { d.App = nil }},
		{"the vault", func(_ *config.LoginApp, d *login.Deps) { d.Vault = nil }},
	} {
		cfg, d := appConfig(), deps
		c.bad(&cfg.App, &d)
		if _, err := login.NewHandler(cfg, d); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v", c.want, err)
		}
	}
}

func TestIdentityHeaderNames(t *testing.T) {
	t.Parallel()
	cfg := appConfig().App
	if got := login.IdentityHeaders(cfg); got != nil {
		t.Errorf("whoami has none: %v", got)
	}
	cfg.Identity = config.AppIdentity{From: "header", Fields: config.IdentityFields{UserID: "X-U", Role: "X-R"}}
	if got := strings.Join(login.IdentityHeaders(cfg), " "); got != "X-U X-R" {
		t.Errorf("%q", got)
	}
}

// TestSlowPageIsNotCut: the time limit is for the decision, not for the answer's body.
func TestSlowPageIsNotCut(t *testing.T) {
	t.Parallel()
	cfg := appConfig()
	cfg.App.Timeout = 100 * time.Millisecond
	release := make(chan struct{})
	s := openSite(t, cfg, &script{login: func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("wrong "))
		_ = http.NewResponseController(w).Flush()
		<-release
		_, _ = w.Write([]byte("password"))
	}})
	time.AfterFunc(300*time.Millisecond, func() { close(release) })
	resp, err := http.PostForm(s.url+"/login", uma)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || string(text) != "wrong password" {
		t.Errorf("%q, %v", text, err)
	}
}
