package proxy

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "user=%s role=%s cookie=%s", r.Header.Get("X-User-Id"), r.Header.Get("X-User-Role"), r.Header.Get("Cookie"))
})

func TestWhoMayPass(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	admin := l.sessions.add(session.User{ID: "1", Role: "admin"})
	user := l.sessions.add(session.User{ID: "2", Role: "user"})
	for _, c := range []struct {
		path, token string
		headers     []string
		want        int
		body        string
	}{
		{path: "/", want: 200, body: "user= role="},
		{path: "/", token: user, want: 200, body: "user=2 role=user"},
		{path: "/private", want: 303},
		{path: "/private", headers: []string{"Accept", "application/json"}, want: 401, body: "unauthenticated"},
		{path: "/private", headers: []string{"X-Requested-With", "XMLHttpRequest"}, want: 401},
		{path: "/private", headers: []string{"Sec-Fetch-Mode", "cors"}, want: 401},
		{path: "/private", token: user, want: 200, body: "user=2"},
		{path: "/admin", token: user, want: 403},
		{path: "/admin", token: admin, want: 200, body: "role=admin"},
		{path: "/private", token: session.NewToken("3"), want: 303},
		{path: "/private", token: "junk", want: 303},
		{path: "/login", want: 200, body: "login handler"},
		{path: "/logout", want: 200, body: "logout handler"},
		{path: "/.gatehouse/healthz", want: 200, body: "ok"},
		{path: "/.gatehouse/nothing", want: 404},
		{path: "/.gatehouse/userinfo", want: 401},
		{path: "/.gatehouse/userinfo", token: admin, want: 200, body: `"userId":"1"`},
	} {
		resp, body := l.get(t, c.path, c.token, c.headers...)
		if resp.StatusCode != c.want || !strings.Contains(body, c.body) {
			t.Errorf("%s %v: %s %q, want %d with %q", c.path, c.headers, resp.Status, body, c.want, c.body)
		}
		if id := resp.Header[requestIDHeader]; len(id) != 1 || id[0] == "" {
			t.Errorf("%s: request id %q", c.path, id)
		}
	}
}

func TestUnauthenticatedLeadsBack(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	resp, _ := l.get(t, "/private/a?b=c&d=e", "")
	if got, want := resp.Header.Get("Location"), "/login?next=%2Fprivate%2Fa%3Fb%3Dc%26d%3De"; got != want {
		t.Errorf("Location %q, want %q", got, want)
	}
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("Cache-Control %q", got)
	}
	// A form's POST cannot be repeated: its page is come back to (L07).
	resp, _ = l.do(t, http.MethodPost, "/private/save", "", strings.NewReader("a=b"), "Referer", l.server.URL+"/private/form?x=1")
	if got, want := resp.Header.Get("Location"), "/login?next=%2Fprivate%2Fform%3Fx%3D1"; resp.StatusCode != 303 || got != want {
		t.Errorf("POST: %s, Location %q, want %q", resp.Status, got, want)
	}
	resp, _ = l.do(t, http.MethodPost, "/private/save", "", strings.NewReader("a=b"), "Referer", "https://evil.example/private")
	if got := resp.Header.Get("Location"); got != "/login" {
		t.Errorf("foreign Referer: Location %q", got)
	}
}

func TestOutage(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	token := l.sessions.add(session.User{ID: "1"})
	l.sessions.fail(fmt.Errorf("%w: refused", session.ErrUnavailable))
	resp, _ := l.get(t, "/private", token)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("protected: %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
	}
	if resp.Header["Set-Cookie"] != nil {
		t.Errorf("the cookie was touched: %q", resp.Header["Set-Cookie"])
	}
	if resp, body := l.get(t, "/", token); resp.StatusCode != 200 || !strings.Contains(body, "user= ") {
		t.Errorf("public: %s %q, want an anonymous 200", resp.Status, body)
	}
	if resp, _ := l.get(t, "/private", ""); resp.StatusCode != 303 {
		t.Errorf("without a cookie nothing needs Redis: %s", resp.Status)
	}
	if resp, _ := l.get(t, "/.gatehouse/healthz", ""); resp.StatusCode != 200 {
		t.Errorf("healthz: %s", resp.Status)
	}
	if resp, body := l.get(t, "/.gatehouse/readyz", ""); resp.StatusCode != 503 || !strings.Contains(body, "redis") {
		t.Errorf("readyz: %s %q", resp.Status, body)
	}
}

func TestReadyzRemembersItsAnswer(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	for range 20 {
		if resp, body := l.get(t, "/.gatehouse/readyz", ""); resp.StatusCode != 200 || !strings.Contains(body, `"app":"ok"`) {
			t.Fatalf("%s %q", resp.Status, body)
		}
	}
	if l.sessions.pings > 10 {
		t.Errorf("20 requests made %d pings", l.sessions.pings)
	}
	l.gateway.Drain()
	if resp, body := l.get(t, "/.gatehouse/readyz", ""); resp.StatusCode != 503 || !strings.Contains(body, "shutting down") {
		t.Errorf("while draining: %s %q", resp.Status, body)
	}
}

func TestGatewayCookie(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Set-Cookie", "gatehouse=evil; Path=/")
		w.Header().Add("Set-Cookie", "app=1; Path=/")
		echo(w, r)
	})
	l := newLab(t, app, nil)
	token := l.sessions.add(session.User{ID: "1"})
	t.Run("S02_never_reaches_the_app_nor_comes_from_it", func(t *testing.T) {
		resp, body := l.get(t, "/", "", "Cookie", `a=1; gatehouse=`+token+`; j={"x":1}`)
		if !strings.Contains(body, `user=1`) || !strings.HasSuffix(body, `cookie=a=1; j={"x":1}`) {
			t.Errorf("the app got %q", body)
		}
		if got := resp.Header["Set-Cookie"]; len(got) != 1 || got[0] != "app=1; Path=/" {
			t.Errorf("Set-Cookie %q", got)
		}
	})
	t.Run("S01_two_cookies_are_none", func(t *testing.T) {
		resp, body := l.get(t, "/", "", "Cookie", "gatehouse=evil; gatehouse="+token)
		if !strings.Contains(body, "user= ") {
			t.Errorf("the app got %q", body)
		}
		if got := strings.Join(resp.Header["Set-Cookie"], "\n"); !strings.Contains(got, "gatehouse=;") || !strings.Contains(got, "Max-Age=0") {
			t.Errorf("the cookie is not cleared: %q", got)
		}
	})
	t.Run("a renewal re-sends it", func(t *testing.T) {
		l.sessions.renew = true
		resp, _ := l.get(t, "/", token)
		if got := strings.Join(resp.Header["Set-Cookie"], "\n"); !strings.Contains(got, "gatehouse="+token) {
			t.Errorf("Set-Cookie %q", got)
		}
	})
}

func TestS13_IdentityIsNeverPublic(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v := r.Header.Get("X-Want-Cache"); v != "" {
			w.Header().Set("Cache-Control", v)
		}
		w.Header().Set("Content-Type", r.Header.Get("X-Want-Type"))
	})
	l := newLab(t, app, nil)
	token := l.sessions.add(session.User{ID: "1"})
	for _, c := range []struct{ path, token, kind, sent, want string }{
		{"/", "", "text/html", "public, max-age=60", "public, max-age=60"},
		{"/", "", "text/html", "", ""},
		{"/", token, "text/html", "", "private"},
		{"/", token, "text/html", "public, max-age=60", "private, max-age=60"},
		{"/", token, "text/html", "Public, S-MaxAge=9", "private"},
		{"/", token, "text/css", "max-age=60", "private, max-age=60"},
		{"/private", token, "text/html; charset=utf-8", "", "private, no-store"},
		{"/private", token, "image/png", "", "private"},
		{"/private", token, "text/html", "private, max-age=5", "private, max-age=5"},
		{"/private", token, "text/html", "no-store", "no-store"},
		{"/private", token, "text/html", "public, max-age=5", "private, max-age=5"},
		{"/private", token, "text/html", "no-cache, private", "no-cache, private, no-store"},
		{"/private", token, "text/html", "max-age=0, private, must-revalidate", "max-age=0, private, must-revalidate, no-store"},
		{"/private", token, "text/html", "no-cache, max-age=5", "private, no-cache, max-age=5, no-store"},
		{"/private", token, "image/png", "no-cache, private", "no-cache, private"},
		{"/", token, "text/html", "no-cache, private", "no-cache, private"},
	} {
		resp, _ := l.get(t, c.path, c.token, "X-Want-Cache", c.sent, "X-Want-Type", c.kind)
		if got := strings.Join(resp.Header["Cache-Control"], " | "); got != c.want {
			t.Errorf("%s %s %q: %q, want %q", c.path, c.kind, c.sent, got, c.want)
		}
	}
}

func TestX15_APanicIsOneRequests500(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	l.login.do = func(http.ResponseWriter, *http.Request) { panic("a mistake") }
	resp, body := l.get(t, "/login", "", "Accept", "application/json")
	if resp.StatusCode != 500 || strings.Contains(body, "a mistake") {
		t.Errorf("%s %q", resp.Status, body)
	}
	id := resp.Header.Get(requestIDHeader)
	if log := l.log.String(); !strings.Contains(log, "a mistake") || !strings.Contains(log, id) {
		t.Errorf("the log does not tell: %s", log)
	}
	if resp, _ := l.get(t, "/", ""); resp.StatusCode != 200 {
		t.Errorf("the next request: %s", resp.Status)
	}
	// After the header has gone out, an answer can only be cut off.
	l.login.do = func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("late")
	}
	r, err := http.Get(l.server.URL + "/login")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.ReadAll(r.Body); err == nil {
		t.Error("an answer that a panic cut off looks complete")
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(requestIDHeader, "the app's own")
		_, _ = io.WriteString(w, r.Header.Get(requestIDHeader))
	})
	stranger := newLab(t, app, nil)
	behind := newLab(t, app, func(c *config.Config) { c.TrustedProxies = loopback })
	for _, c := range []struct {
		lab   *lab
		sent  string
		taken bool
	}{
		{stranger, "abc-123", false}, {behind, "abc-123", true}, {behind, `x"y`, false}, {behind, strings.Repeat("a", 129), false},
	} {
		resp, body := c.lab.get(t, "/", "", requestIDHeader, c.sent)
		back := resp.Header[requestIDHeader]
		if len(back) != 1 || back[0] != body {
			t.Errorf("the app got %q, the client %q", body, back)
		}
		if (body == c.sent) != c.taken || body == "" {
			t.Errorf("id %q of a trusted proxy (%v): used %q", c.sent, c.lab == behind, body)
		}
	}
}

func TestAccessLine(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	token := l.sessions.add(session.User{ID: "7"})
	l.get(t, "/private/x?secret=1", token)
	eventually(t, "the line", func() bool { return strings.Contains(l.log.String(), `"/private/x"`) })
	line := l.log.String()
	for _, want := range []string{`"type":"access"`, `"status":200`, `"user":"7"`, `"rule":"/private"`, `"method":"GET"`, `"client":"127.0.0.1"`, `"upstream_ms":`, `"bytes":`} {
		if !strings.Contains(line, want) {
			t.Errorf("no %s in %s", want, line)
		}
	}
	for _, secret := range []string{token, "secret"} {
		if strings.Contains(line, secret) {
			t.Errorf("%q stands in the log: %s", secret, line)
		}
	}
}

func TestSlowBodyIsGivenUp(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	l := newLab(t, app, func(c *config.Config) { c.Timeouts.Body = 200 * time.Millisecond })
	src, dst := io.Pipe()
	defer dst.Close()
	go func() {
		// A body that keeps coming is not cut, however long it takes.
		for range 6 {
			_, _ = dst.Write([]byte("x"))
			time.Sleep(100 * time.Millisecond)
		}
	}()
	began := time.Now()
	r, err := http.NewRequest(http.MethodPost, l.server.URL+"/", src)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := l.server.Client().Transport.RoundTrip(r)
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("answer %s, want 408", resp.Status)
		}
	}
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("a body in progress was cut after %v", took)
	}
	eventually(t, "the access line", func() bool { return strings.Contains(l.log.String(), `"status":408`) })
}

func TestInformationalAnswers(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 8 {
			w.Header().Set("Link", "</style.css>; rel=preload")
			w.Header().Set("Set-Cookie", "gatehouse=evil")
			w.Header().Set("X-User-Id", "1")
			w.WriteHeader(http.StatusEarlyHints)
		}
		w.Header().Del("Set-Cookie")
		_, _ = io.WriteString(w, "done")
	})
	l := newLab(t, app, nil)
	l.sessions.renew = true
	token := l.sessions.add(session.User{ID: "1"})
	conn := dial(t, l)
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nCookie: gatehouse=%s\r\nConnection: close\r\n\r\n", token)
	text, err := io.ReadAll(bufio.NewReader(conn))
	if err != nil {
		t.Fatal(err)
	}
	hints := strings.Count(string(text), "HTTP/1.1 103")
	if hints == 0 || hints > maxEarlyHints {
		t.Errorf("%d informational answers passed, want 1 to %d", hints, maxEarlyHints)
	}
	if strings.Contains(string(text), "evil") || strings.Contains(string(text), "X-User-Id") {
		t.Errorf("they carry what they must not: %q", text)
	}
	if !strings.Contains(string(text), "Set-Cookie: gatehouse="+token) || !strings.Contains(string(text), requestIDHeader) {
		t.Errorf("the final answer lost the gateway's headers: %q", text)
	}
}

func TestRoundTripErrorsAreNotBlamedOnTheClient(t *testing.T) {
	t.Parallel()
	r, _ := http.NewRequest(http.MethodGet, "/", nil)
	if got := classify(r, &state{}, errors.New("malformed HTTP response")); got.Status != http.StatusBadGateway {
		t.Errorf("a malformed answer is %d, want 502", got.Status)
	}
	if got := classify(r, &state{body: &body{slow: true}}, io.ErrUnexpectedEOF); got.Status != http.StatusRequestTimeout {
		t.Errorf("a body that stopped is %d, want 408", got.Status)
	}
}
