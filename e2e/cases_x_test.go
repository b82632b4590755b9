package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gatehouse/sample"
)

// protocolCases: what a connection can be made to do (security case group X).
var protocolCases = []securityCase{
	{"X02_only_websocket_is_an_upgrade", func(t *testing.T, s *setup) {
		// The app switches to whatever it is asked for, as h2c servers do.
		a := startApp(t, func(w io.Writer, r seen) {
			if up := r.Header.Get("Upgrade"); up != "" {
				fmt.Fprintf(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\ntunnel", up)
				return
			}
			reply(w, "200 OK", "text/plain", "no tunnel")
		})
		g := start(t, baseConfig(a.url, s.section())+"", withUsers())
		for _, c := range []struct {
			method, upgrade string
			want            int
		}{
			{"GET", "h2c", 200}, {"GET", "foo", 200}, {"GET", "websocket, foo", 200}, {"POST", "websocket", 200}, {"GET", "websocket", 101},
		} {
			resp := parse(t, raw(t, g.addr, c.method+" /public/ HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: "+c.upgrade+"\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: 0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
			if resp.StatusCode != c.want {
				t.Errorf("%s with Upgrade: %s: %s, want %d", c.method, c.upgrade, resp.Status, c.want)
			}
			r := a.requests()[len(a.requests())-1]
			if r.Header.Get("Http2-Settings") != "" || c.want == 200 && r.Header.Get("Upgrade") != "" {
				t.Errorf("%s with Upgrade: %s: the app got %q", c.method, c.upgrade, r.Raw)
			}
		}
		for _, r := range a.requests() {
			if r.Target == "/admin" {
				t.Error("a second request on the connection reached the app unjudged")
			}
		}
		// A rule can refuse WebSockets, and an app that switches unasked gets no tunnel.
		off := start(t, strings.Replace(baseConfig(a.url, s.section()), "- path: /public\n", "- path: /public\n    websocket: false\n", 1), withUsers())
		if resp := one(t, off, "GET /public/ HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade"); resp.StatusCode != 200 {
			t.Errorf("with websocket: false: %s, want an ordinary answer", resp.Status)
		}
		rude := startApp(t, func(w io.Writer, _ seen) {
			_, _ = io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: \r\n\r\n")
		})
		g = start(t, baseConfig(rude.url, s.section()), withUsers())
		if resp := one(t, g, "GET /public/ HTTP/1.1"); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("app switches unasked: %s, want 502", resp.Status)
		}
	}},

	{"X03_cross_site_websocket", func(t *testing.T, s *setup) {
		// An app that takes handshakes from anywhere, as many do.
		upstream := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}); err == nil {
				_ = conn.Close(websocket.StatusNormalClosure, "")
			}
		}))
		g := start(t, baseConfig(upstream, s.section())+"trusted_origins: [\"https://partner.example\"]\n", withUsers())
		for _, c := range []struct {
			origin []string
			ok     bool
		}{
			{nil, true}, {[]string{"http://" + g.addr}, true}, {[]string{"https://partner.example"}, true},
			{[]string{"https://evil.example"}, false}, {[]string{"null"}, false}, {[]string{"http://" + g.addr + ".evil.example"}, false},
			{[]string{"http://" + g.addr, "https://evil.example"}, false},
		} {
			conn, resp, err := websocket.Dial(t.Context(), "ws://"+g.addr+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": c.origin}})
			if conn != nil {
				_ = conn.CloseNow()
			}
			if c.ok != (err == nil) {
				t.Errorf("Origin %q: %v", c.origin, err)
			}
			if !c.ok && (resp == nil || resp.StatusCode != http.StatusForbidden) {
				t.Errorf("Origin %q: want 403, got %v", c.origin, resp)
			}
		}
	}},

	{"X04_streams_end_with_the_session", func(t *testing.T, s *setup) {
		upstream := startHTTPApp(t, sample.New(sample.Options{TrustHeaders: true, EventInterval: 50 * time.Millisecond}))
		redis := s.section()
		cfg := strings.Replace(baseConfig(upstream, redis), "rules:\n", "rules:\n  - path: /events\n  - path: /ws\n  - path: /download\n", 1)
		here, there := start(t, cfg, withUsers()), start(t, cfg, withUsers())
		for _, logoutAt := range []*gateway{here, there} {
			b := newBrowser(t, here.url)
			b.login(userEmail, userPassword)
			header := http.Header{"Cookie": {"gatehouse=" + b.token()}}
			conn, _, err := websocket.Dial(t.Context(), "ws://"+here.addr+"/ws", &websocket.DialOptions{HTTPHeader: header})
			if err != nil {
				t.Fatal(err)
			}
			events, download := openStream(t, here, "/events", header), openStream(t, here, "/download?bytes=1000000000", header)
			if got := here.metric(t, `gatehouse_open_streams{kind="websocket"}`); got != "1" {
				t.Errorf("open WebSockets in the metric: %s", got)
			}
			other := newBrowser(t, logoutAt.url)
			other.headers.Set("Cookie", "gatehouse="+b.token())
			began := time.Now()
			if got := other.post("/logout", nil); got.StatusCode != http.StatusSeeOther {
				t.Fatalf("logout: %s", got.Status)
			}
			ended := make(chan string, 3)
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				_, _, err := conn.Read(ctx)
				ended <- fmt.Sprint("websocket ", err)
			}()
			for name, body := range map[string]io.Reader{"events": events, "download": download} {
				go func() {
					_, err := io.Copy(io.Discard, body)
					ended <- fmt.Sprint(name, " ", err)
				}()
			}
			for range 3 {
				what := <-ended
				if strings.HasSuffix(what, "<nil>") || strings.Contains(what, "deadline") {
					t.Errorf("ended as if complete, or not at all: %s", what)
				}
			}
			t.Logf("streams ended %v after the logout (on this replica: %v)", time.Since(began).Round(time.Millisecond), logoutAt == here)
			_ = conn.CloseNow()
			eventually(t, "the metric to say that no stream is open", func() bool {
				return here.metric(t, `gatehouse_open_streams{kind="websocket"}`) == "0" && here.metric(t, `gatehouse_open_streams{kind="sse"}`) == "0" &&
					here.metric(t, `gatehouse_open_streams{kind="download"}`) == "0"
			})
		}
		// Expiry ends streams as well.
		short := strings.Replace(cfg, "session:\n", "session:\n  idle: 2s\n  absolute: 2s\n", 1)
		g := start(t, short, withUsers())
		b := newBrowser(t, g.url)
		b.login(userEmail, userPassword)
		if _, err := io.Copy(io.Discard, openStream(t, g, "/events", http.Header{"Cookie": {"gatehouse=" + b.token()}})); err == nil {
			t.Error("the event stream of an expired session ended as if complete")
		}
	}},

	{"X05_app_dies_in_the_middle", func(t *testing.T, s *setup) {
		a := startApp(t, func(w io.Writer, _ seen) {
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		})
		g := start(t, baseConfig(a.url, s.section()), withUsers())
		resp := parse(t, raw(t, g.addr, "GET /public/ HTTP/1.1\r\nHost: x\r\n\r\n"))
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("the client was given a complete answer: %q", body)
		}
	}},

	{"X07_limits", func(t *testing.T, s *setup) {
		g, a := s.gateway(t, "limits: {max_header_bytes: 16KiB, max_header_lines: 50, max_uri: 1KiB, max_body: 10KB}\n")
		many := make([]string, 60)
		for i := range many {
			many[i] = fmt.Sprintf("X-H-%d: v", i)
		}
		cookies := "Cookie: " + strings.Repeat("c=v; ", 3500)
		for _, c := range []struct {
			name, line string
			headers    []string
			want       int
		}{
			{"header lines", "GET /public/ HTTP/1.1", many, 431},
			{"header lines within", "GET /public/ HTTP/1.1", many[:40], 200},
			{"header bytes", "GET /public/ HTTP/1.1", []string{"X-Big: " + strings.Repeat("a", 17<<10)}, 431},
			{"header bytes within", "GET /public/ HTTP/1.1", []string{"X-Big: " + strings.Repeat("a", 15<<10)}, 200},
			{"900 KB", "GET /public/ HTTP/1.1", []string{"X-Big: " + strings.Repeat("a", 900<<10)}, 431},
			{"3,500 cookies", "GET /public/ HTTP/1.1", []string{cookies}, 431},
			{"URI", "GET /public/" + strings.Repeat("a", 1100) + " HTTP/1.1", nil, 414},
			{"URI within", "GET /public/" + strings.Repeat("a", 1000) + " HTTP/1.1", nil, 200},
			{"body", "POST /public/ HTTP/1.1", []string{"Content-Length: 10001"}, 413},
		} {
			if resp := one(t, g, c.line, c.headers...); resp.StatusCode != c.want {
				t.Errorf("%s: %s, want %d", c.name, resp.Status, c.want)
			}
		}
		chunk := strings.Repeat("x", 6000)
		body := fmt.Sprintf("%x\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n", len(chunk), chunk, len(chunk), chunk)
		text := raw(t, g.addr, "POST /public/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"+body)
		if resp := parse(t, text); resp.StatusCode != 413 {
			t.Errorf("chunked body over the limit: %s, want 413", resp.Status)
		}
		entry := g.logged(t, map[string]any{"type": "access", "status": 414})
		if entry["error"] == nil {
			t.Errorf("the log line does not say why: %v", entry)
		}
		for _, limit := range []string{"headers", "uri", "body"} {
			if got := g.metric(t, `gatehouse_limited_total{limit="`+limit+`"}`); got == "0" {
				t.Errorf("the metric of the limit of %s does not count", limit)
			}
		}
		_ = a
	}},

	{"X08_loop", func(t *testing.T, s *setup) {
		// The settings refuse the gateway's own address; a load balancer that leads back is found out later.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		g := start(t, baseConfig("http://"+l.Addr().String(), s.section()), withUsers())
		go func() {
			for {
				in, err := l.Accept()
				if err != nil {
					return
				}
				out, err := net.Dial("tcp", g.addr)
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
				go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
			}
		}()
		resp := one(t, g, "GET /public/ HTTP/1.1")
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusLoopDetected || !strings.Contains(string(body), "upstream") {
			t.Errorf("upstream leads back to the gateway: %s %s, want 508", resp.Status, body)
		}
		if n := len(g.entries(map[string]any{"type": "access"})); n > 2 {
			t.Errorf("the request went round %d times", n)
		}
	}},

	{"X09_app_hung_refused_and_client_gone", func(t *testing.T, s *setup) {
		gone := make(chan struct{})
		release := make(chan struct{})
		t.Cleanup(func() { close(release) })
		upstream := startHTTPApp(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
				if r.URL.Path == "/public/left" {
					close(gone)
				}
			case <-release:
			}
		}))
		g := start(t, baseConfig(upstream, s.section())+"timeouts: {response_header: 300ms}\n", withUsers())
		if resp := one(t, g, "GET /public/ HTTP/1.1"); resp.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("hung app: %s, want 504", resp.Status)
		}
		patient := start(t, baseConfig(upstream, s.section()), withUsers())
		conn, err := net.Dial("tcp", patient.addr)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(conn, "GET /public/left HTTP/1.1\r\nHost: x\r\n\r\n")
		time.Sleep(100 * time.Millisecond)
		_ = conn.Close()
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
			t.Error("the app's request was not cancelled when the client left")
		}
		patient.logged(t, map[string]any{"type": "access", "status": 499, "path": "/public/left"})

		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		refused := start(t, baseConfig("http://"+l.Addr().String(), s.section()), withUsers())
		if resp := one(t, refused, "GET /public/ HTTP/1.1"); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("app refuses: %s, want 502", resp.Status)
		}
	}},

	{"X11_streaming_works_through_the_chain", func(t *testing.T, s *setup) {
		next := make(chan struct{})
		upstream := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			for i := range 3 {
				fmt.Fprintf(w, "data: %d\n\n", i)
				w.(http.Flusher).Flush()
				select {
				case <-next:
				case <-r.Context().Done():
					return
				}
			}
		}))
		g := start(t, baseConfig(upstream, s.section()), withUsers())
		lines := bufio.NewScanner(openStream(t, g, "/public/events", nil))
		for i := range 3 {
			// The app sends the next event only when this one has arrived: a buffer anywhere would stop it.
			if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) {
				t.Fatalf("event %d did not arrive by itself: %q, %v", i, lines.Text(), lines.Err())
			}
			lines.Scan()
			next <- struct{}{}
		}
		echo := start(t, baseConfig(startHTTPApp(t, sample.New(sample.Options{TrustHeaders: true})), s.section()), withUsers())
		conn, _, err := websocket.Dial(t.Context(), "ws://"+echo.addr+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.CloseNow()
		if err := conn.Write(t.Context(), websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		for {
			_, data, err := conn.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(data), "hello") {
				break
			}
		}
	}},

	{"X13_body_of_a_rejected_request_is_not_asked_for", func(t *testing.T, s *setup) {
		g, a := s.gateway(t, "")
		text := raw(t, g.addr, "POST /account HTTP/1.1\r\nHost: x\r\nAccept: application/json\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
		if strings.Contains(text, "100 Continue") || !strings.HasPrefix(text, "HTTP/1.1 401") {
			t.Errorf("answer %q", text)
		}
		if len(a.requests()) != 0 {
			t.Error("the request reached the app")
		}
		conn, err := net.Dial("tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "POST /public/ HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n")
		src := bufio.NewReader(conn)
		if line, _ := src.ReadString('\n'); !strings.HasPrefix(line, "HTTP/1.1 100") {
			t.Fatalf("an accepted request is not told to go on: %q", line)
		}
		_, _ = io.WriteString(conn, "hello")
		rest, _ := io.ReadAll(src)
		if !strings.Contains(string(rest), "200 OK") || a.last(t).Body != "hello" {
			t.Errorf("accepted request: %q", rest)
		}
	}},

	{"X14_transport_manners", func(t *testing.T, s *setup) {
		a := startApp(t, nil)
		g := start(t, baseConfig(a.url, s.section()), options{files: withUsers().files, env: []string{"HTTP_PROXY=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1"}})
		if resp := one(t, g, "GET /public/ HTTP/1.1"); resp.StatusCode != 200 {
			t.Errorf("with HTTP_PROXY set: %s", resp.Status)
		}
		if got := a.last(t).Header.Get("Accept-Encoding"); got != "" {
			t.Errorf("the gateway asks for %q of its own", got)
		}
		// Connections are used again: 64 clients at once, many rounds, few connections.
		conns := make(chan struct{}, 10000)
		counting := countingServer(t, conns)
		g = start(t, baseConfig(counting, s.section()), withUsers())
		done := make(chan struct{})
		for range 64 {
			go func() {
				defer func() { done <- struct{}{} }()
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
				defer client.CloseIdleConnections()
				for range 20 {
					resp, err := client.Get(g.url + "/public/")
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}()
		}
		for range 64 {
			<-done
		}
		if n := len(conns); n > 200 {
			t.Errorf("1,280 requests of 64 clients took %d connections to the app", n)
		}
	}},
}

// openStream opens a streaming answer and gives its body.
func openStream(t *testing.T, g *gateway, path string, header http.Header) io.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", path, resp.Status)
	}
	return resp.Body
}

// countingServer is an application that notes each connection it accepts.
func countingServer(t *testing.T, conns chan<- struct{}) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }),
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				conns <- struct{}{}
			}
		},
	}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return "http://" + l.Addr().String()
}

// form makes a form out of pairs.
func form(pairs ...string) url.Values {
	v := make(url.Values)
	for i := 0; i+1 < len(pairs); i += 2 {
		v.Add(pairs[i], pairs[i+1])
	}
	return v
}
