package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

func caseIndexHeals(t *testing.T) {
	server := testredis.Start(t)
	g := newGateway(t, server.Addr, func(s *settings) { s.session.MaxPerUser = 3; s.session.AtLimit = config.Reject })
	list := func() int {
		t.Helper()
		all, err := g.List(t.Context(), "u")
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	index := "user_sessions:{" + string(session.TagOf("u")) + "}:u"
	members := func() int {
		n, _ := ptr(server.Do(t, "ZCARD", index)).AsInt64()
		return int(n)
	}
	var tokens []string
	var recs []*session.Record
	for range 3 {
		token, rec := g.login(t, "u")
		tokens, recs = append(tokens, token), append(recs, rec)
	}
	// A record went without its index entry: evicted, deleted by hand.
	server.Do(t, "DEL", name(recs[0]))
	if _, _, err := g.tryLogin("u"); err != nil {
		t.Errorf("a dead entry took a place: %v", err)
	}
	if list() != 3 || members() != 3 {
		t.Errorf("%d listed, %d in the index, want 3", list(), members())
	}
	server.Do(t, "DEL", name(recs[1]))
	if list() != 2 || members() != 2 {
		t.Errorf("%d listed, %d in the index, want 2", list(), members())
	}
	// An index went without its sessions' records: the next renewal brings the entry back.
	server.Do(t, "DEL", index)
	g.clock.advance(2 * time.Hour)
	if s := g.finds(t, tokens[2]); !s.Renew {
		t.Error("no renewal")
	}
	await(t, "the index to heal", func() bool { return members() == 1 })
	if ids, err := g.RevokeUser(t.Context(), "u"); err != nil || ids != 1 {
		t.Errorf("%d revoked, %v", ids, err)
	}
	g.refuses(t, tokens[2], session.ErrNotFound)
	// A renewal of a session whose record is gone takes its entry along.
	store := open(t, server)
	rec, _ := sessiontest.Record("v")
	if _, err := store.Create(t.Context(), rec, session.CreateOptions{TTL: hour, MaxPerUser: 3}); err != nil {
		t.Fatal(err)
	}
	found, _ := store.Find(t.Context(), rec.Key())
	server.Do(t, "DEL", name(rec))
	if err := store.Replace(t.Context(), found.Record, found.Record.Clone(), hour); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("Replace: %v", err)
	}
	if n, _ := ptr(server.Do(t, "EXISTS", "user_sessions:{"+string(session.TagOf("v"))+"}:v")).AsInt64(); n != 0 {
		t.Error("a dead entry stayed in the index")
	}
	// The index outlives its longest member, and nothing is kept for ever.
	token, rec := g.login(t, "w")
	g.finds(t, token)
	ttl, _ := ptr(server.Do(t, "PTTL", name(rec))).AsInt64()
	indexTTL, _ := ptr(server.Do(t, "PTTL", "user_sessions:{"+string(session.TagOf("w"))+"}:w")).AsInt64()
	if ttl <= 0 || indexTTL < ttl || indexTTL > ttl+5000 {
		t.Errorf("the session's time to live is %d ms, the index's %d ms", ttl, indexTTL)
	}
	gen, _ := ptr(server.Do(t, "PTTL", "user_gen:{"+string(session.TagOf("u"))+"}:u")).AsInt64()
	if gen <= 0 || gen > 24*3600*1000 {
		t.Errorf("the generation's time to live is %d ms", gen)
	}
}

func caseCorrupt(t *testing.T) {
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	token, rec := g.login(t, "u")
	good := raw(t, server, rec)
	for i, bad := range []string{
		"", "null", "[]", "{}", good[:len(good)/2], good + "x", strings.Replace(good, `"v":1`, `"v":2`, 1),
		strings.Replace(good, `"v":1`, `"v":0`, 1), strings.Replace(good, `"v":1,`, ``, 1),
		strings.Replace(good, `"userId":"u"`, `"userId":null`, 1), strings.Replace(good, `"userId":"u"`, `"userId":true`, 1),
		strings.Replace(good, `"userId":"u"`, `"userId":""`, 1), strings.Replace(good, `"userId":"u",`, ``, 1),
		strings.Replace(good, `"email":"`, `"email":7,"x":"`, 1), strings.Replace(good, `"expiresAt":"2`, `"expiresAt":"x`, 1),
		strings.Replace(good, `"role":""`, `"role":["admin"]`, 1), "\x00\xff",
	} {
		if bad == good {
			t.Fatalf("row %d changes nothing", i)
		}
		server.Do(t, "SET", name(rec), bad)
		await(t, "the change to be heard of", func() bool {
			_, err := g.Find(t.Context(), token)
			return errors.Is(err, session.ErrNotFound)
		})
		if list, err := g.List(t.Context(), "u"); err != nil || len(list) != 0 {
			t.Errorf("row %d: listed %v, %v", i, list, err)
		}
		if err := g.ChangeSecrets(t.Context(), token, func(b []byte) ([]byte, error) { return []byte("x"), nil }); !errors.Is(err, session.ErrNotFound) {
			t.Errorf("row %d: ChangeSecrets %v", i, err)
		}
		server.Do(t, "SET", name(rec), good)
		await(t, "the session to be back", func() bool { _, err := g.Find(t.Context(), token); return err == nil })
	}
	if n := g.metric(`gatehouse_session_finds_total{source="corrupt"}`); n < 17 {
		t.Errorf("%d counted, want 17 at least", n)
	}
	if log := g.log.String(); !strings.Contains(log, rec.ID.Short()) || strings.Contains(log, "u@example.com") {
		t.Errorf("the log must name the session, shortly, and nothing of its content: %s", log)
	}
	// A wrong type is an error of Redis, not of the record: nothing is known of the session.
	server.Do(t, "DEL", name(rec))
	server.Do(t, "LPUSH", name(rec), "x")
	await(t, "an error", func() bool { _, err := g.Find(t.Context(), token); return err != nil })
}

func caseForeignRecord(t *testing.T) {
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	tokenA, a := g.login(t, "a")
	_, b := g.login(t, "b")
	_, a2 := g.login(t, "a")
	for _, foreign := range []*session.Record{b, a2} {
		server.Do(t, "SET", name(a), raw(t, server, foreign))
		await(t, "the foreign record to be refused", func() bool {
			s, err := g.Find(context.Background(), tokenA)
			if err == nil && s.Record.ID != a.ID {
				t.Fatal("one session's record was served for another")
			}
			return errors.Is(err, session.ErrNotFound)
		})
	}
	// The right ID with another user inside does not pass either: the key's tag is that of a.
	server.Do(t, "SET", name(a), strings.Replace(raw(t, server, a2), a2.ID.String(), a.ID.String(), 1))
	await(t, "the user's own to pass", func() bool { _, err := g.Find(context.Background(), tokenA); return err == nil })
	server.Do(t, "SET", name(a), strings.Replace(raw(t, server, b), b.ID.String(), a.ID.String(), 1))
	await(t, "another user's identity to be refused", func() bool {
		s, err := g.Find(context.Background(), tokenA)
		if err == nil && s.User.ID != "a" {
			t.Fatal("a was served as b")
		}
		return errors.Is(err, session.ErrNotFound)
	})
}
