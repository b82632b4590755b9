package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// operator is one who works on the sessions of a server, through a manager of his own.
func newOperator(t testing.TB, server *testredis.Server, change ...func(*settings)) (*session.Operator, *gateway) {
	t.Helper()
	g := newGateway(t, server.Addr, change...)
	return session.NewOperator(g.Manager), g
}

// twins makes two sessions whose IDs begin with the same eight characters.
func twins(t *testing.T, store session.Store, users ...string) []*session.Record {
	t.Helper()
	var all []*session.Record
	for i, user := range users {
		rec, _ := sessiontest.Record(user)
		rec.ID = session.ID{1, 2, 3, 4, 5, 6, byte(i)}
		if _, err := store.Create(t.Context(), rec, session.CreateOptions{TTL: hour, MaxPerUser: 20, Began: session.EpochAt(1 << 40)}); err != nil {
			t.Fatal(err)
		}
		all = append(all, rec)
	}
	return all
}

func TestOperatorShows(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	o, g := newOperator(t, server, func(s *settings) { s.redis.KeyPrefix = "a*[b]:" })
	token, rec := g.login(t, "ada")
	_, other := g.login(t, "bob")
	both := twins(t, g.store, "eve", "eve", "mia")
	whole, short := rec.ID.String(), rec.ID.Short()
	gone, _ := sessiontest.Record("ada")
	for _, tt := range []struct {
		name, id, user string
		want           session.ID
		err            error
	}{
		{"whole, any user", whole, "", rec.ID, nil},
		{"whole, of the user", whole, "ada", rec.ID, nil},
		{"short, any user", short, "", rec.ID, nil},
		{"short, of the user", short, "ada", rec.ID, nil},
		{"longer", whole[:20], "", rec.ID, nil},
		{"another user's", other.ID.String(), "ada", session.ID{}, session.ErrNotFound},
		{"another user's, short", other.ID.Short(), "ada", session.ID{}, session.ErrNotFound},
		{"unknown", gone.ID.String(), "", session.ID{}, session.ErrNotFound},
		{"unknown, of the user", gone.ID.String(), "ada", session.ID{}, session.ErrNotFound},
		{"unknown user", whole, "nobody", session.ID{}, session.ErrNotFound},
		{"ambiguous", both[0].ID.Short(), "", session.ID{}, session.ErrAmbiguous},
		{"ambiguous, of the user", both[0].ID.Short(), "eve", session.ID{}, session.ErrAmbiguous},
		{"one of the twins", both[1].ID.String(), "", both[1].ID, nil},
		{"the twin of another user", both[2].ID.Short(), "mia", both[2].ID, nil},
		{"too short", whole[:7], "", session.ID{}, session.ErrNotFound},
		{"empty", "", "", session.ID{}, session.ErrNotFound},
		{"too long", whole + "A", "", session.ID{}, session.ErrNotFound},
		{"a pattern", "********", "", session.ID{}, session.ErrNotFound},
		{"a pattern behind", short + "?", "", session.ID{}, session.ErrNotFound},
		{"a token", token, "", session.ID{}, session.ErrNotFound},
	} {
		got, err := o.Show(t.Context(), tt.id, tt.user)
		if !errors.Is(err, tt.err) || tt.err == nil && (err != nil || got.ID != tt.want) {
			t.Errorf("%s: %v, %v, want %v, %v", tt.name, got, err, tt.want, tt.err)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("%s: the token is in the error %v", tt.name, err)
		}
	}
	_, err := o.Show(t.Context(), both[0].ID.Short(), "")
	for _, rec := range both {
		if !strings.Contains(err.Error(), rec.ID.String()) {
			t.Errorf("%v does not name %s", err, rec.ID)
		}
	}
}

// What the gateways take for no session is none here.
func TestOperatorShowsOnlyLiveSessions(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	o, g := newOperator(t, server)
	_, rec := g.login(t, "ada")
	_, spoilt := g.login(t, "ada")
	server.Do(t, "SET", name(spoilt), "no JSON", "KEEPTTL")
	for _, user := range []string{"", "ada"} {
		if _, err := o.Show(t.Context(), spoilt.ID.String(), user); !isError(err, session.ErrNotFound) {
			t.Errorf("a record that cannot be read: %v", err)
		}
	}
	// The index is lost: by its whole ID a session is found all the same.
	server.Do(t, "DEL", session.IndexKey("ada"))
	for _, user := range []string{"", "ada"} {
		if got, err := o.Show(t.Context(), rec.ID.String(), user); err != nil || got.ID != rec.ID {
			t.Errorf("without an index: %v", err)
		}
	}
	g.clock.advance(721 * time.Hour)
	for _, user := range []string{"", "ada"} {
		if _, err := o.Show(t.Context(), rec.ID.String(), user); !isError(err, session.ErrNotFound) {
			t.Errorf("past its absolute limit: %v", err)
		}
	}
	n := 0
	if err := o.Each(t.Context(), nil, func(rec *session.Record, _ error) error {
		if rec != nil {
			n++
		}
		return nil
	}); err != nil || n != 0 {
		t.Errorf("%d sessions past their limit, %v", n, err)
	}
}

// Another replica refuses what an operator has ended.
func TestOperatorRevokes(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	o, own := newOperator(t, server)
	g := newGateway(t, server.Addr)
	one, rec := g.login(t, "ada")
	two, kept := g.login(t, "ada")
	three, _ := g.login(t, "ada")
	other, _ := g.login(t, "bob")
	g.finds(t, one)
	if list, err := o.List(t.Context(), "ada"); err != nil || len(list) != 3 || list[0].ID != rec.ID {
		t.Fatalf("%v, %v", list, err)
	}
	for range 2 { // the second finds it gone, which is what was asked for
		if err := o.Revoke(t.Context(), rec); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the replica to refuse it", func() bool { _, err := g.Find(t.Context(), one); return isError(err, session.ErrNotFound) })
	if log := own.log.String(); !strings.Contains(log, `"operator"`) || !strings.Contains(log, rec.ID.Short()) || strings.Contains(log, one) {
		t.Errorf("the audit line: %s", log)
	}
	if n, err := o.RevokeUser(t.Context(), "ada", kept.ID); err != nil || n != 1 {
		t.Fatalf("%d ended, %v", n, err)
	}
	await(t, "the replica to refuse it", func() bool { _, err := g.Find(t.Context(), three); return isError(err, session.ErrNotFound) })
	g.finds(t, two)
	g.finds(t, other)
}

func TestOperatorWithoutRedis(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	o, g := newOperator(t, server, quick)
	_, rec := g.login(t, "ada")
	server.Kill()
	ctx := t.Context()
	_, shown := o.Show(ctx, rec.ID.String(), "")
	_, ofUser := o.Show(ctx, rec.ID.Short(), "ada")
	_, listed := o.List(ctx, "ada")
	_, stats := o.Stats(ctx, nil)
	_, audited := o.Audit(ctx, true, nil)
	for name, err := range map[string]error{"show": shown, "show of a user": ofUser, "list": listed, "stats": stats, "audit": audited,
		"each": o.Each(ctx, nil, func(*session.Record, error) error { return nil })} {
		if !isError(err, session.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := o.Revoke(ctx, rec); !isError(err, session.ErrUnconfirmed) {
		t.Errorf("revoke: %v", err)
	}
	if _, err := o.RevokeUser(ctx, "ada"); !isError(err, session.ErrUnconfirmed) {
		t.Errorf("revoke-user: %v", err)
	}
}

// Whoever asked goes away in the middle: that is no outage, and the requests of others go on.
func TestOperatorWhoGoesAwayIsNoOutage(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	o, g := newOperator(t, server)
	token, _ := g.login(t, "ada")
	for range 10 {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, stats := o.Stats(ctx, nil)
		_, audited := o.Audit(ctx, false, nil)
		for _, err := range []error{stats, audited} {
			if !isError(err, context.Canceled) || isError(err, session.ErrUnavailable) {
				t.Fatalf("%v", err)
			}
		}
	}
	if g.store.Away() {
		t.Error("Redis counts as away")
	}
	g.finds(t, token)
}

func TestViewHoldsNothingThatLetsIn(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	o, g := newOperator(t, server)
	token, rec := g.login(t, "42", func(l *session.Login) { l.Secrets, l.UserAgent, l.IP = []byte("hunter2"), "Agent", "192.0.2.7" })
	stored := raw(t, server, rec)
	if !strings.Contains(stored, `"sealed"`) {
		t.Fatal("nothing is sealed, so this shows nothing")
	}
	server.Do(t, "SET", name(rec), strings.Replace(stored, `{"v":1`, `{"later":"secret of a later version","v":1`, 1), "KEEPTTL")
	err := o.Each(t.Context(), nil, func(rec *session.Record, err error) error {
		if err != nil {
			return err
		}
		text, err := json.Marshal(rec.View())
		var fields map[string]any
		if err := errors.Join(err, json.Unmarshal(text, &fields)); err != nil {
			return err
		}
		names := slices.Sorted(maps.Keys(fields))
		want := []string{"backend", "createdAt", "email", "emailVerified", "expiresAt", "id", "ip", "lastAccessed", "name", "role", "store", "userAgent", "userId"}
		if !slices.Equal(names, want) || fields["id"] != rec.ID.String() || fields["userId"] != "42" || fields["store"] != "redis" || strings.Contains(string(text), token) {
			t.Errorf("%s", text)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
