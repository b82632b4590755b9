package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/login/password"
)

// rateLimits (L03), of one replica and of two together.
func rateLimits(t *testing.T, s *setup) {
	cfg := strings.Replace(baseConfig(whoApp(t), s.section()), "{per_address: 6000/m, per_account: 6000/m, burst: 1000}", "{per_address: 6/m, per_account: 6/m, burst: 4}", 1)
	g := start(t, cfg+"trusted_proxies: [127.0.0.0/8]\n", withUsers())
	c := plainClient(t)
	at := g
	try := func(from, account, password string) int {
		t.Helper()
		got, err := send(c, "POST", at.url+"/login", "", form("email", account, "password", password).Encode(), "X-Forwarded-For", from)
		if err != nil {
			t.Fatal(err)
		}
		if got.StatusCode == 429 {
			if wait, err := strconv.Atoi(got.Header.Get("Retry-After")); err != nil || wait < 1 || wait > 10 {
				t.Errorf("429 with Retry-After %q", got.Header.Get("Retry-After"))
			}
		}
		return got.StatusCode
	}
	expect := func(what string, want []int, got ...int) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
	}
	four := []int{401, 401, 401, 401, 429}
	expect("one address, five accounts", four, try("192.0.2.1", "a1@x.y", "x"), try("192.0.2.1", "a2@x.y", "x"), try("192.0.2.1", "a3@x.y", "x"), try("192.0.2.1", "a4@x.y", "x"), try("192.0.2.1", "a5@x.y", "x"))
	expect("the right password from there", []int{429}, try("192.0.2.1", adminEmail, adminPassword))
	expect("another address", []int{303}, try("192.0.2.2", adminEmail, adminPassword))
	expect("addresses of one /64", four, try("2001:db8:0:1::1", "b1@x.y", "x"), try("2001:db8:0:1::2", "b2@x.y", "x"), try("2001:db8:0:1:ffff::3", "b3@x.y", "x"), try("2001:db8:0:1::4", "b4@x.y", "x"), try("2001:db8:0:1:8000::5", "b5@x.y", "x"))
	expect("another /64", []int{401}, try("2001:db8:0:2::1", "b6@x.y", "x"))
	spellings := []string{userEmail, " UMA@example.com ", "uma@EXAMPLE.com", "\uff55ma@example.com", "Uma@example.com\t", "um\uff41@example\uff0ecom"}
	for name, domain := range map[string]string{"a user's account": ".com", "an account that is none": ".net"} {
		var got []int
		for i, spelling := range spellings[:5] {
			got = append(got, try(fmt.Sprintf("198.51.100.%d", i), strings.Replace(spelling, ".com", domain, 1), "x"))
		}
		expect(name+" in five spellings", four, got...)
	}
	expect("the right password for it", []int{429, 429}, try("203.0.113.1", userEmail, userPassword), try("203.0.113.2", spellings[5], userPassword))
	for _, limit := range []string{"address", "account"} {
		if g.metric(t, `gatehouse_limited_total{limit="`+limit+`"}`) == "0" {
			t.Errorf("the metric of the limit of the %s does not count", limit)
		}
		g.logged(t, map[string]any{"type": "audit", "event": "limit", "reason": limit})
	}
	other := start(t, cfg+"trusted_proxies: [127.0.0.0/8]\n", withUsers())
	var got []int
	for i := range 5 {
		at = []*gateway{g, other}[i%2]
		got = append(got, try(fmt.Sprintf("198.51.100.%d", 100+i), "both@x.y", "x"))
	}
	expect("one account, two replicas in turn", four, got...)
	got = nil
	for i := range 5 {
		at = []*gateway{other, g}[i%2]
		got = append(got, try("198.51.100.200", fmt.Sprintf("c%d@x.y", i), "x"))
	}
	expect("one address, two replicas in turn", four, got...)
	t.Run("10,000 names", func(t *testing.T) { bogusNames(t, s) })
}

// accountFields are the names of an account's field that a gateway knows by default.
var accountFields = []string{"email", "username", "user", "account"}

// bogusNames: a flood of names that nobody has fills no memory and keeps nobody out. Through the
// app's form, where no password is hashed, so that it is about the names.
func bogusNames(t *testing.T, s *setup) {
	upstream := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.PostFormValue("email") == userEmail {
			w.Header().Set("X-Me", "2")
		}
		w.WriteHeader(map[bool]int{true: 200, false: 401}[r.PostFormValue("email") == userEmail])
	}))
	cfg := appConfig(upstream, s.section(), `success: {status: [200]}
    identity: {from: header, fields: {userId: X-Me}}`)
	cfg = strings.Replace(cfg, "{per_address: 6000/m, per_account: 6000/m, burst: 1000}", "{per_address: 10000/s, per_account: 6/m, burst: 20}", 1)
	g := start(t, cfg+"trusted_proxies: [127.0.0.0/8]\nlog: {level: info, format: json}\n", options{})
	c := plainClient(t)
	heap := func() int { return metricSum(t, "go_memstats_heap_inuse_bytes", g) }
	before := heap()
	var other atomic.Int64
	began := time.Now()
	// A form may name several accounts, and each counts.
	parallel(8, 10_000/len(accountFields), func(i int) {
		names := form("password", "x")
		for _, field := range accountFields {
			names.Set(field, fmt.Sprintf("bogus-%d-%s-%s@example.com", i, field, strings.Repeat("x", 400)))
		}
		got, err := send(c, "POST", g.url+"/login", "", names.Encode(), "X-Forwarded-For", fmt.Sprintf("10.%d.%d.1", i/250, i%250))
		if err != nil || got.StatusCode != 401 {
			other.Add(1)
		}
	})
	grown := heap() - before
	t.Logf("10,000 names in %v: the heap in use grew by %d KiB", time.Since(began).Round(time.Millisecond), grown>>10)
	if other.Load() != 0 || grown > 32<<20 {
		t.Errorf("%d attempts were answered otherwise than 401; the heap in use grew by %d KiB", other.Load(), grown>>10)
	}
	if got, err := send(c, "POST", g.url+"/login", "", form("email", userEmail, "password", "x").Encode()); err != nil || got.StatusCode != 200 || got.tokenOf() == "" {
		t.Errorf("somebody else's login: %v, %v", got.Response, err)
	}
}

// argonUsers is a user file with the same users and hashes as `gatehouse users add` makes them.
func argonUsers(t *testing.T) string {
	t.Helper()
	p := password.Default()
	return fmt.Sprintf(`users:
  - {id: 1, email: %s, name: "Ada Admin", role: admin, password_hash: "%s"}
  - {id: 2, email: %s, name: "Uma User", role: user, password_hash: "%s"}
`, adminEmail, password.New(adminPassword, p), userEmail, password.New(userPassword, p))
}

// TestL04_known_and_unknown_users_take_as_long measures whole logins, of a user and of nobody in turn,
// with the hashes of `gatehouse users add`. It is no parallel test: it runs when no other of this
// package does. Others may still take the cores away, so it may try three times.
func TestL04_known_and_unknown_users_take_as_long(t *testing.T) {
	const pairs, allowed, tries = 31, 0.05, 3
	_, redis := storeFor(t)
	g := start(t, baseConfig(whoApp(t), redis), options{files: map[string]string{"users.yaml": argonUsers(t)}})
	c := plainClient(t)
	measure := func(account string) time.Duration {
		began := time.Now()
		got, err := send(c, "POST", g.url+"/login", "", form("email", account, "password", "not the password").Encode())
		if err != nil || got.StatusCode != 401 {
			t.Fatalf("%v, %v", got.Response, err)
		}
		return time.Since(began)
	}
	measure(userEmail)
	measure("warm@example.com")
	var known, unknown []time.Duration // of all tries: what differs in truth differs the clearer for it
	for try := 1; ; try++ {
		for i := range pairs {
			nobody := fmt.Sprintf("u%02d@example.com", i)
			if i%2 == 0 { // each is first as often
				known = append(known, measure(userEmail))
				unknown = append(unknown, measure(nobody))
			} else {
				unknown = append(unknown, measure(nobody))
				known = append(known, measure(userEmail))
			}
		}
		slices.Sort(known)
		slices.Sort(unknown)
		a, b := known[len(known)/2], unknown[len(known)/2]
		difference := float64(b-a) / float64(a)
		t.Logf("try %d: median of %d logins of a user %v, of nobody %v: %+.1f %%", try, len(known), a, b, 100*difference)
		if difference < allowed && difference > -allowed {
			return
		}
		if try == tries {
			t.Fatalf("the medians differ by more than %.0f %% in each of %d tries", 100*allowed, tries)
		}
	}
}
