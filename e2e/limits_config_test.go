package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// embedded is a store in the gateway's own process: these tests are not about it.
const embedded = "redis: {addresses: [embedded]}\n"

// TestConnectionLimits: the built binary refuses connections over the limits before it reads anything, says so, and stays healthy.
func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	g := start(t, baseConfig(whoApp(t), embedded)+"connection_limits: {per_address: 5, total: 12}\n", withUsers())
	hold := func(from string) bool {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.DialContext(t.Context(), "tcp", g.addr)
		if err != nil {
			return false
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetDeadline(time.Now().Add(15 * time.Second))
		_, _ = io.WriteString(conn, "GET /public/ HTTP/1.1\r\nHost: x\r\n\r\n")
		first := make([]byte, len("HTTP/1.1 200"))
		_, err = io.ReadFull(conn, first)
		return err == nil && string(first) == "HTTP/1.1 200"
	}
	for i := range 5 {
		if !hold("127.0.0.2") {
			t.Fatalf("connection %d of 5 is refused", i+1)
		}
	}
	if hold("127.0.0.2") {
		t.Error("a sixth connection of one address is served")
	}
	line := g.logged(t, map[string]any{"limit": "connection_limits.per_address", "client": "127.0.0.2"})
	if message, _ := line["message"].(string); line["level"] != "warn" || !strings.Contains(message, "trusted_proxies") {
		t.Errorf("%v", line)
	}
	for i := range 7 {
		if !hold(fmt.Sprintf("127.0.0.%d", 10+i)) {
			t.Fatalf("another address, connection %d: refused", i+1)
		}
	}
	if out, code := runCommand(t, "", "healthcheck", "--url", g.url+"/.gatehouse/healthz"); code != 0 {
		t.Errorf("the health check finds no place: %s", out)
	}
	if got := g.metric(t, `gatehouse_connections_refused_total{limit="per_address"}`); got != "1" {
		t.Errorf("refused connections: %s, want 1", got)
	}
}

// TestRequestLimits: as an operator sets them, with an environment over the file.
func TestRequestLimits(t *testing.T) {
	t.Parallel()
	cfg := strings.Replace(baseConfig(whoApp(t), embedded), "  - path: /api\n", "  - path: /api\n    request_limits: {per_user: 4/h}\n", 1)
	opts := withUsers()
	opts.env = []string{"GATEHOUSE_REQUEST_LIMITS_PER_ADDRESS=100/h", "GATEHOUSE_REQUEST_LIMITS_BURST=6"}
	g := start(t, cfg, opts)
	phone, laptop := newBrowser(t, g.url), newBrowser(t, g.url)
	phone.login(userEmail, userPassword)
	laptop.login(userEmail, userPassword)
	for i := range 4 {
		if got := []*browser{phone, laptop}[i%2].get("/api/x"); got.StatusCode != 200 {
			t.Fatalf("request %d of 4: %s", i+1, got.Status)
		}
	}
	got := laptop.get("/api/x")
	var problem struct{ Error string }
	if err := json.Unmarshal([]byte(got.body), &problem); got.StatusCode != http.StatusTooManyRequests || got.Header.Get("Retry-After") == "" || err != nil || problem.Error != "too_many_requests" {
		t.Errorf("one more, from the other session: %s, Retry-After %q, %.200s", got.Status, got.Header.Get("Retry-After"), got.body)
	}
	if got := phone.get("/account"); got.StatusCode != 200 {
		t.Errorf("a path that is not under the rule: %s", got.Status)
	}
	passed := 1
	for range 10 {
		if phone.get("/public/").StatusCode == 200 {
			passed++
		}
	}
	if passed != 6 {
		t.Errorf("%d requests of one address passed, want the burst of 6", passed)
	}
	if got := phone.get("/.gatehouse/healthz"); got.StatusCode != 200 {
		t.Errorf("health: %s", got.Status)
	}
	entry := g.logged(t, map[string]any{"type": "access", "status": 429, "path": "/api/x"})
	if entry["error"] != "over the limit requests_user" {
		t.Errorf("%v", entry)
	}
}

// TestSecurityHeaders: off by default; on, over https only; and the operator is told when they cannot work.
func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	cfg := baseConfig(whoApp(t), embedded)
	plain := newBrowser(t, start(t, cfg, withUsers()).url).get("/public/")
	for _, name := range []string{"Strict-Transport-Security", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy"} {
		if value := plain.Header.Get(name); value != "" {
			t.Errorf("by default: %s: %s", name, value)
		}
	}
	cfg = strings.Replace(cfg, "  - path: /public\n", "  - path: /public\n    security_headers: {frame_options: unset}\n", 1) +
		"security_headers: {hsts: 24h, frame_options: deny, content_type_options: true}\n"
	g := start(t, cfg+"trusted_proxies: [127.0.0.0/8]\n", withUsers())
	for _, c := range []struct{ path, proto, hsts, frame string }{
		{"/", "https", "max-age=86400", "DENY"}, {"/", "http", "", "DENY"}, {"/public/x", "https", "max-age=86400", ""}, {"/login", "https", "max-age=86400", "DENY"},
	} {
		got := newBrowser(t, g.url).get(c.path, "X-Forwarded-Proto", c.proto, "X-Forwarded-For", "192.0.2.1")
		if hsts, frame := got.Header.Get("Strict-Transport-Security"), got.Header.Get("X-Frame-Options"); hsts != c.hsts || frame != c.frame || got.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s over %s: %q, %q", c.path, c.proto, hsts, frame)
		}
	}
	if strings.Contains(g.output(), "never sent") {
		t.Error("told that HSTS is never sent, and it is")
	}
	if g := start(t, cfg, withUsers()); !strings.Contains(g.output(), "security_headers.hsts is never sent") {
		t.Error("without https the operator is not told that HSTS is never sent")
	}
}
