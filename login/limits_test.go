package login_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/login/password"
)

// limited sets small limits: bursts of three.
func limited(address, account int) func(*setup) {
	return func(s *setup) {
		s.cfg.Limits = config.LoginLimits{
			PerAddress: config.Rate{Events: address, Per: time.Minute}, PerAccount: config.Rate{Events: account, Per: time.Minute},
			Burst: 3, MaxConcurrentHashes: 2,
		}
	}
}

func TestLoginLimits(t *testing.T) {
	t.Parallel()
	t.Run("L03_per_account_folded", func(t *testing.T) {
		t.Parallel()
		g := newGate(t, limited(6000, 6))
		spellings := []string{"bob@example.com", "BOB@Example.com ", "\uff42ob@example.com", "Bob@example.com\u3000", "bob@example.com"}
		var codes []int
		for i, account := range spellings {
			codes = append(codes, g.send(visit{body: typed(account, "wrong"), client: fmt.Sprintf("192.0.2.%d", i)}).Code)
		}
		if !slices.Equal(codes, []int{401, 401, 401, 429, 429}) {
			t.Errorf("spellings of one account from many addresses: %v", codes)
		}
		g.sessions.took()
		a := g.send(visit{body: typed(bob, secret), client: "192.0.2.99"})
		if a.Code != 429 || a.Header().Get("Retry-After") != "10" || g.cookie(a) != nil || a.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("the right password over the limit: %d %v", a.Code, a.Header())
		}
		if calls := g.sessions.took(); len(calls) > 0 {
			t.Errorf("over the limit, and yet %v", calls)
		}
		if log := g.logged(); !strings.Contains(log, `"event":"limit"`) || !strings.Contains(log, `"reason":"account"`) || !strings.Contains(log, `"account":"Bob@Example.com"`) {
			t.Errorf("log %s", log)
		}
		g.wantCounted(t, `gatehouse_limited_total{limit="account"} 3`)
		g.wantCounted(t, `gatehouse_logins_total{backend="file",outcome="limited"} 3`)
		g.login(t, ada) // another account is not limited
		g.advance(11 * time.Second)
		g.login(t, bob)
	})
	t.Run("L03_per_address", func(t *testing.T) {
		t.Parallel()
		g := newGate(t, limited(6, 6000))
		var codes []int
		for i := range 5 {
			codes = append(codes, g.send(visit{body: typed(fmt.Sprintf("u%d@example.com", i), "x"), client: fmt.Sprintf("2001:db8::%d", i+1)}).Code)
		}
		if !slices.Equal(codes, []int{401, 401, 401, 429, 429}) {
			t.Errorf("one /64: %v", codes)
		}
		if a := g.send(visit{body: typed(ada, secret), client: "2001:db8::1"}); a.Code != 429 || a.Header().Get("Retry-After") != "10" {
			t.Errorf("%d %v", a.Code, a.Header())
		}
		if log := g.logged(); !strings.Contains(log, `"reason":"address"`) {
			t.Errorf("log %s", log)
		}
		g.wantCounted(t, `gatehouse_limited_total{limit="address"} 3`)
		if a := g.send(visit{body: typed(ada, secret), client: "2001:db8:0:1::1"}); a.Code != 303 {
			t.Errorf("the neighbour's /64: %d", a.Code)
		}
		if a := g.send(visit{method: "GET", client: "2001:db8::1"}); a.Code != 200 {
			t.Errorf("the form itself: %d", a.Code)
		}
	})
	t.Run("L03_unknown_accounts_are_limited_alike", func(t *testing.T) {
		t.Parallel()
		g := newGate(t, limited(6000, 6))
		var bodies []string
		for _, account := range []string{bob, "nobody@example.com"} {
			for i := range 4 {
				a := g.send(visit{body: typed(account, "x"), client: fmt.Sprintf("192.0.2.%d", i)})
				if (a.Code == 429) != (i == 3) {
					t.Errorf("%s, attempt %d: %d", account, i+1, a.Code)
				}
				bodies = append(bodies, a.Body.String())
			}
		}
		if bodies[3] != bodies[7] {
			t.Error("the limit tells which account exists")
		}
	})
	t.Run("H10_unix_socket_clients_share_a_limit", func(t *testing.T) {
		t.Parallel()
		g := newGate(t, limited(6, 6000))
		for i := range 4 {
			if a := g.send(visit{body: typed(ada, "x"), client: "@"}); (a.Code == 429) != (i == 3) {
				t.Errorf("attempt %d: %d", i+1, a.Code)
			}
		}
	})
}

func TestFloodOfBogusNames(t *testing.T) {
	g := newGate(t, func(s *setup) { s.cfg.Limits.Burst = 3 })
	t.Run("L03_10000_bogus_names", func(t *testing.T) {
		before := heapBytes()
		long := strings.Repeat("x", 2000)
		for i := range 10_500 {
			// A fresh address each time: a botnet.
			a := g.send(visit{
				body:   typed(fmt.Sprintf("bogus-%d-%s", i, long), "x"),
				client: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(),
				header: []string{"Accept", "application/json"}, // pages take their time to render
			})
			if a.Code != 401 {
				t.Fatalf("attempt %d: %d", i, a.Code)
			}
			if i%1000 == 0 {
				g.logged()
			}
		}
		g.login(t, ada)
		g.logged()
		// 10,500 names of 2 kB are 21 MB.
		if grown := int64(heapBytes()) - int64(before); grown > 12<<20 {
			t.Errorf("the heap grew by %d bytes", grown)
		}
	})
}

func heapBytes() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// The medians of interleaved attempts, so that whatever else the machine does hits all alike; on a
// machine so busy that even those say nothing, the processor time that was used, and the tenth of the
// attempts that went best. An account whose password is not hashed fails all three by far.
func TestLoginTimesTellNothing(t *testing.T) {
	const bcrypt5 = "$2y$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q"
	for name, file := range map[string]string{
		"argon2id": userFile(password.Params{Memory: 2048, Time: 2, Threads: 1}),
		"bcrypt": fmt.Sprintf("users:\n  - {id: 1, email: %s, password_hash: %s}\n  - {id: 2, email: %s, disabled: true, password_hash: %s}\n",
			ada, bcrypt5, disabled, bcrypt5),
	} {
		t.Run("L04_times_"+name, func(t *testing.T) {
			g := newGate(t, func(s *setup) { s.users = file })
			m := measurement{accounts: []string{ada, "nobody@example.com", disabled}}
			for range 8 {
				if m.run(t, g, 41); m.spread() < 0.05 {
					return
				}
			}
			t.Errorf("median times of known, unknown and disabled accounts differ by %.1f %%", m.spread()*100)
		})
	}
}

// measurement holds what attempts to log in took, by account.
type measurement struct {
	accounts  []string
	wall, cpu [3][]time.Duration
}

func (m *measurement) run(t *testing.T, g *gate, rounds int) {
	t.Helper()
	for range rounds {
		// In random order: the garbage collector runs every few hashes, and would hit the same account each time.
		for _, i := range rand.Perm(len(m.accounts)) {
			start, used := time.Now(), processorTime(t)
			g.send(visit{body: typed(m.accounts[i], "wrong")})
			m.wall[i], m.cpu[i] = append(m.wall[i], time.Since(start)), append(m.cpu[i], processorTime(t)-used)
		}
	}
}

// spread is by how much the slowest account exceeds the fastest.
func (m *measurement) spread() float64 {
	between := func(times [3][]time.Duration, quantile float64) float64 {
		var at []float64
		for _, t := range times {
			t = slices.Sorted(slices.Values(t))
			at = append(at, float64(t[int(float64(len(t))*quantile)]))
		}
		return slices.Max(at)/slices.Min(at) - 1
	}
	return min(between(m.wall, 0.5), between(m.cpu, 0.5), between(m.cpu, 0.1))
}

// processorTime is what this process has used so far.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func TestConcurrentLogins(t *testing.T) {
	t.Parallel()
	g := newGate(t)
	t.Run("L05_all_get_their_turn", func(t *testing.T) {
		var wg sync.WaitGroup
		codes := make([]int, 20)
		for i := range codes {
			wg.Go(func() { codes[i] = g.send(visit{body: typed(ada, secret), client: "192.0.2." + strconv.Itoa(i)}).Code })
		}
		wg.Wait()
		if slices.ContainsFunc(codes, func(c int) bool { return c != 303 }) {
			t.Errorf("short hashes, and yet %v", codes)
		}
	})
}
