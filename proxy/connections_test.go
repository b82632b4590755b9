package proxy

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/internal/testcert"
)

// served starts a Server of the lab's gateway, with a log of its own.
func served(t *testing.T, l *lab, change func(*config.Config)) (*Server, *syncBuffer) {
	t.Helper()
	cfg, log := config.Default(), &syncBuffer{}
	cfg.Listen = "127.0.0.1:0"
	change(cfg)
	s, err := Listen(cfg, l.gateway, l.streams, zerolog.New(log))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve() }()
	t.Cleanup(func() { _ = s.Close() })
	return s, log
}

// dialFrom connects from one of this machine's loopback addresses. A connection that is refused fails when it is used.
func dialFrom(t *testing.T, s *Server, from string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(t.Context(), "tcp", s.listener.Addr().String())
	if errors.Is(err, syscall.ECONNRESET) { // refused so soon that connecting fails already
		refused, _ := net.Pipe()
		_ = refused.Close()
		return refused
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// answers sends a request over a connection and reports whether an answer came; the connection stays open.
func answers(conn net.Conn, path string) bool {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path); err != nil {
		return false
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// TestConnectionLimitPerAddress: idle connections count, other addresses are not concerned, and a place that is given up is free.
func TestConnectionLimitPerAddress(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	s, log := served(t, l, func(c *config.Config) { c.ConnectionLimits = config.ConnectionLimits{PerAddress: 3, Total: 100} })
	var held []net.Conn
	for i := range 3 {
		held = append(held, dialFrom(t, s, "127.0.0.2"))
		if !answers(held[i], "/") {
			t.Fatalf("connection %d of 3 is refused", i+1)
		}
	}
	for range 5 {
		if answers(dialFrom(t, s, "127.0.0.2"), "/") {
			t.Error("a fourth connection is served")
		}
	}
	if !answers(dialFrom(t, s, "127.0.0.3"), "/") {
		t.Error("another address is refused")
	}
	if !answers(held[0], "/") {
		t.Error("an older connection has suffered")
	}
	_ = held[1].Close()
	eventually(t, "the free place", func() bool { return answers(dialFrom(t, s, "127.0.0.2"), "/") })
	metrics := scrape(t, l)
	if !strings.Contains(metrics, `gatehouse_connections_refused_total{limit="per_address"} `) {
		t.Error("refused connections are not counted")
	}
	if n := strings.Count(log.String(), "connections refused"); n != 1 || !strings.Contains(log.String(), "trusted_proxies") || !strings.Contains(log.String(), "127.0.0.2") {
		t.Errorf("%d lines for all the refused, want 1 that says what to do: %s", n, log)
	}
}

func scrape(t *testing.T, l *lab) string {
	t.Helper()
	text := &recorder{header: http.Header{}}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	l.metrics.Handler().ServeHTTP(text, r)
	return text.String()
}

type recorder struct {
	strings.Builder
	header http.Header
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(int)     {}

// TestConnectionLimitOfTrustedProxies: behind a proxy everybody's connections come from one address.
func TestConnectionLimitOfTrustedProxies(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, func(c *config.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.9/32")}
		c.Verify = config.Verify{Dialect: config.DialectNginx, Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.8/32")}}
	})
	s, _ := served(t, l, func(c *config.Config) { c.ConnectionLimits = config.ConnectionLimits{PerAddress: 2} })
	for _, proxy := range []string{"127.0.0.9", "127.0.0.8"} {
		for i := range 10 {
			if !answers(dialFrom(t, s, proxy), "/") {
				t.Fatalf("connection %d of the proxy %s is refused", i+1, proxy)
			}
		}
	}
	for range 2 {
		dialFrom(t, s, "127.0.0.1")
	}
	if answers(dialFrom(t, s, "127.0.0.1"), "/") {
		t.Error("beside the proxy somebody else is over the limit and served")
	}
}

// TestConnectionLimitTotal: connections that say nothing fill every place; those from this machine have a few more, for its health
// check. All come from this machine here, so these are in use as well.
func TestConnectionLimitTotal(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	s, log := served(t, l, func(c *config.Config) { c.ConnectionLimits = config.ConnectionLimits{Total: 4} })
	var held []net.Conn
	for i := range 4 + spareLocal {
		held = append(held, dialFrom(t, s, fmt.Sprintf("127.0.1.%d", i)))
	}
	if !answers(held[len(held)-1], "/.gatehouse/healthz") {
		t.Error("the last place is not served")
	}
	if answers(dialFrom(t, s, "127.0.0.1"), "/") {
		t.Error("one more is served")
	}
	for range 3 {
		_ = held[0].Close()
		held = held[1:]
	}
	eventually(t, "free places", func() bool { return answers(dialFrom(t, s, "127.0.0.1"), "/") })
	if metrics := scrape(t, l); !strings.Contains(metrics, `gatehouse_connections_refused_total{limit="total"} `) {
		t.Error("refused connections are not counted")
	}
	if !strings.Contains(log.String(), "connection_limits.total") {
		t.Errorf("the log does not tell: %s", log)
	}
}

// TestWebSocketsCountUntilTheyAreClosed: net/http forgets a connection once it is a WebSocket.
func TestWebSocketsCountUntilTheyAreClosed(t *testing.T) {
	t.Parallel()
	l := newLab(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" {
			return
		}
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(io.Discard, conn)
	}), nil)
	s, _ := served(t, l, func(c *config.Config) { c.ConnectionLimits = config.ConnectionLimits{PerAddress: 2} })
	var open []net.Conn
	for range 2 {
		conn := dialFrom(t, s, "127.0.0.4")
		_, _ = io.WriteString(conn, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil || !strings.Contains(line, "101") {
			t.Fatalf("%q, %v", line, err)
		}
		open = append(open, conn)
	}
	if answers(dialFrom(t, s, "127.0.0.4"), "/") {
		t.Error("WebSockets do not count")
	}
	_ = open[0].Close()
	eventually(t, "the place of the closed WebSocket", func() bool {
		conn := dialFrom(t, s, "127.0.0.4")
		defer conn.Close()
		return answers(conn, "/")
	})
	_ = open[1].Close()
	eventually(t, "no connection to be counted", func() bool { return s.listener.(*connections).held() == 0 })
}

// held is how many connections count.
func (l *connections) held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == 0 && len(l.byAddress) != 0 {
		return -1 // entries are left behind
	}
	return l.open
}

// TestConnectionsCountBeforeTLS: who never begins the handshake holds a place, and who is refused gets no handshake.
func TestConnectionsCountBeforeTLS(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	cert, key := testcert.Write(t, t.TempDir())
	s, _ := served(t, l, func(c *config.Config) {
		c.TLS = config.TLS{CertFile: cert, KeyFile: key}
		c.ConnectionLimits = config.ConnectionLimits{PerAddress: 2}
	})
	over := &tls.Config{InsecureSkipVerify: true}
	first := tls.Client(dialFrom(t, s, "127.0.0.5"), over)
	if !answers(first, "/") {
		t.Fatal("the first connection is refused")
	}
	silent := dialFrom(t, s, "127.0.0.5")
	if err := tls.Client(dialFrom(t, s, "127.0.0.5"), over).Handshake(); err == nil {
		t.Error("a third connection gets a handshake")
	}
	_ = silent.Close()
	eventually(t, "the free place", func() bool { return answers(tls.Client(dialFrom(t, s, "127.0.0.5"), over), "/") })
}

// TestConnectionsByAddress: who counts as one.
func TestConnectionsByAddress(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, first, second string
		total               int
		over                string
	}{
		{"one IPv4 address", "192.0.2.1", "192.0.2.1", 0, overAddress},
		{"its neighbour", "192.0.2.1", "192.0.2.2", 0, ""},
		{"one /64", "2001:db8:0:1::1", "2001:db8:0:1:ffff::2", 0, overAddress},
		{"another /64", "2001:db8:0:1::1", "2001:db8:0:2::1", 0, ""},
		{"mapped", "192.0.2.1", "::ffff:192.0.2.1", 0, overAddress},
		{"no limit in total", "192.0.2.1", "192.0.2.2", 0, ""},
		{"total reached", "192.0.2.1", "192.0.2.2", 1, overTotal},
		{"total reached, by a proxy", "192.0.2.1", "10.0.0.1", 1, overTotal},
		{"total reached, from this machine", "192.0.2.1", "127.0.0.1", 1, ""},
		{"total reached, from this machine over IPv6", "192.0.2.1", "::1", 1, ""},
		{"a proxy twice", "10.0.0.1", "10.0.0.1", 0, ""},
	} {
		cfg := config.Default()
		cfg.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
		cfg.ConnectionLimits = config.ConnectionLimits{PerAddress: 1, Total: c.total}
		l := newConnections(nil, cfg, &Gateway{Deps: Deps{Clock: time.Now}, asks: newVerifier(cfg)}, zerolog.Nop())
		hop := func(s string) netip.Addr { addr, _ := parseHop(s); return addr }
		key, over := l.take(hop(c.first))
		if over != "" {
			t.Fatalf("%s: the first is over %s", c.name, over)
		}
		if _, got := l.take(hop(c.second)); got != c.over {
			t.Errorf("%s: over %q, want %q", c.name, got, c.over)
		}
		l.release(key)
		if _, again := l.take(hop(c.first)); c.over != "" && again != "" {
			t.Errorf("%s: after the first is closed its place is not free", c.name)
		}
	}
}

// TestRefusedConnectionsAreToldOnceAMinute, with how many there were.
func TestRefusedConnectionsAreToldOnceAMinute(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	now, log := time.Now(), &syncBuffer{}
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	l := newConnections(nil, config.Default(), &Gateway{Deps: Deps{Clock: clock}}, zerolog.New(log))
	peer := netip.MustParseAddr("192.0.2.1")
	for range 1000 {
		l.refused(peer, overTotal)
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("%d lines for 1000 refused connections, want 1", n)
	}
	mu.Lock()
	now = now.Add(refusalsToldEvery)
	mu.Unlock()
	l.refused(peer, overTotal)
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, `"refused":1000`) {
		t.Errorf("a minute later: %s", got)
	}
}

// TestOpenFilesAreCheckedAtStart: a limit on connections above that on files would never be reached.
func TestOpenFilesAreCheckedAtStart(t *testing.T) {
	t.Parallel()
	files, known := maxOpenFiles()
	if !known {
		t.Fatal("the limit of open files cannot be read")
	}
	for _, c := range []struct {
		total int
		told  bool
	}{{int(min(files, 1<<40)), true}, {1, false}, {0, false}} {
		log := &syncBuffer{}
		checkOpenFiles(c.total, zerolog.New(log))
		if got := strings.Contains(log.String(), "LimitNOFILE"); got != c.told {
			t.Errorf("total %d, %d files: told %v, want %v", c.total, files, got, c.told)
		}
	}
}
