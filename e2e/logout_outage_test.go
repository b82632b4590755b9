package e2e

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// leaver is somebody who logs out at one of two replicas while Redis is away.
type leaver struct {
	t           *testing.T
	sp          space
	here, there *gateway
	token       string
	// browser is theirs; thief has copied the cookie before.
	browser, thief *browser
}

func newLeaver(t *testing.T) *leaver {
	t.Helper()
	l := &leaver{t: t, sp: ownSpace(t, testredis.Persistent())}
	cfg := baseConfig(whoApp(t), fmt.Sprintf("redis: {addresses: [%q]}\n", l.sp.server.Addr))
	l.here = startReady(t, cfg, withUsers())
	l.there = startReady(t, cfg, withUsers())
	l.browser = newBrowser(t, l.here.url)
	l.browser.login(userEmail, userPassword)
	l.token = l.browser.token()
	l.thief = holder(t, l.here, l.token)
	for _, g := range []*gateway{l.here, l.there} {
		if got := l.thief.at(g).get("/account"); got.StatusCode != 200 {
			t.Fatalf("before: %s", got.Status)
		}
	}
	return l
}

// leave logs out: the person is told that it is not confirmed, the browser forgets the session, and this replica refuses it.
func (l *leaver) leave() {
	l.t.Helper()
	got := l.browser.post("/logout", nil)
	if got.StatusCode != 503 || got.Header.Get("Retry-After") == "" || !strings.Contains(got.body, "You are logged out here, but this is not confirmed everywhere yet") {
		l.t.Errorf("the person is told: %s %s", got.Status, got.body)
	}
	lines := strings.Join(got.Header["Set-Cookie"], "\n")
	if !strings.Contains(lines, "gatehouse=; ") || !strings.Contains(lines, "Max-Age=0") || l.browser.token() != "" || got.Header.Get("Clear-Site-Data") == "" {
		l.t.Errorf("the browser keeps the session: %s", lines)
	}
	if got := l.thief.at(l.here).get("/account"); got.StatusCode != 303 {
		l.t.Errorf("this replica, at once: %s", got.Status)
	}
	if n := l.here.metric(l.t, "gatehouse_revocations_pending"); n != "1" {
		l.t.Errorf("%s revocations wait, want 1", n)
	}
}

// line is the one line of a state, with everything an operator needs.
func (l *leaver) line(state string) map[string]any {
	l.t.Helper()
	id := sessionID(l.token)
	line := l.here.logged(l.t, map[string]any{"type": "revocation", "state": state})
	for field, want := range map[string]any{"session": id[:8], "session_id": id, "user": "2", "all": false, "reason": "logout"} {
		if line[field] != want {
			l.t.Errorf("%s: %s is %v, want %v", state, field, line[field], want)
		}
	}
	if n := len(l.here.entries(map[string]any{"type": "revocation", "state": state})); n != 1 {
		l.t.Errorf("%d lines of state %s for one logout", n, state)
	}
	return line
}

// command is what the line says to run.
func (l *leaver) command(line map[string]any) {
	l.t.Helper()
	id := sessionID(l.token)
	if strings.HasPrefix(id, "-") {
		id = "-- " + id
	}
	if want := "gatehouse sessions revoke --user=2 " + id; line["command"] != want {
		l.t.Errorf("it says to run %v, want %s", line["command"], want)
	}
}

// over: Redis does not know the session any more, and no replica serves it.
func (l *leaver) over(gateways ...*gateway) {
	l.t.Helper()
	eventually(l.t, "the session to be gone from Redis", func() bool { return l.sp.number(l.t, "EXISTS", l.sp.session(l.token)) == 0 })
	for _, g := range gateways {
		eventually(l.t, "a replica to refuse it", func() bool { return l.thief.at(g).get("/account").StatusCode == 303 })
	}
	if n := l.sp.number(l.t, "ZCARD", l.sp.index("2")); n != 0 {
		l.t.Errorf("%d entries in the index", n)
	}
}

// TestLogoutWithoutRedis: refused here at once, queued, confirmed when Redis is back, and then on every replica.
func TestLogoutWithoutRedis(t *testing.T) {
	t.Parallel()
	for name, away := range map[string]struct{ hurt, heal func(sp space) }{
		"killed":  {func(sp space) { sp.server.Kill() }, func(sp space) { sp.server.Restart() }},
		"stopped": {func(sp space) { sp.server.Stop() }, func(sp space) { sp.server.Cont() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLeaver(t)
			away.hurt(l.sp)
			l.leave()
			l.command(l.line("waiting"))
			// The other replica cannot have heard of it; the person was told.
			if got := l.thief.at(l.there).get("/account"); got.StatusCode != 200 {
				t.Errorf("the other replica, which has seen the session a moment ago: %s", got.Status)
			}
			away.heal(l.sp)
			back := time.Now()
			l.over(l.here, l.there)
			t.Logf("%s: refused on the other replica %v after Redis was back", name, time.Since(back).Round(time.Millisecond))
			l.line("confirmed")
			eventually(t, "nothing to wait any more", func() bool { return l.here.metric(t, "gatehouse_revocations_pending") == "0" })
			l.here.stop()
			if lines := l.here.entries(map[string]any{"type": "revocation", "state": "given_up"}); len(lines) != 0 {
				t.Errorf("given up though it was confirmed: %v", lines)
			}
		})
	}
}

// TestLogoutOutlivesTheProcess: a replica ends before Redis is back. Nobody retries now; the log says what to run.
func TestLogoutOutlivesTheProcess(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*gateway){"SIGTERM": (*gateway).stop, "SIGKILL": (*gateway).kill} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLeaver(t)
			l.sp.server.Kill()
			l.leave()
			l.command(l.line("waiting"))
			end(l.here)
			last := l.here.entries(map[string]any{"type": "revocation", "state": "given_up"})
			if name == "SIGTERM" {
				l.command(l.line("given_up"))
				if last[0]["level"] != "error" {
					t.Errorf("level %v", last[0]["level"])
				}
			} else if len(last) != 0 {
				t.Errorf("a process that is killed says nothing more: %v", last)
			}
			l.sp.server.Restart()
			eventually(t, "the other replica to find Redis again", func() bool { return l.there.metric(t, "gatehouse_redis_outage") == "0" })
			// This is what the line is for.
			if got := l.thief.at(l.there).get("/account"); got.StatusCode != 200 {
				t.Fatalf("the session has ended by itself, so this shows nothing: %s", got.Status)
			}
			l.run(l.here.entries(map[string]any{"type": "revocation", "state": "waiting"})[0])
			l.over(l.there)
		})
	}
}

// run runs the command of a line.
func (l *leaver) run(line map[string]any) {
	l.t.Helper()
	words := strings.Fields(fmt.Sprint(line["command"]))
	flags := []string{"--config", filepath.Join(l.there.dir, "gatehouse.yaml")}
	if out, code := runCommand(l.t, "", slices.Concat(words[1:3], flags, words[3:])...); code != 0 {
		l.t.Fatalf("%v: exit code %d\n%s", words, code, out)
	}
}

// TestLimitsWithoutRedis (L03): the replicas share the login limits, each counts for itself while Redis is away, and they
// share them again when it is back.
func TestLimitsWithoutRedis(t *testing.T) {
	t.Parallel()
	const burst = 4
	sp := ownSpace(t, testredis.Persistent())
	cfg := strings.Replace(baseConfig(whoApp(t), fmt.Sprintf("redis: {addresses: [%q]}\n", sp.server.Addr)),
		"{per_address: 6000/m, per_account: 6000/m, burst: 1000}", fmt.Sprintf("{per_address: 1/m, per_account: 6000/m, burst: %d}", burst), 1)
	replicas := []*gateway{startReady(t, cfg+"trusted_proxies: [127.0.0.0/8]\n", withUsers()), startReady(t, cfg+"trusted_proxies: [127.0.0.0/8]\n", withUsers())}
	c := plainClient(t)
	// counts gives how often an address was let through to its password, or to Redis, of twice the burst at each replica.
	counts := func(from string, through int) (n [2]int) {
		t.Helper()
		for i := range 4 * burst {
			got, err := send(c, "POST", replicas[i%2].url+"/login", "", form("email", "nobody@example.com", "password", "x").Encode(), "X-Forwarded-For", from)
			switch {
			case err == nil && got.StatusCode == through:
				n[i%2]++
			case err != nil || got.StatusCode != 429:
				t.Fatalf("%s: %v %v, want %d or 429", from, got.Response, err, through)
			}
		}
		return n
	}
	if n := counts("192.0.2.1", 401); n[0]+n[1] != burst {
		t.Errorf("with Redis the replicas let %v through, want %d together", n, burst)
	}
	sp.server.Kill()
	for _, g := range replicas {
		eventually(t, "the outage to be noticed", func() bool {
			return holder(t, g, session.NewToken("9")).get("/account").StatusCode == 503 && g.metric(t, "gatehouse_redis_outage") == "1"
		})
	}
	if n := counts("192.0.2.2", 503); n != [2]int{burst, burst} {
		t.Errorf("without Redis the replicas let %v through, want %d each", n, burst)
	}
	// What a replica has counted itself it goes on counting: an outage is no way around it.
	if n := counts("192.0.2.1", 503); n[0] > burst/2 || n[1] > burst/2 {
		t.Errorf("without Redis an address that was at its limit is let through %v times", n)
	}
	sp.server.Restart()
	for _, g := range replicas {
		eventually(t, "Redis to be found again", func() bool { return g.metric(t, "gatehouse_redis_outage") == "0" })
	}
	if n := counts("192.0.2.3", 401); n[0]+n[1] != burst {
		t.Errorf("with Redis again the replicas let %v through, want %d together", n, burst)
	}
	if n := counts("192.0.2.2", 401); n != [2]int{} {
		t.Errorf("after the outage an address that was at its limit is let through %v times", n)
	}
}
