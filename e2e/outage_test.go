package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"gatehouse/internal/testredis"
)

// answerBound is within what every request is answered while Redis is away: redis.timeout is 250 ms, and
// the rest is for two cores that run a whole suite under the race detector. What it was is logged.
const answerBound = 2 * time.Second

// outage is one way in which Redis can be away.
type outage struct {
	name    string
	options []testredis.Option
	hurt    func(t *testing.T, o *outageRun)
	heal    func(t *testing.T, o *outageRun)
	// reads: sessions can still be looked up, only nothing can be written.
	reads bool
}

// outageRun is what an outage happens to: a replica that has served one session and not another, a
// second one, and their Redis.
type outageRun struct {
	sp          space
	here, there *gateway
	// delay of everything Redis answers.
	delay *atomic.Int64
	// known was used at here before the outage, unknown only at there; leaving logs out during it.
	known, unknown, leaving *browser
}

var outages = []outage{
	{name: "refused", options: []testredis.Option{testredis.Persistent()},
		hurt: func(_ *testing.T, o *outageRun) { o.sp.server.Kill() },
		heal: func(_ *testing.T, o *outageRun) { o.sp.server.Restart() }},
	{name: "hung",
		hurt: func(_ *testing.T, o *outageRun) { o.sp.server.Stop() },
		heal: func(_ *testing.T, o *outageRun) { o.sp.server.Cont() }},
	{name: "slow",
		hurt: func(_ *testing.T, o *outageRun) { o.delay.Store(int64(600 * time.Millisecond)) },
		heal: func(_ *testing.T, o *outageRun) { o.delay.Store(0) }},
	{name: "loading", options: []testredis.Option{testredis.Persistent(),
		testredis.Flags("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")},
		hurt: func(t *testing.T, o *outageRun) {
			fill(t, o.sp, 3000)
			o.sp.server.Launch()
		},
		heal: func(*testing.T, *outageRun) {}},
	{name: "wrong password", options: []testredis.Option{testredis.Password("redis-password")},
		hurt: func(t *testing.T, o *outageRun) {
			setPassword(t, o, "not-the-password")
			o.sp.server.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
			o.sp.server.Do(t, "CLIENT", "KILL", "TYPE", "pubsub", "SKIPME", "yes")
		},
		heal: func(t *testing.T, o *outageRun) { setPassword(t, o, "redis-password") }},
	{name: "replica without master",
		hurt: func(t *testing.T, o *outageRun) {
			o.sp.server.Do(t, "CONFIG", "SET", "replica-serve-stale-data", "no")
			o.sp.server.Do(t, "REPLICAOF", "127.0.0.1", "1")
		},
		heal: func(t *testing.T, o *outageRun) { o.sp.server.Do(t, "REPLICAOF", "NO", "ONE") }},
	{name: "read-only replica", reads: true,
		hurt: func(t *testing.T, o *outageRun) { o.sp.server.Do(t, "REPLICAOF", "127.0.0.1", "1") },
		heal: func(t *testing.T, o *outageRun) { o.sp.server.Do(t, "REPLICAOF", "NO", "ONE") }},
}

// slowly passes connections on to a server whose answers come late by delay.
func slowly(t *testing.T, server string, delay *atomic.Int64) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer client.Close()
				back, err := net.Dial("tcp", server)
				if err != nil {
					return
				}
				defer back.Close()
				go func() {
					_, _ = io.Copy(back, client)
					_ = back.Close()
				}()
				buffer := make([]byte, 64<<10)
				for {
					n, err := back.Read(buffer)
					time.Sleep(time.Duration(delay.Load()))
					if _, writeErr := client.Write(buffer[:n]); err != nil || writeErr != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// fill gives Redis something to load.
func fill(t *testing.T, sp space, n int) {
	t.Helper()
	c := sp.server.Client(t)
	for i := 0; i < n; i += 100 {
		batch := make(rueidis.Commands, 100)
		for k := range batch {
			batch[k] = c.B().Set().Key(fmt.Sprintf("filler:%d", i+k)).Value("x").Build()
		}
		for _, got := range c.DoMulti(t.Context(), batch...) {
			if err := got.Error(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// setPassword writes the file the gateways read Redis's password from.
func setPassword(t *testing.T, o *outageRun, password string) {
	for _, g := range []*gateway{o.here, o.there} {
		writeFile(t, filepath.Join(g.dir, "redis-password"), password+"\n")
	}
}

// redisAway (S10).
func redisAway(t *testing.T, _ *setup) {
	for _, kind := range outages {
		t.Run(kind.name, func(t *testing.T) { endure(t, kind) })
	}
	t.Run("known sessions for a time only", servedForAWhile)
	t.Run("started without Redis", startedWithout)
}

// endure has an outage happen, and looks at everything that must hold before, during and after it.
func endure(t *testing.T, kind outage) {
	sp, delay := ownSpace(t, kind.options...), new(atomic.Int64)
	address := sp.server.Addr
	if kind.name == "slow" {
		address = slowly(t, address, delay)
	}
	cfg := baseConfig(whoApp(t), fmt.Sprintf("redis: {addresses: [%q], password_file: redis-password}\n", address))
	files := options{files: map[string]string{"users.yaml": usersYAML(), "redis-password": "redis-password\n"}}
	if kind.name != "wrong password" {
		cfg = strings.Replace(cfg, ", password_file: redis-password", "", 1)
	}
	o := &outageRun{sp: sp, delay: delay, here: startReady(t, cfg, files), there: startReady(t, cfg, files)}
	o.known, o.leaving, o.unknown = newBrowser(t, o.here.url), newBrowser(t, o.here.url), newBrowser(t, o.there.url)
	for _, b := range []*browser{o.known, o.leaving} {
		b.login(userEmail, userPassword)
		if got := b.get("/account"); got.StatusCode != 200 {
			t.Fatalf("before the outage: %s", got.Status)
		}
	}
	o.unknown.login(adminEmail, adminPassword)

	kind.hurt(t, o)
	began := time.Now()
	y := o.bombard(t, kind)
	o.during(t, kind, y)
	slices.Sort(y.took)
	median, longest := y.took[len(y.took)/2], y.took[len(y.took)-1]
	t.Logf("%s: %v; median %v, longest request %v", kind.name, y.answers, median.Round(100*time.Microsecond), longest.Round(time.Millisecond))
	if longest > answerBound || median > 200*time.Millisecond {
		t.Errorf("the median of the requests took %v, the longest %v; want one within %v, and not each to wait for Redis", median, longest, answerBound)
	}
	kind.heal(t, o)
	healed := time.Now()
	o.after(t, kind)
	t.Logf("%s: away for %v, all is well again %v later", kind.name, healed.Sub(began).Round(time.Millisecond), time.Since(healed).Round(time.Millisecond))
}

// tally collects the answers of many goroutines.
type tally struct {
	mu      sync.Mutex
	answers map[string]int // "who status"
	took    []time.Duration
	faults  []string
}

func (y *tally) ask(c *http.Client, who, method, url, token, body string) (answer, error) {
	began := time.Now()
	got, err := send(c, method, url, token, body)
	took := time.Since(began)
	y.mu.Lock()
	defer y.mu.Unlock()
	y.took = append(y.took, took)
	if err != nil {
		y.faults = append(y.faults, fmt.Sprintf("%s: %v", who, err))
		return got, err
	}
	y.answers[fmt.Sprintf("%s %d", who, got.StatusCode)]++
	if got.StatusCode == 503 && got.Header.Get("Retry-After") == "" {
		y.faults = append(y.faults, who+": 503 without Retry-After")
	}
	return got, nil
}

// bombard sends requests of every kind for a while.
func (o *outageRun) bombard(t *testing.T, kind outage) *tally {
	y := &tally{answers: make(map[string]int)}
	c := plainClient(t)
	unissued := tagOf("1") + "." + strings.Repeat("A", 43)
	stop := time.Now().Add(1200 * time.Millisecond)
	parallel(4, 4, func(int) {
		for time.Now().Before(stop) {
			for _, r := range []struct{ who, path, token string }{
				{"known", "/account", o.known.token()}, {"unknown", "/account", o.unknown.token()}, {"forged", "/account", unissued},
				{"anonymous", "/account", ""}, {"public", "/public/x", o.known.token()}, {"unknown, public", "/public/x", o.unknown.token()},
			} {
				got, err := y.ask(c, r.who, "GET", o.here.url+r.path, r.token, "")
				if err != nil {
					return
				}
				y.mu.Lock()
				if got.Header["Set-Cookie"] != nil {
					y.faults = append(y.faults, r.who+": the cookie was touched: "+got.Header.Get("Set-Cookie"))
				}
				if r.who == "known" && got.StatusCode == 200 && !strings.HasPrefix(got.body, "user=2 ") || r.who == "unknown, public" && !kind.reads && strings.HasPrefix(got.body, "user=1 ") {
					y.faults = append(y.faults, r.who+" is "+got.body)
				}
				y.mu.Unlock()
			}
		}
	})
	return y
}

// during looks at the answers so far, and at login, logout and health.
func (o *outageRun) during(t *testing.T, kind outage, y *tally) {
	t.Helper()
	want := map[string]int{"known": 200, "unknown": 503, "forged": 503, "anonymous": 303, "public": 200, "unknown, public": 200}
	if kind.reads {
		want["unknown"], want["forged"] = 200, 303
	}
	for who, status := range want {
		if y.answers[fmt.Sprintf("%s %d", who, status)] < 5 {
			t.Errorf("too few answers %d for %s: %v", status, who, y.answers)
		}
	}
	for got := range y.answers {
		who, status, _ := strings.Cut(strings.ReplaceAll(got, ", ", ",_"), " ")
		if who = strings.ReplaceAll(who, ",_", ", "); fmt.Sprint(want[who]) != status {
			t.Errorf("%s: %d times, want %d only", got, y.answers[got], want[who])
		}
	}
	if len(y.faults) > 0 {
		t.Errorf("%d faults, such as %s", len(y.faults), strings.Join(slices.Compact(y.faults)[:1], ""))
	}
	c := plainClient(t)
	got, err := y.ask(c, "login", "POST", o.here.url+"/login", "", form("email", userEmail, "password", userPassword).Encode())
	if err != nil || got.StatusCode != 503 || got.Header["Set-Cookie"] != nil {
		t.Errorf("login: %v, %v", got.Response, err)
	}
	got, err = y.ask(c, "logout", "POST", o.here.url+"/logout", o.leaving.token(), "")
	if err != nil || got.StatusCode != 503 || !strings.Contains(got.body, "not confirmed") {
		t.Errorf("logout: %v, %v: the person must be told that it is not confirmed", got.Response, err)
	}
	refused := 303
	if got := o.leaving.get("/account"); got.StatusCode != refused {
		t.Errorf("after a logout that is not confirmed this replica answers %s", got.Status)
	}
	if got := o.known.get("/.gatehouse/healthz"); got.StatusCode != 200 {
		t.Errorf("healthz: %s", got.Status)
	}
	if kind.reads {
		return
	}
	if got := o.known.get("/.gatehouse/readyz"); got.StatusCode != 503 || !strings.Contains(got.body, "redis") {
		t.Errorf("readyz: %s %s", got.Status, got.body)
	}
	if metricSum(t, `gatehouse_session_finds_total{source="known"}`, o.here) == 0 || o.here.metric(t, "gatehouse_redis_outage") != "1" {
		t.Error("the metrics do not tell of the outage")
	}
	o.here.logged(t, map[string]any{"type": "access", "session_source": "known"})
	o.here.logged(t, map[string]any{"type": "audit", "event": "outage_begin"})
}

// after waits until everything has recovered by itself.
func (o *outageRun) after(t *testing.T, kind outage) {
	t.Helper()
	eventually(t, "unknown sessions to be served again", func() bool { return o.unknown.at(o.here).get("/account").StatusCode == 200 })
	eventually(t, "the session known before to be served from Redis", func() bool {
		return o.known.get("/account").StatusCode == 200 && o.known.at(o.there).get("/account").StatusCode == 200
	})
	eventually(t, "logins to work", func() bool {
		got := newBrowser(t, o.here.url).post("/login", form("email", userEmail, "password", userPassword))
		return got.StatusCode == 303
	})
	eventually(t, "the logout to be confirmed", func() bool { return o.here.metric(t, "gatehouse_revocations_pending") == "0" })
	if got := o.leaving.at(o.there).get("/account"); got.StatusCode != 303 || o.sp.number(t, "EXISTS", o.sp.session(o.leaving.token())) != 0 {
		t.Errorf("the other replica serves a session that was logged out of during the outage: %s", got.Status)
	}
	eventually(t, "readyz to say ready", func() bool { return o.known.get("/.gatehouse/readyz").StatusCode == 200 })
	if kind.reads {
		return
	}
	if o.here.metric(t, "gatehouse_redis_outage") != "0" || o.here.metric(t, "gatehouse_redis_outages_total") == "0" {
		t.Error("the metrics do not tell that the outage is over")
	}
	o.here.logged(t, map[string]any{"type": "audit", "event": "outage_end"})
}

// servedForAWhile: a known session is served for outage.serve_known_for and no longer.
func servedForAWhile(t *testing.T) {
	sp := ownSpace(t)
	app := whoApp(t)
	redis := fmt.Sprintf("redis: {addresses: [%q]}\n", sp.server.Addr)
	never := startReady(t, baseConfig(app, redis)+"outage: {serve_known_for: 0s}\n", withUsers())
	second := startReady(t, baseConfig(app, redis)+"outage: {serve_known_for: 1s}\n", withUsers())
	b := newBrowser(t, never.url)
	b.login(userEmail, userPassword)
	for _, g := range []*gateway{never, second} {
		if got := b.at(g).get("/account"); got.StatusCode != 200 {
			t.Fatalf("before: %s", got.Status)
		}
	}
	sp.server.Kill()
	killed := time.Now()
	// That the connection is lost is known a moment after the process is gone.
	eventually(t, "the outage to be noticed", func() bool { return b.get("/account").StatusCode == 503 })
	var last time.Duration // after the kill, of the last answer 200
	served := 0
	for time.Since(killed) < 3*time.Second {
		if got := b.get("/account"); got.StatusCode != 503 {
			t.Fatalf("serve_known_for 0s: %s", got.Status)
		}
		asked := time.Since(killed)
		switch got := b.at(second).get("/account"); got.StatusCode {
		case 200:
			served++
			last = asked
		case 503:
		default:
			t.Fatalf("serve_known_for 1s: %s", got.Status)
		}
	}
	t.Logf("serve_known_for 1s: served %d times, the last time %v after Redis was killed", served, last.Round(time.Millisecond))
	if served == 0 || last > 1100*time.Millisecond {
		t.Errorf("served %d times, the last time %v after Redis was killed", served, last)
	}
}

// startedWithout: the gateway starts with Redis away, and connects by itself.
func startedWithout(t *testing.T) {
	sp := ownSpace(t)
	sp.server.Kill()
	g := start(t, baseConfig(whoApp(t), fmt.Sprintf("redis: {addresses: [%q]}\n", sp.server.Addr)), withUsers())
	b := newBrowser(t, g.url)
	if got := b.get("/public/x"); got.StatusCode != 200 {
		t.Errorf("public path: %s", got.Status)
	}
	login := form("email", userEmail, "password", userPassword)
	if got := b.post("/login", login); got.StatusCode != 503 || b.token() != "" {
		t.Errorf("login: %s", got.Status)
	}
	sp.server.Restart()
	eventually(t, "logins to work", func() bool { return b.post("/login", login).StatusCode == 303 })
	if got := b.get("/account"); got.StatusCode != 200 {
		t.Errorf("after: %s", got.Status)
	}
}
