package proxy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

// appSessions also has sessions the application made, by the token in its cookie.
type appSessions struct {
	*fakeSessions
	mu    sync.Mutex
	apps  map[string]session.Session
	err   error
	asked int
}

func (f *appSessions) FindApp(_ context.Context, app session.AppToken) (session.Session, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.err != nil {
		return session.Session{}, f.err
	}
	if s, ok := f.apps[app.Key().Row]; ok {
		return s, nil
	}
	return session.Session{}, session.ErrNotFound
}

func (f *appSessions) took() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.asked = 0 }()
	return f.asked
}

// newAppLab is a lab while sessions move: the application's cookie is sid. Its sessions: "ada" (admin) and "bob" are in its
// table, "bob-renewed" is due for a renewal, "cleo" has come over and her token is cleo's.
func newAppLab(t *testing.T, app http.Handler, forward bool) (l *lab, sessions *appSessions, cleosToken string) {
	t.Helper()
	var cfg *config.Config
	l = newLab(t, app, func(c *config.Config) {
		c.Session.Database.Cookie.Forward = forward
		c.Session.Idle = time.Hour
		cfg = c
	})
	of := func(id, role string, renew bool, token string) session.Session {
		now := time.Now()
		key, _ := session.ParseToken(session.NewToken(id))
		rec := &session.Record{ID: key.ID, User: session.User{ID: id, Email: id + "@example.com", Name: "The " + id, EmailVerified: true, Role: role},
			CreatedAt: now, LastAccessed: now, ExpiresAt: now.Add(30 * time.Minute)}
		return session.Session{Record: rec, Source: session.FromDatabase, Renew: renew, Token: token}
	}
	cleosToken = session.NewToken("3")
	sessions = &appSessions{fakeSessions: l.sessions, apps: map[string]session.Session{
		"ada": of("1", "admin", false, ""), "bob": of("2", "user", false, ""), "bob-renewed": of("2", "user", true, ""), "cleo": of("3", "user", true, cleosToken),
	}}
	cookie, err := session.NewAppCookie(new(session.DatabaseStore), cfg.Session, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	deps := l.gateway.Deps
	deps.Sessions, deps.AppCookie = sessions, cookie
	deps.Forward, err = NewForwarder(cfg, ForwarderDeps{Cookies: deps.Cookies, AppCookie: cookie, Streams: deps.Streams, Pages: deps.Pages, Log: deps.Log, Clock: deps.Clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(deps.Forward.Close)
	l.gateway = New(cfg, deps)
	l.server = httptest.NewServer(l.gateway)
	t.Cleanup(func() { l.server.CloseClientConnections(); l.server.Close() })
	return l, sessions, cleosToken
}

// setCookies are the names of the cookies an answer sets.
func setCookies(resp *http.Response) string {
	var names []string
	for _, c := range resp.Cookies() {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}

func TestSessionsOfTheApplication(t *testing.T) {
	t.Parallel()
	l, sessions, _ := newAppLab(t, echo, false)
	gateways := l.sessions.add(session.User{ID: "9", Role: "user"})
	dead := session.NewToken("9")
	for _, c := range []struct {
		name, path, cookie string
		want               int
		body               string
		asked              int // how often for the application's session
		set                string
	}{
		{"nobody", "/private", "a=b", 303, "", 0, ""},
		{"in the table", "/private", "sid=bob", 200, "user=2 role=user", 1, ""},
		{"public", "/", "sid=bob", 200, "user=2 role=user", 1, ""},
		{"may", "/admin", "sid=ada", 200, "user=1 role=admin", 1, ""},
		{"may not", "/admin", "sid=bob", 403, "", 1, ""},
		{"unknown", "/private", "sid=eve", 303, "", 1, ""},
		{"unknown, public", "/", "sid=eve", 200, "user= role=", 1, ""},
		{"no token", "/private", "sid=%00", 303, "", 0, ""},
		{"S01 two that differ", "/private", "sid=bob; sid=ada", 303, "", 0, ""},
		{"renewed", "/private", "sid=bob-renewed", 200, "user=2", 1, "sid"},
		{"come over", "/private", "sid=cleo", 200, "user=3", 1, "gatehouse"},
		{"come over, may not", "/admin", "sid=cleo", 403, "", 1, "gatehouse"},
		{"the gateway's session goes first", "/private", "sid=ada; gatehouse=" + gateways, 200, "user=9", 0, ""},
		{"the gateway's session has ended", "/private", "sid=ada; gatehouse=" + dead, 200, "user=1", 1, ""},
		{"junk in the gateway's cookie", "/private", "sid=ada; gatehouse=junk", 200, "user=1", 1, ""},
		{"S01 two of the gateway's", "/private", "sid=ada; gatehouse=" + gateways + "; gatehouse=" + dead, 303, "", 0, "gatehouse"},
		// What a client writes into the gateway's cookie is no token of the application's.
		{"the application's token in the gateway's cookie", "/private", "gatehouse=ada", 303, "", 0, ""},
		{"and beside another", "/private", "gatehouse=ada; sid=bob", 200, "user=2", 1, ""},
		// Nor the other way round.
		{"the gateway's token in the application's cookie", "/private", "sid=" + gateways, 303, "", 1, ""},
	} {
		sessions.took()
		resp, body := l.get(t, c.path, "", "Cookie", c.cookie)
		if resp.StatusCode != c.want || !strings.Contains(body, c.body) {
			t.Errorf("%s: %s %q, want %d with %q", c.name, resp.Status, body, c.want, c.body)
		}
		if n := sessions.took(); n != c.asked {
			t.Errorf("%s: asked %d times for the application's session, want %d", c.name, n, c.asked)
		}
		if got := setCookies(resp); got != c.set {
			t.Errorf("%s: the answer sets %q, want %q", c.name, got, c.set)
		}
	}
}

// TestCookiesOfAnImport: the new token replaces the application's as soon as there is one; until then the
// application's own lives as long as its session, which the application, no longer asked, cannot see to.
func TestCookiesOfAnImport(t *testing.T) {
	t.Parallel()
	l, _, token := newAppLab(t, echo, false)
	resp, _ := l.get(t, "/private", "", "Cookie", "sid=cleo")
	if c := resp.Cookies()[0]; c.Name != "gatehouse" || c.Value != token || !c.HttpOnly || c.Path != "/" || c.MaxAge < 1700 || c.MaxAge > 1800 {
		t.Errorf("of an import: %s", c.String())
	}
	if got := resp.Header.Get("Cache-Control"); !strings.Contains(got, "private") && !strings.Contains(got, "no-store") {
		t.Errorf("an answer with a token may be kept for all: Cache-Control %q", got)
	}
	resp, _ = l.get(t, "/private", "", "Cookie", "sid=%62ob-renewed")
	if c := resp.Cookies()[0]; c.Name != "sid" || c.Value != "%62ob-renewed" || !c.HttpOnly || c.Path != "/" || c.MaxAge < 1700 || c.MaxAge > 1800 {
		t.Errorf("of a renewal: %s", c.String())
	}
}

// TestI07_ApplicationsSessionCookieIsStripped: both ways, unless the application goes on getting it; the gateway's own always.
func TestI07_ApplicationsSessionCookieIsStripped(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, line := range []string{"sid=fixed; Path=/", "SID=other case", "sidecar=1", "gatehouse=planted", "theme=dark"} {
			w.Header().Add("Set-Cookie", line)
		}
		fmt.Fprintf(w, "cookie=%s id=%s email=%s name=%s verified=%s", r.Header.Get("Cookie"), r.Header.Get("X-User-Id"),
			r.Header.Get("X-User-Email"), r.Header.Get("X-User-Name"), r.Header.Get("X-User-Email-Verified"))
	})
	for _, c := range []struct {
		forward       bool
		cookies, sets string
	}{
		{false, "cookie=sidecar=0; theme=light ", "sidecar theme"},
		{true, "cookie=sid=bob; sidecar=0; theme=light ", "sid SID sidecar theme"},
	} {
		l, _, _ := newAppLab(t, app, c.forward)
		for _, path := range []string{"/private", "/"} {
			resp, body := l.get(t, path, "", "Cookie", "sid=bob; sidecar=0; gatehouse=junk; theme=light", "X-User-Id", "1", "X_User_Role", "admin")
			if !strings.HasPrefix(body, c.cookies) || !strings.Contains(body, "id=2 email=2@example.com name=The 2 verified=true") {
				t.Errorf("forward %v, %s: the application gets %q", c.forward, path, body)
			}
			if got := setCookies(resp); got != c.sets {
				t.Errorf("forward %v, %s: the browser gets %q, want %q", c.forward, path, got, c.sets)
			}
		}
		// Also of who is not logged in: a value the application does not know is still a token.
		if _, body := l.get(t, "/", "", "Cookie", "sid=eve"); strings.Contains(body, "eve") != c.forward {
			t.Errorf("forward %v: without a session the application gets %q", c.forward, body)
		}
	}
}

// TestOutageOfTheApplicationsSessions: nobody is logged out for it, and no cookie is touched.
func TestOutageOfTheApplicationsSessions(t *testing.T) {
	t.Parallel()
	l, sessions, _ := newAppLab(t, echo, false)
	sessions.mu.Lock()
	sessions.err = fmt.Errorf("%w: away", session.ErrUnavailable)
	sessions.mu.Unlock()
	resp, _ := l.get(t, "/private", "", "Cookie", "sid=ada")
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" || resp.Header["Set-Cookie"] != nil {
		t.Errorf("protected: %s, cookies %q", resp.Status, resp.Header["Set-Cookie"])
	}
	if resp, body := l.get(t, "/", "", "Cookie", "sid=ada"); resp.StatusCode != http.StatusOK || !strings.Contains(body, "user= ") {
		t.Errorf("public: %s %q, want an anonymous 200", resp.Status, body)
	}
	sessions.took()
	// The gateway's session cannot be looked up: that of the other cookie is not taken in its place.
	l.sessions.fail(fmt.Errorf("%w: away", session.ErrUnavailable))
	resp, _ = l.get(t, "/private", session.NewToken("1"), "Cookie", "sid=ada")
	if resp.StatusCode != http.StatusServiceUnavailable || sessions.took() != 0 {
		t.Errorf("with both cookies: %s", resp.Status)
	}
}
