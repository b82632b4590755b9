package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"gatehouse/internal/testredis"
)

var uma = form("email", userEmail, "password", userPassword)

// loginCrashes die while somebody logs in. At the limit the oldest session ends for the new one, in the same
// step: without the new one's token having arrived the person has one session less, and none too many.
var loginCrashes = []crashCase{
	{"create.before", "", atLimit(0)},
	{"create.need", "", atLimit(0)},
	{"create.before:2", "", atLimit(0)},
	{"create.done", "", atLimit(1)},
	{"login.created", "", atLimit(1)},
	{"create.before", "logging in again", loggingInAgain(false)},
	{"create.done", "logging in again", loggingInAgain(true)},
	{"login.created", "logging in again", loggingInAgain(true)},
	{"create.done", "as somebody else", asSomebodyElse},
	{"login.previous", "as somebody else", asSomebodyElse},
	{"revoke.before", "as somebody else", asSomebodyElse},
	{"raise.before", "", superseded},
	{"raise.done", "", superseded},
}

// atLimit logs in once more than is allowed. evicted have ended for it.
func atLimit(evicted int) func(*crash) {
	return func(c *crash) {
		c.usual()
		c.unanswered(c.doomed(), newBrowser(c.t, ""), "POST", "/login", uma)
		if n := c.sessionsOf("2"); n != crashLimit {
			c.t.Errorf("%d sessions, want %d", n, crashLimit)
		}
		c.again(c.people[evicted:], c.people[:evicted])
	}
}

// loggingInAgain logs in with a browser that has a session already, which the new one replaces.
func loggingInAgain(replaced bool) func(*crash) {
	return func(c *crash) {
		c.usual()
		c.unanswered(c.doomed(), c.people[1], "POST", "/login", uma)
		if replaced {
			c.again([]*browser{c.people[0], c.people[2]}, c.people[1:2])
			return
		}
		c.again(c.people, nil)
	}
}

// asSomebodyElse logs user 2 in with a browser that has a session of user 1. The two are in different slots, so it is two
// steps; between them both sessions are there, and the browser has the old one's cookie still.
func asSomebodyElse(c *crash) {
	c.usual()
	ada := newBrowser(c.t, c.calm.url)
	ada.login(adminEmail, adminPassword)
	c.unanswered(c.doomed(), ada, "POST", "/login", uma)
	g := c.again(append(c.people[1:], ada), c.people[:1])
	// The browser does it once more, and this time it hears of it.
	token := ada.token()
	if got := ada.at(g).post("/login", uma); got.StatusCode != 303 || ada.token() == token {
		c.t.Errorf("the login, tried again: %s", got.Status)
	}
	if got := ada.at(g).get("/account"); !strings.Contains(got.body, "user=2 ") || c.sp.number(c.t, "EXISTS", c.sp.session(token)) != 0 {
		c.t.Errorf("after it the browser's page is %q, and its session of before is there", got.body)
	}
	c.healed()
}

// superseded: Redis has lost the login sequence, but not that all sessions of the user were revoked late in it. The first
// login brings the sequence up to that, and fails.
func superseded(c *crash) {
	c.usual()
	c.sp.server.Do(c.t, "SET", c.sp.prefix+"user_gen:{"+tagOf("2")+"}:2", "7")
	c.unanswered(c.doomed(), newBrowser(c.t, ""), "POST", "/login", uma)
	if c.point == "raise.before" {
		if got := newBrowser(c.t, c.calm.url).post("/login", uma); got.StatusCode != 401 {
			c.t.Errorf("a login before the sequence is raised: %s", got.Status)
		}
	}
	c.again(c.people, nil)
}

// touchCrashes die while a session in use is prolonged, or what it holds is saved.
var touchCrashes = []crashCase{
	{"replace.before", "prolonging", prolonging},
	{"replace.done", "prolonging", prolonging},
	{"replace.before", "saving cookies", savingCookies("one")},
	{"replace.done", "saving cookies", savingCookies("two")},
}

func prolonging(c *crash) {
	c.usual()
	token := c.people[0].token()
	c.sp.age(c.t, 2*time.Hour, token)
	g := c.doomed()
	_, _ = c.tries(g, c.people[0], "GET", "/account", nil) // the answer does not wait for it
	c.dies(g)
	prolonged := func() bool { return time.Since(c.sp.record(c.t, token).LastAccessed) < time.Hour }
	if done := c.point == "replace.done"; prolonged() != done {
		c.t.Errorf("prolonged: %v, want %v", prolonged(), done)
	}
	c.sp.audited(c.t)
	if next := start(c.t, c.cfg, c.files); c.people[0].at(next).get("/account").StatusCode != 200 {
		c.t.Error("the session is gone")
	}
	eventually(c.t, "the session to be prolonged by its next use", prolonged)
	c.again(c.people, nil)
}

// savingCookies dies while a cookie of the application's, which the gateway keeps, is written. held is what the
// application gets afterwards: the old one or the new one.
func savingCookies(held string) func(*crash) {
	return func(c *crash) {
		upstream := startHTTPApp(c.t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			value := r.URL.Query().Get("set")
			if r.URL.Path == "/login" {
				value = "one"
				w.Header().Set("X-Me", "2")
			}
			if value != "" {
				w.Header().Set("Set-Cookie", "sid="+value+"; HttpOnly; Path=/")
			}
			_, _ = io.WriteString(w, "user="+r.Header.Get("X-User-Id")+" cookie="+r.Header.Get("Cookie"))
		}))
		c.cfg = sections(appConfig(upstream, c.sp.section(), "success: {header: X-Me}\n    identity: {from: header, fields: {userId: X-Me}}\n    vault: httponly"),
			"session", fmt.Sprintf("max_per_user: %d", crashLimit))
		c.calm = start(c.t, c.cfg, c.files)
		b := newBrowser(c.t, c.calm.url)
		if got := b.post("/login", uma); got.StatusCode != 200 || b.token() == "" {
			c.t.Fatalf("login: %s", got.Status)
		}
		c.unanswered(c.doomed(), b, "GET", "/account?set=two", nil)
		c.sp.audited(c.t)
		for _, g := range []*gateway{start(c.t, c.cfg, c.files), c.calm} {
			eventually(c.t, "the application to get its cookie "+held, func() bool {
				return b.at(g).get("/account").body == "user=2 cookie=sid="+held
			})
		}
		if got := b.get("/account?set=three"); got.StatusCode != 200 || b.get("/account").body != "user=2 cookie=sid=three" {
			c.t.Errorf("it can be changed no more: %s", got.Status)
		}
		c.healed()
	}
}

// logoutCrashes die while somebody logs out. Nobody is told that they have before it is done.
var logoutCrashes = []crashCase{
	{"logout.refused", "", loggingOut(false)},
	{"revoke.before", "", loggingOut(false)},
	{"revoke.done", "", loggingOut(true)},
	{"logout.revoked", "", loggingOut(true)},
}

func loggingOut(done bool) func(*crash) {
	return func(c *crash) {
		c.usual()
		c.unanswered(c.doomed(), c.people[0], "POST", "/logout", nil)
		if there := c.sp.number(c.t, "EXISTS", c.sp.session(c.people[0].token())) == 1; there == done {
			c.t.Errorf("the session is there: %v, want %v", there, !done)
		}
		c.healed()
		if done {
			c.again(c.people[1:], c.people[:1])
			return
		}
		// Pressed once more it works.
		again := holder(c.t, c.calm, c.people[0].token())
		if got := again.post("/logout", nil); got.StatusCode != 303 {
			c.t.Errorf("logging out again: %s", got.Status)
		}
		c.again(c.people[1:], c.people[:1])
	}
}

// pendingCrashes die while Redis is away and a logout waits for it.
var pendingCrashes = []crashCase{
	{"pending.add", "", waitingForRedis},
	{"pending.added", "", waitingForRedis},
	{"pending.retry:4", "", waitingForRedis},
	{"pending.confirmed", "", waitingForRedis},
}

// waitingForRedis: who was told that their logout is not confirmed yet has it in the log, and what the log says
// to run ends their session.
func waitingForRedis(c *crash) {
	c.sp = ownSpace(c.t, testredis.Persistent())
	c.usual()
	token := c.people[0].token()
	leaving := holder(c.t, c.calm, token)
	g := c.doomed()
	eventually(c.t, "the gateway to know the session", func() bool { return leaving.at(g).get("/account").StatusCode == 200 })
	c.sp.server.Kill()
	got, err := c.tries(g, leaving, "POST", "/logout", nil)
	told := err == nil
	if told && got.StatusCode != 503 {
		c.t.Errorf("a logout while Redis is away: %s", got.Status)
	}
	if told != (c.point == "pending.retry:4" || c.point == "pending.confirmed") {
		c.t.Errorf("the person was answered: %v", told)
	}
	if c.point == "pending.confirmed" {
		c.sp.server.Restart()
	}
	c.dies(g)
	if c.point != "pending.confirmed" {
		c.sp.server.Restart()
	}
	lines := g.entries(map[string]any{"type": "revocation", "state": "waiting", "session_id": sessionID(token), "user": "2", "level": "warn"})
	if want := c.point != "pending.add"; (len(lines) == 1) != want {
		c.t.Fatalf("%d lines tell of the logout, want one: %v", len(lines), want)
	}
	if n := len(g.entries(map[string]any{"type": "revocation", "state": "confirmed"})); n != 0 {
		c.t.Errorf("%d lines say that it was confirmed, and it died before", n)
	}
	there := c.sp.number(c.t, "EXISTS", c.sp.session(token)) == 1
	if there == (c.point == "pending.confirmed") {
		c.t.Errorf("the session is there: %v", there)
	}
	eventually(c.t, "the other gateway to find Redis again", func() bool { return c.people[1].get("/account").StatusCode == 200 })
	if len(lines) == 1 {
		c.runs(fmt.Sprint(lines[0]["command"]), there)
	} else if got := holder(c.t, c.calm, token).post("/logout", nil); got.StatusCode != 303 {
		c.t.Errorf("logging out again: %s", got.Status)
	}
	c.again(c.people[1:], c.people[:1])
}

// runs does what an operator does with the command of a log line. there: the session is.
func (c *crash) runs(command string, there bool) {
	c.t.Helper()
	args, ok := strings.CutPrefix(command, "gatehouse sessions ")
	if !ok {
		c.t.Fatalf("the log says to run %q", command)
	}
	cmd := c.operate(binary, strings.Fields(args)...)
	if out, err := cmd.CombinedOutput(); (err == nil) != there {
		c.t.Errorf("%s: %v\n%s", command, err, out)
	}
}

// indexCrashes die while all sessions of a user end, or are listed, by the command line.
var indexCrashes = []crashCase{
	{"revoke_user.before", "", endingAll(false)},
	{"revoke_user.advanced", "", endingAll(false)},
	{"revoke_user.need", "", endingAll(false)},
	{"revoke_user.done", "", endingAll(true)},
	{"list.before", "", listing},
	{"list.read", "", listing},
	{"list.heal", "", listing},
	{"list.done", "", listing},
}

// killed runs a command that dies at the point.
func (c *crash) killed(args ...string) {
	c.t.Helper()
	path, err := faulty()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := c.operate(path, args...)
	cmd.Env = append(cmd.Environ(), "GATEHOUSE_FAULT="+c.point)
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.String() != "signal: killed" {
		c.t.Fatalf("sessions %v did not die at %s: %v\n%s", args, c.point, cmd.ProcessState, out)
	}
}

func endingAll(done bool) func(*crash) {
	return func(c *crash) {
		c.usual()
		c.killed("revoke-user", "2", "--yes")
		if there := c.sessionsOf("2"); there != map[bool]int{true: 0, false: crashLimit}[done] {
			c.t.Errorf("%d sessions are left: all or none", there)
		}
		c.healed()
		// Run again it ends them, if it has not; somebody who logs in afterwards is let in.
		if out, err := c.operate(binary, "revoke-user", "2", "--yes").CombinedOutput(); err != nil && !done {
			c.t.Errorf("run again: %v\n%s", err, out)
		}
		c.again(nil, c.people)
	}
}

func listing(c *crash) {
	c.usual()
	dead := c.people[0].token()
	c.sp.server.Do(c.t, "DEL", c.sp.session(dead))
	c.killed("list", "--user", "2")
	if healed := c.sp.text(c.t, "ZSCORE", c.sp.index("2"), sessionID(dead)) == ""; healed != (c.point == "list.done") {
		c.t.Errorf("the entry of the dead session is gone: %v", healed)
	}
	if out, err := c.operate(binary, "list", "--user", "2").CombinedOutput(); err != nil {
		c.t.Errorf("run again: %v\n%s", err, out)
	}
	c.healed()
	c.again(c.people[1:], c.people[:1])
}

// repairCrashes die while an operator has the index repaired.
var repairCrashes = []crashCase{
	{"repair_session.before", "", repairing}, {"repair_session.done", "", repairing},
	{"repair_index.before", "", repairing}, {"repair_index.done", "", repairing},
}

func repairing(c *crash) {
	c.usual()
	dead := c.people[1]
	c.sp.server.Do(c.t, "ZREM", c.sp.index("2"), sessionID(c.people[0].token()))
	c.sp.server.Do(c.t, "DEL", c.sp.session(dead.token()))
	c.killed("audit", "--repair")
	if c.sp.number(c.t, "EXISTS", c.sp.session(dead.token())) != 0 || c.sessionsOf("2") != crashLimit-1 {
		c.t.Errorf("half a repair: %d sessions are left", c.sessionsOf("2"))
	}
	if out, err := c.operate(binary, "audit", "--repair").CombinedOutput(); err != nil {
		c.t.Errorf("run again: %v\n%s", err, out)
	}
	c.healed()
	c.again([]*browser{c.people[0], c.people[2]}, c.people[1:2])
}

// importCrashes die while a session of the application's comes over to Redis: in the first it has the application's
// cookie, in the others it was there already, and is given its token.
var importCrashes = []crashCase{
	{"alias.before", "coming over", comingOver}, {"alias.done", "coming over", comingOver},
	{"create.before", "coming over", comingOver}, {"create.done", "coming over", comingOver},
	{"import.brought", "", comingOver}, {"import.committed", "", comingOver},
	{"replace.before", "coming over", comingOver}, {"import.flipped", "", comingOver},
	{"alias.before", "claimed", claimed}, {"alias.done", "claimed", claimed},
	{"rotate.before", "", claimed}, {"rotate.done", "", claimed},
}

func comingOver(c *crash) { c.over(false) }
func claimed(c *crash)    { c.over(true) }

// over has one session come over, and the gateway die of it.
func (c *crash) over(backfill bool) {
	const sid = "crash-0123456789abcdef0123456789abcdef"
	o := newPrepared(c.t)
	o.row(7, sid)
	o.must("set", "primary", "--force")
	if backfill {
		o.must("backfill")
	}
	c.sp, c.cfg, c.files = space{server: o.redis}, o.config("primary", 0), options{program: c.files.program}
	said.secret(sid)
	visit := func(g *gateway) (answer, error) {
		return send(plainClient(c.t), "GET", g.url+"/me", "", "", "Cookie", "sid="+sid)
	}
	g := c.doomed()
	_, _ = visit(g)
	c.dies(g)
	c.sp.audited(c.t)
	next := start(c.t, c.cfg, c.files)
	var token string
	eventually(c.t, "the browser to get its token", func() bool {
		got, err := visit(next)
		if err != nil || got.StatusCode != 200 || !strings.Contains(got.body, "X-User-Id: 7\r\n") {
			c.t.Fatalf("the session was lost: %v %v", got.Response, err)
		}
		token = got.tokenOf()
		return token != ""
	})
	if n := c.sessionsOf("7"); n != 1 {
		c.t.Errorf("of one session there are %d now", n)
	}
	if n := o.count("SELECT count(*) FROM sessions WHERE migrated_at IS NOT NULL"); n != "1" {
		c.t.Errorf("%s rows are marked, want the one", n)
	}
	eventually(c.t, "the index to be right", func() bool {
		return fmt.Sprint(c.sp.strings(c.t, "ZRANGE", c.sp.index("7"), "0", "-1")) == "["+sessionID(token)+"]"
	})
	c.healed()
	if got, err := send(plainClient(c.t), "POST", next.url+"/logout", "", "", "Cookie", "gatehouse="+token+"; sid="+sid); err != nil || got.StatusCode != 303 {
		c.t.Errorf("logout: %v %v", got.Response, err)
	}
	for _, cookie := range []string{"sid=" + sid, "gatehouse=" + token} {
		if got, err := send(plainClient(c.t), "GET", next.url+"/me", "", "", "Cookie", cookie); err != nil || got.StatusCode != 303 {
			c.t.Errorf("after the logout: %v %v", got.Response, err)
		}
	}
	c.healed()
}
