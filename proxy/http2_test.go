package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"gatehouse/config"
	"gatehouse/internal/testcert"
	"gatehouse/session"
)

// http2App serves HTTP/2 without TLS and nothing else. connect sees each new connection first, and may keep it.
func http2App(t *testing.T, app http.Handler, connect func(n int, conn net.Conn) bool) *config.Upstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: app, Protocols: new(http.Protocols)}
	server.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = server.Serve(&picky{Listener: l, connect: connect}) }()
	t.Cleanup(func() { _ = server.Close() })
	return &config.Upstream{URL: &url.URL{Scheme: "http", Host: l.Addr().String()}, HTTP2: true}
}

// picky is a listener some of whose connections somebody else takes.
type picky struct {
	net.Listener
	connect func(n int, conn net.Conn) bool
	n       int
}

func (p *picky) Accept() (net.Conn, error) {
	for {
		conn, err := p.Listener.Accept()
		p.n++
		if err != nil || p.connect == nil || !p.connect(p.n, conn) {
			return conn, err
		}
	}
}

// A connection that hangs is given up, and the next request goes over another one.
func TestHungHTTP2Connection(t *testing.T) {
	t.Parallel()
	up := http2App(t, echo, func(n int, conn net.Conn) bool {
		if n > 1 {
			return false
		}
		go func() { // takes everything and says nothing more
			defer conn.Close()
			_ = http2.NewFramer(conn, nil).WriteSettings()
			_, _ = io.Copy(io.Discard, conn)
		}()
		return true
	})
	l := newLab(t, http.NotFoundHandler(), func(c *config.Config) { c.Upstream = up })
	to := l.gateway.Forward.upstreams[""]
	// The same a hundred times as fast.
	for _, transport := range []*http.Transport{to.transport, to.grpc} {
		if transport.HTTP2.SendPingTimeout <= 0 || transport.HTTP2.PingTimeout <= 0 || transport.HTTP2.WriteByteTimeout <= 0 {
			t.Errorf("unbounded: %+v", transport.HTTP2)
		}
	}
	to.transport.HTTP2.SendPingTimeout /= 100
	to.transport.HTTP2.PingTimeout /= 100
	if resp, _ := l.get(t, "/", ""); resp.StatusCode != http.StatusBadGateway {
		t.Errorf("over the connection that hangs: %s", resp.Status)
	}
	if !strings.Contains(l.log.String(), errLost.Error()) {
		t.Errorf("the log does not say what happened: %s", l.log)
	}
	if resp, body := l.get(t, "/", ""); resp.StatusCode != 200 || !strings.Contains(body, "user=") {
		t.Errorf("the next request: %s %q", resp.Status, body)
	}
	// gRPC servers close connections that are pinged more than once in five minutes.
	if every := to.grpc.HTTP2.SendPingTimeout; every <= 5*time.Minute {
		t.Errorf("connections of calls are pinged every %v", every)
	}
}

// What does not speak HTTP/2 is told from what is down, and is never asked in HTTP/1.1 instead.
func TestHTTP2IsDemanded(t *testing.T) {
	t.Parallel()
	reached := make(chan struct{}, 100)
	app := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method != "PRI" { // the beginning of HTTP/2, as HTTP/1.1 reads it
			reached <- struct{}{}
		}
	})
	plain := httptest.NewServer(app)
	t.Cleanup(plain.Close)
	only1 := httptest.NewUnstartedServer(app)
	only1.StartTLS()
	t.Cleanup(only1.Close)
	cert, key := testcert.Write(t, t.TempDir())
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	// A server that knows no ALPN at all.
	silent, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: app}
	go func() { _ = server.Serve(silent) }()
	t.Cleanup(func() { _ = server.Close() })
	for name, c := range map[string]struct {
		url, says string
	}{
		"HTTP/1.1 at h2c":   {plain.URL, "h2c:// is for HTTP/2 without TLS"},
		"HTTP/1.1 at h2":    {only1.URL, "no application protocol"},
		"nothing at h2":     {"https://" + silent.Addr().String(), "does not choose HTTP/2 by ALPN"},
		"TLS at h2c":        {"http://" + silent.Addr().String(), `"error":"`},
		"no TLS at all, h2": {strings.Replace(plain.URL, "http:", "https:", 1), "first record does not look like a TLS handshake"},
	} {
		t.Run(name, func(t *testing.T) {
			u, _ := url.Parse(c.url)
			l := newLab(t, http.NotFoundHandler(), func(cfg *config.Config) {
				cfg.Upstream = &config.Upstream{URL: u, HTTP2: true}
				cfg.UpstreamTLS = config.UpstreamTLS{CAFile: cert}
			})
			for _, transport := range []*http.Transport{l.gateway.Forward.upstreams[""].transport, l.gateway.Forward.upstreams[""].grpc} {
				transport.TLSClientConfig.InsecureSkipVerify = true // the certificate is not what this is about
			}
			if resp, _ := l.get(t, "/", ""); resp.StatusCode != http.StatusBadGateway {
				t.Errorf("%s", resp.Status)
			}
			if !strings.Contains(l.log.String(), c.says) {
				t.Errorf("the log does not say %q: %s", c.says, l.log)
			}
		})
	}
	if len(reached) != 0 {
		t.Error("the application was asked in HTTP/1.1")
	}
}

// Over HTTP/2 too the application gets the target byte for byte (P11, P13), its own host, and other cookies.
func TestHTTP2Target(t *testing.T) {
	t.Parallel()
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s %s %s", r.Proto, r.Host, r.RequestURI, r.Header.Get("Cookie"), r.Header.Get("X-User-Id"))
	})
	up := http2App(t, app, nil)
	l := newLab(t, http.NotFoundHandler(), func(c *config.Config) { c.Upstream = up })
	token := l.sessions.add(session.User{ID: "5"})
	for _, target := range []string{"/", `/a|b"?c=d|e`, "/private?a=1;b=2&c=%zz", "/a?", "/%E2%82%AC//x"} {
		conn := dial(t, l)
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: app.example:81\r\nCookie: j={\"x\":1}; gatehouse=%s\r\nX-User-Id: 1\r\nConnection: close\r\n\r\n", target, token)
		text, err := io.ReadAll(conn)
		if want := "HTTP/2.0 app.example:81 " + target + ` j={"x":1} 5`; err != nil || !strings.HasSuffix(string(text), want) {
			t.Errorf("%s: %v, %q", target, err, text)
		}
	}
}

// A WebSocket cannot be asked for by HTTP/2: the handshake is an ordinary request there.
func TestWebSocketAtHTTP2(t *testing.T) {
	t.Parallel()
	up := http2App(t, echo, nil)
	l := newLab(t, http.NotFoundHandler(), func(c *config.Config) { c.Upstream = up })
	conn := dial(t, l)
	_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n")
	if text, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200") {
		t.Errorf("%v, %q", err, text)
	}
}

// A stream ends with its session also while its client is still sending, and whoever ends it does not wait for the
// client (X04).
func TestHTTP2StreamEndsWhileItsRequestDoesNot(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	})
	up := http2App(t, app, nil)
	l := newLab(t, http.NotFoundHandler(), func(c *config.Config) { c.Upstream = up })
	token := l.sessions.add(session.User{ID: "1"})
	cert, certKey := testcert.Write(t, t.TempDir())
	server := listen(t, l, func(c *config.Config) { c.TLS = config.TLS{CertFile: cert, KeyFile: certKey} })
	go func() { _ = server.Serve() }()
	transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	defer transport.CloseIdleConnections()
	body, unfinished := io.Pipe()
	defer unfinished.Close()
	r, err := http.NewRequest("POST", server.URL()+"/private", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Cookie", "gatehouse="+token)
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	key, _ := session.ParseToken(token)
	ended := make(chan struct{})
	go func() {
		l.streams.End([]session.ID{key.ID})
		close(ended)
	}()
	for what, c := range map[string]chan struct{}{"ending it": ended, "the application's request": gone} {
		select {
		case <-c:
		case <-time.After(10 * time.Second):
			t.Fatalf("%s waits for the client", what)
		}
	}
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("the answer ended as if complete")
	}
}

// A client that has vanished in the middle of a quiet stream is found out: it is asked for a sign of life.
func TestSilentClientsArePinged(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	cert, key := testcert.Write(t, t.TempDir())
	s := listen(t, l, func(c *config.Config) {
		c.TLS = config.TLS{CertFile: cert, KeyFile: key}
		c.Timeouts.Body = 50 * time.Millisecond
	})
	if s.http.HTTP2.WriteByteTimeout <= 0 {
		t.Error("who stops reading at the level of TCP keeps its connection for ever")
	}
	go func() { _ = s.Serve() }()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.URL(), "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	_ = framer.WriteSettings()
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatalf("no ping: %v", err)
		}
		if ping, ok := frame.(*http2.PingFrame); ok && !ping.IsAck() {
			return
		}
	}
}
