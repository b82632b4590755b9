package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/telemetry"

	"github.com/rs/zerolog"
)

func TestChange(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	here, there := newGateway(t, server.Addr), newGateway(t, server.Addr)
	var tokens []string
	var before []*session.Record
	for range 3 {
		token, rec := here.login(t, "u", func(l *session.Login) { l.User.Role, l.Secrets = "admin", []byte("jar") })
		// A field of another version of this program.
		text := raw(t, server, rec)
		server.Do(t, "SET", name(rec), text[:len(text)-1]+`,"theirs":{"a":[1,2]}}`, "KEEPTTL")
		tokens, before = append(tokens, token), append(before, rec)
		await(t, "the other replica to know the session", func() bool { _, err := there.Find(t.Context(), token); return err == nil })
	}
	other, _ := here.login(t, "v", func(l *session.Login) { l.User.Role = "admin" })
	here.clock.advance(time.Minute) // nothing may take this for a use of the session

	ctx := telemetry.WithRequest(t.Context(), &telemetry.Request{ID: "r1"})
	change := session.Change{Role: ptr("member"), Name: ptr("Ünal <x>"), EmailVerified: ptr(true)}
	if n, err := here.Change(ctx, "u", change); n != 3 || err != nil {
		t.Fatalf("Change: %d, %v", n, err)
	}
	for i, token := range tokens {
		if s := here.finds(t, token); s.Role != "member" || s.Name != "Ünal <x>" || !s.EmailVerified || s.Email != "u@example.com" {
			t.Errorf("here: %+v", s.User)
		}
		await(t, "the other replica to hear of it", func() bool { return there.finds(t, token).Role == "member" })
		s := there.finds(t, token)
		if s.Record.ID != before[i].ID || !s.CreatedAt.Equal(before[i].CreatedAt) || !s.LastAccessed.Equal(before[i].LastAccessed) ||
			!s.ExpiresAt.Equal(before[i].ExpiresAt) || s.Backend != "file" || string(s.Unknown["theirs"]) != `{"a":[1,2]}` {
			t.Errorf("more than the user was changed: %+v", s.Record)
		}
		if secrets, err := there.Secrets(s.Record, token); string(secrets) != "jar" || err != nil {
			t.Errorf("the secrets: %q, %v", secrets, err)
		}
	}
	if s := here.finds(t, other); s.Role != "admin" {
		t.Errorf("another user has role %q", s.Role)
	}
	if here.metric("gatehouse_sessions_changed_total") != 3 || len(here.told()) != 0 {
		t.Error("not counted, or told as ended")
	}
	line := here.log.String()
	if !strings.Contains(line, `"event":"change","id":"r1","user":"u","reason":"role=\"member\" emailVerified=true name","count":3`) || strings.Contains(line, "Ünal") {
		t.Errorf("the audit line: %s", line)
	}
	// The same again writes nothing: no replica has to read anything anew.
	sets := commands(t, server, "set")
	if n, err := there.Change(t.Context(), "u", change); n != 0 || err != nil || commands(t, server, "set") != sets {
		t.Errorf("the same again: %d, %v, %d writes", n, err, commands(t, server, "set")-sets)
	}
	if n, err := here.Change(t.Context(), "u", session.Change{Email: ptr("new@example.com"), Role: ptr("")}); n != 3 || err != nil {
		t.Errorf("email and role: %d, %v", n, err)
	}
	if s := here.finds(t, tokens[0]); s.Email != "new@example.com" || s.Role != "" || s.Name != "Ünal <x>" {
		t.Errorf("after it: %+v", s.User)
	}
	if n, err := here.Change(t.Context(), "nobody", change); n != 0 || err != nil {
		t.Errorf("a user without sessions: %d, %v", n, err)
	}
}

// The remaining idle time is Redis's to count: neither a change nor a replica's wrong clock moves it.
func TestChangeKeepsTheTime(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	_, rec := g.login(t, "u")
	const left = 1_000_000 // ms, far from any limit of the policy
	ttl := func() int64 { n, _ := ptr(server.Do(t, "PTTL", name(rec))).AsInt64(); return n }
	for i, skew := range []time.Duration{0, 3 * hour, -6 * hour, 400 * hour} {
		g.clock.advance(skew)
		server.Do(t, "PEXPIRE", name(rec), fmt.Sprint(left))
		if n, err := g.Change(t.Context(), "u", session.Change{Role: ptr(fmt.Sprint("role", i))}); n != 1 || err != nil {
			t.Fatalf("%v: %d, %v", skew, n, err)
		}
		if got := ttl(); got > left+1000 || got < left-500_000 {
			t.Errorf("clock off by %v: %d ms left, want %d", skew, got, left)
		}
	}
	// A record that would never end is given the end it should have had.
	fresh := newGateway(t, server.Addr)
	server.Do(t, "PERSIST", name(rec))
	if n, err := fresh.Change(t.Context(), "u", session.Change{Role: ptr("z")}); n != 1 || err != nil {
		t.Fatalf("without an end: %d, %v", n, err)
	}
	if got := ttl(); got <= 0 || got > (168*hour).Milliseconds() {
		t.Errorf("a record without an end has %d ms now", got)
	}
}

func TestChangeRefuses(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	token, _ := g.login(t, "u", func(l *session.Login) { l.User.Role = "admin" })
	long := strings.Repeat("é", session.MaxAttribute/2)
	for _, c := range []struct {
		name   string
		change session.Change
		says   string // "": it is taken
	}{
		{"longest", session.Change{Name: &long, Role: &long}, ""},
		{"too long", session.Change{Name: ptr(long + "e")}, "name is longer than 512 bytes"},
		{"not UTF-8", session.Change{Role: ptr("a\xff")}, "role is not UTF-8"},
		{"line break", session.Change{Role: ptr("a\r\nX-User-Role: admin")}, "role holds a control character"},
		{"NUL", session.Change{Name: ptr("a\x00")}, "name holds a control character"},
		{"C1 control", session.Change{Name: ptr("a\u0085")}, "name holds a control character"},
		{"delete", session.Change{Email: ptr("a\x7f")}, "email holds a control character"},
		{"space at the end", session.Change{Role: ptr("admin ")}, "role has a space at an end"},
		{"spaces in a name", session.Change{Name: ptr(" A  B ")}, ""},
		{"one good, one bad", session.Change{Name: ptr("good"), Role: ptr("\t")}, "role holds a control character"},
		{"empty", session.Change{Name: ptr(""), Role: ptr(""), Email: ptr("")}, ""},
		{"nothing", session.Change{}, ""},
	} {
		before := g.finds(t, token).User
		_, err := g.Change(t.Context(), "u", c.change)
		if c.says == "" {
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if !errors.Is(err, session.ErrInvalidChange) || !strings.HasSuffix(err.Error(), ": "+c.says) || g.finds(t, token).User != before {
			t.Errorf("%s: %v, %+v", c.name, err, g.finds(t, token).User)
		}
	}
	for _, user := range []string{"", "a\xff"} {
		if _, err := g.Change(t.Context(), user, session.Change{Role: ptr("x")}); !errors.Is(err, session.ErrInvalidUser) {
			t.Errorf("user %q: %v", user, err)
		}
	}
}

// One session whose record has no room left must not leave the others half changed.
func TestChangeTooLarge(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	small, _ := g.login(t, "u")
	full, rec := g.login(t, "u")
	text := raw(t, server, rec)
	padding, err := json.Marshal(strings.Repeat("x", session.MaxRecordSize-len(text)-20))
	if err != nil {
		t.Fatal(err)
	}
	server.Do(t, "SET", name(rec), text[:len(text)-1]+`,"theirs":`+string(padding)+`}`, "KEEPTTL")
	n, err := g.Change(t.Context(), "u", session.Change{Name: ptr(strings.Repeat("n", 200))})
	if n != 0 || !errors.Is(err, session.ErrTooLarge) {
		t.Errorf("Change: %d, %v", n, err)
	}
	for _, token := range []string{small, full} {
		if s := g.finds(t, token); s.Name != "" {
			t.Errorf("a session was changed: %+v", s.User)
		}
	}
}

// meddling does something right after the sessions were listed, as another replica might.
type meddling struct {
	session.Store
	after []func()
}

func (m *meddling) List(ctx context.Context, userID string) ([]*session.Record, error) {
	all, err := m.Store.List(ctx, userID)
	if len(m.after) > 0 {
		m.after[0]()
		m.after = m.after[1:]
	}
	return all, err
}

// While sessions come over from the application's table they get new IDs. One that was listed under
// the old one must not keep the old role under the new one.
func TestChangeFollowsNewIDs(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	_, first := g.login(t, "u")
	var token, third string
	store := &meddling{Store: open(t, server), after: []func(){
		func() {
			g.Revoke(t.Context(), first.Key(), "u")
			token, _ = g.login(t, "u")
		},
		func() { third, _ = g.login(t, "u") },
	}}
	m := session.NewManager(store, config.Default().Session, config.Outage{}, session.Options{Log: zerolog.Nop()})
	t.Cleanup(func() { m.Close(context.Background()) })
	if n, err := m.Change(t.Context(), "u", session.Change{Role: ptr("member")}); n != 1 || err != nil {
		t.Fatalf("Change: %d, %v", n, err)
	}
	await(t, "the new session to have the role", func() bool { return g.finds(t, token).Role == "member" })
	if g.finds(t, third).Role != "" {
		t.Error("a login after the last look was changed")
	}
	if exists(t, g.store, first.Key()) {
		t.Error("the ended session is back")
	}
}

func TestChangeWithoutRedis(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := newGateway(t, server.Addr, quick)
	g.login(t, "u")
	server.Kill()
	if n, err := g.Change(t.Context(), "u", session.Change{Role: ptr("x")}); n != 0 || !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("Change: %d, %v", n, err)
	}
}

// A replica that has heard that a session has changed, and cannot read it any more, does not go on with
// the old role.
func TestChangeThenOutage(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := newGateway(t, server.Addr, quick)
	token, rec := g.login(t, "u", func(l *session.Login) { l.User.Role = "admin" })
	warm(t, g, token)
	// The change, and in the same step Redis answers nobody any more: the replica hears of it and cannot ask.
	c := server.Client(t)
	next := strings.Replace(raw(t, server, rec), `"role":"admin"`, `"role":"member"`, 1)
	for _, reply := range c.DoMulti(context.Background(),
		c.B().Multi().Build(),
		c.B().Set().Key(name(rec)).Value(next).Keepttl().Build(),
		c.B().ClientPause().Timeout(600_000).All().Build(),
		c.B().Exec().Build()) {
		if err := reply.Error(); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the replica to hear of the change", func() bool { _, err := g.Find(t.Context(), token); return err != nil })
	server.Kill()
	for range 50 {
		g.refuses(t, token, session.ErrUnavailable)
	}
	// Known with the new role, it is served with that.
	server = testredis.Start(t)
	here, there := newGateway(t, server.Addr, quick), newGateway(t, server.Addr)
	token, _ = here.login(t, "u", func(l *session.Login) { l.User.Role = "admin" })
	warm(t, here, token)
	if n, err := there.Change(t.Context(), "u", session.Change{Role: ptr("member")}); n != 1 || err != nil {
		t.Fatalf("Change: %d, %v", n, err)
	}
	await(t, "the other replica to hear of it", func() bool { return here.finds(t, token).Role == "member" })
	server.Kill()
	await(t, "the outage to be noticed", func() bool { return here.finds(t, token).Source == session.FromKnown })
	if s := here.finds(t, token); s.Role != "member" {
		t.Errorf("role %q while Redis is away", s.Role)
	}
}

// While sessions move, those in Redis are changed. Those in the table take the role from the users table.
func TestChangeWhileMigrating(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old, now := w.replica(config.StateLegacy), w.replica(config.StatePrimary)
	login := func(r *migrating) string {
		began, err := r.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		token, _, err := r.Create(t.Context(), session.Login{User: session.User{ID: "7", Role: "user"}, Backend: "database", Began: began})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	inTable, inRedis := login(old), login(now)
	if n, err := now.Change(t.Context(), "7", session.Change{Role: ptr("member")}); n != 1 || err != nil {
		t.Fatalf("Change: %d, %v; want only the session in Redis", n, err)
	}
	for token, role := range map[string]string{inRedis: "member", inTable: "user"} {
		if s, err := old.Find(t.Context(), token); err != nil || s.Role != role {
			t.Errorf("%+v, %v, want %q", s.Record, err, role)
		}
	}
	w.exec("UPDATE users SET role = 'member' WHERE id = 7")
	if s, err := now.Find(t.Context(), inTable); err != nil || s.Role != "member" {
		t.Errorf("in the table: %v, %v", s.Record, err)
	}
}
