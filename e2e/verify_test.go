package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
)

// verified is a real web server in front of a recording application, with a gateway beside it.
type verified struct {
	*webServer
	g     *gateway
	app   *app
	redis *testredis.Server
}

// TestVerify runs the README's examples for the web servers there are, with the real ones: the gateway is only asked, and
// what the application gets is the web server's doing.
func TestVerify(t *testing.T) {
	for dialect := range webServers {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			server, section := storeFor(t)
			v := &verified{app: startApp(t, answerVerified), redis: server}
			v.g = start(t, strings.Replace(baseConfig("http://127.0.0.1:9", section), "cookie: {secure: false}", "cookie: {secure: false}\n  idle: 5s", 1)+
				"verify: {dialect: "+dialect+", trusted: [127.0.0.1/32]}\ntrusted_proxies: [127.0.0.1/32]\noutage: {serve_known_for: 0s}\n", withUsers())
			v.webServer = startWebServer(t, dialect, v.g.addr, strings.TrimPrefix(v.app.url, "http://"))
			for _, part := range []struct {
				name string
				run  func(*verified, *testing.T)
			}{
				{"login to logout", (*verified).loginToLogout}, {"forged", (*verified).forged}, {"paths", (*verified).paths},
				{"cookies", (*verified).cookies}, {"websocket", (*verified).websocket}, {"hidden", (*verified).hidden}, {"outage", (*verified).outage},
			} {
				t.Run(part.name, func(t *testing.T) { part.run(v, t) })
			}
		})
	}
}

// helloFrame is what the application sends first on a WebSocket.
const helloFrame = "\x81\x05hello"

// answerVerified answers as an application would that knows nothing of the gateway.
func answerVerified(w io.Writer, r seen) {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") && strings.EqualFold(r.Header.Get("Connection"), "upgrade") {
		_, _ = io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"+helloFrame)
		return
	}
	reply(w, "200 OK", "text/plain", r.Header.Get("X-User-Id")+"|"+r.Body, "Set-Cookie: app=2; HttpOnly")
}

// one sends one raw request to the web server.
func (v *verified) one(t *testing.T, requestLine string, headers ...string) *http.Response {
	t.Helper()
	return one(t, &gateway{addr: v.addr}, requestLine, headers...)
}

// reached reports whether send made the application see a request.
func (v *verified) reached(send func()) bool {
	before := len(v.app.requests())
	send()
	return len(v.app.requests()) > before
}

// loginToLogout is a person's way, and a program's.
func (v *verified) loginToLogout(t *testing.T) {
	const from = "127.0.0.2" // not the web server's own address
	b := newBrowser(t, v.url)
	b.client.Transport.(*http.Transport).DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext
	b.headers.Set("Origin", v.url)
	if got := b.get("/public/x?a=1;b=%zz"); got.StatusCode != 200 || v.app.last(t).Target != "/public/x?a=1;b=%zz" {
		t.Errorf("public: %s, %s", got.Status, v.app.last(t).Target)
	}
	if v.reached(func() {
		if got := b.get("/account/x?a=b"); got.StatusCode != 303 || got.location() != "/login?next=%2Faccount%2Fx%3Fa%3Db" || got.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("nobody: %s to %q, %q", got.Status, got.location(), got.Header["Cache-Control"])
		}
		if got := b.get("/api/x"); got.StatusCode != 401 || got.location() != "" || got.Header.Get("Content-Type") != "application/json" || !strings.Contains(got.body, `"error":"unauthenticated"`) {
			t.Errorf("a program: %s %s", got.Status, got.body)
		}
	}) {
		t.Error("a request without a session reached the application")
	}
	if got := b.get("/login?next=/account"); got.StatusCode != 200 || !strings.Contains(got.body, "<form") {
		t.Fatalf("the login page: %s", got.Status)
	}
	b.login(userEmail, userPassword)
	got := b.post("/account", url.Values{"a": {"b"}}, "Cookie", `app=1; j={"x":1}`)
	if got.StatusCode != 200 || got.body != "2|a=b" {
		t.Errorf("logged in: %s %q", got.Status, got.body)
	}
	r := v.app.last(t)
	for name, want := range map[string]string{"X-User-Id": "2", "X-User-Email": userEmail, "X-User-Name": "Uma User", "X-User-Role": "user", "X-User-Email-Verified": "false",
		"Cookie": `app=1; j={"x":1}`, "X-Forwarded-For": from, "X-Forwarded-Host": v.addr, "X-Forwarded-Proto": "http"} {
		if values := r.Header.Values(name); len(values) != 1 || values[0] != want {
			t.Errorf("%s: %q, want %q", name, values, want)
		}
	}
	if r.Method != "POST" || r.Host != v.addr || strings.Contains(r.Raw, b.token()) || len(got.Header["Set-Cookie"]) == 0 {
		t.Errorf("%s %s with %s; answered with %v", r.Method, r.Host, r.Raw, got.Header)
	}
	if v.reached(func() {
		if got := b.get("/admin"); got.StatusCode != 403 {
			t.Errorf("another role: %s", got.Status)
		}
	}) {
		t.Error("another role reached the application")
	}
	asked := v.g.logged(t, map[string]any{"rule": "verify", "method": "POST", "path": "/account", "status": 200, "user": "2", "client": from})
	if id := r.Header.Get("X-Request-Id"); v.dialect == "nginx" && id != asked["id"] {
		t.Errorf("the application got the request id %q, the gateway has %q", id, asked["id"])
	}
	v.g.logged(t, map[string]any{"rule": "login", "method": "POST", "client": from})
	v.g.logged(t, map[string]any{"rule": "verify", "path": "/admin", "status": 403})
	if got := b.get("/", "Cookie", "x="+strings.Repeat("y", 7000)); got.StatusCode != 200 {
		t.Errorf("large cookies: %s", got.Status)
	}
	if got := b.post("/logout", nil); got.StatusCode != 303 {
		t.Errorf("logout: %s", got.Status)
	}
	if got := b.get("/account"); got.StatusCode != 303 {
		t.Errorf("after the logout: %s", got.Status)
	}
	admin := newBrowser(t, v.url)
	admin.login(adminEmail, adminPassword)
	if got := admin.get("/admin/x"); got.StatusCode != 200 || got.body != "1|" {
		t.Errorf("admin: %s %q", got.Status, got.body)
	}
}

// forged: no spelling of an identity header, nor what proxies say, reaches the application as the client sent it.
func (v *verified) forged(t *testing.T) {
	b := newBrowser(t, v.url)
	b.login(userEmail, userPassword)
	for _, target := range []string{"/public/x", "/account"} {
		for _, lines := range [][]string{
			{"X-User-Id: 1"}, {"x-user-id: 1", "X-USER-ID: 1"}, {"X-User-Role: admin"}, {"X-User-Email: ada@example.com", "X-User-Name: Ada"}, {"X_User_Id: 1"}, {"x-user_id: 1"},
			{"X.User.Id: 1"}, {"X~User~Id: 1"}, {"X-User-Id: 1", "Connection: X-User-Id"}, {"Connection: close, X-User-Id, X-User-Role"}, {"X-Original-URL: /admin"}, {"X-Rewrite-Url: /admin"},
			{"X-Original-URI: /public", "X-Original-Method: GET"}, {"X-Forwarded-Uri: /public", "X-Forwarded-Method: GET"}, {"X-Forwarded-For: 6.6.6.6"}, {"Forwarded: for=6.6.6.6"},
			{"Connection: X-Forwarded-Uri, X-Forwarded-Method, X-Forwarded-Host, X-Forwarded-For", "X-Forwarded-Uri: /public"}, {"Remote-User: 1"}, {"Proxy: 6.6.6.6"}, {"X-HTTP-Method-Override: DELETE"}, {"X-Real-IP: 6.6.6.6"},
		} {
			for _, token := range []string{"", b.token()} {
				want := ""
				if token != "" {
					want = "2"
					lines = append(slices.Clone(lines), "Cookie: gatehouse="+token)
				}
				var status int
				reached := v.reached(func() { status = v.one(t, "GET "+target+" HTTP/1.1", lines...).StatusCode })
				if target == "/account" && token == "" && reached {
					t.Errorf("%s %q: reached the application without a session", target, lines)
				}
				if !reached {
					if status == 200 || status >= 500 {
						t.Errorf("%s %q: %d", target, lines, status)
					}
					continue
				}
				r := v.app.last(t)
				if got := strings.Join(r.Header["X-User-Id"], ","); got != want {
					t.Errorf("%s %q: X-User-Id %q", target, lines, got)
				}
				for _, bad := range []string{"x_user", "x-user_", "x.user", "x~user", "ada@", "role: admin", "6.6.6.6", "/admin", "remote-user", "override", "proxy:"} {
					if strings.Contains(strings.ToLower(r.Raw), bad) {
						t.Errorf("%s %q: the application got %q in\n%s", target, lines, bad, r.Raw)
					}
				}
			}
		}
	}
}

// paths: the hostile ones of cases P01 to P08 reach the application only where the gateway would have let them through.
func (v *verified) paths(t *testing.T) {
	for target, passes := range map[string]bool{
		"x:http://a/admin": false, "x:%2fadmin": false, "/public/..%2fadmin": false, "/public/%2e%2e/admin": false, "/%2fadmin": false, "/public%2f..%2fadmin": false,
		"//admin": false, "///a/admin": false, "/./admin": false, "/public/../admin": false, "/public//x": true, "/admin//x": false, "/..;/admin": false, "/;x/admin": false, "/admin;x": false,
		"/public/..;x/admin": false, `/public\..\admin`: false, "/public/%5c..%5cadmin": false, "/public/%00": false, "/public/%0a": false, "/public/%ff": false, "/%2561dmin": false, "/public/%zz": false,
		"/ADMIN": false, "/admin.": false, "/admin%20": false, "/admin/": false, "/%61dmin": false, "/admin.json": false, "/administrator": true, "/admin/health": true, "/admin/HEALTH": false,
		"/adm%C4%B1n": false, "/admin%23/public/": false, "/admin?x=/public/": false, "/public/?x=/admin": true, "/caf%C3%A9": true, "/login/../admin": false, "/.gatehouse/../admin": false,
		"/.gatehouse/%2e%2e/admin": false, "/public/..": false,
	} {
		reached := v.reached(func() {
			if got := v.one(t, "GET "+target+" HTTP/1.1"); got.StatusCode >= 500 || (got.StatusCode == 200) != passes {
				t.Errorf("%s: %s", target, got.Status)
			}
		})
		if reached != passes {
			t.Errorf("%s: reached the application: %v", target, reached)
		}
		if reached && v.app.last(t).Target != target {
			t.Errorf("%s: passed on as %s", target, v.app.last(t).Target)
		}
	}
	for _, line := range []string{"CONNECT /admin HTTP/1.1", "TRACE /public/ HTTP/1.1", "get /public/ HTTP/1.1", "PROPFIND /public/ HTTP/1.1"} {
		if v.reached(func() {
			if got := v.one(t, line); got.StatusCode < 400 {
				t.Errorf("%s: %s", line, got.Status)
			}
		}) {
			t.Errorf("%s: reached the application", line)
		}
	}
}

// cookies: a renewed one reaches the browser beside the application's, two are cleared.
func (v *verified) cookies(t *testing.T) {
	b := newBrowser(t, v.url)
	b.login(userEmail, userPassword)
	eventually(t, "a renewed cookie", func() bool {
		got := b.get("/account")
		lines := strings.Join(got.Header["Set-Cookie"], "\n")
		return got.StatusCode == 200 && strings.Contains(lines, "gatehouse="+b.token()+";") && strings.Contains(lines, "app=2")
	})
	for target, want := range map[string]int{"/public/x": 200, "/account": 303} {
		got := v.one(t, "GET "+target+" HTTP/1.1", "Accept: text/html", "Cookie: gatehouse=evil; a=1; gatehouse="+b.token())
		if lines := strings.Join(got.Header["Set-Cookie"], "\n"); got.StatusCode != want || !strings.Contains(lines, "gatehouse=;") || !strings.Contains(lines, "Max-Age=0") {
			t.Errorf("two session cookies at %s: %s, %q", target, got.Status, lines)
		}
	}
	if r := v.app.last(t); r.Header.Get("Cookie") != "a=1" || r.Header["X-User-Id"] != nil {
		t.Errorf("two session cookies: the application got\n%s", r.Raw)
	}
	v.one(t, "GET /public/x HTTP/1.1", "Cookie: gatehouse="+b.token())
	if r := v.app.last(t); r.Header["Cookie"] != nil || r.Header.Get("X-User-Id") != "2" {
		t.Errorf("the gateway's cookie alone: the application got\n%s", r.Raw)
	}
}

// websocket: a handshake of this site's own page goes through, one of another's does not, nor one for another protocol.
func (v *verified) websocket(t *testing.T) {
	b := newBrowser(t, v.url)
	b.login(userEmail, userPassword)
	handshake := func(target, token, origin, protocol string) (*http.Response, string) {
		conn, err := net.Dial("tcp", v.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: %s\r\nCookie: gatehouse=%s\r\n\r\n",
			target, v.addr, protocol, origin, token)
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		from := bufio.NewReader(conn)
		resp, err := http.ReadResponse(from, nil)
		if err != nil {
			t.Fatal(err)
		}
		frame := make([]byte, len(helloFrame))
		if resp.StatusCode == http.StatusSwitchingProtocols {
			_, _ = io.ReadFull(from, frame)
		}
		return resp, string(frame)
	}
	if got, frame := handshake("/account/ws", b.token(), v.url, "WebSocket"); got.StatusCode != 101 || frame != helloFrame {
		t.Errorf("handshake: %s %q", got.Status, frame)
	}
	if r := v.app.last(t); r.Header.Get("X-User-Id") != "2" || strings.Contains(r.Raw, b.token()) {
		t.Errorf("handshake: the application got\n%s", r.Raw)
	}
	if got, _ := handshake("/account/ws", b.token(), v.url, "h2c"); got.StatusCode == 101 || v.app.last(t).Header["Upgrade"] != nil {
		t.Errorf("another protocol: %s, the application got\n%s", got.Status, v.app.last(t).Raw)
	}
	for _, c := range []struct{ what, target, token, origin string }{
		{"another site's", "/account/ws", b.token(), "https://evil.example"},
		{"another site's, to a public path", "/public/ws", b.token(), "https://evil.example"},
		{"nobody's", "/account/ws", "", v.url},
	} {
		if v.reached(func() {
			if got, _ := handshake(c.target, c.token, c.origin, "websocket"); got.StatusCode != 403 && got.StatusCode != 401 {
				t.Errorf("%s handshake: %s", c.what, got.Status)
			}
		}) {
			t.Errorf("%s handshake reached the application", c.what)
		}
	}
}

// hidden: clients cannot ask themselves.
func (v *verified) hidden(t *testing.T) {
	b := newBrowser(t, v.url)
	b.login(userEmail, userPassword)
	for _, target := range []string{"/.gatehouse/verify", "/.gatehouse/%76erify", "/.gatehouse//verify", "//.gatehouse/verify", "/.gatehouse/./verify", "/x/../.gatehouse/verify", "/.gatehouse/verify?x", "/.gatehouse/VERIFY"} {
		got := v.one(t, "GET "+target+" HTTP/1.1", "Cookie: a=1; gatehouse="+b.token(), "X-Original-Method: GET", "X-Original-URI: /", "X-Original-Host: "+v.addr,
			"X-Forwarded-Method: GET", "X-Forwarded-Uri: /", "X-Forwarded-Proto: http")
		if got.StatusCode < 400 || got.StatusCode >= 500 || target == "/.gatehouse/verify" && got.StatusCode != 404 || got.Header["Cookie"] != nil || got.Header["X-User-Id"] != nil {
			t.Errorf("%s: %s %v", target, got.Status, got.Header)
		}
	}
	if got := b.get("/.gatehouse/userinfo"); got.StatusCode != 200 || !strings.Contains(got.body, userEmail) {
		t.Errorf("userinfo: %s %s", got.Status, got.body)
	}
}

// outage: without Redis protected paths are 503 with Retry-After and public ones go on; without the gateway nothing is let through.
func (v *verified) outage(t *testing.T) {
	b := newBrowser(t, v.url)
	b.login(userEmail, userPassword)
	v.redis.Kill()
	eventually(t, "503 without Redis", func() bool { return b.get("/account").StatusCode == 503 })
	got := b.get("/account")
	if got.StatusCode != 503 || got.Header.Get("Retry-After") == "" || got.Header.Get("Cache-Control") != "no-store" || got.Header["Set-Cookie"] != nil {
		t.Errorf("without Redis: %s %v", got.Status, got.Header)
	}
	if got := b.get("/public/x"); got.StatusCode != 200 || got.body != "|" {
		t.Errorf("without Redis, public: %s %q", got.Status, got.body)
	}
	v.g.kill()
	if v.reached(func() {
		for _, target := range []string{"/account", "/public/x"} {
			if got := b.get(target); got.StatusCode != 503 && got.StatusCode != 502 {
				t.Errorf("without the gateway %s: %s", target, got.Status)
			}
		}
	}) {
		t.Error("without the gateway a request reached the application")
	}
}
