package e2e

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"

	"gatehouse/sample"
)

// protocolCases: what a connection can be made to do (security case group X).
var protocolCases = []securityCase{
	{"X02_only_websocket_is_an_upgrade", both, func(t *testing.T, s *setup) {
		// The app switches to whatever it is asked for, as h2c servers do.
		a := startApp(t, func(w io.Writer, r seen) {
			if up := r.Header.Get("Upgrade"); up != "" {
				fmt.Fprintf(w, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\ntunnel", up)
				return
			}
			reply(w, "200 OK", "text/plain", "no tunnel")
		})
		g := s.start(t, baseConfig(a.url, s.section()), withUsers())
		if s.h2() {
			// HTTP/2 has no Upgrade; its WebSockets are CONNECT requests with a :protocol (RFC 8441), which is not offered.
			c := dialH2(t, g)
			if c.settings[http2.SettingEnableConnectProtocol] != 0 {
				t.Error("extended CONNECT is offered")
			}
			for _, protocol := range []string{"websocket", "h2c", "foo"} {
				got := dialH2(t, g).open(true, fields(":method", "CONNECT", ":protocol", protocol, ":scheme", "https", ":authority", g.addr, ":path", "/public/")...).answer()
				if !refusedWith(got, 405) {
					t.Errorf(":protocol %s: %s", protocol, got.Status)
				}
			}
			if n := len(a.requests()); n != 0 {
				t.Errorf("%d requests reached the app", n)
			}
			return
		}
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

	{"X03_cross_site_websocket", onlyH1, func(t *testing.T, s *setup) {
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

	{"X04_streams_end_with_the_session", both, streamsEnd},

	{"X05_app_dies_in_the_middle", both, func(t *testing.T, s *setup) {
		a := startApp(t, func(w io.Writer, _ seen) {
			_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
		})
		g := s.start(t, baseConfig(a.url, s.section()), withUsers())
		resp := s.one(t, g, "GET /public/")
		if body, err := io.ReadAll(resp.Body); err == nil || resp.StatusCode != 200 || string(body) != "hello" {
			t.Errorf("the client was given %s %q, and told of its end by %v", resp.Status, body, err)
		}
		g.logged(t, map[string]any{"type": "access", "path": "/public/", "status": 200, "error": "answer cut off"})
	}},

	{"X07_limits", both, limits},

	{"X08_loop", both, func(t *testing.T, s *setup) {
		// The settings refuse the gateway's own address; a load balancer that leads back is found out later.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		g := s.start(t, baseConfig("http://"+l.Addr().String(), s.section()), withUsers())
		connect := func() (net.Conn, error) {
			if s.h2() {
				return tls.Dial("tcp", g.addr, &tls.Config{InsecureSkipVerify: true})
			}
			return net.Dial("tcp", g.addr)
		}
		go func() {
			for {
				in, err := l.Accept()
				if err != nil {
					return
				}
				out, err := connect()
				if err != nil {
					return
				}
				go func() { _, _ = io.Copy(out, in); _ = out.Close() }()
				go func() { _, _ = io.Copy(in, out); _ = in.Close() }()
			}
		}()
		resp := s.one(t, g, "GET /public/")
		if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusLoopDetected || !strings.Contains(string(body), "upstream") {
			t.Errorf("upstream leads back to the gateway: %s %s, want 508", resp.Status, body)
		}
		if n := len(g.entries(map[string]any{"type": "access"})); n > 2 {
			t.Errorf("the request went round %d times", n)
		}
	}},

	{"X09_app_hung_refused_and_client_gone", both, func(t *testing.T, s *setup) {
		arrived, gone, release := make(chan struct{}), make(chan struct{}), make(chan struct{})
		t.Cleanup(func() { close(release) })
		upstream := startHTTPApp(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/public/left" {
				close(arrived)
			}
			select {
			case <-r.Context().Done():
				if r.URL.Path == "/public/left" {
					close(gone)
				}
			case <-release:
			}
		}))
		g := s.start(t, baseConfig(upstream, s.section())+"timeouts: {response_header: 300ms}\n", withUsers())
		if resp := s.one(t, g, "GET /public/"); resp.StatusCode != http.StatusGatewayTimeout {
			t.Errorf("hung app: %s, want 504", resp.Status)
		}
		patient := s.start(t, baseConfig(upstream, s.section()), withUsers())
		if s.h2() {
			c := dialH2(t, patient)
			stream := c.open(true, h2Header("GET", "/public/left", patient.addr, nil)...)
			<-arrived
			stream.reset() // the connection stays
		} else {
			conn := dial(t, patient)
			_, _ = io.WriteString(conn, "GET /public/left HTTP/1.1\r\nHost: x\r\n\r\n")
			<-arrived
			_ = conn.Close()
		}
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
		refused := s.start(t, baseConfig("http://"+l.Addr().String(), s.section()), withUsers())
		if resp := s.one(t, refused, "GET /public/"); resp.StatusCode != http.StatusBadGateway {
			t.Errorf("app refuses: %s, want 502", resp.Status)
		}
	}},

	{"X11_streaming_works_through_the_chain", both, func(t *testing.T, s *setup) {
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
		g := s.start(t, baseConfig(upstream, s.section()), withUsers())
		lines := bufio.NewScanner(s.openStream(t, g, "/public/events", nil))
		for i := range 3 {
			// The app sends the next event only when this one has arrived: a buffer anywhere would stop it.
			if !lines.Scan() || lines.Text() != fmt.Sprintf("data: %d", i) {
				t.Fatalf("event %d did not arrive by itself: %q, %v", i, lines.Text(), lines.Err())
			}
			lines.Scan()
			next <- struct{}{}
		}
		if s.h2() {
			return // WebSockets are HTTP/1.1 (X02)
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

	{"X13_body_of_a_rejected_request_is_not_asked_for", both, func(t *testing.T, s *setup) {
		g, a := s.usual()
		expect := []string{"Accept: application/json", "Expect: 100-continue"}
		for target, want := range map[string]int{"/account": 401, "/public/%00": 400, "/login": 415, "/admin": 401, "/public/\\": 400} {
			if got, hints := s.askFirst(t, g, "POST "+target, expect, 1000000, ""); got.StatusCode != want || len(hints) != 0 {
				t.Errorf("%s: %s after %d informational answers, want %d after none", target, got.Status, len(hints), want)
			}
		}
		if got, hints := s.askFirst(t, g, "POST /login", append(expect, "Content-Type: application/x-www-form-urlencoded"), 1000000, ""); got.StatusCode != 413 || len(hints) != 0 {
			t.Errorf("a form that is too large: %s after %d informational answers", got.Status, len(hints))
		}
		if got, hints := s.askFirst(t, g, "POST /login", append(expect, "Content-Type: application/x-www-form-urlencoded", "Origin: https://evil.example"), 5, ""); got.StatusCode != 403 || len(hints) != 0 {
			t.Errorf("a cross-site login: %s after %d informational answers", got.Status, len(hints))
		}
		if len(a.requests()) != 0 {
			t.Error("a request reached the app")
		}
		if got, hints := s.askFirst(t, g, "POST /public/", expect, 5, "hello"); got.StatusCode != 200 || len(hints) != 1 || hints[0].StatusCode != 100 || a.last(t).Body != "hello" {
			t.Errorf("an accepted request: %s after %d informational answers", got.Status, len(hints))
		}
	}},

	{"X14_transport_manners", onlyH1, func(t *testing.T, s *setup) {
		a := startApp(t, nil)
		// Not by 127.0.0.1: to that no program uses a proxy.
		upstream := strings.Replace(a.url, "127.0.0.1", "0.0.0.0", 1)
		g := start(t, baseConfig(upstream, s.section()), options{files: withUsers().files, env: []string{"HTTP_PROXY=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1", "ALL_PROXY=http://127.0.0.1:1", "NO_PROXY=", "no_proxy="}})
		if resp := one(t, g, "GET /public/ HTTP/1.1"); resp.StatusCode != 200 {
			t.Errorf("with HTTP_PROXY set: %s", resp.Status)
		}
		if got := a.last(t).Header.Get("Accept-Encoding"); got != "" {
			t.Errorf("the gateway asks for %q of its own", got)
		}
		if one(t, g, "GET /public/ HTTP/1.1", "Accept-Encoding: br"); a.last(t).Header.Get("Accept-Encoding") != "br" {
			t.Errorf("the client's Accept-Encoding arrives as %q", a.last(t).Header["Accept-Encoding"])
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
