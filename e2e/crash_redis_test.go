package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/testredis"
)

// killRounds is how often Redis is killed.
const killRounds = 15

// traffic is people who log in, look and log out while their Redis is killed again and again.
type traffic struct {
	t      *testing.T
	g      *gateway
	client *http.Client

	mu sync.Mutex
	// in have been told that they are logged in; out have been told that they are logged out, or will be.
	in, out map[string]bool
	failed  atomic.Int64
	// answered counts logins and logouts.
	answered atomic.Int64
}

// TestRedisKilledInTheMiddle kills Redis with SIGKILL in the middle of logins, renewals and logouts: after each of its
// returns every session is in the index and every entry has its session. With appendfsync always nothing that
// anybody was told is lost; with everysec (the usual setting) the last moment may be, but not halves of it.
func TestRedisKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct {
		fsync string
		limit int
	}{{"always", 100_000}, {"everysec", crashLimit}} {
		t.Run(mode.fsync, func(t *testing.T) {
			t.Parallel()
			sp := ownSpace(t, testredis.Flags("--appendonly", "yes", "--appendfsync", mode.fsync))
			// Sessions are due to be prolonged six seconds after their last use.
			cfg := sections(baseConfig(whoApp(t), fmt.Sprintf("redis: {addresses: [%q]}\n", sp.server.Addr)), "session", fmt.Sprintf("idle: 60s\n  max_per_user: %d", mode.limit))
			files, err := withUsers(), error(nil)
			if files.program, err = faulty(); err != nil { // it is quick, and what dies here is Redis
				t.Fatal(err)
			}
			x := &traffic{t: t, g: startReady(t, cfg, files), client: plainClient(t), in: map[string]bool{}, out: map[string]bool{}}
			for round := range killRounds {
				x.round(sp)
				x.indexed(sp, round)
				if mode.fsync == "always" {
					x.holds(round)
				} else if n := sp.number(t, "ZCARD", sp.index("1")); n > crashLimit {
					t.Fatalf("round %d: user 1 has %d sessions, %d are allowed", round, n, crashLimit)
				}
			}
			n := len(sp.sessions(t))
			t.Logf("appendfsync %s, %d times killed: %d logged in, %d logged out, %d requests failed, %d sessions are left", mode.fsync, killRounds, len(x.in), len(x.out), x.failed.Load(), n)
			if len(x.in)+len(x.out) < killRounds || len(x.out) == 0 || x.failed.Load() == 0 || n == 0 {
				t.Error("too little happened for this to show anything")
			}
		})
	}
}

// round has people come and go until some time after Redis is killed, and waits until all is well again.
func (x *traffic) round(sp space) {
	x.t.Helper()
	stop := make(chan struct{})
	var people sync.WaitGroup
	for i := range 6 {
		people.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					x.visit(i, rand.N(2) == 0)
				}
			}
		})
	}
	// By what has happened, not by the clock: a loaded machine would never come to the middle of anything.
	enough := x.answered.Load() + 3 + rand.Int64N(20)
	eventually(x.t, "people to come and go", func() bool { return x.answered.Load() >= enough })
	time.Sleep(rand.N(5 * time.Millisecond))
	sp.server.Kill()
	failed := x.failed.Load()
	eventually(x.t, "somebody to notice", func() bool { return x.failed.Load() > failed })
	close(stop)
	people.Wait()
	sp.server.Restart()
	b := newBrowser(x.t, x.g.url)
	eventually(x.t, "the gateway to find Redis again, and to have what it owes confirmed", func() bool {
		return b.get("/.gatehouse/readyz").StatusCode == 200 && x.g.metric(x.t, "gatehouse_redis_outage") == "0" && x.g.metric(x.t, "gatehouse_revocations_pending") == "0"
	})
}

// indexed compares records and index entries, both ways. One kind of entry may be there without its session until
// somebody logs in or lists: of a logout that was asked for while nobody could say whose session it was.
func (x *traffic) indexed(sp space, round int) {
	x.t.Helper()
	for _, id := range sp.audited(x.t) {
		lines := x.g.entries(map[string]any{"type": "revocation", "state": "waiting", "session_id": id})
		if len(lines) != 1 || lines[0]["user"] != nil {
			x.t.Fatalf("round %d: %s is in the index and is no session; it was logged out as %v", round, id, lines)
		}
	}
}

// visit logs in, looks, and perhaps leaves.
func (x *traffic) visit(who int, leaves bool) {
	email, password := userEmail, userPassword
	if who%2 == 0 {
		email, password = adminEmail, adminPassword
	}
	got, err := send(x.client, "POST", x.g.url+"/login", "", form("email", email, "password", password).Encode())
	token := ""
	if err == nil {
		token = got.tokenOf()
	}
	if token == "" {
		x.failed.Add(1)
		return
	}
	x.note(x.in, x.out, token)
	if got, err := send(x.client, "GET", x.g.url+"/account", token, ""); err != nil || got.StatusCode != 200 {
		x.failed.Add(1)
	}
	if !leaves {
		return
	}
	// 503 says that it is not confirmed yet: that comes.
	if got, err := send(x.client, "POST", x.g.url+"/logout", token, ""); err == nil && (got.StatusCode == 303 || got.StatusCode == 503) {
		x.note(x.out, x.in, token)
	} else {
		x.failed.Add(1)
	}
}

func (x *traffic) note(to, from map[string]bool, token string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	to[token] = true
	delete(from, token)
	x.answered.Add(1)
}

// holds asks for everybody what they were told, of a gateway without memory.
func (x *traffic) holds(round int) {
	x.t.Helper()
	if round%10 != 9 {
		return
	}
	text, err := os.ReadFile(filepath.Join(x.g.dir, "gatehouse.yaml"))
	if err != nil {
		x.t.Fatal(err)
	}
	fresh := startReady(x.t, string(text), withUsers())
	// A 503 says nothing of a session: on a busy machine a question may take longer than redis.timeout.
	answers := func(token string) (got answer, err error) {
		eventually(x.t, "an answer about a session", func() bool {
			got, err = send(x.client, "GET", fresh.url+"/account", token, "")
			return err != nil || got.StatusCode != 503
		})
		return got, err
	}
	for token := range x.in {
		if got, err := answers(token); err != nil || got.StatusCode != 200 {
			x.t.Fatalf("round %d: somebody who was told that they are logged in: %v %v", round, got.Response, err)
		}
	}
	for token := range x.out {
		if got, err := answers(token); err != nil || got.StatusCode != 303 {
			x.t.Fatalf("round %d: somebody who was told that they are logged out: %v %v", round, got.Response, err)
		}
	}
	fresh.stop()
}
