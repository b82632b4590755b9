package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/session"
)

var dialects = []string{config.DialectNginx, config.DialectTraefik, config.DialectCaddy}

// verifyLab is a lab that answers a web server at 127.0.0.1. The application must not be asked.
func verifyLab(t testing.TB, dialect string, change func(*config.Config)) *lab {
	t.Helper()
	return newLab(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the application got %s %s", r.Method, r.RequestURI)
	}),
		func(cfg *config.Config) {
			cfg.Verify = config.Verify{Dialect: dialect, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}}
			if change != nil {
				change(cfg)
			}
		})
}

// question is what the web server asks about; headers are further ones of the client's.
type question struct {
	method, host, uri, proto string
	token                    string
	headers                  []string
}

// fill completes a question to an ordinary one.
func (q question) fill() question {
	set := func(s *string, to string) {
		if *s == "" {
			*s = to
		}
	}
	set(&q.method, "GET")
	set(&q.host, "app.example.com")
	set(&q.uri, "/private/x")
	set(&q.proto, "https")
	return q
}

// lines are the headers in which a web server of the dialect puts the question.
func (q question) lines(dialect string) []string {
	q = q.fill()
	prefix := "X-Forwarded-"
	if dialect == config.DialectNginx {
		prefix = "X-Original-"
	}
	lines := []string{prefix + "Method", q.method, prefix + "Uri", q.uri, prefix + "Host", q.host, "X-Forwarded-For", "203.0.113.9", "X-Forwarded-Proto", q.proto}
	return append(lines, q.headers...)
}

func (l *lab) verify(t *testing.T, dialect string, q question) (*http.Response, string) {
	t.Helper()
	return l.get(t, "/.gatehouse/verify", q.token, q.lines(dialect)...)
}

// TestVerify: the decisions of a rule, in the words of each web server.
func TestVerify(t *testing.T) {
	t.Parallel()
	const html = "text/html"
	for _, dialect := range dialects {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			no := false
			l := verifyLab(t, dialect, func(cfg *config.Config) {
				cfg.Hosts = []string{"app.example.com"}
				cfg.Rules = append(cfg.Rules, config.Rule{Path: "/api", Access: config.Protected, Unauthenticated: config.AnswerJSON},
					config.Rule{Path: "/quiet", Access: config.Public, WebSocket: &no})
			})
			user := l.sessions.add(session.User{ID: "7", Email: "uma@example.com", Role: "user"})
			admin := l.sessions.add(session.User{ID: "8", Role: "admin"})
			nginx := dialect == config.DialectNginx
			refused := func(status int) int {
				if nginx {
					return 403
				}
				return status
			}
			handshake := []string{"Sec-WebSocket-Key", "x", "Origin", "https://evil.example"}
			own := []string{"Sec-WebSocket-Key", "x", "Origin", "https://app.example.com"}
			for _, c := range []struct {
				name   string
				q      question
				status int
			}{
				{"public, anonymous", question{uri: "/"}, 200},
				{"public, logged in", question{uri: "/?a=b;c", token: user}, 200},
				{"protected", question{token: user}, 200},
				{"protected by another method", question{token: user, method: "DELETE"}, 200},
				{"role", question{token: admin, uri: "/admin"}, 200},
				{"another role", question{token: user, uri: "/admin"}, 403},
				{"another role, other spelling", question{token: user, uri: "/ADMIN.json"}, 403},
				{"program", question{uri: "/api/x", headers: []string{"Accept", html}}, 401},
				{"method", question{method: "TRACE"}, refused(405)},
				{"method in small letters", question{method: "get"}, refused(405)},
				{"dot segments", question{uri: "/public/../admin", token: admin}, refused(400)},
				{"encoded slash", question{uri: "/x%2fy", token: admin}, refused(400)},
				{"another host", question{host: "evil.example", token: admin}, refused(421)},
				{"host with port", question{host: "APP.example.com:443", token: admin}, 200},
				{"two hosts", question{host: "app.example.com,evil.example", token: admin}, refused(400)},
				{"long address", question{uri: "/" + strings.Repeat("x", 9000)}, refused(414)},
				{"many headers", question{uri: "/", headers: slices.Repeat([]string{"X-A", "b"}, 200)}, refused(431)},
				{"absolute address", question{uri: "http://app.example.com/"}, refused(400)},
				{"asterisk", question{uri: "*", method: "OPTIONS"}, refused(400)},
				{"no path", question{uri: "private"}, refused(400)},
				{"another scheme", question{uri: "/", proto: "ftp"}, refused(400)},
				{"websocket of another site", question{token: user, headers: handshake}, 403},
				{"websocket", question{token: user, headers: own}, 200},
				{"websocket as Traefik calls it", question{token: user, proto: "wss", headers: own}, 200},
				{"websocket, anonymous", question{headers: own}, 401},
				{"websocket where there are none", question{uri: "/quiet", headers: own}, 403},
				{"login", question{uri: "/login"}, 403},
				{"logout", question{uri: "/logout", method: "POST", token: user}, 403},
				{"endpoint", question{uri: "/.gatehouse/userinfo", token: user}, 403},
				{"itself", question{uri: "/.gatehouse/verify", token: user}, 403},
				{"too long a cookie", question{token: "x" + user}, refused(303)},
			} {
				want := c.status
				if c.name == "too long a cookie" && nginx {
					want = 401
				}
				if c.q.headers == nil {
					c.q.headers = []string{"Accept", html}
				}
				resp, _ := l.verify(t, dialect, c.q)
				if resp.StatusCode != want || resp.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s: %s, Cache-Control %q, want %d", c.name, resp.Status, resp.Header.Get("Cache-Control"), want)
				}
				if id := resp.Header.Get("X-User-Id"); (id != "") != (resp.StatusCode == 200 && c.q.token != "") {
					t.Errorf("%s: X-User-Id %q", c.name, id)
				}
			}
			if got := l.log.String(); strings.Contains(got, `"rule":"/private"`) || !strings.Contains(got, `"method":"DELETE","path":"/private/x"`) ||
				!strings.Contains(got, `"rule":"verify"`) || !strings.Contains(got, `"client":"203.0.113.9"`) {
				t.Errorf("the log does not tell of the request asked about:\n%s", got)
			}
		})
	}
}

// TestVerifyTellsTheUser: the identity headers that are there, and the cookies without the gateway's.
func TestVerifyTellsTheUser(t *testing.T) {
	t.Parallel()
	for _, dialect := range dialects {
		l := verifyLab(t, dialect, nil)
		token := l.sessions.add(session.User{ID: "7", Email: "uma@example.com", Name: "Jösé"})
		resp, body := l.verify(t, dialect, question{headers: []string{"Cookie", `a=1; j={"x":1}; gatehouse=` + token, "Cookie", "b=2", "X-User-Id", "1", "X-User-Role", "admin"}})
		got := resp.Header
		for name, want := range map[string]string{"X-User-Id": "7", "X-User-Email": "uma@example.com", "X-User-Name": "J%C3%B6s%C3%A9", "X-User-Email-Verified": "false",
			"X-User-Role": "", "Cookie": `a=1; j={"x":1}; b=2`, "Set-Cookie": ""} {
			if values := got.Values(name); len(values) > 1 || got.Get(name) != want {
				t.Errorf("%s: %s is %q, want %q", dialect, name, values, want)
			}
		}
		if resp.StatusCode != 200 || body != "" {
			t.Errorf("%s: %s %q", dialect, resp.Status, body)
		}
		resp, _ = l.verify(t, dialect, question{token: token})
		if _, there := resp.Header["Cookie"]; there {
			t.Errorf("%s: the gateway's cookie goes to the application: %q", dialect, resp.Header["Cookie"])
		}
		resp, _ = l.verify(t, dialect, question{uri: "/", headers: []string{"X-User-Id", "1", "Cookie", "a=1", "Cookie", "b=2"}})
		if resp.StatusCode != 200 || resp.Header.Get("X-User-Id") != "" || !slices.Equal(resp.Header["Cookie"], []string{"a=1; b=2"}) {
			t.Errorf("%s, anonymous: %s, %v", dialect, resp.Status, resp.Header)
		}
	}
}

// TestVerifyOnlyThisDialect: headers of another dialect are what the client sent, and one that stands there twice
// or not at all is no answer to what is asked.
func TestVerifyOnlyThisDialect(t *testing.T) {
	t.Parallel()
	for _, dialect := range dialects {
		l := verifyLab(t, dialect, nil)
		foreign := config.DialectNginx
		if dialect == config.DialectNginx {
			foreign = config.DialectCaddy
		}
		bad := 400
		if dialect == config.DialectNginx {
			bad = 403
		}
		resp, _ := l.get(t, "/.gatehouse/verify", "", question{uri: "/"}.lines(foreign)...)
		if resp.StatusCode != bad {
			t.Errorf("%s: asked as %s does: %s", dialect, foreign, resp.Status)
		}
		// Both: the dialect's own says /private, the other one /.
		resp, _ = l.verify(t, dialect, question{headers: append(question{uri: "/"}.lines(foreign)[:6], "Accept", "application/json")})
		want := 400 // X-Original-Uri is a path to some applications too
		if dialect == config.DialectNginx {
			want = 401
		}
		if resp.StatusCode != want {
			t.Errorf("%s: with the headers of %s beside its own: %s", dialect, foreign, resp.Status)
		}
		lines := question{uri: "/"}.lines(dialect)
		for i := 0; i < len(lines); i += 2 {
			without := slices.Delete(slices.Clone(lines), i, i+2)
			if resp, _ := l.get(t, "/.gatehouse/verify", "", without...); resp.StatusCode != bad {
				t.Errorf("%s: without %s: %s", dialect, lines[i], resp.Status)
			}
			twice := append(slices.Clone(lines), lines[i], lines[i+1])
			if resp, _ := l.get(t, "/.gatehouse/verify", "", twice...); resp.StatusCode != bad {
				t.Errorf("%s: %s twice: %s", dialect, lines[i], resp.Status)
			}
		}
		if got := l.log.String(); !strings.Contains(got, "X-Forwarded-For must be there exactly once") {
			t.Errorf("%s: the log does not say which header is missing:\n%s", dialect, got)
		}
		// What the web server would pass on to the application beside the real ones (H02, H04).
		for _, name := range []string{"X_User_Id", "x-user_id", "X.User.Id", "X~User~Id", "X-Original-Url", "X-Rewrite-Url", "X_Rewrite_URL"} {
			if resp, _ := l.verify(t, dialect, question{uri: "/", headers: []string{name, "1"}}); resp.StatusCode != bad {
				t.Errorf("%s: %s: %s", dialect, name, resp.Status)
			}
		}
	}
}

// TestVerifyStrangers: whoever is not in verify.trusted learns nothing, not even in trusted_proxies, and what is off is not there.
func TestVerifyStrangers(t *testing.T) {
	t.Parallel()
	for _, dialect := range append([]string{""}, dialects...) {
		var handler http.Handler
		l := verifyLab(t, dialect, func(cfg *config.Config) {
			cfg.Verify.Trusted = []netip.Prefix{netip.MustParsePrefix("192.0.2.7/32")}
			cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
		})
		handler = l.gateway
		token := l.sessions.add(session.User{ID: "7"})
		ask := func(peer, target string) *httptest.ResponseRecorder {
			r := httptest.NewRequest("GET", target, nil)
			r.RemoteAddr = peer
			lines := question{uri: "/"}.lines(dialect)
			for i := 0; i < len(lines); i += 2 {
				r.Header.Set(lines[i], lines[i+1])
			}
			r.Header.Set("Cookie", "gatehouse="+token)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w
		}
		for peer, want := range map[string]int{"192.0.2.7:1": 200, "[::ffff:192.0.2.7]:1": 200, "192.0.2.8:1": 403, "198.51.100.1:1": 403, "127.0.0.1:1": 403, "@": 403, "": 403} {
			if dialect == "" {
				want = 404
			}
			w := ask(peer, "/.gatehouse/verify")
			if w.Code != want || w.Code != 200 && (w.Header().Get("X-User-Id") != "" || strings.Contains(w.Body.String(), "trusted")) {
				t.Errorf("%q asks, dialect %q: %d %v %s", peer, dialect, w.Code, w.Header(), w.Body)
			}
		}
		if dialect != "" && !strings.Contains(l.log.String(), "not in verify.trusted") {
			t.Error("the log does not name the setting")
		}
		if w := ask("192.0.2.7:1", "/.gatehouse/verify?next=/private"); w.Code != map[bool]int{true: 200, false: 404}[dialect != ""] {
			t.Errorf("with the client's query: %d", w.Code)
		}
		// Spellings the web server's own rules for the path may miss.
		for _, target := range []string{"/.gatehouse/verify/", "/.gatehouse//verify", "/.gatehouse/%76erify", "/.gatehouse/Verify", "/.gatehouse/verify%3F"} {
			if w := ask("192.0.2.7:1", target); w.Code != 404 {
				t.Errorf("%s: %d", target, w.Code)
			}
		}
	}
}

// TestVerifyWhereToLogIn: people are led to the login and back, programs are told 401.
func TestVerifyWhereToLogIn(t *testing.T) {
	t.Parallel()
	const back = "/login?next=%2Fprivate%2Fx%3Fa%3Db"
	for _, c := range []struct {
		dialect, public string
		q               question
		status          int
		header, where   string
	}{
		{config.DialectNginx, "", question{}, 401, "X-Gatehouse-Login", back},
		{config.DialectTraefik, "", question{}, 303, "Location", "https://app.example.com" + back},
		{config.DialectTraefik, "", question{proto: "http", host: "app.example.com:8080"}, 303, "Location", "http://app.example.com:8080" + back},
		{config.DialectTraefik, "", question{proto: "wss"}, 303, "Location", "https://app.example.com" + back},
		{config.DialectTraefik, "https://www.example.com", question{}, 303, "Location", "https://www.example.com" + back},
		{config.DialectCaddy, "", question{}, 303, "Location", back},
		{config.DialectNginx, "", question{method: "POST", headers: []string{"Referer", "https://app.example.com/form?x=1"}}, 401, "X-Gatehouse-Login", "/login?next=%2Fform%3Fx%3D1"},
		{config.DialectNginx, "", question{method: "POST", headers: []string{"Referer", "https://evil.example/form"}}, 401, "X-Gatehouse-Login", "/login"},
		{config.DialectCaddy, "", question{method: "POST"}, 303, "Location", "/login"},
		{config.DialectNginx, "", question{headers: []string{"X-Requested-With", "XMLHttpRequest"}}, 401, "X-Gatehouse-Login", ""},
		{config.DialectTraefik, "", question{headers: []string{"X-Requested-With", "XMLHttpRequest"}}, 401, "Location", ""},
		{config.DialectCaddy, "", question{method: "HEAD"}, 303, "Location", back},
		{config.DialectCaddy, "", question{method: "HEAD", headers: []string{"X-Requested-With", "XMLHttpRequest"}}, 401, "Location", ""},
	} {
		l := verifyLab(t, c.dialect, func(cfg *config.Config) {
			if c.public != "" {
				cfg.PublicURL, _ = url.Parse(c.public)
			}
		})
		c.q.uri = "/private/x?a=b"
		c.q.headers = append(c.q.headers, "Accept", "text/html")
		resp, body := l.verify(t, c.dialect, c.q)
		if resp.StatusCode != c.status || resp.Header.Get(c.header) != c.where {
			t.Errorf("%+v: %s, %s %q", c, resp.Status, c.header, resp.Header.Get(c.header))
		}
		if c.header != "Location" && resp.Header.Get("Location") != "" {
			t.Errorf("%+v: a Location that nginx cannot use: %q", c, resp.Header.Get("Location"))
		}
		if c.q.method != "HEAD" && c.where == "" && !strings.Contains(body, `"error":"unauthenticated"`) {
			t.Errorf("%+v: %q", c, body)
		}
	}
}

// TestVerifyCookies: a renewal and the clearing of tossed cookies go with the answer, and an outage touches no cookie.
func TestVerifyCookies(t *testing.T) {
	t.Parallel()
	for _, dialect := range dialects {
		l := verifyLab(t, dialect, nil)
		token := l.sessions.add(session.User{ID: "7"})
		l.sessions.renew = true
		resp, _ := l.verify(t, dialect, question{token: token})
		if got := resp.Header["Set-Cookie"]; resp.StatusCode != 200 || len(got) != 1 || !strings.HasPrefix(got[0], "gatehouse="+token+"; Path=/; Max-Age=3") {
			t.Errorf("%s: %s, renewal %q", dialect, resp.Status, got)
		}
		resp, _ = l.verify(t, dialect, question{uri: "/", token: token + "; gatehouse=evil"})
		if got := resp.Header["Set-Cookie"]; resp.StatusCode != 200 || len(got) != 1 || !strings.Contains(got[0], "Max-Age=0") || resp.Header.Get("X-User-Id") != "" {
			t.Errorf("%s: %s, two session cookies: %q", dialect, resp.Status, got)
		}
		l.sessions.fail(fmt.Errorf("redis: %w", errors.Join(session.ErrUnavailable)))
		resp, _ = l.verify(t, dialect, question{token: token})
		if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || resp.Header["Set-Cookie"] != nil {
			t.Errorf("%s: outage: %s %v", dialect, resp.Status, resp.Header)
		}
		if resp, _ = l.verify(t, dialect, question{uri: "/", token: token}); resp.StatusCode != 200 || resp.Header.Get("X-User-Id") != "" {
			t.Errorf("%s: outage, public: %s", dialect, resp.Status)
		}
	}
}
