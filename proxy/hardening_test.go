package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testcert"
	"gatehouse/session"
)

// The transport may still read a body when its request is over. Touching the ResponseController
// then ended the process on HTTP/2: a nil dereference in a goroutine nobody recovers.
func TestEarlyAnswersToSlowBodiesOverHTTP2(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		// By hand: net/http's own server would wait for the body before it answers.
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
			_, _ = io.Copy(io.Discard, conn)
			_ = conn.Close()
		}
	})
	l := newLab(t, app, nil)
	cert, key := testcert.Write(t, t.TempDir())
	s := listen(t, l, func(c *config.Config) { c.TLS = config.TLS{CertFile: cert, KeyFile: key} })
	go func() { _ = s.Serve() }()
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	for range 200 {
		src, dst := io.Pipe()
		go func() {
			_, _ = dst.Write([]byte("begun"))
			time.Sleep(50 * time.Millisecond) // by then the application has answered
			_, _ = dst.Write([]byte("and never finished"))
			_ = dst.CloseWithError(errors.New("the client gives up"))
		}()
		r, err := http.NewRequest(http.MethodPost, s.URL()+"/x", src)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			continue // the client may notice its own end first
		}
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("answer %s", resp.Status)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
	}
}

// net/http drains what a handler has not read before it writes a large answer. A body that never
// comes must not hold it up for ever.
func TestStalledBodies(t *testing.T) {
	t.Parallel()
	page := strings.Repeat("x", 8<<10)
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) })
	l := newLab(t, app, func(c *config.Config) { c.Timeouts.Body = 200 * time.Millisecond })
	for _, target := range []string{"POST /.gatehouse/x", "POST /private/x", "POST /proxied", "POST /public/%00", "BREW /x"} {
		conn := dial(t, l)
		fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\nContent-Length: 1000\r\n\r\n", target)
		text, err := io.ReadAll(conn)
		if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 ") {
			t.Errorf("%s: %d bytes, %v", target, len(text), err)
		}
	}
	if resp, _ := l.get(t, "/", ""); resp.StatusCode != 200 {
		t.Errorf("afterwards: %s", resp.Status)
	}
}

// Connections go on after a slow body that was read to its end: no deadline is left behind.
func TestNoDeadlineIsLeftBehind(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/slow" {
			time.Sleep(500 * time.Millisecond) // longer than the bound on bodies
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 64<<10))
	})
	l := newLab(t, app, func(c *config.Config) { c.Timeouts.Body = 200 * time.Millisecond })
	conn := dial(t, l)
	src := bufio.NewReader(conn)
	for _, path := range []string{"/slow", "/", "/slow", "/"} {
		fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", path)
		resp, err := http.ReadResponse(src, nil)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if n, err := io.Copy(io.Discard, resp.Body); n != 64<<10 || err != nil || resp.StatusCode != 200 {
			t.Errorf("%s: %s, %d bytes, %v", path, resp.Status, n, err)
		}
		time.Sleep(300 * time.Millisecond) // the deadlines of this answer pass while nothing happens
	}
}

func TestSlowReadersAreGivenUp(t *testing.T) {
	t.Parallel()
	var running atomic.Int64
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		running.Add(1)
		defer running.Add(-1)
		if r.URL.Path == "/events" {
			w.Header().Set("Content-Type", "text/event-stream")
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, "data: "+strings.Repeat("x", 1000)+"\n\n"); err != nil {
					return
				}
				w.(http.Flusher).Flush()
			}
			return
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 30<<10))
	})
	l := newLab(t, app, func(c *config.Config) { c.Timeouts.Body = 300 * time.Millisecond })
	for name, send := range map[string]string{
		"events":     "GET /events HTTP/1.1\r\nHost: x\r\n\r\n",
		"pipelining": strings.Repeat("GET /30k HTTP/1.1\r\nHost: x\r\n\r\n", 3000),
	} {
		conn := dial(t, l)
		go func() { _, _ = io.WriteString(conn, send) }()
		// Nothing is read. The gateway must end the connection by itself.
		lines := func() int { return strings.Count(l.log.String(), `"type":"access"`) }
		eventually(t, name+": the gateway to give up", func() bool {
			before := lines()
			time.Sleep(700 * time.Millisecond)
			return running.Load() == 0 && before > 0 && lines() == before
		})
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
			t.Errorf("%s: the connection is still open", name)
		}
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func TestOptionsAsteriskIsTheGateways(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	s := listen(t, l, nil)
	go func() { _ = s.Serve() }()
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent || !strings.Contains(resp.Header.Get("Allow"), "POST") || resp.Header.Get(requestIDHeader) == "" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	eventually(t, "the access line", func() bool { return strings.Contains(l.log.String(), `"method":"OPTIONS"`) })
}

func TestLoginsFollowTheUpstreamOfTheirRule(t *testing.T) {
	t.Parallel()
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "other %s", r.URL) }))
	t.Cleanup(other.Close)
	u, err := url.Parse(other.URL)
	if err != nil {
		t.Fatal(err)
	}
	l := newLab(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "main %s", r.URL) }), func(c *config.Config) {
		c.Rules = append(c.Rules, config.Rule{Path: "/api", Access: config.Protected, Upstream: &config.Upstream{URL: u}})
	})
	l.login.do = func(w http.ResponseWriter, r *http.Request) {
		for _, target := range []string{"/api/me?x=1", "/login"} {
			resp, err := l.gateway.Forward.Send(r.Context(), r, http.MethodGet, target, nil, nil)
			if err != nil {
				t.Error(err)
				return
			}
			text, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			fmt.Fprintf(w, "%s; ", text)
		}
	}
	if _, body := l.get(t, "/login", ""); body != "other /api/me?x=1; main /login; " {
		t.Errorf("asked %q", body)
	}
}

func TestCutEndsAWebSocketWhoseClientIsSilent(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_ = buffered.Flush()
		chunk := make([]byte, 1<<16)
		for {
			if _, err := conn.Write(chunk); err != nil {
				return
			}
		}
	})
	l := newLab(t, app, nil)
	token := l.sessions.add(session.User{ID: "1"})
	conn := dial(t, l)
	fmt.Fprintf(conn, "GET /private HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nCookie: gatehouse=%s\r\n\r\n", token)
	src := bufio.NewReader(conn)
	if line, err := src.ReadString('\n'); err != nil || !strings.Contains(line, "101") {
		t.Fatalf("%q, %v", line, err)
	}
	// From here on the client neither reads nor writes; the buffers fill up.
	time.Sleep(200 * time.Millisecond)
	key, _ := session.ParseToken(token)
	l.streams.End([]session.ID{key.ID})
	eventually(t, "the access line of the ended WebSocket", func() bool {
		return strings.Contains(l.log.String(), `"status":101`) && strings.Contains(l.log.String(), "session ended")
	})
}

func TestOddAnswersOfTheApplication(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"status below 100":            "HTTP/1.1 099 Odd\r\nContent-Type: text/event-stream\r\n\r\n",
		"101 unasked":                 "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"no HTTP":                     "hello\r\n\r\n",
		"two content lengths":         "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"header larger than accepted": "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300<<10) + "\r\n\r\n",
	} {
		l := newLab(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(conn, answer)
				_ = conn.Close()
			}
		}), nil)
		if resp, _ := l.get(t, "/", ""); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%s: %s, want 502", name, resp.Status)
		}
		if n := len(l.streams.list(func(session.Key, *stream) bool { return true })); n != 0 {
			t.Errorf("%s: %d streams are left", name, n)
		}
	}
}

func TestNoTypeIsInvented(t *testing.T) {
	t.Parallel()
	l := newLab(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Content-Type"] = nil
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = io.WriteString(w, "<html><script>alert(1)</script></html>")
	}), nil)
	if resp, _ := l.get(t, "/upload", ""); resp.Header["Content-Type"] != nil {
		t.Errorf("the application gave no type, the gateway gives %q", resp.Header["Content-Type"])
	}
}

func TestAnswersAreNotQuotedInTheLog(t *testing.T) {
	t.Parallel()
	for _, header := range []string{"Set-Cookie: appsid=secret\x01; HttpOnly", "Set-Cookie sid=secret", "Content-Length: 1\r\nContent-Length: secret"} {
		l := newLab(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n"+header+"\r\n\r\nx")
				_ = conn.Close()
			}
		}), nil)
		if resp, _ := l.get(t, "/", ""); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("%q: %s", header, resp.Status)
		}
		eventually(t, "the access line", func() bool { return strings.Contains(l.log.String(), "not proper HTTP") })
		if strings.Contains(l.log.String(), "secret") {
			t.Errorf("%q stands in the log: %s", header, l.log)
		}
	}
}

func TestMalformedBodiesAreTheClientsFault(t *testing.T) {
	t.Parallel()
	l := newLab(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), nil)
	for _, body := range []string{"ZZ\r\n", "5\r\nhellooo\r\n0\r\n\r\n", "0x1\r\na\r\n0\r\n\r\n"} {
		conn := dial(t, l)
		_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"+body)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%q: %v", body, err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%q: %s, want 400", body, resp.Status)
		}
	}
}

func TestHTTP10GetsNoInformationalAnswers(t *testing.T) {
	t.Parallel()
	l := newLab(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</a.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		_, _ = io.WriteString(w, "done")
	}), nil)
	conn := dial(t, l)
	_, _ = io.WriteString(conn, "GET / HTTP/1.0\r\nHost: x\r\n\r\n")
	text, err := io.ReadAll(conn)
	if err != nil || strings.Contains(string(text), "103") || !strings.HasSuffix(string(text), "done") {
		t.Errorf("%q, %v", text, err)
	}
}

// With the application's own form, a POST that some application takes for a login and the gateway does not
// would be a login without limit.
func TestOtherSpellingsOfTheLogin(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, func(c *config.Config) {
		c.Login.Backend = config.BackendApp
		c.Login.App.CompletionPaths = []string{"/login/code"}
	})
	for target, want := range map[string]int{
		"/Login": 400, "/login/": 400, "/LOGIN": 400, "/login.json": 400, "/login;x": 400, "/login%20": 400, "/lo%67in": 400, "/login/code/": 400, "/Login/Code": 400,
		"/login": 200, "/login/code": 200, "/login/other": 200, "/logins": 200, "/": 200,
	} {
		resp, body := l.do(t, http.MethodPost, target, "", strings.NewReader("a=b"))
		if resp.StatusCode != want || (body == "login handler") != (target == "/login" || target == "/login/code") {
			t.Errorf("POST %s: %s %.40q, want %d", target, resp.Status, body, want)
		}
	}
	if resp, _ := l.get(t, "/Login", ""); resp.StatusCode != 200 {
		t.Errorf("GET /Login: %s, want it to pass", resp.Status)
	}
}

func TestSendDropsTheGatewaysCookie(t *testing.T) {
	t.Parallel()
	l := newLab(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for _, line := range []string{"=gatehouse=EVIL; Path=/", `"gatehouse"=EVIL`, "gate%68ouse=EVIL", "Gatehouse=EVIL", "app=1"} {
			w.Header().Add("Set-Cookie", line)
		}
	}), nil)
	l.login.do = func(w http.ResponseWriter, r *http.Request) {
		resp, err := l.gateway.Forward.Send(r.Context(), r, http.MethodPost, "/logout", nil, nil)
		if err != nil {
			t.Error(err)
			return
		}
		_ = resp.Body.Close()
		fmt.Fprint(w, resp.Header["Set-Cookie"])
	}
	if _, body := l.get(t, "/login", ""); body != "[app=1]" {
		t.Errorf("the login handler is given %s", body)
	}
}

func TestReadyzTellsStrangersNoAddresses(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 5), Port: 6379}, Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		err  error
		want string
	}{
		{nil, "ok"}, {refused, "connection refused"}, {context.DeadlineExceeded, "no answer in time"},
		{errors.New("redis.password_file: open /run/secrets/x"), "unavailable, the log says why"},
		{errors.New("WRONGPASS invalid username-password pair"), "refuses the credentials"}, {errors.New("LOADING Redis is loading"), "is still loading its data"},
	} {
		if got := inWords(c.err); got != c.want {
			t.Errorf("%v: %q, want %q", c.err, got, c.want)
		}
	}
	l := newLab(t, echo, nil)
	l.sessions.fail(refused)
	if _, body := l.get(t, "/.gatehouse/readyz", ""); strings.Contains(body, "10.0.0.5") || !strings.Contains(body, "connection refused") {
		t.Errorf("readyz: %s", body)
	}
	if !strings.Contains(l.log.String(), "10.0.0.5") {
		t.Errorf("the log does not tell the operator: %s", l.log)
	}
}

func TestRefusedTargetsInTheLog(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{"http://u:secret@h/x": "(no path)", "/a/../b?secret": "/a/../b", "": "(no path)", "x:secret": "(no path)"} {
		if got := refusedPath(target); got != want {
			t.Errorf("%q is logged as %q, want %q", target, got, want)
		}
	}
}

func TestAClearedCookieIsNotCachedForAll(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
		_, _ = io.WriteString(w, "css")
	})
	l := newLab(t, app, nil)
	resp, _ := l.get(t, "/x.css", "", "Cookie", "gatehouse=a; gatehouse=b")
	if got := resp.Header.Get("Cache-Control"); strings.Contains(got, "public") || resp.Header["Set-Cookie"] == nil {
		t.Errorf("Cache-Control %q with Set-Cookie %q", got, resp.Header["Set-Cookie"])
	}
}
