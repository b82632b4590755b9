package login_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

func TestAppLogout(t *testing.T) {
	t.Parallel()
	signedIn := func(t *testing.T, logout http.HandlerFunc) (*site, *person, *script) {
		t.Helper()
		app := &script{}
		app.login = func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/logout" {
				logout(w, r)
				return
			}
			signIn(w, r)
		}
		s := openSite(t, appConfig(), app)
		p := s.person()
		p.post("/login", uma).want(t, 302, "/dashboard")
		return s, p, app
	}
	t.Run("as sent", func(t *testing.T) {
		t.Parallel()
		s, p, app := signedIn(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Add("Set-Cookie", "sid=anonymous; Path=/; HttpOnly")
			w.Header().Add("Set-Cookie", "sid=; Path=/; Max-Age=0")
			w.Header().Add("Set-Cookie", "flash=bye; Path=/")
			w.Header().Set("Location", "http://"+r.Header.Get("X-Test-Host")+"/bye?x=1")
			w.WriteHeader(302)
		})
		got := p.post("/logout", url.Values{"_token": {"t"}}, "X-Test-Host", strings.TrimPrefix(s.url, "http://"))
		got.want(t, 303, "/bye?x=1")
		last := app.calls[len(app.calls)-1]
		if app.body[len(app.body)-1] != "_token=t" || value(last, "sid") != "fresh" || value(last, "gatehouse") != "" {
			t.Errorf("the application got %q with %q", app.body[len(app.body)-1], last.Header["Cookie"])
		}
		lines := strings.Join(got.Header.Values("Set-Cookie"), "\n")
		if strings.Contains(lines, "sid=") || !strings.Contains(lines, "flash=bye") || s.sessions.count() != 0 {
			t.Errorf("%d sessions, cookies:\n%s", s.sessions.count(), lines)
		}
	})
	t.Run("to another site", func(t *testing.T) {
		t.Parallel()
		_, p, _ := signedIn(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/", http.StatusFound)
		})
		p.post("/logout", nil).want(t, 303, "/")
	})
	for name, logout := range map[string]http.HandlerFunc{
		"refused": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Set-Cookie", "sid=fresh; Path=/; HttpOnly")
			w.WriteHeader(419)
		},
		"dead": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, p, _ := signedIn(t, logout)
			got := p.post("/logout", nil)
			got.want(t, 303, "/")
			if s.sessions.count() != 0 || p.cookies()["gatehouse"] != "" || p.cookies()["sid"] != "" {
				t.Errorf("%d sessions, browser holds %v", s.sessions.count(), p.cookies())
			}
			if !strings.Contains(s.log.String(), "not logged out") {
				t.Errorf("not logged:\n%s", s.log)
			}
		})
	}
}

// TestAppLogHoldsNoSecrets reads everything that is logged about a visit.
func TestAppLogHoldsNoSecrets(t *testing.T) {
	t.Parallel()
	s := openSite(t, appConfig(), &script{})
	p := s.person()
	p.post("/login", uma).want(t, 302, "/dashboard")
	token := p.cookies()["gatehouse"]
	p.post("/logout", nil)
	if !strings.Contains(s.log.String(), `"event":"login"`) {
		t.Errorf("no audit line:\n%s", s.log)
	}
	for _, secret := range []string{token, "fresh", "right", "uma@example.com"} {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, s.log)
		}
	}
}
