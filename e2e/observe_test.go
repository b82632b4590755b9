package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// What operators see: each metric moves when what it counts happens, and each audit line is written.
func TestMetricsAndAuditLines(t *testing.T) {
	t.Parallel()
	redis := testredis.Start(t, testredis.Persistent())
	a := startApp(t, nil)
	cfg := baseConfig(a.url, fmt.Sprintf("redis: {addresses: [%q]}\n", redis.Addr))
	cfg = strings.Replace(cfg, "limits: {per_address: 6000/m, per_account: 6000/m, burst: 1000}", "limits: {per_address: 6000/m, per_account: 1/h, burst: 4}", 1)
	cfg = strings.Replace(cfg, "session:\n", "session:\n  max_per_user: 2\n", 1)
	g := start(t, cfg, withUsers())
	moves := func(metric string, do func()) {
		t.Helper()
		before := g.metric(t, metric)
		do()
		eventually(t, metric+" to move from "+before, func() bool { return g.metric(t, metric) != before })
	}
	audit := func(event string, more map[string]any) {
		t.Helper()
		fields := map[string]any{"type": "audit", "event": event}
		for k, v := range more {
			fields[k] = v
		}
		g.logged(t, fields)
	}
	b := newBrowser(t, g.url)
	moves(`gatehouse_requests_total{rule="/public",status="2xx"}`, func() { b.get("/public/") })
	moves(`gatehouse_request_duration_seconds_count{rule="/public"}`, func() { b.get("/public/") })
	moves(`gatehouse_requests_total{rule="refused",status="4xx"}`, func() { one(t, g, "GET /..%2f HTTP/1.1") })
	moves(`gatehouse_logins_total{backend="file",outcome="bad_credentials"}`, func() {
		b.post("/login", form("email", userEmail, "password", "wrong"))
	})
	audit("login_failed", map[string]any{"reason": "bad_credentials", "account": userEmail, "client": "127.0.0.1"})
	moves(`gatehouse_logins_total{backend="file",outcome="success"}`, func() { b.login(userEmail, userPassword) })
	audit("login", map[string]any{"user": "2", "backend": "file"})
	moves(`gatehouse_session_finds_total{source="redis"}`, func() { b.get("/account") })
	moves(`gatehouse_session_finds_total{source="cache"}`, func() { b.get("/account") })
	moves(`gatehouse_session_finds_total{source="none"}`, func() {
		newBrowser(t, g.url).get("/account", "Cookie", "gatehouse="+session.NewToken("9"))
	})
	stranger := newBrowser(t, g.url)
	for range 2 {
		newBrowser(t, g.url).post("/login", form("email", userEmail, "password", userPassword))
	}
	audit("eviction", map[string]any{"user": "2"})
	if got := b.get("/account"); got.StatusCode != 303 {
		t.Errorf("the evicted session: %s", got.Status)
	}
	moves(`gatehouse_limited_total{limit="account"}`, func() {
		for range 4 {
			stranger.post("/login", form("email", userEmail, "password", "x"))
		}
	})
	audit("limit", map[string]any{"reason": "account"})
	admin := newBrowser(t, g.url)
	admin.login(adminEmail, adminPassword)
	admin.get("/account")
	unseen := newBrowser(t, g.url)
	unseen.login(adminEmail, adminPassword)
	moves("gatehouse_redis_outages_total", func() {
		redis.Kill()
		for range 5 { // three failures in a row are an outage
			admin.get("/account")
		}
	})
	audit("outage_begin", nil)
	if got := g.metric(t, "gatehouse_redis_outage"); got != "1" {
		t.Errorf("gatehouse_redis_outage is %s", got)
	}
	moves(`gatehouse_session_finds_total{source="known"}`, func() { admin.get("/account") })
	moves(`gatehouse_session_finds_total{source="unavailable"}`, func() {
		newBrowser(t, g.url).get("/account", "Cookie", "gatehouse="+session.NewToken("9"))
	})
	moves("gatehouse_revocations_pending", func() {
		if got := admin.post("/logout", nil); got.StatusCode != http.StatusServiceUnavailable || !strings.Contains(got.body, "not confirmed") && !strings.Contains(got.body, "not yet confirmed") {
			t.Errorf("logout while Redis is away: %s", got.Status)
		}
	})
	redis.Restart()
	audit("outage_end", nil)
	eventually(t, "the logout to be confirmed", func() bool { return g.metric(t, "gatehouse_revocations_pending") == "0" })
	audit("logout", map[string]any{"user": "1", "reason": "unconfirmed"})
	moves(`gatehouse_sessions_ended_total{reason="logout"}`, func() { unseen.post("/logout", nil) })

	resp, err := http.Get(g.admin + "/debug/pprof/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("pprof: %s", resp.Status)
	}
	if resp := one(t, g, "GET /metrics HTTP/1.1"); resp.Header.Get("Content-Type") != "text/plain" {
		t.Error("the public listener serves /metrics itself")
	}
}

// Bodies go through without being held: memory stays flat whatever their size.
func TestBodiesAreNotBuffered(t *testing.T) {
	t.Parallel()
	const size = 512 << 20
	upstream := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, n)
			return
		}
		_, _ = io.Copy(w, io.LimitReader(zeros{}, size))
	}))
	_, section := storeFor(t)
	g := start(t, baseConfig(upstream, section), withUsers())
	before := g.memory(t)
	resp, err := http.Post(g.url+"/public/", "application/octet-stream", io.LimitReader(zeros{}, size))
	if err != nil {
		t.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if string(text) != strconv.Itoa(size) {
		t.Errorf("up: the app read %s of %d bytes", text, size)
	}
	resp, err = http.Get(g.url + "/public/")
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if n != size || err != nil {
		t.Errorf("down: %d bytes, %v", n, err)
	}
	grown := g.memory(t) - before
	t.Logf("512 MiB each way: peak memory grew by %d MiB", grown>>20)
	if grown > size/4 {
		t.Errorf("peak memory grew by %d MiB", grown>>20)
	}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// memory is the most memory the process has had, in bytes.
func (g *gateway) memory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		t.Fatal("no VmHWM")
	}
	kb, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}
