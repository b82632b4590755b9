package proxy

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

// hourly lets n requests through in a test, and no more.
func hourly(n int) config.Rate { return config.Rate{Events: n, Per: time.Hour} }

// from is the header by which the proxy on this machine tells a client's address.
func from(address string) []string { return []string{"X-Forwarded-For", address} }

func TestRequestLimitPerAddress(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	app := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	l := newLab(t, app, func(c *config.Config) {
		c.TrustedProxies = loopback
		c.RequestLimits = config.RequestLimits{PerAddress: hourly(3)}
	})
	status := func(path, address string, headers ...string) int {
		resp, _ := l.get(t, path, "", append(from(address), headers...)...)
		return resp.StatusCode
	}
	for i := range 3 {
		if got := status("/", "192.0.2.1"); got != 200 {
			t.Errorf("request %d of 3: %d", i+1, got)
		}
	}
	for range 3 {
		if got := status("/other", "192.0.2.1"); got != 429 {
			t.Errorf("a fourth: %d", got)
		}
	}
	if got := asked.Load(); got != 3 {
		t.Errorf("the application was asked %d times, want 3", got)
	}
	if got := status("/", "192.0.2.2"); got != 200 {
		t.Errorf("another address: %d", got)
	}
	for i, address := range []string{"2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:0:5::", "2001:db8::9"} {
		if got := status("/", address); got == 200 != (i < 3) {
			t.Errorf("request %d of one /64: %d", i+1, got)
		}
	}
	// Who is over the limit costs no look-up of a session, and is told so even while there are none to be had.
	l.sessions.fail(session.ErrUnavailable)
	if got := status("/private", "192.0.2.1", "Cookie", "gatehouse="+session.NewToken("1")); got != 429 {
		t.Errorf("over the limit, while Redis is away: %d", got)
	}
	// Health checks must go on: a limit there would take the gateway out of service.
	for _, path := range []string{"/.gatehouse/healthz", "/login", "/logout"} {
		if got := status(path, "192.0.2.1"); got != 200 {
			t.Errorf("%s, which has limits of its own or needs none: %d", path, got)
		}
	}
	for _, path := range []string{"/.gatehouse/userinfo", "/.gatehouse/sessions"} {
		if got := status(path, "192.0.2.1"); got != 429 {
			t.Errorf("%s: %d, want 429", path, got)
		}
	}
}

func TestRequestLimitPerUser(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, func(c *config.Config) {
		c.TrustedProxies = loopback
		c.RequestLimits = config.RequestLimits{PerUser: hourly(100), Burst: 3}
	})
	phone, laptop := l.sessions.add(session.User{ID: "1"}), l.sessions.add(session.User{ID: "1"})
	other := l.sessions.add(session.User{ID: "2"})
	for i, c := range []struct {
		path, token, address string
		want                 int
	}{
		{"/private", phone, "192.0.2.1", 200},
		{"/private", laptop, "192.0.2.2", 200},
		{"/admin", phone, "192.0.2.1", 403}, // counts as well
		{"/private", laptop, "192.0.2.2", 429},
		{"/", phone, "192.0.2.3", 429},
		{"/.gatehouse/userinfo", phone, "192.0.2.3", 429},
		{"/private", other, "192.0.2.1", 200},
		{"/", "", "192.0.2.1", 200},
		{"/", "", "192.0.2.1", 200},
		{"/", "", "192.0.2.1", 200},
		{"/", "", "192.0.2.1", 200}, // nobody is no user
	} {
		if resp, _ := l.get(t, c.path, c.token, from(c.address)...); resp.StatusCode != c.want {
			t.Errorf("request %d, %s: %s, want %d", i, c.path, resp.Status, c.want)
		}
	}
}

// TestRequestLimitsByRule: a rule's section replaces the one at the top as a whole, and has counts of its own; the others share theirs.
func TestRequestLimitsByRule(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, func(c *config.Config) {
		c.RequestLimits = config.RequestLimits{PerAddress: hourly(2), PerUser: hourly(1)}
		c.Rules = append(c.Rules,
			config.Rule{Path: "/own", Access: config.Public, RequestLimits: &config.RequestLimits{PerAddress: hourly(4)}},
			config.Rule{Path: "/free", Access: config.Public, RequestLimits: &config.RequestLimits{}},
			config.Rule{Path: "/shared", Access: config.Public})
	})
	token := l.sessions.add(session.User{ID: "1"})
	count := func(path, token string) (passed int) {
		for range 6 {
			if resp, _ := l.get(t, path, token); resp.StatusCode == 200 {
				passed++
			}
		}
		return passed
	}
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/own", token, 4}, // no limit per user: it is not taken from the top
		{"/own/deeper", "", 0},
		{"/free", token, 6},
		{"/shared", token, 1},
		{"/", "", 0}, // the address has had its two, one was the user's second
		{"/free", "", 6},
	} {
		if got := count(c.path, c.token); got != c.want {
			t.Errorf("%s: %d of 6 passed, want %d", c.path, got, c.want)
		}
	}
}

// TestRequestLimitAnswers: what people and programs are told.
func TestRequestLimitAnswers(t *testing.T) {
	t.Parallel()
	var handshakes atomic.Int64
	app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { handshakes.Add(1) })
	l := newLab(t, app, func(c *config.Config) {
		c.RequestLimits = config.RequestLimits{PerAddress: hourly(1)}
		c.Rules = append(c.Rules, config.Rule{Path: "/api", Access: config.Public, Unauthenticated: config.AnswerJSON})
	})
	// A WebSocket handshake counts, though its origin is refused.
	resp, _ := l.get(t, "/ws", "", "Connection", "Upgrade", "Upgrade", "websocket", "Origin", "https://evil.example")
	if resp.StatusCode != 403 {
		t.Fatalf("handshake: %s", resp.Status)
	}
	for _, c := range []struct {
		name, path string
		headers    []string
		json       bool
	}{
		{"a person", "/", []string{"Accept", "text/html"}, false},
		{"a program", "/", []string{"Accept", "application/json"}, true},
		{"an API that says so", "/api", []string{"Accept", "text/html"}, true},
		{"a WebSocket", "/ws", []string{"Connection", "Upgrade", "Upgrade", "websocket", "Accept", "*/*"}, true},
	} {
		resp, body := l.get(t, c.path, "", c.headers...)
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") != "3600" || resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %s, %v", c.name, resp.Status, resp.Header)
		}
		var problem struct{ Error string }
		if isJSON := json.Unmarshal([]byte(body), &problem) == nil; isJSON != c.json || c.json && problem.Error != "too_many_requests" {
			t.Errorf("%s: %.200s", c.name, body)
		}
		if !c.json && !strings.Contains(body, "Too many requests") {
			t.Errorf("%s: %.600s", c.name, body)
		}
	}
	if handshakes.Load() != 0 {
		t.Error("the application was asked")
	}
	eventually(t, "the access line that says why", func() bool { return strings.Contains(l.log.String(), "over the limit requests_address") })
	if text := scrape(t, l); !strings.Contains(text, `gatehouse_limited_total{limit="requests_address"} 4`) {
		t.Error("the metric does not count them")
	}
}

// TestRequestLimitsRefill by the gateway's clock, and Retry-After is when.
func TestRequestLimitsRefill(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	var ahead atomic.Int64
	began := time.Now()
	cfg := *l.gateway.cfg
	cfg.RequestLimits = config.RequestLimits{PerAddress: config.Rate{Events: 6, Per: time.Minute}, Burst: 2}
	deps := l.gateway.Deps
	deps.Clock = func() time.Time { return began.Add(time.Duration(ahead.Load())) }
	l.gateway = New(&cfg, deps)
	l.server = httptest.NewServer(l.gateway)
	t.Cleanup(l.server.Close)
	for i, c := range []struct {
		after time.Duration
		want  int
	}{{0, 200}, {0, 200}, {0, 429}, {9 * time.Second, 429}, {time.Second, 200}, {0, 429}, {time.Hour, 200}, {0, 200}, {0, 429}} {
		ahead.Add(int64(c.after))
		resp, _ := l.get(t, "/", "")
		if resp.StatusCode != c.want {
			t.Errorf("request %d: %s, want %d", i, resp.Status, c.want)
		}
		if i == 2 && resp.Header.Get("Retry-After") != "10" {
			t.Errorf("Retry-After %q, want 10", resp.Header.Get("Retry-After"))
		}
	}
}

// TestRequestLimitsMemory: as many addresses as an attacker likes take no more memory than maxLimited.
func TestRequestLimitsMemory(t *testing.T) {
	t.Parallel()
	limits := newLimits(config.RequestLimits{PerAddress: hourly(1)}, time.Now)
	for i := range maxLimited + 10 {
		limits.address.Allow(strconv.Itoa(i))
	}
	if n := limits.address.Len(); n != maxLimited {
		t.Errorf("%d addresses are kept, want %d", n, maxLimited)
	}
}

// TestNoRequestLimitsByDefault, and then no request pays for them.
func TestNoRequestLimitsByDefault(t *testing.T) {
	t.Parallel()
	l := newLab(t, echo, nil)
	if l.gateway.limits != nil {
		t.Error("there are limits by default")
	}
	conn := dial(t, l)
	src := bufio.NewReader(conn)
	for range 50 {
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		resp, err := http.ReadResponse(src, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
	}
}
