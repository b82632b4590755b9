package session_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

func TestCases(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*testing.T){
		"S03_login_issues_a_new_token":   caseNewToken,
		"S04_redis_holds_no_token":       caseNoToken,
		"S05_malformed_token":            caseMalformed,
		"S07_index_heals":                caseIndexHeals,
		"S08_timeouts_and_skewed_clocks": caseTimeouts,
		"S09_one_write_per_many":         caseOneWrite,
		"S11_corrupt_records":            caseCorrupt,
		"S12_records_name_themselves":    caseForeignRecord,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t)
		})
	}
}

func caseNewToken(t *testing.T) {
	g := newGateway(t, testredis.Start(t).Addr)
	preset := session.NewToken("eve") // nobody's session: planted before the login
	first, _ := g.login(t, "u", func(l *session.Login) { l.Previous = preset })
	if first == preset {
		t.Fatal("a planted token was adopted")
	}
	g.refuses(t, preset, session.ErrNotFound)
	second, rec := g.login(t, "u", func(l *session.Login) { l.Previous = first })
	if second == first {
		t.Error("a token was used twice")
	}
	g.refuses(t, first, session.ErrNotFound)
	if ids := g.told(); !slices.Equal(ids, []session.ID{keyOf(t, first).ID}) {
		t.Errorf("told of %v, want the replaced session", ids)
	}
	// Another person on the same browser.
	third, _ := g.login(t, "somebody", func(l *session.Login) { l.Previous = second })
	g.refuses(t, second, session.ErrNotFound)
	g.finds(t, third)
	if ids := g.told(); !slices.Equal(ids, []session.ID{rec.ID}) {
		t.Errorf("told of %v, want the other user's session", ids)
	}
	if list, err := g.List(t.Context(), "u"); err != nil || len(list) != 0 {
		t.Errorf("u still has %v, %v", list, err)
	}
	for _, junk := range []string{"", "x", strings.Repeat("a", 55), third[:54] + "\n"} {
		g.login(t, "v", func(l *session.Login) { l.Previous = junk })
	}
	if n := g.metric(`gatehouse_sessions_ended_total{reason="replaced"}`); n != 2 {
		t.Errorf("%d replaced sessions counted, want 2", n)
	}
}

func caseNoToken(t *testing.T) {
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	token, rec := g.login(t, "u", func(l *session.Login) { l.Secrets = []byte("app-cookie-value") })
	g.finds(t, token)
	secret := strings.Split(token, ".")[1]
	keys, err := ptr(server.Do(t, "KEYS", "*")).AsStrSlice()
	if err != nil || len(keys) < 2 {
		t.Fatalf("keys %v, %v", keys, err)
	}
	dump := strings.Join(keys, "\n") + "\n" + raw(t, server, rec)
	for _, hidden := range []string{secret, token, "app-cookie-value"} {
		if strings.Contains(dump, hidden) {
			t.Errorf("Redis holds %q", hidden)
		}
		if strings.Contains(g.log.String(), hidden) {
			t.Errorf("the log holds %q", hidden)
		}
	}
	// What Redis holds, sent as a cookie, is nothing.
	for _, stolen := range []string{rec.ID.String(), string(rec.Key().Tag) + "." + rec.ID.String(), keys[0]} {
		g.refuses(t, stolen, session.ErrNotFound)
	}
}

func caseMalformed(t *testing.T) {
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	token, _ := g.login(t, "u")
	other := map[byte]string{'A': "B"}[token[54]]
	if other == "" {
		other = "A"
	}
	before := commands(t, server, "get", "pttl", "evalsha", "eval", "exists")
	malformed := []string{
		"", ".", "x", token[:54], token + "x", token + token, " " + token[1:], token[:11] + "x" + token[12:],
		token[:11] + token[12:] + ".", strings.Replace(token, ".", "/", 1), token[:54] + "=", token[:54] + "\n", token[:54] + "+",
		token[:54] + "\x00", strings.Repeat("a", 1<<20), "session:{x}:*",
	}
	for _, bad := range malformed {
		g.refuses(t, bad, session.ErrNotFound)
		if err := g.ChangeSecrets(t.Context(), bad, nil); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("ChangeSecrets: %v", err)
		}
	}
	if after := commands(t, server, "get", "pttl", "evalsha", "eval", "exists"); after != before {
		t.Errorf("%d commands reached Redis", after-before)
	}
	// The count does count: a well-formed unknown one is asked for.
	g.refuses(t, session.NewToken("u"), session.ErrNotFound)
	if after := commands(t, server, "get"); after == 0 || commands(t, server, "get", "pttl", "evalsha", "eval", "exists") == before {
		t.Error("the commands are not counted")
	}
	// Two texts for the same bytes must not both be a token: the last character holds unused bits.
	g.refuses(t, token[:54]+other, session.ErrNotFound)
}

func caseTimeouts(t *testing.T) {
	server := testredis.Start(t)
	limits := func(s *settings) { s.session.Idle, s.session.Absolute = time.Hour, 3*time.Hour }
	g := newGateway(t, server.Addr, limits)
	token, rec := g.login(t, "u")
	if !rec.ExpiresAt.Equal(rec.CreatedAt.Add(3 * time.Hour)) {
		t.Errorf("made %v, expires %v", rec.CreatedAt, rec.ExpiresAt)
	}
	pttl := func() time.Duration {
		n, _ := ptr(server.Do(t, "PTTL", name(rec))).AsInt64()
		return time.Duration(n) * time.Millisecond
	}
	near := func(want time.Duration) {
		t.Helper()
		await(t, fmt.Sprintf("a time to live of %v, it is %v", want, pttl()), func() bool {
			got := pttl()
			return got <= want && got > want-30*time.Second
		})
	}
	near(time.Hour)
	// In use for two and a half hours: renewed, and bounded by the absolute limit in the end.
	for i := range 5 {
		g.clock.advance(30 * time.Minute)
		g.finds(t, token)
		near(min(time.Hour, 3*time.Hour-time.Duration(i+1)*30*time.Minute))
		if s := g.finds(t, token); !s.ExpiresAt.Equal(rec.ExpiresAt) {
			t.Fatalf("the absolute limit moved from %v to %v", rec.ExpiresAt, s.ExpiresAt)
		}
	}
	g.clock.advance(31 * time.Minute)
	g.refuses(t, token, session.ErrNotFound) // Redis's clock has not moved: the replica's ends it

	// Idle: Redis lets go by itself, and a lowered limit holds for sessions made before.
	idle, _ := g.login(t, "u")
	g.clock.advance(time.Hour + 3*time.Minute)
	g.refuses(t, idle, session.ErrNotFound)

	// Replicas a minute ahead and a minute behind: short sessions live and are prolonged all the same.
	short := func(s *settings) { s.session.Idle, s.session.Absolute = 20*time.Second, time.Hour }
	ahead, behind := newGateway(t, server.Addr, short), newGateway(t, server.Addr, short)
	ahead.clock.advance(time.Minute)
	behind.clock.advance(-time.Minute)
	for _, maker := range []*gateway{ahead, behind} {
		token, rec := maker.login(t, "skewed")
		for _, g := range []*gateway{ahead, behind} {
			g.finds(t, token)
			await(t, "a renewal that keeps the session alive", func() bool {
				n, _ := ptr(server.Do(t, "PTTL", name(rec))).AsInt64()
				return n > 15000 && n <= 20000
			})
		}
	}
}

func caseOneWrite(t *testing.T) {
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	token, _ := g.login(t, "u")
	writes := func() int { return commands(t, server, "set") }
	count := func(what string, want int) {
		t.Helper()
		before, renewed := writes(), 0
		for range 1000 {
			if g.finds(t, token).Renew {
				renewed++
			}
		}
		if want > 0 {
			await(t, "the renewal", func() bool { return writes() > before })
		}
		if got := writes() - before; got != want || renewed != want {
			t.Errorf("%s: 1,000 requests cost %d writes and %d cookies, want %d", what, got, renewed, want)
		}
	}
	count("not due", 0)
	g.clock.advance(61 * time.Minute)
	count("due", 1)
	count("just done", 0)
	if n := g.metric(`gatehouse_session_renewals_total{outcome="ok"}`); n != 1 {
		t.Errorf("%d renewals counted", n)
	}

	// Also when it fails: one try.
	g.clock.advance(61 * time.Minute)
	server.Do(t, "CONFIG", "SET", "maxmemory", "1mb")
	tries := func() int { return commands(t, server, "evalsha") }
	before := tries()
	for range 1000 {
		g.finds(t, token)
	}
	await(t, "the renewal to fail", func() bool {
		return g.metric(`gatehouse_session_renewals_total{outcome="unavailable"}`) == 1
	})
	if n := tries() - before; n != 1 {
		t.Errorf("1,000 requests tried to write %d times", n)
	}
}

// name is a session's key.
func name(rec *session.Record) string {
	return "session:{" + string(rec.Key().Tag) + "}:" + rec.ID.String()
}

func raw(t *testing.T, server *testredis.Server, rec *session.Record) string {
	t.Helper()
	text, err := ptr(server.Do(t, "GET", name(rec))).ToString()
	if err != nil {
		t.Fatal(err)
	}
	return text
}
