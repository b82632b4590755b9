package e2e

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/testredis"
)

// nothingComesBack (S06): requests that renew a session race with its logout, over two replicas. The
// 10,000 races are in package session; these run over the wire.
func nothingComesBack(t *testing.T, s *setup) {
	const rounds = 300
	sp := s.space()
	cfg := sections(baseConfig(whoApp(t), sp.section()), "session", "max_per_user: 1000")
	here, there := start(t, cfg, withUsers()), start(t, cfg, withUsers())
	both := []*gateway{here, there}
	tokens := sp.copies(t, signIns(t, 1, userEmail, userPassword, here)[0], rounds)
	sp.age(t, 2*time.Hour, tokens...) // so that each request is due to write
	c := plainClient(t)
	var served, logouts atomic.Int64
	parallel(2, rounds, func(i int) {
		var race sync.WaitGroup
		for n := range 4 {
			race.Go(func() {
				if got, err := send(c, "GET", both[n%2].url+"/account", tokens[i], ""); err == nil && got.StatusCode == 200 {
					served.Add(1)
				}
			})
		}
		race.Go(func() {
			time.Sleep(time.Duration(i%5) * 500 * time.Microsecond)
			if got, err := send(c, "POST", both[i%2].url+"/logout", tokens[i], ""); err == nil && got.StatusCode == 303 {
				logouts.Add(1)
			}
		})
		race.Wait()
	})
	outcomes := make(map[string]int)
	for _, outcome := range []string{"ok", "gone", "conflict", "unavailable", "dropped"} {
		outcomes[outcome] = metricSum(t, `gatehouse_session_renewals_total{outcome="`+outcome+`"}`, both...)
	}
	ended := metricSum(t, `gatehouse_sessions_ended_total{reason="logout"}`, both...)
	here.stop() // which writes whatever still waits
	there.stop()
	survivors := len(sp.sessions(t)) - 1 // the one that was copied
	t.Logf("%d sessions: %d requests served, %d logouts, renewals %v, %d survivors", rounds, served.Load(), logouts.Load(), outcomes, survivors)
	if survivors != 0 || sp.number(t, "ZCARD", sp.index("2")) != 1 {
		t.Errorf("%d sessions have survived their logout, %d are in the index", survivors, sp.number(t, "ZCARD", sp.index("2")))
	}
	if logouts.Load() != rounds || ended != rounds || served.Load() == 0 || outcomes["ok"] == 0 || outcomes["ok"]+outcomes["gone"]+outcomes["conflict"] < rounds/2 {
		t.Error("the races did not happen, so this shows nothing")
	}
	fresh := start(t, cfg, withUsers()) // a replica without any memory
	for _, token := range tokens {
		if got, err := send(c, "GET", fresh.url+"/account", token, ""); err != nil || got.StatusCode != 303 {
			t.Fatalf("a session that has ended: %v, %v", got.Response, err)
		}
	}
	// All sessions of the user were revoked after these logins began: they come to nothing.
	sp.server.Do(t, "SET", sp.prefix+"user_gen:{"+tagOf("2")+"}:2", "7")
	b := newBrowser(t, fresh.url)
	if got := b.post("/login", form("email", userEmail, "password", userPassword)); got.StatusCode != 401 || b.token() != "" || len(sp.sessions(t)) != 1 {
		t.Errorf("a login that began before all sessions were revoked: %s", got.Status)
	}
	sp.server.Do(t, "SET", sp.prefix+"login_seq", "7")
	b.login(userEmail, userPassword)
}

// indexAfterCrash (S07): whatever dies in the middle, acknowledged sessions are there, and in the index.
func indexAfterCrash(t *testing.T, _ *setup) {
	sp := ownSpace(t, testredis.Persistent())
	cfg := sections(baseConfig(whoApp(t), sp.section()), "session", "max_per_user: 1000")
	c := plainClient(t)
	burst := func(crash func(), gateways ...*gateway) (tokens []string, failed int64) {
		var lost atomic.Int64
		var mu sync.Mutex
		parallel(6, 60, func(i int) {
			if i == 30 {
				crash()
			}
			got, err := send(c, "POST", gateways[i%len(gateways)].url+"/login", "", form("email", userEmail, "password", userPassword).Encode())
			mu.Lock()
			defer mu.Unlock()
			if err != nil || got.tokenOf() == "" {
				lost.Add(1)
				return
			}
			tokens = append(tokens, got.tokenOf())
		})
		return tokens, lost.Load()
	}
	all := func(g *gateway, tokens []string) {
		t.Helper()
		for _, token := range tokens {
			if got, err := send(c, "GET", g.url+"/account", token, ""); err != nil || got.StatusCode != 200 {
				t.Fatalf("an acknowledged session: %v, %v", got.Response, err)
			}
		}
	}
	g := start(t, cfg, withUsers())
	dying := start(t, cfg, withUsers())
	first, failed := burst(dying.kill, g, dying)
	t.Logf("gateway killed: %d logins acknowledged, %d not, %d sessions", len(first), failed, sp.indexHolds(t))
	if n := sp.indexHolds(t); n < len(first) || failed == 0 {
		t.Errorf("gateway killed: %d logins failed, %d sessions of %d acknowledged", failed, n, len(first))
	}
	all(g, first)

	second, failed := burst(sp.server.Kill, g)
	sp.server.Restart()
	eventually(t, "the gateway to find Redis again", func() bool { return holder(t, g, first[0]).get("/account").StatusCode == 200 })
	// Nobody has the token of a session whose login was cut off: it is taken back.
	eventually(t, "unacknowledged sessions of this gateway to end", func() bool { return g.metric(t, "gatehouse_revocations_pending") == "0" })
	t.Logf("Redis killed: %d logins acknowledged, %d not, %d sessions", len(second), failed, sp.indexHolds(t))
	if n := sp.indexHolds(t); n < len(first)+len(second) || failed == 0 || len(second) == 0 {
		t.Errorf("Redis killed: %d logins failed, %d sessions of %d acknowledged", failed, n, len(first)+len(second))
	}
	all(g, append(first, second...))
	t.Run("entries heal", func(t *testing.T) { indexHeals(t) })
}

// indexHeals: what a crash between two writes could have left behind does no lasting harm.
func indexHeals(t *testing.T) {
	sp := ownSpace(t)
	cfg := sections(baseConfig(whoApp(t), sp.section()), "session", "max_per_user: 3\n  at_limit: reject\n  idle: 20s")
	g := start(t, cfg, withUsers())
	tokens := signIns(t, 3, userEmail, userPassword, g)
	c := plainClient(t)
	login := form("email", userEmail, "password", userPassword).Encode()
	if got, err := send(c, "POST", g.url+"/login", "", login); err != nil || got.StatusCode != 409 {
		t.Fatalf("a fourth session: %v, %v, want 409", got.Response, err)
	}
	// Entries without session must not keep their user out.
	for _, token := range tokens[:2] {
		sp.server.Do(t, "DEL", sp.session(token))
	}
	if got, err := send(c, "POST", g.url+"/login", "", login); err != nil || got.StatusCode != 303 {
		t.Errorf("with two dead entries: %v, %v", got.Response, err)
	}
	if n := sp.number(t, "ZCARD", sp.index("2")); n != 2 {
		t.Errorf("the index has %d entries, want the 2 live ones", n)
	}
	// A session that is missing in the index is back in it with its next renewal.
	sp.server.Do(t, "DEL", sp.index("2"))
	sp.age(t, 5*time.Second, tokens[2])
	if got := holder(t, g, tokens[2]).get("/account"); got.StatusCode != 200 {
		t.Fatalf("the last of the first three: %s", got.Status)
	}
	eventually(t, "the renewal to put it into the index", func() bool { return sp.text(t, "ZSCORE", sp.index("2"), sessionID(tokens[2])) != "" })
	// A renewal of a session that is gone takes its entry out.
	sp.age(t, 5*time.Second, tokens[2])
	if got := holder(t, g, tokens[2]).post("/logout", nil); got.StatusCode != 303 || sp.number(t, "ZCARD", sp.index("2")) != 0 {
		t.Errorf("after logout: %s, %d entries", got.Status, sp.number(t, "ZCARD", sp.index("2")))
	}
}

// limitsHold (S08). That clocks of replicas may differ is tested in package session, where there is
// a clock to set.
func limitsHold(t *testing.T, s *setup) {
	const idle, absolute = 2 * time.Second, 5 * time.Second
	sp := s.space()
	g := start(t, sections(baseConfig(whoApp(t), sp.section()), "session", "idle: 2s\n  absolute: 5s"), withUsers())
	unused, used := newBrowser(t, g.url), newBrowser(t, g.url)
	unused.login(adminEmail, adminPassword)
	if ttl := sp.number(t, "PTTL", sp.session(unused.token())); ttl <= 0 || ttl > idle.Milliseconds() {
		t.Errorf("a new session lives for %d ms in Redis, want at most %v", ttl, idle)
	}
	unused.get("/account")
	used.login(userEmail, userPassword)
	token := used.token()
	first := sp.record(t, token)
	if life := first.ExpiresAt.Sub(first.CreatedAt); life != absolute {
		t.Errorf("the absolute limit is %v after the login, want %v", life, absolute)
	}
	var ended time.Time
	renewals := 0
	for ended.IsZero() {
		asked := time.Now()
		switch got := used.get("/account"); {
		case got.StatusCode == 303:
			ended = time.Now()
		case got.StatusCode != 200 || asked.After(first.ExpiresAt):
			t.Fatalf("%v after the login: %s", asked.Sub(first.CreatedAt), got.Status)
		default:
			for _, cookie := range got.Cookies() {
				renewals++
				if left := first.ExpiresAt.Sub(asked) + time.Second; cookie.Value != token || cookie.MaxAge < 1 || time.Duration(cookie.MaxAge)*time.Second > min(left, idle) {
					t.Errorf("renewed with Max-Age=%d, the session lives for %v more at most", cookie.MaxAge, left)
				}
			}
		}
		if text := sp.text(t, "GET", sp.session(token)); text != "" {
			var r record
			if err := json.Unmarshal([]byte(text), &r); err != nil || !r.ExpiresAt.Equal(first.ExpiresAt) || !r.CreatedAt.Equal(first.CreatedAt) {
				t.Fatalf("a renewal moved the absolute limit: %s, %v", text, err)
			}
			left := time.Until(first.ExpiresAt) // before asking: the answer may take a while
			if ttl := sp.number(t, "PTTL", sp.session(token)); ttl > min(idle.Milliseconds(), left.Milliseconds()+100) {
				t.Fatalf("%d ms to live, the absolute limit comes in %v", ttl, left)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	if ended.Before(first.ExpiresAt.Add(-20*time.Millisecond)) || renewals < 3 {
		t.Errorf("a session in use ended %v after the login with %d renewals, want %v", ended.Sub(first.CreatedAt), renewals, absolute)
	}
	if got := unused.get("/account"); got.StatusCode != 303 || sp.number(t, "EXISTS", sp.session(unused.token())) != 0 {
		t.Errorf("an unused session after its idle limit: %s", got.Status)
	}
}

// oneWrite (S09).
func oneWrite(t *testing.T, _ *setup) {
	sp := ownSpace(t)
	cfg := baseConfig(whoApp(t), sp.section())
	here, there := start(t, cfg, withUsers()), start(t, cfg, withUsers())
	c := plainClient(t)
	for name, gateways := range map[string][]*gateway{"one replica": {here, here}, "two replicas in turn": {here, there}} {
		token := signIns(t, 1, userEmail, userPassword, here)[0]
		sp.age(t, 2*time.Hour, token) // so that one write is due
		before, again := sp.commands(t), 0
		for i := range 1000 {
			got, err := send(c, "GET", gateways[i%2].url+"/account", token, "")
			if err != nil || got.StatusCode != 200 {
				t.Fatalf("%s, request %d: %v, %v", name, i, got.Response, err)
			}
			again += len(got.Cookies())
		}
		eventually(t, "the renewal to be written", func() bool { return sp.since(t, before)["set"] > 0 })
		asked := sp.since(t, before)
		t.Logf("%s, 1,000 requests: %v, the cookie was sent again %d times", name, asked, again)
		for _, write := range []string{"set", "zadd", "pexpire", "expire", "del"} {
			if asked[write] > 1 {
				t.Errorf("%s: %d times %s, want one write", name, asked[write], write)
			}
		}
		if asked["get"] > 20 || again < 1 || again > 2 {
			t.Errorf("%s: %d reads, the cookie was sent again %d times", name, asked["get"], again)
		}
	}
}

// unreadableRecords (S11).
func unreadableRecords(t *testing.T, s *setup) {
	sp := s.space()
	cfg := baseConfig(whoApp(t), sp.section())
	here, there := start(t, cfg, withUsers()), start(t, cfg, withUsers())
	other := newBrowser(t, here.url)
	other.login(adminEmail, adminPassword)
	others := sp.text(t, "GET", sp.session(other.token()))
	sibling := newBrowser(t, here.url)
	sibling.login(userEmail, userPassword)
	siblings := sp.text(t, "GET", sp.session(sibling.token()))
	swap := func(old, new string) func(string) string {
		return func(good string) string { return strings.Replace(good, old, new, 1) }
	}
	for name, spoil := range map[string]func(good string) string{
		"garbage": func(string) string { return "\x00\xffgarbage" }, "empty": func(string) string { return "" },
		"truncated": func(good string) string { return good[:len(good)/2] }, "array": func(string) string { return "[]" }, "null": func(string) string { return "null" },
		"too new": swap(`"v":1`, `"v":2`), "no version": swap(`"v":1,`, ``), "version is text": swap(`"v":1`, `"v":"1"`),
		"another user's session": func(string) string { return others }, "another session of the user": func(string) string { return siblings },
		"another user": swap(`"userId":2`, `"userId":1`), "no user": swap(`"userId":2`, `"userId":null`),
		"time is none": func(good string) string { return lastAccessed.ReplaceAllString(good, `"lastAccessed":"soon"`) },
	} {
		b := newBrowser(t, here.url)
		b.login(userEmail, userPassword)
		token, key := b.token(), sp.session(b.token())
		good := sp.text(t, "GET", key)
		bad := spoil(good)
		if b.get("/account").StatusCode != 200 || bad == good {
			t.Fatalf("%s: the session must work before, and be another after", name)
		}
		counted := metricSum(t, `gatehouse_session_finds_total{source="corrupt"}`, here, there)
		sp.server.Do(t, "SET", key, bad, "KEEPTTL")
		// The replica that has it in memory hears of it within milliseconds; neither ever fails.
		eventually(t, name+" to be refused", func() bool {
			got := b.get("/account")
			if got.StatusCode != 303 && (got.StatusCode != 200 || !strings.Contains(got.body, "user=2 ")) {
				t.Fatalf("%s: %s %q", name, got.Status, got.body)
			}
			return got.StatusCode == 303
		})
		for _, g := range []*gateway{here, there} {
			if got := b.at(g).get("/api/x"); got.StatusCode != 401 {
				t.Errorf("%s, a program: %s, want 401", name, got.Status)
			}
		}
		if got := b.get("/public/x"); got.StatusCode != 200 || !strings.Contains(got.body, "user= ") {
			t.Errorf("%s, public path: %s %q", name, got.Status, got.body)
		}
		if n := metricSum(t, `gatehouse_session_finds_total{source="corrupt"}`, here, there); n < counted+4 {
			t.Errorf("%s: the metric counts %d unreadable records, want at least 4 more than %d", name, n, counted)
		}
		entry := there.logged(t, map[string]any{"level": "error", "session": sessionID(token)[:8]})
		if line := fmt.Sprint(entry); !strings.Contains(line, "cannot be read") || strings.Contains(line, "garbage") || strings.Contains(line, "@example") {
			t.Errorf("%s: logged as %v", name, entry)
		}
		b.login(userEmail, userPassword)
		if got := b.get("/account"); got.StatusCode != 200 || b.token() == token {
			t.Errorf("%s: after a new login: %s", name, got.Status)
		}
	}
}

// noMixUp (S12): two users at once over two replicas, with sessions that are renewed, and so read
// anew, all the time, and that end and begin in between.
func noMixUp(t *testing.T, s *setup) {
	const workers, rounds = 8, 300
	sp := s.space()
	cfg := sections(baseConfig(whoApp(t), sp.section()), "session", "idle: 5s\n  max_per_user: 100")
	gateways := []*gateway{start(t, cfg, withUsers()), start(t, cfg, withUsers())}
	var answered, wrong, ended atomic.Int64
	c := plainClient(t)
	parallel(workers, workers, func(worker int) {
		id, role, login := "1", "admin", form("email", adminEmail, "password", adminPassword).Encode()
		if worker%2 == 1 {
			id, role, login = "2", "user", form("email", userEmail, "password", userPassword).Encode()
		}
		token := ""
		for i := range rounds {
			g := gateways[(worker/2+i)%2]
			if i%100 == 0 { // a new session: in the place of the old one, or after its end
				if i%200 == 100 {
					if got, err := send(c, "POST", g.url+"/logout", token, ""); err == nil && got.StatusCode == 303 {
						ended.Add(1)
					}
				}
				got, err := send(c, "POST", g.url+"/login", token, login)
				if err != nil || got.tokenOf() == "" {
					t.Errorf("login of user %s: %v, %v", id, got.Response, err)
					return
				}
				token = got.tokenOf()
			}
			query := fmt.Sprintf("w%d-%d", worker, i)
			got, err := send(c, "GET", g.url+"/account?"+query, token, "")
			switch {
			case err != nil || got.StatusCode != 200:
				t.Errorf("%s: %v, %v", query, got.Response, err)
			case got.body != fmt.Sprintf("user=%s role=%s query=%s", id, role, query):
				wrong.Add(1)
				t.Errorf("user %s asked %s and got %q", id, query, got.body)
			default:
				answered.Add(1)
			}
		}
	})
	renewed := metricSum(t, `gatehouse_session_renewals_total{outcome="ok"}`, gateways...)
	t.Logf("%d answers to two users over two replicas, %d of them wrong; %d logouts, %d renewals", answered.Load(), wrong.Load(), ended.Load(), renewed)
	if answered.Load() != workers*rounds || ended.Load() == 0 || renewed == 0 {
		t.Error("too little happened for this to show anything")
	}
}
