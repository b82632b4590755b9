package abuse

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/login/password"
	"gatehouse/session"
)

// loggedIn gives a user file with n users, and a witness with a session for each.
func loggedIn(t *testing.T, redis string, n int) (users string, tokens []string) {
	t.Helper()
	store, err := session.Open(t.Context(), config.Redis{Addresses: []string{redis}}, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	manager := session.NewManager(store, config.Session{Idle: time.Hour, Absolute: time.Hour, MaxPerUser: 10, AtLimit: config.EvictOldest}, config.Outage{}, session.Options{})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		manager.Close(ctx)
	})
	// The cost that `gatehouse users add` gives: what the flood is made to compute.
	hash := password.New("correct-horse-battery", password.Default())
	var out strings.Builder
	out.WriteString("users:\n")
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&out, "  - {id: %d, email: user-%d@example.com, name: User, role: member, email_verified: true, password_hash: %q}\n", i, i, hash)
		began, err := manager.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		token, _, err := manager.Create(t.Context(), session.Login{Began: began, User: session.User{
			ID: strconv.Itoa(i), Email: fmt.Sprintf("user-%d@example.com", i), Name: "User", Role: "member", EmailVerified: true,
		}})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	return out.String(), tokens
}

// TestLoginFlood: logins from thousands of addresses, under as many names, so that no limit but that of hashing holds
// them. Who is logged in must hardly notice (L05).
func TestLoginFlood(t *testing.T) {
	redis := testredis.Start(t)
	users, tokens := loggedIn(t, redis.Addr, 100)
	for _, f := range []loginFlood{
		{name: "ten times what can be hashed", windows: size(1, 5), each: size(150, 10_000), parallel: size(150, 2000), perSecond: size(0, 1000), most: 3},
		// It takes all of the machine that it shares with the gateway: what this costs is told, and no promise.
		{name: "as fast as they are answered", windows: size(1, 5), each: size(150, 10_000), parallel: size(150, 2000)},
	} {
		t.Run(f.name, func(t *testing.T) { f.against(t, redis.Addr, users, tokens) })
	}
}

// loginFlood is one, in several windows with calm between them.
type loginFlood struct {
	name                    string
	windows, each, parallel int
	perSecond               int     // 0: as fast as they are answered
	most                    float64 // how many times as long p99 may be at full size; 0: any
}

func (f loginFlood) against(t *testing.T, redis, users string, tokens []string) {
	g := setup{app: startApp(t).url, redis: redis, users: users}.start(t)
	var people []witness
	for i, token := range tokens {
		people = append(people, witness{seen: strconv.Itoa(i + 1), request: fmt.Sprintf("GET /account/page HTTP/1.1\r\nHost: %s\r\nCookie: gatehouse=%s\r\n\r\n", g.addr, token)})
	}
	w := watch(t, g, people)
	before := g.use(t)

	var calm, under []*window
	answers := outcome{}
	for i := range f.windows {
		calm = append(calm, w.measure(func() { time.Sleep(size(2*time.Second, 10*time.Second)) }))
		under = append(under, w.measure(func() {
			answers.add(attack{Kind: "login", Addr: g.addr, Count: f.each, Parallel: f.parallel, PerSecond: f.perSecond, From: i * f.each}.start(t)())
		}))
		time.Sleep(size(0, 2*time.Second)) // what the flood has left behind is not calm
	}
	during := g.use(t)
	ratio := timesAsSlow(calm, under)
	for i := range calm {
		t.Logf("calm:  %v", calm[i])
		t.Logf("flood: %v", under[i])
	}
	t.Logf("answers %v; p99 %.1f times; memory %.0f MiB before, at most %.0f; goroutines %.0f, then %.0f; descriptors %.0f, then %.0f",
		answers, ratio, before.rss, during.peak, before.goroutines, during.goroutines, before.descriptors, during.descriptors)
	hashes := children(t, g.pid)
	if len(hashes) != 1 {
		t.Fatalf("the gateway has %d processes beside it, want one for hashes", len(hashes))
	}
	// Each hash is 19 MiB, and as much again until it is collected. With one for each login there would be 64 at least.
	if peak := (&gateway{pid: hashes[0]}).status(t, "VmHWM:"); peak > 250 {
		t.Errorf("hashing took %.0f MiB: more than login.limits.max_concurrent_hashes at once", peak)
	}
	// On a busy machine attackers of the lowest priority may be slower than timeouts.read_header.
	want := f.windows * f.each
	if got := answers["401"] + answers["503"]; got+answers["closed"] != want || got < want*9/10 || answers["401"] == 0 {
		t.Errorf("%v answers of %d are 401 or 503, some of them 401", answers, want)
	}
	if *full && f.most > 0 && ratio > f.most {
		t.Errorf("p99 of those logged in was %.1f times as long during the flood, at most %.1f is allowed", ratio, f.most)
	}
}

// TestHashesEndWithTheGateway: what hashes for it does not outlive a gateway that is killed.
func TestHashesEndWithTheGateway(t *testing.T) {
	t.Parallel()
	g := setup{app: startApp(t).url}.start(t)
	if answers := (attack{Kind: "login", Addr: g.addr, Count: 1, Parallel: 1}).run(); answers["401"] != 1 {
		t.Fatalf("%v", answers)
	}
	hashes := children(t, g.pid)
	if len(hashes) != 1 {
		t.Fatalf("%d processes, want one", len(hashes))
	}
	if err := syscall.Kill(g.pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, 20*time.Second, "the process for hashes to end", func() bool { return syscall.Kill(hashes[0], 0) != nil })
}
